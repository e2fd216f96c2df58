// SPDX-License-Identifier: MIT
// A server asks the state of its weight for each gradient; a bare function of the delay is no weight before it says, as
// a weighting does, whether it may cut and whether it depends on the age.
// illegal: silent
// legal:   frank
// error:   a weight is a weighting, or has resolve_options(workers) and a movable state whose call gives a weight
#include <cstdint>

#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>

struct silent {
  auto operator()(std::uint64_t delay) const -> double { return delay < 5 ? 1.0 : 0.5; }
};
struct frank : silent {
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;
};

template class rubato::server_sgd<rubato::backend::host<double>, rubato::server::accept_all, SUBJECT>;
