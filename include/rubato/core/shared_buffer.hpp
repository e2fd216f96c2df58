// SPDX-License-Identifier: MIT
// Published vectors: written once through a writable_buffer, then immutable and shared by reference (law 4).
// The one file of the maths that may use threads' primitives: a pool is freed into from every thread that held a body.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>

#if defined(__GLIBC__) && __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

namespace rubato {

/// What a body's bytes are. The numbers go on the wire, so they never change.
enum class element : std::uint8_t { none = 0, f32 = 1, f64 = 2, i32 = 3, u8 = 4, i64 = 5, u16 = 6 };
inline constexpr auto last_element = element::u16;

constexpr auto bytes_of(element e) -> std::size_t {
  switch (e) {
    case element::f32:
    case element::i32:
      return 4;
    case element::f64:
    case element::i64:
      return 8;
    case element::u16:
      return 2;
    case element::u8:
      return 1;
    case element::none:
      break;
  }
  return 0;
}

namespace detail {
template<class T>
struct element_traits;
template<> struct element_traits<float> {
  static constexpr auto value = element::f32;
};
template<> struct element_traits<double> {
  static constexpr auto value = element::f64;
};
template<> struct element_traits<std::int32_t> {
  static constexpr auto value = element::i32;
};
template<> struct element_traits<std::int64_t> {
  static constexpr auto value = element::i64;
};
template<> struct element_traits<std::uint16_t> {
  static constexpr auto value = element::u16;
};
template<> struct element_traits<std::byte> {
  static constexpr auto value = element::u8;
};
}  // namespace detail

template<class T>
inline constexpr element element_of = detail::element_traits<T>::value;

/// Where a pool's memory comes from: the heap by default; huge pages or a device elsewhere. The memory must be aligned
/// to 64 bytes at least. A call must not start a thread that uses the pool before the call returns.
/// **Thread safety:** both calls may come from any thread.
class memory_source {
 public:
  virtual ~memory_source() = default;
  virtual auto allocate(std::size_t bytes) -> std::byte* = 0;
  virtual void release(std::byte* at, std::size_t bytes) noexcept = 0;

  /// Whether the host can read and write this memory by plain loads and stores. A source of other memory returns false
  /// here. It copies between its memory and the host's (after all work enqueued on it, and complete on return; may
  /// throw backend_error), and names the memory in which the host keeps such copies.
  [[nodiscard]] virtual auto is_on_host() const -> bool { return true; }
  virtual void copy_to_host(std::byte const* from, std::byte* to, std::size_t bytes) { std::memcpy(to, from, bytes); }
  virtual void copy_from_host(std::byte const* from, std::byte* to, std::size_t bytes) { std::memcpy(to, from, bytes); }
  [[nodiscard]] virtual auto host_side() const -> std::shared_ptr<memory_source> { return nullptr; }
};

class heap_memory final : public memory_source {
 public:
  auto allocate(std::size_t bytes) -> std::byte* override {
    return static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64}));
  }
  void release(std::byte* at, std::size_t) noexcept override { ::operator delete(at, std::align_val_t{64}); }
};

/// What a pool remembers of an address, for backend::checked.
struct buffer_info {
  std::byte const* begin = nullptr;
  std::size_t bytes = 0;
  bool published = false;
};

