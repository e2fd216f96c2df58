// SPDX-License-Identifier: MIT
// The algorithms that race knows by name. One row in race_gossip.cpp or race_others.cpp is all that another one needs.
// Their node types are compiled there once, for all the programs that run them.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <rubato/backend/eigen.hpp>
#include <rubato/contribution/finished.hpp>
#include <rubato/problem.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology.hpp>

#include "support/race_defaults.hpp"

namespace rubato::examples {

using race_backend = backend::eigen<float>;
using race_problem = problem::softmax_regression<float>;

/// What nodes learn: softmax regression, or quadratics whose optimum is known; one type, so that algorithms are
/// compiled once for both. **Models:** gradient_oracle, has_loss, has_accuracy (not a number for quadratics).
class race_objective {
 public:
  race_objective(race_problem p) : which_{std::move(p)} {}
  race_objective(problem::quadratic p) : which_{std::move(p)} {}

  [[nodiscard]] auto dimension() const -> std::size_t {
    return std::visit([](auto const& p) { return p.dimension(); }, which_);
  }
  [[nodiscard]] auto nodes() const -> std::size_t {
    return std::visit([](auto const& p) { return p.nodes(); }, which_);
  }
  auto gradient(race_backend& b, std::span<float const> x, sample_key key, std::span<float> g) const -> double {
    return std::visit([&](auto const& p) { return p.gradient(b, x, key, g); }, which_);
  }
  [[nodiscard]] auto loss(race_backend& b, std::span<float const> x) const -> double {
    return std::visit([&](auto const& p) { return p.loss(b, x); }, which_);
  }
  [[nodiscard]] auto accuracy(race_backend& b, std::span<float const> x) const -> double {
    auto const* const trained = std::get_if<race_problem>(&which_);
    return trained == nullptr ? std::numeric_limits<double>::quiet_NaN() : trained->accuracy(b, x);
  }
  /// The same, each of whose gradients is over that part of the samples; a quadratic has none and stays as it is.
  [[nodiscard]] auto in_minibatches(std::size_t parts) const -> race_objective {
    auto const* const trained = std::get_if<race_problem>(&which_);
    return trained == nullptr ? *this : race_objective{trained->with_batch(trained->options().batch / parts)};
  }

 private:
  std::variant<race_problem, problem::quadratic> which_;
};

/// What all algorithms of a race are told.
struct race_step {
  double step = 0;
  std::uint64_t seed = 0;
  std::size_t m = 0;  ///< gradients that a round of m_synchronous_sgd takes; 0: all
  std::size_t block_values = 0;  ///< unit of delivery; 0: whole vectors
  contribution::weigh weigh = contribution::weigh::nodes;  ///< of what non-blocking nodes have finished
};

/// Nodes ready to run, and into how many mini-batches they cut the batch of the race: each has that part of its samples
/// and takes that part of its time. (Each draws its time by itself, so that a whole batch varies less than one in a
/// piece.)
struct entrant {
  assembly nodes;
  std::size_t minibatches = 1;
};

struct algorithm_entry {
  std::string_view name;
  entrant (*assemble)(topology::pair const&, race_objective const&, race_step const&);
  std::size_t minibatches = 1;  ///< must divide the batch
  std::size_t servers = 0;  ///< nodes beside those that compute
};

inline constexpr std::size_t non_blocking_minibatches = 16;

namespace detail {
[[nodiscard]] auto gossip_entries() -> std::span<algorithm_entry const>;
[[nodiscard]] auto other_entries() -> std::span<algorithm_entry const>;
}  // namespace detail

/// All of them; the rows of either file together.
[[nodiscard]] auto catalogue() -> std::span<algorithm_entry const>;

/// The entry of that name; throws config_error with the names there are.
[[nodiscard]] inline auto algorithm_named(std::string_view name) -> algorithm_entry const& {
  std::string names;
  for (auto const& entry : catalogue()) {
    if (entry.name == name) return entry;
    names += (names.empty() ? "" : ", ") + std::string{entry.name};
  }
  throw config_error{"there is no algorithm '" + std::string{name} + "': take some of " + names};
}

/// The step of the sweep.
[[nodiscard]] inline auto default_step_of(std::string_view name) -> double {
  for (auto const& d : default_steps) {
    if (d.algorithm == name) return d.step;
  }
  throw config_error{"there is no default step for '" + std::string{name} + "': give --step-of " + std::string{name} +
                     "=S"};
}

}  // namespace rubato::examples
