// SPDX-License-Identifier: MIT
// Gradient tracking cannot take an order that keeps no tracker.
// illegal: combine_while_computing
// legal:   late_post
// error:   gradient tracking needs an update order that tracks, consumes and pushes
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/backend/host.hpp>

using node = rubato::gradient_tracking<rubato::backend::host<float>, rubato::order::SUBJECT>;
static_assert(node::tracks);
