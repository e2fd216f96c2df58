// SPDX-License-Identifier: MIT
// Adam along directions d (gradients, or tracked ones), t counting from 1.   Kingma and Ba, arXiv 1412.6980
//   m <- b1 m + (1-b1) d        v <- b2 v + (1-b2) d^2
//   x <- x - gamma (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon)
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>

namespace rubato::step {

struct adam_options {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// Policy, see step::sgd. The size of the directions cancels, so that x moves by gamma at most or so. With gradient
/// tracking d is the node's estimate of the mean gradient, and node i moves by its share of gamma
/// (algorithm/detail/shared_step.hpp). On a tree pair the gain is n and the root has all n shares, so it moves by the
/// option `step`; on regular graphs give a raw step (step_scale::raw), since the gain counts what Adam cancels. Memory:
/// two vectors a node; reads and writes both once a local iteration, in the pass that moves x.
class adam {
 public:
  static constexpr auto name() -> std::string_view { return "adam"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("beta1", self.options_.beta1, "share of the former mean direction that is kept"),
        visit("beta2", self.options_.beta2, "share of the former mean square that is kept"),
        visit("epsilon", self.options_.epsilon, "what is added to the root of the mean square");
  }

  /// Throws config_error unless both betas lie in 0 to 1 (excluded) and epsilon is positive.
  explicit adam(adam_options options = {}) : options_{options} { check(); }
  void check() const {
    auto const check_beta = [](double beta, char const* which) {
      if (beta >= 0 && beta < 1) return;
      throw config_error{"the " + std::string{which} + " of Adam must lie in 0 (included) to 1 (excluded), not " +
                         shortest(beta)};
    };
    check_beta(options_.beta1, "beta1");
    check_beta(options_.beta2, "beta2");
    if (!(options_.epsilon > 0) || !std::isfinite(options_.epsilon)) {
      throw config_error{"the epsilon of Adam must be a positive number, not " + shortest(options_.epsilon)};
    }
  }

  [[nodiscard]] auto options() const -> adam_options const& { return options_; }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;

    struct rule {
      scalar rate{};  // gamma / (1-b1^t)
      scalar unbiased{};  // 1 / (1-b2^t)
      scalar beta1{}, share1{}, beta2{}, share2{}, epsilon{};
      scalar* mean = nullptr;
      scalar* square = nullptr;
      [[nodiscard]] static constexpr auto bytes_per_value() -> std::size_t { return 4 * sizeof(scalar); }
      [[nodiscard]] auto from(std::size_t begin) const -> rule {
        auto later = *this;
        later.mean += begin;
        later.square += begin;
        return later;
      }
      template<class At, class V>
      RUBATO_HOST_DEVICE auto operator()(At& at, V x, V direction) const -> V {
        auto const m = beta1 * at.load(mean) + share1 * direction;
        auto const v = beta2 * at.load(square) + share2 * (direction * direction);
        at.store(mean, m);
        at.store(square, v);
        return x - rate * (m / (at.sqrt(unbiased * v) + at.broadcast(epsilon)));
      }
    };

    static void visit_state(auto& self, auto&& visit) {
      visit("power of beta1", self.power1_), visit("power of beta2", self.power2_);
      visit("mean", self.mean_), visit("square", self.square_), visit("frozen", self.frozen_);
    }
    state(adam const& its, Backend& backend, std::size_t values)
        : options_{its.options_},
          mean_{backend::zeros<scalar>(backend, values)},
          square_{backend::zeros<scalar>(backend, values)} {}
    [[nodiscard]] auto next(double gamma) -> rule {
      power1_ *= options_.beta1;
      if (!frozen_) power2_ *= options_.beta2;
      return present(gamma);
    }
    [[nodiscard]] auto present(double gamma) -> rule {
      rule r;
      r.rate = static_cast<scalar>(gamma / (1 - power1_));
      r.unbiased = static_cast<scalar>(1 / (1 - power2_));
      r.beta1 = static_cast<scalar>(frozen_ ? 0 : options_.beta1);
      r.share1 = static_cast<scalar>(frozen_ ? 1 : 1 - options_.beta1);
      r.beta2 = static_cast<scalar>(frozen_ ? 1 : options_.beta2);
      r.share2 = static_cast<scalar>(frozen_ ? 0 : 1 - options_.beta2);
      r.epsilon = static_cast<scalar>(options_.epsilon);
      r.mean = mean_.data();
      r.square = square_.data();
      return r;
    }

    /// From now on v and 1-b2^t stay as they are, and a direction is the new m itself (algorithm/qadam.hpp).
    void freeze() { frozen_ = true; }
    /// m, and v.
    [[nodiscard]] auto mean() const -> writable_buffer<scalar> const& { return mean_; }
    [[nodiscard]] auto square() const -> writable_buffer<scalar> const& { return square_; }

   private:
    adam_options options_;
    double power1_ = 1, power2_ = 1;  // b1^t, b2^t
    writable_buffer<scalar> mean_, square_;
    bool frozen_ = false;
  };

 private:
  adam_options options_;
};

}  // namespace rubato::step
