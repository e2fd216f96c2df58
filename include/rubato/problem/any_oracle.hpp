// SPDX-License-Identifier: MIT
// A user's problem behind virtual calls (a gradient, the score of a model), so that drivers are compiled once.
#pragma once

#include <limits>
#include <memory>
#include <span>
#include <utility>

#include <rubato/core/outbox.hpp>
#include <rubato/problem/concepts.hpp>

namespace rubato::problem {

/// The score of a model; NaN where the problem has no such measure.
struct score {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double accuracy = std::numeric_limits<double>::quiet_NaN();
};

/// **Thread safety:** const calls may come from several threads at once, as for the problem inside.
class any_oracle {
 public:
  any_oracle() = default;
  /// Keeps a copy of both; `b` decides where gradients are allocated.
  template<backend::array_backend Backend, gradient_oracle<Backend> Problem>
  any_oracle(Backend b, Problem p) : self_{std::make_shared<model<Backend, Problem>>(std::move(b), std::move(p))} {}

  /// A gradient at request.point; one evaluation. What the problem throws passes through.
  [[nodiscard]] auto evaluate(gradient_request const& request) const -> gradient { return self_->evaluate(request); }
  /// The score of the mean of these models, which all have the same size and type.
  [[nodiscard]] auto score_mean(std::span<shared_buffer const> models) const -> score {
    return self_->score_mean(models);
  }
  [[nodiscard]] auto dimension() const -> std::size_t { return self_->dimension(); }

 private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual auto evaluate(gradient_request const&) const -> gradient = 0;
    [[nodiscard]] virtual auto score_mean(std::span<shared_buffer const>) const -> score = 0;
    [[nodiscard]] virtual auto dimension() const -> std::size_t = 0;
  };

  template<class Backend, class Problem>
  struct model final : base {
    using scalar = typename Backend::scalar;
    static constexpr bool staged = backend::has_host_twin<Backend> && !reads_device_memory<Problem>;
    model(Backend b, Problem p) : backend{std::move(b)}, problem{std::move(p)} {}

    /// Backends are handles; each call has its own. A problem for the host gets the host twin of a device backend.
    auto worker() const {
      if constexpr (staged) return backend.host_twin();
      else return backend;
    }
    /// The body in memory that the problem can read.
    auto readable(shared_buffer const& body) const -> shared_buffer {
      if constexpr (staged) return body.on_host();
      else return backend.pool().bring_in(body);
    }

    auto evaluate(gradient_request const& request) const -> gradient override {
      auto local = worker();
      auto g = local.template allocate<scalar>(request.point.size());
      auto const point = readable(request.point);
      auto const x = point.template view<scalar>();
      auto const loss = static_cast<double>(problem.gradient(local, x, request.sample, g.view()));
      return {request.id, backend.pool().bring_in(std::move(g).publish()), loss, {}};
    }

    auto score_mean(std::span<shared_buffer const> models) const -> score override {
      auto local = worker();
      auto const n = problem.dimension();
      auto mean = local.template allocate<scalar>(n);
      local.sweep({0, n}, backend::zero_kernel<scalar>{mean.data()});
      auto const share = scalar{1} / static_cast<scalar>(models.size());
      for (auto const& each : models) {
        auto const x = readable(each);
        local.sweep({0, n}, backend::add_kernel<scalar>{x.template view<scalar>().data(), mean.data(), share});
      }
      auto const x = std::as_const(mean).view();
      score s;
      if constexpr (has_loss<Problem, Backend>) s.loss = static_cast<double>(problem.loss(local, x));
      if constexpr (has_accuracy<Problem, Backend>) s.accuracy = static_cast<double>(problem.accuracy(local, x));
      return s;
    }

    auto dimension() const -> std::size_t override { return problem.dimension(); }

    Backend backend;
    Problem problem;
  };

  std::shared_ptr<base const> self_;
};

}  // namespace rubato::problem
