// SPDX-License-Identifier: MIT
#include <rubato/wire/frame.hpp>

#include <algorithm>
#include <numeric>

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
  p.lane = channel::tracker;
  p.life = {5, 6};
  p.number = iteration{(std::uint64_t{1} << 40) + 1};
  p.based_on = iteration{17};
  p.posted_at = {std::chrono::nanoseconds{-3}};
  p.body = std::move(body).publish();
  p.extra.set(scalar_slot::loss, -0.25).set(scalar_slot::sample_count, std::uint64_t{9});
  return p;
}

auto encoded(packet const& p, range blocks, range values) -> bytes {
  bytes frame;
  auto const width = bytes_of(p.body.kind());
  wire::encode(p, blocks, p.body.bytes().subspan(values.begin * width, values.size() * width), frame);
  return frame;
}

auto same_head(packet const& a, packet const& b) -> bool {
  return a.from == b.from && a.to == b.to && a.lane == b.lane && a.life == b.life && a.number == b.number &&
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

TEST_CASE("one wrong bit in the header is refused or shows in what is decoded, except in a scalar that is not carried") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  auto const frame = encoded(p, {0, 3}, {0, 150});
  for (std::size_t bit = 0; bit < 8 * wire::header_bytes; ++bit) {
    auto flipped = frame;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    wire::frame_view f;
    auto const error = wire::decode(flipped, f);
    auto const slot = bit / 8 < 48 ? scalar_slot_count : (bit / 8 - 48) / 8;
    auto const unused = slot < scalar_slot_count && !p.extra.has(static_cast<scalar_slot>(slot));
    INFO("bit " << bit);
    auto const unchanged = !error && same_head(f.head, p) && f.blocks == range{0, 3} && f.kind == element::f32;
    REQUIRE(unchanged == unused);
  }
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
  CHECK(with(80, 9) == wire::decode_error::bad_field);  // begins beyond its end
  CHECK(with(88, 63) == wire::decode_error::wrong_length);
  CHECK(with(95, 0x80) == wire::decode_error::wrong_length);
}

TEST_CASE("random bytes are decoded without harm") {
  buffer_pool pool;
  auto const good = encoded(a_packet(pool), {0, 3}, {0, 150});
  auto accepted = 0;
  test::for_all(3000, [&](random_stream& gen, std::uint64_t) {
    auto bad = good;
    bad.resize(gen.below(200) + (gen.chance(0.5) ? wire::header_bytes : 0));
    for (std::size_t i = 6; i < bad.size(); ++i) {
      if (gen.chance(0.3)) bad[i] = static_cast<std::byte>(gen.below(256));
    }
    wire::frame_view f;
    if (wire::decode(bad, f)) return;
    ++accepted;
    REQUIRE(f.body.size() <= bad.size());
    static_cast<void>(wire::copy_body(f, pool));
  });
  CHECK(accepted < 3000);
}

TEST_CASE("frames can be appended one after another") {
  buffer_pool pool;
  auto const p = a_packet(pool);
  bytes both;
  wire::encode(p, {0, 1}, p.body.bytes().first(256), both);
  auto const first = both.size();
  wire::encode(p, {1, 2}, p.body.bytes().subspan(256, 256), both);
  wire::frame_view f;
  REQUIRE_FALSE(wire::decode(std::span{both}.subspan(first), f));
  CHECK(f.blocks == range{1, 2});
}

}  // namespace
