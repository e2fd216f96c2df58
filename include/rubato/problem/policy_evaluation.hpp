// SPDX-License-Identifier: MIT
// A root that is no minimum: what states of a Markov chain are worth, by temporal differences (TD(0)) with linear
// features. Of a state s with features phi(s) and reward r(s), followed by s',
//   g(x) = -(r(s) + discount phi(s').x - phi(s).x) phi(s),
// whose mean over the stationary chain is A x - b, with a matrix A that is not symmetric: g is no gradient of anything.
// Each node follows a chain of its own, step by step, so its samples are correlated in time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/language.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>

namespace rubato::problem {

struct policy_evaluation_options {
  double discount = 0.9;
  double restart = 0.2;  ///< chance that a step leads to any state, all alike; its inverse bounds the mixing time
};

/// Sample k of a node is the step from its k-th state to the next one. Both are a pure function of the sample key: the
/// chain is followed from its last restart, 1/restart steps ago on average.
/// **Thread safety:** const calls from several threads are fine. **Models:** gradient_oracle, has_loss.
class policy_evaluation {
 public:
  using rows = std::vector<std::vector<double>>;

  /// A row of probabilities, a row of features and a reward for each state; with the chance 1 - restart a step goes by
  /// the probabilities. Throws config_error, also if the features leave the root open.
  policy_evaluation(rows const& steps, rows const& features, std::vector<double> const& rewards,
                    policy_evaluation_options options = {});
  /// A random chain with steps to 3 states from each, normal features and rewards; the same for equal arguments.
  [[nodiscard]] static auto random(std::size_t states, std::size_t features, std::uint64_t seed,
                                   policy_evaluation_options options = {}) -> policy_evaluation;

  [[nodiscard]] auto dimension() const -> std::size_t { return data_->root.size(); }
  [[nodiscard]] auto states() const -> std::size_t { return data_->rewards.size(); }

  /// Writes g at x of this sample; returns half the square of the temporal difference, which is not what vanishes at
  /// the root.
  template<backend::array_backend Backend>
  auto gradient(Backend&, std::span<typename Backend::scalar const> x, sample_key key,
                std::span<typename Backend::scalar> g) const -> double {
    RUBATO_EXPECTS(x.size() == dimension() && g.size() == dimension(), "x and g have the problem's dimension");
    auto const from = state_at(key);
    auto const to = step_from(from, {key.seed, key.node, key.draw + 1});
    auto const difference = data_->rewards[from] + options_.discount * value(to, x) - value(from, x);
    for (std::size_t k = 0; k < g.size(); ++k)
      g[k] = static_cast<typename Backend::scalar>(-difference * data_->features[from][k]);
    return 0.5 * difference * difference;
  }
  /// Half the mean square, over the stationary chain, by which values at x miss those at the root: 0 at the root.
  template<backend::array_backend Backend>
  [[nodiscard]] auto loss(Backend&, std::span<typename Backend::scalar const> x) const -> double {
    double sum = 0;
    for (std::size_t s = 0; s < states(); ++s) {
      auto const off = value(s, x) - value(s, std::span<double const>{data_->root});
      sum += 0.5 * data_->stationary[s] * off * off;
    }
    return sum;
  }

  /// The x at which the mean of g vanishes. Lives as long as this problem or a copy of it.
  [[nodiscard]] auto root() const& -> std::vector<double> const& { return data_->root; }
  [[nodiscard]] auto root() && -> std::vector<double> { return data_->root; }
  /// How often the chain is in each state.
  [[nodiscard]] auto stationary() const& -> std::vector<double> const& { return data_->stationary; }
  /// The state in which this node's sample begins.
  [[nodiscard]] auto state_at(sample_key key) const -> std::size_t;

 private:
  struct tables {
    rows steps, features;
    std::vector<double> rewards, stationary, root;
  };

  template<class T>
  [[nodiscard]] auto value(std::size_t state, std::span<T const> x) const -> double {
    double sum = 0;
    for (std::size_t k = 0; k < x.size(); ++k) sum += data_->features[state][k] * static_cast<double>(x[k]);
    return sum;
  }
  [[nodiscard]] static auto stream_of(sample_key key) -> random_stream { return random_stream{key}.with(0x5444ULL); }
  [[nodiscard]] auto restarts_at(random_stream& draw, sample_key key) const -> bool {
    return draw.chance(options_.restart) || key.draw == 0;
  }
  /// Where the step from this state leads that ends at sample `to`.
  [[nodiscard]] auto step_from(std::size_t state, sample_key to) const -> std::size_t;
  void check(tables const& t) const;
  [[nodiscard]] auto stationary_of(tables const& t) const -> std::vector<double>;
  [[nodiscard]] auto root_of(tables const& t) const -> std::vector<double>;

