// SPDX-License-Identifier: MIT
// A problem whose solution is known: node i has f_i(x) = 1/2 sum_k h_ik (x_k - b_ik)^2 with its own curvatures h_i and
// centres b_i. Nodes disagree, so a method that weighs them unequally ends off the optimum, by a known distance.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/for_each.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>

namespace rubato::problem {

/// How quadratic::random draws: centres are normal with standard deviation `spread`, curvatures log-uniform in
/// [1/condition, 1] (so that any step below 2 is stable at every node), `noise` as in the constructor.
struct quadratic_options {
  double spread = 1;
  double condition = 10;
  double noise = 0;
};

namespace detail {

/// One value of a gradient; gives its part of the loss.
template<class T>
struct quadratic_slope {
  double const* curvatures;  // of the node
  double const* centres;
  T const* x;
  T* g;
  random_stream draw;
  double noise;
  RUBATO_HOST_DEVICE auto operator()(std::size_t k) const -> double {
    auto const point = static_cast<double>(x[k]);
    auto const away = point - centres[k];
    auto const exact = curvatures[k] * away;
    auto const shift = noise > 0 ? noise * draw.ahead(2 * k).normal() : 0.0;
    g[k] = static_cast<T>(exact + shift);
    return 0.5 * exact * away + shift * point;
  }
};

/// One term of the distance of F from its minimum.
template<class T>
struct quadratic_above {
  double const* mean_curvatures;
  double const* optimum;
  T const* x;
  RUBATO_HOST_DEVICE auto operator()(std::size_t k) const -> double {
    auto const away = static_cast<double>(x[k]) - optimum[k];
    return 0.5 * mean_curvatures[k] * away * away;
  }
};

}  // namespace detail

/// Strongly convex heterogeneous quadratics. The data are doubles in host memory, shared by copies, and also in the
/// memory of a device after move_data_to. Every value is computed in double and rounded once.
/// **Thread safety:** const calls from several threads are fine. **Models:** gradient_oracle, has_loss.
class quadratic {
 public:
  using rows = std::vector<std::vector<double>>;
  static constexpr bool reads_device_memory = true;

  /// One row of curvatures (all positive) and one of centres per node, all of equal length. `noise` is the standard
  /// deviation of the normal noise on each gradient value, drawn from the sample key. Throws config_error.
  quadratic(rows const& curvatures, rows const& centres, double noise = 0);

  /// A random instance, the same for the same arguments on every platform up to the last bits of log and cos. Node i's
  /// row depends on the seed and i alone, not on the number of nodes. Throws config_error.
  [[nodiscard]] static auto random(std::size_t nodes, std::size_t dimension, std::uint64_t seed,
                                   quadratic_options options = {}) -> quadratic;

  [[nodiscard]] auto dimension() const -> std::size_t { return data_->dimension; }
  [[nodiscard]] auto nodes() const -> std::size_t { return data_->nodes; }
  [[nodiscard]] auto noise() const -> double { return noise_; }
  /// h_ik and b_ik; requires i < nodes() and k < dimension().
  [[nodiscard]] auto curvature(std::size_t i, std::size_t k) const -> double { return data_->curvatures[at(i, k)]; }
  [[nodiscard]] auto centre(std::size_t i, std::size_t k) const -> double { return data_->centres[at(i, k)]; }

  /// Copies the data to the backend's memory, once, if the host cannot read it; this object and its copies then serve
  /// that backend alone. Throws config_error if they do not fit.
  template<backend::array_backend Backend>
  void move_data_to(Backend& b) {
    auto const& d = *data_;
    try {
      auto lender = vector_lender{};
      auto const there = [&](std::vector<double> const& of) {
        return b.pool().bring_in(lender.lend(std::span<double const>{of}));
      };
      if constexpr (backend::has_host_twin<Backend>)
        there_ = {there(d.curvatures), there(d.centres), there(d.mean_curvatures), there(d.optimum)};
    } catch (std::bad_alloc const&) {
      throw config_error{"the data of a quadratic take " + std::to_string(2 * (nodes() + 1) * dimension() * 8) +
                         " bytes, and " + std::string{Backend::name()} + " has not so much memory left"};
    }
  }

