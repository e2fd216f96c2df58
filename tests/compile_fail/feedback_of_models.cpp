// SPDX-License-Identifier: MIT
// Error feedback adds what it dropped from one model to the next one, which is another model and not a sum.
// illegal: error_feedback
// legal:   ef21
// error:   error_feedback is for gradients, whose sum counts: use ef21 for models
#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/top_k.hpp>

template class rubato::async_model_average<rubato::backend::host<float>, rubato::codec::SUBJECT<rubato::codec::top_k>>;
