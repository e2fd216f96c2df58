// SPDX-License-Identifier: MIT
// The algorithms that race knows by name, with their node types behind functions. To add one, add a row to
// catalogue.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/problem.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology.hpp>

#include "support/node_options.hpp"
#include "support/race_defaults.hpp"
#include "support/race_network.hpp"

namespace rubato::examples {

using race_backend = backend::eigen<float>;
using race_problem = problem::softmax_regression<float>;

/// What nodes learn: softmax regression, or quadratics with a known optimum. One type, so that algorithms are compiled
/// once for both. **Models:** gradient_oracle, has_loss, has_accuracy (NaN for quadratics).
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
  /// The same with gradients over one of `parts` equal parts of the samples; a quadratic has none and is unchanged.
  [[nodiscard]] auto in_minibatches(std::size_t parts) const -> race_objective {
    auto const* const trained = std::get_if<race_problem>(&which_);
    return trained == nullptr ? *this : race_objective{trained->with_batch(trained->options().batch / parts)};
  }

 private:
  std::variant<race_problem, problem::quadratic> which_;
};

/// The settings of one algorithm in a race.
struct algorithm_settings {
  std::string name;
  double step = 0;                ///< unless it is set
  std::uint64_t seed = 0;         ///< unless it is set
  std::size_t block_values = 0;   ///< unless it is set
  std::vector<setting> set = {};  ///< options by name, each once
};

/// The options that result from them.
struct settled_options {
  std::vector<listed_option> options;
  double step = 0;
  std::size_t minibatches = 1;  ///< into which a node cuts its batch
};

/// Nodes ready to run, and the number of mini-batches into which they cut the batch of the race. Each mini-batch has
/// that part of the samples and takes that part of the time. (Each draws its own time, so a whole batch varies less
/// than one that is not cut.)
struct entrant {
  assembly nodes;
  std::size_t minibatches = 1;
};

struct algorithm_entry {
  std::string_view name;
  double step;  ///< race's default; 0: there is none
  std::string_view network;  ///< race's default
  entrant (*assemble)(race_network const&, race_objective const&, algorithm_settings const&);
  settled_options (*settle)(algorithm_settings const&);  ///< throws config_error
};

namespace detail {
[[nodiscard]] auto even_entries() -> std::vector<algorithm_entry>;
[[nodiscard]] auto odd_entries() -> std::vector<algorithm_entry>;
}  // namespace detail

/// All of them, in the order of catalogue.hpp.
[[nodiscard]] auto catalogue() -> std::span<algorithm_entry const>;

[[nodiscard]] inline auto algorithm_names() -> std::string {
  std::string names;
  for (auto const& entry : catalogue()) names += (names.empty() ? "" : ", ") + std::string{entry.name};
  return names;
}

/// The entry with that name; throws config_error that lists the names.
[[nodiscard]] inline auto algorithm_named(std::string_view name) -> algorithm_entry const& {
  for (auto const& entry : catalogue()) {
    if (entry.name == name) return entry;
  }
  throw config_error{"there is no algorithm '" + std::string{name} + "'; there are " + algorithm_names()};
}

/// Whether it has an option with that name, either one that can be set or a policy.
[[nodiscard]] inline auto has_option(algorithm_entry const& entry, std::string_view name) -> bool {
  auto const all = entry.settle({std::string{entry.name}, entry.step}).options;
  return std::any_of(all.begin(), all.end(), [name](auto const& o) { return o.name == name; });
}

/// The algorithms that have such an option, for a sentence; empty: none.
[[nodiscard]] inline auto algorithms_with(std::string_view option) -> std::string {
  std::string names;
  for (auto const& entry : catalogue()) {
    if (has_option(entry, option)) names += (names.empty() ? "" : ", ") + std::string{entry.name};
  }
  return names;
}

}  // namespace rubato::examples
