// SPDX-License-Identifier: MIT
// A folder of one test's own, removed with all it holds; and sample results to report.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include <rubato/run/result.hpp>

namespace rubato::test {

class scratch_folder {
 public:
  explicit scratch_folder(std::string const& name) {
    auto pattern = (std::filesystem::temp_directory_path() / ("rubato_" + name + "_XXXXXX")).string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw std::filesystem::filesystem_error{pattern, {errno, std::generic_category()}};
    path_ = pattern;
  }
  scratch_folder(scratch_folder const&) = delete;
  auto operator=(scratch_folder const&) -> scratch_folder& = delete;
  ~scratch_folder() {
    auto error = std::error_code{};
    std::filesystem::remove_all(path_, error);
  }

  auto path() const -> std::filesystem::path const& { return path_; }
  auto files() const -> std::size_t {
    auto const all = std::filesystem::recursive_directory_iterator{path_};
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

 private:
  std::filesystem::path path_;
};

inline auto content_of(std::filesystem::path const& path) -> std::string {
  auto file = std::ifstream{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

/// Two nodes, two edges, three measurements; the loss falls from 2 to 0.5 and reaches it at 0.3 s.
inline auto sample_result(std::string const& algorithm) -> run_result {
  using namespace std::chrono_literals;
  auto r = run_result{};
  r.algorithm = algorithm;
  r.network = "line(2)";
  r.step = 0.1;
  r.raw_step = 0.05;
  r.gain = 2;
  r.ended = 300ms;
  r.time_to_target = 300ms;
  r.history = {
      {0ms, 2.0, 0.1, 0.0, 0.0, 0}, {100ms, 1.0, 0.5, 0.25, 0.0, 20, 4000}, {300ms, 0.5, 0.75, 0.125, 0.0, 60, 12000}};
  r.nodes = {{to_node(0), 30, 30, 1}, {to_node(1), 27, 27, 2}};
  auto there = edge_report{};
  there.from = to_node(0);
  there.to = to_node(1);
  there.channel = channel_id::model;
  there.packets_sent = 10;
  there.values_sent = 1000;
  there.bytes_sent = 4000;
  there.lost = 1;
  there.age.add(2ms);
  there.age.add(4ms);
  auto back = edge_report{};
  back.from = to_node(1);
  back.to = to_node(0);
  back.channel = channel_id::tracker;
  back.packets_sent = 20;
  back.bytes_sent = 8000;
  back.lost = 3;
  back.age.add(9ms);
  r.edges = {there, back};
  return r;
}

/// Two workers and a server, node 2, that took three gradients of worker 0, each whole and 1 version old, and one of
/// worker 1, which asked for 3, of which a cap kept back 1, and was 4 versions old: limit weights 3/5 and 2/5.
inline auto served_result(std::string const& algorithm) -> run_result {
  auto r = run_result{};
  r.algorithm = algorithm;
  r.nodes = {{to_node(0), 3, 3, 0}, {to_node(1), 1, 1, 0}, {to_node(2), 4, 0, 0}};
  auto fast = edge_report{to_node(0), to_node(2), channel_id::gradient};
  for (auto k = 0; k < 3; ++k) fast.weights.add(1, 0, 1);
  auto slow = edge_report{to_node(1), to_node(2), channel_id::gradient};
  slow.weights.add(2, 1, 4);
  r.edges = {fast, slow};
  return r;
}

}  // namespace rubato::test