namespace detail {

/// Whether no other thread was ever started in this process. As long as that holds, a count needs no locked instruction
/// and a list no mutex; these would take a tenth of a simulation's time. A thread that starts sees all that was done
/// before it.
inline auto is_only_thread() -> bool {
#if defined(__GLIBC__) && __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

struct pool_core;

/// One allocation with its count; lives in the pool's free list between two uses. Its pool lives while any is in use.
struct buffer_record {
  std::atomic<std::uint32_t> references{1};
  element kind = element::none;
  std::atomic<bool> published{false};  // apart from its owner, only find() reads it, from any thread
  std::uint32_t size_class = 0;
  std::uint32_t shift = 0;  // of data from where its memory begins
  std::size_t count = 0;
  std::byte* data = nullptr;
  pool_core* pool = nullptr;

  void add_reference() noexcept {
    if (is_only_thread()) references.store(references.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    else references.fetch_add(1, std::memory_order_relaxed);
  }
  /// Whether it was the last one.
  [[nodiscard]] auto remove_reference() noexcept -> bool {
    if (!is_only_thread()) return references.fetch_sub(1, std::memory_order_acq_rel) == 1;
    auto const before = references.load(std::memory_order_relaxed);
    references.store(before - 1, std::memory_order_relaxed);
    return before == 1;
  }
};

struct pool_core : std::enable_shared_from_this<pool_core> {
  struct size_class {
    std::size_t bytes = 0;
    std::size_t records = 0;
    std::vector<buffer_record*> idle;  // capacity >= records, so that returning one never allocates
  };

  explicit pool_core(std::shared_ptr<memory_source> memory) : source{std::move(memory)} {
    if (!source->is_on_host()) host_side = std::make_shared<pool_core>(source->host_side());
  }
  pool_core(pool_core const&) = delete;
  auto operator=(pool_core const&) -> pool_core& = delete;
  ~pool_core() {
    for (auto& c : classes) {
      for (auto* record : c.idle) {
        source->release(record->data - record->shift, c.bytes + room_to_shift(c.bytes));
        delete record;
      }
    }
  }

  // Large vectors of one size begin at different places of a page: where all begin at the same one, the streams of an
  // update fall into the same few cache sets (measured: half the speed for an update, a fifth for a plain loop).
  static constexpr auto room_to_shift(std::size_t bytes) -> std::size_t { return bytes < (1U << 14) ? 0 : 4096; }

  auto locked() -> std::unique_lock<std::mutex> {
    return is_only_thread() ? std::unique_lock<std::mutex>{} : std::unique_lock{mutex};
  }

  // Runs use a handful of sizes, so a linear search beats a map.
  auto class_of(std::size_t bytes) -> size_class& {
    for (auto& c : classes) {
      if (c.bytes == bytes) return c;
    }
    return classes.emplace_back(size_class{bytes, 0, {}});
  }

  /// For `count` values; all that find() reads is set before another thread can find it.
  auto take(element kind, std::size_t count) -> buffer_record* {
    auto const bytes = count * bytes_of(kind);
    auto const lock = locked();
    auto& c = class_of((bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
    if (c.idle.empty()) add_record(c);
    auto* const record = c.idle.back();
    c.idle.pop_back();
    record->kind = kind;
    record->count = count;
    record->published.store(false, std::memory_order_relaxed);
    if (tracking) live.emplace(record->data, record);
    if (used++ == 0) itself = shared_from_this();
    return record;
  }
  [[gnu::noinline]] void add_record(size_class& c) {
    auto fresh = std::make_unique<buffer_record>();
    auto const room = room_to_shift(c.bytes);
    fresh->pool = this;
    if (room > 0) fresh->shift = static_cast<std::uint32_t>(5 * 64 * c.records % room);
    if (c.records == c.idle.capacity()) c.idle.reserve(2 * c.records + 2);
    fresh->data = source->allocate(c.bytes + room) + fresh->shift;
    fresh->size_class = static_cast<std::uint32_t>(&c - classes.data());
    held_bytes += c.bytes + room;
    ++c.records;
    c.idle.push_back(fresh.release());
  }

  [[gnu::noinline]] void give_back(buffer_record* record) noexcept {
    auto last_owner = std::shared_ptr<pool_core>{};  // released after the lock
    auto const lock = locked();
    if (tracking) live.erase(record->data);
    classes[record->size_class].idle.push_back(record);
    if (--used == 0) last_owner = std::move(itself);
  }

  std::shared_ptr<memory_source> source;
  std::shared_ptr<pool_core> host_side;  // null: the memory is the host's
  std::mutex mutex;
  std::vector<size_class> classes;
  std::size_t held_bytes = 0;
  std::size_t used = 0;  // records not idle
  std::shared_ptr<pool_core> itself;  // set while any record is used, even without handles
  bool tracking = false;
  std::map<std::byte const*, buffer_record*> live;  // filled only while tracking
};

/// A record in use, of `count` indeterminate values.
inline auto hand_out(pool_core& pool, element kind, std::size_t count) -> buffer_record* {
  auto* record = pool.take(kind, count);
  record->references.store(1, std::memory_order_relaxed);
  return record;
}

inline void drop(buffer_record* record) noexcept {
  if (record->remove_reference()) record->pool->give_back(record);
}

}  // namespace detail

/// An immutable, reference-counted vector. Copying shares it; the last owner returns it to its pool.
/// **Thread safety:** distinct handles to one body may be used and dropped from different threads.
class shared_buffer {
 public:
  shared_buffer() = default;
  shared_buffer(shared_buffer const& other) noexcept : record_{other.record_} {
    if (record_ != nullptr) record_->add_reference();
  }
  shared_buffer(shared_buffer&& other) noexcept : record_{std::exchange(other.record_, nullptr)} {}
  auto operator=(shared_buffer other) noexcept -> shared_buffer& {
    std::swap(record_, other.record_);
    return *this;
  }
  ~shared_buffer() {
    if (record_ != nullptr) detail::drop(record_);
  }

  explicit operator bool() const { return record_ != nullptr; }
  [[nodiscard]] auto kind() const -> element { return record_ == nullptr ? element::none : record_->kind; }
  [[nodiscard]] auto size() const -> std::size_t { return record_ == nullptr ? 0 : record_->count; }
  [[nodiscard]] auto size_bytes() const -> std::size_t { return size() * bytes_of(kind()); }

  /// The values; requires that the body holds elements of type T. Valid as long as any owner lives.
  template<class T>
  [[nodiscard]] auto view() const -> std::span<T const> {
    if (record_ == nullptr) return {};
    RUBATO_EXPECTS(record_->kind == element_of<T>, "a body is read as the element type it was written with");
    return {std::launder(reinterpret_cast<T const*>(record_->data)), record_->count};
  }
  [[nodiscard]] auto bytes() const -> std::span<std::byte const> {
    if (record_ == nullptr) return {};
    return {record_->data, size_bytes()};
  }
  [[nodiscard]] auto is_on_host() const -> bool { return record_ == nullptr || !record_->pool->host_side; }
  /// These values in host memory: this very body, or a copy that is made when its writer has finished.
  [[nodiscard]] auto on_host() const -> shared_buffer {
    if (is_on_host()) return *this;
    auto* const pool = record_->pool;
    auto* const copy = detail::hand_out(*pool->host_side, kind(), size());
    auto const body = shared_buffer{copy};  // gives the copy back if copying throws
    pool->source->copy_to_host(record_->data, copy->data, size_bytes());
    copy->published.store(true, std::memory_order_relaxed);
    return body;
  }
  /// Whether both are the same body, not merely equal ones.
  friend auto operator==(shared_buffer const& a, shared_buffer const& b) -> bool { return a.record_ == b.record_; }

 private:
  template<class T>
  friend class writable_buffer;
  friend class buffer_pool;
  friend class vector_lender;
  explicit shared_buffer(detail::buffer_record* record) : record_{record} {}

  detail::buffer_record* record_ = nullptr;
};

/// The only owner of a vector that may still be written; publish() freezes it. Contents start indeterminate.
template<class T>
class writable_buffer {
 public:
  writable_buffer() = default;
  writable_buffer(writable_buffer&& other) noexcept
      : record_{std::exchange(other.record_, nullptr)}, data_{std::exchange(other.data_, nullptr)} {}
  auto operator=(writable_buffer&& other) noexcept -> writable_buffer& {
    std::swap(record_, other.record_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~writable_buffer() {
    if (record_ != nullptr) detail::drop(record_);
  }

  explicit operator bool() const { return record_ != nullptr; }
  [[nodiscard]] auto size() const -> std::size_t { return record_ == nullptr ? 0 : record_->count; }
  [[nodiscard]] auto data() -> T* { return data_; }
  [[nodiscard]] auto data() const -> T const* { return data_; }
  [[nodiscard]] auto view() -> std::span<T> { return {data(), size()}; }
  [[nodiscard]] auto view() const -> std::span<T const> { return {data(), size()}; }

  /// Its present values in host memory, as a separate body: one pass. Empty if this is empty.
  [[nodiscard]] auto host_copy() const -> shared_buffer {
    if (record_ == nullptr) return {};
    auto const& pool = record_->pool;
    auto* const copy = detail::hand_out(pool->host_side ? *pool->host_side : *pool, record_->kind, record_->count);
    auto body = shared_buffer{copy};  // gives the copy back if copying throws
    pool->source->copy_to_host(record_->data, copy->data, body.size_bytes());
    copy->published.store(true, std::memory_order_relaxed);
    return body;
  }

  /// Freezes the vector; this object is empty afterwards.
  [[nodiscard]] auto publish() && -> shared_buffer {
    if (record_ != nullptr) record_->published.store(true, std::memory_order_relaxed);
    data_ = nullptr;
    return shared_buffer{std::exchange(record_, nullptr)};
  }

 private:
  friend class buffer_pool;
  explicit writable_buffer(detail::buffer_record* record)
      : record_{record}, data_{begin_values(record->data, record->count)} {}

  // The memory may have held values of another type. These begin without being written, so that it costs nothing, and a
  // device's memory is not touched.
  static auto begin_values(std::byte* at, std::size_t count) -> T* {
    static_assert(std::is_trivially_default_constructible_v<T>);
    return count == 0 ? reinterpret_cast<T*>(at) : ::new (static_cast<void*>(at)) T[count];
  }

  detail::buffer_record* record_ = nullptr;
  T* data_ = nullptr;  // kept apart so that no access asks whether there is a record
};

/// Recycles vectors by size. A handle: copies share one pool, which lives as long as any buffer of it.
/// **Thread safety:** any thread may allocate and release.
class buffer_pool {
 public:
  explicit buffer_pool(std::shared_ptr<memory_source> memory = std::make_shared<heap_memory>())
      : core_{std::make_shared<detail::pool_core>(std::move(memory))} {}

  /// A vector of `count` indeterminate values; throws std::bad_alloc when the source has no memory left.
  template<class T>
  [[nodiscard]] auto allocate(std::size_t count) -> writable_buffer<T> {
    return writable_buffer<T>{detail::hand_out(*core_, element_of<T>, count)};
  }

  /// The pool of the host's copies of this pool's vectors: this very pool, if its memory is the host's.
  [[nodiscard]] auto host_side() const -> buffer_pool {
    return core_->host_side ? buffer_pool{core_->host_side} : *this;
  }
  /// A body of the host, in this pool's memory: the body itself if that is host memory, a copy otherwise.
  [[nodiscard]] auto bring_in(shared_buffer body) const -> shared_buffer {
    if (!core_->host_side) return body.is_on_host() ? body : body.on_host();
    if (!body.is_on_host()) return body;
    auto* const copy = detail::hand_out(*core_, body.kind(), body.size());
    auto const there = shared_buffer{copy};
    core_->source->copy_from_host(body.bytes().data(), copy->data, body.size_bytes());
    copy->published.store(true, std::memory_order_relaxed);
    return there;
  }
  /// A body's values as a vector of this pool that may be written: one pass. Requires that they are of type T.
  template<class T>
  [[nodiscard]] auto writable_copy(shared_buffer const& body) -> writable_buffer<T> {
    auto fresh = allocate<T>(body.size());
    auto const here = body.on_host();
    RUBATO_EXPECTS(here.kind() == element_of<T>, "a body is copied as the element type it was written with");
    core_->source->copy_from_host(here.bytes().data(), fresh.record_->data, here.size_bytes());
    return fresh;
  }
  /// n values of this pool's memory, from `from` on, as a vector of the host; a null pointer gives an empty one.
  template<class T>
  [[nodiscard]] auto values(T const* from, std::size_t n) const -> std::vector<T> {
    if (from == nullptr) return {};
    std::vector<T> to(n);
    core_->source->copy_to_host(reinterpret_cast<std::byte const*>(from), reinterpret_cast<std::byte*>(to.data()),
                                n * sizeof(T));
    return to;
  }

  /// Bytes ever taken from the source and not given back: used and idle.
  [[nodiscard]] auto held_bytes() const -> std::size_t {
    auto const lock = std::lock_guard{core_->mutex};
    return core_->held_bytes;
  }

  /// Remembers live buffers by address from now on (slow; for backend::checked).
  void track() {
    auto const lock = std::lock_guard{core_->mutex};
    core_->tracking = true;
  }
  /// The live buffer that holds `at`, or an empty info; only buffers allocated since track() are known.
  [[nodiscard]] auto find(void const* at) const -> buffer_info {
    auto const lock = std::lock_guard{core_->mutex};
    auto const* address = static_cast<std::byte const*>(at);
    auto above = core_->live.upper_bound(address);
    if (above == core_->live.begin()) return {};
    auto const* record = std::prev(above)->second;
    auto const bytes = record->count * bytes_of(record->kind);
    if (address >= record->data + bytes) return {};
    return {record->data, bytes, record->published.load(std::memory_order_relaxed)};
  }

 private:
  explicit buffer_pool(std::shared_ptr<detail::pool_core> core) : core_{std::move(core)} {}

  std::shared_ptr<detail::pool_core> core_;
};

/// Bodies whose values lie in somebody else's memory: nothing is copied, and nothing is freed.
/// **Thread safety:** as a pool's.
class vector_lender {
 public:
  vector_lender() : core_{std::make_shared<detail::pool_core>(std::make_shared<no_memory>())} {}

  /// The values must stay there, unchanged, until nobody reads the body any more.
  template<class T>
  [[nodiscard]] auto lend(std::span<T const> values) -> shared_buffer {
    auto* const record = detail::hand_out(*core_, element_of<T>, 0);
    record->count = values.size();
    record->data = const_cast<std::byte*>(std::as_bytes(values).data());
    record->published.store(true, std::memory_order_relaxed);
    return shared_buffer{record};
  }

 private:
  struct no_memory final : memory_source {
    auto allocate(std::size_t) -> std::byte* override { return nullptr; }
    void release(std::byte*, std::size_t) noexcept override {}
  };
  std::shared_ptr<detail::pool_core> core_;
};

}  // namespace rubato
