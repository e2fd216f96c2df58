// SPDX-License-Identifier: MIT
// A byte a value: each chunk of a vector is cut into 255 equal steps between its smallest and its largest value.
// Codes begin with two numbers a chunk, from which its values are decoded, and go on with one byte a value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::codec {

/// How a chunk with smallest value m and largest value M is coded; s = 255 / (M - m), codes are rounded half to even.
enum class minmax_form : std::uint8_t {
  shifted,  ///< c = rint((v - m) s); v ~ m + c / s
  bagua,  ///< s = 255 / (M - m + 1e-7); up = rint(M s); c = min(rint(v s), up) - (up - 255); v ~ (c + up - 255) / s
};

namespace detail {

// Variables, because device code may not call what is constexpr on the host.
template<class T>
inline constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();
template<class T>
inline constexpr T least_span = 1024 * (std::numeric_limits<T>::min)();  // 255 / span would overflow for smaller ones

template<class T, class F>
  requires std::is_arithmetic_v<T>
RUBATO_HOST_DEVICE auto for_each_lane(T v, F const& f) -> decltype(f(v)) {
  return f(v);
}
template<class U, std::size_t L, class F>
auto for_each_lane(backend::pack<U, L> const& v, F const& f) -> backend::pack<decltype(f(U{})), L> {
  backend::pack<decltype(f(U{})), L> out;
  for (std::size_t i = 0; i < L; ++i) {
    out.a[i] = f(v.a[i]);
    out.b[i] = f(v.b[i]);
    out.c[i] = f(v.c[i]);
    out.d[i] = f(v.d[i]);
  }
  return out;
}

// If either is NaN, returns the second.
template<class T>
RUBATO_HOST_DEVICE auto lesser(T x, T y) -> T {
  return x < y ? x : y;
}
template<class T>
RUBATO_HOST_DEVICE auto greater(T x, T y) -> T {
  return x > y ? x : y;
}
template<class T, std::size_t L>
auto lesser(backend::pack<T, L> const& x, backend::pack<T, L> const& y) -> backend::pack<T, L> {
  return {x.a < y.a ? x.a : y.a, x.b < y.b ? x.b : y.b, x.c < y.c ? x.c : y.c, x.d < y.d ? x.d : y.d};
}
template<class T, std::size_t L>
auto greater(backend::pack<T, L> const& x, backend::pack<T, L> const& y) -> backend::pack<T, L> {
  return {x.a > y.a ? x.a : y.a, x.b > y.b ? x.b : y.b, x.c > y.c ? x.c : y.c, x.d > y.d ? x.d : y.d};
}

/// low[i], high[i] <- the extremes of x[i], x[i + columns], x[i + 2 columns], ... over `rows` rows.
template<class T>
struct column_extremes_kernel {
  static constexpr bool raises = false;
  T const* x;
  std::size_t rows;
  std::size_t columns;
  T* low;
  T* high;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto lo = at.load(x), hi = lo;
    for (std::size_t r = 1; r < rows; ++r) {
      auto const v = at.load(x + r * columns);
      lo = lesser(v, lo);
      hi = greater(v, hi);
    }
    at.store(low, lo);
    at.store(high, hi);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (rows + 2) * sizeof(T); }
};

/// What a chunk is coded and decoded by; head goes with the codes, scale stays.
template<class T>
struct minmax_terms {
  T head[2];  // shifted: m and 1 / s;  bagua: up - 255 and s
  T scale[2];  // shifted: m and s;      bagua: up - 255 and s
};

template<minmax_form Form, class T>
RUBATO_HOST_DEVICE auto minmax_terms_of(T low, T high) -> minmax_terms<T> {
  constexpr auto none = not_a_number<T>;
  auto const span = high - low;
  if (!std::isfinite(span)) return {{none, none}, {none, none}};
  if constexpr (Form == minmax_form::shifted) {
    if (span < least_span<T>) return {{low, 0}, {low, 0}};
    return {{low, span / T{255}}, {low, T{255} / span}};
  } else {
    auto const s = T{255} / (span + static_cast<T>(1e-7));
    auto const up = std::nearbyint(high * s);
    if (!std::isfinite(up)) return {{none, none}, {none, none}};
    return {{up - T{255}, s}, {up - T{255}, s}};
  }
}

