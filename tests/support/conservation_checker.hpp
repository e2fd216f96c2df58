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

#include <rubato/run/metrics.hpp>
#include <rubato/sim/simulator.hpp>

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
/// - what is consumed is, block by block, a body that was really posted on that edge, and never an older one than before;
/// - iteration numbers of posts rise, edge by edge and channel by channel; rho as audited is rho as last posted.
class conservation_checker : public sim::observer {
 public:
  explicit conservation_checker(block_partition blocks, double tolerance = 1e-10)
      : blocks_{blocks}, tolerance_{tolerance} {}

  void posted(instant, packet const& p) override {
    auto& newest = numbers_[{p.from, p.to, p.lane}];
    if (!(p.number > newest)) complain("post " + edge_text(p.from, p.to) + " repeats an iteration number");
    newest = p.number;
    if (p.lane == channel::tracker) log_of(p.from, p.to).bodies.push_back(widened(p.body));
  }

  void after_event(instant, node_id node, std::span<any_node const> nodes) override {
    auto const all = audits_.size() != nodes.size() || ++events_ % 64 == 0;
    audits_.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (!all && i != to_index(node)) continue;
      nodes[i].audit(audits_[i]);
      check_edges(i);
    }
    check_law();
  }

  [[nodiscard]] auto events() const -> std::uint64_t { return events_; }
  /// The largest residual of the law so far: units in fixed point, otherwise relative to sum |z| + sum |in flight|.
  [[nodiscard]] auto worst() const -> double { return worst_; }
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
    std::size_t first = 0;                       // number of bodies[0]
    std::vector<std::size_t> consumed;           // per block, the body that was consumed last
  };
  struct lane_key {
    node_id from;
    node_id to;
    channel lane;
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
