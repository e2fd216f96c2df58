// SPDX-License-Identifier: MIT
// How long a run takes to its target. Each of a few curvatures lambda is followed on its own, with h = share step
// lambda and a_q the parts of a step that are gradients of age q:
//   phi_{k+1} = phi_k - h sum_q a_q phi_{k-q},  phi_0 = 1      an error that is made in one step
//   e_k = 1 - h sum_{j<k} phi_j                                the distance to the optimum, from the start
//   v_k = sum_{j<k} phi_j^2                                    what noise of variance 1 a step has become
// The loss is the sum of lambda/2 (distance^2 e^2 + what noise, uneven speeds and biased weights add) over the values.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/planner/pace.hpp>
#include <rubato/planner/situation.hpp>

namespace rubato::planner {

/// What becomes of a run with one step.
struct forecast {
  double step = 0;
  double seconds = std::numeric_limits<double>::infinity();  ///< to the target; infinity: it does not come there
  double steps = std::numeric_limits<double>::infinity();  ///< likewise
  double floor = 0;  ///< the share of the first loss that noise and bias leave; infinity: it diverges, or makes no step
};

/// The largest step (as the option `step`) with which every curvature decays, from the ages of gradients and from the
/// mixing of models.
[[nodiscard]] auto largest_step(situation const& s, pace const& p) -> double;
/// With this step; at most until `longest` seconds.
[[nodiscard]] auto forecast_of(situation const& s, pace const& p, double step,
                               double longest = std::numeric_limits<double>::infinity()) -> forecast;
/// With the step of the situation, or if it is 0 the best of those half an octave apart: the one that is first at the
/// target, or if none comes there the one that leaves least.
[[nodiscard]] auto forecast_of(situation const& s, pace const& p) -> forecast;

#if RUBATO_BODIES
namespace detail {

/// Curvatures that stand for all of them.
inline constexpr std::size_t modes = 5;
/// The part of the loss that comes and goes with the order of gradients (it has but as many degrees of freedom as there
/// are workers) that is left when a run is first below its target.
inline constexpr double first_look = 0.5;

/// Evenly on a logarithmic scale: the nodes and weights of Gauss and Legendre on [0, 1].
inline constexpr std::array<double, modes> mode_places{0.046910077030668, 0.230765344947158, 0.5, 0.769234655052842,
                                                       0.953089922969332};
inline constexpr std::array<double, modes> mode_parts{0.118463442528095, 0.239314335249683, 0.284444444444444,
                                                      0.239314335249683, 0.118463442528095};
RUBATO_INLINE auto curvature_of(situation const& s, std::size_t mode) -> double {
  return s.flattest * std::pow(s.steepest / s.flattest, mode_places[mode]);
}

/// The curvature of one node, where the mean is this.
RUBATO_INLINE auto drawn_curvature(situation const& s, double mean, random_stream& draw) -> double {
  return mean * (1 + s.curvature_spread * std::sqrt(3.0) * (2 * draw.uniform() - 1));
}

/// Ages from `first` to before `end`, each with this part: what is old is told less finely.
struct age_range {
  std::size_t first, end;
  double each;
};

RUBATO_INLINE auto ranges_of(std::vector<double> const& ages) -> std::vector<age_range> {
  auto all = std::vector<age_range>{};
  for (auto q = std::size_t{0}; q < ages.size();) {
    auto const end = (std::min)(ages.size(), q + 1 + q / 8);
    auto sum = 0.0;
    for (auto k = q; k < end; ++k) sum += ages[k];
    all.push_back({q, end, sum / static_cast<double>(end - q)});
    q = end;
  }
  return all;
}

/// phi, e and v of one mode.
class response {
 public:
  response(double h, std::vector<age_range> const& ages) : h_{h}, ages_{&ages}, sums_{0, 1} {}
  void advance() {
    auto const count = sums_.size() - 1;  // of phi_0, phi_1, ...; sums_[k]: of the first k
    auto pull = 0.0;
    for (auto const& r : *ages_) {
      if (r.first >= count) break;
      pull += r.each * (sums_[count - r.first] - sums_[r.end >= count ? 0 : count - r.end]);
    }
    moved_ += h_ * newest_, noise_ += newest_ * newest_;
    newest_ -= h_ * pull;
    sums_.push_back(sums_.back() + newest_);
  }
  [[nodiscard]] auto distance() const -> double { return 1 - moved_; }
  [[nodiscard]] auto noise() const -> double { return noise_; }
  [[nodiscard]] auto newest() const -> double { return newest_; }

