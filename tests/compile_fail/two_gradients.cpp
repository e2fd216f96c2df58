// SPDX-License-Identifier: MIT
// One local iteration asks for one gradient.
// illegal: gradient, action::gradient
// legal:   gradient
// error:   an update order asks for exactly one gradient a local iteration
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>

using rubato::order::action;
struct mine {
  static constexpr std::array program{action::SUBJECT, action::descend, action::write_model, action::send_model,
                                      action::pull};
};

auto make(rubato::mixing::plan const& plan, rubato::shared_buffer x0) {
  using node = rubato::gossip<rubato::backend::host<float>, mine>;
  return node{{}, plan, rubato::node_id{0}, std::move(x0), {}};
}
