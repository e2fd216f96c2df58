// SPDX-License-Identifier: MIT
// Every algorithm in README's table, one row each. race, peer, cluster and replay take their algorithms from here, and
// so do the tests of all algorithms (tests/support/every_algorithm.hpp, tests/matrix/catalogue.cpp) and the check of
// README's table (tests/laws/names_have_files.sh).
#pragma once

#include <cstdint>
#include <string_view>
#include <tuple>

#include <rubato/algorithm/a2cid2.hpp>
#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/adsgd.hpp>
#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/asgrad.hpp>
#include <rubato/algorithm/asy_sonata.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/async_diloco.hpp>
#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/beer.hpp>
#include <rubato/algorithm/bipartite_ad_psgd.hpp>
#include <rubato/algorithm/bucketed_allreduce_sgd.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/c_gt.hpp>
#include <rubato/algorithm/choco_sgd.hpp>
#include <rubato/algorithm/clipped_asgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/dasa.hpp>
#include <rubato/algorithm/dasgd.hpp>
#include <rubato/algorithm/dc_asgd.hpp>
#include <rubato/algorithm/dcd_sgd.hpp>
#include <rubato/algorithm/deepsqueeze.hpp>
#include <rubato/algorithm/delay_adaptive_asgd.hpp>
#include <rubato/algorithm/delayed_randomized_gossip.hpp>
#include <rubato/algorithm/diloco.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/dude_asgd.hpp>
#include <rubato/algorithm/extra.hpp>
#include <rubato/algorithm/fedasync.hpp>
#include <rubato/algorithm/fedbuff.hpp>
#include <rubato/algorithm/lead.hpp>
#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/malenia_sgd.hpp>
#include <rubato/algorithm/matcha.hpp>
#include <rubato/algorithm/mindflayer.hpp>
#include <rubato/algorithm/naive_optimal_asgd.hpp>
#include <rubato/algorithm/noloco.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/non_blocking_matcha.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/piag.hpp>
#include <rubato/algorithm/post_local_sgd.hpp>
#include <rubato/algorithm/power_sgd.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/qadam.hpp>
#include <rubato/algorithm/quorum_diloco.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/r_fast_referenced.hpp>
#include <rubato/algorithm/rasgp.hpp>
#include <rubato/algorithm/rennala_sgd.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/algorithm/ringleader_asgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/algorithm/sgp.hpp>
#include <rubato/algorithm/slowmo.hpp>
#include <rubato/algorithm/sparse_loco.hpp>
#include <rubato/algorithm/streaming_diloco.hpp>

