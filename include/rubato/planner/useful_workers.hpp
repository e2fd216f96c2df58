// SPDX-License-Identifier: MIT
// How many workers of an asynchronous server help. More of them bring more gradients a second, each older; beyond a
// number that depends on the step, the age costs more than the rate brings.
// One mode of curvature lambda, h = gamma lambda, n workers of mean gradient time 1, q = n - 1 steps of delay:
//   fixed times       z^n - z^q + h = 0                 steps; rate = -n ln |z|
//   shape k           s (1 + s/k)^k + h n = 0           gamma-distributed times of variance 1/k; rate = -Re s
// z and s are the roots that decay slowest, and rates are per mean gradient time. With k = 1 (memoryless times) nothing
// diverges; the limit of large k is fixed times. Source: the classical theory of x' = -h x(t - T), here in closed form:
// with the root at an angle, modulus and h are quotients of sines (root_at, gamma_root_at). The question is that of Yu,
// Chen, Poor, arXiv 2406.11159, whose own formulas are not used.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <utility>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::planner {

/// The largest h at which x_{k+1} = x_k - h x_{k-delay} does not grow: 2 sin(pi / (2 (2 delay + 1))).
[[nodiscard]] auto stability_limit(std::size_t delay) -> double;

/// How fast a mode decays, per mean gradient time; negative: it grows. `variation`: the standard deviation of gradient
/// times divided by their mean; 0 means fixed times, for which it is exact (above 1e8 workers: their limit); otherwise
/// times are gamma-distributed with shape 1 / variation^2, in the limit of many workers. Throws config_error unless
/// h is positive and finite, there is a worker, and the variation is a finite number of at least 0.
[[nodiscard]] auto decay_rate(double h, std::size_t workers, double variation) -> double;

/// The number of workers at which a mode decays fastest.
struct useful_number {
  static constexpr auto any = (std::numeric_limits<std::size_t>::max)();  ///< also of more than a size_t holds
  double best = 1;  ///< by the formula for many workers: 1 + 1/(e h) with fixed times
  double diverges_near = std::numeric_limits<double>::infinity();  ///< likewise: 1 + (pi/2)/h with fixed times
  std::size_t workers = 1;  ///< the best whole number
  double rate = 0;  ///< decay_rate with it
  std::size_t stable_to = any;  ///< the most workers with which the mode decays; 0: not even with one
};
/// Throws config_error as decay_rate.
[[nodiscard]] auto useful_workers(double h, double variation) -> useful_number;

/// With noise: argmin over m of H_m (1 + ratio / m), where H_m is the harmonic mean of the m smallest gradient times
/// and `ratio` the variance of a gradient's noise over the squared gradient norm that is wanted. For data that do not
/// differ from worker to worker. Throws config_error unless `seconds` are positive numbers in increasing order, at
/// least one.
[[nodiscard]] auto useful_workers_in_noise(std::span<double const> seconds, double ratio) -> std::size_t;

