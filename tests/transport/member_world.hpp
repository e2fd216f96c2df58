// SPDX-License-Identifier: MIT
// A run whose members come and go over TCP, each a thread with an assembly of its own.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/members.hpp>

#include "transport/worlds.hpp"

namespace rubato::test {

inline auto distance(shared_buffer const& model, std::vector<double> const& best) -> double {
  auto worst = 0.0;
  for (std::size_t k = 0; k < best.size(); ++k) worst = std::max(worst, std::abs(model.view<double>()[k] - best[k]));
  return worst;
}
inline auto is_near(look const& l, std::vector<double> const& best) -> bool {
  return distance(l.models[0], best) < 1e-9;
}

/// Tells of all that comes in.
struct heard_tcp : transport::tcp {
  using told = std::function<void(transport::incoming const&)>;
  heard_tcp(transport::identity const& me, transport::tcp_options o, told tells)
      : transport::tcp{me, std::move(o)}, tells_{std::move(tells)} {}
  void poll(transport::clock::time_point until, std::vector<transport::incoming>& in) {
    auto const known = in.size();
    transport::tcp::poll(until, in);
    for (auto k = known; k < in.size(); ++k) tells_(in[k]);
  }

 private:
  told tells_;
};

struct member_world {
  problem::quadratic q;
  tcp_doors doors;
  std::vector<peer_result> parts;
  std::vector<std::string> sentences;  // of those that ended by an error
  std::function<void(std::size_t, transport::incoming const&)> hears = [](auto, auto const&) {};  // node i hears this

  explicit member_world(std::size_t n)
      : q{problem::quadratic::random(n, 5, 3, {.spread = 1, .condition = 2})}, doors{n}, parts(n), sentences(n) {}

  /// The life of node i, of a minute at most; its observers look every 10 ms.
  void live(std::size_t i, peer_options o, std::chrono::nanoseconds arrival = std::chrono::seconds{10}) {
    try {
      auto const trees = topology::member_graphs{parts.size(), topology::binary_tree};
      auto a = assemble<r_fast<backend::host<double>>>(trees, q, {.step = 0.1});
      auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
      auto its = doors.options(i);
      its.arrival = arrival;
      heard_tcp wires{me, std::move(its), [this, i](auto const& n) { hears(i, n); }};
      o.look_every = std::chrono::milliseconds{10};
      o.lost = when_lost::goes_on;
      o.compute = environment::fixed(std::chrono::microseconds{500});
      parts[i] = run_peer(a, me, wires, {.time = std::chrono::minutes{1}}, o);
    } catch (std::exception const& e) {
      sentences[i] = e.what();
    }
  }
};

}  // namespace rubato::test
