// SPDX-License-Identifier: MIT
#include <rubato/server/concepts.hpp>

#include <type_traits>

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/server/delay_threshold.hpp>
#include <rubato/server/known_times.hpp>
#include <rubato/server/own_durations.hpp>
#include <rubato/weighting/polynomial.hpp>

namespace {

using namespace rubato;
using host = backend::host<float>;

// What the library calls a policy is one.
static_assert(server::acceptance_policy<server::accept_all> && server::acceptance_policy<server::delay_threshold>);
static_assert(server::weight_policy<server::known_times> && server::weight_policy<server::own_durations>);
static_assert(server::weight_policy<server::by_delay<weighting::polynomial>>);
static_assert(server::aggregation_policy<server::apply_at_once, host> &&
              server::aggregation_policy<server::buffered, host>);
static_assert(server::assignment_policy<server::same_worker>);

// A weighting is a weight by delay, and what is a weight is left as it is.
static_assert(std::is_same_v<server::as_weight<weighting::constant>, server::by_delay<weighting::constant>>);
static_assert(std::is_same_v<server::as_weight<server::known_times>, server::known_times>);

// The family is of nodes, and an alias is the composition that it names.
static_assert(node<asgd<host>> && node<rescaled_asgd<host>> && node<ringmaster_asgd<backend::eigen<double>>>);
static_assert(std::is_same_v<asgd<host>, server_sgd<host>>);

// Each lacks one thing or has it wrong.
struct without_stops : server::accept_all {
  void stops() const {}
};
struct with_agreement_of_its_own : server::accept_all {
  void resolve_options() {}
};
struct with_bare_factors : server::known_times {
  struct state : server::known_times::state {
    using server::known_times::state::state;
    auto operator()(server::received_gradient const&) -> double { return 1; }
  };
};
struct without_backend : server::apply_at_once {
  template<class Backend>
  struct state : server::apply_at_once::state<Backend> {
    using server::apply_at_once::state<Backend>::state;
    void take(shared_buffer const&, double) {}
  };
};
struct without_answer {
  void operator()(std::size_t) const {}
};
static_assert(!server::acceptance_policy<without_stops> && !server::acceptance_policy<with_agreement_of_its_own>);
static_assert(!server::weight_policy<with_bare_factors> && !server::weight_policy<weighting::constant>);
static_assert(!server::aggregation_policy<without_backend, host> && !server::assignment_policy<without_answer>);

}  // namespace