/// Meant for a single index: from the extremes of the columns and a tail of x to the terms of the chunk.
template<minmax_form Form, class T>
struct chunk_terms_kernel {
  static constexpr bool raises = false;
  T const* low;
  T const* high;
  std::size_t columns;
  T const* tail;
  std::size_t tail_size;
  T* head;
  T* scale;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const first = columns > 0 ? at.load(low) : at.load(tail);
    auto lo = first, hi = columns > 0 ? at.load(high) : first;
    for (std::size_t i = 0; i < columns; ++i) {
      lo = lesser(at.load(low + i), lo);
      hi = greater(at.load(high + i), hi);
    }
    for (std::size_t i = 0; i < tail_size; ++i) {
      lo = lesser(at.load(tail + i), lo);
      hi = greater(at.load(tail + i), hi);
    }
    write(at, lo, hi);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (2 * columns + tail_size + 4) * sizeof(T); }

 private:
  template<class At>
  RUBATO_HOST_DEVICE void write(At& at, T lo, T hi) const {
    auto const terms = minmax_terms_of<Form>(lo, hi);
    for (std::size_t i = 0; i < 2; ++i) {
      at.store(head + i, terms.head[i]);
      at.store(scale + i, terms.scale[i]);
    }
  }
  template<class At, std::size_t L>
  RUBATO_HOST_DEVICE void write(At&, backend::pack<T, L> const&, backend::pack<T, L> const&) const {
  }  // never: one index is no pack
};

/// codes <- x; if a value is NaN, flags bits above the lowest 8. Reads x, writes codes.
template<minmax_form Form, class T>
struct quantise_kernel {
  T const* x;
  T const* scale;
  std::uint8_t* codes;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const a = scale[0], s = scale[1];
    if constexpr (Form == minmax_form::shifted) {
      // The largest value gives 255 (1 + 2^-23) at most, so only NaN is outside 0 to 255.
      auto const c = at.round(s * (at.load(x) - at.broadcast(a)));
      at.flag(c);
      at.store(codes, at.template cast<std::uint8_t>(c));
    } else {
      auto const c = for_each_lane(at.load(x), [a, s](T v) { return clamped(std::nearbyint(v * s) - a); });
      at.flag(c);
      at.store(codes, at.template cast<std::uint8_t>(c));
    }
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 1; }

 private:
  // BAGUA's own codes leave 0 to 255 by one where rounding meets a range about 0, and wrap.
  RUBATO_HOST_DEVICE static auto clamped(T c) -> std::int32_t {
    return c >= 0 ? (c > 255 ? 255 : static_cast<std::int32_t>(c)) : c < 0 ? 0 : 256;
  }
};

/// x <- codes. Reads codes, writes x.
template<minmax_form Form, class T>
struct dequantise_kernel {
  static constexpr bool raises = false;
  std::uint8_t const* codes;
  T const* head;
  T* x;
  std::size_t all;  // values of all chunks, if each begins at a multiple of 64 bytes, else 0
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const a = at.broadcast(head[0]);
    auto const b = head[1] >= 0 ? head[1] : not_a_number<T>;
    auto const c = at.to_real(at.template cast<std::int32_t>(at.load(codes)));
    if constexpr (Form == minmax_form::shifted) at.stream(x, a + b * c);
    else at.stream(x, (c + a) / at.broadcast(b));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 1; }
  [[nodiscard]] auto values_of_all_chunks() const -> std::size_t { return all; }
};

template<class T>
struct spoil_kernel {
  static constexpr bool raises = false;
  T* x;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(x, at.template broadcast<T>(not_a_number<T>));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T); }
};

}  // namespace detail

