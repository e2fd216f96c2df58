// SPDX-License-Identifier: MIT
// A device without a device: a backend whose vectors are behind a page protection that opens only while it computes or
// copies. Host code that reads a body or a table directly ends the program, as it would with real device memory.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/host.hpp>

namespace rubato::test {

/// 64 MiB at most, never reused. **Thread safety:** one thread.
class closed_memory final : public memory_source {
 public:
  closed_memory() : begin_{mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)} {
    if (begin_ == MAP_FAILED) throw std::bad_alloc{};
  }
  closed_memory(closed_memory const&) = delete;
  auto operator=(closed_memory const&) -> closed_memory& = delete;
  ~closed_memory() override { munmap(begin_, room); }

  auto allocate(std::size_t bytes) -> std::byte* override {
    if (used_ + bytes > room) throw std::bad_alloc{};
    auto* const at = static_cast<std::byte*>(begin_) + used_;
    used_ += (bytes + 63) / 64 * 64;
    return at;
  }
  void release(std::byte*, std::size_t) noexcept override {}
  [[nodiscard]] auto is_on_host() const -> bool override { return false; }
  void copy_to_host(std::byte const* from, std::byte* to, std::size_t bytes) override {
    copied_.push_back(bytes);
    auto const open = opened{*this};
    std::memcpy(to, from, bytes);
  }
  void copy_from_host(std::byte const* from, std::byte* to, std::size_t bytes) override {
    copy_to_host(from, to, bytes);
  }
  [[nodiscard]] auto host_side() const -> std::shared_ptr<memory_source> override {
    return std::make_shared<heap_memory>();
  }

  /// Of the copies to and from the host, those of that many bytes at least.
  [[nodiscard]] auto copies_of(std::size_t bytes) const -> std::size_t {
    auto const n = std::count_if(copied_.begin(), copied_.end(), [&](std::size_t each) { return each >= bytes; });
    return static_cast<std::size_t>(n);
  }

  class opened {
   public:
    explicit opened(closed_memory const& m) : memory_{&m} { mprotect(m.begin_, room, PROT_READ | PROT_WRITE); }
    opened(opened const&) = delete;
    auto operator=(opened const&) -> opened& = delete;
    ~opened() { mprotect(memory_->begin_, room, PROT_NONE); }

   private:
    closed_memory const* memory_;
  };

 private:
  static constexpr std::size_t room = std::size_t{64} << 20;
  void* begin_;
  std::size_t used_ = 0;
  std::vector<std::size_t> copied_;  // bytes of each
};

/// Computes as host<T> does; host code runs on OnHost. **Models:** array_backend, has_host_twin,
/// runs_behind.
template<std::floating_point T, backend::array_backend OnHost = backend::host<T>>
class closed_backend {
 public:
  using scalar = T;
  static constexpr auto level = backend::determinism::run_to_run;
  static constexpr auto name() -> std::string_view { return "closed"; }

  template<class U>
  [[nodiscard]] auto allocate(std::size_t n) -> writable_buffer<U> {
    return pool_.allocate<U>(n);
  }
  [[nodiscard]] auto pool() const -> buffer_pool const& { return pool_; }
  [[nodiscard]] auto host_twin() const -> OnHost { return OnHost{pool_.host_side()}; }
  [[nodiscard]] auto memory() const -> closed_memory const& { return *memory_; }
  /// Nothing is ever behind here; the calls of all handles are counted.
  void hold_back() { ++*held_back_; }
  [[nodiscard]] auto held_back() const -> std::size_t { return *held_back_; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> backend::flag_bits {
    auto const open = closed_memory::opened{*memory_};
    auto const raised = inner_.sweep(r, kernel);
    tables_->clear();
    return raised;
  }
  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) -> Entry const* {
    auto& copy = tables_->emplace_back(pool_.allocate<std::byte>(n * sizeof(Entry)));
    auto const open = closed_memory::opened{*memory_};
    if (n > 0) std::memcpy(copy.data(), entries, n * sizeof(Entry));
    return reinterpret_cast<Entry const*>(copy.data());
  }
  [[nodiscard]] auto dot(T const* x, T const* y, std::size_t n) const -> double {
    auto const open = closed_memory::opened{*memory_};
    return inner_.dot(x, y, n);
  }
  void multiply(backend::product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const {
    auto const open = closed_memory::opened{*memory_};
    inner_.multiply(s, alpha, a, b, beta, c);
  }

 private:
  backend::host<T> inner_;
  std::shared_ptr<closed_memory> memory_ = std::make_shared<closed_memory>();
  buffer_pool pool_{memory_};
  std::shared_ptr<std::size_t> held_back_ = std::make_shared<std::size_t>(0);
  std::shared_ptr<std::vector<writable_buffer<std::byte>>> tables_ =
      std::make_shared<std::vector<writable_buffer<std::byte>>>();
};

}  // namespace rubato::test
