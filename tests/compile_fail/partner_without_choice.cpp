// SPDX-License-Identifier: MIT
// A partner policy must choose a neighbour.
// illegal: silent
// legal:   frank
// error:   whose call is given the ids of the neighbours that may be asked and a random stream, and gives a place in
#include <cstddef>
#include <span>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/backend/host.hpp>

struct silent {
  struct state {
    state(silent const&, rubato::node_id) {}
    void operator()(std::span<rubato::node_id const>, rubato::random_stream&) {}
  };
};
struct frank {
  struct state {
    state(frank const&, rubato::node_id) {}
    auto operator()(std::span<rubato::node_id const>, rubato::random_stream&) -> std::size_t { return 0; }
  };
};

template class rubato::ad_psgd<rubato::backend::host<double>, rubato::step::sgd, SUBJECT>;
