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
  std::size_t block_values = 0;  ///< unit of delivery; 0: whole vectors
};

struct algorithm_entry {
  std::string_view name;
  assembly (*assemble)(topology::pair const&, race_problem const&, race_step const&);
};

namespace detail {

template<class Node, class Problem = race_problem>
auto assemble_as(topology::pair const& network, Problem const& problem, race_step const& s) -> assembly {
  typename Node::options o;
  o.step = s.step;
  o.seed = s.seed;
  o.block_values = s.block_values;
  if constexpr (requires { o.m; }) o.m = s.m;
  return rubato::assemble<Node>(network, problem, o);
}

}  // namespace detail

inline constexpr std::array<algorithm_entry, 7> catalogue{{
    {"r_fast", &detail::assemble_as<r_fast<race_backend>>},
    {"push_pull", &detail::assemble_as<push_pull<race_backend>>},
    {"s_ab", &detail::assemble_as<s_ab<race_backend>>},
    {"d_psgd", &detail::assemble_as<d_psgd<race_backend>>},
    {"d_psgd_atc", &detail::assemble_as<d_psgd_atc<race_backend>>},
    {"ring_allreduce_sgd", &detail::assemble_as<ring_allreduce_sgd<race_backend>>},
    {"m_synchronous_sgd", &detail::assemble_as<m_synchronous_sgd<race_backend>>},
}};

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
