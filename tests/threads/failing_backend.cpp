// SPDX-License-Identifier: MIT
// Exceptions from a backend inside a handler: each driver ends the run with the node's name and the backend's message.
#include <rubato/driver/peer.hpp>
#include <rubato/driver/threads.hpp>

#include <exception>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/transport/in_process.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "threads/scripted.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

auto const lost_device = [](instant, outbox&) { throw backend_error{"cudaLaunchKernel failed: device lost"}; };
auto const no_memory = [](instant, outbox&) { throw std::bad_alloc{}; };
auto const ask_at_once = [](instant, outbox& out) { out.request = gradient_request{ticket{1}, one_value(), {}}; };

/// Two nodes, of which the second is this one.
auto pair_with(scripted second) -> assembly {
  auto a = assemble<r_fast<backend::host<double>>>(topology::line(2), problem::quadratic{{{1}, {1}}, {{1}, {1}}},
                                                   {.step = 0.1});
  a.nodes[0] = scripted{.at_start = ask_at_once};
  a.nodes[1] = std::move(second);
  return a;
}

/// Runs what `make` makes under each driver and returns their sentences.
template<class Make>
auto sentences_of(Make const& make) -> std::vector<std::string> {
  transport::in_process::room room{2};
  auto const as_peer = [&](std::size_t self) {
    auto a = make();
    auto const me = identity_of(a, to_node(self));
    auto wires = transport::in_process{room, me};
    run_peer(a, me, wires, {.time = 1min});
  };
  auto first = std::string{}, second = std::string{};
  std::thread other{[&] { first = failure([&] { as_peer(0); }); }};
  second = failure([&] { as_peer(1); });
  other.join();
  CHECK(says(first, "node 1"));  // the other process hears because of whom
  return {failure([&] { simulate(make(), {.compute = environment::fixed(1ms)}, {.time = 1s}); }),
          failure([&] { run_threads(make(), {.compute = environment::fixed(1ms)}, {.time = 1min}); }), second};
}

TEST_CASE("a device that fails in a handler ends the run under any driver, with the node and the device's message") {
  for (auto const& sentence : sentences_of([] { return pair_with({.at_start = lost_device}); })) {
    CHECK(sentence == "node 1 cannot go on: cudaLaunchKernel failed: device lost");
  }
  for (auto const& sentence :
       sentences_of([] { return pair_with({.at_start = ask_at_once, .at_gradient = lost_device}); })) {
    CHECK(sentence == "node 1 cannot go on: cudaLaunchKernel failed: device lost");
  }
}

TEST_CASE("a node without memory for its vectors ends the run under any driver, and is named") {
  for (auto const& sentence :
       sentences_of([] { return pair_with({.at_start = ask_at_once, .at_gradient = no_memory}); })) {
    CHECK(sentence == "node 1 cannot go on: there is no memory left for its vectors");
  }
}

TEST_CASE("the backend's exception is nested in the run's error") {
  auto inner = std::string{};
  try {
    simulate(pair_with({.at_start = lost_device}), {.compute = environment::fixed(1ms)}, {.time = 1s});
  } catch (run_error const& outer) {
    try {
      std::rethrow_if_nested(outer);
    } catch (backend_error const& e) {
      inner = e.what();
    }
  }
  CHECK(inner == "cudaLaunchKernel failed: device lost");
}

}  // namespace
}  // namespace rubato::test
