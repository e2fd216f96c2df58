// SPDX-License-Identifier: MIT
// Any problem with gradients of limited size, clipped where they are computed, before any algorithm sees them:
//   by value   g_k <- min(max(g_k, -c), c)
//   by norm    g <- g min(1, c / |g|_2),  the norm of the whole vector
// For every algorithm, gradient tracking included, whose law then holds for clipped gradients. The price is the limit:
// it solves sum_i clip(g_i) = 0, which is off the optimum where data differ between nodes. A clipped step
// (step::clipped_by_value, step::clipped_by_norm) does not move the limit of tracking.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>

namespace rubato::problem {

enum class clipping : std::uint8_t { by_value, by_norm };
constexpr auto name_of(clipping how) -> std::string_view { return how == clipping::by_value ? "by value" : "by norm"; }

namespace detail {
/// g <- clamp(g): reads n, writes n.
template<class T>
struct clamp_kernel {
  T* g;
  T limit;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    at.store(g, at.clamp(at.load(static_cast<T const*>(g)), limit));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 2 * sizeof(T); }
};
}  // namespace detail

/// Everything else is as in P. By value: one more pass; by norm: a dot product, and a pass where it clips.
/// **Thread safety:** as P. **Models:** gradient_oracle, and what P models.
template<class P>
class clipped : public P {
 public:
  /// Throws config_error unless the limit is a positive number.
  clipped(P problem, double limit, clipping how = clipping::by_norm) : P{std::move(problem)}, limit_{limit}, how_{how} {
    if (!(limit > 0) || !std::isfinite(limit)) {
      throw config_error{"the limit of clipped gradients must be a positive number, not " + shortest(limit)};
    }
  }

  /// The loss is that of the problem. A gradient whose norm is not finite, in the arithmetic of the backend's dot
  /// product, becomes NaN and ends the run.
  template<class Backend, class T>
  auto gradient(Backend& backend, std::span<T const> x, sample_key key, std::span<T> g) const -> double {
    auto const loss = static_cast<double>(P::gradient(backend, x, key, g));
    if (how_ == clipping::by_value) {
      backend.sweep({0, g.size()}, detail::clamp_kernel<T>{g.data(), static_cast<T>(limit_)});
      return loss;
    }
    auto const norm = std::sqrt(backend.dot(g.data(), g.data(), g.size()));
    if (!(norm <= limit_)) {
      auto const factor = std::isfinite(norm) ? limit_ / norm : (std::numeric_limits<double>::quiet_NaN)();
      backend.sweep({0, g.size()}, backend::scale_kernel<T>{g.data(), g.data(), static_cast<T>(factor)});
    }
    return loss;
  }

 private:
  double limit_;
  clipping how_;
};

}  // namespace rubato::problem
