// SPDX-License-Identifier: MIT
// A pace for nodes whose gradients are far faster than their links. Messages that are K local iterations old need a
// step K times smaller, and they fill queues that make them older still. A paced node begins a gradient only
//   as long after the one before as its neighbours' messages are under way     (messages are about one iteration old)
//   as long after it as a neighbour has been silent then, `ahead` iterations    (partitions, bursts of loss, and the
//   after its newest message: each of them takes twice the time                 beginning, before any message came)
// The second rule spares stragglers: it binds only if a neighbour has been silent for more than twice its usual time. A
// pace waits for a time and never for a message, so nothing that is lost or slow can stop it. If links are faster than
// gradients, the first rule never binds, and the second only after lost messages and at the beginning. While neither
// binds, not a bit changes.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <rubato/core/node.hpp>
#include <rubato/run/assemble.hpp>

namespace rubato {

struct pace_options {
  /// Local iterations that a node begins at full speed after the newest message of a neighbour that has become silent.
  /// 0: no pace at all.
  std::uint32_t ahead = 4;
};

namespace detail {

/// When one node may begin its next gradient. Knows times and message numbers only.
/// **Thread safety:** one owner.
class pacer {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("neighbours", self.neighbours_), visit("posted", self.posted_), visit("last", self.last_);
  }

  pacer(std::vector<node_id> const& senders, pace_options const& o) : ahead_{o.ahead} {
    for (auto const id : senders) neighbours_.push_back({id});
    std::sort(neighbours_.begin(), neighbours_.end(), [](auto const& a, auto const& b) { return a.id < b.id; });
    auto const same = [](auto const& a, auto const& b) { return a.id == b.id; };
    neighbours_.erase(std::unique(neighbours_.begin(), neighbours_.end(), same), neighbours_.end());
  }

  void starts(instant now) {
    for (auto& n : neighbours_) n.heard = now;
  }
  void hears(patch const& p, instant now) {
    auto* const n = find(p.from);
    if (n == nullptr || p.numbers.empty() || !(p.session == n->session)) return;
    auto& newest = n->newest[static_cast<std::size_t>(p.channel)];
    auto const number = p.number_of(p.blocks.begin);
    if (number < newest) return;  // overtaken: its delay does not matter
    if (number > *std::max_element(n->newest.begin(), n->newest.end())) n->goes_on(now);
    newest = number;
    n->heard = now;
    n->begun = 0;
    n->delays[n->samples++ % n->delays.size()] = (std::min)(under_way(p, now), longest);
    n->delay = usual_of(*n);
  }
  /// The edge has begun a new session, or has ended one.
  void changes(neighbour_change const& c, instant now) {
    auto* const n = find(c.peer);
    if (n == nullptr) return;
    if (last_ && *last_ > now) last_ = now;  // the clock has begun anew since
    *n = {n->id};
    n->session = c.incoming;
    n->counts = c.what == neighbour_change::edge::opens;
    n->heard = now;
  }
  /// No more messages are expected of that neighbour.
  void leaves(node_id id) {
    if (auto* const n = find(id)) n->counts = false;
  }
  /// Adds to a message what was heard of its receiver, so that the receiver need not rely on our clock.
  void posts(packet& p, instant now) {
    posted_[to_count(p.number) % posted_.size()] = {p.number, now};
    if (auto const* const n = find(p.to); n != nullptr && p.based_on == iteration{}) {
      p.based_on = *std::max_element(n->newest.begin(), n->newest.end());
    }
  }
  void begins(instant now) {
    last_ = now;
    for (auto& n : neighbours_) ++n.begun;
  }
  /// When the next gradient may begin; any past time if none has begun.
  [[nodiscard]] auto due() const -> instant {
    if (!last_) return {(std::chrono::nanoseconds::min)()};
    auto pause = std::chrono::nanoseconds{};
    for (auto const& n : neighbours_) {
      if (!n.counts) continue;
      pause = (std::max)(pause, n.delay);
      auto const silent = *last_ - n.heard;
      if (n.begun >= ahead_ && silent > 2 * n.gap) pause = (std::max)(pause, (std::min)(silent, longest));
    }
    return *last_ + pause;
  }

 private:
  struct neighbour {
    node_id id{};
    session_id session{};  // messages of another session may have any number
    bool counts = true;
    instant heard{};
    std::uint64_t begun = 0;  // our gradients since its newest message
    std::array<iteration, channel_count> newest{};
    std::array<std::chrono::nanoseconds, 8> delays{};  // of its last messages
    std::size_t samples = 0;
    std::chrono::nanoseconds delay{};  // see usual_of
    std::optional<instant> went_on{};  // when a message of its newest iteration came
    std::chrono::nanoseconds gap{};  // between two of its iterations: the mean of the last 64 or so
    std::int64_t gaps = 0;

    static void visit_state(auto& self, auto&& visit) {
      visit("session", self.session), visit("counts", self.counts), visit("heard", self.heard),
          visit("begun", self.begun);
      visit("newest", self.newest), visit("delays", self.delays), visit("samples", self.samples);
      visit("delay", self.delay), visit("went on", self.went_on), visit("gap", self.gap), visit("gaps", self.gaps);
    }

    /// One long silence counts as four usual ones at most, since a node that is silent for longer and longer is not a
    /// straggler.
    void goes_on(instant now) {
      if (went_on) {
        auto const last = now - *went_on;
        gap += ((gaps == 0 ? last : (std::min)(last, 4 * gap)) - gap) / (std::min<std::int64_t>)(gaps + 1, 64);
        ++gaps;
      }
      went_on = now;
    }
  };
  struct post {
    iteration number{};
    instant at{};
    static void visit_state(auto& self, auto&& visit) { visit("number", self.number), visit("at", self.at); }
  };

