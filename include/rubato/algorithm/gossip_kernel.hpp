// SPDX-License-Identifier: MIT
// The arithmetic of a local iteration, for any run of actions, as one kernel: one pass over memory (law 7).
// Labels (G.*) are those of algorithm/gradient_tracking.hpp.
#pragma once

#include <cstddef>
#include <type_traits>

#include <rubato/algorithm/order.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// Table entries; pointers are bases of whole vectors in the backend's memory.
template<class T>
struct model_source {
  T const* values;
  T weight;  // w_ij, after staleness weighting
};
template<class U>
struct sum_source {
  U const* newest;    // rho_ij
  U const* consumed;  // rho~_ij, null for zeros
};
template<class T, class U>
struct sum_target {
  U const* before;  // rho_ji so far, null for zeros
  U* after;
  T weight;  // a_ji
};
template<class E>
struct table {
  E const* entries;
  std::size_t size;
};

/// Everything that a kernel of this family can touch; unused members stay null.
template<class T, class U>
struct gossip_streams {
  T const* x = nullptr;
  T* x_new = nullptr;
  T* model = nullptr;  // v, where it is not the new x itself
  U* z = nullptr;
  T const* g_old = nullptr;
  T const* g_new = nullptr;
  T pull_self = 1;
  T push_self = 1;
  table<model_source<T>> pulls{};
  table<sum_source<U>> sums_in{};
  table<sum_target<T, U>> sums_out{};
  T g_share = 1;  // of g_new in a descent along it; no g_new: no descent
};

template<class T, class U, class Arithmetic, class Rule, bool Tracks, order::action... Actions>
struct gossip_kernel {
  using list = order::actions_of<Actions...>;
  static constexpr bool raises = backend::may_raise<Arithmetic>;
  static constexpr bool fits_short_lanes = true;  // rules and ledgers are written for any lanes

  gossip_streams<T, U> s;
  Arithmetic ledger;
  Rule rule;

  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto x = list::reads_x ? at.load(s.x) : at.same(T{0});
    auto z = at.same(U{0});
    if constexpr (loads_z) z = at.load(s.z);
    (apply<Actions>(at, x, z), ...);
    if constexpr (list::changes_z && std::is_same_v<T, U>) at.expect_finite(z);  // a ledger of integers watches its range
    if constexpr (list::changes_z) at.store(s.z, z);
    if constexpr (list::changes_x) {
      at.expect_finite(x);
      at.stream(s.x_new, x);
    }
  }

  /// Vectors read and written per value, in bytes, counted from the tables.
  [[nodiscard]] auto bytes_per_value() const -> std::size_t {
    std::size_t t = (list::reads_x ? 1 : 0) + (list::changes_x ? 1 : 0);
    std::size_t u = 0;
    if (list::has(order::action::write_model) && model_apart) ++t;
    if (list::has(order::action::pull)) t += s.pulls.size;
    if (list::has(order::action::descend) && !Tracks && s.g_new != nullptr) ++t;
    if (loads_z) u += list::changes_z ? 2 : 1;
    if (list::has(order::action::track)) t += s.g_old == nullptr ? 1 : 2;
    if (list::has(order::action::consume)) {
      for (std::size_t j = 0; j < s.sums_in.size; ++j) u += s.sums_in.entries[j].consumed == nullptr ? 1 : 2;
    }
    if (list::has(order::action::push)) {
      for (std::size_t j = 0; j < s.sums_out.size; ++j) u += s.sums_out.entries[j].before == nullptr ? 1 : 2;
    }
    return t * sizeof(T) + u * sizeof(U) + (list::has(order::action::descend) ? Rule::bytes_per_value() : 0);
  }

 private:
  // Constants, because device code may not call what is constexpr on the host.
  static constexpr bool loads_z = Tracks && (list::changes_z || list::has(order::action::descend));
  static constexpr bool model_apart = !list::model_is_x();

  template<order::action A, class At, class X, class Z>
  RUBATO_HOST_DEVICE void apply(At& at, X& x, Z& z) const {
    using enum order::action;
    if constexpr (A == descend) x = descended(at, x, z);                       // (G.D)
    if constexpr (A == write_model && model_apart) at.stream(s.model, x);
    if constexpr (A == pull) x = pulled(at, x);                                // (G.W)
    if constexpr (A == track) z = tracked(at, z);                              // (G.T)
    if constexpr (A == consume) z = consumed(at, z);                           // (G.C)
    if constexpr (A == push) z = pushed(at, z);                                // (G.A)
  }

  template<class At, class X, class Z>
  RUBATO_HOST_DEVICE auto descended(At& at, X x, Z z) const -> X {
    if constexpr (Tracks) return rule(at, x, ledger.direction(at, z));
    else return s.g_new == nullptr ? x : rule(at, x, s.g_share * at.load(s.g_new));  // (N.D)
  }

  template<class At, class X>
  RUBATO_HOST_DEVICE auto pulled(At& at, X x) const -> X {
    x = s.pull_self * x;
    for (std::size_t j = 0; j < s.pulls.size; ++j) x = x + s.pulls.entries[j].weight * at.load(s.pulls.entries[j].values);
    return x;
  }

  // Evaluated as (z - g_old) + g_new, so that a lone node is SGD bit for bit.
  template<class At, class Z>
  RUBATO_HOST_DEVICE auto tracked(At& at, Z z) const -> Z {
    if (s.g_old != nullptr) z = ledger.sub(z, ledger.quantise(at, at.load(s.g_old)));
    auto const fresh = ledger.quantise(at, at.load(s.g_new));
    ledger.watch(at, fresh);
    z = ledger.add(z, fresh);
    ledger.watch(at, z);
    return z;
  }

  template<class At, class Z>
  RUBATO_HOST_DEVICE auto consumed(At& at, Z z) const -> Z {
    for (std::size_t j = 0; j < s.sums_in.size; ++j) {
      auto const& e = s.sums_in.entries[j];
      auto delta = at.load(e.newest);
      if (e.consumed != nullptr) delta = ledger.sub(delta, at.load(e.consumed));
      ledger.watch(at, delta);
      z = ledger.add(z, delta);
    }
    return z;
  }

  template<class At, class Z>
  RUBATO_HOST_DEVICE auto pushed(At& at, Z z) const -> Z {
    ledger.watch(at, z);
    auto all = at.same(U{0});
    for (std::size_t j = 0; j < s.sums_out.size; ++j) {
      auto const& e = s.sums_out.entries[j];
      auto const share = ledger.share(at, z, e.weight);
      all = ledger.add(all, share);
      at.stream(e.after, e.before == nullptr ? share : ledger.add(at.load(e.before), share));
    }
    return ledger.kept(z, s.push_self, all);
  }
};

}  // namespace rubato::detail
