// SPDX-License-Identifier: MIT
// One packet as bytes: a fixed little-endian header and the body. Decoding trusts nothing it reads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include <rubato/core/packet.hpp>

namespace rubato::wire {

/// Header layout (offset: field), all little-endian:
///   0 magic u32, 4 version u8, 5 channel u8, 6 element u8, 7 scalar mask u8, 8 from u32, 12 to u32,
///   16 session sender u32, 20 session receiver u32, 24 iteration u64, 32 based-on u64, 40 posted-at ns i64,
///   48 scalars 4 x u64, 80 first block u32, 84 end block u32, 88 body values u64
inline constexpr std::size_t header_bytes = 96;
inline constexpr std::uint32_t magic = 0x6f627572;  // "rubo"
inline constexpr std::uint8_t version = 1;

enum class decode_error : std::uint8_t { too_short, wrong_magic, wrong_version, bad_field, wrong_length };

/// A decoded header; `values` bodies follow it in the frame.
struct frame_view {
  packet head;  ///< without body
  range blocks{};
  element kind{};
  std::span<std::byte const> body;
};

namespace detail {
template<class U>
void put(std::byte* at, U v) {
  for (std::size_t i = 0; i < sizeof(U); ++i) at[i] = static_cast<std::byte>(static_cast<std::uint64_t>(v) >> (8 * i));
}
template<class U>
auto get(std::byte const* at) -> U {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < sizeof(U); ++i) v |= std::to_integer<std::uint64_t>(at[i]) << (8 * i);
  return static_cast<U>(v);
}
}  // namespace detail

/// Appends a frame that carries these blocks of p's body to `out`; `body` is their bytes in p.body.
inline void encode(packet const& p, range blocks, std::span<std::byte const> body, std::vector<std::byte>& out) {
  static_assert(std::endian::native == std::endian::little, "bodies are copied as they lie in memory");
  auto const start = out.size();
  out.resize(start + header_bytes + body.size());
  auto* h = out.data() + start;
  detail::put(h, magic);
  detail::put(h + 4, version);
  detail::put(h + 5, static_cast<std::uint8_t>(p.lane));
  detail::put(h + 6, static_cast<std::uint8_t>(p.body.kind()));
  detail::put(h + 7, p.extra.mask());
  detail::put(h + 8, static_cast<std::uint32_t>(p.from));
  detail::put(h + 12, static_cast<std::uint32_t>(p.to));
  detail::put(h + 16, p.life.sender);
  detail::put(h + 20, p.life.receiver);
  detail::put(h + 24, to_count(p.number));
  detail::put(h + 32, to_count(p.based_on));
  detail::put(h + 40, p.posted_at.since_start.count());
  for (std::size_t i = 0; i < scalar_slot_count; ++i) detail::put(h + 48 + 8 * i, p.extra.word(i));
  detail::put(h + 80, static_cast<std::uint32_t>(blocks.begin));
  detail::put(h + 84, static_cast<std::uint32_t>(blocks.end));
  auto const width = bytes_of(p.body.kind());
  detail::put(h + 88, static_cast<std::uint64_t>(width == 0 ? 0 : body.size() / width));
  if (!body.empty()) std::memcpy(h + header_bytes, body.data(), body.size());
}

/// Reads one whole frame; the view points into `bytes`. Any inconsistency is an error value, never more.
inline auto decode(std::span<std::byte const> bytes, frame_view& out) -> std::optional<decode_error> {
  if (bytes.size() < header_bytes) return decode_error::too_short;
  auto const* h = bytes.data();
  if (detail::get<std::uint32_t>(h) != magic) return decode_error::wrong_magic;
  if (detail::get<std::uint8_t>(h + 4) != version) return decode_error::wrong_version;
  auto const lane = detail::get<std::uint8_t>(h + 5);
  auto const kind = detail::get<std::uint8_t>(h + 6);
  auto const mask = detail::get<std::uint8_t>(h + 7);
  if (lane >= channel_count || kind > static_cast<std::uint8_t>(element::u16)) return decode_error::bad_field;
  if ((mask >> scalar_slot_count) != 0) return decode_error::bad_field;
  out.kind = static_cast<element>(kind);
  auto const values = detail::get<std::uint64_t>(h + 88);
  auto const width = bytes_of(out.kind);
  auto const body = bytes.size() - header_bytes;
  if (width == 0 ? body != 0 || values != 0 : body % width != 0 || values != body / width) {
    return decode_error::wrong_length;
  }
  out.blocks = {detail::get<std::uint32_t>(h + 80), detail::get<std::uint32_t>(h + 84)};
  if (out.blocks.end < out.blocks.begin) return decode_error::bad_field;
  out.head = {};
  out.head.lane = static_cast<channel>(lane);
  out.head.from = node_id{detail::get<std::uint32_t>(h + 8)};
  out.head.to = node_id{detail::get<std::uint32_t>(h + 12)};
  out.head.life = {detail::get<std::uint32_t>(h + 16), detail::get<std::uint32_t>(h + 20)};
  out.head.number = iteration{detail::get<std::uint64_t>(h + 24)};
  out.head.based_on = iteration{detail::get<std::uint64_t>(h + 32)};
  out.head.posted_at.since_start = std::chrono::nanoseconds{detail::get<std::int64_t>(h + 40)};
  for (std::size_t i = 0; i < scalar_slot_count; ++i) {
    if (((mask >> i) & 1U) != 0) out.head.extra.set(static_cast<scalar_slot>(i), detail::get<std::uint64_t>(h + 48 + 8 * i));
  }
  out.body = bytes.subspan(header_bytes);
  return std::nullopt;
}

/// The body of a frame as a new vector of the pool: one copy, and another to memory that the host cannot write.
inline auto copy_body(frame_view const& f, buffer_pool& pool) -> shared_buffer {
  auto here = pool.host_side();
  auto const fill = [&](auto buffer) {
    if (!f.body.empty()) std::memcpy(static_cast<void*>(buffer.data()), f.body.data(), f.body.size());
    return pool.bring_in(std::move(buffer).publish());
  };
  auto const n = bytes_of(f.kind) == 0 ? 0 : f.body.size() / bytes_of(f.kind);
  switch (f.kind) {
    case element::f32: return fill(here.allocate<float>(n));
    case element::f64: return fill(here.allocate<double>(n));
    case element::i32: return fill(here.allocate<std::int32_t>(n));
    case element::i64: return fill(here.allocate<std::int64_t>(n));
    case element::u16: return fill(here.allocate<std::uint16_t>(n));
    case element::u8: return fill(here.allocate<std::byte>(n));
    case element::none: break;
  }
  return {};
}

}  // namespace rubato::wire
