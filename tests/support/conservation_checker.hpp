// SPDX-License-Identifier: MIT
// The tracking law, checked after every event of a simulation from what is public: audits of the nodes, and a log of
// the packets that were posted. It knows nothing of how nodes work.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <rubato/driver/simulator.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/run/metrics.hpp>

namespace rubato::test {

/// The values of a body as doubles, which hold 32-bit units exactly.
inline auto widened(shared_buffer const& b) -> std::vector<double> {
  std::vector<double> out;
  if (b.kind() == element::i32) out.assign(b.view<std::int32_t>().begin(), b.view<std::int32_t>().end());
  else rubato::detail::widen(b, out);
  return out;
}

/// After every event:
/// - sum z + sum (newest posted rho - consumed) = sum g: exactly in fixed point, otherwise within a tolerance relative
///   to sum |z| + sum |in flight|;
/// - what is consumed is, block by block, a body that was really posted on that edge, and never an older one again;
/// - iteration numbers of posts rise, edge by edge and channel by channel; rho as audited is rho as last posted;
/// - once it knows the plan: rows of W and columns of A are stochastic, and what a node posts is its column of A times
///   what its tracker held, to the rounding of the ledger: so columns as they are used sum to one too.
class conservation_checker : public simulation_trace {
 public:
  /// What a node does after a push before it stops: with push_pull it may consume at once.
  enum class after_push : std::uint8_t { stops, consumes };

  explicit conservation_checker(block_partition blocks, double tolerance = 1e-10)
      : blocks_{blocks}, tolerance_{tolerance} {}

  /// Checks the plan, and every push against it.
  void knows(mixing::plan const& plan, after_push then = after_push::stops) {
    plan_ = plan;
    then_ = then;
    for (auto const& n : plan.nodes) {
      check_sum(n.pull_self, n.pull_from, "row of W", n.self);
      check_sum(n.push_self, n.push_to, "column of A", n.self);
    }
  }

  void posted(instant, packet const& p) override {
    auto& newest = numbers_[{p.from, p.to, p.channel}];
    if (!(p.number > newest)) complain("post " + edge_text(p.from, p.to) + " repeats an iteration number");
    newest = p.number;
    if (p.channel != channel_id::tracker) return;
    auto& log = log_of(p.from, p.to);
    log.bodies.push_back(widened(p.body));
    auto const n = log.bodies.size();
    auto& share = shares_[{p.from, p.to}];
    share.resize(blocks_.values());
    for (std::size_t c = 0; c < share.size(); ++c) {
      auto const before = n < 2 ? 0.0 : value(log.bodies[n - 2], c);
      share[c] = rubato::detail::in_flight(log.bodies[n - 1][c], before, p.body.kind() == element::i32);
    }
  }

  void after_event(instant, node_id node, std::span<any_node const> nodes) override {
    auto const all = audits_.size() != nodes.size() || ++events_ % 64 == 0;
    audits_.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (!all && i != to_index(node)) continue;
      auto const former = std::exchange(audits_[i], {});
      nodes[i].audit(audits_[i]);
      check_edges(i);
      if (i == to_index(node) && !shares_.empty() && !plan_.nodes.empty()) check_column(i, former);
    }
    shares_.clear();
    check_law();
  }

  /// What was posted on the edges of this node belongs to another session.
  void restarted(instant, node_id node) override {
    auto const touches = [node](auto const& key) { return key.first == node || key.second == node; };
    std::erase_if(logs_, [&](auto const& each) { return touches(each.first); });
    std::erase_if(shares_, [&](auto const& each) { return touches(each.first); });
    std::erase_if(numbers_, [&](auto const& each) { return each.first.from == node || each.first.to == node; });
    audits_.clear();  // the neighbours changed too
  }

  [[nodiscard]] auto events() const -> std::uint64_t { return events_; }
  /// The largest residual of the law so far: units in fixed point, otherwise relative to sum |z| + sum |in flight|.
  [[nodiscard]] auto worst() const -> double { return worst_; }
  /// How many pushes were compared with their column of A.
  [[nodiscard]] auto columns_checked() const -> std::uint64_t { return columns_checked_; }
  [[nodiscard]] auto largest_in_flight() const -> double { return largest_in_flight_; }
  /// What was wrong, the first few times.
  [[nodiscard]] auto complaints() const -> std::vector<std::string> const& { return complaints_; }
  [[nodiscard]] auto complains_of(char const* what) const -> bool {
    return std::any_of(complaints_.begin(), complaints_.end(),
                       [&](auto const& c) { return c.find(what) != std::string::npos; });
  }

 private:
  struct edge_log {
    std::deque<std::vector<double>> bodies{{}};  // from the oldest that may still be in use; empty stands for zeros
    std::size_t first = 0;  // number of bodies[0]
    std::vector<std::size_t> consumed;  // per block, the body that was consumed last
  };
  struct lane_key {
    node_id from;
    node_id to;
    channel_id channel;
    friend auto operator<=>(lane_key const&, lane_key const&) = default;
  };

  auto log_of(node_id from, node_id to) -> edge_log& {
    auto& log = logs_[{from, to}];
    log.consumed.resize(blocks_.blocks(), 0);
    return log;
  }
  static auto edge_text(node_id from, node_id to) -> std::string {
    return std::to_string(to_index(from)) + " -> " + std::to_string(to_index(to));
  }
  void complain(std::string what) {
    if (complaints_.size() < 8) complaints_.push_back("event " + std::to_string(events_) + ": " + std::move(what));
  }

