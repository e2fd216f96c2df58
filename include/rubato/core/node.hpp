// SPDX-License-Identifier: MIT
// The node concept: a pure state machine whose inputs are events and whose outputs are effects. See
// include/rubato/DESIGN.md.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <rubato/core/detail/fetch.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/statistics.hpp>
#include <rubato/core/visit_state.hpp>

namespace rubato {

/// Five inputs, one output object, and a look at the state.
/// Not checked, but required:
/// - equal inputs give equal outputs, bit for bit; no clock, lock, thread or generator object inside;
/// - handlers throw nothing of their own: a node that cannot go on says so in outbox.failure. What a backend throws in
///   them (backend_error, std::bad_alloc) passes through. The node is then not called again, and drivers end the run
///   with a run_error that names it (at_node);
/// - at most one gradient request is outstanding; a gradient with another ticket changes nothing but a counter;
/// - a posted body is never written again;
/// - a node type that has on_gradient_part(now, gradient_part, out) and takes_gradient_parts() may be told of parts of
///   the gradient under way as they are final: in any order, none twice, and some or all of them not at all. Then
///   on_gradient has the whole. Which parts came early decides when the node sends, and never what;
/// - if no gradient is under way after a call, outbox.wait names what is waited for. (Exceptions: a server may idle; a
///   node that only lets time pass has asked for a wake-up.)
template<class N>
concept node = std::movable<N> && requires(N& n, N const& c, instant now, patch const& p, gradient g, wakeup w,
                                           neighbour_change const& change, outbox& out, tracking_audit& audit) {
  n.start(now, out);
  n.on_patch(now, p, out);
  n.on_gradient(now, std::move(g), out);
  n.on_wakeup(now, w, out);
  n.on_neighbours(now, change, out);
  { c.estimate() } -> std::same_as<shared_buffer>;
  { c.statistics() } -> std::same_as<node_statistics>;
  c.audit(audit);
  { c.channels() } -> std::convertible_to<std::span<channel_spec const>>;
};

/// Where a node stands that needs all the others. They go on together from the states that they had at the beginning of
/// the same round, or not at all: what was under way between them is lost with their sessions.
struct round_state {
  std::uint64_t done = 0;  ///< rounds
  /// The next round begins: of it the node has done and sent nothing, and whatever it lacks of former rounds is sent
  /// once more by who resumes there.
  bool begins = false;
  std::uint64_t behind = 1;  ///< rounds by which a neighbour may be behind this node
  std::uint64_t gradients = 0;  ///< that each node which computes uses for a round; 0: not always the same number
  bool anywhere = false;  ///< `behind` bounds every two nodes, and not only neighbours
};

/// Any node behind one virtual call an event: for drivers, and for programs that choose the algorithm at run time.
class any_node {
 public:
  any_node() = default;
  template<class N>
    requires(!std::same_as<N, any_node>) && node<N>  // in this order, or the check of node<any_node> would be recursive
  any_node(N n) : self_{std::make_unique<model<N>>(std::move(n))} {}  // NOLINT: conversion is the purpose

  explicit operator bool() const { return self_ != nullptr; }
  /// Whether it has begun: a node serves one run.
  [[nodiscard]] auto has_started() const -> bool { return started_; }

  void start(instant now, outbox& out) {
    started_ = true;
    self_->start(now, out);
  }
  void on_patch(instant now, patch const& p, outbox& out) { self_->on_patch(now, p, out); }
  void on_gradient(instant now, gradient g, outbox& out) { self_->on_gradient(now, std::move(g), out); }
  /// Changes nothing of a node whose type has no such member. *requires* that the part is of the gradient under way.
  void on_gradient_part(instant now, gradient_part g, outbox& out) { self_->on_gradient_part(now, std::move(g), out); }
  /// Whether parts of gradients are of use to it. The answer never changes.
  [[nodiscard]] auto takes_gradient_parts() const -> bool { return self_->takes_gradient_parts(); }
  void on_wakeup(instant now, wakeup w, outbox& out) { self_->on_wakeup(now, w, out); }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) { self_->on_neighbours(now, c, out); }
  /// Prefetches the node's memory, up to a common size (core/detail/fetch.hpp).
  void fetch() const { detail::fetch<640>(self_.get()); }
  /// The node's present model; shared, immutable.
  [[nodiscard]] auto estimate() const -> shared_buffer { return self_->estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return self_->statistics(); }
  void audit(tracking_audit& a) const { self_->audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return self_->channels(); }
  /// Nothing of a node that goes on from a state of its own, whatever the others do (law 11). A node type that can say
  /// more has a member of this name, and takes neighbour_change::edge::resumes.
  [[nodiscard]] auto common_round() const -> std::optional<round_state> { return self_->common_round(); }
  /// All nodes are to be saved at the beginning of that round, and of each so many rounds later. Nodes that go in
  /// lock-step come by it anyway; others, which have a member of this name, meet there.
  void meet_at(std::uint64_t round, std::uint64_t every) { self_->meet_at(round, every); }
  /// These nodes take part from now on, as far as this one knows: ids in rising order. The driver closes the edges that
  /// do not belong to them before this call, and opens new ones after it. A node type whose place in the network
  /// follows from who is present has a member of this name; `takes_members()` says whether it has.
  void on_members(std::span<node_id const> present) { self_->on_members(present); }
  [[nodiscard]] auto takes_members() const -> bool { return self_->takes_members(); }
  /// Whether an edge of this node is to close once its other end has ended its run in order. A node type for which this
  /// is right has a member of this name; the others may still need what was under way.
  [[nodiscard]] auto closes_ended_edges() const -> bool { return self_->closes_ended_edges(); }
  /// All state of the node; requires that there is one.
  static void visit_state(auto& self, auto&& visit) {
    visit("started", self.started_);
    self.self_->visit_state(visit);
  }

