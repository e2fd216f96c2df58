// SPDX-License-Identifier: MIT
// An order that tracks must push what it tracked, or the law fails.
// illegal: gradient, action::track, action::consume
// legal:   gradient, action::track, action::consume, action::push
// error:   an update order that tracks has exactly one track, one consume and one push
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/backend/host.hpp>

using rubato::order::action;
struct mine {
  static constexpr std::array program{action::descend, action::write_model, action::send_model, action::pull,
                                      action::SUBJECT};
};

auto make(rubato::mixing::plan const& plan, rubato::shared_buffer x0) {
  using node = rubato::gradient_tracking<rubato::backend::host<float>, mine>;
  return node{{}, plan, rubato::node_id{0}, std::move(x0), {}};
}
