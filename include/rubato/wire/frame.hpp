// SPDX-License-Identifier: MIT
// One packet as bytes: a fixed little-endian header and the body. Decoding checks everything it reads.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <rubato/core/packet.hpp>

namespace rubato::wire {

/// Header layout (offset: field), all little-endian:
///   0 magic u32, 4 version u8, 5 channel u8, 6 element u8, 7 scalar mask u8, 8 run id u64, 16 from u32, 20 to u32,
///   24 session sender u32, 28 session receiver u32, 32 iteration u64, 40 based-on u64, 48 posted-at ns i64,
///   56 scalars 4 x u64 (zero where not carried), 88 first block u32, 92 end block u32, 96 body values u64,
///   104 codec u8, 105 three zeros, 108 checksum u32 over all bytes but its own (see running_sum)
/// A frame of the control channel without an element type is not a message: based-on and iteration hold its sender's
/// status (transport/peer_status.hpp).
inline constexpr std::size_t header_bytes = 112;
inline constexpr std::uint32_t magic = 0x6f627572;  // "rubo"
inline constexpr std::uint8_t version = 7;
/// Lossless codecs of bodies that this version knows; 0: the values as they lie in memory.
inline constexpr std::uint8_t codec_count = 1;

/// Continues the checksum of the bytes before (0 at the beginning); wire/xxhash.hpp provides one.
using checksum = std::uint64_t (*)(std::uint64_t so_far, std::span<std::byte const> bytes);

/// What all frames of a run have in common. Without a checksum function the field is zero. That is enough within one
/// process, and over links with checksums of their own.
struct seal {
  std::uint64_t run = 0;  ///< see wire/agreement.hpp
  checksum check = nullptr;
};

enum class decode_error : std::uint8_t {
  too_short,
  wrong_magic,
  wrong_version,
  wrong_run,
  bad_field,
  wrong_length,
  unknown_codec,
  wrong_checksum
};
inline constexpr std::size_t decode_error_count = 8;

/// Some blocks of a packet's body, and their bytes.
struct piece {
  range blocks{};
  std::span<std::byte const> body;
};

/// These blocks of p's body, which must be a whole vector of that partition.
inline auto cut(packet const& p, block_partition const& partition, range blocks) -> piece {
  auto const r = partition.values_of(blocks);
  auto const width = bytes_of(p.body.kind());
  return {blocks, p.body.bytes().subspan(r.begin * width, r.size() * width)};
}
/// The whole body, whatever its size (a chunk is not a vector).
inline auto uncut(packet const& p, block_partition const& partition) -> piece {
  return {{0, partition.blocks()}, p.body.bytes()};
}

/// A decoded header; `body` follows it in the frame.
struct frame_view {
  packet head;  ///< without body
  range blocks{};
  element kind{};
  std::size_t values = 0;
  std::uint32_t sum = 0;  ///< the checksum as the header has it
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

inline constexpr std::size_t checksum_at = header_bytes - 4;

inline void put_scalars(scalars const& extra, std::byte* at) {
  for (std::size_t i = 0; i < scalar_slot_count; ++i) put(at + 8 * i, extra.word(i));
}

/// False if a scalar that is not carried is not zero.
inline auto get_scalars(std::uint8_t mask, std::byte const* at, scalars& extra) -> bool {
  for (std::size_t i = 0; i < scalar_slot_count; ++i) {
    auto const word = get<std::uint64_t>(at + 8 * i);
    if (((mask >> i) & 1U) != 0) extra.set(static_cast<scalar_slot>(i), word);
    else if (word != 0) return false;
  }
  return true;
}

/// What the first bytes of a frame say about how to read the rest.
inline auto refuse_head(std::byte const* h, seal const& s) -> std::optional<decode_error> {
  if (get<std::uint32_t>(h) != magic) return decode_error::wrong_magic;
  if (get<std::uint8_t>(h + 4) != version) return decode_error::wrong_version;
  if (get<std::uint64_t>(h + 8) != s.run) return decode_error::wrong_run;
  if (get<std::uint8_t>(h + 5) >= channel_count) return decode_error::bad_field;
  if (get<std::uint8_t>(h + 6) > static_cast<std::uint8_t>(last_element)) return decode_error::bad_field;
  if ((get<std::uint8_t>(h + 7) >> scalar_slot_count) != 0) return decode_error::bad_field;
  if (get<std::uint8_t>(h + 104) >= codec_count) return decode_error::unknown_codec;
  if ((get<std::uint32_t>(h + 104) >> 8) != 0) return decode_error::bad_field;
  return std::nullopt;
}
}  // namespace detail

/// The checksum of a frame whose body is still coming or going: that of the header, continued by each 128 KiB of the
/// body and by the rest, however they came.
class running_sum {
 public:
  static constexpr std::size_t stretch = std::size_t{1} << 17;

