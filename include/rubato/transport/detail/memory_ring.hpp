// SPDX-License-Identifier: MIT
// A stream of bytes from one process to another through memory that both see: a ring with one writer and one reader,
// without locks, so that a process may be killed at any instruction. Bytes are there before the position that says so,
// and whoever is killed between the two has not said so. Each end keeps its own position to itself, and only publishes
// it; what the other end publishes is checked before it is used.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include <rubato/core/errors.hpp>

namespace rubato::transport::detail {

/// What both ends see of a ring beside its bytes. Positions count all bytes since the beginning, and never wrap.
struct ring_words {
  alignas(64) std::atomic<std::uint64_t> written{0};
  alignas(64) std::atomic<std::uint64_t> read{0};
  /// The writer has more than there was room for.
  std::atomic<std::uint32_t> wants_room{0};
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free,
              "processes share no locks");

/// Copies between a ring of bytes and a span, around the ring's end if need be.
inline void copy_into_ring(std::span<std::byte> ring, std::uint64_t at, std::span<std::byte const> bytes) {
  auto const here = at & (ring.size() - 1);
  auto const n = (std::min)(bytes.size(), ring.size() - here);
  std::memcpy(ring.data() + here, bytes.data(), n);
  if (n < bytes.size()) std::memcpy(ring.data(), bytes.data() + n, bytes.size() - n);
}
inline void copy_from_ring(std::span<std::byte const> ring, std::uint64_t at, std::span<std::byte> bytes) {
  auto const here = at & (ring.size() - 1);
  auto const n = (std::min)(bytes.size(), ring.size() - here);
  std::memcpy(bytes.data(), ring.data() + here, n);
  if (n < bytes.size()) std::memcpy(bytes.data() + n, ring.data(), bytes.size() - n);
}

/// Positions are read and written in one order for all (seq_cst), since each end decides by them whether to wake the
/// other one, which decides by its own whether to sleep.
class ring_writer {
 public:
  ring_writer() = default;
  /// Requires a ring whose size is a power of two, and which nobody has used.
  ring_writer(ring_words& words, std::span<std::byte> ring) : words_{&words}, ring_{ring} {
    RUBATO_EXPECTS(std::has_single_bit(ring.size()), "the size of a ring is a power of two");
  }

  /// How many bytes the ring takes now; nothing if the reader's position is impossible.
  [[nodiscard]] auto room() const -> std::optional<std::size_t> { return room_after(words_->read.load()); }
  /// Copies as many of them as the ring takes, and returns how many; nothing if the reader's position is impossible.
  [[nodiscard]] auto put(std::span<std::byte const> bytes) -> std::optional<std::size_t> {
    auto const read = words_->read.load();
    auto const free = room_after(read);
    if (!free) return std::nullopt;
    read_ = read;
    auto const n = (std::min)(bytes.size(), *free);
    if (n == 0) return 0;
    copy_into_ring(ring_, at_, bytes.first(n));
    at_ += n;
    words_->written.store(at_);
    return n;
  }
  void want_room() { words_->wants_room.store(1); }

 private:
  /// A reader goes neither back nor beyond what was written.
  [[nodiscard]] auto room_after(std::uint64_t read) const -> std::optional<std::size_t> {
    if (at_ - read > at_ - read_) return std::nullopt;
    return ring_.size() - (at_ - read);
  }

  ring_words* words_ = nullptr;
  std::span<std::byte> ring_;
  std::uint64_t at_ = 0;
  std::uint64_t read_ = 0;  // as last heard
};

class ring_reader {
 public:
  ring_reader() = default;
  /// As the writer's.
  ring_reader(ring_words& words, std::span<std::byte const> ring) : words_{&words}, ring_{ring} {
    RUBATO_EXPECTS(std::has_single_bit(ring.size()), "the size of a ring is a power of two");
  }

  /// How many bytes are there; nothing if the writer's position is impossible.
  [[nodiscard]] auto available() const -> std::optional<std::size_t> {
    auto const n = words_->written.load() - at_;
    if (n > ring_.size()) return std::nullopt;
    return n;
  }
  /// Copies as many as there are and fit, and returns how many; nothing if the writer's position is impossible.
  [[nodiscard]] auto take(std::span<std::byte> into) -> std::optional<std::size_t> {
    auto const there = available();
    if (!there) return std::nullopt;
    auto const n = (std::min)(into.size(), *there);
    if (n == 0) return 0;
    copy_from_ring(ring_, at_, into.first(n));
    at_ += n;
    words_->read.store(at_);
    return n;
  }
  /// Whether the writer waits for room and there is enough of it now for the wake-up to be worth its price. It is true
  /// once for each time that the writer asks, and always when the ring is empty.
  [[nodiscard]] auto owes_room() -> bool {
    if (words_->wants_room.load() == 0) return false;
    auto const there = available();
    if (!there || *there > ring_.size() / 2) return false;
    words_->wants_room.store(0);
    return true;
  }

 private:
  ring_words* words_ = nullptr;
  std::span<std::byte const> ring_;
  std::uint64_t at_ = 0;
};

}  // namespace rubato::transport::detail
