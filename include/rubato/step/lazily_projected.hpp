// SPDX-License-Identifier: MIT
// Steps of a sum y that is never projected, and x its projection on a box; their sizes fall so that gradients may be
// later and later:
//   y <- y - gamma s_k d,  x <- y limited to [-bound, bound];   y is the first x before the first step
//   s_k = s(k + offset) / s(offset), k = 0, 1, ...;  s(t) by how the delays grow with k:
//     bounded 1/t,   linearly 1/(t ln t),   polynomially 1/(t ln t ln ln t)
// So gamma is the first step. Source: Zhou et al., arXiv 2107.02919.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>

namespace rubato::step {

enum class delay_growth : std::uint8_t { bounded, linear, polynomial };
constexpr auto name_of(delay_growth growth) -> std::string_view {
  return growth == delay_growth::bounded ? "bounded" : growth == delay_growth::linear ? "linear" : "polynomial";
}

/// Policy, see step::sgd. Memory: one vector a node; reads and writes it once a step.
class lazily_projected {
 public:
  static constexpr auto name() -> std::string_view { return "lazily projected"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("bound", self.bound_, "every value of a model stays between -bound and bound");
    visit("delays", self.delays_, "how they grow with the number of steps: bounded, linear or polynomial");
    visit("offset", self.offset_, "steps after which their size has fallen to about a half");
  }

  /// Throws config_error unless the bound is positive and the offset is at least 2 (16 with polynomial delays).
  explicit lazily_projected(double bound = 100, delay_growth delays = delay_growth::linear, double offset = 1000)
      : bound_{bound}, delays_{delays}, offset_{offset} {
    check();
  }
  void check() const {
    if (!(bound_ > 0) || !std::isfinite(bound_))
      throw config_error{"the bound of lazily projected steps must be a positive number, not " + shortest(bound_)};
    auto const least = delays_ == delay_growth::polynomial ? 16.0 : 2.0;
    if (!(offset_ >= least) || !std::isfinite(offset_))
      throw config_error{"the offset of lazily projected steps must be at least " + shortest(least) + ", not " +
                         shortest(offset_)};
  }
  /// s_k.
  [[nodiscard]] auto factor(std::uint64_t k) const -> double {
    return size_at(static_cast<double>(k) + offset_) / size_at(offset_);
  }

  /// x is made of the sum of the steps: what else moves it would be lost.
  static constexpr bool moves_alone = true;

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;

    struct rule {
      scalar gamma{}, bound{};
      scalar* sum = nullptr;
      bool is_first = false;
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return 2 * sizeof(scalar); }
      [[nodiscard]] auto from(std::size_t begin) const -> rule { return {gamma, bound, sum + begin, is_first}; }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        auto const y = (is_first ? x : at.load(sum)) - gamma * direction;
        at.expect_finite(y);  // before the projection, which makes infinity finite
        at.store(sum, y);
        return at.clamp(y, bound);
      }
    };

    static void visit_state(auto& self, auto&& visit) { visit("sum", self.sum_), visit("steps", self.steps_); }
    state(lazily_projected const& its, Backend& backend, std::size_t values)
        : its_{&its}, sum_{backend::zeros<scalar>(backend, values)} {}
    [[nodiscard]] auto next(double gamma) -> rule {
      ++steps_;
      return present(gamma);
    }
    [[nodiscard]] auto present(double gamma) -> rule {
      auto const k = steps_ == 0 ? 0 : steps_ - 1;
      return {static_cast<scalar>(gamma * its_->factor(k)), static_cast<scalar>(its_->bound_), sum_.data(), k == 0};
    }

   private:
    lazily_projected const* its_;
    writable_buffer<scalar> sum_;
    std::uint64_t steps_ = 0;
  };

 private:
  [[nodiscard]] auto size_at(double t) const -> double {
    if (delays_ == delay_growth::bounded) return 1 / t;
    auto const log = std::log(t);
    return delays_ == delay_growth::linear ? 1 / (t * log) : 1 / (t * log * std::log(log));
  }

  double bound_;
  delay_growth delays_;
  double offset_;
};

}  // namespace rubato::step
