// SPDX-License-Identifier: MIT
// Nodes with a driver each, as processes would have, and nodes that a test plays by hand.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "transport/worlds.hpp"

namespace rubato::test {

using space = backend::host<double>;
using problem::quadratic;
using phase = transport::peer_status::phase;

/// What came of one node: a result, or the sentence with which it ended.
struct fate {
  peer_result result;
  std::string sentence;
};

/// Runs `nodes` drivers, a thread each, as processes would: everyone assembles for itself, and `how(i)` is node i's end
/// and options.
template<class Assemble, class Open, class How>
auto run_each(std::size_t nodes, Assemble assemble_one, Open open, How how) -> std::vector<fate> {
  std::vector<fate> fates(nodes);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < nodes; ++i) {
      threads.emplace_back([&, i] {
        try {
          auto const [end, options] = how(i);
          auto a = assemble_one(i);
          auto const me = identity_of(a, to_node(i), &wire::xxh3_of, options.checkpoint);
          auto const wires = open(i, me);
          fates[i].result = run_peer(a, me, *wires, end, options);
        } catch (std::exception const& e) {
          fates[i].sentence = e.what();
        }
      });
    }
  }
  return fates;
}
/// The same, where all have one end and the same options.
template<class Assemble, class Open>
auto run_all(std::size_t nodes, Assemble assemble_one, Open open, std::pair<until, peer_options> const& how)
    -> std::vector<fate> {
  return run_each(nodes, std::move(assemble_one), std::move(open), [&](std::size_t) { return how; });
}

inline auto over_tcp(tcp_doors& doors, transport::tcp_options const& deadlines = {}) {
  return [&doors, deadlines](std::size_t self, transport::identity const& me) {
    auto o = deadlines;
    o.addresses = doors.addresses;
    o.listener = doors.descriptors[self];
    return std::make_unique<transport::tcp>(me, std::move(o));
  };
}

inline auto over_shared_memory(std::string run = fresh_run_name(),
                               transport::shared_memory_options const& deadlines = {}) {
  return [run = std::move(run), deadlines](std::size_t, transport::identity const& me) {
    auto o = deadlines;
    o.run = run;
    return std::make_unique<transport::shared_memory>(me, std::move(o));
  };
}

/// A number of local iterations of each node: enough, whatever the speed of this machine.
inline auto rounds(std::uint64_t n) -> until { return {.gradients = n}; }

/// A gradient takes longer than a message, also where many threads share few cores: what is very old makes a method
/// that is asynchronous unstable at any step.
inline constexpr auto work = std::chrono::microseconds{300};

using line_node = r_fast<space>;
inline auto line_of(std::size_t nodes, quadratic const& p) {
  return [nodes, &p](std::size_t) { return assemble<line_node>(topology::line(nodes), p, {.step = 0.1}); };
}

/// Node `self` of a run, played by hand: an endpoint that does only what the test says.
struct played {
  seat<transport::tcp> it;
  [[nodiscard]] auto hears(transport::peer_status::phase at, std::uint64_t level) -> bool {
    return poll_until<transport::tcp>({&it}, [&] {
      auto const* const n = it.newest(what::stands);
      return n != nullptr && n->peer_status == transport::peer_status{at, level};
    });
  }
};
inline auto by_hand(std::size_t self, assembly const& a, tcp_doors& doors) -> played {
  auto const me = identity_of(a, to_node(self), &wire::xxh3_of);
  return {{over_tcp(doors)(self, me)}};
}

}  // namespace rubato::test