#if RUBATO_BODIES
namespace detail {

/// The x in (low, high) where `rises` passes `wanted`.
template<class Function>
auto where(Function const& rises, double wanted, double low, double high) -> double {
  for (auto k = 0; k < 200; ++k) {
    auto const middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (rises(middle) < wanted ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

/// h q^-q (q+1)^(q+1), compared with 1: the critical h, below which no root oscillates.
RUBATO_INLINE auto critical_step(double q) -> double {
  return q == 0 ? 1.0 : std::exp(-q * std::log1p(1 / q)) / (q + 1);
}

/// |z| of the pair of roots of z^(q+1) - z^q + h at the angle +-a, and that h. With Im = 0:
/// |z| = sin(q a) / sin((q+1) a), h = |z|^q sin(a) / sin((q+1) a); both rise with a in (0, pi/(q+1)).
RUBATO_INLINE auto root_at(double a, double q) -> std::pair<double, double> {
  auto const below = std::sin((q + 1) * a);
  auto const modulus = std::sin(q * a) / below;
  return {modulus, std::pow(modulus, q) * std::sin(a) / below};
}

/// |z| of the slowest root of z^(q+1) - z^q + h.
RUBATO_INLINE auto slowest_modulus(double h, double q) -> double {
  if (q == 0) return std::abs(1 - h);
  if (h <= critical_step(q))  // the larger real root, in (q/(q+1), 1), where z^q (1 - z) falls
    return where([q](double z) { return -std::pow(z, q) * (1 - z); }, -h, q / (q + 1), 1);
  auto const most = std::numbers::pi / (q + 1);
  return root_at(where([q](double a) { return root_at(a, q).second; }, h, 0, most), q).first;
}

/// -Re s and h n of the pair of roots of s (1 + s/k)^k + h n with 1 + s/k at the angle +-a: with Im = 0,
/// |1 + s/k| = sin(k a) / sin((k+1) a) = r, h n = k r^k sin(a) / sin((k+1) a); for a in (0, pi/(k+1)).
RUBATO_INLINE auto gamma_root_at(double a, double k) -> std::pair<double, double> {
  auto const below = std::sin((k + 1) * a);
  auto const r = std::sin(k * a) / below;
  return {k * (1 - r * std::cos(a)), k * std::pow(r, k) * std::sin(a) / below};
}
RUBATO_INLINE auto gamma_critical(double k) -> double { return std::pow(k / (k + 1), k + 1); }

RUBATO_INLINE auto gamma_rate(double hn, double k) -> double {
  if (hn <= gamma_critical(k))  // the smaller real root s = -u, u in (0, k/(k+1)), where u (1 - u/k)^k rises
    return where([k](double u) { return u * std::pow(1 - u / k, k); }, hn, 0, k / (k + 1));
  auto const most = std::numbers::pi / (k + 1);
  return gamma_root_at(where([k](double a) { return gamma_root_at(a, k).second; }, hn, 0, most), k).first;
}

/// 1 / variation^2. Times that spread less than this make no difference that a root shows.
inline constexpr double least_variation = 0.02;

/// -Re s of the slowest root of s e^s + h n = 0, the limit of many workers of fixed times. With s = -u + ia:
/// u = a / tan(a), h n = e^-u a / sin(a).
RUBATO_INLINE auto many_rate(double hn) -> double {
  if (hn <= 1 / std::numbers::e) return where([](double u) { return u * std::exp(-u); }, hn, 0, 1);
  auto const rises = [](double a) { return std::exp(-a / std::tan(a)) * a / std::sin(a); };
  auto const a = where(rises, hn, 0, std::numbers::pi);
  return a / std::tan(a);
}
/// Above it |z| is too near 1 for a double to tell the rate, and the limit is right to one in so many.
inline constexpr double many = 1e8;

/// A number of workers: the whole part, or the largest there is.
RUBATO_INLINE auto whole(double x) -> std::size_t {
  if (!(x < static_cast<double>(useful_number::any))) return useful_number::any;
  return static_cast<std::size_t>((std::max)(0.0, x));
}

RUBATO_INLINE void require_mode(double h, double variation) {
  if (!(h > 0 && std::isfinite(h)))
    throw config_error{"the step times the curvature must be a positive number, not " + shortest(h)};
  if (!(variation >= 0 && std::isfinite(variation)))
    throw config_error{"the spread of gradient times must be a number of at least 0, not " + shortest(variation)};
}

}  // namespace detail

RUBATO_INLINE auto stability_limit(std::size_t delay) -> double {
  return 2 * std::sin(std::numbers::pi / (2 * (2 * static_cast<double>(delay) + 1)));
}

RUBATO_INLINE auto decay_rate(double h, std::size_t workers, double variation) -> double {
  detail::require_mode(h, variation);
  if (workers == 0) throw config_error{"a server without workers computes nothing: give at least one"};
  auto const n = static_cast<double>(workers);
  if (variation < detail::least_variation)
    return n > detail::many ? detail::many_rate(h * n) : -n * std::log(detail::slowest_modulus(h, n - 1));
  return detail::gamma_rate(h * n, 1 / (variation * variation));
}

RUBATO_INLINE auto useful_workers(double h, double variation) -> useful_number {
  detail::require_mode(h, variation);
  constexpr auto half = std::numbers::pi / 2;
  useful_number found;
  if (variation < detail::least_variation) {
    found.best = 1 + 1 / (std::numbers::e * h);
    found.diverges_near = 1 + half / h;
    // h < 2 sin(pi / (2 (2n - 1)))
    auto const limit = h < 2 ? (std::numbers::pi / (2 * std::asin(h / 2)) + 1) / 2 : 0.0;
    found.stable_to = detail::whole(std::ceil(limit) - 1);
  } else {
    auto const k = 1 / (variation * variation);
    found.best = (std::max)(1.0, detail::gamma_critical(k) / h);
    if (k > 1 + 1e-9) {
      found.diverges_near = k * std::tan(half / k) / std::pow(std::cos(half / k), k) / h;
      found.stable_to = detail::whole(std::ceil(found.diverges_near) - 1);
    }
  }
  // Beyond the best real number the rate falls (with k = 1 it stays): of whole numbers, one of its two neighbours. Near
  // the double root that it has there a rate has half the digits.
  auto const low = detail::whole((std::max)(1.0, std::floor(found.best) - 1));
  if (low > useful_number::any - 4) {
    found.workers = useful_number::any, found.rate = decay_rate(h, found.workers, variation);
    return found;
  }
  found.rate = -std::numeric_limits<double>::infinity();
  for (auto n = low; n <= low + 3; ++n) {
    auto const rate = decay_rate(h, n, variation);
    if (rate > found.rate * (1 + 1e-6) || n == low) found.workers = n, found.rate = rate;
  }
  return found;
}

RUBATO_INLINE auto useful_workers_in_noise(std::span<double const> seconds, double ratio) -> std::size_t {
  if (seconds.empty()) throw config_error{"the useful number of workers needs the gradient time of at least one"};
  if (!(ratio >= 0 && std::isfinite(ratio)))
    throw config_error{"the ratio of noise to gradient must be a number of at least 0, not " + shortest(ratio)};
  auto best = std::size_t{1};
  auto least = std::numeric_limits<double>::infinity(), rates = 0.0, before = 0.0;
  for (auto m = std::size_t{1}; m <= seconds.size(); ++m) {
    auto const t = seconds[m - 1];
    if (!(t > 0 && std::isfinite(t) && t >= before))
      throw config_error{"gradient times must be positive and in increasing order, and worker " +
                         std::to_string(m - 1) + " has " + shortest(t) + " after " + shortest(before)};
    before = t, rates += 1 / t;
    auto const time = (static_cast<double>(m) + ratio) / rates;  // H_m (1 + ratio/m), H_m = m / sum of 1/t
    if (time < least * (1 - 1e-12)) best = m, least = time;
  }
  return best;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner
