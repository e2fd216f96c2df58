// SPDX-License-Identifier: MIT
// One local iteration as one kernel, on the reference and in hardware vectors: the ledger's integers agree to the bit,
// models to what a fused multiply-add may round differently. Built again for wider vectors (tests/CMakeLists.txt).
#include <rubato/algorithm/detail/gossip_kernel.hpp>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <rubato/algorithm/detail/debt.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/step/sgd.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
constexpr std::size_t edges = 3;

/// The vectors of a node with three edges of each kind, one of which was never used.
template<class T, class U>
struct node_memory {
  explicit node_memory(std::size_t n) {
    random_stream draw{11};
    auto const filled = [&]<class V>(V, double scale) {
      auto b = pool.allocate<V>(n);
      for (std::size_t i = 0; i < n; ++i) b.data()[i] = static_cast<V>(scale * draw.normal());
      return b;
    };
    auto const sums = std::is_same_v<U, std::int32_t> ? 1e5 : 1.0;
    for (auto* b : {&x, &x_new, &model, &g_old, &g_new}) *b = filled(T{}, 1.0);
    z = filled(U{}, sums);
    for (std::size_t j = 0; j < edges; ++j) {
      v[j] = filled(T{}, 1.0);
      newest[j] = filled(U{}, sums);
      consumed[j] = filled(U{}, sums);
      before[j] = filled(U{}, sums);
      after[j] = filled(U{}, sums);
      pulls[j] = {v[j].data(), T(0.2)};
      sums_in[j] = {newest[j].data(), j == 1 ? nullptr : consumed[j].data()};
      sums_out[j] = {j == 2 ? nullptr : before[j].data(), after[j].data(), T(0.25)};
    }
  }
  auto streams() -> detail::gossip_streams<T, U> {
    return {x.data(),
            x_new.data(),
            model.data(),
            {T(0.4), {pulls.data(), edges}},
            {z.data(), g_old.data(), g_new.data(), T(0.25), {sums_in.data(), edges}, {sums_out.data(), edges}}};
  }
  buffer_pool pool;
  writable_buffer<T> x, x_new, model, g_old, g_new;
  writable_buffer<U> z;
  std::array<writable_buffer<T>, edges> v;
  std::array<writable_buffer<U>, edges> newest, consumed, before, after;
  std::array<detail::model_source<T>, edges> pulls{};
  std::array<detail::sum_source<U>, edges> sums_in{};
  std::array<detail::sum_target<T, U>, edges> sums_out{};
};

/// The largest difference, in units of the type's own rounding; integers must be equal.
template<class V>
auto farthest(writable_buffer<V> const& a, writable_buffer<V> const& b) -> double {
  auto worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto const off = std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]));
    worst = std::max(worst, std::is_integral_v<V> ? off : off / static_cast<double>(std::numeric_limits<V>::epsilon()));
  }
  return worst;
}

template<class T, class Ledger>
void compare_iterations(Ledger const& ledger, std::size_t n, range r) {
  using enum order::action;
  using value = typename Ledger::template value<T>;
  using rule = typename step::sgd::state<backend::host<T>>::rule;
  auto const arithmetic = ledger.template arithmetic_for<T>(0);
  auto const after_gradient = [&](auto& m) {
    return detail::gossip_kernel<T, value, decltype(arithmetic), rule, true, track, consume, push, descend, write_model,
                                 send_model, pull>{m.streams(), arithmetic, rule{T(0.1)}};
  };
  node_memory<T, value> reference{n};
  backend::host<T> plain;
  auto const expected = plain.sweep(r, after_gradient(reference));
  for (auto const streaming_bytes : {std::size_t{0}, backend::default_streaming_bytes}) {
    node_memory<T, value> fast{n};
    backend::eigen<T> vectors{buffer_pool{}, streaming_bytes};
    INFO("n " << n << ", from " << r.begin << " to " << r.end << ", streaming above " << streaming_bytes);
    REQUIRE(vectors.sweep(r, after_gradient(fast)) == expected);
    auto const rounding = std::is_integral_v<value> ? 0.0 : 16.0;
    REQUIRE(farthest(fast.z, reference.z) <= rounding);
    for (std::size_t j = 0; j < edges; ++j) REQUIRE(farthest(fast.after[j], reference.after[j]) <= rounding);
    REQUIRE(farthest(fast.model, reference.model) <= 16.0);
    REQUIRE(farthest(fast.x_new, reference.x_new) <= 16.0);
  }
}

TEST_CASE("a local iteration in hardware vectors agrees with single indices, with either ledger") {
  ledger::fixed_point fixed;
  fixed.exponents = {16};
  for (std::size_t const n : {1U, 7U, 64U, 130U, 999U}) {
    for (auto const r : {range{0, n}, range{n > 64 ? std::size_t{64} : 0, n}}) {
      compare_iterations<float>(fixed, n, r);
      compare_iterations<double>(ledger::floating{}, n, r);
    }
  }
}

TEST_CASE("a debt is released alike in hardware vectors and index by index") {
  constexpr std::size_t n = 211;
  random_stream draw{5};
  std::vector<double> debt(n);
  std::vector<std::int32_t> z(n);
  for (std::size_t i = 0; i < n; ++i) {
    debt[i] = std::round(1e9 * draw.normal() * (i % 3 == 0 ? 1e-8 : 1.0));
    z[i] = static_cast<std::int32_t>(1e7 * draw.normal());
  }
  auto vector_debt = debt;
  auto vector_z = z;
  backend::host<float> plain;
  backend::eigen<float> vectors;
  for (int k = 0; k < 200; ++k) {
    auto const left =
        plain.sweep({0, n}, detail::release_debt_kernel<std::int32_t>{debt.data(), z.data(), 64.0, 0x1p25});
    REQUIRE(vectors.sweep({0, n}, detail::release_debt_kernel<std::int32_t>{vector_debt.data(), vector_z.data(), 64.0,
                                                                            0x1p25}) == left);
    REQUIRE(vector_debt == debt);
    REQUIRE(vector_z == z);
  }
  CHECK(z != std::vector<std::int32_t>(n, 0));
}

}  // namespace
