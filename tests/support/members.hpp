// SPDX-License-Identifier: MIT
// Runs whose members come and go: where the present ones should end, and the tracking law while they differ about who
// is there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <rubato/driver/simulator.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>

namespace rubato::test {

/// The optimum of the sum over these nodes.
inline auto optimum_of(problem::quadratic const& q, std::vector<node_id> const& present) -> std::vector<double> {
  std::vector<double> x(q.dimension());
  for (std::size_t k = 0; k < x.size(); ++k) {
    auto curvatures = 0.0, pulls = 0.0;
    for (auto const id : present) {
      curvatures += q.curvature(to_index(id), k);
      pulls += q.curvature(to_index(id), k) * q.centre(to_index(id), k);
    }
    x[k] = pulls / curvatures;
  }
  return x;
}

inline auto present_in(simulator const& run, std::size_t members) -> std::vector<node_id> {
  std::vector<node_id> present;
  for (std::size_t i = 0; i < members; ++i)
    if (run.is_there(to_node(i))) present.push_back(to_node(i));
  return present;
}

/// The largest distance, in one value, of a present node's model from their optimum.
inline auto farthest_present(simulator const& run, problem::quadratic const& q) -> double {
  auto const present = present_in(run, q.nodes());
  auto const best = optimum_of(q, present);
  auto worst = 0.0;
  std::vector<double> x;
  for (auto const id : present) {
    rubato::detail::widen(run.nodes()[to_index(id)].estimate(), x);
    for (std::size_t k = 0; k < x.size(); ++k) worst = std::max(worst, std::abs(x[k] - best[k]));
  }
  return worst;
}

/// Looks at the law after every few events.
class law_of_members : public simulation_trace {
 public:
  explicit law_of_members(std::uint64_t every) : every_{every} {}
  void after_event(instant, node_id, std::span<any_node const> every_node) override {
    if (++events_ % every_ != 0) return;
    audits_.resize(every_node.size());
    for (std::size_t i = 0; i < every_node.size(); ++i) every_node[i].audit(audits_[i]);
    worst_ = std::max(worst_, tracking_residual(audits_));
    auto held = std::vector<double>(audits_[0].tracker.size(), 0.0);
    for (auto const& a : audits_)
      for (std::size_t c = 0; c < held.size() && c < a.tracker.size(); ++c) held[c] += a.tracker[c] - a.gradient[c];
    if (std::any_of(held.begin(), held.end(), [](double v) { return v != 0; })) ++under_way_;
    ++looks_;
  }
  /// In the ledger's units.
  [[nodiscard]] auto worst() const -> double { return worst_; }
  [[nodiscard]] auto looks() const -> std::uint64_t { return looks_; }
  /// Looks at which some of the mass was on its way, so that trackers alone would not have added up.
  [[nodiscard]] auto with_mass_under_way() const -> std::uint64_t { return under_way_; }

 private:
  std::uint64_t every_, events_ = 0, looks_ = 0, under_way_ = 0;
  double worst_ = 0;
  std::vector<tracking_audit> audits_;
};

}  // namespace rubato::test
