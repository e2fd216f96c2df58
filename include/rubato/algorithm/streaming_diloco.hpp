// SPDX-License-Identifier: MIT
// Streaming DiLoCo: the P fragments of the model are merged in turn, one after every H / P local steps, and the result
// of a merge is taken o steps after its beginning, mixed with the share a of what the node has by then: (L.S) to (L.X)
// of local_sgd.hpp, whose class this composes, with outer::nesterov and rhythm::in_fragments.
// Source: Douillard et al., arXiv 2501.18512, with H = k. The next D of a fragment is measured from s, not from the
// mixed x. With P = 1, o = 0 and a = 0 this is diloco.
// differs from [Douillard et al.]: fragments are ranges of values and not sets of layers; one merge at most is under
// way, so o < H / P. Their outer gradients of 4 bits: give a codec.
// limit: as that of local_sgd, with  q_i = 1 - (1 - a) r^(H - o) / (1 - a r^H),  r = 1 - gamma h_i: with a = 0 it is
// that of H - o local steps, since those that overlap with a merge are lost.
#pragma once

#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// `.rhythm`: local_steps (H), parts (P), delay (o), share_kept (a).
template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
using streaming_diloco = local_sgd<Backend, outer::nesterov, rhythm::in_fragments, Codec, Step>;

}  // namespace rubato
