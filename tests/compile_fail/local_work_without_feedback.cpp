// SPDX-License-Identifier: MIT
// What local nodes have done is a sum over time: with the largest values alone, most of it would never be sent.
// illegal: codec::block_top_k
// legal:   codec::error_feedback<codec::block_top_k>
// error:   a codec that drops most of a vector diverges or moves the limit if nothing sends the rest later
#include <rubato/algorithm/sparse_loco.hpp>
#include <rubato/backend/host.hpp>

using namespace rubato;
template class rubato::local_sgd<backend::host<float>, outer::mean, rhythm::steady, SUBJECT, step::sgd,
                                 merge::all_gather>;
