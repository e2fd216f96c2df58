// SPDX-License-Identifier: MIT
// QSGD (Alistarh et al., arXiv 1610.02132): each value becomes one of s levels of its chunk's norm, rounded up or down
// at random so that the mean is right.   Q(v) = |v|_2 sign(v_i) floor(s |v_i| / |v|_2 + u_i) / s,  u_i in [0, 1)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/chunks.hpp>
#include <rubato/codec/detail/draws.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>

namespace rubato::codec {

namespace detail {

/// sign(v) floor(|v| factor + u), at most `levels`, as a real number that need not be whole yet: it is cut towards 0.
template<class V>
RUBATO_HOST_DEVICE auto qsgd_level(V const& v, element_type<V> factor, V const& u, element_type<V> levels) -> V {
  using T = element_type<V>;
  auto const bits = bits_of(v);
  V level = from_bits<V>(bits & format<T>::without_sign) * factor + u;
  level = level > levels ? splat<V>(levels) : level;
  return from_bits<V>(bits_of(level) | (bits & ~format<T>::without_sign));
}

/// codes <- levels + s, a byte a value. Reads x, writes codes.
template<class T>
struct qsgd_kernel {
  static constexpr bool raises = false;
  T const* x;
  std::uint8_t* codes;
  std::int32_t const* words;
  draw_key key;
  T factor;
  std::int32_t levels;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const draw = by_part([this](auto const& w) { return hashed(key, w) >> 8 & 0xffffff; }, at.load(words));
    auto const u = static_cast<T>(0x1p-24) * at.to_real(draw);
    auto const level =
        by_part([this](auto const& v, auto const& r) { return qsgd_level(v, factor, r, T(levels)); }, at.load(x), u);
    auto const whole = at.template cast<std::int32_t>(level);
    at.store(codes, at.template cast<std::uint8_t>(backend::wrap_add(whole, at.broadcast(levels))));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 1; }
};

/// x <- unit (codes - s), and NaN for the level s + 1, which a byte can hold and no encoder writes. Reads codes, writes
/// x.
template<class T>
struct from_qsgd_kernel {
  static constexpr bool raises = false;
  static constexpr T none = std::numeric_limits<T>::quiet_NaN();
  std::uint8_t const* codes;
  T* x;
  T unit;
  std::int32_t levels;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const level = backend::wrap_sub(at.template cast<std::int32_t>(at.load(codes)), at.broadcast(levels));
    at.store(x, by_part([this]<class V>(V const& v) { return v > T(levels) ? splat<V>(none) : unit * v; },
                        at.to_real(level)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return sizeof(T) + 1; }
};

/// |x|_2, also where squares would overflow or vanish; not finite if a value is not.
template<class T, class Backend>
auto norm_of(Backend& backend, T const* x, std::size_t n) -> T {
  auto const square = backend.dot(x, x, n);
  auto const safe = static_cast<double>((std::numeric_limits<T>::min)()) * 1e12;
  if (square > safe && square < 1 / safe) return static_cast<T>(std::sqrt(square));
  auto const most = greatest_magnitude(x, n);
  if (most == 0 || !std::isfinite(most)) return most;
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    auto const part = static_cast<double>(x[i]) / static_cast<double>(most);
    sum += part * part;
  }
  return static_cast<T>(static_cast<double>(most) * std::sqrt(sum));
}

}  // namespace detail

