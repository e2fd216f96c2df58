// SPDX-License-Identifier: MIT
// How long a gradient takes on the virtual clock: a distribution, and factors for nodes that are slower.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>

namespace rubato::sim {

using std::chrono::nanoseconds;

/// A pure function of (seed, node, draw): the same run sees the same durations in any order of events.
class compute_model {
 public:
  enum class shape : std::uint8_t { fixed, lognormal };

  compute_model() = default;
  compute_model(shape s, nanoseconds mean, double variation) : shape_{s}, mean_{mean}, variation_{variation} {
    if (mean.count() < 0) throw config_error{"a compute time cannot be negative"};
    if (!(variation >= 0) || !std::isfinite(variation)) {
      throw config_error{"a coefficient of variation must be 0 or more, not " + std::to_string(variation)};
    }
  }

  /// The same model with `node` slower by `factor` (> 0; below 1 is faster).
  [[nodiscard]] auto slow(std::uint32_t node, double factor) const -> compute_model {
    if (!(factor > 0) || !std::isfinite(factor)) {
      throw config_error{"node " + std::to_string(node) + " cannot be slower by a factor of " + std::to_string(factor) +
                         "; give a positive number"};
    }
    auto copy = *this;
    copy.factors_.emplace_back(node, factor);
    return copy;
  }

  /// The same model with every mean times `factor` (> 0): of a gradient over fewer samples, or over more.
  [[nodiscard]] auto scaled(double factor) const -> compute_model {
    if (!(factor > 0) || !std::isfinite(factor)) {
      throw config_error{"compute times cannot be scaled by " + std::to_string(factor) + "; give a positive number"};
    }
    auto copy = *this;
    copy.mean_ = nanoseconds{std::llround(static_cast<double>(mean_.count()) * factor)};
    return copy;
  }

  [[nodiscard]] auto duration(std::uint64_t seed, node_id node, std::uint64_t draw) const -> nanoseconds {
    auto ns = static_cast<double>(mean_.count()) * factor_of(node);
    if (shape_ == shape::lognormal && variation_ > 0) {
      auto const variance = std::log1p(variation_ * variation_);
      auto stream = random_stream{{seed, 0x636f6d70ULL, static_cast<std::uint64_t>(node), draw}};
      ns *= std::exp(std::sqrt(variance) * stream.normal() - variance / 2);  // mean 1
    }
    return nanoseconds{std::llround(ns)};
  }
  [[nodiscard]] auto mean() const -> nanoseconds { return mean_; }
  [[nodiscard]] auto factor_of(node_id node) const -> double {
    auto factor = 1.0;
    for (auto const& [id, f] : factors_) factor *= id == static_cast<std::uint32_t>(node) ? f : 1.0;
    return factor;
  }
  /// Throws config_error if a slow node is not one of the run's.
  void check(std::size_t nodes) const {
    for (auto const& [id, f] : factors_) {
      if (id >= nodes) {
        throw config_error{"node " + std::to_string(id) + " cannot be slow: the run has nodes 0 to " +
                           std::to_string(nodes - 1)};
      }
    }
  }

 private:
  shape shape_ = shape::fixed;
  nanoseconds mean_{std::chrono::milliseconds{10}};
  double variation_ = 0;
  std::vector<std::pair<std::uint32_t, double>> factors_;
};

[[nodiscard]] inline auto fixed(nanoseconds time) -> compute_model { return {compute_model::shape::fixed, time, 0}; }
/// Lognormal with this mean and coefficient of variation (standard deviation over mean).
[[nodiscard]] inline auto lognormal(nanoseconds mean, double variation) -> compute_model {
  return {compute_model::shape::lognormal, mean, variation};
}

}  // namespace rubato::sim
