// SPDX-License-Identifier: MIT
// A kernel means what it says one index at a time; vectors, streaming stores and odd ends must not change a bit of it.
#include <rubato/backend/lanes.hpp>

#include <cstring>
#include <limits>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;

#if defined(RUBATO_VECTOR_BYTES)  // in the programs that are built again for wider vectors
static_assert(backend::detail::native_bytes == RUBATO_VECTOR_BYTES);
#endif

/// One of everything that lanes can do; in short lanes too, if it says that it fits.
template<class T, bool Short>
struct everything {
  static constexpr bool fits_short_lanes = Short;
  T const* x;
  std::int32_t* units;
  T* y;
  double* wide;
  template<class At>
  void operator()(At& at) const {
    auto const v = at.load(x);
    auto const rounded = at.round(T{1000} * v);
    auto const sum = backend::wrap_sub(backend::wrap_add(at.load(units), rounded), at.broadcast(std::int32_t{7}));
    at.store(units, sum);
    at.stream(y, T{0.75} * (v / at.broadcast(T{3}) - at.to_real(sum)));  // nothing that a compiler may contract
    at.store(wide, at.template cast<double>(v) + at.template cast<double>(sum));
    at.flag(backend::magnitude_bits(sum));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T) + 16; }
};

template<class T>
struct memory {
  explicit memory(std::size_t n) {
    for (auto* buffer : {&x, &y}) *buffer = pool.allocate<T>(n);
    units = pool.allocate<std::int32_t>(n);
    wide = pool.allocate<double>(n);
    random_stream draw{3};
    for (std::size_t i = 0; i < n; ++i) {
      x.data()[i] = static_cast<T>(draw.normal());
      units.data()[i] = static_cast<std::int32_t>(draw.below(1000));
      y.data()[i] = T{-1};
      wide.data()[i] = -1;
    }
  }
  template<bool Short = false>
  auto kernel() -> everything<T, Short> {
    return {x.data(), units.data(), y.data(), wide.data()};
  }
  friend auto operator==(memory const& a, memory const& b) -> bool {
    auto const same = [](auto const& left, auto const& right) {
      return std::memcmp(left.data(), right.data(), left.size() * sizeof(*left.data())) == 0;
    };
    return same(a.units, b.units) && same(a.y, b.y) && same(a.wide, b.wide);
  }
  buffer_pool pool;
  writable_buffer<T> x, y;
  writable_buffer<std::int32_t> units;
  writable_buffer<double> wide;
};

template<class T>
void compare(std::size_t n, range r) {
  for (auto const streaming_bytes : {std::size_t{0}, backend::default_streaming_bytes}) {
    memory<T> reference{n}, fast{n}, in_short_lanes{n};
    backend::host<T> plain;
    backend::eigen<T> vectors{buffer_pool{}, streaming_bytes};
    auto const expected = plain.sweep(r, reference.kernel());
    auto const found = vectors.sweep(r, fast.kernel());
    INFO("n " << n << ", from " << r.begin << " to " << r.end << ", streaming above " << streaming_bytes);
    REQUIRE(found == expected);
    REQUIRE(fast == reference);
    REQUIRE(vectors.sweep(r, in_short_lanes.template kernel<true>()) == expected);
    REQUIRE(in_short_lanes == reference);
  }
}

TEST_CASE("hardware vectors and single values agree bit for bit at every size, streamed or not") {
  for (std::size_t n = 1; n < 200; ++n) {
    compare<float>(n, {0, n});
    compare<double>(n, {0, n});
  }
  compare<float>(4099, {0, 4099});
  compare<double>(4099, {0, 4099});
}

TEST_CASE("a sweep over a part of the vectors touches nothing else") {
  for (auto const r : {range{64, 128}, range{64, 201}, range{3, 200}, range{128, 128}, range{199, 200}}) {
    compare<float>(201, r);
    compare<double>(201, r);
  }
}

