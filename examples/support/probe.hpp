// SPDX-License-Identifier: MIT
// What a plan needs to know of machines and links, measured over TCP by one process on each machine: the time of a
// gradient, and of every link latency, jitter and rate. All processes end with the same numbers. A program that is
// built without Boost and xxHash, and so without RUBATO_EXAMPLES_HAVE_PROBE, refuses to probe.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>

#if RUBATO_EXAMPLES_HAVE_PROBE
#include <rubato/backend/eigen.hpp>
#include <rubato/collective/all_reduce.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/softmax_regression.hpp>
#include <rubato/problem/split.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

#include "support/key_files.hpp"
#include "support/link_probe.hpp"
#endif

namespace rubato::examples {

struct probe_choice {
  std::size_t id = 0;  ///< which of the machines this process is
  std::vector<std::string> peers;  ///< addresses of all, by id
  std::chrono::nanoseconds arrival = std::chrono::seconds{30};  ///< within which all must be there
  bool insecure = false;  ///< allows addresses beyond loopback: anyone there may answer in a machine's place
  std::string key{};  ///< file of a secret that all machines have; empty: plain bytes
  std::size_t dimension = 7850;
  bool doubles = false;
  std::size_t batch = 32;
  std::vector<std::pair<std::string_view, double>> planned{};  ///< what else is the same for all, or plans differ
};

/// In seconds and bits a second; links by [from machines + to], both ways alike for latency and jitter.
struct probed {
  std::vector<double> gradient, deviation;
  std::vector<double> latency, jitter, rate;
};

#if RUBATO_EXAMPLES_HAVE_PROBE
namespace detail {

inline constexpr std::size_t largest_probe = 10'000'000;  // values, of a model that is measured
inline constexpr std::size_t largest_probed_batch = std::size_t{1} << 28;  // values of its samples, 1 GiB

/// Of softmax regression with that many values.
inline constexpr std::size_t probed_classes = 10;
inline auto features_of(std::size_t dimension) -> std::size_t {
  return (std::max)(dimension / probed_classes, std::size_t{2}) - 1;
}

/// Mean and standard deviation, in seconds, of gradients of softmax regression on random samples.
template<class T>
auto time_of_gradients(std::size_t dimension, std::size_t batch) -> std::pair<double, double> {
  constexpr auto classes = probed_classes;
  auto const width = features_of(dimension);
  auto const samples = std::clamp((std::size_t{1} << 24) / width, batch, (std::max)(batch, std::size_t{1024}));
  auto draw = random_stream{0x70726f6265ULL, 1};
  auto features = std::vector<float>(samples * width);
  auto labels = std::vector<std::uint16_t>(samples);
  for (auto& f : features) f = static_cast<float>(draw.normal());
  for (auto& l : labels) l = static_cast<std::uint16_t>(draw.below(classes));
  auto const data = problem::dataset{std::move(features), std::move(labels), classes};
  auto const all = problem::softmax_regression<T>{data, split::iid(data, 1, 1), {.batch = batch}};
  auto backend = backend::eigen<T>{};
  auto x = std::vector<T>(all.dimension()), g = x;
  auto times = std::vector<double>{};
  constexpr auto enough = std::size_t{5000}, first = std::size_t{3}, least = std::size_t{10};
  auto const until = std::chrono::steady_clock::now() + std::chrono::seconds{1};
  for (std::uint64_t k = 0; k < enough + first; ++k) {
    auto const before = std::chrono::steady_clock::now();
    if (before > until && k > first + least) break;
    static_cast<void>(all.gradient(backend, std::span<T const>{x}, {1, node_id{0}, k}, std::span<T>{g}));
    auto const took = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    if (k >= first) times.push_back(took);
  }
  auto sum = 0.0, squares = 0.0;
  for (auto const t : times) sum += t, squares += t * t;
  auto const n = static_cast<double>(times.size());
  return {sum / n, std::sqrt((std::max)(0.0, squares / n - sum * sum / (n * n)))};
}

inline void check(probe_choice const& c) {
  auto const n = c.peers.size();
  if (n < 2) throw config_error{"a probe needs the addresses of two machines at least, in --peers"};
  if (c.id >= n)
    throw config_error{"--probe " + std::to_string(c.id) + " is none of the " + std::to_string(n) +
                       " machines of --peers, which are numbered from 0"};
  if (c.dimension > largest_probe)
    throw config_error{"a probe computes gradients of at most 1e7 values; give --times for larger models"};
  if (c.batch > largest_probed_batch / features_of(c.dimension))
    throw config_error{"a batch of " + std::to_string(c.batch) + " samples of " +
                       std::to_string(features_of(c.dimension)) + " values is too large for a probe, which takes " +
                       std::to_string(largest_probed_batch) + " values in all: take a smaller --batch"};
}

/// How a machine presents itself: only those that measure the same thing meet.
inline auto identity_of(probe_choice const& c, collective::options const& o) -> transport::identity {
  auto me = collective::identity_of(to_node(c.id), c.peers.size(), &wire::xxh3_of, o);
  me.agreed.add("dimension", c.dimension).add("bytes of a value", c.doubles ? 8 : 4).add("batch", c.batch);
  for (auto const& [name, value] : c.planned) me.agreed.add(name, shortest(value));
  return me;
}

}  // namespace detail

/// Measures this machine, then its links, and takes the others' measurements. Throws config_error, or run_error which
/// names a machine that has not come, has gone or measures something else.
[[nodiscard]] inline auto probe(probe_choice const& c) -> probed {
  detail::check(c);
  auto const n = c.peers.size();
  auto const o = collective::options{.patience = std::chrono::minutes{2}};
  auto const me = detail::identity_of(c, o);
  // A machine that computes gradients answers nobody meanwhile.
  auto wires = transport::tcp{me,
                              {.addresses = c.peers,
                               .security = security_of({.key = c.key}, c.id, c.peers, false),
                               .insecure = c.insecure,
                               .arrival = c.arrival,
                               .silence = o.patience}};
  auto port = collective::port{me, wires, o};
  port.begin_call();  // all are there
  auto const own = c.doubles ? detail::time_of_gradients<double>(c.dimension, c.batch)
                             : detail::time_of_gradients<float>(c.dimension, c.batch);
  // Every number at its owner's place, and zeros elsewhere, so that the sum holds all.
  auto all = std::vector<double>(2 * n + 3 * n * n);
  all[c.id] = own.first, all[n + c.id] = own.second;
  auto link = link_probe{port};
  for (std::size_t i = 0; i < n; ++i) {
    for (auto j = i + 1; j < n; ++j) {
      if (c.id != i && c.id != j) continue;
      auto const other = c.id == i ? j : i;
      auto const seen = measured(link, other, c.id == i);
      auto const at = 2 * n + c.id * n + other;
      all[at] = seen.latency, all[at + n * n] = seen.jitter, all[at + 2 * n * n] = seen.rate;
    }
  }
  collective::all_reduce(port, std::span<double>{all});
  auto const part = [&](std::size_t from, std::size_t count) {
    return std::vector<double>(all.begin() + static_cast<std::ptrdiff_t>(from),
                               all.begin() + static_cast<std::ptrdiff_t>(from + count));
  };
  return {part(0, n), part(n, n), part(2 * n, n * n), part(2 * n + n * n, n * n), part(2 * n + 2 * n * n, n * n)};
}
#else
[[nodiscard]] inline auto probe(probe_choice const&) -> probed {
  throw config_error{
      "this plan was built without Boost and xxHash (Debian: libboost1.81-dev libxxhash-dev), so it cannot --probe: "
      "give what was measured by --times, --latency and --bandwidth"};
}
#endif

}  // namespace rubato::examples
