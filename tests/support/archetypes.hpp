// SPDX-License-Identifier: MIT
// The least that satisfies a concept: what compiles with an archetype asks for nothing that the concept does not say.
#pragma once

#include <cstddef>
#include <span>

#include <rubato/core/ids.hpp>

namespace rubato::test {

/// Converts to To and can do nothing else.
template<class To>
class only_converts_to {
 public:
  explicit only_converts_to(To value) : value_{value} {}
  operator To() const { return value_; }  // NOLINT(google-explicit-constructor)

 private:
  To value_;
};

/// A gradient_oracle that can neither be copied nor made without its dimension: f_i(x) = 0.
template<class Backend>
class oracle_archetype {
 public:
  explicit oracle_archetype(std::size_t dimension) : dimension_{dimension} {}
  oracle_archetype(oracle_archetype const&) = delete;
  auto operator=(oracle_archetype const&) -> oracle_archetype& = delete;
  ~oracle_archetype() = default;

  [[nodiscard]] auto dimension() const -> only_converts_to<std::size_t> {
    return only_converts_to<std::size_t>{dimension_};
  }
  auto gradient(Backend&, std::span<typename Backend::scalar const>, sample_key,
                std::span<typename Backend::scalar> g) const -> only_converts_to<double> {
    for (auto& value : g) value = 0;
    return only_converts_to<double>{0.0};
  }

 private:
  std::size_t dimension_;
};

}  // namespace rubato::test