  running_sum() = default;
  running_sum(std::span<std::byte const, header_bytes> header, seal const& s) : check_{s.check} {
    if (check_ != nullptr) sum_ = check_(0, header.first(detail::checksum_at));
  }
  [[nodiscard]] auto is_wanted() const -> bool { return check_ != nullptr; }
  [[nodiscard]] auto of_header() const -> std::uint32_t { return static_cast<std::uint32_t>(sum_); }
  /// Takes in whole stretches of a body, of which these bytes from its beginning on are known.
  void advance(std::span<std::byte const> there) {
    for (; check_ != nullptr && there.size() - summed_ >= stretch; summed_ += stretch)
      sum_ = check_(sum_, there.subspan(summed_, stretch));
  }
  /// The lowest 32 bits; 0 if no checksum is wanted. The same however often it is asked for.
  [[nodiscard]] auto of_whole(std::span<std::byte const> body) -> std::uint32_t {
    advance(body);
    if (check_ != nullptr && summed_ < body.size()) sum_ = check_(sum_, body.subspan(summed_));
    summed_ = body.size();
    return static_cast<std::uint32_t>(sum_);
  }

 private:
  checksum check_ = nullptr;
  std::uint64_t sum_ = 0;
  std::size_t summed_ = 0;
};

namespace detail {
/// All of a header but its checksum.
inline void put_fields(packet const& p, piece const& part, seal const& s, std::span<std::byte, header_bytes> to) {
  static_assert(std::endian::native == std::endian::little, "bodies are copied as they lie in memory");
  auto* h = to.data();
  detail::put(h, magic);
  detail::put(h + 4, version);
  detail::put(h + 5, static_cast<std::uint8_t>(p.channel));
  detail::put(h + 6, static_cast<std::uint8_t>(p.body.kind()));
  detail::put(h + 7, p.extra.mask());
  detail::put(h + 8, s.run);
  detail::put(h + 16, static_cast<std::uint32_t>(p.from));
  detail::put(h + 20, static_cast<std::uint32_t>(p.to));
  detail::put(h + 24, p.session.sender);
  detail::put(h + 28, p.session.receiver);
  detail::put(h + 32, to_count(p.number));
  detail::put(h + 40, to_count(p.based_on));
  detail::put(h + 48, p.posted_at.since_start.count());
  detail::put_scalars(p.extra, h + 56);
  detail::put(h + 88, static_cast<std::uint32_t>(part.blocks.begin));
  detail::put(h + 92, static_cast<std::uint32_t>(part.blocks.end));
  auto const width = bytes_of(p.body.kind());
  detail::put(h + 96, std::uint64_t{width == 0 ? 0 : part.body.size() / width});
  detail::put(h + 104, std::uint32_t{0});
}
}  // namespace detail

/// Writes the header of the frame that carries this piece of p; the body must follow it unchanged.
inline void encode_header(packet const& p, piece const& part, seal const& s, std::span<std::byte, header_bytes> to) {
  detail::put_fields(p, part, s, to);
  detail::put(to.data() + detail::checksum_at, running_sum{to, s}.of_whole(part.body));
}

// Over a stream (TCP) a header carries the checksum of itself, so that what it announces is believed before the rest
// has come, and the body's follows the body. Then both ends sum a large body up piece by piece, while it is in the
// cache on its way. Without a checksum function and without a body nothing follows.

inline constexpr std::size_t tail_bytes = 4;

/// The header of a frame in a stream; what is returned is to be continued over the body.
inline auto encode_stream_header(packet const& p, piece const& part, seal const& s,
                                 std::span<std::byte, header_bytes> to) -> running_sum {
  detail::put_fields(p, part, s, to);
  auto const sum = running_sum{to, s};
  detail::put(to.data() + detail::checksum_at, sum.of_header());
  return sum;
}
inline void encode_tail(std::uint32_t sum, std::span<std::byte, tail_bytes> to) { detail::put(to.data(), sum); }
[[nodiscard]] inline auto decode_tail(std::span<std::byte const, tail_bytes> from) -> std::uint32_t {
  return detail::get<std::uint32_t>(from.data());
}

/// Appends the frame that carries this piece of p to `out`.
inline void encode(packet const& p, piece const& part, std::vector<std::byte>& out, seal const& s = {}) {
  auto const start = out.size();
  out.resize(start + header_bytes + part.body.size());
  encode_header(p, part, s, std::span{out}.subspan(start).first<header_bytes>());
  if (!part.body.empty()) std::memcpy(out.data() + start + header_bytes, part.body.data(), part.body.size());
}

/// Appends the same as it is in a stream.
inline void encode_in_stream(packet const& p, piece const& part, std::vector<std::byte>& out, seal const& s) {
  auto const start = out.size();
  out.resize(start + header_bytes);
  auto sum = encode_stream_header(p, part, s, std::span{out}.subspan(start).first<header_bytes>());
  out.insert(out.end(), part.body.begin(), part.body.end());
  if (!sum.is_wanted() || part.body.empty()) return;
  out.resize(out.size() + tail_bytes);
  encode_tail(sum.of_whole(part.body), std::span{out}.last<tail_bytes>());
}

/// Reads a header whose body has not come yet. Everything but the checksum is checked; `values` says how much is to
/// come.
inline auto decode_header(std::span<std::byte const, header_bytes> bytes, frame_view& out, seal const& s = {})
    -> std::optional<decode_error> {
  auto const* h = bytes.data();
  if (auto const error = detail::refuse_head(h, s)) return error;
  out.kind = static_cast<element>(detail::get<std::uint8_t>(h + 6));
  auto const values = detail::get<std::uint64_t>(h + 96);
  auto const width = bytes_of(out.kind);
  constexpr auto most = std::uint64_t{1} << 60;  // so that a size in bytes cannot overflow
  if (width == 0 ? values != 0 : values > most / width) return decode_error::wrong_length;
  out.values = static_cast<std::size_t>(values);
  out.blocks = {detail::get<std::uint32_t>(h + 88), detail::get<std::uint32_t>(h + 92)};
  if (out.blocks.end < out.blocks.begin) return decode_error::bad_field;
  out.head = {};
  if (!detail::get_scalars(detail::get<std::uint8_t>(h + 7), h + 56, out.head.extra)) return decode_error::bad_field;
  out.head.channel = static_cast<channel_id>(detail::get<std::uint8_t>(h + 5));
  out.head.from = node_id{detail::get<std::uint32_t>(h + 16)};
  out.head.to = node_id{detail::get<std::uint32_t>(h + 20)};
  out.head.session = {detail::get<std::uint32_t>(h + 24), detail::get<std::uint32_t>(h + 28)};
  out.head.number = iteration{detail::get<std::uint64_t>(h + 32)};
  out.head.based_on = iteration{detail::get<std::uint64_t>(h + 40)};
  out.head.posted_at.since_start = std::chrono::nanoseconds{detail::get<std::int64_t>(h + 48)};
  out.sum = detail::get<std::uint32_t>(h + detail::checksum_at);
  out.body = {};
  return std::nullopt;
}

/// Whether the checksum of header and body is right.
inline auto is_intact(std::span<std::byte const, header_bytes> header, std::span<std::byte const> body, seal const& s)
    -> bool {
  return running_sum{header, s}.of_whole(body) == detail::get<std::uint32_t>(header.data() + detail::checksum_at);
}

/// Reads one whole frame; the view points into `bytes`. Any inconsistency gives an error value; nothing is thrown.
inline auto decode(std::span<std::byte const> bytes, frame_view& out, seal const& s = {})
    -> std::optional<decode_error> {
  if (bytes.size() < header_bytes) return decode_error::too_short;
  auto const header = bytes.first<header_bytes>();
  if (auto const error = decode_header(header, out, s)) return error;
  auto const body = bytes.subspan(header_bytes);
  if (body.size() != out.values * bytes_of(out.kind)) return decode_error::wrong_length;
  if (!is_intact(header, body, s)) return decode_error::wrong_checksum;
  out.body = body;
  return std::nullopt;
}

/// A vector that is filled with received bytes before it is published; first in host memory if the pool's is not.
class arriving_body {
 public:
  arriving_body() = default;
  arriving_body(element kind, std::size_t values, buffer_pool const& pool) : home_{pool} {
    auto here = home_->host_side();
    switch (kind) {
      case element::f32:
        buffer_ = here.allocate<float>(values);
        break;
      case element::f64:
        buffer_ = here.allocate<double>(values);
        break;
      case element::i32:
        buffer_ = here.allocate<std::int32_t>(values);
        break;
      case element::i64:
        buffer_ = here.allocate<std::int64_t>(values);
        break;
      case element::u16:
        buffer_ = here.allocate<std::uint16_t>(values);
        break;
      case element::u8:
        buffer_ = here.allocate<std::byte>(values);
        break;
      case element::none:
        break;
    }
  }