  /// Writes h_i (x - b_i) + noise xi(key) into g and returns f_i(x) + noise xi.x, of which it is the exact gradient (on
  /// a device NaN: not known). Requires key.node < nodes(). One pass: reads 3, writes 1 vector.
  template<backend::array_backend Backend>
  auto gradient(Backend& b, std::span<typename Backend::scalar const> x, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension() && g.size() == dimension(), "x and g have the problem's dimension");
    auto const first = at(to_index(key.node), 0);
    auto const slope = [&](double const* curvatures, double const* centres) {
      return detail::quadratic_slope<typename Backend::scalar>{curvatures + first, centres + first,    x.data(),
                                                               g.data(),           random_stream{key}, noise_};
    };
    if constexpr (backend::has_host_twin<Backend>) {
      expect_moved();
      backend::for_each(b, x.size(), slope(values(there_.curvatures), values(there_.centres)));
      return std::numeric_limits<double>::quiet_NaN();
    } else {
      return backend::sum_of(b, x.size(), slope(data_->curvatures.data(), data_->centres.data()));
    }
  }

  /// F(x) = (1/n) sum_i f_i(x), computed as its minimum plus the distance from it: no sum over nodes, and `loss(b, x) -
  /// minimum()` does not cancel near the optimum. One pass over d.
  template<backend::array_backend Backend>
  [[nodiscard]] auto loss(Backend& b, std::span<typename Backend::scalar const> x) const -> double {
    RUBATO_EXPECTS(x.size() == dimension(), "x has the problem's dimension");
    auto term = detail::quadratic_above<typename Backend::scalar>{data_->mean_curvatures.data(), data_->optimum.data(),
                                                                  x.data()};
    if constexpr (backend::has_host_twin<Backend>) {
      expect_moved();
      term.mean_curvatures = values(there_.mean_curvatures);
      term.optimum = values(there_.optimum);
    }
    return data_->minimum + backend::sum_of(b, x.size(), term);
  }

  /// The minimiser of F: x_k = sum_i h_ik b_ik / sum_i h_ik. Lives as long as this problem or a copy of it.
  [[nodiscard]] auto optimum() const& -> std::vector<double> const& { return data_->optimum; }
  [[nodiscard]] auto optimum() && -> std::vector<double> { return data_->optimum; }
  /// F at the optimum.
  [[nodiscard]] auto minimum() const -> double { return data_->minimum; }

 private:
  struct tables {
    std::size_t nodes = 0;
    std::size_t dimension = 0;
    std::vector<double> curvatures;  // nodes x dimension, row-major
    std::vector<double> centres;  // nodes x dimension, row-major
    std::vector<double> mean_curvatures;
    std::vector<double> optimum;
    double minimum = 0;
  };

  struct moved_tables {
    shared_buffer curvatures{}, centres{}, mean_curvatures{}, optimum{};
  };

  static auto values(shared_buffer const& of) -> double const* { return of.view<double>().data(); }
  void expect_moved() const {
    RUBATO_EXPECTS(there_.curvatures, "the data of a quadratic lie on the device: move_data_to brings them there");
  }

  static void check_shape(rows const& curvatures, rows const& centres);

  static void append_row(tables& to, std::size_t i, std::vector<double> const& h, std::vector<double> const& b);

  static void solve(tables& t);

  [[nodiscard]] auto at(std::size_t i, std::size_t k) const -> std::size_t {
    RUBATO_EXPECTS(i < nodes() && k < dimension(), "a quadratic is asked for one of its own nodes and dimensions");
    return i * data_->dimension + k;
  }

  std::shared_ptr<tables const> data_;
  moved_tables there_{};
  double noise_ = 0;
};

