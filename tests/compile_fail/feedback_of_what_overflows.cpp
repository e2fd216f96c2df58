// SPDX-License-Identifier: MIT
// What overflows to infinity would stay in the sender's error for ever.
// illegal: fp16
// legal:   bf16
// error:   this one makes infinity of large values
#include <rubato/codec/bf16.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/fp16.hpp>

template struct rubato::codec::error_feedback<rubato::codec::SUBJECT>;