  [[nodiscard]] auto bytes() -> std::span<std::byte> {
    return std::visit(
        [](auto& b) -> std::span<std::byte> {
          if constexpr (requires { b.view(); }) return std::as_writable_bytes(b.view());
          else return {};
        },
        buffer_);
  }
  [[nodiscard]] auto publish() && -> shared_buffer {
    return std::visit(
        [this](auto& b) -> shared_buffer {
          if constexpr (requires { b.view(); }) return home_->bring_in(std::move(b).publish());
          else return {};
        },
        buffer_);
  }

 private:
  std::optional<buffer_pool> home_;
  std::variant<std::monostate, writable_buffer<float>, writable_buffer<double>, writable_buffer<std::int32_t>,
               writable_buffer<std::int64_t>, writable_buffer<std::uint16_t>, writable_buffer<std::byte>>
      buffer_;
};

/// The body of a frame as a new vector of the pool: one copy, and a second one to memory that the host cannot write.
inline auto copy_body(frame_view const& f, buffer_pool const& pool) -> shared_buffer {
  RUBATO_EXPECTS(f.body.size() == f.values * bytes_of(f.kind), "a frame's body has as many bytes as its values take");
  auto fresh = arriving_body{f.kind, f.values, pool};
  if (!f.body.empty()) std::memcpy(fresh.bytes().data(), f.body.data(), f.body.size());
  return std::move(fresh).publish();
}

}  // namespace rubato::wire
