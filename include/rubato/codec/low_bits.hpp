// SPDX-License-Identifier: MIT
// Running sums in 16 bits. A sum rho in units of q is sent as the low 16 bits of round(rho / 2^shift). The receiver
// takes the number with these bits that is nearest to the newest sum it knows. The sums of both ends remain exact: the
// receiver's is a multiple of 2^shift units, and the bits that were cut off count as in flight until later messages
// carry them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::codec {

namespace detail {

// Shifts of wrapping 32-bit numbers: up drops the high bits, down keeps the sign.
RUBATO_HOST_DEVICE inline auto up_by(std::int32_t v, int k) -> std::int32_t {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(v) << k);
}
RUBATO_HOST_DEVICE inline auto down_by(std::int32_t v, int k) -> std::int32_t { return v >> k; }
template<std::size_t L>
auto up_by(backend::pack<std::int32_t, L> const& v, int k) -> backend::pack<std::int32_t, L> {
  return {v.a << k, v.b << k, v.c << k, v.d << k};
}
template<std::size_t L>
auto down_by(backend::pack<std::int32_t, L> const& v, int k) -> backend::pack<std::int32_t, L> {
  return {v.a >> k, v.b >> k, v.c >> k, v.d >> k};
}

/// codes <- low 16 bits of round(sums / 2^shift), halves up. Reads sums, writes codes.
struct to_low_bits_kernel {
  static constexpr bool raises = false;
  std::int32_t const* sums;
  std::uint16_t* codes;
  int shift;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const half = at.broadcast(std::int32_t{1} << shift >> 1);
    auto const rounded = down_by(backend::wrap_add(at.load(sums), half), shift);
    at.store(codes, at.template cast<std::uint16_t>(rounded));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 6; }
};

/// sums <- the multiple of 2^shift with these codes that lies nearest to known. Reads codes, known, writes sums. Flags
/// the magnitude of the change, in multiples of 2^shift.
struct from_low_bits_kernel {
  std::uint16_t const* codes;
  std::int32_t const* known;  // multiples of 2^shift; null stands for zeros
  std::int32_t* sums;
  int shift;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const before = known == nullptr ? at.broadcast(std::int32_t{0}) : at.load(known);
    auto const code = at.template cast<std::int32_t>(at.load(codes));
    auto const moved = down_by(up_by(backend::wrap_sub(code, down_by(before, shift)), 16), 16);
    at.store(sums, backend::wrap_add(before, up_by(moved, shift)));
    at.flag(backend::magnitude_bits(moved));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return known == nullptr ? 6 : 10; }
};

}  // namespace detail

/// Policy for the sums of a fixed-point ledger, see codec::sum_policy. 2 bytes a value; messages may be lost, doubled
/// and overtaken. A sum may move by 2^(14 + shift) units between two messages that arrive (with the default the half of
/// the range at which the ledger itself ends a run); beyond that a run ends with range_sentence(). Exact conservation;
/// resolution 2^shift units. A move of 3 x 2^(14 + shift) units and more may go unnoticed, as one of 2^32 does to the
/// ledger.
struct low_bits {
  static constexpr auto name() -> std::string_view { return "low bits"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("shift", self.shift, "a sum is coded in multiples of 2^shift units of the ledger");
  }
  template<class U>
  using code = std::uint16_t;
  static constexpr bool needs_lossless_links = false;
  static constexpr int reach_bits = 14;

  int shift = 14;

  /// Throws config_error.
  void check() const {
    if (shift < 0 || shift > 16) {
      throw config_error{"sums of 32 bits are shifted by 0 to 16 before 16 of their bits are sent, not by " +
                         std::to_string(shift)};
    }
  }

  template<class Backend>
  void encode(Backend& backend, std::int32_t const* sums, std::size_t n, std::uint16_t* codes) const {
    backend.sweep({0, n}, detail::to_low_bits_kernel{sums, codes, shift});
  }
  template<class Backend>
  [[nodiscard]] auto decode(Backend& backend, std::uint16_t const* codes, std::int32_t const* known, std::size_t n,
                            std::int32_t* sums) const -> bool {
    return backend.sweep({0, n}, detail::from_low_bits_kernel{codes, known, sums, shift}) < (1U << reach_bits);
  }
  /// The sentence that ends a run when sums of this block moved out of reach.
  [[nodiscard]] auto range_sentence(std::size_t block) const -> std::string {
    return "a running sum of block " + std::to_string(block) + " moved by 2^" + std::to_string(reach_bits + shift) +
           " units or more between two messages, which 16 of its bits cannot tell; use " +
           (shift < 16 ? "a larger shift than " + std::to_string(shift) + ", " : std::string{}) +
           "a smaller step if the run diverges, or whole sums";
  }
};

}  // namespace rubato::codec
