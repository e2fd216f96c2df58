// SPDX-License-Identifier: MIT
// Every system of Thrust computes what the reference does: sweeps bit for bit, whoever works on which chunk, with
// outputs poisoned before; sums and products within their rounding, and the same bits on every system.
#include <rubato/backend/thrust.hpp>

#include <cstring>
#include <limits>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>

#include "support/catch.hpp"
#include "support/thrust_systems.hpp"

namespace {

using namespace rubato;
using backend::product_shape;
using backend::transposed;

/// Reads, writes, streams, rounds and raises; adds to what was there, so that an index visited twice shows.
struct everything {
  float const* x;
  std::int32_t* units;
  float* y;
  template<class At>
  void operator()(At& at) const {
    auto const v = at.load(x);
    auto const sum = backend::wrap_add(at.load(units), at.round(1000.0F * v));
    at.store(units, sum);
    at.stream(y, 0.75F * (v / at.broadcast(3.0F)));
    at.flag(backend::magnitude_bits(sum));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 16; }
};

struct memory {
  explicit memory(std::size_t n)
      : x{pool.allocate<float>(n)}, y{pool.allocate<float>(n)}, units{pool.allocate<std::int32_t>(n)} {
    random_stream draw{3};
    for (std::size_t i = 0; i < n; ++i) {
      x.data()[i] = static_cast<float>(draw.uniform() - 0.5);
      units.data()[i] = static_cast<std::int32_t>(draw.below(1000));
    }
    std::memset(static_cast<void*>(y.data()), 0xC5, n * sizeof(float));
  }
  auto kernel() -> everything { return {x.data(), units.data(), y.data()}; }
  friend auto operator==(memory const& a, memory const& b) -> bool {
    return std::memcmp(a.y.data(), b.y.data(), a.y.size() * 4) == 0 &&
           std::memcmp(a.units.data(), b.units.data(), a.units.size() * 4) == 0;
  }
  buffer_pool pool;
  writable_buffer<float> x, y;
  writable_buffer<std::int32_t> units;
};

constexpr auto chunk = backend::detail::chunk_values;

TEST_CASE("a sweep visits every index once, for every system, size, start and way of storing") {
  test::for_each_system([](auto system) {
    for (auto const n : {std::size_t{1}, std::size_t{203}, chunk, chunk + 1, 3 * chunk + 77}) {
      for (auto const begin : {std::size_t{0}, std::size_t{64}, std::size_t{67}}) {
        if (begin > n) continue;
        for (auto const streaming : {std::size_t{0}, backend::default_streaming_bytes}) {
          memory expected{n}, found{n};
          backend::host<float> reference;
          backend::thrust<float, decltype(system)> b{buffer_pool{}, {streaming, 0}};
          auto const wanted = reference.sweep({begin, n}, expected.kernel());
          INFO(b.name() << ", n " << n << ", from " << begin << ", streaming above " << streaming);
          REQUIRE(b.sweep({begin, n}, found.kernel()) == wanted);
          REQUIRE(found == expected);
        }
      }
    }
  });
}

struct raising {
  std::int32_t const* x;
  template<class At>
  void operator()(At& at) const {
    at.flag(at.load(x));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4; }
};

TEST_CASE("a value raised in any chunk reaches the caller") {
  test::for_each_system([](auto system) {
    backend::thrust<float, decltype(system)> b{buffer_pool{}, {backend::default_streaming_bytes, 0}};
    std::vector<std::int32_t> x(4 * chunk + 5, 0);
    for (std::size_t k = 0; k < 5; ++k) {
      auto const at = k * chunk + k;
      x[at] = 1 << k;
      REQUIRE(b.sweep({0, x.size()}, raising{x.data()}) == 1U << k);
      x[at] = 0;
    }
    REQUIRE(b.sweep({0, x.size()}, raising{x.data()}) == 0);
  });
}

TEST_CASE("dot products agree with the reference, and have the same bits on one thread and on all") {
  for (auto const n : {std::size_t{0}, std::size_t{1}, std::size_t{1001}, 2 * chunk, 5 * chunk + 13}) {
    random_stream draw{12};
    std::vector<float> x(n), y(n);
    for (auto* v : {&x, &y}) {
      for (auto& value : *v) value = static_cast<float>(draw.normal());
    }
    auto const expected = backend::host<float>{}.dot(x.data(), y.data(), n);
    auto const alone = backend::thrust<float>{}.dot(x.data(), y.data(), n);
    CHECK(alone == Approx(expected).margin(1e-3));
    test::for_each_system([&](auto system) {
      backend::thrust<float, decltype(system)> const b{buffer_pool{}, {backend::default_streaming_bytes, 0}};
      CHECK(b.dot(x.data(), y.data(), n) == alone);
      CHECK(b.dot(x.data(), y.data(), n) == alone);
    });
  }
}

template<class Backend>
void compare_products(Backend const& b) {
  backend::host<double> plain;
  random_stream draw{11};
  std::vector<double> a(64 * 300), right(64 * 300), before(70 * 70);
  for (auto* v : {&a, &right, &before}) {
    for (auto& x : *v) x = draw.normal();
  }
  for (auto shape :
       {product_shape{1, 1, 1}, {7, 5, 11}, {16, 10, 20}, {3, 1, 300}, {1, 70, 2}, {67, 35, 270}, {3, 3, 0}}) {
    for (auto const ta : {transposed::no, transposed::yes}) {
      for (auto const tb : {transposed::no, transposed::yes}) {
        shape.a = ta;
        shape.b = tb;
        for (auto const beta : {0.0, 1.0, -0.5}) {
          auto expected = before, found = before;
          if (beta == 0.0) found[0] = std::numeric_limits<double>::quiet_NaN();  // is not read then
          plain.multiply(shape, 1.5, a.data(), right.data(), beta, expected.data());
          b.multiply(shape, 1.5, a.data(), right.data(), beta, found.data());
          INFO(b.name() << ": " << shape.rows << " x " << shape.columns << ", inner " << shape.inner);
          for (std::size_t k = 0; k < found.size(); ++k) REQUIRE(std::abs(found[k] - expected[k]) <= 1e-12);
        }
      }
    }
  }
}

TEST_CASE("every system multiplies as the reference does, for every transpose and beta, with one thread or several") {
  test::for_each_system([](auto system) {
    using tested = backend::thrust<double, decltype(system)>;
    compare_products(tested{});
    compare_products(tested{buffer_pool{}, {backend::default_streaming_bytes, 0}});
  });
}

static_assert(backend::array_backend<backend::thrust<float>> && backend::array_backend<backend::thrust<double>>);
static_assert(backend::thrust<float>::name() == "thrust_cpp");
static_assert(backend::thrust<float>::level == backend::determinism::run_to_run);
static_assert(sizeof(backend::thrust<float>) <= 48);

}  // namespace
