// SPDX-License-Identifier: MIT
// Every codec keeps what it promises of its error, measured on vectors of many kinds and sizes, and both ways of
// computing (single values and hardware vectors) give the same bytes.
#include <rubato/codec/bf16.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/codec/minmax_u8.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>

#include "support/catch.hpp"
#include "support/codec_inputs.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float none = std::numeric_limits<float>::quiet_NaN();

template<class Codec, class Backend>
void keeps_its_promise(Codec const& c, Backend const& b) {
  using T = typename Backend::scalar;
  static_assert(Codec::error == codec::error_class::contractive);
  for (auto const& f : families) {
    for (auto const n : sizes) {
      auto const x = drawn<T>(f, n);
      auto const rounding = 1e-12;  // of the decoded values themselves, in float
      INFO(f.name << ", " << n << " values");
      REQUIRE(measured_error(x, through(c, b, x)) <= c.relative_error(n) + rounding);
    }
  }
}

TEST_CASE("identity, bf16 and minmax_u8 are contractive with the factor that they state") {
  keeps_its_promise(codec::identity{}, host{});
  keeps_its_promise(codec::bf16{}, host{});
  keeps_its_promise(codec::bf16{}, vectors{});
  keeps_its_promise(codec::minmax_u8{}, host{});
  keeps_its_promise(codec::minmax_u8{}, vectors{});
  keeps_its_promise(codec::minmax_u8{.chunk_values = 64}, vectors{});
  keeps_its_promise(codec::minmax_u8{.chunk_values = 0}, host{});
  keeps_its_promise(codec::minmax_u8{.chunk_values = (std::numeric_limits<std::size_t>::max)()}, host{});
  keeps_its_promise(codec::minmax_u8{}, backend::host<double>{});
}

TEST_CASE("the stated factor of minmax_u8 is nearly reached by two ends with zeros between") {
  auto const c = codec::minmax_u8{};
  auto const x = drawn(families[9], 4096);
  auto const error = measured_error(x, through(c, host{}, x));
  CHECK(error > 0.999 * c.relative_error(4096));
  CHECK(c.relative_error(4096) < 0.032);
  CHECK(codec::minmax_u8{.chunk_values = 0}.relative_error(std::size_t{1} << 20) >
        1);  // nothing is promised of so large a chunk
}

TEST_CASE("no value of minmax_u8 is off by more than half a step of its chunk, and the smallest is exact") {
  constexpr std::size_t chunk = 64;
  for (auto const& f : families) {
    for (auto const n : sizes) {
      auto const x = drawn(f, n, 2);
      auto const q = through(codec::minmax_u8{.chunk_values = chunk}, vectors{}, x);
      for (std::size_t begin = 0; begin < n; begin += chunk) {
        auto const end = std::min(n, begin + chunk);
        auto const at = [](floats const& v, std::size_t i) { return v.begin() + static_cast<std::ptrdiff_t>(i); };
        auto const [low, high] = std::minmax_element(at(x, begin), at(x, end));
        auto const half = (static_cast<double>(*high) - static_cast<double>(*low)) / 510;
        auto const largest = std::max(std::abs(static_cast<double>(*low)), std::abs(static_cast<double>(*high)));
        auto worst = 0.0;
        auto smallest_stay = true;
        for (auto i = begin; i < end; ++i) {
          worst = std::max(worst, std::abs(static_cast<double>(q[i]) - static_cast<double>(x[i])));
          smallest_stay = smallest_stay && (x[i] != *low || q[i] == *low);
        }
        INFO(f.name << ", " << n << " values, the chunk from " << begin);
        REQUIRE(worst <= half * (1 + 1e-4) + 0x1p-23 * largest);
        REQUIRE(smallest_stay);
      }
    }
  }
}

