// SPDX-License-Identifier: MIT
// A problem written once, with the type of its values as a template parameter, serves nodes of either precision.
#include <rubato/problem/concepts.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// f_i(x) = |x - i|^2 / 2 and noise; the first model is far away.
struct either {
  std::vector<double> first = {100, -100, 0.1};
  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  [[nodiscard]] auto initial() const -> std::vector<double> { return first; }
  template<class Backend, class T>
  auto gradient(Backend&, std::span<T const> x, sample_key key, std::span<T> g) const -> double {
    auto draw = random_stream{key};
    auto const noise = 0.01 * draw.normal();
    for (std::size_t k = 0; k < x.size(); ++k)
      g[k] = static_cast<T>(static_cast<double>(x[k]) - static_cast<double>(to_index(key.node)) + noise);
    return 0;
  }
  template<class Backend, class T>
  [[nodiscard]] auto loss(Backend&, std::span<T const> x) const -> double {
    auto sum = 0.0;
    for (auto const v : x) sum += (static_cast<double>(v) - 1.5) * (static_cast<double>(v) - 1.5) / 2;
    return sum;
  }
};
using single_precision = backend::host<float>;
using double_precision = backend::host<double>;
static_assert(problem::gradient_oracle<either, single_precision> && problem::gradient_oracle<either, double_precision>);
static_assert(problem::has_loss<either, single_precision> && problem::has_loss<either, double_precision>);

/// The same with a first model in float.
struct from_float : either {
  [[nodiscard]] auto initial() const -> std::vector<float> { return {1, 2, 0.5F}; }
};

TEMPLATE_TEST_CASE("one problem runs on nodes of float and of double, and ends at one optimum", "", float, double) {
  using node_type = r_fast<backend::host<TestType>>;
  auto a = assemble<node_type>(topology::ring(4), either{}, {.step = 0.02});
  auto const first = a.nodes[0].estimate();
  CHECK(first.template view<TestType>()[0] == TestType{100});
  CHECK(first.template view<TestType>()[2] == static_cast<TestType>(0.1));
  auto const result =
      simulate(std::move(a), {.compute = environment::lognormal(10ms, 0.3), .link = {.loss = 0.1}}, {.time = 30s});
  for (auto const& m : result.models)
    for (auto const v : m.template view<TestType>()) CHECK(std::abs(static_cast<double>(v) - 1.5) < 0.02);
  CHECK(result.history.back().loss < 1e-3);
}

TEST_CASE("the first gradients of both precisions are of the same samples") {
  auto const of = [](auto a) { return a.oracle.evaluate({ticket{}, a.nodes[0].estimate(), {7, node_id{2}, 5}}); };
  auto const f = of(assemble<d_psgd<single_precision>>(topology::ring(4), either{}, {}));
  auto const d = of(assemble<d_psgd<double_precision>>(topology::ring(4), either{}, {}));
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(f.value.view<float>()[k] == Approx(d.value.view<double>()[k]).epsilon(1e-6));
}

TEST_CASE("a first model of the other precision is rounded, and refused if it is then not finite") {
  auto const a = assemble<d_psgd<double_precision>>(topology::ring(4), from_float{}, {});
  CHECK(a.nodes[0].estimate().view<double>()[2] == 0.5);
  auto huge = either{};
  huge.first[1] = 1e300;
  CHECK(refusal([&] { static_cast<void>(assemble<d_psgd<double_precision>>(topology::ring(4), huge, {})); }).empty());
  CHECK(refusal([&] { static_cast<void>(assemble<d_psgd<single_precision>>(topology::ring(4), huge, {})); }) ==
        "the problem's initial model is not finite at value 1");
}

}  // namespace
}  // namespace rubato::test