 private:
  struct base {
    virtual ~base() = default;
    virtual void start(instant, outbox&) = 0;
    virtual void on_patch(instant, patch const&, outbox&) = 0;
    virtual void on_gradient(instant, gradient, outbox&) = 0;
    virtual void on_gradient_part(instant, gradient_part, outbox&) = 0;
    [[nodiscard]] virtual auto takes_gradient_parts() const -> bool = 0;
    virtual void on_wakeup(instant, wakeup, outbox&) = 0;
    virtual void on_neighbours(instant, neighbour_change const&, outbox&) = 0;
    virtual auto estimate() const -> shared_buffer = 0;
    virtual auto statistics() const -> node_statistics = 0;
    virtual void audit(tracking_audit&) const = 0;
    virtual auto channels() const -> std::span<channel_spec const> = 0;
    virtual auto common_round() const -> std::optional<round_state> = 0;
    virtual void meet_at(std::uint64_t, std::uint64_t) = 0;
    virtual void on_members(std::span<node_id const>) = 0;
    [[nodiscard]] virtual auto takes_members() const -> bool = 0;
    [[nodiscard]] virtual auto closes_ended_edges() const -> bool = 0;
    virtual void visit_state(state_visitor&) = 0;
  };
  template<class N>
  struct model final : base {
    explicit model(N its) : n{std::move(its)} {}
    void start(instant now, outbox& out) override { n.start(now, out); }
    void on_patch(instant now, patch const& p, outbox& out) override { n.on_patch(now, p, out); }
    void on_gradient(instant now, gradient g, outbox& out) override { n.on_gradient(now, std::move(g), out); }
    void on_gradient_part(instant now, gradient_part g, outbox& out) override {
      if constexpr (requires { n.on_gradient_part(now, std::move(g), out); })
        n.on_gradient_part(now, std::move(g), out);
    }
    [[nodiscard]] auto takes_gradient_parts() const -> bool override {
      if constexpr (requires { n.takes_gradient_parts(); }) return n.takes_gradient_parts();
      else return false;
    }
    void on_wakeup(instant now, wakeup w, outbox& out) override { n.on_wakeup(now, w, out); }
    void on_neighbours(instant now, neighbour_change const& c, outbox& out) override { n.on_neighbours(now, c, out); }
    auto estimate() const -> shared_buffer override { return n.estimate(); }
    auto statistics() const -> node_statistics override { return n.statistics(); }
    void audit(tracking_audit& a) const override { n.audit(a); }
    auto channels() const -> std::span<channel_spec const> override { return n.channels(); }
    auto common_round() const -> std::optional<round_state> override {
      if constexpr (requires { n.common_round(); }) return n.common_round();
      else return {};
    }
    void meet_at(std::uint64_t round, std::uint64_t every) override {
      if constexpr (requires { n.meet_at(round, every); }) n.meet_at(round, every);
    }
    void on_members(std::span<node_id const> present) override {
      if constexpr (requires { n.on_members(present); }) n.on_members(present);
    }
    [[nodiscard]] auto takes_members() const -> bool override {
      return requires(N& its, std::span<node_id const> present) { its.on_members(present); };
    }
    [[nodiscard]] auto closes_ended_edges() const -> bool override {
      if constexpr (requires { n.closes_ended_edges(); }) return n.closes_ended_edges();
      else return false;
    }
    void visit_state(state_visitor& visit) override { visit("node", n); }
    N n;
  };
  std::unique_ptr<base> self_;
  bool started_ = false;
};

}  // namespace rubato
