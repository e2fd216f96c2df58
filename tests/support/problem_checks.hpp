// SPDX-License-Identifier: MIT
// Common parts of the tests of problems: vectors to evaluate at, central differences, and refusals (refusal.hpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"  // for those who include this

namespace rubato::test {

/// A vector of the backend with normal values times `scale`, the same for every backend up to rounding.
template<class Backend>
auto random_vector(Backend& b, std::size_t n, std::uint64_t seed, double scale = 1)
    -> writable_buffer<typename Backend::scalar> {
  auto x = b.template allocate<typename Backend::scalar>(n);
  random_stream draw{0x766563ULL, seed};
  for (auto& value : x.view()) value = static_cast<typename Backend::scalar>(scale * draw.normal());
  return x;
}

/// The largest difference between g and the central differences of f at x, in units of 1 + |g|.
/// f takes a span of scalars and returns a double; x is changed and restored.
template<class T, class F>
auto gradient_error(writable_buffer<T>& x, std::vector<T> const& g, F&& f) -> double {
  auto const step = std::is_same_v<T, float> ? T(1.0 / 64) : T(1.0 / 65536);
  double worst = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    auto const before = x.data()[k];
    T const above = before + step;
    T const below = before - step;
    x.data()[k] = above;
    auto const high = static_cast<double>(f(x.view()));
    x.data()[k] = below;
    auto const low = static_cast<double>(f(x.view()));
    x.data()[k] = before;
    auto const slope = (high - low) / (static_cast<double>(above) - static_cast<double>(below));
    auto const exact = static_cast<double>(g[k]);
    worst = std::max(worst, std::abs(slope - exact) / (1 + std::abs(exact)));
  }
  return worst;
}

}  // namespace rubato::test
