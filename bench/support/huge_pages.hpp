// SPDX-License-Identifier: MIT
// Memory in huge pages for the benchmarks, so that address translation is no part of what is compared. Both sides of
// every comparison take their vectors from here.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>

#include <rubato/core/shared_buffer.hpp>

namespace bench {

/// Vectors one behind the other in one reservation of huge pages, `gap` bytes apart (a multiple of 64); touched once
/// when they are handed out, so that no page fault falls into a timed part. Nothing is reused before the end.
class huge_pages final : public rubato::memory_source {
 public:
  static constexpr std::size_t page = std::size_t{2} << 20;

  explicit huge_pages(std::size_t capacity, std::size_t gap = 0) : length_{capacity + page}, gap_{gap} {
    auto* const raw =
        mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc{};
    raw_ = static_cast<std::byte*>(raw);
    madvise(raw_, length_, MADV_HUGEPAGE);
    used_ = (page - reinterpret_cast<std::uintptr_t>(raw) % page) % page;
  }
  huge_pages(huge_pages const&) = delete;
  auto operator=(huge_pages const&) -> huge_pages& = delete;
  ~huge_pages() override { munmap(raw_, length_); }

  auto allocate(std::size_t bytes) -> std::byte* override {
    auto const lock = std::lock_guard{mutex_};
    auto const room = (bytes + 63) / 64 * 64;
    if (used_ + room > length_) throw std::bad_alloc{};
    auto* const at = raw_ + used_;
    used_ += room + gap_;
    for (std::size_t i = 0; i < room; i += 64) at[i] = std::byte{0};
    return at;
  }
  void release(std::byte*, std::size_t) noexcept override {}

 private:
  std::mutex mutex_;
  std::byte* raw_ = nullptr;
  std::size_t length_;
  std::size_t gap_;
  std::size_t used_ = 0;
};

}  // namespace bench