  std::shared_ptr<tables const> data_;
  policy_evaluation_options options_{};
};

#if RUBATO_BODIES
namespace detail {
/// a x = b by elimination with pivots; throws config_error if a is singular.
RUBATO_INLINE auto solved(std::vector<std::vector<double>> a, std::vector<double> b) -> std::vector<double> {
  auto const n = b.size();
  for (std::size_t k = 0; k < n; ++k) {
    auto best = k;
    for (auto i = k + 1; i < n; ++i)
      if (std::abs(a[i][k]) > std::abs(a[best][k])) best = i;
    if (!(std::abs(a[best][k]) > 1e-12))
      throw config_error{"the features of a policy evaluation do not tell values apart: its root is not unique"};
    std::swap(a[k], a[best]), std::swap(b[k], b[best]);
    for (auto i = k + 1; i < n; ++i) {
      auto const factor = a[i][k] / a[k][k];
      for (auto j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  }
  for (auto k = n; k-- > 0;) {
    for (auto j = k + 1; j < n; ++j) b[k] -= a[k][j] * b[j];
    b[k] /= a[k][k];
  }
  return b;
}
}  // namespace detail

RUBATO_INLINE policy_evaluation::policy_evaluation(rows const& steps, rows const& features,
                                                   std::vector<double> const& rewards,
                                                   policy_evaluation_options options)
    : options_{options} {
  auto fresh = tables{steps, features, rewards, {}, {}};
  check(fresh);
  fresh.stationary = stationary_of(fresh);
  fresh.root = root_of(fresh);
  data_ = std::make_shared<tables const>(std::move(fresh));
}

RUBATO_INLINE void policy_evaluation::check(tables const& t) const {
  if (!(options_.discount >= 0 && options_.discount < 1))
    throw config_error{"the discount of a policy evaluation must lie in [0, 1), not " + shortest(options_.discount)};
  if (!(options_.restart > 0 && options_.restart <= 1))
    throw config_error{"the chance of a restart must lie in (0, 1], not " + shortest(options_.restart)};
  auto const n = t.rewards.size();
  if (n == 0 || t.steps.size() != n || t.features.size() != n)
    throw config_error{"a policy evaluation has a row of steps, a row of features and a reward for each state"};
  for (std::size_t s = 0; s < n; ++s) {
    double sum = 0;
    for (auto const p : t.steps[s]) sum += p >= 0 ? p : 2;
    if (t.steps[s].size() != n || std::abs(sum - 1) > 1e-9)
      throw config_error{"the steps from state " + std::to_string(s) + " are not " + std::to_string(n) +
                         " probabilities that sum to 1"};
    if (t.features[s].empty() || t.features[s].size() != t.features[0].size())
      throw config_error{"state " + std::to_string(s) + " has another number of features than state 0, or none"};
  }
}

RUBATO_INLINE auto policy_evaluation::random(std::size_t states, std::size_t features, std::uint64_t seed,
                                             policy_evaluation_options options) -> policy_evaluation {
  auto steps = rows(states, std::vector<double>(states, 0.0)), phi = rows(states);
  auto rewards = std::vector<double>(states);
  for (std::size_t s = 0; s < states; ++s) {
    auto draw = random_stream{{seed, 0x74643030ULL, s}};
    for (int k = 0; k < 3; ++k) steps[s][draw.below(states)] += 1.0 / 3;
    for (std::size_t k = 0; k < features; ++k) phi[s].push_back(draw.normal());
    rewards[s] = draw.normal();
  }
  return {steps, phi, rewards, options};
}

RUBATO_INLINE auto policy_evaluation::state_at(sample_key key) const -> std::size_t {
  auto begin = key;
  auto draw = stream_of(begin);
  while (!restarts_at(draw, begin)) {
    --begin.draw;
    draw = stream_of(begin);
  }
  std::size_t state = draw.below(states());
  while (begin.draw != key.draw) {
    ++begin.draw;
    state = step_from(state, begin);
  }
  return state;
}

RUBATO_INLINE auto policy_evaluation::step_from(std::size_t state, sample_key to) const -> std::size_t {
  auto draw = stream_of(to);
  if (restarts_at(draw, to)) return draw.below(states());
  auto left = draw.uniform();
  auto const& row = data_->steps[state];
  std::size_t next = 0;
  for (std::size_t s = 0; s < row.size(); ++s) {
    if (row[s] > 0) next = s;
    left -= row[s];
    if (left < 0) break;
  }
  return next;
}

RUBATO_INLINE auto policy_evaluation::stationary_of(tables const& t) const -> std::vector<double> {
  auto const n = t.rewards.size();
  auto now = std::vector<double>(n, 1.0 / static_cast<double>(n));
  for (double moved = 1; moved > 1e-15;) {  // contracts by 1 - restart
    auto next = std::vector<double>(n, options_.restart / static_cast<double>(n));
    for (std::size_t s = 0; s < n; ++s)
      for (std::size_t j = 0; j < n; ++j) next[j] += (1 - options_.restart) * now[s] * t.steps[s][j];
    moved = 0;
    for (std::size_t s = 0; s < n; ++s) moved = (std::max)(moved, std::abs(next[s] - now[s]));
    now = std::move(next);
  }
  return now;
}

/// Of A x = b, with A = sum_s mu(s) phi(s) (phi(s) - discount E phi(s'))^T and b = sum_s mu(s) phi(s) r(s).
RUBATO_INLINE auto policy_evaluation::root_of(tables const& t) const -> std::vector<double> {
  auto const n = t.rewards.size(), d = t.features[0].size();
  auto a = rows(d, std::vector<double>(d, 0.0));
  auto b = std::vector<double>(d, 0.0);
  for (std::size_t s = 0; s < n; ++s) {
    auto next = std::vector<double>(d, 0.0);
    for (std::size_t j = 0; j < n; ++j) {
      auto const p = (1 - options_.restart) * t.steps[s][j] + options_.restart / static_cast<double>(n);
      for (std::size_t k = 0; k < d; ++k) next[k] += p * t.features[j][k];
    }
    for (std::size_t k = 0; k < d; ++k) {
      auto const share = t.stationary[s] * t.features[s][k];
      b[k] += share * t.rewards[s];
      for (std::size_t l = 0; l < d; ++l) a[k][l] += share * (t.features[s][l] - options_.discount * next[l]);
    }
  }
  return detail::solved(std::move(a), std::move(b));
}
#endif  // RUBATO_BODIES

}  // namespace rubato::problem
