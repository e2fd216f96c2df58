// SPDX-License-Identifier: MIT
// Synchronous SGD by all-reduce and what BAGUA (arXiv 2107.01499) relaxes of it, as rows that programs run by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include <rubato/mixing/named_rounds.hpp>
#include <rubato/rubato.hpp>
#include <rubato/topology/builders.hpp>

namespace bench {

template<class Node>
struct relaxation {
  std::string_view name;
  std::string_view network;  ///< a graph, or rounds; see mixing::rounds_by_name
  double step = 0.1;  ///< first guess of a search
  void (*set)(typename Node::options&) = nullptr;

  /// The nodes of a run.
  template<class Problem>
  [[nodiscard]] auto assembled(Problem const& p, std::size_t nodes, double with_step, std::uint64_t seed) const
      -> rubato::assembly {
    auto o = typename Node::options{};
    o.step = with_step, o.seed = seed;
    if (set != nullptr) set(o);
    if (auto const rounds = rubato::mixing::rounds_by_name(network, nodes)) {
      if constexpr (requires { Node::make_plan(*rounds); }) return rubato::assemble<Node>(*rounds, p, o);
    }
    return rubato::assemble<Node>(rubato::topology::pair{rubato::topology::by_name(network, nodes)}, p, o);
  }
};

/// Plain all-reduce first.
template<class B>
[[nodiscard]] auto relaxations() {
  using namespace rubato;
  return std::tuple{
      relaxation<ring_allreduce_sgd<B>>{"ring_allreduce_sgd", "complete"},
      relaxation<byte_grad<B>>{"byte_grad", "complete"},
      relaxation<qadam<B>>{"qadam", "complete", 0.002, [](auto& o) { o.warm_up = 20; }},
      relaxation<d_psgd<B>>{"d_psgd_ring", "ring"},
      relaxation<d_psgd<B>>{"d_psgd_shift_one", "shift-one"},
      relaxation<d_psgd<B>>{"d_psgd_every_4", "shift-one:4"},
      relaxation<low_precision_d_psgd<B>>{"low_precision_d_psgd", "ring"},
      relaxation<async_model_average<B>>{"async_model_average", "complete"},
  };
}

}  // namespace bench
