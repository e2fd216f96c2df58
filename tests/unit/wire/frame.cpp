// SPDX-License-Identifier: MIT
#include <rubato/wire/frame.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/wire/xxhash.hpp>

#include "support/catch.hpp"
#include "support/for_all.hpp"

namespace {

using namespace rubato;
using bytes = std::vector<std::byte>;

auto a_packet(buffer_pool& pool) -> packet {
  auto body = pool.allocate<float>(150);
  std::iota(body.data(), body.data() + 150, 0.5F);
  packet p;
  p.from = node_id{3};
  p.to = node_id{70'000};
  p.channel = channel_id::tracker;
  p.session = {5, 6};
  p.number = iteration{(std::uint64_t{1} << 40) + 1};
  p.based_on = iteration{17};
  p.posted_at = {std::chrono::nanoseconds{-3}};
  p.body = std::move(body).publish();
  p.extra.set(scalar_slot::loss, -0.25).set(scalar_slot::sample_count, std::uint64_t{9});
  return p;
}

auto encoded(packet const& p, range blocks, range values, wire::seal const& s = {}) -> bytes {
  bytes frame;
  auto const width = bytes_of(p.body.kind());
  wire::encode(p, {blocks, p.body.bytes().subspan(values.begin * width, values.size() * width)}, frame, s);
  return frame;
}

/// Real wires: a run id, and a checksum.
constexpr auto sealed = wire::seal{0x1234'5678'9abc'def0, &wire::xxh3_of};

auto same_head(packet const& a, packet const& b) -> bool {
  return a.from == b.from && a.to == b.to && a.channel == b.channel && a.session == b.session && a.number == b.number &&
         a.based_on == b.based_on && a.posted_at == b.posted_at && a.extra == b.extra;
}

TEST_CASE("a frame brings back the packet that it was made from") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  auto const frame = encoded(p, {2, 3}, {128, 150});
  CHECK(frame.size() == wire::header_bytes + 22 * 4);
  wire::frame_view f;
  REQUIRE_FALSE(wire::decode(frame, f));
  CHECK(same_head(f.head, p));
  CHECK(f.blocks == range{2, 3});
  auto const copy = wire::copy_body(f, pool);
  CHECK(copy.kind() == element::f32);
  CHECK(std::equal(copy.view<float>().begin(), copy.view<float>().end(), p.body.view<float>().begin() + 128));
  CHECK(copy.size() == 22);
}

TEST_CASE("every element type and an empty body survive") {
  buffer_pool pool;
  auto const check = [&](auto value) {
    using T = decltype(value);
    auto body = pool.allocate<T>(3);
    std::fill_n(body.data(), 3, value);
    packet p;
    p.body = std::move(body).publish();
    wire::frame_view f;
    auto const frame = encoded(p, {0, 1}, {0, 3});
    REQUIRE_FALSE(wire::decode(frame, f));
    auto const copy = wire::copy_body(f, pool);
    REQUIRE(copy.kind() == element_of<T>);
    CHECK(std::equal(copy.view<T>().begin(), copy.view<T>().end(), p.body.view<T>().begin()));
  };
  check(1.5F);
  check(-2.5);
  check(std::int32_t{-7});
  check(std::int64_t{1} << 50);
  check(std::byte{0xFE});
  check(std::uint16_t{0xFEDC});
  wire::frame_view f;
  auto const frame = encoded(packet{}, {0, 0}, {0, 0});
  REQUIRE_FALSE(wire::decode(frame, f));
  CHECK_FALSE(wire::copy_body(f, pool));
}

TEST_CASE("a frame cut at any byte is refused, and so is one with a byte too many") {
  buffer_pool pool;
  auto frame = encoded(a_packet(pool), {0, 3}, {0, 150});
  wire::frame_view f;
  for (std::size_t n = 0; n < frame.size(); ++n) {
    auto const error = wire::decode(std::span{frame}.first(n), f);
    REQUIRE(error);
    if (n < wire::header_bytes) REQUIRE(*error == wire::decode_error::too_short);
    else REQUIRE(*error == wire::decode_error::wrong_length);
  }
  frame.push_back(std::byte{0});
  CHECK(wire::decode(frame, f) == wire::decode_error::wrong_length);
}

TEST_CASE("one wrong bit in the header of a frame without checksum is refused or shows in what is decoded") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  auto const frame = encoded(p, {0, 3}, {0, 150});
  for (std::size_t bit = 0; bit < 8 * wire::header_bytes; ++bit) {
    auto flipped = frame;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    wire::frame_view f;
    auto const error = wire::decode(flipped, f);
    INFO("bit " << bit);
    REQUIRE_FALSE((!error && same_head(f.head, p) && f.blocks == range{0, 3} && f.kind == element::f32));
  }
}

TEST_CASE(
    "with a checksum every wrong bit anywhere in a frame and every cut is refused, and all refusals are counted") {
  buffer_pool pool;
  auto const frame = encoded(a_packet(pool), {1, 2}, {64, 128}, sealed);
  wire::frame_view f;
  REQUIRE_FALSE(wire::decode(frame, f, sealed));
  std::array<std::size_t, wire::decode_error_count> refused{};
  auto const refuse = [&](std::span<std::byte const> frame_bytes) {
    auto const error = wire::decode(frame_bytes, f, sealed);
    REQUIRE(error);
    ++refused[static_cast<std::size_t>(*error)];
  };
  for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    auto flipped = frame;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    refuse(flipped);
  }
  for (std::size_t n = 0; n < frame.size(); ++n) refuse(std::span{frame}.first(n));
  CHECK(std::accumulate(refused.begin(), refused.end(), std::size_t{0}) == 9 * frame.size());
  CHECK(refused[static_cast<std::size_t>(wire::decode_error::wrong_run)] == 64);
  CHECK(refused[static_cast<std::size_t>(wire::decode_error::wrong_checksum)] > 8 * 256);  // the body's bits at least
}