TEST_CASE("hardware vectors and single values encode to the same bytes and decode to the same values") {
  for (auto const& f : families) {
    for (auto const n : sizes) {
      auto const x = drawn(f, n, 3);
      INFO(f.name << ", " << n << " values");
      REQUIRE(bytes_of_codes(codec::minmax_u8{}, host{}, x) == bytes_of_codes(codec::minmax_u8{}, vectors{}, x));
      REQUIRE(bytes_of_codes(codec::bf16{}, host{}, x) == bytes_of_codes(codec::bf16{}, vectors{}, x));
      REQUIRE(through(codec::minmax_u8{}, host{}, x) == through(codec::minmax_u8{}, vectors{}, x));
      REQUIRE(through(codec::bf16{}, host{}, x) == through(codec::bf16{}, vectors{}, x));
    }
  }
}

TEST_CASE("chunks of minmax_u8 decode to the same values past the cache, wherever they begin") {
  auto const x = drawn(families[0], 5000, 4);
  auto streams = vectors{buffer_pool{}, 0};
  for (auto const chunk : {std::size_t{64}, std::size_t{100}, std::size_t{4096}}) {
    auto const c = codec::minmax_u8{.chunk_values = chunk};
    auto const codes = bytes_of_codes(c, host{}, x);
    auto const wanted = through(c, host{}, x);
    for (std::size_t shift = 0; shift < 3; ++shift) {
      auto out = streams.allocate<float>(x.size() + shift + 1);
      std::fill(out.view().begin(), out.view().end(), 7.0F);
      c.decode(streams, codes.data(), x.size(), out.data() + shift);
      INFO("chunks of " << chunk << ", " << shift << " values after a boundary");
      REQUIRE(std::equal(wanted.begin(), wanted.end(), out.data() + shift));
      REQUIRE((out.data()[x.size() + shift] == 7 && (shift == 0 || out.data()[shift - 1] == 7)));
    }
  }
}

TEST_CASE("codes take one byte per value and two numbers per chunk, and nothing else is touched") {
  CHECK(codec::minmax_u8{}.codes<float>(4096) == 4096 + 8);
  CHECK(codec::minmax_u8{}.codes<float>(4097) == 4097 + 16);
  CHECK(codec::minmax_u8{}.codes<double>(10) == 10 + 16);
  CHECK(codec::minmax_u8{}.codes<float>(0) == 0);
  CHECK(codec::bf16{}.codes<float>(5) == 5);
  auto const watched = backend::checked<host>{};  // every access is inside a live vector, no published body is written
  for (auto const n : {std::size_t{1}, std::size_t{77}, std::size_t{4097}}) {
    auto const x = drawn(families[0], n);
    CHECK(through(codec::minmax_u8{}, watched, x) == through(codec::minmax_u8{}, host{}, x));
    CHECK(through(codec::bf16{}, watched, x) == through(codec::bf16{}, host{}, x));
  }
  CHECK(through(codec::minmax_u8{}, host{}, floats{}).empty());
}

TEST_CASE("a chunk of minmax_u8 with a NaN or infinite value decodes to NaN throughout, the other chunks as usual") {
  for (auto const bad : {none, infinity, -infinity}) {
    for (std::size_t place = 64; place < 128; ++place) {
      auto x = drawn(families[0], 200);
      auto const before = through(codec::minmax_u8{.chunk_values = 64}, vectors{}, x);
      x[place] = bad;
      for (auto const& q : {through(codec::minmax_u8{.chunk_values = 64}, vectors{}, x),
                            through(codec::minmax_u8{.chunk_values = 64}, host{}, x)}) {
        auto wrong = 0;
        for (std::size_t i = 0; i < 200; ++i) wrong += (i / 64 == 1 ? std::isnan(q[i]) : q[i] == before[i]) ? 0 : 1;
        INFO(bad << " at " << place);
        REQUIRE(wrong == 0);
      }
    }
  }
}

TEST_CASE("minmax_u8 at the ends of the range: the widest span that a float holds is coded, a wider one is NaN") {
  auto const q = through(codec::minmax_u8{}, host{}, floats{-1.6e38F, 0, 1.6e38F});
  CHECK(q[0] == -1.6e38F);
  CHECK(q[2] == Approx(1.6e38F).epsilon(1e-6));
  for (auto const v : through(codec::minmax_u8{}, host{}, floats{-3e38F, 3e38F})) CHECK(std::isnan(v));
  auto const least = std::numeric_limits<float>::denorm_min();
  for (auto const v : through(codec::minmax_u8{}, host{}, floats{least, 1000 * least})) CHECK(v == least);
}

