// SPDX-License-Identifier: MIT
// A user's problem behind virtual calls (a gradient, the score of a model), so that drivers are compiled once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/spread.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/text.hpp>
#include <rubato/problem/concepts.hpp>

namespace rubato::problem {

/// The score of a model; NaN where the problem has no such measure.
struct score {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double accuracy = std::numeric_limits<double>::quiet_NaN();
};

/// Is told of parts of a gradient while the rest is computed, on the thread that computes.
struct part_receiver {
  part_receiver() = default;
  part_receiver(part_receiver const&) = delete;
  auto operator=(part_receiver const&) -> part_receiver& = delete;
  virtual void take_part(gradient_part) = 0;

 protected:
  ~part_receiver() = default;
};

/// **Thread safety:** const calls may come from several threads at once, as for the problem inside.
class any_oracle {
 public:
  any_oracle() = default;
  /// Keeps a copy of both; `b` decides where gradients are allocated, and a problem's data move there (moves_data).
  template<backend::array_backend Backend, gradient_oracle<Backend> Problem>
  any_oracle(Backend b, Problem p) : self_{std::make_shared<model<Backend, Problem>>(std::move(b), std::move(p))} {}

  /// A gradient at request.point; one evaluation. What the problem throws passes through.
  [[nodiscard]] auto evaluate(gradient_request const& request) const -> gradient {
    return self_->evaluate(request, nullptr);
  }
  /// The same bits. `to` is given a copy of each part of parts() but the last, as soon as it is final. Throws run_error
  /// if the problem says that others are.
  [[nodiscard]] auto evaluate(gradient_request const& request, part_receiver& to) const -> gradient {
    return self_->evaluate(request, &to);
  }
  /// The parts of every gradient in the order in which they are final, with the share of the computing time that is
  /// over by then; empty if there are no two. (The last one has 1.)
  [[nodiscard]] auto parts() const -> std::vector<gradient_share> const& { return self_->parts; }
  /// A copy of a part of a gradient that is known as a whole.
  [[nodiscard]] auto part_of(gradient const& g, range values) const -> gradient_part {
    return self_->part_of(g, values);
  }
  /// The score of the mean of these models, which all have the same size and type.
  [[nodiscard]] auto score_mean(std::span<shared_buffer const> models) const -> score {
    return self_->score_mean(models);
  }
  /// sqrt( (1/n) sum_i |x_i - mean x|^2 ) of n models in a device's memory, computed there. NaN where the backend's
  /// memory is the host's, which reads them itself (consensus_distance).
  [[nodiscard]] auto distance_between(std::span<shared_buffer const> models) const -> double {
    return self_->distance_between(models);
  }
  [[nodiscard]] auto dimension() const -> std::size_t { return self_->dimension(); }
  /// Whether the problem is host code and the backend a device: then each model is copied to the host, and each
  /// gradient back.
  [[nodiscard]] auto is_staged() const -> bool { return self_->staged; }

 private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual auto evaluate(gradient_request const&, part_receiver*) const -> gradient = 0;
    [[nodiscard]] virtual auto part_of(gradient const&, range) const -> gradient_part = 0;
    [[nodiscard]] virtual auto score_mean(std::span<shared_buffer const>) const -> score = 0;
    [[nodiscard]] virtual auto distance_between(std::span<shared_buffer const>) const -> double = 0;
    [[nodiscard]] virtual auto dimension() const -> std::size_t = 0;
    std::vector<gradient_share> parts{};
    bool staged = false;
  };

  template<class Backend, class Problem>
  struct model final : base {
    using scalar = typename Backend::scalar;
    static constexpr bool on_host_copies = problem::is_staged<Problem, Backend>;
    static constexpr bool in_parts = gives_gradient_parts<Problem, Backend>;
    model(Backend b, Problem p) : backend{std::move(b)}, problem{std::move(p)} {
      this->staged = on_host_copies;
      if constexpr (moves_data<Problem, Backend>) problem.move_data_to(backend);
      if constexpr (in_parts) parts = checked(problem.gradient_parts(), problem.dimension());
    }

