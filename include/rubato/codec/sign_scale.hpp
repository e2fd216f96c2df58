// SPDX-License-Identifier: MIT
// A bit a value: the signs of a chunk, times its mean magnitude.   C(v) = (|v|_1 / m) sign(v)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/chunks.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/detail/signs.hpp>

namespace rubato::codec {

namespace detail {

/// The mean of |x_i|, which does not overflow. On the host.
template<class T>
[[nodiscard]] auto mean_magnitude(T const* x, std::size_t n) -> T {
  constexpr auto lanes = backend::detail::native_bytes / sizeof(T);
  using part = typename backend::detail::native_vector<T, lanes>::type;
  auto const share = T{1} / static_cast<T>(n);
  part in_lanes{};
  T sum = 0;
  for_each_vector(x, n, [&]<class V>(V const& v) {
    auto const magnitude = from_bits<V>(bits_of(v) & format<T>::without_sign);
    if constexpr (std::is_arithmetic_v<V>) sum += share * magnitude;
    else in_lanes += share * magnitude;
  });
  for (std::size_t i = 0; i < lanes; ++i) sum += in_lanes[i];
  return sum;
}

template<class T>
struct same_magnitude {
  T scale;
  template<class At>
  RUBATO_HOST_DEVICE auto operator()(At& at, std::size_t) const {
    return at.broadcast(scale);
  }
};

}  // namespace detail

/// Policy, see codec/concepts.hpp. Contractive with delta = |v|_1^2 / (m |v|_2^2) of each chunk of m values, at least
/// 1/m, which is all that is promised; 0.6 for normal values. 0 counts as positive and -0 as negative. A chunk that
/// holds NaN or an infinity, or has a negative scale, decodes to NaN throughout. It drops so much that it needs error
/// feedback. chunk_values = 0 is one scale for all values, as in EF-SignSGD. On the host only. Passes: encode reads x
/// twice, the second time from the cache.
struct sign_scale {
  static constexpr auto name() -> std::string_view { return "sign with scale"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("values of a chunk", self.chunk_values, "values that share one scale; 0: all of them");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool coarse = true;

  std::size_t chunk_values = 4096;

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return detail::chunks{chunk_values}.template codes<T>(n, detail::bytes_of_signs);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    auto const m = detail::chunks{chunk_values}.largest(n);
    return m == 0 ? 0 : 1 - 1 / static_cast<double>(m);
  }

  template<class Backend>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, std::byte* codes) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    detail::chunks{chunk_values}.for_each<T, std::uint8_t>(
        n, codes, detail::bytes_of_signs, [&](range r, T* scale, std::uint8_t* to) {
          auto const mean = detail::mean_magnitude(x + r.begin, r.size());
          *scale = std::isfinite(mean) ? mean : std::numeric_limits<T>::quiet_NaN();
          detail::encode_signs(backend, x + r.begin, r.size(), to);
        });
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    detail::chunks{chunk_values}.for_each<T const, std::uint8_t const>(
        n, codes, detail::bytes_of_signs, [&](range r, T const* scale, std::uint8_t const* from) {
          detail::decode_signs(backend, from, r.size(), x + r.begin,
                               detail::same_magnitude<T>{detail::scale_from(*scale)});
        });
  }
};

}  // namespace rubato::codec
