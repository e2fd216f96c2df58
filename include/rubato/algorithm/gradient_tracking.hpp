// SPDX-License-Identifier: MIT
// Gradient tracking as an array of actions, for update orders of your own. R-FAST, Push-Pull and S-AB are written out
// in r_fast.hpp, push_pull.hpp and s_ab.hpp, and give the same bits.   x, v, z, g, rho in R^d
//   (G.D)  x   <- x - gamma z                                              local descent; v = x is posted
//   (G.W)  x   <- w_ii x + sum_j w_ij v_j(latest)                          rows of W sum to 1
//   (G.T)  z   <- (z - g) + g_new ;  g <- g_new                            g is stored, never computed again
//   (G.C)  z   <- z + sum_j (rho_ij(latest) - rho~_ij) ;  rho~ <- rho      each mass is consumed once
//   (G.A)  p_j  = a_ji z ;  rho_ji <- rho_ji + p_j ;  z <- z - sum_j p_j   columns of A sum to 1
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i         tests/property/conservation.cpp
#pragma once

#include <rubato/algorithm/detail/tracking_core.hpp>
#include <rubato/algorithm/gossip.hpp>
#include <rubato/synchrony/rounds.hpp>

namespace rubato {

namespace detail {
template<class Order>
struct tracking_order {
  static_assert(order::tracks<Order>(), "gradient tracking needs an update order that tracks, consumes and pushes");
  using type = Order;
};
}  // namespace detail

/// gossip with an order that tracks; the ledger is fixed-point for float, floating for double.
template<backend::array_backend Backend, class Order = order::r_fast, class Step = step::sgd,
         class Weighting = weighting::constant, class Synchrony = synchrony::free,
         class Ledger = detail::default_ledger<typename Backend::scalar>>
using gradient_tracking =
    gossip<Backend, typename detail::tracking_order<Order>::type, Step, Weighting, Synchrony, Ledger>;

}  // namespace rubato
