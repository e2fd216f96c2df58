// SPDX-License-Identifier: MIT
// Problems compute where the vectors are: on memory that the host cannot read they give what the host gives, and no
// model or gradient is copied. Problems that are host code get copies, and the backend that was named for them.
#include <rubato/problem/any_oracle.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/detail/launch_arguments.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/topology/builders.hpp>

#include "support/all_gradients.hpp"
#include "support/catch.hpp"
#include "support/closed_backend.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;

template<class T>
void compare(double tolerance) {
  auto const expected = test::all_values(backend::host<T>{});
  auto const found = test::all_values(test::closed_backend<T>{});
  for (std::size_t p = 0; p < expected.size(); ++p) {
    INFO(expected[p].problem);
    CHECK(test::farthest_from(expected[p].gradient, found[p].gradient) <= tolerance);
    CHECK(test::farthest_from(expected[p].score, found[p].score) <= tolerance);
    CHECK(std::isfinite(expected[p].loss));
    CHECK(std::isnan(found[p].loss));  // not known: nobody waits for it
    CHECK_FALSE(test::farthest_from(std::vector<double>(expected[p].gradient.size()), expected[p].gradient) < 1e-4);
  }
}

TEST_CASE("all problems compute on memory that the host cannot read what they compute on the host") {
  compare<double>(1e-12);
  compare<float>(1e-5);
}

TEST_CASE("parts of a gradient that is computed on a device are those of the whole") {
  struct counter final : problem::part_receiver {
    std::vector<double> all;
    void take_part(gradient_part p) override {
      std::vector<double> values;
      rubato::detail::widen(p.value.on_host(), values);
      all.insert(all.end(), values.begin(), values.end());
    }
  };
  test::closed_backend<double> b;
  auto const data = test::four_classes(1);
  auto const net = problem::multilayer_perceptron<double>{data, split::iid(data, 2, 1), {.batch = 5, .hidden = 6}};
  auto const oracle = problem::any_oracle{b, net};
  auto here = b.pool().host_side().allocate<double>(net.dimension());
  auto const x = net.initial();
  std::copy(x.begin(), x.end(), here.data());
  auto const request = gradient_request{ticket{1}, b.pool().bring_in(std::move(here).publish()), {1, node_id{0}, 2}};
  counter parts;
  auto const g = oracle.evaluate(request, parts);
  std::vector<double> whole, expected;
  rubato::detail::widen(g.value.on_host(), whole);
  for (auto const& part : oracle.parts()) {
    if (part.values.begin == 0) continue;  // the last one
    expected.insert(expected.end(), whole.begin() + static_cast<std::ptrdiff_t>(part.values.begin),
                    whole.begin() + static_cast<std::ptrdiff_t>(part.values.end));
  }
  CHECK(parts.all.size() == net.dimension() - 6 * 13);
  CHECK(parts.all == expected);
}

/// A perceptron that says that it is host code.
template<class T>
struct on_the_host : problem::multilayer_perceptron<T> {
  static constexpr bool reads_device_memory = false;
  explicit on_the_host(problem::multilayer_perceptron<T> p) : problem::multilayer_perceptron<T>{std::move(p)} {}
};

/// Copies of whole vectors in a run, what its device did, and the local iterations of its node 0.
struct counted {
  std::size_t copies = 0;
  test::device_work work;
  std::uint64_t iterations = 0;
};

template<class Problem, class T>
auto counted_run(problem::multilayer_perceptron<T> const& net, std::chrono::nanoseconds time) -> counted {
  using closed = test::closed_backend<T>;
  closed b;
  auto made = assemble<r_fast<closed>>(topology::ring(3), Problem{net}, {.step = 0.01}, b);
  auto const result =
      simulate(std::move(made), {.compute = environment::fixed(1ms), .link = {.latency = 1ms}, .measure_every = 1s},
               {.time = time});
  CHECK(b.work().held_back >= 3 * result.nodes[0].iterations);  // the host does not run ahead: each asks the device
  CHECK(b.work().held_back <= 3 * result.nodes[0].iterations + 6);
  return {b.memory().copies_of(net.dimension() * sizeof(T)), b.work(), result.nodes[0].iterations};
}

template<class T>
void count_copies() {
  auto const data = test::four_classes(1);
  auto const net = problem::multilayer_perceptron<T>{data, split::iid(data, 3, 1), {.batch = 4, .hidden = 300}};
  using plain = problem::multilayer_perceptron<T>;
  auto const shorter = counted_run<plain>(net, 20ms), longer = counted_run<plain>(net, 60ms);
  REQUIRE(longer.iterations >= shorter.iterations + 20);
  CHECK(longer.copies == shorter.copies);
  CHECK(longer.work.tables_copied == 0);
  CHECK(longer.work.launches > shorter.work.launches);
  // The fixed-point ledger asks for its magnitudes after each pass; floating sums ask for nothing.
  auto const asked = std::is_same_v<T, float> ? 3 * (longer.iterations - shorter.iterations) : 0;
  CHECK(longer.work.waits == shorter.work.waits + asked);
  // The same run by host code copies models and gradients, and the count sees them.
  auto const few = counted_run<on_the_host<T>>(net, 20ms), many = counted_run<on_the_host<T>>(net, 60ms);
  REQUIRE(many.iterations >= few.iterations + 20);
  CHECK(many.copies >= few.copies + 2 * 3 * (many.iterations - few.iterations));
}

