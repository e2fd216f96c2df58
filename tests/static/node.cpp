// SPDX-License-Identifier: MIT
#include <rubato/core/node.hpp>

#include <type_traits>

#include <rubato/algorithm/a2cid2.hpp>
#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/adsgd.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/bipartite_ad_psgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/delayed_randomized_gossip.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/rasgp.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/weighting/polynomial.hpp>

namespace {

using namespace rubato;

// What the library calls a node is one, on every backend.
static_assert(node<r_fast<backend::host<float>>> && node<r_fast<backend::eigen<double>>>);
static_assert(node<push_pull<backend::host<double>>> && node<s_ab<backend::host<double>>>);
static_assert(node<d_psgd<backend::host<float>>> && node<d_psgd_atc<backend::host<float>>>);
static_assert(node<non_blocking_d_psgd<backend::host<float>>> && node<non_blocking_allreduce<backend::host<float>>>);
static_assert(node<ad_psgd<backend::host<float>>> && node<osgp<backend::host<float>>>);
static_assert(node<bipartite_ad_psgd<backend::host<float>>> && node<a2cid2<backend::host<float>>>);
static_assert(node<rasgp<backend::host<float>>>);
static_assert(node<prox_dgd<backend::host<float>>> && node<async_dgd_atc<backend::host<float>>>);
static_assert(node<delayed_randomized_gossip<backend::host<float>>>);
static_assert(node<r_fast<backend::host<float>, step::sgd, weighting::polynomial>>);

// The ledger follows the scalar unless one says otherwise.
static_assert(std::is_same_v<r_fast<backend::host<float>>::value, std::int32_t>);
static_assert(std::is_same_v<r_fast<backend::host<double>>::value, double>);
static_assert(
    std::is_same_v<r_fast<backend::host<float>, step::sgd, weighting::constant, ledger::floating>::value, float>);

// An alias is the composition that it names.
static_assert(std::is_same_v<non_blocking_d_psgd<backend::host<float>>,
                             d_psgd<backend::host<float>, step::sgd, contribution::finished>>);
static_assert(std::is_same_v<adsgd<backend::host<float>>, prox_dgd<backend::host<float>, prox::none>>);
static_assert(gradient_tracking<backend::host<float>>::tracks &&
              !gossip<backend::host<float>, order::combine_while_computing>::tracks);

// The least that is a node; each case below lacks one thing or has it wrong.
struct complete {
  void start(instant, outbox&) {}
  void on_patch(instant, patch const&, outbox&) {}
  void on_gradient(instant, gradient, outbox&) {}
  void on_wakeup(instant, wakeup, outbox&) {}
  void on_neighbours(instant, neighbour_change const&, outbox&) {}
  [[nodiscard]] auto estimate() const -> shared_buffer { return {}; }
  [[nodiscard]] auto statistics() const -> node_statistics { return {}; }
  void audit(tracking_audit&) const {}
  static auto channels() -> std::span<channel_spec const> { return {}; }
};
struct without_wakeup : complete {
  void on_wakeup() = delete;
};
struct with_mutable_estimate : complete {
  auto estimate() -> shared_buffer { return {}; }
};
struct with_bare_estimate : complete {
  [[nodiscard]] auto estimate() const -> std::span<float const> { return {}; }
};
struct without_statistics : complete {
  void statistics() const {}
};
struct with_mutating_patch : complete {
  void on_patch(instant, patch&, outbox&) {}
};
struct without_time : complete {
  void on_gradient(gradient, outbox&) {}
};
struct immovable : complete {
  immovable(immovable const&) = delete;
  auto operator=(immovable const&) -> immovable& = delete;
};
static_assert(node<complete>);
static_assert(!node<without_wakeup> && !node<with_mutable_estimate> && !node<with_bare_estimate>);
static_assert(!node<without_statistics> && !node<with_mutating_patch> && !node<without_time>);
static_assert(!node<immovable> && !node<int>);

// A driver can hold any node, and cannot be handed something else.
static_assert(std::is_constructible_v<any_node, complete> && !std::is_constructible_v<any_node, without_time>);
static_assert(std::is_nothrow_move_constructible_v<any_node> && !std::is_copy_constructible_v<any_node>);

// Strong identifiers do not convert into one another.
static_assert(!std::is_convertible_v<node_id, iteration> && !std::is_convertible_v<iteration, ticket>);
static_assert(!std::is_convertible_v<int, node_id> && !std::is_convertible_v<node_id, int>);

}  // namespace
