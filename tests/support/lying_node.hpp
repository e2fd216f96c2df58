// SPDX-License-Identifier: MIT
// A node of the run that means no good: it does its work, and posts models of a number of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include <rubato/core/node.hpp>
#include <rubato/run/assemble.hpp>

namespace rubato::test {

class lying_node {
 public:
  lying_node(any_node inner, double claims) : inner_{std::move(inner)}, claims_{claims} {}

  void start(instant now, outbox& out) { inner_.start(now, out), lie(out); }
  void on_patch(instant now, patch const& p, outbox& out) { inner_.on_patch(now, p, out), lie(out); }
  void on_gradient(instant now, gradient g, outbox& out) { inner_.on_gradient(now, std::move(g), out), lie(out); }
  void on_wakeup(instant now, wakeup w, outbox& out) { inner_.on_wakeup(now, w, out), lie(out); }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) {
    inner_.on_neighbours(now, c, out), lie(out);
  }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner_.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner_.statistics(); }
  void audit(tracking_audit& a) const { inner_.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner_.channels(); }
  static void visit_state(auto& self, auto&& visit) { visit("inner", self.inner_); }

 private:
  void lie(outbox& out) {
    for (auto& p : out.packets) {
      if (p.channel != channel_id::model) continue;
      p.body = p.body.kind() == element::f32 ? claim<float>(p.body.size()) : claim<double>(p.body.size());
    }
  }
  template<class T>
  auto claim(std::size_t values) -> shared_buffer {
    auto body = pool_.allocate<T>(values);
    std::fill_n(body.data(), values, static_cast<T>(claims_));
    return std::move(body).publish();
  }

  any_node inner_;
  double claims_;
  buffer_pool pool_;
};

/// Node `self` posts models all of whose values are `claims`.
inline void make_lie(assembly& a, std::size_t self, double claims) {
  a.nodes[self] = any_node{lying_node{std::move(a.nodes[self]), claims}};
}

}  // namespace rubato::test