    /// Sums the times up. Throws config_error unless each value is in one part.
    static auto checked(std::vector<gradient_share> of, std::size_t dimension) -> std::vector<gradient_share> {
      if (of.empty()) return of;
      auto order = std::vector<range>{};
      double time = 0;
      for (auto& each : of) {
        if (each.values.begin > each.values.end || each.values.end > dimension || !(each.time >= 0)) {
          throw config_error{"a part of a gradient is of " + words_of(each.values) + " of " +
                             std::to_string(dimension) + " and takes the share " + shortest(each.time) +
                             " of its time; neither can be"};
        }
        order.push_back(each.values);
        each.time = time += each.time;
      }
      std::sort(order.begin(), order.end(),
                [](range a, range b) { return std::pair{a.begin, a.end} < std::pair{b.begin, b.end}; });
      std::size_t done = 0;
      for (auto const& values : order) {
        if (values.begin != done) {
          throw config_error{"the parts of a gradient share out all values, each once, but " +
                             (values.begin > done
                                  ? words_of({done, values.begin}) + " are in none"
                                  : words_of({values.begin, (std::min)(done, values.end)}) + " are in two")};
        }
        done = values.end;
      }
      if (done != dimension || std::abs(time - 1) > 1e-6) {
        throw config_error{"the parts of a gradient have " + std::to_string(done) + " of " + std::to_string(dimension) +
                           " values, and their times sum to " + shortest(time) +
                           "; they share out all values, and their times sum to 1"};
      }
      if (of.size() < 2) return {};
      of.back().time = 1;
      return of;
    }
    static auto words_of(range values) -> std::string {
      return "the values " + std::to_string(values.begin) + " to " + std::to_string(values.end);
    }
    /// Throws run_error: the next part is another one. `done` parts were final before.
    [[noreturn]] void refuse_part(range values, std::size_t done) const {
      throw run_error{"a gradient said that " + words_of(values) + " are final, but " +
                      (done < parts.size() ? "its next part is " + words_of(parts[done].values)
                                           : "all its " + std::to_string(done) + " parts were so before")};
    }

    /// Backends are handles; each call has its own. A problem for the host gets the host twin of a device backend.
    auto worker() const {
      if constexpr (on_host_copies) return backend.host_twin();
      else return backend;
    }
    /// The body in memory that the problem can read.
    auto readable(shared_buffer const& body) const -> shared_buffer {
      if constexpr (on_host_copies) return body.on_host();
      else return backend.pool().bring_in(body);
    }

    auto evaluate(gradient_request const& request, part_receiver* to) const -> gradient override {
      auto local = worker();
      auto g = local.template allocate<scalar>(request.point.size());
      auto const point = readable(request.point);
      auto const x = point.template view<scalar>();
      auto const loss = static_cast<double>(computed(local, x, request, g, to));
      return {request.id, backend.pool().bring_in(std::move(g).publish()), loss, {}};
    }
    template<class Local, class X>
    auto computed(Local& local, X x, gradient_request const& request, writable_buffer<scalar>& g,
                  part_receiver* to) const {
      if constexpr (in_parts) {
        if (to != nullptr && !parts.empty()) {
          std::size_t done = 0;
          auto const loss = problem.gradient(local, x, request.sample, g.view(), [&](range values) {
            if (done >= parts.size() || !(values == parts[done].values)) refuse_part(values, done);
            if (++done < parts.size())
              to->take_part(
                  {request.id, values, backend.pool().bring_in(copied(local, std::as_const(g).data(), values))});
          });
          if (done != parts.size()) {
            throw run_error{"a gradient has ended, but said of " + std::to_string(done) + " of its " +
                            std::to_string(parts.size()) + " parts that they are final"};
          }
          return loss;
        }
      }
      return problem.gradient(local, x, request.sample, g.view());
    }
    template<class Local>
    static auto copied(Local& local, scalar const* g, range values) -> shared_buffer {
      return backend::copied(local, g + values.begin, values.size()).publish();
    }
    auto part_of(gradient const& g, range values) const -> gradient_part override {
      auto local = backend;
      return {g.id, values, copied(local, g.value.template view<scalar>().data(), values)};
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

    auto distance_between([[maybe_unused]] std::span<shared_buffer const> models) const -> double override {
      if constexpr (backend::has_host_twin<Backend>) {
        std::vector<shared_buffer> here;
        std::vector<scalar const*> values;
        for (auto const& each : models) {
          here.push_back(backend.pool().bring_in(each));
          values.push_back(here.back().template view<scalar>().data());
        }
        auto local = backend;
        return backend::spread_of(local, values, models[0].size());
      } else {
        return std::numeric_limits<double>::quiet_NaN();
      }
    }

    auto dimension() const -> std::size_t override { return problem.dimension(); }

    Backend backend;
    Problem problem;
  };

  std::shared_ptr<base const> self_;
};

}  // namespace rubato::problem
