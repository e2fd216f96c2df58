// SPDX-License-Identifier: MIT
// The first message between two processes: who they are, which session of their edge they mean, when their clocks
// began, and their options.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/wire/agreement.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::wire {

/// Layout (offset: field), all little-endian: 0 magic u32, 4 version u8, 5 three zeros, 8 run id u64, 16 from u32,
/// 20 to u32, 24 session u32, 28 bytes of text u32, 32 start of the sender's clock i64 (ns since 1970), 40 heard u32,
/// 44 open u32, 48 closed u32, 52 hash u64 of all other bytes, then the text.
inline constexpr std::size_t hello_bytes = 60;
inline constexpr std::uint32_t hello_magic = 0x68627572;  // "rubh"

struct hello {
  std::uint64_t run = 0;
  node_id from{};
  node_id to{};
  /// tcp, mpi: how often the sender opened this edge before; udp: a number that the sender drew for its end of a
  /// session.
  std::uint32_t session = 0;
  std::int64_t clock_began = 0;
  // udp: numbers that the receiver drew for its own end; 0 if there is none.
  std::uint32_t heard = 0;  ///< the last one received, which shows the receiver that its own hello was heard
  std::uint32_t open = 0;  ///< of the session that is open at the sender
  std::uint32_t closed = 0;  ///< of the last session that the sender closed for good
  std::size_t text_bytes = 0;  ///< of the agreement that follows
  std::uint64_t sum = 0;
};

namespace detail {
inline constexpr std::size_t sum_at = hello_bytes - 8;
inline auto hello_sum(std::span<std::byte const, hello_bytes> h, std::string_view text) -> std::uint64_t {
  return hash_of(text, hash_of(h.first<sum_at>()));
}
}  // namespace detail

inline auto encode_hello(hello const& who, std::string_view text) -> std::vector<std::byte> {
  std::vector<std::byte> bytes(hello_bytes + text.size());
  auto* h = bytes.data();
  detail::put(h, hello_magic);
  detail::put(h + 4, std::uint32_t{version});
  detail::put(h + 8, who.run);
  detail::put(h + 16, static_cast<std::uint32_t>(who.from));
  detail::put(h + 20, static_cast<std::uint32_t>(who.to));
  detail::put(h + 24, who.session);
  detail::put(h + 28, static_cast<std::uint32_t>(text.size()));
  detail::put(h + 32, who.clock_began);
  detail::put(h + 40, who.heard);
  detail::put(h + 44, who.open);
  detail::put(h + 48, who.closed);
  detail::put(h + detail::sum_at, detail::hello_sum(std::span{bytes}.first<hello_bytes>(), text));
  for (std::size_t i = 0; i < text.size(); ++i) bytes[hello_bytes + i] = static_cast<std::byte>(text[i]);
  return bytes;
}

/// The fixed part; the text is still to come. Nothing if this is not a hello of this version, or if its text is too
/// long.
inline auto decode_hello(std::span<std::byte const, hello_bytes> bytes) -> std::optional<hello> {
  auto const* h = bytes.data();
  if (detail::get<std::uint32_t>(h) != hello_magic || detail::get<std::uint32_t>(h + 4) != version) return std::nullopt;
  hello who;
  who.run = detail::get<std::uint64_t>(h + 8);
  who.from = node_id{detail::get<std::uint32_t>(h + 16)};
  who.to = node_id{detail::get<std::uint32_t>(h + 20)};
  who.session = detail::get<std::uint32_t>(h + 24);
  who.text_bytes = detail::get<std::uint32_t>(h + 28);
  who.clock_began = detail::get<std::int64_t>(h + 32);
  who.heard = detail::get<std::uint32_t>(h + 40);
  who.open = detail::get<std::uint32_t>(h + 44);
  who.closed = detail::get<std::uint32_t>(h + 48);
  who.sum = detail::get<std::uint64_t>(h + detail::sum_at);
  if (who.text_bytes > agreement::most_bytes) return std::nullopt;
  return who;
}

/// Whether the hello is undamaged, and its run id belongs to its text.
inline auto is_intact(std::span<std::byte const, hello_bytes> bytes, std::string_view text) -> bool {
  return detail::hello_sum(bytes, text) == detail::get<std::uint64_t>(bytes.data() + detail::sum_at) &&
         hash_of(text) == detail::get<std::uint64_t>(bytes.data() + 8);
}

/// A hello and its text, which points into the bytes that it was read from.
struct whole_hello {
  hello who;
  std::string_view text;
};
/// Nothing unless these bytes are exactly one undamaged hello with its text.
inline auto decode_whole_hello(std::span<std::byte const> bytes) -> std::optional<whole_hello> {
  if (bytes.size() < hello_bytes) return std::nullopt;
  auto const head = bytes.first<hello_bytes>();
  auto const who = decode_hello(head);
  auto const text =
      std::string_view{reinterpret_cast<char const*>(bytes.data()) + hello_bytes, bytes.size() - hello_bytes};
  if (!who || who->text_bytes != text.size() || !is_intact(head, text)) return std::nullopt;
  return whole_hello{*who, text};
}

}  // namespace rubato::wire
