// SPDX-License-Identifier: MIT
// Scaled by n/k, what is kept exceeds the vector, and the errors that are fed back grow without bound.
// illegal: scaled_random_k
// legal:   random_k
// error:   error feedback needs a contractive codec
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/random_k.hpp>

template struct rubato::codec::error_feedback<rubato::codec::SUBJECT>;
