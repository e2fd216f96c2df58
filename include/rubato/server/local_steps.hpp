// SPDX-License-Identifier: MIT
// A worker's job is Q steps of SGD from the model that it was given, x_v; it sends the sum s of its gradients:
//   s <- (1 - mu eta) s + g(y),  y <- x_v - eta s,   Q times, from s = 0, y = x_v;   eta = rate gamma
// So y - x_v = -eta s. The term mu is that of a proximal term mu/2 |y - x_v|^2 on the worker's loss. gamma is the step
// before its schedule.
#pragma once

#include <chrono>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>

namespace rubato::server {

namespace detail {

/// sum <- keep sum + g (g if first);  y <- start - eta sum.
template<class T>
struct local_step_kernel {
  T const* start;
  T const* g;
  T* sum;
  T* y;
  T keep, eta;
  bool first;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto total = at.load(g);
    if (!first) total = total + keep * at.load(sum);
    auto const moved = at.load(start) - eta * total;
    at.expect_finite(moved);
    at.store(sum, total);
    at.store(y, moved);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 5 * sizeof(T); }
};

}  // namespace detail

/// Policy, see assignment_policy: the worker whose result arrived goes on. Keeps 2 vectors at a worker if Q > 1; a
/// local step reads 3 and writes 2.
struct local_steps {
  static constexpr auto name() -> std::string_view { return "local steps"; }
  static void visit_state(auto&, auto&&) {}
  auto operator()(std::size_t arrived) const -> std::size_t { return arrived; }
  static void visit_options(auto& self, auto&& visit) {
    visit("count", self.count, "Q: gradients of a job, each after a local step");
    visit("rate", self.rate, "the local step, in units of the step");
    visit("proximal", self.proximal, "mu: pull towards the model that the worker was given");
  }
  std::size_t count = 1;
  double rate = 1;
  double proximal = 0;

  /// Throws config_error.
  void check() const {
    if (count == 0) throw config_error{"a worker's job has at least one local step, not 0"};
    if (!(rate >= 0) || !std::isfinite(rate))
      throw config_error{"the rate of local steps must be a number of 0 or more, not " + shortest(rate)};
    if (!(proximal >= 0) || !std::isfinite(proximal))
      throw config_error{"the proximal term of local steps must be a number of 0 or more, not " + shortest(proximal)};
  }

  template<class Backend>
  class local {
    using scalar = typename Backend::scalar;

   public:
    explicit local(local_steps const& its) : count_{its.count}, rate_{its.rate}, proximal_{its.proximal} {
      its.check();
    }
    static void visit_state(auto& self, auto&& visit) {
      visit("steps", self.steps_), visit("took", self.took_), visit("sum", self.sum_), visit("model", self.model_);
    }

    /// A new job.
    void begin() {
      steps_ = 0;
      took_ = {};
      finite_ = true;
    }
    /// Takes a gradient. If it ends the job, g becomes the sum and the time of all; else model() is the next point.
    [[nodiscard]] auto ends(Backend& backend, shared_buffer const& start, gradient& g, double gamma) -> bool {
      took_ += g.duration;
      auto const first = steps_++ == 0, last = steps_ == count_;
      if (first && last) return true;
      auto const eta = rate_ * gamma;
      if (first) sum_ = backend.template allocate<scalar>(start.size());
      auto moved = backend.template allocate<scalar>(start.size());
      auto const raised = backend.sweep(
          {0, start.size()}, detail::local_step_kernel<scalar>{start.template view<scalar>().data(),
                                                               g.value.template view<scalar>().data(), sum_->data(),
                                                               moved.data(), static_cast<scalar>(1 - proximal_ * eta),
                                                               static_cast<scalar>(eta), first});  // (Fb.L)
      finite_ = (raised & backend::not_finite) == 0;
      model_ = std::move(moved).publish();
      if (!last || !finite_) return false;
      g.value = std::move(*sum_).publish();
      g.duration = took_;
      sum_.reset();
      return true;
    }
    /// Whether a job has begun and not ended.
    [[nodiscard]] auto in_job() const -> bool { return steps_ > 0 && steps_ < count_; }
    [[nodiscard]] auto model() const -> shared_buffer const& { return model_; }
    [[nodiscard]] auto finite() const -> bool { return finite_; }

   protected:
    std::size_t count_;

   private:
    double rate_, proximal_;
    std::size_t steps_ = 0;
    std::chrono::nanoseconds took_{};
    std::optional<writable_buffer<scalar>> sum_;
    shared_buffer model_{};
    bool finite_ = true;
  };
};

}  // namespace rubato::server