namespace rubato::examples {

/// Where a run with a constant step ends if data and speeds differ between nodes.
enum class ends : std::uint8_t {
  at_optimum,
  off_it,  ///< by a distance that depends on the step, or on how uneven speeds are
};

template<class Node>
struct catalogue_row {
  using node_type = Node;
  std::string_view name;
  double race_step;  ///< race's default; 0: there is none
  ends where;
  std::string_view race_network = "binary-tree";  ///< race's default, by name
};

/// Steps and networks: those with which an algorithm reaches the target first in race's default scenario, by the sweep
/// of bench/headlines.cpp (bench/RESULTS.md, 29): r_fast, push_pull, s_ab, d_psgd, d_psgd_atc, ad_psgd, osgp, dsgt,
/// matcha, ring_allreduce_sgd, byte_grad, m_synchronous_sgd, asgd, rescaled_asgd. r_fast_low_bits, r_fast_referenced
/// and asy_sonata have those of r_fast, sgp those of osgp. The steps of low_precision_d_psgd, non_blocking_d_psgd,
/// async_model_average,
/// non_blocking_allreduce and ringmaster_asgd are of a sweep on a binary tree (bench/sweep_steps.md). push_diging,
/// extra, non_blocking_matcha, prox_dgd, adsgd, async_dgd_atc, bipartite_ad_psgd, a2cid2, delayed_randomized_gossip and
/// rasgp have those of a smaller sweep over networks and steps (the last tables of that page); of bipartite_ad_psgd the
/// best network that is bipartite for any number of nodes, since a ring of an even number would be better. Not swept
/// are choco_sgd to c_gt, power_sgd, those of local steps, bucketed_allreduce_sgd (which has ring_allreduce_sgd's),
/// qadam, and the servers from delay_adaptive_asgd on.
template<class B>
inline constexpr auto catalogue_of = std::tuple{
    catalogue_row<r_fast<B>>{"r_fast", 0.0625, ends::at_optimum, "star"},
    catalogue_row<r_fast_low_bits<B>>{"r_fast_low_bits", 0.0625, ends::at_optimum, "star"},
    catalogue_row<r_fast_referenced<B>>{"r_fast_referenced", 0.0625, ends::at_optimum, "star"},
    catalogue_row<asy_sonata<B>>{"asy_sonata", 0.0625, ends::at_optimum, "star"},
    catalogue_row<push_pull<B>>{"push_pull", 0.25, ends::at_optimum, "star"},
    catalogue_row<s_ab<B>>{"s_ab", 0.0625, ends::at_optimum, "star"},
    catalogue_row<dsgt<B>>{"dsgt", 0.125, ends::at_optimum, "exponential"},
    catalogue_row<push_diging<B>>{"push_diging", 0.0625, ends::at_optimum},
    catalogue_row<extra<B>>{"extra", 0.0625, ends::at_optimum, "star"},
    catalogue_row<d_psgd<B>>{"d_psgd", 0.0625, ends::off_it, "complete"},
    catalogue_row<d_psgd_atc<B>>{"d_psgd_atc", 0.125, ends::off_it, "complete"},
    catalogue_row<low_precision_d_psgd<B>>{"low_precision_d_psgd", 0.0625, ends::off_it},
    catalogue_row<choco_sgd<B>>{"choco_sgd", 0.0625, ends::off_it},
    catalogue_row<dcd_sgd<B>>{"dcd_sgd", 0.0625, ends::off_it},
    catalogue_row<deepsqueeze<B>>{"deepsqueeze", 0.0625, ends::off_it},
    catalogue_row<lead<B>>{"lead", 0.0625, ends::at_optimum},
    catalogue_row<beer<B>>{"beer", 0.0625, ends::at_optimum},
    catalogue_row<c_gt<B>>{"c_gt", 0.0625, ends::at_optimum},
    catalogue_row<non_blocking_d_psgd<B>>{"non_blocking_d_psgd", 0.125, ends::off_it},
    catalogue_row<matcha<B>>{"matcha", 0.125, ends::off_it, "complete"},
    catalogue_row<non_blocking_matcha<B>>{"non_blocking_matcha", 0.0625, ends::off_it, "exponential"},
    catalogue_row<noloco<B>>{"noloco", 0.03125, ends::off_it, "complete"},
    catalogue_row<prox_dgd<B>>{"prox_dgd", 0.0625, ends::off_it, "complete"},
    catalogue_row<adsgd<B>>{"adsgd", 0.0625, ends::off_it, "complete"},
    catalogue_row<async_dgd_atc<B>>{"async_dgd_atc", 0.125, ends::off_it, "complete"},
    catalogue_row<ad_psgd<B>>{"ad_psgd", 0.0625, ends::off_it, "exponential"},
    catalogue_row<bipartite_ad_psgd<B>>{"bipartite_ad_psgd", 0.0625, ends::off_it, "star"},
    catalogue_row<a2cid2<B>>{"a2cid2", 0.0625, ends::off_it, "exponential"},
    catalogue_row<delayed_randomized_gossip<B>>{"delayed_randomized_gossip", 0.015625, ends::off_it, "exponential"},
    catalogue_row<sgp<B>>{"sgp", 0.125, ends::off_it, "exponential"},
    catalogue_row<osgp<B>>{"osgp", 0.125, ends::off_it, "exponential"},
    catalogue_row<rasgp<B>>{"rasgp", 0.0625, ends::off_it, "complete"},
    catalogue_row<async_model_average<B>>{"async_model_average", 0.0625, ends::off_it, "complete"},
    catalogue_row<local_sgd<B>>{"local_sgd", 0.0625, ends::off_it, "complete"},
    catalogue_row<post_local_sgd<B>>{"post_local_sgd", 0.0625, ends::off_it, "complete"},
    catalogue_row<slowmo<B>>{"slowmo", 0.03125, ends::off_it, "complete"},
    catalogue_row<diloco<B>>{"diloco", 0.015625, ends::off_it, "complete"},
    catalogue_row<streaming_diloco<B>>{"streaming_diloco", 0.015625, ends::off_it, "complete"},
    catalogue_row<sparse_loco<B>>{"sparse_loco", 0.0625, ends::off_it, "complete"},
    catalogue_row<ring_allreduce_sgd<B>>{"ring_allreduce_sgd", 0.102, ends::at_optimum, "ring"},
    catalogue_row<bucketed_allreduce_sgd<B>>{"bucketed_allreduce_sgd", 0.102, ends::at_optimum, "complete"},
    catalogue_row<byte_grad<B>>{"byte_grad", 0.147, ends::at_optimum, "complete"},
    catalogue_row<qadam<B>>{"qadam", 0.0078125, ends::off_it, "complete"},
    catalogue_row<power_sgd<B>>{"power_sgd", 0.0625, ends::at_optimum, "complete"},
    catalogue_row<non_blocking_allreduce<B>>{"non_blocking_allreduce", 0.0625, ends::off_it, "ring"},
    catalogue_row<m_synchronous_sgd<B>>{"m_synchronous_sgd", 0.147, ends::at_optimum, "star"},
    catalogue_row<quorum_diloco<B>>{"quorum_diloco", 0.015625, ends::off_it, "star"},
    catalogue_row<asgd<B>>{"asgd", 0.0798, ends::off_it, "star"},
    catalogue_row<rescaled_asgd<B>>{"rescaled_asgd", 0.102, ends::off_it, "star"},
    catalogue_row<ringmaster_asgd<B>>{"ringmaster_asgd", 0.125, ends::off_it, "star"},
    catalogue_row<delay_adaptive_asgd<B>>{"delay_adaptive_asgd", 0.0625, ends::off_it, "star"},
    catalogue_row<clipped_asgd<B>>{"clipped_asgd", 0.0625, ends::off_it, "star"},
    catalogue_row<dasgd<B>>{"dasgd", 0.0625, ends::off_it, "star"},
    catalogue_row<dc_asgd<B>>{"dc_asgd", 0.0625, ends::off_it, "star"},
    catalogue_row<naive_optimal_asgd<B>>{"naive_optimal_asgd", 0.0625, ends::off_it, "star"},
    catalogue_row<asgrad<B>>{"asgrad", 0.0625, ends::off_it, "star"},
    catalogue_row<rennala_sgd<B>>{"rennala_sgd", 0.0625, ends::off_it, "star"},
    catalogue_row<mindflayer<B>>{"mindflayer", 0.125, ends::off_it, "star"},
    catalogue_row<malenia_sgd<B>>{"malenia_sgd", 0.0625, ends::at_optimum, "star"},
    catalogue_row<ringleader_asgd<B>>{"ringleader_asgd", 0.0625, ends::at_optimum, "star"},
    catalogue_row<dude_asgd<B>>{"dude_asgd", 0.0625, ends::at_optimum, "star"},
    catalogue_row<dasa<B>>{"dasa", 0.0625, ends::off_it, "star"},
    catalogue_row<piag<B>>{"piag", 0.0625, ends::at_optimum, "star"},
    catalogue_row<fedbuff<B>>{"fedbuff", 0.0625, ends::off_it, "star"},
    catalogue_row<fedasync<B>>{"fedasync", 0.0625, ends::off_it, "star"},
    catalogue_row<async_diloco<B>>{"async_diloco", 0.0078125, ends::off_it, "star"},
};

/// visit(row) for each algorithm on backend B.
template<class B, class Visit>
void for_each_algorithm(Visit const& visit) {
  std::apply([&](auto const&... rows) { (visit(rows), ...); }, catalogue_of<B>);
}

}  // namespace rubato::examples
