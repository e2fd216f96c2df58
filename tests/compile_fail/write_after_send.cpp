// SPDX-License-Identifier: MIT
// A model must be written before it is sent.
// illegal: send_model, action::write_model
// legal:   write_model, action::send_model
// error:   an update order writes a model before it sends it
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>

using rubato::order::action;
struct mine {
  static constexpr std::array program{action::gradient, action::descend, action::SUBJECT, action::pull};
};

auto make(rubato::mixing::plan const& plan, rubato::shared_buffer x0) {
  using node = rubato::gossip<rubato::backend::host<float>, mine>;
  return node{{}, plan, rubato::node_id{0}, std::move(x0), {}};
}