/// Policy, see codec/concepts.hpp. Unbiased, with omega = min(m / s^2, sqrt(m) / s) for chunks of m values and
/// s = 2^(bits - 1) - 1 levels. `bits` a value and a scale a chunk. A chunk that holds NaN or an infinity, or whose
/// norm overflows, decodes to NaN throughout, and so does one with a negative scale; a level above s decodes to NaN.
/// Neither is ever encoded. A chunk whose norm is below s / (the largest number) decodes to zeros; zeros become 0 or
/// -0. On the host only. Passes: encode reads x twice, the second time from the cache.
struct qsgd {
  static constexpr auto name() -> std::string_view { return "qsgd"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("bits", self.bits, "of a value: 8 (127 levels), 4 (7) or 2 (1)");
    visit("values of a chunk", self.chunk_values, "values that share one norm; 0: all of them");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::unbiased;
  static constexpr bool needs_lossless_links = false;

  unsigned bits = 8;
  std::size_t chunk_values = 512;

 private:
  [[nodiscard]] auto levels() const -> std::int32_t { return (1 << (bits - 1)) - 1; }
  [[nodiscard]] auto bytes() const {
    return [b = bits](std::size_t m) { return (m * b + 7) / 8; };
  }

 public:
  /// Throws config_error.
  void check() const {
    if (bits != 8 && bits != 4 && bits != 2) {
      throw config_error{"qsgd takes 8, 4 or 2 bits a value, not " + std::to_string(bits)};
    }
  }
  void check(std::size_t) const { check(); }

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return detail::chunks{chunk_values}.template codes<T>(n, bytes());
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    auto const m = static_cast<double>(detail::chunks{chunk_values}.largest(n));
    auto const s = static_cast<double>(levels());
    return (std::min)(m / (s * s), std::sqrt(m) / s);
  }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::byte* codes,
              random_stream const& draw) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    auto const s = levels();
    auto const words = detail::index_words_of(backend);
    auto scratch = backend.template allocate<std::byte>(detail::words_of_a_key);
    auto* const wide = reinterpret_cast<std::uint8_t*>(scratch.data());
    detail::chunks{chunk_values}.for_each<T, std::uint8_t>(n, codes, bytes(), [&](range r, T* unit, std::uint8_t* to) {
      auto const norm = detail::norm_of(backend, x + r.begin, r.size());
      auto factor = static_cast<T>(s) / norm;
      *unit = std::isfinite(norm) ? norm / static_cast<T>(s) : std::numeric_limits<T>::quiet_NaN();
      if (!std::isfinite(norm) || !std::isfinite(factor)) {
        if (std::isfinite(norm)) *unit = 0;
        return std::fill(to, to + bytes()(r.size()), std::uint8_t{0});
      }
      auto stream = draw.with(r.begin);
      detail::for_each_key(r.size(), stream, [&](range piece, detail::draw_key const& key) {
        auto* const levels_of = bits == 8 ? to + piece.begin : wide;
        backend.sweep({0, piece.size()},
                      detail::qsgd_kernel<T>{x + r.begin + piece.begin, levels_of, words.data(), key, factor, s});
        if (bits != 8) pack(wide, piece.size(), to + piece.begin * bits / 8);
      });
    });
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    auto const s = levels();
    auto scratch = backend.template allocate<std::byte>(detail::words_of_a_key);
    auto* const wide = reinterpret_cast<std::uint8_t*>(scratch.data());
    detail::chunks{chunk_values}.for_each<T const, std::uint8_t const>(
        n, codes, bytes(), [&](range r, T const* sent, std::uint8_t const* from) {
          auto const unit = detail::scale_from(*sent);
          if (bits == 8) {
            backend.sweep({0, r.size()}, detail::from_qsgd_kernel<T>{from, x + r.begin, unit, s});
            return;
          }
          for (std::size_t begin = 0; begin < r.size(); begin += detail::words_of_a_key) {
            auto const m = (std::min)(detail::words_of_a_key, r.size() - begin);
            unpack(from + begin * bits / 8, m, wide);
            backend.sweep({0, m}, detail::from_qsgd_kernel<T>{wide, x + r.begin + begin, unit, s});
          }
        });
  }

 private:
  /// Byte j holds the values j, j + columns, j + 2 columns ..., so that all are shifted alike.
  void pack(std::uint8_t const* wide, std::size_t m, std::uint8_t* to) const {
    auto const rows = 8 / bits;
    auto const columns = bytes()(m);
    std::copy_n(wide, columns, to);
    for (std::size_t row = 1; row < rows; ++row) {
      for (std::size_t j = 0; j < columns && row * columns + j < m; ++j) {
        to[j] = static_cast<std::uint8_t>(to[j] | wide[row * columns + j] << (row * bits));
      }
    }
  }
  void unpack(std::uint8_t const* from, std::size_t m, std::uint8_t* wide) const {
    auto const rows = 8 / bits;
    auto const columns = bytes()(m);
    auto const mask = static_cast<std::uint8_t>((1U << bits) - 1);
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t j = 0; j < columns && row * columns + j < m; ++j) {
        wide[row * columns + j] = static_cast<std::uint8_t>(from[j] >> (row * bits) & mask);
      }
    }
  }
};

}  // namespace rubato::codec