 private:
  double h_;
  std::vector<age_range> const* ages_;
  std::vector<double> sums_;
  double newest_ = 1, moved_ = 0, noise_ = 0;
};

/// Ages beyond which nothing comes, without a long thin tail: what is older than `most` counts as that old.
RUBATO_INLINE auto shortened(std::vector<double> const& ages) -> std::vector<double> {
  auto rest = 1.0;
  auto end = std::size_t{0};
  while (end + 1 < ages.size() && rest > 1e-3) rest -= ages[end++];
  auto all = std::vector<double>(ages.begin(), ages.begin() + static_cast<std::ptrdiff_t>(end + 1));
  auto sum = 0.0;
  for (auto k = std::size_t{0}; k < end; ++k) sum += all[k];
  all[end] = (std::max)(0.0, 1 - sum);
  return all;
}

/// Whether a mode decays: it is followed until it has either grown or fallen by much, or for long enough.
RUBATO_INLINE auto decays(double h, std::vector<double> const& ages) -> bool {
  auto mean = 0.0;
  for (auto q = std::size_t{0}; q < ages.size(); ++q) mean += static_cast<double>(q) * ages[q];
  auto const ranges = ranges_of(ages);
  auto r = response{h, ranges};
  auto const window = static_cast<std::size_t>(8 * mean) + 16;
  auto early = 0.0, late = 0.0;
  for (auto k = std::size_t{0}; k < 12 * window; ++k) {
    r.advance();
    auto const size = std::abs(r.newest());
    if (!(size < 1e6)) return false;
    if (k >= 5 * window && k < 6 * window) early = (std::max)(early, size);
    if (k >= 11 * window) late = (std::max)(late, size);
  }
  return late < early || late < 1e-9;
}

/// So many steps taken together that each mode still moves little in them.
struct grouped_steps {
  grouped_steps(double h, std::vector<double> const& ages) {
    if (h < 0.02) together = static_cast<std::size_t>((std::min)(0.04 / h, 1e6));
    auto all = std::vector<double>((ages.size() - 1) / together + 1, 0.0);
    for (auto q = std::size_t{0}; q < ages.size(); ++q) all[q / together] += ages[q];
    ranges = ranges_of(all);
  }
  std::size_t together = 1;
  std::vector<age_range> ranges{};
};

/// Solves a x = b in place, a row by row, n by n and diagonally dominant.
RUBATO_INLINE void solve(std::vector<double>& a, std::vector<double>& b) {
  auto const n = b.size();
  for (auto k = std::size_t{0}; k < n; ++k)
    for (auto i = k + 1; i < n; ++i) {
      auto const f = a[i * n + k] / a[k * n + k];
      if (f == 0) continue;
      for (auto j = k; j < n; ++j) a[i * n + j] -= f * a[k * n + j];
      b[i] -= f * b[k];
    }
  for (auto i = n; i-- > 0;) {
    for (auto j = i + 1; j < n; ++j) b[i] -= a[i * n + j] * b[j];
    b[i] /= a[i * n + i];
  }
}

/// Where a run rests: the mean model less the optimum, and models less their nodes' own optima; mean squares.
struct rest {
  double bias = 0;
  double apart = 0;
};

/// A mean over drawn curvatures and optima of nodes. One model comes to rest at sum p h b / sum p h; models that differ
/// where sum_j c_ij (x_j - x_i) = step r_i h_i (x_i - b_i).
RUBATO_INLINE auto rest_of(situation const& s, pace const& p, double step, double curvature) -> rest {
  auto const n = s.workers;
  auto sum = rest{};
  if (s.spread == 0 || p.weights.size() != n) return sum;
  auto draw = random_stream{0x62696173ULL, s.seed};
  auto const draws = n <= 16 ? 48 : n <= 32 ? 12 : n <= 100 ? 3 : 1;
  for (auto k = 0; k < draws; ++k) {
    auto b = std::vector<double>(n), h = b;
    auto bent = 0.0, pulled = 0.0, wanted = 0.0, mean = 0.0;
    for (auto i = std::size_t{0}; i < n; ++i) {
      h[i] = drawn_curvature(s, curvature, draw), b[i] = s.spread * draw.normal();
      bent += h[i], wanted += h[i] * b[i];
      pulled += p.weights[i] * h[i], mean += p.weights[i] * h[i] * b[i];
    }
    wanted /= bent, mean /= pulled;
    auto x = std::vector<double>(n, mean);
    if (!p.couplings.empty()) {
      auto a = std::vector<double>(n * n, 0.0);
      for (auto i = std::size_t{0}; i < n; ++i) {
        auto const own = step * p.own_rates[i] * h[i];
        a[i * n + i] += own, x[i] = own * b[i];
        for (auto j = std::size_t{0}; j < n; ++j)
          if (j != i) a[i * n + j] -= p.couplings[i * n + j], a[i * n + i] += p.couplings[i * n + j];
      }
      solve(a, x);
      mean = 0;
      for (auto const each : x) mean += each / static_cast<double>(n);
    }
    sum.bias += (mean - wanted) * (mean - wanted) / draws;
    for (auto i = std::size_t{0}; i < n; ++i)
      sum.apart += (x[i] - b[i]) * (x[i] - b[i]) / (static_cast<double>(n) * draws);
  }
  return sum;
}

/// Nodes whose models differ, of one mode, without noise: for a few draws of curvatures and optima, all models. In
/// rounds, all move at once along gradients at their models. Else each moves whenever it has computed a gradient, in
/// drawn times from the common start, along the one at the model that it had when it began: x <- x - step h (x^ - b).
/// Of a short run the start is much: nobody has moved before its first gradient, and then all have.
class coupled_nodes {
 public:
  coupled_nodes(situation const& s, pace const& p, double step, double curvature) : p_{&p}, n_{s.workers} {
    auto draw = random_stream{0x636f7570ULL, s.seed};
    if (!p.mixes_in_rounds) begin_computing(s);
    auto const old = p.mixes_in_rounds ? 0.0 : (std::min)(p.coupling_seconds / stride_, 1000.0);
    past_.resize(static_cast<std::size_t>(std::lround(old)) + 1);
    for (auto k = std::size_t{0}; k < draws_; ++k) {
      auto bent = 0.0, wanted = 0.0;
      for (auto i = std::size_t{0}; i < n_; ++i) {
        h_.push_back(drawn_curvature(s, curvature, draw)), b_.push_back(s.spread * draw.normal());
        bent += h_.back(), wanted += h_.back() * b_.back();
      }
      for (auto i = h_.size() - n_; i < h_.size(); ++i) {
        b_[i] -= wanted / bent, h_[i] *= step;
        x_.push_back(k % 2 == 0 ? s.distance : -s.distance);
      }
    }
    asked_ = x_;
  }
  /// So many steps of the mean model further.
  void advance(double steps) {
    for (due_ += steps * per_step_; due_ >= 1; due_ -= 1) move();
  }
  /// The squared distance of the mean model from the optimum.
  [[nodiscard]] auto squared() const -> double {
    auto sum = 0.0;
    for (auto k = std::size_t{0}; k < draws_; ++k) {
      auto mean = 0.0;
      for (auto i = std::size_t{0}; i < n_; ++i) mean += x_[k * n_ + i] / static_cast<double>(n_);
      sum += mean * mean / static_cast<double>(draws_);
    }
    return sum;
  }

