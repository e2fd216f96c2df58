// SPDX-License-Identifier: MIT
// Restores the 64-bit value of a running 32-bit total (law 11 needs everything ever pushed and consumed). Only a coarse
// high word is stored: the total is the number congruent to the low word that is nearest to high * 2^30. The high word
// is refreshed once in hundreds of iterations, so its memory stays cold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// high <- round(total / 2^30), from the old high and the current low word: reads 2, writes 1.
struct refresh_high_kernel {
  std::int32_t const* low;  // null stands for zeros
  std::int32_t* high;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const h = at.load(high);
    auto const base = times_2_30(h);
    auto const delta =
        low == nullptr ? backend::wrap_sub(at.broadcast(std::int32_t{0}), base) : backend::wrap_sub(at.load(low), base);
    at.store(high, backend::wrap_add(h, high_bits(backend::wrap_add(delta, at.broadcast(std::int32_t{1} << 29)))));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 12; }

  RUBATO_HOST_DEVICE static auto times_2_30(std::int32_t h) -> std::int32_t {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(h) << 30);
  }
  template<std::size_t L>
  static auto times_2_30(backend::pack<std::int32_t, L> const& h) -> backend::pack<std::int32_t, L> {
    return {h.a << 30, h.b << 30, h.c << 30, h.d << 30};
  }
  RUBATO_HOST_DEVICE static auto high_bits(std::int32_t v) -> std::int32_t { return v >> 30; }
  template<std::size_t L>
  static auto high_bits(backend::pack<std::int32_t, L> const& v) -> backend::pack<std::int32_t, L> {
    return {v.a >> 30, v.b >> 30, v.c >> 30, v.d >> 30};
  }
};

/// debt <- debt + sign * total, where total = high * 2^30 + (low - high * 2^30): reads 3, writes 1.
struct settle_total_kernel {
  std::int32_t const* low;
  std::int32_t const* high;
  double* debt;
  double sign;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const h = at.load(high);
    auto const rest = backend::wrap_sub(at.load(low), refresh_high_kernel::times_2_30(h));
    auto const total = 0x1p30 * at.template cast<double>(h) + at.template cast<double>(rest);
    at.store(debt, at.load(debt) + sign * total);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 24; }
};

/// The same for a ledger whose totals do not wrap.
template<class T>
struct settle_plain_kernel {
  T const* total;
  double* debt;
  double sign;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(debt, at.load(debt) + sign * at.template cast<double>(at.load(total)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 24; }
};

/// Where the total of a closed edge goes: it is added to a debt of doubles, with this sign.
struct settlement {
  double* debt;
  double sign;
};

/// The high words of the total of one edge; empty where totals do not wrap.
template<class Backend, class U>
class wide_total {
 public:
  static constexpr bool wraps = std::is_same_v<U, std::int32_t>;
  static void visit_state(auto& self, auto&& visit) { visit("high", self.high_), visit("moved", self.moved_); }

  /// Counts what one iteration may have added; `magnitudes` bounds every change by a power of two.
  void grew(Backend& backend, U const* low, std::size_t n, backend::flag_bits magnitudes) {
    if constexpr (wraps) {
      moved_ += std::uint64_t{magnitudes} + 1;
      if (moved_ < (std::uint64_t{1} << 29)) return;
      if (!high_) {
        high_ = backend.template allocate<std::int32_t>(n);
        backend.sweep({0, n}, backend::zero_kernel<std::int32_t>{high_.data()});
      }
      backend.sweep({0, n}, refresh_high_kernel{low, high_.data()});
      moved_ = 0;
    }
  }

  /// debt += sign * (everything that ever went over the edge), n values; exact up to 2^53 units.
  void settle(Backend& backend, U const* low, std::size_t n, settlement into) {
    if (low == nullptr) return;
    auto const [debt, sign] = into;
    if constexpr (wraps) {
      if (!high_) {
        high_ = backend.template allocate<std::int32_t>(n);
        backend.sweep({0, n}, backend::zero_kernel<std::int32_t>{high_.data()});
      }
      backend.sweep({0, n}, settle_total_kernel{low, high_.data(), debt, sign});
    } else {
      backend.sweep({0, n}, settle_plain_kernel<U>{low, debt, sign});
    }
    high_ = {};
    moved_ = 0;
  }

 private:
  writable_buffer<std::int32_t> high_;
  std::uint64_t moved_ = 0;  // bound on the change since the high words were last exact
};

}  // namespace rubato::detail