  [[nodiscard]] auto find(node_id id) -> neighbour* {
    auto const at = std::lower_bound(neighbours_.begin(), neighbours_.end(), id,
                                     [](auto const& n, node_id wanted) { return n.id < wanted; });
    return at != neighbours_.end() && at->id == id ? &*at : nullptr;
  }
  /// A delay by the clocks of both ends, which may disagree. It is bounded, because an answer is younger than the
  /// message that it answers.
  [[nodiscard]] auto under_way(patch const& p, instant now) const -> std::chrono::nanoseconds {
    auto const by_clocks = (std::max)(now - p.posted_at, std::chrono::nanoseconds{});
    auto const& answered = posted_[to_count(p.based_on) % posted_.size()];
    auto const is_known = p.based_on != iteration{} && answered.number == p.based_on;
    return is_known ? (std::min)(by_clocks, now - answered.at) : by_clocks;
  }
  /// Between the mean of the last delays and the largest: where lost messages are retransmitted, one edge or another
  /// always waits for that.
  static auto usual_of(neighbour const& n) -> std::chrono::nanoseconds {
    auto const end = n.delays.begin() + static_cast<std::ptrdiff_t>((std::min)(n.samples, n.delays.size()));
    auto const sum = std::accumulate(n.delays.begin(), end, std::chrono::nanoseconds{});
    return (sum / (end - n.delays.begin()) + *std::max_element(n.delays.begin(), end)) / 2;
  }

  /// A link that works again is noticed only when it is used. The delay of a message that a partition held back says
  /// little about the messages after it.
  static constexpr std::chrono::nanoseconds longest = std::chrono::seconds{1};

  std::uint32_t ahead_;
  std::vector<neighbour> neighbours_;  // by id
  std::array<post, 1024> posted_{};  // by number
  std::optional<instant> last_;
};

/// Whether all of a node's channels are state channels. Nodes with event channels wait by themselves.
inline auto runs_free(any_node const& n) -> bool {
  auto const all = n.channels();
  auto const is_state = [](auto const& c) { return c.kind == channel_kind::state; };
  return !all.empty() && std::all_of(all.begin(), all.end(), is_state);
}

}  // namespace detail

/// A node whose requests for gradients are held back until they are due. Costs no pass over memory.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as the node's.
class paced_node {
 public:
  paced_node(any_node inner, std::shared_ptr<detail::pacer> pace) : inner_{std::move(inner)}, pace_{std::move(pace)} {}

  void start(instant now, outbox& out) {
    pace_->starts(now);
    inner_.start(now, out);
    hold_back(now, out);
  }
  void on_patch(instant now, patch const& p, outbox& out) {
    pace_->hears(p, now);
    inner_.on_patch(now, p, out);
    hold_back(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    inner_.on_gradient(now, std::move(g), out);
    hold_back(now, out);
  }
  void on_wakeup(instant now, wakeup w, outbox& out) {
    if (w.id != own_wakeup) inner_.on_wakeup(now, w, out);
    hold_back(now, out);
  }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) {
    pace_->changes(c, now);
    inner_.on_neighbours(now, c, out);
    hold_back(now, out);
  }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner_.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner_.statistics(); }
  void audit(tracking_audit& a) const { inner_.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner_.channels(); }
  [[nodiscard]] auto closes_ended_edges() const -> bool { return inner_.closes_ended_edges(); }
  static void visit_state(auto& self, auto&& visit) {
    visit("inner", self.inner_), visit("pace", *self.pace_), visit("held", self.held_);
    visit("wakes at", self.wakes_at_);
  }

 private:
  static constexpr auto own_wakeup = (std::numeric_limits<std::uint32_t>::max)();

  void hold_back(instant now, outbox& out) {
    for (auto& p : out.packets) pace_->posts(p, now);
    if (out.cancel && held_) {  // the driver has not seen this request
      held_.reset();
      out.cancel.reset();
    }
    if (out.request) held_ = std::exchange(out.request, std::nullopt);
    if (!held_) return;
    if (auto const due = pace_->due(); due > now) {
      if (wakes_at_ > now && wakes_at_ <= due) return;
      wakes_at_ = due;
      out.wakeups.push_back({own_wakeup, due});
      return;
    }
    pace_->begins(now);
    out.request = std::exchange(held_, std::nullopt);
  }

  any_node inner_;
  std::shared_ptr<detail::pacer> pace_;
  std::optional<gradient_request> held_;
  instant wakes_at_{};
};

namespace detail {

/// Paces node `self` of `a`. Returns null and leaves the node as it is if it waits by itself or no pace is asked for. A
/// node that is paced already keeps its pace.
inline auto pace_one(assembly& a, node_id self, pace_options const& o) -> std::shared_ptr<pacer> {
  auto& n = a.nodes[to_index(self)];
  if (o.ahead == 0 || !a.factory || !runs_free(n)) return nullptr;
  a.paces.resize(a.nodes.size());
  auto& by = a.paces[to_index(self)];
  if (by) return by;
  by = std::make_shared<pacer>(a.factory.senders(to_index(self)), o);
  n = any_node{paced_node{std::move(n), by}};
  return by;
}

}  // namespace detail

/// Paces all nodes of `a`, under any driver. Nodes with event channels wait by themselves and stay as they are.
/// run_peer does this by itself, except where members come and go: paced nodes take no other place in the network. A
/// node is not paced after a restart.
inline void pace(assembly& a, pace_options const& o = {}) {
  for (std::size_t i = 0; i < a.nodes.size(); ++i) static_cast<void>(detail::pace_one(a, to_node(i), o));
}

}  // namespace rubato