 private:
  /// Time goes by in quarters of the fastest node's gradient, or in sixteenths of the mean time of one if that is more,
  /// and has done so for pace::first_seconds when the mean model makes its first step.
  void begin_computing(situation const& s) {
    auto const fastest = *std::max_element(p_->own_rates.begin(), p_->own_rates.end());
    auto const mean = p_->steps_per_second / static_cast<double>(n_);
    stride_ = 1 / (std::min)(4 * fastest, 16 * mean);
    per_step_ = 1 / (stride_ * p_->steps_per_second);
    due_ = p_->first_seconds / stride_ - per_step_;
    times_.emplace(s.compute, n_, s.seed);
    for (auto i = std::size_t{0}; i < n_; ++i) ends_.push_back((*times_)(i));
  }
  /// A node moves along its gradient when it has computed it, at the model that it had when it began.
  void take_gradients() {
    auto const now = (static_cast<double>(moves_) + 0.5) * stride_;
    for (auto i = std::size_t{0}; i < n_; ++i) {
      for (; ends_[i] <= now; ends_[i] += (*times_)(i)) {
        for (auto at = i; at < x_.size(); at += n_) x_[at] -= h_[at] * (asked_[at] - b_[at]), asked_[at] = x_[at];
      }
    }
  }
  void move() {
    auto& newest = past_[moves_ % past_.size()];
    newest = x_;
    auto const& seen = moves_ + 1 >= past_.size() ? past_[(moves_ + 1) % past_.size()] : past_[0];
    ++moves_;
    for (auto at = std::size_t{0}; at < x_.size(); ++at) {
      auto const i = at % n_;
      auto const* const known = seen.data() + (at - i);
      auto const* const row = p_->couplings.data() + i * n_;
      auto drawn = 0.0;
      for (auto j = std::size_t{0}; j < n_; ++j) drawn += row[j] * (known[j] - known[i]);
      x_[at] += stride_ * drawn;
      if (!times_) x_[at] -= h_[at] * (newest[at] - b_[at]);
    }
    if (times_) take_gradients();
  }
  pace const* p_;
  std::size_t n_, draws_ = n_ <= 16 ? 16 : 4;
  double per_step_ = 1, stride_ = 1, due_ = 0;  // of moves: in a step, their seconds, and those that are to come
  std::vector<double> h_{}, b_{}, x_{};
  std::optional<drawn_times> times_{};  // of nodes that do not move in rounds
  std::vector<double> ends_{}, asked_{};  // when a gradient ends, and the model it is at
  std::vector<std::vector<double>> past_{};  // models of the last moves, in turn
  std::size_t moves_ = 0;
};

/// Whether models that are drawn together in rounds and move along their own gradients stay together: all eigenvalues
/// of W - step H lie above -1. Curvatures are those of the steepest values.
RUBATO_INLINE auto rounds_mix(situation const& s, pace const& p, double step) -> bool {
  auto const n = s.workers;
  auto draw = random_stream{0x6d697865ULL, s.seed};
  for (auto k = 0; k < 3; ++k) {
    auto h = std::vector<double>(n), x = h, y = h;
    for (auto i = std::size_t{0}; i < n; ++i)
      h[i] = step * drawn_curvature(s, s.steepest, draw), x[i] = draw.uniform() - 0.5;
    auto length = 0.0;
    for (auto round = 0; round < 60; ++round) {  // the power method on I - W + step H
      auto norm = 0.0;
      for (auto i = std::size_t{0}; i < n; ++i) {
        y[i] = h[i] * x[i];
        for (auto j = std::size_t{0}; j < n; ++j)
          if (j != i) y[i] += p.couplings[i * n + j] * (x[i] - x[j]);
        norm += y[i] * y[i];
      }
      length = std::sqrt(norm);
      for (auto i = std::size_t{0}; i < n; ++i) x[i] = y[i] / length;
    }
    if (!(length < 2)) return false;
  }
  return true;
}

/// Groups of steps after which a run is given up.
inline constexpr std::size_t groups_followed = 20'000;

/// A run with one step, all modes together. What nodes do that differ is followed if `nodes`; it takes most of the time
/// and makes no part of what is left.
class followed_modes {
 public:
  followed_modes(situation const& s, pace const& p, double step, bool nodes)
      : s_{&s},
        p_{&p},
        step_{step},
        group_{p.share * step * s.steepest, shortened(p.ages)},
        size_{static_cast<double>(group_.together)} {
    for (auto m = std::size_t{0}; m < modes; ++m) {
      auto const curvature = curvature_of(s, m);
      responses_.emplace_back(size_ * p.share * step * curvature, group_.ranges);
      first_ += mode_parts[m] * curvature * s.distance * s.distance;
      rests_[m] = rest_of(s, p, step, curvature);
      if (nodes && !p.couplings.empty() && s.workers <= 64) nodes_.emplace_back(s, p, step, curvature);
    }
  }
  followed_modes(followed_modes const&) = delete;  // responses know where the ranges are
  auto operator=(followed_modes const&) -> followed_modes& = delete;

