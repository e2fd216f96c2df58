// SPDX-License-Identifier: MIT
// The families beside gossip and tracking: collectives, servers, pairwise averaging, push-sum and codes; each policy of
// theirs with each of another axis.
#include <rubato/rubato.hpp>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/codec/measured_bits.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/server/known_times.hpp>

#include "matrix/combination.hpp"

namespace rubato::test {
namespace {

using host_f = backend::host<float>;
using host_d = backend::host<double>;
using eigen_f = backend::eigen<float>;
using eigen_d = backend::eigen<double>;
using checked_f = backend::checked<backend::host<float>>;
using contribution::all, contribution::finished;
using step::adam, step::momentum, step::sgd;

// Replicas are equal to the bit after a round (tests/unit); a look may fall between two, when nodes are a round apart.
constexpr auto together = expectation{.apart = 0.5};
constexpr auto together_slowly = expectation{.step = 0.01, .apart = 0.5};
constexpr auto together_roughly = expectation{.step = 0.02, .above_minimum = 1e-2, .apart = 0.5};

TEST_CASE("an all-reduce in any combination reaches the optimum, nodes never more than a round apart") {
  reaches<ring_allreduce_sgd<host_f, sgd, all>>("ring, float", together);
  reaches<ring_allreduce_sgd<host_d, momentum, all>>("ring, momentum", together_slowly);
  reaches<ring_allreduce_sgd<eigen_f, adam, all>>("ring, adam, eigen", together_roughly);
  // Rounds in which the slow node has finished nothing pull towards the others.
  reaches<ring_allreduce_sgd<host_f, sgd, finished>>("ring, non-blocking by nodes",
                                                     {.step = 0.01, .above_minimum = 0.3, .apart = 0.5},
                                                     {.contribution = {8, contribution::weigh::nodes}});
  reaches<ring_allreduce_sgd<host_d, momentum, finished>>("ring, non-blocking by nodes, momentum",
                                                          {.step = 0.002, .above_minimum = 0.3, .apart = 0.5},
                                                          {.contribution = {4, contribution::weigh::nodes}});
  reaches<scatter_allreduce_sgd<host_d, codec::identity, sgd>>("scatter, identity", together);
  reaches<scatter_allreduce_sgd<host_f, codec::bf16, sgd>>("scatter, bf16", {.above_minimum = 1e-2, .apart = 0.5});
  reaches<scatter_allreduce_sgd<eigen_f, codec::minmax_u8, momentum>>(
      "scatter, u8, momentum, eigen", {.step = 0.01, .above_minimum = 1e-2, .apart = 0.5});
  reaches<scatter_allreduce_sgd<host_f, codec::bagua_u8, sgd>>("scatter, bagua's u8",
                                                               {.above_minimum = 1e-2, .apart = 0.5});
  reaches<scatter_allreduce_sgd<host_d, codec::minmax_u8, adam>>("scatter, u8, adam", together_roughly);
}

TEST_CASE("local steps in any combination come near the optimum") {
  constexpr auto biased = expectation{.step = 0.01, .above_minimum = 1, .apart = 3};
  reaches<local_sgd<checked_f, outer::slow_momentum, rhythm::in_fragments, codec::bf16, momentum>>(
      "local steps, momentum, in fragments, checked", {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<local_sgd<eigen_d, outer::nesterov, rhythm::after_warm_up, codec::error_feedback<codec::top_k>, momentum,
                    merge::all_gather>>("local steps, momentum, sparse, eigen",
                                        {.step = 0.0005, .above_minimum = 1, .apart = 3});
  reaches<noloco<checked_f, outer::nesterov, momentum>>("pairs, momentum, checked",
                                                        {.step = 0.0005, .above_minimum = 3, .apart = 3});
  reaches<quorum_diloco<checked_f, outer::slow_momentum>>("quorum, checked", biased);
  reaches<async_diloco<eigen_f, weighting::polynomial>>("async_diloco, polynomial, eigen",
                                                        {.step = 0.005, .above_minimum = 3});
  reaches<async_diloco<host_d, weighting::constant, sgd, server::steps_by_speed>>("async_diloco, steps by speed",
                                                                                  {.step = 0.005, .above_minimum = 3});
}

TEST_CASE("a server in any combination reaches the optimum given by its weights") {
  reaches<m_synchronous_sgd<host_f, sgd>>("m_synchronous", {});
  reaches<m_synchronous_sgd<host_d, momentum>>("m_synchronous, momentum", {.step = 0.01});
  reaches<m_synchronous_sgd<checked_f, adam>>("m_synchronous, adam, checked", {.step = 0.02, .above_minimum = 1e-2});
  // The slow worker counts less: off the optimum by the bias, which is a fraction of the spread of the data.
  constexpr auto biased = expectation{.step = 0.02, .above_minimum = 3};
  reaches<asgd<host_d>>("asgd", biased);
  reaches<asgd<eigen_f, weighting::polynomial>>("asgd, polynomial, eigen", biased);
  reaches<asgd<host_f, weighting::hinge, momentum>>("asgd, hinge, momentum", {.step = 0.004, .above_minimum = 3});
  reaches<asgd<host_d, weighting::exponential, adam>>("asgd, exponential, adam", {.step = 0.02, .above_minimum = 3});
  constexpr auto fair = expectation{.step = 0.003, .above_minimum = 5e-2};
  reaches<rescaled_asgd<host_d>>("rescaled, own durations", fair);
  reaches<rescaled_asgd<host_f, server::own_durations, momentum>>("rescaled, momentum",
                                                                  {.step = 0.0005, .above_minimum = 5e-2});
  reaches<ringmaster_asgd<host_d>>("ringmaster", biased);
  reaches<ringmaster_asgd<eigen_d, weighting::polynomial>>("ringmaster, polynomial, eigen", biased);
  reaches<server_sgd<host_f, server::accept_all, weighting::constant, server::buffered>>("buffered", biased);
  reaches<server_sgd<host_d, server::delay_threshold, server::own_durations, server::buffered>>(
      "threshold, rescaled, buffered", {.step = 0.02, .above_minimum = 1});
}

TEST_CASE("pairs, push-sum and codes in any combination come near the optimum") {
  constexpr auto near = expectation{.step = 0.02, .above_minimum = 3, .apart = 3};
  reaches<ad_psgd<host_d>>("ad_psgd", near);
  reaches<ad_psgd<eigen_f, momentum>>("ad_psgd, momentum, eigen", {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<ad_psgd<host_f, step::sgd, partner::by_speed>>("ad_psgd, by speed", near);
  reaches<bipartite_ad_psgd<eigen_d, momentum, partner::round_robin>>("bipartite ad_psgd, momentum, round robin, eigen",
                                                                      {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<osgp<host_d>>("osgp", near);
  reaches<a2cid2<eigen_f, momentum>>("a2cid2, momentum, eigen", {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<rasgp<eigen_f, momentum>>("rasgp, momentum, eigen", {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<delayed_randomized_gossip<eigen_f, momentum>>(
      "delayed randomized gossip, momentum, eigen", {.step = 0.002, .above_minimum = 3, .apart = 3}, {.delay = 5ms});
  reaches<prox_dgd<eigen_f, prox::box>>("prox_dgd, box, eigen", near, {.prox = {3}});
  reaches<adsgd<checked_f, momentum>>("adsgd, momentum, checked", {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<async_dgd_atc<eigen_d, momentum>>("async_dgd_atc, momentum, eigen",
                                            {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<osgp<checked_f, momentum>>("osgp, momentum, checked", {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<low_precision_d_psgd<host_f>>("low precision", {.step = 0.02, .above_minimum = 0.3, .apart = 3});
  reaches<low_precision_d_psgd<host_d, codec::bf16, momentum>>("low precision, bf16, momentum",
                                                               {.step = 0.002, .above_minimum = 0.3, .apart = 3});
  reaches<extra<eigen_f, momentum>>("extra, momentum, eigen", {.step = 0.01, .above_minimum = 1e-2});
  reaches<push_diging<checked_f, step::adamw>>("push_diging, adamw, checked", {.step = 0.002, .above_minimum = 0.3});
  reaches<asy_sonata<host_f, sgd, weighting::hinge, ledger::fixed_point, codec::low_bits>>(
      "asy_sonata, hinge, 16 bits of a sum", {.above_minimum = 2e-2, .law = 0});
  reaches<async_model_average<host_f>>("model average", near);
  reaches<async_model_average<eigen_d, codec::identity, momentum>>("model average, momentum, eigen",
                                                                   {.step = 0.002, .above_minimum = 3, .apart = 3});
  reaches<non_blocking_d_psgd<host_d>>("non-blocking d_psgd", {.step = 0.02, .above_minimum = 1, .apart = 3},
                                       {.contribution = {4, contribution::weigh::nodes}});
  reaches<r_fast_low_bits<host_f>>("r_fast, 16 bits of a sum", {.above_minimum = 2e-2, .law = 0});
  reaches<asy_sonata<host_f, momentum, weighting::hinge, ledger::fixed_point, codec::referenced_bits<4, 8>>>(
      "asy_sonata, momentum, hinge, sums in 4 bits and models in 8", {.step = 0.005, .law = 0}, {},
      {.duplication = 0.1, .overtaking = 0.1});
  reaches<r_fast<host_f, momentum, weighting::constant, ledger::fixed_point, codec::measured_bits>>(
      "r_fast, momentum, a width for each link", {.step = 0.005, .law = 0}, {},
      {.duplication = 0.1, .overtaking = 0.1});
}

}  // namespace
}  // namespace rubato::test
