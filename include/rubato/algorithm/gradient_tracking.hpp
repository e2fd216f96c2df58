// SPDX-License-Identifier: MIT
// Gradient tracking, node i.   [R] = R-FAST, Zhu, Tian, Huang, Xu, He, arXiv 2307.11617; its mechanism as in the authors'
// public code of ASY-SONATA.   shapes: x, v, z, g, rho in R^d;   W pulls over G(W), A pushes over G(A)
//   (G.D)  x   <- x - gamma z                                              local descent; v = x is posted
//   (G.W)  x   <- w_ii x + sum_j w_ij v_j(latest)                          rows of W sum to 1
//   (G.T)  z   <- (z - g) + g_new ;  g <- g_new                            the stored sample is never redrawn
//   (G.C)  z   <- z + sum_j (rho_ij(latest) - rho~_ij) ;  rho~ <- rho      each mass is consumed once
//   (G.A)  p_j  = a_ji z ;  rho_ji <- rho_ji + p_j ;  z <- z - sum_j p_j   columns of A sum to 1
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i          tests/property/conservation.cpp
// differs from [R]: v is posted before the gradient, not after it (order::late_post posts it after, as listed there);
// totals are per edge (ASY-SONATA broadcasts one); rho is read when the gradient comes, not when it is asked for.
// Messages that arrive K local iterations old (gradients far faster than links) need a step of 1 / (K L) or less, L the
// largest curvature: on binary_tree(8) of quadratics with L = 1 the largest that converged was 0.9/K to 1.2/K, K = 10 to
// 1000, over a latency, and 0.3/K to 0.5/K over links that are always busy; on directed_ring(4) 0.25/K was too much. With
// a step above it z and rho grow without bound, in any arithmetic.
// Per local iteration of r_fast with din, dout edges in either graph (W: dw in; A: da in, db out), in vectors, one pass:
//   by reference:  reads x, z, g, g_new, dw v, 2 da rho, db rho = 4 + dw + 2 da + db;  writes x, v, z, db rho = 3 + db
//   assembled:     the same, and each arriving block is copied once into its mailbox and once into rho~ (4 a block).
#pragma once

#include <concepts>
#include <type_traits>

#include <rubato/algorithm/gossip.hpp>
#include <rubato/synchrony/rounds.hpp>

namespace rubato {

namespace detail {
template<class T>
using default_ledger = std::conditional_t<std::same_as<T, float>, ledger::fixed_point, ledger::floating>;

template<class Order>
struct tracking_order {
  static_assert(order::tracks<Order>(), "gradient tracking needs an update order that tracks, consumes and pushes");
  using type = Order;
};
}  // namespace detail

/// gossip with an order that tracks; the ledger is fixed-point for float, plain for double.
template<backend::array_backend Backend, class Order = order::r_fast, class Step = step::sgd,
         class Weighting = weighting::constant, class Synchrony = synchrony::free,
         class Ledger = detail::default_ledger<typename Backend::scalar>>
using gradient_tracking =
    gossip<Backend, typename detail::tracking_order<Order>::type, Step, Weighting, Synchrony, Ledger>;

}  // namespace rubato
