// SPDX-License-Identifier: MIT
// One node's edges: from whom it pulls models, from whom and to whom tracked gradient flows. Sorted by id, so that every
// sum has one order; an edge can close and open again (law 11).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/algorithm/incoming.hpp>
#include <rubato/algorithm/mailbox.hpp>
#include <rubato/algorithm/wide_total.hpp>
#include <rubato/core/statistics.hpp>

namespace rubato::detail {

/// What every edge has: its other end, its life, and whether it is open.
struct edge_life {
  node_id peer{};
  session life{};
  bool open = true;
};

/// v_j of one in-neighbour of the pull graph.
template<class Backend, class T>
struct model_in : edge_life {
  double weight = 0;
  mailbox<Backend, T> box{};
  message_order order{};
  std::size_t lead = 1;  // messages that may wait in the box, where every one counts
  std::uint64_t accepted = 0;
  std::uint64_t overtaken = 0;
  age_counter age{};
};

/// rho_ij and rho~_ij of one in-neighbour of the push graph.
template<class Backend, class U>
struct sum_in : edge_life {
  mailbox<Backend, U> box{};
  message_order order{};
  std::size_t lead = 1;  // as of models
  std::uint64_t accepted = 0;
  std::uint64_t overtaken = 0;
  age_counter age{};
  shared_buffer consumed_whole{};        // rho~ by reference, while vectors come whole
  writable_buffer<U> consumed_parts{};   // rho~ as a copy, once they come in parts
  std::vector<iteration> consumed_numbers{};  // per block, in parts only
  iteration consumed_number{};
  wide_total<Backend, U> wide{};

  [[nodiscard]] auto consumed() const -> U const* {
    if (consumed_parts) return consumed_parts.data();
    return consumed_whole.template view<U>().data();
  }

  /// rho~ <- rho: free for whole vectors; copies the blocks that are new otherwise.
  void mark_consumed(Backend& backend, block_partition const& blocks, instant now) {
    if (box.values() == nullptr) return;
    if (box.is_whole()) {
      if (box.of(0).number > consumed_number) age.add(now - box.of(0).posted);
      consumed_number = box.of(0).number;
      consumed_whole = box.whole();
      consumed_parts = {};
      consumed_numbers.clear();
      return;
    }
    if (!consumed_parts) begin_parts(backend, blocks);
    for (std::size_t block = 0; block < blocks.blocks(); ++block) {
      if (!(box.of(block).number > consumed_numbers[block])) continue;
      auto const r = blocks.values_of({block, block + 1});
      backend.sweep(r, backend::copy_kernel<U>{box.values(), consumed_parts.data()});
      consumed_numbers[block] = box.of(block).number;
      age.add(now - box.of(block).posted);
    }
    consumed_number = box.number();
  }

  void reset() {
    box.clear();
    order = {};
    consumed_whole = {};
    consumed_parts = {};
    consumed_numbers.clear();
    consumed_number = {};
    wide = {};
  }

 private:
  void begin_parts(Backend& backend, block_partition const& blocks) {
    consumed_parts = backend.template allocate<U>(blocks.values());
    auto const all = range{0, blocks.values()};
    if (consumed_whole) {
      backend.sweep(all, backend::copy_kernel<U>{consumed_whole.template view<U>().data(), consumed_parts.data()});
    } else {
      backend.sweep(all, backend::zero_kernel<U>{consumed_parts.data()});
    }
    consumed_numbers.assign(blocks.blocks(), consumed_number);
    consumed_whole = {};
  }
};

/// rho_ji of one out-neighbour of the push graph: the state is the last body published.
template<class Backend, class U>
struct sum_out : edge_life {
  double weight = 0;
  shared_buffer total{};
  writable_buffer<U> fresh{};
  wide_total<Backend, U> wide{};
};

/// A receiver of this node's model.
struct model_out : edge_life {};

/// The edge to or from `peer`, or null.
template<class Edge>
auto find_edge(std::vector<Edge>& edges, node_id peer) -> Edge* {
  auto const at = std::lower_bound(edges.begin(), edges.end(), peer,
                                   [](Edge const& e, node_id id) { return e.peer < id; });
  return at != edges.end() && at->peer == peer ? &*at : nullptr;
}

}  // namespace rubato::detail