/// Policy, see codec/concepts.hpp. Deterministic. In the shifted form each error is at most half a step, (M - m) / 510,
/// besides the rounding of the largest |v|, and |Q(x) - x|^2 <= chunk / (2 255^2) |x|^2 (an extreme case: M = -m and
/// zeros between). A chunk that holds NaN or an infinity, or whose M - m overflows, decodes to NaN throughout, so that
/// a run that diverges shows it, and so does one with a negative step, which is never encoded; one with M - m below
/// 1024 times the least normal number decodes to m. The bagua form is BAGUA's own arithmetic, with codes clamped; it
/// promises nothing where M - m is small beside |m| (a ratio of 1e-5 in float) or beside 1e-7. Passes: encode reads x
/// twice, the second time from the cache, and writes a byte a value; decode reads and writes once. On a device a chunk
/// is three small launches and a wait, right but slow; chunk_values = 0 makes one chunk of all.
template<minmax_form Form>
struct basic_minmax_u8 {
  static constexpr auto name() -> std::string_view {
    return Form == minmax_form::shifted ? "minmax u8" : "minmax u8 of bagua";
  }
  static void visit_options(auto& self, auto&& visit) {
    visit("values of a chunk", self.chunk_values, "values that share one scale; 0: all of them");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;

  /// Values that share a range, best a multiple of 64; 0: all. The default keeps a chunk in the first-level cache.
  std::size_t chunk_values = 4096;

  [[nodiscard]] auto chunks(std::size_t n) const -> std::size_t {
    if (n == 0) return 0;
    return chunk_values == 0 ? 1 : (n - 1) / chunk_values + 1;
  }
  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return chunks(n) * 2 * sizeof(T) + n;
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    if constexpr (Form == minmax_form::bagua) return std::numeric_limits<double>::infinity();
    auto const together = chunk_values == 0 ? n : (std::min)(n, chunk_values);
    return static_cast<double>(together) / (2.0 * 255 * 255);
  }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::byte* codes) const {
    using T = typename Backend::scalar;
    constexpr auto width = backend::vector_lanes<T, false>::width;
    auto scratch = backend.template allocate<T>(2 * width + 2);
    auto* const low = scratch.data();
    auto* const scale = low + 2 * width;
    auto* const bytes = reinterpret_cast<std::uint8_t*>(codes) + chunks(n) * 2 * sizeof(T);
    for_chunks<T>(n, codes, [&](range r, T* head) {
      auto const rows = r.size() / width;
      auto const columns = rows == 0 ? 0 : width;
      auto const* const from = x + r.begin;
      if (rows > 0) {
        backend.sweep({0, width}, detail::column_extremes_kernel<T>{from, rows, width, low, low + width});
      }
      backend.sweep({0, 1}, detail::chunk_terms_kernel<Form, T>{low, low + width, columns, from + rows * width,
                                                                r.size() - rows * width, head, scale});
      auto const raised = backend.sweep({0, r.size()}, detail::quantise_kernel<Form, T>{from, scale, bytes + r.begin});
      if (raised > 255) backend.sweep({0, 2}, detail::spoil_kernel<T>{head});
    });
  }

  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    auto const* const bytes = reinterpret_cast<std::uint8_t const*>(codes) + chunks(n) * 2 * sizeof(T);
    auto const all_are_aligned = reinterpret_cast<std::uintptr_t>(x) % 64 == 0 && chunk_values % 64 == 0;
    auto const all = all_are_aligned ? n : 0;
    for_chunks<T const>(n, codes, [&](range r, T const* head) {
      backend.sweep({0, r.size()}, detail::dequantise_kernel<Form, T>{bytes + r.begin, head, x + r.begin, all});
    });
  }

 private:
  /// The range of values and the two numbers of each chunk.
  template<class T, class Codes, class F>
  void for_chunks(std::size_t n, Codes* codes, F const& f) const {
    auto* head = reinterpret_cast<T*>(codes);
    auto const step = chunk_values == 0 ? n : (std::min)(n, chunk_values);
    for (std::size_t begin = 0; begin < n; begin += step, head += 2) f(range{begin, (std::min)(n, begin + step)}, head);
  }
};

/// The codec to take: right for gradients, weights and their differences.
using minmax_u8 = basic_minmax_u8<minmax_form::shifted>;
/// To compare with BAGUA.
using bagua_u8 = basic_minmax_u8<minmax_form::bagua>;

}  // namespace rubato::codec