TEST_CASE(
    "the checksum is 32 bits of XXH3, continued by its seed, and shows damage of any length anywhere in a frame") {
  auto const text = std::string_view{"rubato"};
  auto const part = [&](std::size_t from, std::size_t to) {
    return std::as_bytes(std::span{text}).subspan(from, to - from);
  };
  CHECK(wire::xxh3_of(0, {}) == 0U);
  CHECK(wire::xxh3_of(7, {}) == 7U);
  CHECK(wire::xxh3_of(0, part(0, 6)) == 0x87820b2d4808c8e1U);
  CHECK(wire::xxh3_of(1, part(0, 6)) == 0x6135f284d562cc07U);
  buffer_pool pool;
  auto const frame = encoded(a_packet(pool), {0, 3}, {0, 150}, sealed);
  test::for_all(2000, [&](random_stream& gen, std::uint64_t) {
    auto damaged = frame;
    auto const from = gen.below(frame.size());
    auto const length = 1 + gen.below(std::min<std::uint64_t>(frame.size() - from, gen.chance(0.5) ? 4 : 1000));
    for (auto i = from; i < from + length; ++i) damaged[i] = static_cast<std::byte>(gen.below(256));
    wire::frame_view f;
    REQUIRE((damaged == frame || wire::decode(damaged, f, sealed)));
  });
}

TEST_CASE("a frame of another run, with an unknown codec, or with another seal is refused by name") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  auto frame = encoded(p, {1, 2}, {64, 128}, sealed);
  wire::frame_view f;
  CHECK(wire::decode(frame, f, {sealed.run + 1, sealed.check}) == wire::decode_error::wrong_run);
  CHECK(wire::decode(frame, f, {sealed.run, nullptr}) == wire::decode_error::wrong_checksum);
  CHECK(wire::decode(encoded(p, {1, 2}, {64, 128}, {sealed.run, nullptr}), f, sealed) ==
        wire::decode_error::wrong_checksum);
  frame[104] = std::byte{wire::codec_count};
  CHECK(wire::decode(frame, f, sealed) == wire::decode_error::unknown_codec);
}

