// SPDX-License-Identifier: MIT
// What every node has whatever its algorithm: who it is, its model, its step, the one gradient it asked for, and counters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/neighbours.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::detail {

/// The base of node types. An algorithm adds its channels, start, on_patch, on_gradient and on_neighbours; it may replace
/// the other members of the node concept by its own.
template<class Backend, class Options>
class node_core {
 public:
  using backend_type = Backend;
  using scalar = typename Backend::scalar;

  /// An algorithm that has more state visits this first and then its own.
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.size());
    visit("seed", self.options_.seed);  // its own in each life
    visit("x", self.x_), visit("gradient asked for", self.pending_);
    visit("requests", self.requests_), visit("gradients", self.gradients_), visit("iterations", self.iterations_);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  /// x, shared; valid for ever.
  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  void audit(tracking_audit& a) const { a = {}; }

 protected:
  /// Throws config_error unless the step is a positive number.
  node_core(Backend b, node_id self, shared_buffer x0, Options const& o, double gain)
      : backend_{std::move(b)}, options_{o}, self_{self}, blocks_{partition_of(o, x0.size())},
        gamma_{rubato::raw_step(o, gain)}, x_{std::move(x0)} {}

  [[nodiscard]] auto size() const -> std::size_t { return x_.size(); }
  [[nodiscard]] auto x() const -> scalar const* { return x_.template view<scalar>().data(); }

  /// Requests the gradient of the next sample at x; no sample is used twice.
  void ask_gradient(outbox& out) {
    ++requests_;
    pending_.ask(x_, sample_key{options_.seed, self_, gradients_}, out);
  }
  /// Whether g is the gradient that was asked for; any other is only counted.
  [[nodiscard]] auto accept(gradient const& g) -> bool {
    if (!pending_.accept(g)) return false;
    ++gradients_;
    return true;
  }

  /// Posts a body to the other end of an edge, as the message of the iteration under way: number iterations_ + 1.
  void post(edge_life const& to, channel lane, shared_buffer body, instant now, outbox& out) const {
    auto& p = out.packets.emplace_back();
    p.from = self_;
    p.to = to.peer;
    p.lane = lane;
    p.life = to.life;
    p.number = iteration{iterations_ + 1};
    p.posted_at = now;
    p.body = std::move(body);
  }
  /// The same as a callable post(edge, body), for those who know the edges.
  [[nodiscard]] auto posting(channel lane, instant now, outbox& out) const {
    return [this, lane, now, &out](edge_life const& to, shared_buffer body) { post(to, lane, std::move(body), now, out); };
  }

  Backend backend_;
  Options options_;
  node_id self_;
  block_partition blocks_;
  double gamma_;
  shared_buffer x_;                // x_i, published: it is the point of gradients too
  asked_gradient pending_;
  std::uint64_t requests_ = 0;     // gradients asked for: the clock of ages
  std::uint64_t gradients_ = 0;    // received
  std::uint64_t iterations_ = 0;   // local iterations completed
};

}  // namespace rubato::detail