#if RUBATO_BODIES
RUBATO_INLINE quadratic::quadratic(rows const& curvatures, rows const& centres, double noise) : noise_{noise} {
  if (!(noise >= 0) || !std::isfinite(noise)) {
    throw config_error{"the gradient noise must be a finite number of at least 0, not " + shortest(noise)};
  }
  check_shape(curvatures, centres);
  auto fresh = std::make_shared<tables>();
  fresh->nodes = curvatures.size();
  fresh->dimension = curvatures.front().size();
  for (std::size_t i = 0; i < fresh->nodes; ++i) append_row(*fresh, i, curvatures[i], centres[i]);
  solve(*fresh);
  data_ = std::move(fresh);
}

RUBATO_INLINE auto quadratic::random(std::size_t nodes, std::size_t dimension, std::uint64_t seed,
                                     quadratic_options options) -> quadratic {
  if (!(options.condition >= 1) || !std::isfinite(options.condition)) {
    throw config_error{"the condition number of a quadratic must be a finite number of at least 1, not " +
                       shortest(options.condition)};
  }
  rows curvatures(nodes, std::vector<double>(dimension));
  rows centres = curvatures;
  for (std::size_t i = 0; i < nodes; ++i) {
    random_stream draw{0x71756164ULL, seed, i};
    for (std::size_t k = 0; k < dimension; ++k) {
      curvatures[i][k] = std::pow(options.condition, -draw.uniform());
      centres[i][k] = options.spread * draw.normal();
    }
  }
  return {curvatures, centres, options.noise};
}

RUBATO_INLINE void quadratic::check_shape(rows const& curvatures, rows const& centres) {
  if (curvatures.empty()) throw config_error{"a quadratic needs at least one node"};
  if (curvatures.size() != centres.size()) {
    throw config_error{"a quadratic needs as many rows of centres as of curvatures, not " +
                       std::to_string(centres.size()) + " and " + std::to_string(curvatures.size())};
  }
  if (curvatures.front().empty()) throw config_error{"a quadratic needs at least one dimension"};
  for (std::size_t i = 0; i < curvatures.size(); ++i) {
    auto const expected = curvatures.front().size();
    if (curvatures[i].size() == expected && centres[i].size() == expected) continue;
    throw config_error{"node " + std::to_string(i) + " of a quadratic has " + std::to_string(curvatures[i].size()) +
                       " curvatures and " + std::to_string(centres[i].size()) + " centres, but node 0 has " +
                       std::to_string(expected) + " curvatures"};
  }
}

RUBATO_INLINE void quadratic::append_row(tables& to, std::size_t i, std::vector<double> const& h,
                                         std::vector<double> const& b) {
  for (std::size_t k = 0; k < h.size(); ++k) {
    auto const where = " of node " + std::to_string(i) + " in dimension " + std::to_string(k);
    if (!(h[k] > 0) || !std::isfinite(h[k])) {
      throw config_error{"the curvature" + where + " must be positive and finite, not " + shortest(h[k])};
    }
    if (!std::isfinite(b[k])) {
      throw config_error{"the centre" + where + " must be finite, not " + shortest(b[k])};
    }
  }
  to.curvatures.insert(to.curvatures.end(), h.begin(), h.end());
  to.centres.insert(to.centres.end(), b.begin(), b.end());
}

RUBATO_INLINE void quadratic::solve(tables& t) {
  auto const n = static_cast<double>(t.nodes);
  t.mean_curvatures.assign(t.dimension, 0);
  t.optimum.assign(t.dimension, 0);
  for (std::size_t j = 0; j < t.curvatures.size(); ++j) {
    t.mean_curvatures[j % t.dimension] += t.curvatures[j] / n;
    t.optimum[j % t.dimension] += t.curvatures[j] / n * t.centres[j];
  }
  for (std::size_t k = 0; k < t.dimension; ++k) t.optimum[k] /= t.mean_curvatures[k];
  for (std::size_t j = 0; j < t.curvatures.size(); ++j) {
    auto const away = t.optimum[j % t.dimension] - t.centres[j];
    t.minimum += 0.5 * t.curvatures[j] / n * away * away;
  }
}
#endif  // RUBATO_BODIES

}  // namespace rubato::problem
