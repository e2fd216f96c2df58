// SPDX-License-Identifier: MIT
// The gossip and tracking family: order x step x weighting x synchrony x ledger x backend, so chosen that every two
// members of different axes meet in some row.
#include <rubato/algorithm/gossip.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/synchrony/rounds.hpp>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>
#include <rubato/weighting/drop_older_than.hpp>
#include <rubato/weighting/exponential.hpp>
#include <rubato/weighting/hinge.hpp>
#include <rubato/weighting/polynomial.hpp>

#include "matrix/combination.hpp"

namespace rubato::test {
namespace {

using host_f = backend::host<float>;
using host_d = backend::host<double>;
using eigen_f = backend::eigen<float>;
using eigen_d = backend::eigen<double>;
using checked_d = backend::checked<backend::host<double>>;
using fixed = ledger::fixed_point;
using plain = ledger::floating;
using step::adam, step::momentum, step::sgd;
using synchrony::bounded_staleness, synchrony::rounds;
using anytime = synchrony::free;
using weighting::constant, weighting::drop_older_than, weighting::exponential, weighting::hinge, weighting::polynomial;

template<class B, class Order, class Step, class Weighting, class Synchrony, class Ledger>
using tracking = gradient_tracking<B, Order, Step, Weighting, Synchrony, Ledger>;
template<class B, class Order, class Step, class Weighting, class Synchrony>
using plain_gossip = gossip<B, Order, Step, Weighting, Synchrony, plain>;

constexpr auto exact = expectation{};
constexpr auto rounding = expectation{.law = 1e-9};
constexpr auto rounding_f = expectation{.law = 1e-2};

TEST_CASE("tracking in any combination reaches the optimum, and its law holds: orders and ledgers") {
  reaches<tracking<host_f, order::r_fast, sgd, constant, anytime, fixed>>("r_fast, float, fixed", exact);
  reaches<tracking<host_d, order::r_fast, sgd, constant, anytime, plain>>("r_fast, double, floating", rounding);
  reaches<tracking<host_d, order::r_fast, sgd, constant, anytime, fixed>>("r_fast, double, fixed", exact);
  reaches<tracking<host_f, order::r_fast, sgd, constant, anytime, plain>>("r_fast, float, floating", rounding_f);
  reaches<tracking<host_f, order::late_post, sgd, constant, anytime, fixed>>("late_post, float, fixed", exact);
  reaches<tracking<host_d, order::late_post, sgd, constant, rounds, plain>>("late_post in rounds", rounding);
  reaches<tracking<host_d, order::push_pull, sgd, constant, rounds, plain>>("push_pull", rounding);
  reaches<tracking<host_f, order::push_pull, sgd, constant, rounds, fixed>>("push_pull, fixed", exact);
  reaches<tracking<host_f, order::push_pull, sgd, constant, anytime, fixed>>("push_pull without rounds", exact);
  reaches<tracking<host_d, order::ab, sgd, constant, rounds, plain>>("s_ab", rounding);
  reaches<tracking<host_f, order::ab, sgd, constant, rounds, fixed>>("s_ab, fixed", exact);
  reaches<tracking<host_d, order::r_fast, sgd, constant, rounds, plain>>("r_fast's order in rounds", rounding);
}

TEST_CASE("tracking in any combination reaches the optimum, and its law holds: backends") {
  reaches<tracking<eigen_f, order::r_fast, sgd, constant, anytime, fixed>>("eigen float", exact);
  reaches<tracking<eigen_d, order::push_pull, sgd, constant, rounds, plain>>("eigen double, push_pull", rounding);
  reaches<tracking<eigen_f, order::ab, momentum, constant, rounds, fixed>>("eigen float, s_ab, momentum",
                                                                           {.step = 0.01});
  reaches<tracking<checked_d, order::r_fast, sgd, polynomial, anytime, fixed>>("checked, polynomial", exact);
  reaches<tracking<checked_d, order::push_pull, adam, constant, bounded_staleness, plain>>(
      "checked, push_pull, adam, bounded", {.step = 0.02, .above_minimum = 1e-2, .law = 1e-9});
}

TEST_CASE("tracking in any combination reaches the optimum, and its law holds: weightings and steps") {
  reaches<tracking<host_f, order::r_fast, sgd, polynomial, anytime, fixed>>("polynomial", exact);
  reaches<tracking<host_d, order::r_fast, momentum, polynomial, anytime, plain>>("polynomial, momentum",
                                                                                 {.step = 0.01, .law = 1e-9});
  reaches<tracking<host_f, order::r_fast, sgd, exponential, anytime, fixed>>("exponential", exact);
  reaches<tracking<host_d, order::late_post, adam, exponential, anytime, plain>>(
      "exponential, adam, late_post", {.step = 0.02, .above_minimum = 1e-2, .law = 1e-9});
  reaches<tracking<host_f, order::r_fast, momentum, hinge, anytime, fixed>>("hinge, momentum", {.step = 0.01});
  reaches<tracking<host_d, order::push_pull, sgd, hinge, anytime, plain>>("hinge, push_pull", rounding);
  reaches<tracking<host_f, order::r_fast, sgd, drop_older_than, anytime, fixed>>("drop", exact);
  reaches<tracking<host_d, order::late_post, sgd, drop_older_than, anytime, fixed>>("drop, late_post", exact);
  reaches<tracking<host_f, order::r_fast, momentum, constant, anytime, fixed>>("momentum", {.step = 0.01});
  reaches<tracking<host_d, order::push_pull, momentum, constant, rounds, plain>>("momentum, push_pull",
                                                                                 {.step = 0.01, .law = 1e-9});
  reaches<tracking<host_f, order::r_fast, adam, constant, anytime, fixed>>("adam",
                                                                           {.step = 0.02, .above_minimum = 1e-2});
  reaches<tracking<host_d, order::ab, adam, constant, rounds, plain>>(
      "adam, s_ab", {.step = 0.02, .above_minimum = 1e-2, .law = 1e-9});
}

TEST_CASE("tracking in any combination reaches the optimum, and its law holds: bounded staleness") {
  reaches<tracking<host_f, order::r_fast, sgd, constant, bounded_staleness, fixed>>("bounded", exact);
  reaches<tracking<host_d, order::r_fast, sgd, polynomial, bounded_staleness, plain>>("bounded, polynomial", rounding);
  reaches<tracking<host_f, order::late_post, momentum, constant, bounded_staleness, fixed>>(
      "bounded, late_post, momentum", {.step = 0.01});
  reaches<tracking<host_d, order::ab, sgd, constant, bounded_staleness, plain>>("bounded, s_ab", rounding);
}

// Without tracking the nodes end where W, the steps and the data say: off the optimum by an amount of the step.
constexpr auto near = expectation{.step = 0.02, .above_minimum = 5e-2, .apart = 2};

TEST_CASE("gossip in any combination comes near the optimum") {
  reaches<plain_gossip<host_d, order::combine_while_computing, sgd, constant, rounds>>("d_psgd", near);
  reaches<plain_gossip<host_f, order::adapt_then_combine, sgd, constant, rounds>>("d_psgd_atc", near);
  reaches<plain_gossip<eigen_f, order::combine_while_computing, momentum, constant, rounds>>(
      "d_psgd, eigen, momentum", {.step = 0.002, .above_minimum = 5e-2, .apart = 2});
  // Adam divides each node's own gradient by its size, so the nodes' pulls have equal weight:
  // 2.5 remains of the 5.0 at the start.
  reaches<plain_gossip<host_d, order::adapt_then_combine, adam, constant, rounds>>(
      "d_psgd_atc, adam", {.step = 0.01, .above_minimum = 2.6, .apart = 1});
  reaches<plain_gossip<host_f, order::combine_while_computing, sgd, constant, bounded_staleness>>("d_psgd, bounded",
                                                                                                  near);
}

}  // namespace
}  // namespace rubato::test
