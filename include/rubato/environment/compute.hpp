// SPDX-License-Identifier: MIT
// How long a gradient takes on the virtual clock: a distribution, factors for nodes that are slower, and windows of
// time in which a node computes nothing. All distributions are scaled to the mean that was asked for.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>

namespace rubato::environment {

using std::chrono::nanoseconds;

/// A pure function of (seed, node, draw): the same run sees the same durations in any order of events.
class compute_model {
 public:
  enum class shape : std::uint8_t { fixed, lognormal, half_normal, shifted_exponential, two_regime };

  compute_model() = default;
  /// `variation`: the standard deviation divided by the mean, if the shape leaves it open. Throws config_error.
  compute_model(shape s, nanoseconds mean, double variation);

  /// Two regimes: with this probability a gradient takes `least` to `most` times as long as otherwise, uniformly drawn.
  /// Throws config_error.
  [[nodiscard]] static auto of_two_regimes(nanoseconds mean, double probability, double least, double most)
      -> compute_model;

  /// The same model with `node` slower by `factor` (> 0; below 1 is faster).
  [[nodiscard]] auto slow(std::uint32_t node, double factor) const -> compute_model;

  /// The same model, in which `node` computes nothing from `from` to `until`. A gradient under way is finished that
  /// much later. The node still handles messages; environment::partition cuts its links too.
  [[nodiscard]] auto outage(std::uint32_t node, nanoseconds from, nanoseconds until) const -> compute_model;

  /// The same model with every mean multiplied by `factor` (> 0), for gradients over fewer or more samples.
  [[nodiscard]] auto scaled(double factor) const -> compute_model;

  /// The time that computing takes, outages not counted.
  [[nodiscard]] auto duration(std::uint64_t seed, node_id node, std::uint64_t draw) const -> nanoseconds;
  /// The time at which `node` finishes work of that duration that it begins at `start`.
  [[nodiscard]] auto done_at(node_id node, nanoseconds start, nanoseconds duration) const -> nanoseconds;
  [[nodiscard]] auto mean() const -> nanoseconds { return mean_; }
  [[nodiscard]] auto factor_of(node_id node) const -> double {
    auto factor = 1.0;
    for (auto const& [id, f] : factors_) factor *= id == static_cast<std::uint32_t>(node) ? f : 1.0;
    return factor;
  }
  /// Throws config_error if the model names a node that the run does not have.
  void check(std::size_t nodes) const;
  static void visit_state(auto& self, auto&& visit) {
    visit("shape", self.shape_), visit("mean", self.mean_), visit("variation", self.variation_);
    visit("log variance", self.log_variance_), visit("probability", self.probability_), visit("factor", self.factor_);
    visit("greatest factor", self.greatest_factor_);
    visit("factors", self.factors_), visit("outages", self.outages_);
  }

 private:
  struct window {
    std::uint32_t node = 0;
    nanoseconds from{};
    nanoseconds until{};
    static void visit_state(auto& self, auto&& visit) {
      visit("node", self.node), visit("from", self.from), visit("until", self.until);
    }
  };

  /// Times longer than three years count as three years, so that sums of times do not overflow.
  static auto in_range(double ns) -> nanoseconds { return nanoseconds{std::llround((std::min)(ns, 1e17))}; }

  /// A draw of mean 1.
  [[nodiscard]] auto relative(random_stream& stream) const -> double;

