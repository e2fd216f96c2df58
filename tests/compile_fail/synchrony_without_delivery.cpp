// SPDX-License-Identifier: MIT
// A synchrony that does not say which channel it needs might wait for messages that a link may lose.
// illegal: silent
// legal:   frank
// error:   a synchrony names the kind of channel that it needs in a constant, delivery
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>

struct silent {
  static constexpr bool waits = true;
  auto ready(rubato::iteration needed, rubato::iteration newest) const -> bool { return newest >= needed; }
  auto latest(rubato::iteration needed) const -> rubato::iteration { return needed; }
};
struct frank : silent {
  static constexpr auto delivery = rubato::channel_kind::event;
};

template class rubato::gossip<rubato::backend::host<double>, rubato::order::push_pull, rubato::step::sgd,
                              rubato::weighting::constant, SUBJECT>;
