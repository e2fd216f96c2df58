// SPDX-License-Identifier: MIT
// The algorithms that race knows by name. One row here is all that another one needs.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

#include "support/race_defaults.hpp"

namespace rubato::examples {

using race_backend = backend::eigen<float>;
using race_problem = problem::softmax_regression<float>;

/// What all algorithms of a race are told.
struct race_step {
  double step = 0;
  std::uint64_t seed = 0;
  std::size_t m = 0;  ///< gradients that a round of m_synchronous_sgd takes; 0: all
};

/// Nodes ready to run, and into how many mini-batches they cut the batch of the race: each has that part of its samples
/// and takes that part of its time. (Each draws its time by itself, so that a whole batch varies less than one in a piece.)
struct entrant {
  assembly nodes;
  std::size_t minibatches = 1;
};

struct algorithm_entry {
  std::string_view name;
  entrant (*assemble)(topology::pair const&, race_problem const&, race_step const&);
  std::size_t minibatches = 1;  ///< must divide the batch
};

inline constexpr std::size_t non_blocking_minibatches = 4;

namespace detail {

template<class Node, class Problem = race_problem>
auto assemble_as(topology::pair const& network, Problem const& problem, race_step const& s) -> entrant {
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  if constexpr (requires { o.m; }) o.m = s.m;
  return {rubato::assemble<Node>(network, problem, o)};
}

/// Weighed by nodes, for the race's nodes hold different labels.
template<class Node>
auto assemble_non_blocking(topology::pair const& network, race_problem const& problem, race_step const& s) -> entrant {
  constexpr auto parts = non_blocking_minibatches;
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  o.contribution = {parts, contribution::weigh::nodes};
  return {rubato::assemble<Node>(network, problem.with_batch(problem.options().batch / parts), o), parts};
}

}  // namespace detail

inline constexpr auto catalogue = std::to_array<algorithm_entry>({
    {"r_fast", &detail::assemble_as<r_fast<race_backend>>},
    {"push_pull", &detail::assemble_as<push_pull<race_backend>>},
    {"s_ab", &detail::assemble_as<s_ab<race_backend>>},
    {"d_psgd", &detail::assemble_as<d_psgd<race_backend>>},
    {"d_psgd_atc", &detail::assemble_as<d_psgd_atc<race_backend>>},
    {"ring_allreduce_sgd", &detail::assemble_as<ring_allreduce_sgd<race_backend>>},
    {"m_synchronous_sgd", &detail::assemble_as<m_synchronous_sgd<race_backend>>},
    {"asgd", &detail::assemble_as<asgd<race_backend>>},
    {"rescaled_asgd", &detail::assemble_as<rescaled_asgd<race_backend>>},
    {"ringmaster_asgd", &detail::assemble_as<ringmaster_asgd<race_backend>>},
    {"byte_grad", &detail::assemble_as<byte_grad<race_backend>>},
    {"low_precision_d_psgd", &detail::assemble_as<low_precision_d_psgd<race_backend>>},
    {"async_model_average", &detail::assemble_as<async_model_average<race_backend>>},
    {"non_blocking_allreduce", &detail::assemble_non_blocking<non_blocking_allreduce<race_backend>>,
     non_blocking_minibatches},
    {"non_blocking_d_psgd", &detail::assemble_non_blocking<non_blocking_d_psgd<race_backend>>, non_blocking_minibatches},
    {"ad_psgd", &detail::assemble_as<ad_psgd<race_backend>>},
    {"osgp", &detail::assemble_as<osgp<race_backend>>},
});

/// The entry of that name; throws config_error with the names there are.
[[nodiscard]] inline auto algorithm_named(std::string_view name) -> algorithm_entry const& {
  std::string names;
  for (auto const& entry : catalogue) {
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
