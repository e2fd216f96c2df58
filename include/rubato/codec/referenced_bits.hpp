// SPDX-License-Identifier: MIT
// Running sums and models in 16, 8, 4 or 2 bits, as differences from a reference that the receiver has confirmed. Here
// are the policy and the codes of one difference; what both ends of an edge remember is in
// algorithm/detail/confirmed_references.hpp.
// Each 256 values have a scale of their own, s = m 2^e with m in 0 .. 255. A value y of which r is the reference is
//   (D.Q)  y' = r + s c,   c in -L .. L,   L = 2^(B-1) - 1
// With 2 bits c is 0 or the sign of y - r, and s the mean of the k largest |y - r|, for the k that leaves the least.
// With more bits s is the greatest |y - r| over L, rounded up, and c is the nearest. So
// |y' - y|^2 <= (1 - delta) |y - r|^2, where delta in 2 bits is 0.8 for normal values, and 1 / (1 + ln 256) = 0.15 for
// any (since the k-th largest is at most the mean of the k largest). s c is exact in every type, so both ends of an
// edge hold equal references, whoever compiled them. Of sums in units of a ledger s is a whole number, so at rest sums
// are told to the unit.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::codec {

namespace detail {

/// The codes of a difference in B bits a value; B = 0 sends values as they are. On the host.
/// Passes: encoding reads both vectors once, sorts 256 sizes at a time in 2 bits, and writes codes; decoding reads
/// codes and the reference, and writes the vector.
template<int B>
struct bits_of_difference {
  static constexpr std::size_t group = 256;  // values that have one scale
  static constexpr int levels = B == 0 ? 0 : (1 << (B - 1)) - 1;

  template<class T>
  [[nodiscard]] static auto bytes(std::size_t n) -> std::size_t {
    if constexpr (B == 0) return n * sizeof(T);
    else return 2 * ((n + group - 1) / group) + n / group * (group * B / 8) + (n % group * B + 7) / 8;
  }
  /// `reference`: n values, or null for zeros.
  template<class T>
  static void encode(T const* values, T const* reference, std::size_t n, std::byte* codes) {
    if constexpr (B == 0) {
      std::memcpy(codes, values, n * sizeof(T));
    } else {
      std::array<double, group> by;
      for (std::size_t at = 0; at < n; at += group) {
        auto const count = (std::min)(group, n - at);
        for (std::size_t i = 0; i < count; ++i)
          by[i] = difference(values[at + i], reference == nullptr ? T{} : reference[at + i]);
        codes = encode_group<T>(by.data(), count, codes);
      }
    }
  }
  /// False if they are no encoder's.
  template<class T>
  [[nodiscard]] static auto decode(std::byte const* codes, T const* reference, std::size_t n, T* values) -> bool {
    if constexpr (B == 0) {
      std::memcpy(values, codes, n * sizeof(T));
      return true;
    } else {
      auto valid = true;
      for (std::size_t at = 0; at < n; at += group) {
        auto const count = (std::min)(group, n - at);
        auto const m = std::to_integer<std::int32_t>(codes[0]);
        auto const e = static_cast<int>(std::to_integer<std::int8_t>(codes[1]));
        valid = valid && is_scale<T>(e);
        if (!valid) return false;
        codes += 2;
        for (std::size_t i = 0; i < count; ++i)
          values[at + i] = moved(reference == nullptr ? T{} : reference[at + i], code_at(codes, i) * m, e);
        codes += (count * B + 7) / 8;
      }
      return true;
    }
  }

