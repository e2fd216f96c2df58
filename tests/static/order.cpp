// SPDX-License-Identifier: MIT
#include <rubato/algorithm/order.hpp>

namespace {

using namespace rubato::order;

static_assert(tracks<r_fast>() && tracks<late_post>() && tracks<push_pull>() && tracks<ab>());
static_assert(!tracks<combine_while_computing>() && !tracks<adapt_then_combine>());
static_assert((check_order<r_fast>(), check_order<late_post>(), check_order<push_pull>(), check_order<ab>(), true));
static_assert((check_order<combine_while_computing>(), check_order<adapt_then_combine>(), true));

static_assert(place_of<r_fast>(action::gradient) == 4 && count_of<r_fast>(action::push) == 1);
static_assert(place_of<adapt_then_combine>(action::push) == adapt_then_combine::program.size());

// What a pass reads and changes, which decides what it streams.
static_assert(actions_of<action::descend, action::write_model>::model_is_x());
static_assert(!actions_of<action::write_model, action::pull>::model_is_x());
static_assert(actions_of<action::track, action::push>::changes_z && !actions_of<action::track>::changes_x);
static_assert(!actions_of<action::send_model>::reads_x && actions_of<action::write_model>::reads_x);

}  // namespace