  /// One group of steps further.
  void advance() {
    loss_ = left_ = noise_ = 0, ++groups_;
    auto const moved = step_ * p_->share;
    for (auto m = std::size_t{0}; m < modes; ++m) {
      auto& r = responses_[m];
      r.advance();
      auto const curvature = curvature_of(*s_, m);
      auto const pull = first_look * curvature * curvature * rests_[m].apart;
      auto const each = p_->noise * s_->noise * s_->noise + p_->unevenness * pull;  // of a step
      auto const drawn = moved * moved * each * size_ * r.noise();
      auto const extra = drawn + p_->jumps * step_ * step_ * pull;
      auto const distance = s_->distance * r.distance();
      auto squared = distance * distance + rests_[m].bias;
      if (!nodes_.empty()) nodes_[m].advance(size_), squared = (std::max)(distance * distance, nodes_[m].squared());
      auto const counts = mode_parts[m] * curvature / first_;
      noise_ += counts * extra, left_ += counts * (extra + rests_[m].bias), loss_ += counts * (squared + extra);
    }
  }
  /// The loss, and what noise and bias have made of it so far: shares of the first loss.
  [[nodiscard]] auto loss() const -> double { return loss_; }
  [[nodiscard]] auto left() const -> double { return left_; }
  /// The part of both that noise has made; it never falls.
  [[nodiscard]] auto noise() const -> double { return noise_; }
  [[nodiscard]] auto groups() const -> std::size_t { return groups_; }
  [[nodiscard]] auto steps() const -> double { return size_ * static_cast<double>(groups_); }

