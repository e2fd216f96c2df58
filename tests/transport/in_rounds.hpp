// SPDX-License-Identifier: MIT
// Processes of algorithms that need every node, which are saved at the same rounds and go on together.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/extra.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "transport/peers.hpp"

namespace rubato::test {

constexpr std::size_t nodes = 3;

/// A ring; for push_diging one that is directed, so that nodes meet there too.
template<class Node>
auto ring_for() {
  return std::is_same_v<Node, push_diging<space>> ? topology::directed_ring(nodes) : topology::ring(nodes);
}

/// Three nodes over TCP, each saved every 20 rounds.
template<class Node>
auto together(problem::quadratic const& p, std::filesystem::path const& folder, until const& end,
              std::optional<std::uint64_t> from = {}) -> std::vector<fate> {
  auto const make = [&](std::size_t) { return assemble<Node>(ring_for<Node>(), p, {.step = 0.1}); };
  tcp_doors doors{make(0).nodes.size()};
  peer_options o{.compute = environment::fixed(work).slow(1, 3)};
  o.checkpoint = {.folder = folder, .resume = from.has_value(), .every_rounds = 20, .round = from};
  return run_all(doors.descriptors.size(), make, over_tcp(doors), {end, o});
}
inline auto everyone(std::size_t n) -> std::vector<node_id> {
  std::vector<node_id> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(to_node(i));
  return all;
}
inline auto newest_in(std::filesystem::path const& folder, std::size_t n) -> std::uint64_t {
  return newest_common_round({.folder = folder}, everyone(n)).value().done;
}
inline void require_good(std::vector<fate> const& all) {
  std::string said;
  for (auto const& f : all) said += f.sentence.empty() ? f.result.unwritten : f.sentence + "; ";
  REQUIRE(said == "");
}

using in_lock_step = std::tuple<ring_allreduce_sgd<space>, extra<space>, push_diging<space>,
                                low_precision_d_psgd<space>, scatter_allreduce_sgd<space>, byte_grad<space>>;

using each_round_a_gradient =
    std::tuple<ring_allreduce_sgd<space>, extra<space>, push_diging<space>, low_precision_d_psgd<space>,
               scatter_allreduce_sgd<space>, byte_grad<space>, osgp<space>, m_synchronous_sgd<space>>;
/// Bounded by gradients, so that it does not depend on the machine, where rounds take a known number of them.
template<class Node>
inline constexpr auto a_little =
    std::is_same_v<Node, async_model_average<space>> || std::is_same_v<Node, non_blocking_allreduce<space>>
        ? until{.time = std::chrono::milliseconds{100}}
        : until{.time = std::chrono::minutes{1}, .gradients = 30};

using who_can_meet =
    std::tuple<ring_allreduce_sgd<space>, extra<space>, push_diging<space>, low_precision_d_psgd<space>,
               scatter_allreduce_sgd<space>, byte_grad<space>, osgp<space>, async_model_average<space>,
               non_blocking_allreduce<space>, m_synchronous_sgd<space>>;

}  // namespace rubato::test
