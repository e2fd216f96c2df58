// SPDX-License-Identifier: MIT
// Each message of ef21 is a difference from what the messages before it said: a state channel may drop one of those.
// illegal: state
// legal:   event
// error:   a codec whose messages build on each other needs lossless, ordered links: an event channel
#include <rubato/backend/host.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/top_k.hpp>

using namespace rubato;
static_assert(
    codec::check_codec<codec::ef21<codec::top_k>, backend::host<float>, channel_kind::SUBJECT, codec::use::models>());
