// SPDX-License-Identifier: MIT
// A weighting that does not say whether it may cut an edge could cut the only in-edge of a tree.
// illegal: silent
// legal:   frank
// error:   a weighting has can_cut, depends_on_age and a call that gives the factor, 0 to 1, for an age
#include <cstdint>

#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>

struct silent {
  static constexpr bool depends_on_age = true;
  auto operator()(std::uint64_t age) const -> double { return age < 5 ? 1.0 : 0.5; }
};
struct frank : silent {
  static constexpr bool can_cut = false;
};

template class rubato::gossip<rubato::backend::host<double>, rubato::order::r_fast, rubato::step::sgd, SUBJECT>;
