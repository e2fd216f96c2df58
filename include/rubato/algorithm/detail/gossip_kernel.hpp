// SPDX-License-Identifier: MIT
// The arithmetic of a local iteration, for any run of actions, as one kernel: one pass over memory (law 7). Labels
// (G.*) are those of algorithm/gradient_tracking.hpp.
#pragma once

#include <cstddef>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/order.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/backend/counting_lanes.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// Everything that a kernel of this family may read or write; unused members stay null.
template<class T, class U>
struct gossip_streams {
  T const* x = nullptr;
  T* x_new = nullptr;
  T* model = nullptr;  // v, where it is not the new x itself
  pull_terms<T> w{};
  tracking_terms<T, U> t{};
  T const* g = nullptr;  // the direction of descent without tracking; null: no descent
  T g_share = 1;
};

template<class T, class U, class Arithmetic, class Rule, bool Tracks, order::action... Actions>
struct gossip_kernel {
  using list = order::actions_of<Actions...>;
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;  // rules and ledgers work on any lanes

  gossip_streams<T, U> s;
  Arithmetic ledger;
  Rule rule;

  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto x = at.broadcast(T{0});
    auto z = at.broadcast(U{0});
    if constexpr (list::reads_x) x = at.load(s.x);
    if constexpr (loads_z) z = at.load(s.t.z);
    (apply<Actions>(at, x, z), ...);
    if constexpr (list::changes_z) store_tracker(at, s.t, z);
    if constexpr (list::changes_x) store_model(at, s.x_new, x);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return backend::counted_bytes<T>(*this); }

 private:
  // Constants, because device code may not call functions that are constexpr on the host.
  static constexpr bool loads_z = Tracks && (list::changes_z || list::has(order::action::descend));
  static constexpr bool model_apart = !list::model_is_x();

  template<order::action A, class At, class X, class Z>
  RUBATO_HOST_DEVICE void apply(At& at, X& x, Z& z) const {
    using enum order::action;
    if constexpr (A == descend) x = descended(at, x, z);                        // (G.D)
    if constexpr (A == write_model && model_apart) at.stream(s.model, x);
    if constexpr (A == pull) x = pulled(at, s.w, x);                            // (G.W)
    if constexpr (A == track) z = tracked(at, ledger, s.t, z);                  // (G.T)
    if constexpr (A == consume) z = consumed(at, ledger, s.t, z);               // (G.C)
    if constexpr (A == push) z = pushed(at, ledger, s.t, z);                    // (G.A)
  }

  template<class At, class X, class Z>
  RUBATO_HOST_DEVICE auto descended(At& at, X x, Z z) const -> X {
    if constexpr (Tracks) return rule(at, x, ledger.direction(at, z));
    else return s.g == nullptr ? x : rule(at, x, s.g_share * at.load(s.g));     // (N.D)
  }
};

}  // namespace rubato::detail
