// SPDX-License-Identifier: MIT
// A node, with what a driver in real time keeps for it between two calls: the request under way, wake-ups, and for what
// and since when it waits. The threads driver and the driver of one process use it for their nodes.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/channel_table.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/text.hpp>

namespace rubato::detail {

/// To be called in a catch block: throws a run_error that says where it happened and nests the caught exception.
[[noreturn]] inline void rethrow_named(std::string const& where) {
  try {
    throw;
  } catch (std::exception const& e) {
    std::throw_with_nested(run_error{where + ": " + e.what()});
  } catch (...) {
    std::throw_with_nested(run_error{where + ": something was thrown that is not a std::exception"});
  }
}

/// The same of one that was kept.
[[noreturn]] inline void rethrow_named(std::exception_ptr const& thrown, std::string const& where) {
  try {
    std::rethrow_exception(thrown);
  } catch (...) {
    rethrow_named(where);
  }
}

/// The sentence that ends a run whose node has waited too long.
inline auto waited_too_long(std::size_t node, waiting const& w, std::chrono::nanoseconds waited) -> std::string {
  return "node " + std::to_string(node) + " has waited for " + std::string{name_of(w.channel)} + " message " +
         std::to_string(to_count(w.number)) + " of node " + std::to_string(to_index(w.peer)) + " for " +
         shortest(to_seconds(waited)) + " s, which is longer than the patience";
}

/// **Thread safety:** one owner. `send(packet, now)` is called for every packet, in order. Failures throw run_error.
class hosted_node {
 public:
  hosted_node(any_node& n, std::size_t self) : node_{&n}, self_{self} { channels_.add(n.channels()); }

  template<class Send>
  void start(instant now, Send&& send) {
    node_->start(now, out_);
    drain(now, send);
  }
  template<class Send>
  void deliver(instant now, patch const& p, Send&& send) {
    node_->on_patch(now, p, out_);
    ++delivered_[{p.from, p.channel}];
    drain(now, send);
  }
  /// Throws run_error if the loss is infinite; a loss of NaN means that it is not known.
  template<class Send>
  void finish(instant now, gradient g, Send&& send) {
    if (std::isinf(g.loss)) {
      throw run_error{"the run diverges: the loss at node " + std::to_string(self_) + " is not finite at " +
                      shortest(to_seconds(now.since_start)) + " s; use a smaller step"};
    }
    outstanding_.reset();
    node_->on_gradient(now, std::move(g), out_);
    drain(now, send);
  }
  /// Parts of the gradient under way; those of another are dropped.
  template<class Send>
  void take_parts(instant now, std::vector<gradient_part> parts, Send&& send) {
    for (auto& each : parts) {
      if (!outstanding_ || outstanding_->id != each.id) return;
      node_->on_gradient_part(now, std::move(each), out_);
      drain(now, send);
    }
  }
  template<class Send>
  void change(instant now, neighbour_change const& c, Send&& send) {
    node_->on_neighbours(now, c, out_);
    drain(now, send);
  }
  /// Closes the edge to a lost peer. If the node cannot go on without it, the sentence also says why it was lost:
  /// another node may have died, because of which this peer ended.
  template<class Send>
  void close(instant now, node_id peer, std::string const& why, Send&& send) {
    node_->on_neighbours(now, {peer, neighbour_change::edge::closes, {}, {}}, out_);
    if (out_.failure) throw peer_error{why + ", and " + out_.failure->sentence};
    drain(now, send);
  }
  /// Calls all wake-ups that are due by now.
  template<class Send>
  void wake(instant now, Send&& send) {
    auto const later = std::find_if(wakeups_.begin(), wakeups_.end(), [&](auto const& w) { return w.at > now; });
    std::vector<wakeup> const due(wakeups_.begin(), later);
    wakeups_.erase(wakeups_.begin(), later);
    for (auto const& w : due) {
      node_->on_wakeup(now, w, out_);
      drain(now, send);
    }
  }

  /// The state: the node, the request whose gradient it waits for, and its wake-ups.
  static void visit_state(auto& self, auto&& visit) {
    visit("node", *self.node_), visit("outstanding", self.outstanding_), visit("wake-ups", self.wakeups_);
  }
  /// Continues a node whose state was put back. All its edges are closed (law 11) until the drivers of both ends open
  /// them. What it posts meanwhile belongs to an old session. Its wake-ups belong to another clock, and are due at
  /// once.
  void resume(instant now, std::span<node_id const> neighbours) {
    auto const nowhere = [](packet const&, instant) {};
    resume(now);
    for (auto const peer : neighbours) change(now, {peer, neighbour_change::edge::closes, {}, {}}, nowhere);
  }

  /// The same of a node with which all go on at the beginning of one round. Each of its edges is to resume
  /// (neighbour_change) before anything else comes.
  void resume(instant now) {
    request_ = outstanding_;
    for (auto& w : wakeups_) w.at = now;
  }

  /// The gradient that the node wants. It is given once, and counts as under way from then on.
  [[nodiscard]] auto take_request() -> std::optional<gradient_request> {
    cancelled_ = false;
    return std::exchange(request_, std::nullopt);
  }
  [[nodiscard]] auto wants_gradient() const -> bool { return request_.has_value(); }
  /// Whether the node has cancelled the request that was taken last.
  [[nodiscard]] auto cancelled() const -> bool { return cancelled_; }

  [[nodiscard]] auto next_wakeup() const -> std::optional<instant> {
    return wakeups_.empty() ? std::nullopt : std::optional{wakeups_.front().at};
  }
  [[nodiscard]] auto wait() const -> std::optional<waiting> const& { return wait_; }
  [[nodiscard]] auto waiting_since() const -> instant { return waiting_since_; }
  [[nodiscard]] auto channels() const -> channel_table const& { return channels_; }
  [[nodiscard]] auto node() const -> any_node& { return *node_; }
  /// Packets handed to the node, by sender and channel.
  [[nodiscard]] auto delivered() const -> std::map<std::pair<node_id, channel_id>, std::uint64_t> const& {
    return delivered_;
  }

 private:
  /// Carries out what the node asked for.
  template<class Send>
  void drain(instant now, Send& send) {
    if (out_.failure) throw run_error{out_.failure->sentence};
    for (auto& p : out_.packets) {
      channels_.check(p);
      send(std::move(p), now);
    }
    if (out_.cancel) {
      cancelled_ = true;
      request_.reset();  // it may not even have begun
      outstanding_.reset();
    }
    for (auto const& w : out_.wakeups) {
      auto const earlier = [](instant at, auto const& other) { return at < other.at; };
      wakeups_.insert(std::upper_bound(wakeups_.begin(), wakeups_.end(), w.at, earlier), w);
    }
    note_waiting(now);
    if (out_.request) {
      outstanding_ = out_.request;
      request_ = std::move(out_.request);
    }
    out_.clear();
  }

  /// A wait begins anew when it is for another message.
  void note_waiting(instant now) {
    if (out_.request) {
      wait_.reset();
    } else if (out_.wait && wait_ != out_.wait) {
      wait_ = out_.wait;
      waiting_since_ = now;
    }
  }

  any_node* node_;
  std::size_t self_;
  channel_table channels_;
  outbox out_;
  std::optional<gradient_request> request_;  // not begun yet
  std::optional<gradient_request> outstanding_;  // no gradient has come for it yet
  std::vector<wakeup> wakeups_;  // in the order of their times
  bool cancelled_ = false;
  std::optional<waiting> wait_;
  instant waiting_since_{};
  std::map<std::pair<node_id, channel_id>, std::uint64_t> delivered_;
};

}  // namespace rubato::detail
