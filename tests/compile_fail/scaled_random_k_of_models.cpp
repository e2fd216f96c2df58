// SPDX-License-Identifier: MIT
// What scaled random k leaves out comes later, on average, in a sum of gradients; of a model it would be lost.
// illegal: async_model_average
// legal:   scatter_allreduce_sgd
// error:   a codec that drops most of a vector diverges or moves the limit if nothing sends the rest later
#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/random_k.hpp>

template class rubato::SUBJECT<rubato::backend::host<float>, rubato::codec::scaled_random_k>;
