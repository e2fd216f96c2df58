// SPDX-License-Identifier: MIT
// Non-blocking: when the fastest nodes have finished their batches, all nodes contribute what they have finished and go
// on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::contribution {

/// How nodes that finished different numbers of mini-batches are weighed against each other.
enum class weigh : std::uint8_t {
  samples,  ///< all mini-batches count alike: least variance, but data that only a slow node holds count less
  nodes,  ///< all nodes that finished any count alike, as if they had finished all: for data that differs by node
};
constexpr auto name_of(weigh by) -> std::string_view { return by == weigh::samples ? "samples" : "nodes"; }

/// Policy, see contribution::all. The mini-batch under way at the signal is cancelled, and its sample is taken up again
/// at the next model: no stale gradient enters, and no sample is lost. A node that needs longer than a round for one
/// mini-batch never contributes; then divide the batch into more mini-batches. Source: He, Dube, arXiv 2211.00889; both
/// weightings and the cancelling are ours, the paper's are not known to us.
struct finished {
  static constexpr auto name() -> std::string_view { return "finished"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("mini-batches", self.minibatches,
          "parts into which a batch is divided, of which those count that are finished in time"),
        visit("weigh by", self.by, "samples: all mini-batches count alike; nodes: all nodes do that finished any");
  }
  static constexpr bool follows_the_fastest = true;
  std::size_t minibatches = 4;
  weigh by = weigh::samples;
  [[nodiscard]] auto counted(std::size_t done) const -> std::size_t {
    return by == weigh::samples || done == 0 ? done : minibatches;
  }
};

}  // namespace rubato::contribution
