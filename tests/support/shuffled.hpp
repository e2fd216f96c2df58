// SPDX-License-Identifier: MIT
// A driver of pure disorder: any packet or any gradient may be next, packets vanish, repeat and overtake, and edges
// close and open at either end at different times. For what must hold in any order of events. Where every message
// counts, links keep order and lose nothing, and no message comes before its edge has opened.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/run/metrics.hpp>

#include "support/lockstep.hpp"

namespace rubato::test {

class shuffled {
 public:
  shuffled(assembly a, std::uint64_t seed, double loss)
      : a_{std::move(a)},
        draw_{0x73687566ULL, seed},
        loss_{loss},
        requests_(a_.nodes.size()),
        asleep_(a_.nodes.size(), false) {
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) {
      a_.nodes[i].start({}, out_);
      drain(i);
    }
  }

  /// One event: a packet arrives (or is lost, or comes twice), or a node gets its gradient.
  void step() {
    if (!under_way_.empty() && draw_.chance(under_way_.size() > 30 ? 0.97 : 0.6))
      arrive(draw_.below(under_way_.size()));
    else answer(draw_.below(a_.nodes.size()));
  }
  void steps(int count) {
    for (int k = 0; k < count; ++k) step();
  }

  /// Tells node `at` that its edges from and to `peer` close, or open, in a session of this number.
  void change(std::size_t at, std::size_t peer, neighbour_change::edge what, std::uint32_t number) {
    session_id const session{number, number};
    told_[{at, peer}] = number;
    a_.nodes[at].on_neighbours({}, {to_node(peer), what, session, session}, out_);
    drain(at);
  }
  /// A dead node answers nothing and its packets go nowhere.
  void kill(std::size_t i) { asleep_[i] = true; }

  /// Moves every packet under way from a node into a session, as a driver without sessions would understand them.
  void restamp_from(std::size_t sender, session_id session) {
    for (auto& p : under_way_) {
      if (to_index(p.from) == sender) p.session = session;
    }
  }
  /// How many packets are under way in a session other than this one.
  [[nodiscard]] auto strangers(session_id session) const -> std::size_t {
    std::size_t n = 0;
    for (auto const& p : under_way_) n += p.session == session ? std::size_t{0} : 1;
    return n;
  }

  [[nodiscard]] auto nodes() -> std::vector<any_node>& { return a_.nodes; }
  [[nodiscard]] auto is_dead(std::size_t i) const -> bool { return asleep_[i]; }
  [[nodiscard]] auto model(std::size_t i) const -> std::vector<double> {
    std::vector<double> x;
    rubato::detail::widen(a_.nodes[i].estimate(), x);
    return x;
  }
  [[nodiscard]] auto failure() const -> std::string const& { return failure_; }

 private:
  void arrive(std::size_t which) {
    if (counts(under_way_[which])) return arrive_in_order(which);
    auto const p = under_way_[which];
    auto const again = draw_.chance(0.1);
    if (!again) {
      under_way_[which] = std::move(under_way_.back());
      under_way_.pop_back();
    }
    if (draw_.chance(loss_) || asleep_[to_index(p.to)]) return;
    hand_over(a_.nodes[to_index(p.to)], p, a_.blocks.blocks(), out_);
    drain(to_index(p.to));
  }
  [[nodiscard]] auto counts(packet const& p) const -> bool {
    auto const all = a_.nodes[to_index(p.from)].channels();
    return std::any_of(all.begin(), all.end(),
                       [&](auto const& c) { return c.channel == p.channel && c.kind == channel_kind::event; });
  }
  /// The first that is under way on the same edge, if its session has begun at both ends.
  void arrive_in_order(std::size_t which) {
    auto const& chosen = under_way_[which];
    auto const first = std::find_if(under_way_.begin(), under_way_.end(),
                                    [&](packet const& p) { return p.from == chosen.from && p.to == chosen.to; });
    auto const to = to_index(first->to);
    if (first->session.sender > told_[{to, to_index(first->from)}]) return;
    auto const p = std::move(*first);
    under_way_.erase(first);
    if (asleep_[to]) return;
    hand_over(a_.nodes[to], p, a_.blocks.blocks(), out_);
    drain(to);
  }
  void answer(std::size_t i) {
    if (asleep_[i] || !requests_[i].point) return;
    auto const asked = std::exchange(requests_[i], {});
    a_.nodes[i].on_gradient({}, a_.oracle.evaluate(asked), out_);
    drain(i);
  }
  void drain(std::size_t i) {
    if (out_.cancel) requests_[i] = {};
    if (out_.request) requests_[i] = std::move(*out_.request);
    for (auto& p : out_.packets) under_way_.push_back(std::move(p));
    if (out_.failure) failure_ = out_.failure->sentence;
    out_.clear();
  }

  assembly a_;
  random_stream draw_;
  double loss_;
  std::vector<gradient_request> requests_;
  std::vector<bool> asleep_;
  std::vector<packet> under_way_;
  std::map<std::pair<std::size_t, std::size_t>, std::uint32_t> told_;  // by node and peer: the last session
  std::string failure_;
  outbox out_;
};

/// What the tracking law leaves over, per coordinate, from the audits of the living; edges to the dead do not count.
/// In fixed point an edge that one end alone has closed leaves a multiple of 2^32.
inline auto law_of(shuffled& run) -> std::vector<double> {
  std::vector<tracking_audit> audits(run.nodes().size());
  for (std::size_t i = 0; i < audits.size(); ++i) run.nodes()[i].audit(audits[i]);
  std::map<std::pair<node_id, std::size_t>, std::vector<double>> pushed;
  for (std::size_t i = 0; i < audits.size(); ++i) {
    for (auto& e : audits[i].pushed) pushed[{e.peer, i}] = e.total;
  }
  std::vector<double> law(audits[0].tracker.size(), 0.0);
  for (std::size_t i = 0; i < audits.size(); ++i) {
    if (run.is_dead(i)) continue;
    for (std::size_t c = 0; c < law.size(); ++c) law[c] += audits[i].tracker[c] - audits[i].gradient[c];
    for (auto const& e : audits[i].consumed) {
      auto const& rho = pushed[{to_node(i), to_index(e.peer)}];
      for (std::size_t c = 0; c < law.size() && !run.is_dead(to_index(e.peer)); ++c) {
        law[c] += rubato::detail::in_flight(rho.empty() ? 0.0 : rho[c], e.total.empty() ? 0.0 : e.total[c],
                                            audits[i].fixed_point);
      }
    }
  }
  return law;
}

}  // namespace rubato::test
