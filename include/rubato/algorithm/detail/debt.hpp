// SPDX-License-Identifier: MIT
// The debt of closed edges: what has to be given back or taken back (law 11). It is released into z a little at a time,
// because adding a whole history at once would throw the model off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// z <- z + r, debt <- debt - r. r is an eighth of the debt, but at most `limit`; below `grain` it is all of the debt.
/// It is 0 if it would take |z| beyond 4 `limit`, because the other end's share, which has the opposite sign, may come
/// much more slowly. Reads 2, writes 2. Raises a bit while any debt is left.
template<class U>
struct release_debt_kernel {
  double* debt;
  U* z;
  double grain;  // in the ledger's units, as is the limit
  double limit;

  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const owed = at.load(debt);
    auto const held = at.template cast<double>(at.load(z));
    auto const part = at.template cast<U>(portion(owed, held));  // truncation leaves the remainder in the debt
    auto const left = owed - at.template cast<double>(part);
    at.store(debt, left);
    if constexpr (std::is_same_v<U, std::int32_t>) at.store(z, backend::wrap_add(at.load(z), part));
    else at.store(z, at.load(z) + part);
    at.flag(not_zero(left));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 16 + 2 * sizeof(U); }

 private:
  [[nodiscard]] RUBATO_HOST_DEVICE auto portion(double v, double held) const -> double {
    auto const share = v > -grain && v < grain ? v : v / 8;
    auto const room = 4 * limit - (v > 0 ? held : -held);
    auto const most = room < 0 ? 0 : room < limit ? room : limit;
    return share > most ? most : share < -most ? -most : share;
  }
  template<std::size_t L>
  [[nodiscard]] auto portion(backend::pack<double, L> const& all, backend::pack<double, L> const& held) const
      -> backend::pack<double, L> {
    auto v = all;
    auto const each = [this](auto& part, auto const& at) {
      for (std::size_t i = 0; i < L; ++i) part[i] = this->portion(part[i], at[i]);
    };
    each(v.a, held.a);
    each(v.b, held.b);
    each(v.c, held.c);
    each(v.d, held.d);
    return v;
  }
  RUBATO_HOST_DEVICE static auto not_zero(double v) -> std::int32_t { return v != 0 ? 1 : 0; }
  template<std::size_t L>
  static auto not_zero(backend::pack<double, L> const& v) -> backend::pack<std::int32_t, L> {
    backend::pack<std::int32_t, L> any{};
    for (auto const* part : {&v.a, &v.b, &v.c, &v.d}) {
      for (std::size_t i = 0; i < L; ++i) any.a[i] |= not_zero((*part)[i]);
    }
    return any;
  }
};

/// Exact to 2^53 units. Empty until an edge closes, and again once everything was released.
template<class Backend, class U>
class debt {
 public:
  static void visit_state(auto& self, auto&& visit) { visit("owed", self.owed_); }
  explicit operator bool() const { return static_cast<bool>(owed_); }
  [[nodiscard]] auto values() const -> double const* { return owed_.data(); }

  /// The vector of n values into which totals are settled.
  auto open(Backend& backend, std::size_t n) -> double* {
    if (!owed_) {
      owed_ = backend.template allocate<double>(n);
      backend.sweep({0, n}, backend::zero_kernel<double>{owed_.data()});
    }
    return owed_.data();
  }

  /// Releases the part of one local iteration: in a fixed-point ledger at most 2^25 units, a sixteenth of its range.
  void release(Backend& backend, U* z, std::size_t n) {
    if (!owed_) return;
    constexpr auto fixed = std::is_same_v<U, std::int32_t>;
    auto const kernel = release_debt_kernel<U>{owed_.data(), z, fixed ? 64.0 : 0x1p-40, fixed ? 0x1p25 : 0x1p1000};
    if (backend.sweep({0, n}, kernel) == 0) owed_ = {};
  }

 private:
  writable_buffer<double> owed_;
};

}  // namespace rubato::detail