/// BAGUA's formula as it stands, before its cast to a byte.
auto bagua_code(float v, float low, float high) -> float {
  auto const s = 255.0F / (high - low + 1e-7F);
  auto const up = std::nearbyint(high * s);
  return std::min(std::nearbyint(v * s), up) - (up - 255.0F);
}

TEST_CASE("bagua_u8 has BAGUA's codes, clamped where those leave a byte") {
  std::size_t left = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (auto const width : {1.0F, 2.0F, 50.0F}) {
      auto x = drawn(families[1], 64, seed);
      for (auto& v : x) v *= width;
      x[0] = -width;  // symmetric about 0: the case in which the smallest value can get -1
      x[1] = width;
      auto const codes = bytes_of_codes(codec::bagua_u8{.chunk_values = 64}, vectors{}, x);
      for (std::size_t i = 0; i < 64; ++i) {
        auto const wanted = bagua_code(x[i], -width, width);
        left += wanted < 0 || wanted > 255 ? 1U : 0U;
        REQUIRE(std::to_integer<int>(codes[8 + i]) == static_cast<int>(std::clamp(wanted, 0.0F, 255.0F)));
      }
      auto const q = through(codec::bagua_u8{.chunk_values = 64}, vectors{}, x);
      for (std::size_t i = 0; i < 64; ++i) REQUIRE(std::abs(q[i] - x[i]) <= 1.01F * 2 * width / 255);
    }
  }
  CHECK(left > 0);  // otherwise this has tested no clamping
  for (auto const v : {0.0F, 1.0F, -3.5F, 1e4F, 1e-9F}) {
    auto const q = through(codec::bagua_u8{}, host{}, floats{v});
    CHECK(std::abs(q[0] - v) <= 1e-6F * std::abs(v) + 1e-9F);  // a chunk of one value
  }
}

TEST_CASE("with a range small against the offset, BAGUA's codes leave a byte; minmax_u8 stays within half a step") {
  auto x = drawn(families[6], 4096);
  for (auto& v : x) v = 1000 + (v - 1000) / 5;
  auto const [low, high] = std::minmax_element(x.begin(), x.end());
  CHECK(std::count_if(x.begin(), x.end(), [l = *low, h = *high](float v) { return bagua_code(v, l, h) > 255; }) > 0);
  auto const worst = [&x](floats const& q) {
    auto most = 0.0F;
    for (std::size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(q[i] - x[i]));
    return most;
  };
  auto const step = (*high - *low) / 255;
  CHECK(worst(through(codec::minmax_u8{}, vectors{}, x)) <= 0.51F * step + 6.2e-5F);  // the last place of 1000
  CHECK(worst(through(codec::bagua_u8{}, vectors{}, x)) > 2 * step);
  CHECK(worst(through(codec::bagua_u8{}, vectors{}, x)) < 12 * step);  // uncast, it would be all of the range
}

TEST_CASE("bf16 rounds to the nearest, ties to even, and keeps infinities, signs and NaN") {
  auto const of = [](std::uint32_t bits) { return std::bit_cast<float>(bits); };
  auto const x = floats{1.0F,      of(0x3f808000), of(0x3f818000), of(0x3f808001), -0.0F,          infinity,
                        -infinity, of(0x7f7fffff), of(0x7f800001), of(0xffc12345), of(0x00018000), 0.0F};
  auto const wanted = std::vector<std::uint32_t>{0x3f800000, 0x3f800000, 0x3f820000, 0x3f810000, 0x80000000, 0x7f800000,
                                                 0xff800000, 0x7f800000, 0x7fc00000, 0xffc10000, 0x00020000, 0};
  floats many;
  for (std::size_t k = 0; k < 11 * x.size(); ++k) many.push_back(x[k % x.size()]);
  for (auto const& q : {through(codec::bf16{}, host{}, many), through(codec::bf16{}, vectors{}, many)}) {
    for (std::size_t k = 0; k < q.size(); ++k) {
      INFO("value " << k % x.size());
      REQUIRE(std::bit_cast<std::uint32_t>(q[k]) == wanted[k % x.size()]);
    }
  }
  auto const d = through(codec::bf16{}, backend::host<double>{}, std::vector<double>{1.0, 1e300, -0.1});
  CHECK(d == std::vector<double>{1.0, HUGE_VAL, -0.10009765625});
}

