// SPDX-License-Identifier: MIT
// The terms of gossip and gradient tracking at one index, as kernels use them. `at` is a lane or a pack of lanes. A
// table has one entry per neighbour, in the order of their ids, so that every sum has one order (law 9).
#pragma once

#include <cstddef>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// Table entries; pointers are to the start of whole vectors in the backend's memory.
template<class T>
struct model_source {
  T const* values;
  T weight;  // w_ij, after staleness weighting
};
template<class U>
struct sum_source {
  U const* newest;  // rho_ij
  U const* consumed;  // rho~_ij, null for zeros
};
template<class T, class U>
struct sum_target {
  U const* before;  // rho_ji so far, null for zeros
  U* after;
  T weight;  // a_ji
  std::size_t readers = 1;  // out-neighbours that are sent this sum
};

/// What a node pulls: w_ii and the models of its neighbours.
template<class T>
struct pull_terms {
  T self = 1;
  backend::table<model_source<T>> models{};
};
/// What a node tracks: z, its stored and its new gradient, the incoming and the outgoing sums, and a_ii.
template<class T, class U>
struct tracking_terms {
  U* z = nullptr;
  T const* g_old = nullptr;  // null for zeros
  T const* g_new = nullptr;
  T push_self = 1;
  backend::table<sum_source<U>> sums_in{};
  backend::table<sum_target<T, U>> sums_out{};
};

/// w_ii x + sum_j w_ij v_j
template<class At, class T, class X>
RUBATO_HOST_DEVICE auto pulled(At& at, pull_terms<T> const& w, X x) -> X {
  x = w.self * x;
  auto const* const models = entries_of(at, w.models);
  for (std::size_t j = 0; j < w.models.size(); ++j) x = x + models[j].weight * at.load(models[j].values);
  return x;
}

/// (z - g) + g_new, evaluated so that a single node without neighbours is SGD bit for bit.
template<class At, class L, class T, class U, class Z>
RUBATO_HOST_DEVICE auto tracked(At& at, L const& ledger, tracking_terms<T, U> const& s, Z z) -> Z {
  if (s.g_old != nullptr) z = ledger.sub(z, ledger.quantise(at, at.load(s.g_old)));
  auto const fresh = ledger.quantise(at, at.load(s.g_new));
  ledger.watch(at, fresh);
  z = ledger.add(z, fresh);
  ledger.watch(at, z);
  return z;
}

/// z + sum_j (rho_ij - rho~_ij)
template<class At, class L, class T, class U, class Z>
RUBATO_HOST_DEVICE auto consumed(At& at, L const& ledger, tracking_terms<T, U> const& s, Z z) -> Z {
  auto const* const sums = entries_of(at, s.sums_in);
  for (std::size_t j = 0; j < s.sums_in.size(); ++j) {
    auto const& e = sums[j];
    auto delta = at.load(e.newest);
    if (e.consumed != nullptr) delta = ledger.sub(delta, at.load(e.consumed));
    ledger.watch(at, delta);
    z = ledger.add(z, delta);
  }
  return z;
}

/// p_j = a_ji z;  rho_ji <- rho_ji + p_j;  returns z - sum_j p_j. A sum of several readers is made once.
template<class At, class L, class T, class U, class Z>
RUBATO_HOST_DEVICE auto pushed(At& at, L const& ledger, tracking_terms<T, U> const& s, Z z) -> Z {
  ledger.watch(at, z);
  auto all = at.broadcast(U{0});
  auto const* const sums = entries_of(at, s.sums_out);
  for (std::size_t j = 0; j < s.sums_out.size(); ++j) {
    auto const& e = sums[j];
    auto const share = ledger.share(at, z, e.weight);
    for (std::size_t r = 0; r < e.readers; ++r) all = ledger.add(all, share);
    at.stream(e.after, e.before == nullptr ? share : ledger.add(at.load(e.before), share));
  }
  return ledger.kept(z, s.push_self, all);
}

/// Stores z for the next pass. (A ledger of integers watches its range instead of checking whether z is finite.)
template<class At, class T, class U, class Z>
RUBATO_HOST_DEVICE void store_tracker(At& at, tracking_terms<T, U> const& s, Z z) {
  if constexpr (std::is_same_v<T, U>) at.expect_finite(z);
  at.store(s.z, z);
}
/// Stores the new x, bypassing the cache where vectors are large.
template<class At, class T, class X>
RUBATO_HOST_DEVICE void store_model(At& at, T* x_new, X x) {
  at.expect_finite(x);
  at.stream(x_new, x);
}

}  // namespace rubato::detail
