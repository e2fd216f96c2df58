// SPDX-License-Identifier: MIT
// How one node in one process is to be driven (driver/peer.hpp).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/driver/pace.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/stop_token.hpp>

namespace rubato {

/// What happens when a peer dies, falls silent or never comes.
enum class when_lost : std::uint8_t {
  ends,     ///< the run, with a run_error that names the peer
  goes_on,  ///< without it: its edges close (law 11), and open again if it comes back
};

struct peer_options {
  /// A node that waits longer ends the run, or gives up the peer that it waits for and goes on. Each time it gives up
  /// the same peer again, its patience is half as long, down to a sixteenth. A peer that itself waits for another node
  /// is given more time.
  std::chrono::nanoseconds patience = std::chrono::seconds{30};
  /// The time after its end in which all peers should end too. It should be longer than the transport's silence, so
  /// that a peer that dies at the end is noticed.
  std::chrono::nanoseconds linger = std::chrono::seconds{6};
  std::chrono::nanoseconds look_every{};  ///< between two looks at this node; 0: at the start and the end only
  /// Memory for the models that looks keep until the end; at least that of eight models. If more would be needed, every
  /// second look is dropped and the interval doubles.
  std::size_t look_bytes = std::size_t{16} << 20;
  when_lost lost = when_lost::ends;
  environment::compute_model compute =
      environment::fixed({});  ///< least time of a gradient: a straggler sleeps, as on threads
  std::uint64_t compute_seed = 0;  ///< of the model's variation
  checkpoint_options checkpoint{};  ///< `end` counts from the resumption
  pace_options pace{};  ///< of nodes that never wait, where gradients are faster than links; .ahead = 0: none
  /// Called with each sentence of the result's warnings, `lost` and `returned`, once and as soon as it is known; what
  /// happens in the middle of a run is said with its time. (A loss that ends the run is thrown, and not said.)
  void (*says)(std::string_view sentence) = nullptr;
  observers watching{};  ///< see this node alone, at each look; one that asks for it ends this node as its time would
  /// Whether each look measures loss and accuracy at this node's model, which costs what the problem's loss costs; on a
  /// thread of its own, so a look that takes longer than look_every delays the next one and no message.
  bool measure_loss = false;
  stop_token stop{};  ///< ends this node, which tells the others so
};

}  // namespace rubato
