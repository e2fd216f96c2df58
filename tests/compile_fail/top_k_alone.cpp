// SPDX-License-Identifier: MIT
// What top k drops would never be sent: with it alone, synchronous SGD stops off the optimum or diverges.
// illegal: codec::top_k
// legal:   codec::error_feedback<codec::top_k>
// error:   a codec that drops most of a vector diverges or moves the limit if nothing sends the rest later
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/top_k.hpp>

using namespace rubato;
template class rubato::scatter_allreduce_sgd<backend::host<float>, SUBJECT>;
