// SPDX-License-Identifier: MIT
// A step must hand the kernel a rule; one that acts at once would need a pass of its own.
// illegal: acts_at_once
// legal:   gives_a_rule
// error:   a step's state has a type rule, trivially copyable and default-made, and next(gamma) returns one
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>

using rubato::step::sgd;
struct gives_a_rule {
  template<class Backend>
  struct state : sgd::state<Backend> {
    state(gives_a_rule const&, Backend& b, std::size_t n) : sgd::state<Backend>{{}, b, n} {}
  };
};
struct acts_at_once {
  template<class Backend>
  struct state : sgd::state<Backend> {
    state(acts_at_once const&, Backend& b, std::size_t n) : sgd::state<Backend>{{}, b, n} {}
    void next(double) {}
  };
};

template class rubato::gossip<rubato::backend::host<double>, rubato::order::r_fast, SUBJECT>;
