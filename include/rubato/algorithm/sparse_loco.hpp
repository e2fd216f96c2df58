// SPDX-License-Identifier: MIT
// SparseLoCo: local SGD whose work D is sent as the largest values of each block, in 2 bits each, and what is left out
// is added to the next D: (L.S), (L.D) and (L.O) of local_sgd.hpp, whose class this composes, with outer::mean, a codec
// round which codec::error_feedback is, and (Ga.S) and (Ga.M) of detail/gather_mean.hpp:
//   e <- beta e + D_i;  q_i = C(e), sent to all;  e <- e - decode(q_i);  s <- s - rate mean decode(q)
// Source: Sarfi et al., arXiv 2508.15706, there with Adam as the rule of local steps (give Step = step::adam).
// invariant: with beta = 1, the default, what a node has sent and e sum to the D of all rounds
//                                                                              tests/unit/codec/error_feedback.cpp
// differs from [Sarfi et al.]: beta is 1 by default and not 0.95; the mean is over all nodes and not, value by value,
// over those that sent one; the quantiser is that of codec/block_top_k.hpp; places are not chosen by matrix.
// limit: nodes hover about that of local_sgd: at rest the D_i cancel each other and do not vanish, and what is sent of
// them differs from round to round. A value that is sent every R-th round moves by the work of R rounds at once, so the
// step must be smaller than that of local_sgd by about as much.
#pragma once

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/merge.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/codec/block_top_k.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// `.codec.of`: values of a block and how many of them are sent; `.codec.decay`: beta.
template<backend::array_backend Backend, class Codec = codec::error_feedback<codec::block_top_k>,
         class Step = step::sgd>
using sparse_loco = local_sgd<Backend, outer::mean, rhythm::steady, Codec, Step, merge::all_gather>;

}  // namespace rubato