TEST_CASE("a local iteration copies no model, gradient or table between host and device, and waits at most once") {
  count_copies<float>();  // fixed point
  count_copies<double>();  // floating
}

template<class Backend>
auto models_of_many(Backend const& b) -> std::vector<double> {
  auto const q = problem::quadratic::random(20, 7, 5);
  auto const result = simulate(assemble<r_fast<Backend>>(topology::complete(20), q, {.step = 0.1}, b),
                               {.compute = environment::fixed(1ms)}, {.time = 20ms});
  std::vector<double> all, one;
  for (auto const& model : result.models) {
    rubato::detail::widen(model, one);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

TEST_CASE("tables for which a launch has no room are copied, and hold the same entries") {
  test::closed_backend<float> b;
  CHECK(models_of_many(b) == models_of_many(backend::host<float>{}));
  CHECK(b.work().tables_copied > 100);

  backend::detail::argument_tables along;
  double const entries[] = {1, 2, 3};
  std::int32_t const one = 4;
  CHECK(along.place(&one, 1));
  auto const next = along.place(entries, 3);  // behind the integer, where a double may begin
  REQUIRE(next);
  backend::detail::argument_lanes<float> const at{0, along.all()};
  CHECK(std::vector<double>(entries_of(at, *next), entries_of(at, *next) + 3) == std::vector<double>{1, 2, 3});
  constexpr auto left = backend::detail::launch_arguments::room / sizeof(double) - 4;
  CHECK_FALSE(along.place(std::vector<double>(left + 1).data(), left + 1));
  CHECK(along.place(std::vector<double>(left).data(), left));
  CHECK_FALSE(along.place(&one, 1));
  along.clear();
  CHECK(along.place(std::vector<double>(left + 4).data(), left + 4));
}

/// Host code that notes which backend it was given.
struct notes_backend {
  std::string* name;
  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  template<class Backend, class T>
  auto gradient(Backend&, std::span<T const> x, sample_key, std::span<T> g) const -> double {
    *name = std::string{Backend::name()};
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = 2 * x[k];
    return 0;
  }
};

TEST_CASE("host code for a device runs on the backend that the device names, and a run says so") {
  std::string name;
  auto const p = notes_backend{&name};
  auto const evaluated = [&]<class Backend>(Backend b) {
    auto here = b.pool().host_side().template allocate<double>(3);
    for (auto& v : here.view()) v = 4;
    auto const oracle = problem::any_oracle{b, p};
    CHECK(oracle.is_staged());
    auto const g = oracle.evaluate({ticket{1}, b.pool().bring_in(std::move(here).publish()), {}});
    CHECK_FALSE(g.value.is_on_host());
    CHECK(g.value.on_host().template view<double>()[2] == 8);
  };
  evaluated(test::closed_backend<double>{});
  CHECK(name == "host");
  evaluated(test::closed_backend<double, backend::eigen<double>>{});
  CHECK(name == "eigen");
  CHECK_FALSE(problem::any_oracle{backend::host<double>{}, p}.is_staged());
  using closed = test::closed_backend<double>;
  CHECK(assemble<r_fast<closed>>(topology::ring(3), p, {}).remark ==
        "gradients are computed on the host: each model is copied there from closed, and each gradient back");
  CHECK(assemble<r_fast<closed>>(topology::ring(3), problem::quadratic::random(3, 4, 1), {}).remark.empty());
}

TEST_CASE("data that do not fit on a device are refused with the memory that they take") {
  auto const too_large = [](auto const& p) {
    return test::refusal([&] { static_cast<void>(problem::any_oracle{test::closed_backend<double>{}, p}); });
  };
  CHECK(too_large(problem::quadratic::random(2, 2'000'000, 1)) ==
        "the data of a quadratic take 96000000 bytes, and closed has not so much memory left");
  constexpr std::size_t width = 4'500'000;
  auto const data = problem::dataset{std::vector<float>(2 * width, 1), {0, 1}, 2};
  CHECK(too_large(problem::logistic_regression<double>{data, {{0}, {1}}}) ==
        "the samples of the problem take 72000008 bytes, and closed has not so much memory left");
}

static_assert(problem::moves_data<problem::quadratic, test::closed_backend<float>>);
static_assert(problem::moves_data<problem::clipped<problem::softmax_regression<float>>, test::closed_backend<float>>);
static_assert(!problem::reads_device_memory<on_the_host<float>> && !problem::reads_device_memory<notes_backend>);
static_assert(problem::is_staged<notes_backend, test::closed_backend<float>>);
static_assert(!problem::is_staged<notes_backend, backend::host<float>>);

}  // namespace
