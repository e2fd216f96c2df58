// SPDX-License-Identifier: MIT
// One hardware vector of neighbouring indices, or half or a quarter of one: for the rest of a vector that does not fill
// the four of vector_lanes, and for all of a short vector. Kernels that declare
// `static constexpr bool fits_short_lanes = true` are built for them too. They use arithmetic, load, store, stream,
// broadcast, cast, round, to_real, sqrt, clamp and flag, and nothing that is written for a pack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rubato/backend/lanes.hpp>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace rubato::backend {

inline namespace RUBATO_INSTRUCTION_SET {

/// One hardware vector of U, `Lanes` values.
template<class U, std::size_t Lanes>
struct single {
  using value_type = U;
  using part = typename detail::native_vector<U, Lanes>::type;
  part a;

  friend auto operator+(single const& x, single const& y) -> single { return {x.a + y.a}; }
  friend auto operator-(single const& x, single const& y) -> single { return {x.a - y.a}; }
  friend auto operator*(single const& x, single const& y) -> single { return {x.a * y.a}; }
  friend auto operator/(single const& x, single const& y) -> single { return {x.a / y.a}; }
  friend auto operator*(U s, single const& y) -> single { return {s * y.a}; }
  friend auto operator*(single const& y, U s) -> single { return s * y; }
};

template<std::size_t L>
inline auto wrap_add(single<std::int32_t, L> const& x, single<std::int32_t, L> const& y) -> single<std::int32_t, L> {
  using u = typename single<std::uint32_t, L>::part;
  return {
      detail::same_bits<typename single<std::int32_t, L>::part>(detail::same_bits<u>(x.a) + detail::same_bits<u>(y.a))};
}
template<std::size_t L>
inline auto wrap_sub(single<std::int32_t, L> const& x, single<std::int32_t, L> const& y) -> single<std::int32_t, L> {
  using u = typename single<std::uint32_t, L>::part;
  return {
      detail::same_bits<typename single<std::int32_t, L>::part>(detail::same_bits<u>(x.a) - detail::same_bits<u>(y.a))};
}
template<std::size_t L>
inline auto magnitude_bits(single<std::int32_t, L> const& x) -> single<std::int32_t, L> {
  return {x.a ^ (x.a >> 31)};
}

/// As vector_lanes, `width` indices at a time, whose T take `Bytes`; stores go through the caches.
template<class T, std::size_t Bytes = detail::native_bytes>
class short_lanes {
 public:
  static constexpr std::size_t lanes = Bytes / sizeof(T);
  static constexpr std::size_t width = lanes;
  using reals = single<T, lanes>;
  using integers = single<std::int32_t, lanes>;

  explicit short_lanes(std::size_t at) : at_{at} {}

  template<class U>
  auto load(U const* p) const -> single<U, lanes> {
    return {detail::load_vector<typename single<U, lanes>::part>(p + at_)};
  }
  template<class U>
  void store(U* p, single<U, lanes> const& v) const {
    detail::store_vector(p + at_, v.a);
  }
  template<class U>
  void stream(U* p, single<U, lanes> const& v) const {
    store(p, v);
  }
  template<class U>
  auto broadcast(U v) const -> single<U, lanes> {
    return {typename single<U, lanes>::part{} + v};
  }
  template<class To, class U>
  auto cast(single<U, lanes> const& v) const -> single<To, lanes> {
    using part = typename single<To, lanes>::part;
    if constexpr (detail::is_byte_conversion<To, U, lanes>) return {detail::converted_bytes<part>(v.a)};
    else return {__builtin_convertvector(v.a, part)};
  }
  auto round(reals const& v) const -> integers { return {detail::rounded_vector<typename integers::part>(v.a)}; }
  auto to_real(integers const& v) const -> reals { return cast<T>(v); }
  auto sqrt(reals const& v) const -> reals { return {detail::root_vector(v.a)}; }
  auto clamp(reals const& v, T limit) const -> reals { return {detail::clamped_vector(v.a, limit)}; }
  void flag(integers const& v) { raised_.a |= v.a; }
  /// As vector_lanes.
  void expect_finite(reals const& v) { differences_ |= detail::same_bits<words>(v.a - v.a); }
  [[nodiscard]] auto raised() const -> flag_bits {
    return detail::any_bits(raised_.a) |
           (detail::is_zero(differences_ << 1) ? 0 : not_finite);  // a zero may have a sign
  }
  void move_to(std::size_t at) { at_ = at; }

 private:
  using word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  using words = typename detail::native_vector<word, lanes>::type;

  std::size_t at_;
  integers raised_{};
  words differences_{};
};

}  // namespace RUBATO_INSTRUCTION_SET

}  // namespace rubato::backend

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
