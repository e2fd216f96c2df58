// SPDX-License-Identifier: MIT
// What a closed edge left to be given back or taken back (law 11), released into z a little at a time: a sudden kick of
// a whole history would throw the model off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <rubato/backend/concepts.hpp>

namespace rubato::detail {

/// z <- z + r, debt <- debt - r with r an eighth of the debt (all of it once that is below `grain`): reads 2, writes 2.
template<class U>
struct release_debt_kernel {
  double* debt;
  U* z;
  double grain;
  template<class At>
  void operator()(At& at) const {
    auto const owed = at.load(debt);
    auto const part = released(at, owed);
    at.store(debt, owed - at.template cast<double>(part));
    if constexpr (std::is_same_v<U, std::int32_t>) at.store(z, backend::wrap_add(at.load(z), part));
    else at.store(z, at.load(z) + part);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 16 + 2 * sizeof(U); }

 private:
  // Truncation keeps the remainder in the debt; what is smaller than the grain goes at once, so that a debt ends.
  template<class At>
  auto released(At& at, double owed) const -> U {
    return at.template cast<U>(owed > -grain && owed < grain ? owed : owed / 8);
  }
  template<class At, std::size_t L>
  auto released(At& at, backend::pack<double, L> owed) const -> backend::pack<U, L> {
    for (auto* part : {&owed.a, &owed.b, &owed.c, &owed.d}) *part = *part > -grain && *part < grain ? *part : *part / 8.0;
    return at.template cast<U>(owed);
  }
};

/// Exact to 2^53 units. Empty until an edge closes.
template<class Backend, class U>
class debt {
 public:
  explicit operator bool() const { return static_cast<bool>(owed_); }
  [[nodiscard]] auto values() const -> double const* { return owed_.data(); }

  /// The vector to settle totals into.
  auto open(Backend& backend, std::size_t n) -> double* {
    if (!owed_) {
      owed_ = backend.template allocate<double>(n);
      backend.sweep({0, n}, backend::zero_kernel<double>{owed_.data()});
    }
    rounds_left_ = 400;  // (7/8)^400 of 2^53 is far below one unit: by then every value has passed the grain
    return owed_.data();
  }

  /// One local iteration's release. `grain` is in the ledger's units.
  void release(Backend& backend, U* z, std::size_t n, double grain) {
    if (!owed_) return;
    backend.sweep({0, n}, release_debt_kernel<U>{owed_.data(), z, grain});
    if (--rounds_left_ == 0) owed_ = {};
  }

 private:
  writable_buffer<double> owed_;
  int rounds_left_ = 0;
};

}  // namespace rubato::detail
