// SPDX-License-Identifier: MIT
// The k values of greatest magnitude, each with its place; all others become 0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/detail/sparse.hpp>

namespace rubato::codec {

/// Policy, see codec/concepts.hpp. Contractive with delta = k/n. Exact and deterministic: of equal magnitudes the lower
/// places are kept. Kept values keep their bits, -0 too. NaN counts as greatest, then infinities, so that a run that
/// diverges shows it. A place beyond the vector, which no encoder makes, decodes the first value to NaN. It drops so
/// much that it needs error feedback, or a method that sends differences from what the receiver knows. A kept value
/// takes its bytes and 4. On the host only. Passes: encode reads x once, and allocates 2.6 k numbers or so; decode
/// writes x once.
struct top_k {
  static constexpr auto name() -> std::string_view { return "top k"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("k", self.k, "values that are kept; 0: by share");
    visit("share", self.share, "of the values that is kept where k is 0, above 0 and at most 1");
  }
  template<class T>
  using code = std::byte;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool coarse = true;

  std::size_t k = 0;
  double share = 0.01;

  [[nodiscard]] auto kept(std::size_t n) const -> std::size_t { return detail::kept_values{k, share}.of(n); }
  /// Throws config_error.
  void check(std::size_t n) const { detail::kept_values{k, share}.check(n); }

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return kept(n) * (sizeof(T) + 4);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double {
    return n == 0 ? 0 : 1 - static_cast<double>(kept(n)) / static_cast<double>(n);
  }

  template<class Backend>
  void encode(Backend&, typename Backend::scalar const* x, std::size_t n, std::byte* codes) const {
    static_assert(detail::check_on_host<Backend>());
    using T = typename Backend::scalar;
    auto const places = detail::largest_places(x, n, kept(n));
    auto* const values = codes + 4 * places.size();
    for (std::size_t i = 0; i < places.size(); ++i) std::memcpy(values + i * sizeof(T), x + places[i], sizeof(T));
    std::copy_n(reinterpret_cast<std::byte const*>(places.data()), 4 * places.size(), codes);
  }
  template<class Backend>
  void decode(Backend& backend, std::byte const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    backend.sweep({0, n}, backend::zero_kernel<T>{x});
    auto const count = kept(n);
    auto const* const values = codes + 4 * count;
    auto is_wrong = false;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint32_t place;
      std::memcpy(&place, codes + 4 * i, 4);
      if (place < n) std::memcpy(x + place, values + i * sizeof(T), sizeof(T));
      else is_wrong = true;
    }
    if (is_wrong) x[0] = std::numeric_limits<T>::quiet_NaN();
  }
};

}  // namespace rubato::codec