 private:
  situation const* s_;
  pace const* p_;
  double step_;
  grouped_steps group_;
  double size_;
  std::vector<response> responses_{};
  std::vector<coupled_nodes> nodes_{};
  std::array<rest, modes> rests_{};
  double first_ = 0, loss_ = 1, left_ = 0, noise_ = 0;
  std::size_t groups_ = 0;
};

/// What noise and bias leave when they no longer grow.
RUBATO_INLINE auto settled_floor(situation const& s, pace const& p, double step) -> double {
  auto run = followed_modes{s, p, step, false};
  auto before = 0.0;
  for (auto look = std::size_t{64}; look < groups_followed; look += look / 4) {
    while (run.groups() < look) run.advance();
    if (!(run.loss() < 1e6)) return std::numeric_limits<double>::infinity();
    if (run.left() <= 1.01 * before) break;
    before = run.left();
  }
  return run.left();
}

}  // namespace detail

RUBATO_INLINE auto largest_step(situation const& s, pace const& p) -> double {
  auto const ages = detail::shortened(p.ages);
  auto const stable = [&](double step) {
    if (step * s.steepest >= p.largest_mixing) return false;
    if (p.mixes_in_rounds && !detail::rounds_mix(s, p, step)) return false;
    return detail::decays(p.share * step * s.steepest, ages);
  };
  auto low = 0.0, high = 2.0 * static_cast<double>(ages.size() + 1) / (p.share * s.steepest);
  if (stable(high)) return high;
  for (auto k = 0; k < 24; ++k) {
    auto const middle = (low + high) / 2;
    (stable(middle) ? low : high) = middle;
  }
  return low;
}

RUBATO_INLINE auto forecast_of(situation const& s, pace const& p, double step, double longest) -> forecast {
  auto f = forecast{.step = step, .floor = std::numeric_limits<double>::infinity()};
  if (!(p.steps_per_second > 0)) return f;
  auto run = detail::followed_modes{s, p, step, true};
  auto before = std::numeric_limits<double>::infinity();
  for (auto look = std::size_t{128}; run.groups() < detail::groups_followed;) {
    run.advance();
    f.floor = run.left();
    if (!(run.loss() < 1e6)) return f.floor = std::numeric_limits<double>::infinity(), f;
    auto const at = (std::max)(p.shared_seconds, p.first_seconds + (run.steps() - 1) / p.steps_per_second);
    if (run.loss() <= s.target) return f.seconds = at, f.steps = run.steps(), f;
    if (at > longest) return f;
    if (run.noise() > s.target || (run.groups() > 50 && run.left() > 4 * s.target))
      return f.floor = detail::settled_floor(s, p, step), f;
    if (run.groups() < look) continue;
    if (run.loss() >= 0.999 * before) return f;  // it has settled above the target
    before = run.loss(), look += look / 4;
  }
  return f;
}

RUBATO_INLINE auto forecast_of(situation const& s, pace const& p) -> forecast {
  if (s.step > 0 || !(p.steps_per_second > 0)) return forecast_of(s, p, s.step);
  // Where ages count, they are known less well.
  auto const most = largest_step(s, p) * (p.ages.size() == 1 ? 0.8 : 0.7);
  auto best = forecast{.floor = std::numeric_limits<double>::infinity()};
  for (auto k = 0; k < 20; ++k) {
    auto const f = forecast_of(s, p, most * std::pow(0.5, k / 2.0), best.seconds);
    auto const arrives = best.seconds < std::numeric_limits<double>::infinity();
    if (f.seconds < best.seconds || (!arrives && f.floor < best.floor)) best = f;
    else if (arrives && f.floor < s.target / 4) break;
  }
  return best;
}
#endif  // RUBATO_BODIES

}  // namespace rubato::planner
