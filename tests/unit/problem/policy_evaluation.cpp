// SPDX-License-Identifier: MIT
#include <rubato/problem/policy_evaluation.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using problem::policy_evaluation;
using host = backend::host<double>;
using vec = std::vector<double>;
using rows = policy_evaluation::rows;

/// Two states, each leading to the other; one feature each, so that the root holds their values.
auto two_states(problem::policy_evaluation_options o) -> policy_evaluation {
  return {rows{{0, 1}, {1, 0}}, rows{{1, 0}, {0, 1}}, {1, 3}, o};
}

TEST_CASE("with a feature for each state the root holds the values of the Bellman equation") {
  auto const p = two_states({.discount = 0.5, .restart = 0.2});
  auto const& v = p.root();
  CHECK(v[0] == Approx(1 + 0.5 * (0.1 * v[0] + 0.9 * v[1])).epsilon(1e-12));
  CHECK(v[1] == Approx(3 + 0.5 * (0.9 * v[0] + 0.1 * v[1])).epsilon(1e-12));
  CHECK(p.stationary() == vec{0.5, 0.5});
  host b;
  CHECK(p.loss(b, std::span<double const>{v}) == 0.0);
  CHECK(p.loss(b, std::span<double const>{vec{v[0] + 2, v[1]}}) == Approx(0.5 * 0.5 * 4));
}

TEST_CASE("a sample goes on where the one before it ended, and its mean vanishes at the root and nowhere near it") {
  auto const p = policy_evaluation::random(8, 3, 5, {.discount = 0.7, .restart = 0.15});
  host b;
  vec at_root(3, 0.0), beside(3, 0.0), g(3), frequency(8, 0.0);
  auto x = p.root();
  x[1] += 1;
  constexpr std::uint64_t samples = 40000;
  for (std::uint64_t k = 0; k < samples; ++k) {
    auto const key = sample_key{1, node_id{2}, k};
    frequency[p.state_at(key)] += 1.0 / samples;
    p.gradient(b, std::span<double const>{p.root()}, key, std::span{g});
    for (std::size_t c = 0; c < 3; ++c) at_root[c] += g[c] / samples;
    p.gradient(b, std::span<double const>{x}, key, std::span{g});
    for (std::size_t c = 0; c < 3; ++c) beside[c] += g[c] / samples;
  }
  for (std::size_t c = 0; c < 3; ++c) CHECK(at_root[c] == Approx(0).margin(0.05));
  CHECK(beside[1] > 0.3);
  for (std::size_t s = 0; s < 8; ++s) CHECK(frequency[s] == Approx(p.stationary()[s]).margin(0.012));
}

TEST_CASE("steps, features and rewards that mean nothing are refused in a sentence") {
  auto const refused = [](rows const& steps, rows const& features, vec const& rewards,
                          problem::policy_evaluation_options o = {}) {
    return refusal([&] { policy_evaluation{steps, features, rewards, o}; });
  };
  auto const steps = rows{{0, 1}, {1, 0}}, features = rows{{1, 0}, {0, 1}};
  CHECK(refused(steps, features, {1, 2}).empty());
  CHECK(says(refused(steps, features, {1}), "a reward for each state"));
  CHECK(says(refused({{0, 1}, {1, 0.5}}, features, {1, 2}), "the steps from state 1 are not 2 probabilities"));
  CHECK(says(refused({{2, -1}, {1, 0}}, features, {1, 2}), "the steps from state 0 are not 2 probabilities"));
  CHECK(says(refused(steps, {{1, 0}, {0}}, {1, 2}), "another number of features"));
  CHECK(says(refused(steps, {{1, 1}, {1, 1}}, {1, 2}), "its root is not unique"));
  CHECK(says(refused(steps, features, {1, 2}, {.discount = 1}), "must lie in [0, 1), not 1"));
  CHECK(says(refused(steps, features, {1, 2}, {.restart = 0}), "must lie in (0, 1], not 0"));
}

}  // namespace
}  // namespace rubato::test
