// SPDX-License-Identifier: MIT
// Every algorithm over one transport: nodes whose centres differ come to the optimum of the sum, or near it, as the
// catalogue says of each, every node, and none ends with a sentence.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/packet.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/topology/builders.hpp>

#include "support/every_algorithm.hpp"

namespace rubato::test {

/// Three nodes with centres of their own, a quarter from that of their sum.
inline auto three_centres() -> problem::quadratic {
  using rows = std::vector<std::vector<double>>;
  return {rows(3, {1, 1, 1, 1, 1}),
          {{0.75, -1.25, 1.25, -0.75, 1}, {1, -0.75, 0.75, -1.25, 1.25}, {1.25, -1, 1, -1, 0.75}}};
}
/// How far a value may be from the optimum. All begin at a distance of 1. Methods whose limit depends on the speeds of
/// nodes may end at another mean of the centres, but nearer than a node that hears nothing, which ends at its own
/// centre; those that claim the optimum must come far closer.
/// Of an algorithm by its name: what its row of the catalogue says, or, of one that has none, what is known of it.
inline auto distance_of(std::string const& name) -> double {
  auto where = name == "buffered server" ? examples::ends::off_it : examples::ends::at_optimum;
  examples::for_each_algorithm<backend::host<double>>([&](auto const& row) {
    if (row.name == name) where = row.where;
  });
  return where == examples::ends::at_optimum ? 0.05 : 0.2;
}
/// A worker has no model, and is never in the way.
inline auto are_near(std::span<shared_buffer const> models, double distance) -> bool {
  if (models.empty()) return true;
  auto const x = models[0].view<double>();
  for (std::size_t k = 0; k < x.size(); ++k)
    if (!(std::abs(x[k] - (k % 2 == 0 ? 1 : -1)) < distance)) return false;
  return true;
}
/// What nodes tell each other, and no algorithm: which of them are near at their newest look, and, last, whether all
/// ever were. Then all leave: a node that is left alone may go where the others' data do not count.
inline auto until_all_near(std::size_t self, std::span<int> told, double distance, std::chrono::nanoseconds gradient)
    -> std::pair<until, peer_options> {
  peer_options o;
  o.compute = environment::fixed(gradient);
  o.look_every = std::chrono::milliseconds{2};
  o.watching = {[self, told, distance](look const& l) {
    auto const near = told.first(told.size() - 1);
    auto const is_set = [](int& n) { return std::atomic_ref{n}.load() == 1; };
    std::atomic_ref{near[self]}.store(are_near(l.models, distance) ? 1 : 0);
    if (std::all_of(near.begin(), near.end(), is_set)) std::atomic_ref{told.back()}.store(1);
    return is_set(told.back()) ? verdict::stop : verdict::go_on;
  }};
  return {{.time = std::chrono::seconds{60}}, std::move(o)};
}

/// Whether it needs links that lose nothing, or that carry each message in one piece.
inline auto needs_whole_messages(assembly const& a) -> bool {
  auto const all = a.nodes[0].channels();
  return std::any_of(all.begin(), all.end(),
                     [](channel_spec const& c) { return c.kind == channel_kind::event || c.body == body_form::codes; });
}

}  // namespace rubato::test
