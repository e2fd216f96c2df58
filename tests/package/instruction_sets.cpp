// SPDX-License-Identifier: MIT
// One program of two files for two instruction sets: instruction_sets.sh compiles this twice, as the first file and as
// the second. What the first asks of vectors the second asks in part, so that the linker has a choice to get wrong.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#if defined(WITH_EIGEN)
#include <rubato/backend/eigen.hpp>
#endif
#include <rubato/backend/detail/vector_products.hpp>
#include <rubato/backend/vector_sweep.hpp>
#include <rubato/run/build.hpp>

namespace {

constexpr std::size_t n = 1003;

struct kernel {
  float const* x;
  double* wide;
  std::int32_t* whole;
  template<class Lanes>
  void operator()(Lanes& at) const {
    auto const v = at.load(x);
    at.stream(wide, at.template cast<double>(v * v));
    at.store(whole, rubato::backend::wrap_add(at.round(v), at.broadcast(std::int32_t{1})));
    at.flag(at.round(v));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 16; }
};

auto values() -> std::vector<float> {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i % 64) - 20.25F;
  return x;
}

[[maybe_unused]] auto dot_is_right() -> bool {
  auto const x = values();
  auto sum = 0.0;
  for (auto const v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::abs(rubato::backend::detail::vector_dot(x.data(), x.data(), {0, n}) - sum) < 1e-6 * sum;
}

[[maybe_unused]] auto sweep_is_right() -> bool {
  auto const x = values();
  std::vector<double> wide(n);
  std::vector<std::int32_t> whole(n);
  rubato::backend::vector_sweep<float>({0, n}, kernel{x.data(), wide.data(), whole.data()}, ~std::size_t{0});
  for (std::size_t i = 0; i < n; ++i) {
    if (wide[i] != static_cast<double>(x[i] * x[i]) || whole[i] != static_cast<std::int32_t>(std::lrint(x[i])) + 1)
      return false;
  }
  return true;
}

[[maybe_unused]] auto build_is_right() -> bool {
  auto const its = "vectors of " + std::to_string(rubato::backend::detail::native_bytes) + " bytes";
  return rubato::build_text().find(its) != std::string::npos;
}

}  // namespace

auto second_is_right() -> bool;

#if defined(FIRST)
int main() {
  std::puts("main begins");
  auto const mine = dot_is_right() && build_is_right(), its = second_is_right();
  std::printf("vectors of %zu bytes: %s\n", rubato::backend::detail::native_bytes, mine ? "right" : "wrong");
  return mine && its ? 0 : 1;
}
#else
auto second_is_right() -> bool {
  auto const right = sweep_is_right() && dot_is_right() && build_is_right();
  std::printf("vectors of %zu bytes: %s\n", rubato::backend::detail::native_bytes, right ? "right" : "wrong");
  return right;
}
#endif
