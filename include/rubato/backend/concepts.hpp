// SPDX-License-Identifier: MIT
// What a backend must offer: where vectors are stored and how they are computed on. An update is one sweep.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/backend/lanes.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::backend {

enum class transposed : bool { no, yes };

/// C (rows x columns) = alpha op(A) op(B) + beta C, with op(A) rows x inner and op(B) inner x columns.
/// All matrices are row-major and contiguous; `transposed` says that the stored matrix is op's transpose.
struct product_shape {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t inner = 0;
  transposed a = transposed::no;
  transposed b = transposed::no;
};

/// How repeatable results are (the words are CUB's).
enum class determinism : std::uint8_t {
  not_guaranteed,  ///< may differ from run to run
  run_to_run,      ///< same binary, same machine, same bits
};

/// Entries that a kernel reads at each index, such as one a neighbour. Where they lie is the backend's to choose
/// (array_backend: table()), so a kernel gets at them by entries_of() alone. The pointers in them are to whole vectors.
template<class E>
class table {
 public:
  table() = default;
  /// Entries in memory that kernels read as it is.
  RUBATO_HOST_DEVICE table(E const* entries, std::size_t size) : entries_{entries}, size_{size} {}
  /// Entries that begin `at` bytes into what a launch takes along (backend/detail/launch_arguments.hpp).
  [[nodiscard]] static auto taken_along(std::size_t at, std::size_t size) -> table {
    auto t = table{nullptr, size};
    t.at_ = at;
    return t;
  }
  [[nodiscard]] RUBATO_HOST_DEVICE auto size() const -> std::size_t { return size_; }

 private:
  template<class At, class Entry>
  friend RUBATO_HOST_DEVICE auto entries_of(At const&, table<Entry> const&) -> Entry const*;
  E const* entries_ = nullptr;  // null: none, or taken along
  std::size_t size_ = 0;
  std::size_t at_ = 0;
};

/// The first entry of a table, for the kernel that is called with these lanes.
template<class At, class Entry>
RUBATO_HOST_DEVICE auto entries_of([[maybe_unused]] At const& at, table<Entry> const& t) -> Entry const* {
  if constexpr (requires { at.taken_along(); }) {
    if (t.entries_ == nullptr) return reinterpret_cast<Entry const*>(at.taken_along() + t.at_);
  }
  return t.entries_;
}

namespace detail {
struct any_kernel {
  template<class Lanes>
  void operator()(Lanes&) const {}
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 0; }
};
}  // namespace detail

/// Not checked, but required:
/// - sweep(r, kernel) calls the kernel for every index of r exactly once, in any order and grouping, and returns the
///   union of the bits that it flagged. The kernel is trivially copyable, and its indices are independent.
///   What a kernel calls is marked RUBATO_HOST_DEVICE, so that it runs on devices too;
/// - kernel.bytes_per_value() is what it reads and writes per index, from which the backend chooses how to store. It
///   may look into tables, so only a backend whose tables the host can read calls it;
/// - a function of the index (backend/for_each.hpp) is a kernel without bytes_per_value(), which asks the lanes it gets
///   for at.index(): they are of one value each. Instead of giving it lanes a host may call kernel.over(r) once for
///   each part r of the range; a backend whose lanes have several values must (runs_by_index, as vector_sweep() does);
/// - a table that a kernel reads is made by table() of the very handle that sweeps next, so that a device can see it;
///   its entries stay where they are until that sweep returns;
/// - buffers are aligned to 64 bytes.
/// Models: host<T>, eigen<T>, thrust<T, System>, checked<B>.
template<class B>
concept array_backend =
    std::copyable<B> && std::floating_point<typename B::scalar> &&
    requires(B& b, typename B::scalar* y, typename B::scalar const* x, std::size_t n, range r, product_shape shape) {
      { B::level } -> std::convertible_to<determinism>;
      { B::name() } -> std::convertible_to<std::string_view>;
      { b.template allocate<typename B::scalar>(n) } -> std::same_as<writable_buffer<typename B::scalar>>;
      { b.template allocate<std::int32_t>(n) } -> std::same_as<writable_buffer<std::int32_t>>;
      { b.sweep(r, detail::any_kernel{}) } -> std::same_as<flag_bits>;
      { b.dot(x, x, n) } -> std::same_as<double>;
      { b.multiply(shape, typename B::scalar{1}, x, x, typename B::scalar{0}, y) } -> std::same_as<void>;
      { b.pool() } -> std::convertible_to<buffer_pool>;
      { b.table(x, n) } -> std::same_as<table<typename B::scalar>>;
    };

/// A backend whose vectors the host cannot read. host_twin() gives a backend for code that runs on the host; its
/// vectors are where copies between the two are fast.
template<class B>
concept has_host_twin = requires(B const& b) {
  { b.host_twin() } -> array_backend;
};

/// A backend whose calls return before they are done. hold_back() is called once a local iteration; it waits until all
/// is done that was enqueued before the call two calls ago. So the host is at most two iterations ahead of a device,
/// and messages do not age in its queue.
template<class B>
concept runs_behind = requires(B& b) { b.hold_back(); };

/// A kernel that says itself how a host runs it over neighbouring indices (backend/for_each.hpp).
template<class Kernel>
concept runs_by_index = requires(Kernel const& kernel, range r) { kernel.over(r); };

/// Whether a kernel may flag bits that its caller must see. A kernel that flags nothing, or not_finite alone, may
/// declare `static constexpr bool raises = false`. Then a device need not wait for it, and a value that is not finite
/// is found at the next look at the model (run/metrics.hpp).
template<class Kernel>
inline constexpr bool may_raise = !requires { requires !Kernel::raises; };

/// y <- x, n values: reads n, writes n.
template<class U>
struct copy_kernel {
  U const* x;
  U* y;
  static constexpr bool raises = false;
  RUBATO_ALSO_HOST_ONLY
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    at.store(y, at.load(x));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 2 * sizeof(U); }
};

/// y <- 0, n values: writes n.
template<class U>
struct zero_kernel {
  U* y;
  static constexpr bool raises = false;
  RUBATO_ALSO_HOST_ONLY
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    at.store(y, at.template broadcast<U>(U{0}));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(U); }
};

/// y <- factor x, n values: reads n, writes n; y may be x.
template<class T>
struct scale_kernel {
  T const* x;
  T* y;
  T factor;
  static constexpr bool raises = false;
  RUBATO_ALSO_HOST_ONLY
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const scaled = factor * at.load(x);
    at.expect_finite(scaled);
    at.store(y, scaled);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 2 * sizeof(T); }
};

/// y <- y + weight x, n values: reads 2n, writes n.
template<class T>
struct add_kernel {
  T const* x;
  T* y;
  T weight;
  static constexpr bool raises = false;
  RUBATO_ALSO_HOST_ONLY
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const sum = at.load(y) + weight * at.load(x);
    at.expect_finite(sum);
    at.store(y, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// A new vector of zeros; set-up code, one pass.
template<class U, array_backend Backend>
[[nodiscard]] auto zeros(Backend& backend, std::size_t n) -> writable_buffer<U> {
  auto y = backend.template allocate<U>(n);
  backend.sweep({0, n}, zero_kernel<U>{y.data()});
  return y;
}

/// A new vector with the values of x; set-up code, one pass.
template<class U, array_backend Backend>
[[nodiscard]] auto copied(Backend& backend, U const* x, std::size_t n) -> writable_buffer<U> {
  auto y = backend.template allocate<U>(n);
  backend.sweep({0, n}, copy_kernel<U>{x, y.data()});
  return y;
}

}  // namespace rubato::backend
