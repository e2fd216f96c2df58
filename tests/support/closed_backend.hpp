// SPDX-License-Identifier: MIT
// A device without a device: a backend whose vectors are behind a page protection that opens only while it computes or
// copies. Host code that reads a body or a table directly ends the program, as it would with real device memory. What
// would cost time on a real one is counted: copies, waits, and tables that a launch has no room for.
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
#include <rubato/backend/detail/launch_arguments.hpp>
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

/// What all handles of one device did, by the rules of backend::thrust on CUDA.
struct device_work {
  std::size_t launches = 0;
  std::size_t waits = 0;  ///< for bits that a sweep raised, or a dot product; each comes with a copy of some bytes
  std::size_t tables_copied = 0;  ///< those that a launch had no room for
  std::size_t held_back = 0;
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
  void hold_back() { ++work_->held_back; }
  [[nodiscard]] auto work() const -> device_work const& { return *work_; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> backend::flag_bits {
    auto const open = closed_memory::opened{*memory_};
    auto const along = own_.along.all();  // as a launch takes them
    backend::detail::argument_lanes<T> at{r.begin, along};
    for (auto i = r.begin; i < r.end; ++i) {
      at.move_to(i);
      kernel(at);
    }
    own_.along.clear();
    own_.tables.clear();
    ++work_->launches;
    if (!backend::may_raise<Kernel>) return 0;
    ++work_->waits;
    return at.raised();
  }
  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) -> backend::table<Entry> {
    if (auto const placed = own_.along.place(entries, n)) return *placed;
    ++work_->tables_copied;
    auto& copy = own_.tables.emplace_back(pool_.allocate<std::byte>(n * sizeof(Entry)));
    auto const open = closed_memory::opened{*memory_};
    std::memcpy(copy.data(), entries, n * sizeof(Entry));
    return {reinterpret_cast<Entry const*>(copy.data()), n};
  }
  [[nodiscard]] auto dot(T const* x, T const* y, std::size_t n) const -> double {
    ++work_->waits;
    auto const open = closed_memory::opened{*memory_};
    return inner_.dot(x, y, n);
  }
  void multiply(backend::product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const {
    auto const open = closed_memory::opened{*memory_};
    inner_.multiply(s, alpha, a, b, beta, c);
  }

 private:
  /// What each handle has for itself, so that handles may work on different threads: its copies begin anew.
  struct own_memory {
    own_memory() = default;
    own_memory(own_memory const&) noexcept {}
    own_memory(own_memory&&) noexcept = default;
    auto operator=(own_memory const&) noexcept -> own_memory& { return *this; }
    auto operator=(own_memory&&) noexcept -> own_memory& = default;
    ~own_memory() = default;
    backend::detail::argument_tables along;
    std::vector<writable_buffer<std::byte>> tables;
  };

  backend::host<T> inner_;
  std::shared_ptr<closed_memory> memory_ = std::make_shared<closed_memory>();
  buffer_pool pool_{memory_};
  std::shared_ptr<device_work> work_ = std::make_shared<device_work>();
  own_memory own_;
};

}  // namespace rubato::test
