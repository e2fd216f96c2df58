// SPDX-License-Identifier: MIT
// What a checkpoint costs, for a node of R-FAST with four neighbours: how long the run is held up while the state is
// taken, beside a plain copy of the vectors that the node may still write; and how long writing it takes, beside the
// plain write, fsync and rename of as many bytes. Medians of alternating trials.
//   bench_checkpoint [DIMENSION [FOLDER]]
#include <rubato/run/checkpoint.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/builders.hpp>

namespace {

using namespace rubato;
using node = r_fast<backend::eigen<float>>;

/// Pulls every value towards the number of the node.
struct pull {
  std::size_t values;
  [[nodiscard]] auto dimension() const -> std::size_t { return values; }
  template<class Backend>
  auto gradient(Backend&, std::span<float const> x, sample_key key, std::span<float> g) const -> double {
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = x[k] - static_cast<float>(to_index(key.node));
    return 0;
  }
};

/// All nodes in lock-step for some rounds, each message delivered.
void run_rounds(assembly& a, int rounds) {
  std::vector<gradient_request> asked(a.nodes.size());
  std::vector<packet> under_way;
  outbox out;
  auto const drain = [&](std::size_t i) {
    if (out.failure) throw run_error{out.failure->sentence};
    if (out.request) asked[i] = std::move(*out.request);
    for (auto& p : out.packets) under_way.push_back(std::move(p));
    out.clear();
  };
  for (std::size_t i = 0; i < a.nodes.size(); ++i) a.nodes[i].start({}, out), drain(i);
  for (int k = 0; k < rounds; ++k) {
    for (std::size_t i = 0; i < a.nodes.size(); ++i) {
      a.nodes[i].on_gradient({}, a.oracle.evaluate(asked[i]), out);
      drain(i);
    }
    for (auto const& p : std::exchange(under_way, {})) {
      a.nodes[to_index(p.to)].on_patch({}, patch_of(p, {0, a.blocks.blocks()}), out);
      drain(to_index(p.to));
    }
  }
}

auto milliseconds(std::function<void()> const& call) -> double {
  auto const begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}
auto median(std::vector<double> all) -> double {
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
  return all[all.size() / 2];
}

void plain_write(std::filesystem::path const& path, std::vector<char> const& bytes) {
  auto const aside = path.string() + ".aside";
  auto const fd = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  for (std::size_t done = 0; done < bytes.size();) {
    auto const n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n <= 0) throw run_error{"the folder cannot be written to"};
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(fd) != 0 || ::close(fd) != 0 || std::rename(aside.c_str(), path.c_str()) != 0)
    throw run_error{"the file cannot be synced"};
  if (detail::sync_folder(path.parent_path()) != 0) throw run_error{"the folder cannot be synced"};
}

void measure(std::size_t values, std::filesystem::path const& folder) {
  constexpr int trials = 31;
  auto a = assemble<node>(topology::complete(5), pull{values}, {.step = 0.1});
  run_rounds(a, 5);
  auto const state = take_snapshot(a.nodes[0]);
  checkpoint const saved{a.agreed.text(), node_id{0}, 5, 0, state};
  std::filesystem::create_directories(folder);
  auto const ours = folder / "rubato.checkpoint", plain = folder / "plain.bytes";
  write_checkpoint(ours, saved);
  auto const bytes = static_cast<std::size_t>(std::filesystem::file_size(ours));
  std::vector<char> const as_many(bytes, 'x');
  std::size_t copied = 0;
  for (auto const& b : state.bodies) copied += b.size_bytes();
  std::vector<double> taking, copying, writing, plainly;
  std::vector<float> from(values, 1.0F), to(values);
  for (int k = 0; k < trials; ++k) {
    taking.push_back(milliseconds([&] { static_cast<void>(take_snapshot(a.nodes[0])); }));
    copying.push_back(milliseconds([&] { std::memcpy(to.data(), from.data(), values * sizeof(float)); }));
    plainly.push_back(milliseconds([&] { plain_write(plain, as_many); }));
    writing.push_back(milliseconds([&] { write_checkpoint(ours, saved); }));
  }
  std::printf("d = %zu, a node of R-FAST (float) with %zu bodies of together %.1f MB; file %.1f MB\n", values,
              state.bodies.size(), static_cast<double>(copied) / 1e6, static_cast<double>(bytes) / 1e6);
  std::printf("held up for %.3f ms; a copy of one vector takes %.3f ms\n", median(taking), median(copying));
  std::printf("written in %.2f ms; plain write, fsync and rename of as many bytes %.2f ms: ratio %.2f\n",
              median(writing), median(plainly), median(writing) / median(plainly));
  std::filesystem::remove(ours);
  std::filesystem::remove(plain);
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    measure(argc > 1 ? static_cast<std::size_t>(std::strtoull(argv[1], nullptr, 10)) : 1'000'000,
            argc > 2 ? argv[2] : "checkpoint-bench");
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_checkpoint: %s\n", e.what());
    return 1;
  }
}