template<class T>
struct rounding {
  T const* x;
  std::int32_t* y;
  template<class At>
  void operator()(At& at) const {
    at.store(y, at.round(at.load(x)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 + sizeof(T); }
};

template<class T, class Backend>
void check_rounding(Backend b) {
  std::vector<T> in;
  for (auto const v : {0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49, -0.51, 1e20, -1e20, 7.0}) in.push_back(static_cast<T>(v));
  constexpr auto least = std::numeric_limits<std::int32_t>::min();
  std::vector<std::int32_t> const wanted{0, 2, 2, 0, -2, -2, 0, -1, least, least, 7};
  // Each value comes often enough to pass through every lane of a vector and the single values at the end.
  std::vector<T> many;
  for (std::size_t k = 0; k < 97 * in.size(); ++k) many.push_back(in[k % in.size()]);
  std::vector<std::int32_t> out(many.size());
  b.sweep({0, many.size()}, rounding<T>{many.data(), out.data()});
  for (std::size_t k = 0; k < many.size(); ++k) REQUIRE(out[k] == wanted[k % in.size()]);
}

TEST_CASE("rounding goes to the nearest integer, ties to even, and far values to the least integer") {
  check_rounding<float>(backend::host<float>{});
  check_rounding<double>(backend::host<double>{});
  check_rounding<float>(backend::eigen<float>{});
  check_rounding<double>(backend::eigen<double>{});
}

/// Bytes to words and back, of which only the low bits stay.
struct through_words {
  std::uint8_t const* in;
  std::int32_t* words;
  std::uint8_t* out;
  template<class At>
  void operator()(At& at) const {
    auto const word = at.template cast<std::int32_t>(at.load(in));
    at.store(words, word);
    auto const beyond = backend::wrap_sub(backend::wrap_add(word, word), at.broadcast(std::int32_t{70'007}));
    at.store(out, at.template cast<std::uint8_t>(beyond));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 6; }
};

template<class Backend>
void check_bytes(Backend b) {
  std::vector<std::uint8_t> in(3 * 256 + 37), out(in.size());
  std::vector<std::int32_t> words(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint8_t>(i * 7);
  b.sweep({0, in.size()}, through_words{in.data(), words.data(), out.data()});
  for (std::size_t i = 0; i < in.size(); ++i) {
    REQUIRE(words[i] == static_cast<std::int32_t>(in[i]));
    REQUIRE(out[i] == static_cast<std::uint8_t>(2 * in[i] - 70'007));
  }
}

TEST_CASE("bytes become words without a sign, and words bytes by their low bits") {
  check_bytes(backend::host<float>{});
  check_bytes(backend::eigen<float>{});
  check_bytes(backend::eigen<double>{});
}

TEST_CASE("integer sums wrap at 2^32") {
  constexpr auto most = std::numeric_limits<std::int32_t>::max(), least = std::numeric_limits<std::int32_t>::min();
  CHECK(backend::wrap_add(most, 1) == least);
  CHECK(backend::wrap_sub(least, 1) == most);
  CHECK(backend::wrap_sub(least + 5, most - 5) == 11);
}

TEST_CASE("magnitude bits bound a value by the next power of two, on either side of zero") {
  for (auto const v : {0, 1, 5, 1000, (1 << 29) - 1}) {
    CHECK(backend::magnitude_bits(v) == v);
    CHECK(backend::magnitude_bits(-v - 1) == v);
  }
  CHECK(backend::magnitude_bits(1 << 29) >= (1 << 29));
  CHECK(backend::magnitude_bits(-(1 << 29) - 1) >= (1 << 29));
}

struct raising {
  std::int32_t const* x;
  template<class At>
  void operator()(At& at) const {
    at.flag(at.load(x));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4; }
};

TEST_CASE("a value raised in any lane reaches the caller") {
  backend::eigen<float> b;
  for (std::size_t i = 0; i < 150; ++i) {
    std::vector<std::int32_t> x(150, 0);
    x[i] = 1 << (i % 31);
    REQUIRE(b.sweep({0, x.size()}, raising{x.data()}) == 1U << (i % 31));
  }
}

}  // namespace