  void check_sum(double self, std::vector<mixing::weighted_edge> const& others, char const* what, node_id node) {
    auto sum = self;
    auto negative = self < 0;
    for (auto const& w : others) {
      sum += w.weight;
      negative = negative || w.weight < 0;
    }
    if (negative || !(std::abs(sum - 1) < 1e-12))
      complain("the " + std::string{what} + " of node " + std::to_string(to_index(node)) + " is not stochastic");
  }

  /// Each share is a_ji times what z held before the push: what it holds now, and what it gave away.
  void check_column(std::size_t i, tracking_audit const& former) {
    auto const& a = audits_[i];
    auto const& column = plan_.nodes[i].push_to;
    auto held = a.tracker;
    for (auto const& [edge, share] : shares_) {
      for (std::size_t c = 0; c < held.size(); ++c) held[c] += share[c];
    }
    for (std::size_t e = 0; e < a.consumed.size() && then_ == after_push::consumes; ++e) {
      auto const known = e < former.consumed.size();
      for (std::size_t c = 0; c < held.size(); ++c) {
        held[c] -= rubato::detail::in_flight(value(a.consumed[e].total, c),
                                             known ? value(former.consumed[e].total, c) : 0.0, a.fixed_point);
      }
    }
    if (column.size() != shares_.size())
      complain("node " + std::to_string(i) + " pushed to others than its column of A says");
    for (auto const& w : column) {
      auto const& share = shares_[{to_node(i), w.peer}];
      auto const& rho = log_of(to_node(i), w.peer).bodies.back();
      for (std::size_t c = 0; c < share.size(); ++c) {
        auto const rounding =
            a.fixed_point ? 1 + 1e-6 * std::abs(held[c]) : 1e-12 * (std::abs(held[c]) + std::abs(rho[c]) + 1);
        if (!(std::abs(share[c] - w.weight * held[c]) <= rounding))
          complain("push " + edge_text(to_node(i), w.peer) + " is not its column of A times the tracker");
      }
    }
    ++columns_checked_;
  }

  void check_edges(std::size_t i) {
    for (auto const& e : audits_[i].consumed) {
      auto& log = log_of(e.peer, to_node(i));
      for (std::size_t b = 0; b < blocks_.blocks(); ++b) {
        if (!find_consumed(log, e.total, b))
          complain("node " + std::to_string(i) + " consumed what was never posted, or older than before, of node " +
                   std::to_string(to_index(e.peer)));
      }
      auto const oldest = *std::min_element(log.consumed.begin(), log.consumed.end());
      while (log.first < oldest) {
        log.bodies.pop_front();
        ++log.first;
      }
    }
    for (auto const& e : audits_[i].pushed) {
      if (log_of(to_node(i), e.peer).bodies.back() != e.total)
        complain("rho " + edge_text(to_node(i), e.peer) + " is not what was posted last");
    }
  }

  auto find_consumed(edge_log& log, std::vector<double> const& total, std::size_t block) const -> bool {
    auto const r = blocks_.values_of({block, block + 1});
    for (auto at = log.consumed[block]; at < log.first + log.bodies.size(); ++at) {
      auto const& body = log.bodies[at - log.first];
      auto same = true;
      for (auto c = r.begin; c < r.end && same; ++c) same = value(body, c) == value(total, c);
      if (!same) continue;
      log.consumed[block] = at;
      return true;
    }
    return false;
  }
  static auto value(std::vector<double> const& v, std::size_t c) -> double { return v.empty() ? 0.0 : v[c]; }

  void check_law() {
    law_.assign(blocks_.values(), 0.0);
    auto scale = 0.0;
    auto fixed = false;
    for (std::size_t i = 0; i < audits_.size(); ++i) {
      auto const& a = audits_[i];
      fixed = a.fixed_point;
      for (std::size_t c = 0; c < a.tracker.size(); ++c) {
        law_[c] += a.tracker[c] - a.gradient[c];
        scale += std::abs(a.tracker[c]);
      }
      for (auto const& e : a.consumed) {
        auto const& newest = log_of(e.peer, to_node(i)).bodies.back();
        if (newest.empty()) continue;
        for (std::size_t c = 0; c < newest.size(); ++c) {
          auto const flying = rubato::detail::in_flight(newest[c], value(e.total, c), fixed);
          law_[c] += flying;
          scale += std::abs(flying);
          largest_in_flight_ = std::max(largest_in_flight_, std::abs(flying));
        }
      }
    }
    auto residual = 0.0;
    for (auto const v : law_) residual += std::abs(v);
    if (!fixed && residual > 0) residual /= scale;
    worst_ = std::max(worst_, residual);
    if (!(residual <= (fixed ? 0.0 : tolerance_))) complain("the tracking law is off by " + std::to_string(residual));
  }

  block_partition blocks_;
  double tolerance_;
  mixing::plan plan_;
  after_push then_ = after_push::stops;
  std::map<std::pair<node_id, node_id>, std::vector<double>> shares_;  // of the event under way
  std::uint64_t columns_checked_ = 0;
  std::map<lane_key, iteration> numbers_;
  std::map<std::pair<node_id, node_id>, edge_log> logs_;
  std::vector<tracking_audit> audits_;
  std::vector<double> law_;
  std::vector<std::string> complaints_;
  std::uint64_t events_ = 0;
  double worst_ = 0;
  double largest_in_flight_ = 0;
};

}  // namespace rubato::test
