// SPDX-License-Identifier: MIT
// The two orders of events in a round of compressed differences: send with the gradient, wait for the answers and mix;
// or let messages travel while the next gradient is computed.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/algorithm/detail/replica_core.hpp>
#include <rubato/core/node.hpp>

namespace rubato::detail {

/// Why a changed edge ends a run.
inline constexpr std::string_view on_compressed_differences =
    "a run on compressed differences, which needs fixed neighbours; use d_psgd where they change";

/// Rounds in which a gradient makes a node send, and the differences of all neighbours let it mix. `Self` has
/// send(now, g, out), which sends and returns false if a value is not finite, and mix(now, out), which returns false
/// while messages are missing.
template<class Self, class Backend, class Options, bool Keeps = true>
class answered_rounds : public replica_core<Backend, Options, 1, Keeps> {
  using core = replica_core<Backend, Options, 1, Keeps>;

 public:
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if (!self().send(now, core::values_of(g.value), out)) {
      out.failure = blame{this->self_}.gradient(g.value).sentence();
      return;
    }
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const sent = this->iterations_ + (this->at_begin() ? 0 : 1);
    if (this->keep(p, sent, out) && !this->at_begin()) go_on(now, out);
  }

  /// At the start of a round all replicas are of the last one, so nothing is sent again.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && this->at_begin()) {
      auto* const edge = find_edge(this->edges_, change.peer);
      if (edge == nullptr) return;
      edge->change(change);
      edge->ahead.clear();
      return;
    }
    core::refuse_change(change, on_compressed_differences, out);
  }

 protected:
  using core::core;

 private:
  [[nodiscard]] auto self() -> Self& { return static_cast<Self&>(*this); }
  /// After this node's difference is sent: waits for those of all neighbours, then completes the round.
  void go_on(instant now, outbox& out) {
    if (!self().mix(now, out)) return;
    ++this->iterations_;
    this->ask_gradient(out);
  }
};

/// Rounds in which messages travel while the gradient is computed: with its gradient, a node waits for the last
/// messages of all neighbours, computes, and sends. `Self` has advance(now, g, out), which returns the message, or an
/// empty body while messages are missing.
template<class Self, class Backend, class Options, std::size_t Streams = 1>
class overlapped_rounds : public replica_core<Backend, Options, Streams> {
  using core = replica_core<Backend, Options, Streams>;

 public:
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    g_ = std::move(g.value);
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (this->keep(p, this->iterations_, out) && g_) go_on(now, out);
  }

  /// A replica cannot be resumed in the middle of a round. If all nodes go back to the start of a round, replicas are
  /// as they were before the last message, which is sent again.
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && this->at_begin()) return resume(change, now, out);
    core::refuse_change(change, on_compressed_differences, out);
  }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("g", self.g_), visit("edges", self.edges_), visit("last message", self.last_);
  }

 protected:
  using core::core;

 private:
  void resume(neighbour_change const& c, instant now, outbox& out) {
    auto* const edge = find_edge(this->edges_, c.peer);
    if (edge == nullptr) return;
    edge->change(c);
    edge->ahead.clear();
    if (last_) this->post(edge->outward(), channel_id::model, last_, now, out).number = iteration{this->iterations_};
  }
  void go_on(instant now, outbox& out) {
    auto body = static_cast<Self&>(*this).advance(now, g_, out);
    if (!body) return;
    this->post_to_all(body, now, out);
    last_ = std::move(body);
    g_ = {};
    ++this->iterations_;
    this->ask_gradient(out);
  }

  shared_buffer g_;  // the gradient of this round, once it has come
  shared_buffer last_;  // the last message
};

}  // namespace rubato::detail