 private:
  struct scale {
    int m = 0;
    int e = 0;
    [[nodiscard]] auto value() const -> double { return std::ldexp(m, e); }
  };
  template<class T>
  static constexpr bool is_whole = std::is_integral_v<T>;
  template<class T>
  [[nodiscard]] static auto is_scale(int e) -> bool {
    return !is_whole<T> || (e >= 0 && e <= 24);
  }
  template<class T>
  [[nodiscard]] static auto difference(T a, T b) -> double {
    if constexpr (is_whole<T>) return static_cast<double>(backend::wrap_sub(a, b));
    else return static_cast<double>(a) - static_cast<double>(b);
  }
  /// r + k 2^e; the product is exact.
  template<class T>
  [[nodiscard]] static auto moved(T r, std::int32_t k, int e) -> T {
    if constexpr (is_whole<T>) return backend::wrap_add(r, static_cast<T>(static_cast<std::uint32_t>(k) << e));
    else return r + static_cast<T>(std::ldexp(k, e));
  }
  /// The scale next to `wanted`, or the next above.
  template<class T, bool Up>
  [[nodiscard]] static auto scale_near(double wanted) -> scale {
    if (!(wanted > 0)) return {};
    constexpr auto least = is_whole<T> ? 0 : -128, most = is_whole<T> ? 24 : 120;
    auto e = std::isfinite(wanted) ? std::clamp(std::ilogb(wanted) - 7, least, most) : most;
    auto const parts = std::ldexp(wanted, -e);
    auto m = Up ? std::ceil(parts) : std::rint(parts);
    if (m > 255 && e < most) m = 128, ++e;
    return {m < 255 ? static_cast<int>(m) : 255, e};
  }
  /// (D.Q)
  template<class T>
  static auto encode_group(double const* by, std::size_t n, std::byte* codes) -> std::byte* {
    auto const s = B == 2 ? scale_near<T, false>(mean_of_large(by, n)) : scale_near<T, true>(greatest(by, n) / levels);
    *codes++ = static_cast<std::byte>(s.m);
    *codes++ = static_cast<std::byte>(s.e);
    std::fill_n(codes, (n * B + 7) / 8, std::byte{0});
    auto const per = s.m == 0 ? 0.0 : 1 / s.value();
    for (std::size_t i = 0; i < n; ++i) {
      auto const c = std::clamp(std::rint(by[i] * per), -double{levels}, double{levels});
      put(codes, i, c == c ? static_cast<std::int32_t>(c) : 0);
    }
    return codes + (n * B + 7) / 8;
  }
  [[nodiscard]] static auto greatest(double const* by, std::size_t n) -> double {
    auto most = 0.0;
    for (std::size_t i = 0; i < n; ++i) most = (std::max)(most, std::abs(by[i]));
    return most;
  }
  /// The mean of the k largest |d|, for the k at which their sum squared over k is greatest: of all vectors of 0 and
  /// one size with a sign this gives the nearest.
  [[nodiscard]] static auto mean_of_large(double const* by, std::size_t n) -> double {
    std::array<double, group> sizes;
    for (std::size_t i = 0; i < n; ++i) sizes[i] = std::abs(by[i]);
    std::sort(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(n), [](double a, double b) { return a > b; });
    auto sum = 0.0, best = 0.0, mean = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      sum += sizes[i];
      auto const of_all = sum / static_cast<double>(i + 1);
      if (of_all * sum > best) best = of_all * sum, mean = of_all;
    }
    return mean;
  }
  static void put(std::byte* codes, std::size_t i, std::int32_t c) {
    auto const bits = static_cast<std::uint32_t>(c);
    if constexpr (B == 16) {
      codes[2 * i] = static_cast<std::byte>(bits & 255U);
      codes[2 * i + 1] = static_cast<std::byte>(bits >> 8 & 255U);
    } else {
      constexpr std::size_t each = 8 / B;
      codes[i / each] |= static_cast<std::byte>((bits & ((1U << B) - 1)) << (B * (i % each)));
    }
  }
  [[nodiscard]] static auto code_at(std::byte const* codes, std::size_t i) -> std::int32_t {
    std::uint32_t bits = 0;
    if constexpr (B == 16) {
      bits = std::to_integer<std::uint32_t>(codes[2 * i]) | std::to_integer<std::uint32_t>(codes[2 * i + 1]) << 8;
    } else {
      constexpr std::size_t each = 8 / B;
      bits = std::to_integer<std::uint32_t>(codes[i / each]) >> (B * (i % each));
    }
    return static_cast<std::int32_t>(bits << (32 - B)) >> (32 - B);
  }
};

}  // namespace detail

/// Policy for the sums and the models of r_fast and asy_sonata, on networks whose neighbours hear each other: the
/// difference from what the receiver has confirmed, in SumBits and ModelBits bits a value; 0 bits send values as they
/// are. Messages may be lost, doubled and overtaken, but travel whole (one block). Conservation is exact in the
/// fixed-point ledger, since a receiver books what it decodes; the optimum is that of whole vectors, since
/// differences fade and scales with them. On the host only. Source: ours.
template<int SumBits = 2, int ModelBits = SumBits>
struct referenced_bits {
  static constexpr auto takes(int bits) -> bool {
    return bits == 0 || bits == 2 || bits == 4 || bits == 8 || bits == 16;
  }
  static_assert(takes(SumBits) && takes(ModelBits),
                "differences from references are sent in 2, 4, 8 or 16 bits, or whole (0)");
  using sums = detail::bits_of_difference<SumBits>;
  using models = detail::bits_of_difference<ModelBits>;
  template<class U>
  using code = std::byte;
  static constexpr bool needs_lossless_links = false;
  static constexpr bool confirms = true;

  static constexpr auto name() -> std::string_view { return {named.data(), named.size()}; }
  static void visit_options(auto& self, auto&& visit) {
    visit("remembered", self.remembered, "messages of which a sender keeps the codes until one is confirmed, 2 to 256");
  }

  std::size_t remembered = 16;

  /// Throws config_error.
  void check(block_partition const& blocks) const {
    if (remembered < 2 || remembered > 256) {
      throw config_error{"a sender remembers the codes of 2 to 256 messages, not of " + std::to_string(remembered)};
    }
    if (blocks.blocks() > 1) {
      throw config_error{"differences from references travel whole: leave block-values at 0"};
    }
  }

 private:
  static constexpr auto digits(int bits) -> std::array<char, 2> {
    return {bits >= 10 ? '1' : ' ', static_cast<char>('0' + bits % 10)};
  }
  static constexpr auto named = [] {
    std::array<char, 33> text{};
    constexpr std::string_view form = "referenced bits:    sums    model";
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = form[i];
    for (std::size_t i = 0; i < 2; ++i) text[17 + i] = digits(SumBits)[i], text[25 + i] = digits(ModelBits)[i];
    return text;
  }();
};

}  // namespace rubato::codec