template<class Backend>
struct sums {
  Backend backend{};
  codec::low_bits code{};
  writable_buffer<std::int32_t> known = backend.template allocate<std::int32_t>(77);

  /// Whether codes of `truth`, decoded against `known`, are in reach; known <- the decoded sums.
  auto receive(std::vector<std::int32_t> const& truth) -> bool {
    auto in = backend.template allocate<std::int32_t>(truth.size());
    std::copy(truth.begin(), truth.end(), in.data());
    auto codes = backend.template allocate<std::uint16_t>(truth.size());
    code.encode(backend, in.data(), truth.size(), codes.data());
    auto out = backend.template allocate<std::int32_t>(truth.size());
    auto const reached = code.decode(backend, codes.data(), known.data(), truth.size(), out.data());
    known = std::move(out);
    return reached;
  }
};

/// Differences as they wrap.
auto apart(std::int32_t a, std::int32_t b) -> std::int32_t { return backend::wrap_sub(a, b); }

template<class Backend>
void follows_sums(int shift) {
  sums<Backend> s;
  s.code.shift = shift;
  std::fill(s.known.view().begin(), s.known.view().end(), 0);
  random_stream draw{0x73756dULL, static_cast<std::uint64_t>(shift)};
  std::vector<std::int32_t> truth(77, 0);
  auto const reach = std::int64_t{1} << (codec::low_bits::reach_bits + shift);
  auto wrapped = false;
  for (int k = 0; k < 400; ++k) {  // uphill, so that the larger shifts go round 2^32
    for (auto& t : truth) {
      auto const step =
          static_cast<std::int64_t>(draw.uniform() * 0.99 * static_cast<double>(reach - (std::int64_t{1} << shift)));
      auto const after = backend::wrap_add(t, static_cast<std::int32_t>(step));
      wrapped = wrapped || after < t;
      t = after;
    }
    REQUIRE(s.receive(truth));
    auto worst = 0;
    auto between_steps = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      worst = std::max(worst, std::abs(apart(s.known.data()[i], truth[i])));
      between_steps |= s.known.data()[i] & ((std::int32_t{1} << shift) - 1);
    }
    REQUIRE(worst <= (std::int32_t{1} << shift >> 1));
    REQUIRE(between_steps == 0);
  }
  CHECK(wrapped == (shift >= 11));
}

TEST_CASE("low_bits follows running sums to half its resolution, past 2^31 and with any shift") {
  for (auto const shift : {0, 5, 11, 14, 16}) {
    follows_sums<host>(shift);
    follows_sums<vectors>(shift);
  }
}

TEST_CASE("low_bits reports a single sum that has moved out of reach, up or down, and refuses an invalid shift") {
  for (std::size_t i = 0; i < 77; ++i) {
    for (auto const sign : {1, -1}) {
      sums<vectors> s;
      std::fill(s.known.view().begin(), s.known.view().end(), 0);
      auto truth = std::vector<std::int32_t>(77, 1 << 27);
      truth[i] = sign * ((1 << 28) - (1 << 14));
      REQUIRE(s.receive(truth));
      std::fill(s.known.view().begin(), s.known.view().end(), 0);
      truth[i] = sign * ((1 << 28) + (1 << 14));
      REQUIRE_FALSE(s.receive(truth));
    }
  }
  CHECK(says(refusal([] { codec::low_bits{.shift = 17}.check(); }), "by 0 to 16"));
  CHECK(refusal([] { codec::low_bits{}.check(); }).empty());
  CHECK(says(codec::low_bits{}.range_sentence(3), "block 3 moved by 2^28 units"));
}

}  // namespace
}  // namespace rubato::test