  shape shape_ = shape::fixed;
  nanoseconds mean_{std::chrono::milliseconds{10}};
  double variation_ = 0;
  double log_variance_ = 0;  // the variance of a lognormal's logarithm
  double probability_ = 0;
  double factor_ = 1;  // of the second regime, at least
  double greatest_factor_ = 1;
  std::vector<std::pair<std::uint32_t, double>> factors_;
  std::vector<window> outages_;  // by beginning
};

[[nodiscard]] inline auto fixed(nanoseconds time) -> compute_model { return {compute_model::shape::fixed, time, 0}; }
/// Lognormal with this mean and coefficient of variation (standard deviation over mean).
[[nodiscard]] inline auto lognormal(nanoseconds mean, double variation) -> compute_model {
  return {compute_model::shape::lognormal, mean, variation};
}
/// |N(0, s)| with this mean; its coefficient of variation is sqrt(pi/2 - 1) = 0.756. Most gradients are quick.
[[nodiscard]] inline auto half_normal(nanoseconds mean) -> compute_model {
  return {compute_model::shape::half_normal, mean, 0};
}
/// A least time, and an exponential one on top: (1 - variation) mean + an exponential of mean variation times mean.
[[nodiscard]] inline auto shifted_exponential(nanoseconds mean, double variation) -> compute_model {
  return {compute_model::shape::shifted_exponential, mean, variation};
}
/// With this probability a gradient takes `factor` times as long as otherwise; the mean over both is `mean`.
[[nodiscard]] inline auto two_regime(nanoseconds mean, double probability, double factor) -> compute_model {
  return compute_model::of_two_regimes(mean, probability, factor, factor);
}
/// Random stragglers: with this probability a gradient of any node takes `least` to `most` times as long as otherwise,
/// uniformly drawn; the mean over all is `mean`.
[[nodiscard]] inline auto random_slow(nanoseconds mean, double probability, double least, double most)
    -> compute_model {
  return compute_model::of_two_regimes(mean, probability, least, most);
}

#if RUBATO_BODIES
RUBATO_INLINE compute_model::compute_model(shape s, nanoseconds mean, double variation)
    : shape_{s}, mean_{mean}, variation_{variation}, log_variance_{std::log1p(variation * variation)} {
  if (mean.count() < 0) throw config_error{"a compute time cannot be negative"};
  if (!(variation >= 0) || !std::isfinite(variation)) {
    throw config_error{"a coefficient of variation must be 0 or more, not " + shortest(variation)};
  }
  if (s == shape::shifted_exponential && variation > 1) {
    throw config_error{"a shifted exponential has a coefficient of variation of at most 1, not " + shortest(variation)};
  }
}

RUBATO_INLINE auto compute_model::of_two_regimes(nanoseconds mean, double probability, double least, double most)
    -> compute_model {
  if (!(probability >= 0 && probability <= 1)) {
    throw config_error{"the probability of the second regime must lie in 0 to 1, not " + shortest(probability)};
  }
  if (!(least > 0) || !std::isfinite(least)) {
    throw config_error{"the factor of the second regime must be a positive number, not " + shortest(least)};
  }
  if (!(most >= least) || !std::isfinite(most)) {
    throw config_error{"the greatest factor of the second regime must be a number of at least " + shortest(least) +
                       ", the least one, not " + shortest(most)};
  }
  auto model = compute_model{shape::two_regime, mean, 0};
  model.probability_ = probability;
  model.factor_ = least;
  model.greatest_factor_ = most;
  return model;
}

RUBATO_INLINE auto compute_model::slow(std::uint32_t node, double factor) const -> compute_model {
  if (!(factor > 0) || !std::isfinite(factor)) {
    throw config_error{"node " + std::to_string(node) + " cannot be slower by a factor of " + shortest(factor) +
                       "; give a positive number"};
  }
  auto copy = *this;
  copy.factors_.emplace_back(node, factor);
  return copy;
}

RUBATO_INLINE auto compute_model::outage(std::uint32_t node, nanoseconds from, nanoseconds until) const
    -> compute_model {
  if (from.count() < 0 || until <= from) {
    throw config_error{"an outage of node " + std::to_string(node) + " must begin at 0 or later and end after that"};
  }
  auto copy = *this;
  copy.outages_.push_back({node, from, until});
  std::sort(copy.outages_.begin(), copy.outages_.end(),
            [](window const& a, window const& b) { return a.from < b.from; });
  return copy;
}

RUBATO_INLINE auto compute_model::scaled(double factor) const -> compute_model {
  if (!(factor > 0) || !std::isfinite(factor)) {
    throw config_error{"compute times cannot be scaled by " + shortest(factor) + "; give a positive number"};
  }
  auto copy = *this;
  copy.mean_ = in_range(static_cast<double>(mean_.count()) * factor);
  return copy;
}

RUBATO_INLINE auto compute_model::duration(std::uint64_t seed, node_id node, std::uint64_t draw) const -> nanoseconds {
  auto ns = static_cast<double>(mean_.count()) * factor_of(node);
  if (shape_ != shape::fixed) {
    auto stream = random_stream{{seed, 0x636f6d70ULL, static_cast<std::uint64_t>(node), draw}};
    ns *= relative(stream);
  }
  return in_range(ns);
}

RUBATO_INLINE auto compute_model::done_at(node_id node, nanoseconds start, nanoseconds duration) const -> nanoseconds {
  auto now = start;
  for (auto const& w : outages_) {
    if (w.node != static_cast<std::uint32_t>(node) || w.until <= now) continue;
    if (w.from >= now + duration) break;
    duration -= (std::max)(w.from - now, nanoseconds{});
    now = w.until;
  }
  return now + duration;
}

RUBATO_INLINE void compute_model::check(std::size_t nodes) const {
  auto const one_of = [nodes](std::uint32_t id, char const* what) {
    if (id < nodes) return;
    throw config_error{"node " + std::to_string(id) + " cannot " + what + ": the run has nodes 0 to " +
                       std::to_string(nodes - 1)};
  };
  for (auto const& [id, f] : factors_) one_of(id, "be slow");
  for (auto const& w : outages_) one_of(w.node, "have an outage");
}

RUBATO_INLINE auto compute_model::relative(random_stream& stream) const -> double {
  switch (shape_) {
    case shape::fixed:
      break;
    case shape::lognormal: {
      if (variation_ == 0) break;
      return std::exp(std::sqrt(log_variance_) * stream.normal() - log_variance_ / 2);
    }
    case shape::half_normal:
      return std::sqrt(1.5707963267948966) * std::abs(stream.normal());
    case shape::shifted_exponential:
      return 1 - variation_ - variation_ * std::log(1 - stream.uniform());
    case shape::two_regime: {
      auto const mean_factor = factor_ + (greatest_factor_ - factor_) / 2;
      auto factor = 1.0;
      if (stream.chance(probability_)) {
        factor = factor_;
        if (greatest_factor_ > factor_) factor += (greatest_factor_ - factor_) * stream.uniform();
      }
      return factor / (1 - probability_ + probability_ * mean_factor);
    }
  }
  return 1;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::environment
