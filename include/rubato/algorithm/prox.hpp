// SPDX-License-Identifier: MIT
// The term h of a composite problem f + h, as prox_dgd uses it: through its proximal map
//   prox_{gamma h}(v) = argmin_x h(x) + |x - v|^2 / (2 gamma),    value by value
//   none  h = 0                        v
//   l1    h = lambda sum_k |x_k|       v - v limited to [-gamma lambda, gamma lambda]
//   box   h = 0 where all |x_k| <= b   v limited to [-b, b]
// One of your own is a struct of a few lines (here h = lambda |x|^2 / 2):
//   struct ridge {
//     double lambda = 0.01;
//     template<class T>
//     struct rule {
//       T factor;
//       template<class At, class V>
//       RUBATO_HOST_DEVICE auto operator()(At&, V v) const -> V { return factor * v; }
//     };
//     template<class T>
//     auto with(double gamma) const -> rule<T> { return {static_cast<T>(1 / (1 + gamma * lambda))}; }
//   };
#pragma once

#include <cmath>
#include <concepts>
#include <string_view>
#include <type_traits>

#include <rubato/backend/lanes.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>

namespace rubato::prox {

/// A value of settings. with<T>(gamma) is the proximal map of gamma h, trivially copyable: a function of lanes and a
/// value. Not checked, but required: it acts on each value separately and is firmly non-expansive, as any proximal map
/// of a convex h is. Options are listed in visit_options. Models: none, l1, box.
template<class P, class T>
concept policy = std::copyable<P> && std::default_initializable<P> &&
                 requires(P const& p, double gamma, backend::scalar_lanes<T>& at, T v) {
                   { p.template with<T>(gamma)(at, v) } -> std::convertible_to<T>;
                   requires std::is_trivially_copyable_v<decltype(p.template with<T>(gamma))>;
                 };

/// Checked where a node uses it.
template<class P, class T>
consteval auto check_prox() -> bool {
  static_assert(policy<P, T>,
                "a prox is copyable, and its with<T>(gamma) gives a trivially copyable function of lanes and a value, "
                "the proximal map of gamma h");
  return true;
}

struct none {
  static constexpr auto name() -> std::string_view { return "none"; }
  template<class T>
  struct rule {
    template<class At, class V>
    RUBATO_HOST_DEVICE auto operator()(At&, V v) const -> V {
      return v;
    }
  };
  template<class T>
  [[nodiscard]] auto with(double) const -> rule<T> {
    return {};
  }
};

/// Makes models sparse.
struct l1 {
  double lambda = 1e-4;  ///< 0 or more
  static constexpr auto name() -> std::string_view { return "l1"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("lambda", self.lambda, "weight of the 1-norm, which makes models sparse");
  }
  /// Throws config_error unless lambda is a number of 0 or more.
  void check() const {
    if (!(lambda >= 0 && std::isfinite(lambda)))
      throw config_error{"the lambda of l1 must be a number of 0 or more, not " + shortest(lambda)};
  }
  template<class T>
  struct rule {
    T threshold;
    template<class At, class V>
    RUBATO_HOST_DEVICE auto operator()(At& at, V v) const -> V {
      return v - at.clamp(v, threshold);
    }
  };
  template<class T>
  [[nodiscard]] auto with(double gamma) const -> rule<T> {
    return {static_cast<T>(gamma * lambda)};
  }
};

/// Keeps each value between -bound and bound.
struct box {
  double bound = 1;  ///< positive
  static constexpr auto name() -> std::string_view { return "box"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("bound", self.bound, "every value of a model stays between -bound and bound");
  }
  /// Throws config_error unless the bound is a positive number.
  void check() const {
    if (!(bound > 0 && std::isfinite(bound)))
      throw config_error{"the bound of a box must be a positive number, not " + shortest(bound)};
  }
  template<class T>
  struct rule {
    T bound;
    template<class At, class V>
    RUBATO_HOST_DEVICE auto operator()(At& at, V v) const -> V {
      return at.clamp(v, bound);
    }
  };
  template<class T>
  [[nodiscard]] auto with(double) const -> rule<T> {
    return {static_cast<T>(bound)};
  }
};

}  // namespace rubato::prox