TEST_CASE("a header says how much follows before its body has been read") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  auto const frame = encoded(p, {1, 2}, {64, 128}, sealed);
  auto const header = std::span{frame}.first<wire::header_bytes>();
  wire::frame_view f;
  REQUIRE_FALSE(wire::decode_header(header, f, sealed));
  CHECK(f.values == 64);
  CHECK(f.kind == element::f32);
  auto body = wire::arriving_body{f.kind, f.values, pool};
  REQUIRE(body.bytes().size() == 256);
  std::copy(frame.begin() + wire::header_bytes, frame.end(), body.bytes().begin());
  CHECK(wire::is_intact(header, body.bytes(), sealed));
  body.bytes()[3] ^= std::byte{1};
  CHECK_FALSE(wire::is_intact(header, body.bytes(), sealed));
  body.bytes()[3] ^= std::byte{1};
  auto const whole = std::move(body).publish();
  CHECK(std::equal(whole.view<float>().begin(), whole.view<float>().end(), p.body.view<float>().begin() + 64));
}

TEST_CASE("a wrong magic, version, channel, element, mask or range of blocks has its own error") {
  buffer_pool pool;
  auto const frame = encoded(a_packet(pool), {1, 2}, {64, 128});
  auto const with = [&](std::size_t at, int value) {
    auto changed = frame;
    changed[at] = static_cast<std::byte>(value);
    wire::frame_view f;
    return wire::decode(changed, f);
  };
  CHECK(with(0, 0) == wire::decode_error::wrong_magic);
  CHECK(with(4, 9) == wire::decode_error::wrong_version);
  CHECK(with(5, channel_count) == wire::decode_error::bad_field);
  CHECK(with(6, 7) == wire::decode_error::bad_field);
  CHECK(with(7, 0x10) == wire::decode_error::bad_field);
  CHECK(with(7, 0x00) == wire::decode_error::bad_field);  // scalars that nobody announces
  CHECK(with(88, 9) == wire::decode_error::bad_field);  // begins beyond its end
  CHECK(with(96, 63) == wire::decode_error::wrong_length);
  CHECK(with(103, 0x80) == wire::decode_error::wrong_length);
  CHECK(with(106, 1) == wire::decode_error::bad_field);
}

TEST_CASE("random bytes are decoded without harm") {
  buffer_pool pool;
  auto const good = encoded(a_packet(pool), {0, 3}, {0, 150});
  auto accepted = 0;
  test::for_all(3000, [&](random_stream& gen, std::uint64_t) {
    auto bad = good;
    bad.resize(gen.below(200) + (gen.chance(0.5) ? wire::header_bytes : 0));
    for (std::size_t i = 5; i < bad.size(); ++i) {
      if (gen.chance(0.3)) bad[i] = static_cast<std::byte>(gen.below(256));
    }
    wire::frame_view f;
    if (wire::decode(bad, f)) return;
    ++accepted;
    REQUIRE(f.body.size() + wire::header_bytes == bad.size());
    static_cast<void>(wire::copy_body(f, pool));
  });
  CHECK(accepted < 3000);
}

TEST_CASE("frames can be appended one after another") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  bytes both;
  wire::encode(p, wire::cut(p, {150, 64}, {0, 1}), both);
  auto const first = both.size();
  wire::encode(p, wire::cut(p, {150, 64}, {1, 2}), both);
  wire::frame_view f;
  REQUIRE_FALSE(wire::decode(std::span{both}.subspan(first), f));
  CHECK(f.blocks == range{1, 2});
}

TEST_CASE("a running checksum of a body is the same however often it is asked for, and in whatever parts it came") {
  using wire::running_sum;
  bytes body(2 * running_sum::stretch + 1000);
  for (std::size_t k = 0; k < body.size(); ++k) body[k] = static_cast<std::byte>(k * 7 % 251);
  std::array<std::byte, wire::header_bytes> const header{};
  auto const begun = running_sum{header, {1, &wire::xxh3_of}};
  auto at_once = begun, in_parts = begun;
  auto const sum = at_once.of_whole(body);
  CHECK(at_once.of_whole(body) == sum);  // a frame is written in several calls where a socket takes no more
  for (auto const there : {std::size_t{10}, running_sum::stretch + 1, body.size()})
    in_parts.advance(std::span{body}.first(there));
  CHECK(in_parts.of_whole(body) == sum);
  CHECK(in_parts.of_whole(body) == sum);
}

}  // namespace
