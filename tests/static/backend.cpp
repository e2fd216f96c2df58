// SPDX-License-Identifier: MIT
#include <rubato/backend/concepts.hpp>

#include <string_view>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>

namespace {

using namespace rubato::backend;
using rubato::range;
using rubato::writable_buffer;

static_assert(array_backend<host<float>> && array_backend<host<double>>);
static_assert(array_backend<eigen<float>> && array_backend<eigen<double>>);
static_assert(array_backend<checked<host<float>>> && array_backend<checked<eigen<double>>>);
static_assert(host<float>::level == determinism::run_to_run && checked<host<float>>::level == host<float>::level);
static_assert(host<float>::name() == "host" && eigen<float>::name() == "eigen");

// Each lacks one thing or has it wrong.
struct without_sweep : host<float> {
  void sweep() = delete;
};
struct with_silent_sweep : host<float> {
  template<class Kernel>
  void sweep(range, Kernel const&) {}
};
struct with_bare_memory : host<float> {
  template<class U>
  auto allocate(std::size_t n) -> U*;
};
struct with_float_dot : host<float> {
  [[nodiscard]] auto dot(float const*, float const*, std::size_t) const -> float;
};
struct of_integers : host<float> {
  using scalar = int;
};
struct without_level {
  using scalar = float;
};
struct uncopyable : host<float> {
  uncopyable(uncopyable const&) = delete;
};
static_assert(!array_backend<without_sweep> && !array_backend<with_silent_sweep> && !array_backend<with_bare_memory>);
static_assert(!array_backend<with_float_dot> && !array_backend<of_integers> && !array_backend<without_level>);
static_assert(!array_backend<uncopyable> && !array_backend<float>);

// Backends are handles, cheap to copy for every thread.
static_assert(sizeof(host<float>) <= 32 && sizeof(eigen<float>) <= 48);

}  // namespace
