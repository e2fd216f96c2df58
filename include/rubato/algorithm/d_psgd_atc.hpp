// SPDX-License-Identifier: MIT
// D-PSGD that adapts and then combines, as the codes of MATCHA and SGP run it: x_i <- sum_j w_ij (x_j - gamma g_j(x_j)).
// It is the order adapt_then_combine of gossip.hpp, in rounds.
#pragma once

#include <rubato/algorithm/d_psgd.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd>
using d_psgd_atc = d_psgd<Backend, order::adapt_then_combine, Step>;

}  // namespace rubato
