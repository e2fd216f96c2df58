// SPDX-License-Identifier: MIT
// The result of a run, as plain data: the history of its metrics, and its counters.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/edge_report.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/statistics.hpp>

namespace rubato {

/// When a run ends: at a time on its clock, at a loss, or after a number of gradients of all nodes together, whichever
/// is first. After that many gradients no further one is used, and the run ends when no message that they led to is
/// under way any more. So k n gradients are k rounds of n nodes. (A process counts the gradients of its own node, and
/// ends when the node asks for the next one.)
struct until {
  std::chrono::nanoseconds time = (std::chrono::nanoseconds::max)();
  double target_loss = -std::numeric_limits<double>::infinity();
  std::uint64_t gradients = (std::numeric_limits<std::uint64_t>::max)();

  /// Whether nothing ends the run.
  [[nodiscard]] auto never() const -> bool {
    return time == (std::chrono::nanoseconds::max)() && !(target_loss > -std::numeric_limits<double>::infinity()) &&
           gradients == (std::numeric_limits<std::uint64_t>::max)();
  }
  /// Throws config_error unless a run can reach these ends.
  void check() const {
    if (time.count() < 0) throw config_error{"a run cannot end at a time below 0"};
    if (std::isnan(target_loss)) throw config_error{"a target loss must be a number"};
  }
};

/// `observer`: an observer asked for it (run/observer.hpp). `interrupted`: a stop token did. `neighbour`: this process
/// waited for a message of a neighbour that has ended its run, and that may not be gone on without, or was saved with
/// all others at the round at which another one ended.
enum class stop_reason : std::uint8_t { time, target_loss, gradients, interrupted, observer, neighbour };

constexpr auto name_of(stop_reason r) -> std::string_view {
  switch (r) {
    case stop_reason::time:
      return "time";
    case stop_reason::target_loss:
      return "target loss";
    case stop_reason::gradients:
      return "gradients";
    case stop_reason::interrupted:
      return "interrupted";
    case stop_reason::observer:
      return "observer";
    case stop_reason::neighbour:
      return "neighbour";
  }
  return "";
}

/// One look at all nodes. NaN where a problem has no such measure.
struct measurement {
  std::chrono::nanoseconds at{};
  double loss = std::numeric_limits<double>::quiet_NaN();  ///< F at the mean of the nodes' models
  double accuracy = std::numeric_limits<double>::quiet_NaN();  ///< held-out, at the mean model
  double consensus_distance = 0;  ///< root mean square over nodes of |x_i - mean x|
  /// Max norm of sum z + in flight - sum g over all nodes, in the ledger's units. On threads, running nodes cannot be
  /// looked at in one instant. There it is the largest residual of a single node (see local_residual); only the last
  /// entry, when all threads have ended, is the sum over all nodes.
  double tracking_residual = 0;
  std::uint64_t gradients = 0;  ///< computed by all nodes so far (see node_report)
  std::uint64_t bytes_sent = 0;  ///< by all nodes so far: bodies and frame headers, retransmissions included

  static void visit_state(auto& self, auto&& visit) {
    visit("at", self.at), visit("loss", self.loss), visit("accuracy", self.accuracy);
    visit("consensus distance", self.consensus_distance), visit("tracking residual", self.tracking_residual);
    visit("gradients", self.gradients), visit("bytes_sent", self.bytes_sent);
  }
};

/// Where processes or threads went on from a checkpoint, all that a result counts is counted from then on: times,
/// gradients, bytes. Iterations alone say where a node is, so they include those before. (A simulation that goes on is
/// one with the one that was cut.)
struct node_report {
  node_id id{};
  std::uint64_t iterations = 0;
  std::uint64_t gradients = 0;  ///< used
  std::uint64_t dropped = 0;  ///< gradients that were no longer wanted
  std::uint64_t iterations_before = 0;  ///< those of `iterations` before processes or threads resumed from a checkpoint

  static void visit_state(auto& self, auto&& visit) {
    visit("id", self.id), visit("iterations", self.iterations), visit("gradients", self.gradients);
    visit("dropped", self.dropped), visit("iterations_before", self.iterations_before);
  }
};

/// What a result repeats of the assembled run.
struct run_setup {
  std::string algorithm;  ///< the node type's name; a program may put its own in its place
  std::string network;  ///< topology and weights
  double step = 0;  ///< as asked; the largest, where nodes have steps of their own
  double raw_step = 0;  ///< gamma, as used: step / gain
  double gain = 1;
  std::vector<std::pair<std::string, std::string>> options;  ///< names and values, the policies' as "policy option"

  static void visit_state(auto& self, auto&& visit) {
    visit("algorithm", self.algorithm);
    visit("network", self.network), visit("step", self.step), visit("raw_step", self.raw_step);
    visit("gain", self.gain), visit("options", self.options);
  }
};

struct run_result : run_setup {
  stop_reason stopped = stop_reason::time;
  std::chrono::nanoseconds ended{};
  std::uint64_t events = 0;  ///< gradients computed and packets delivered
  std::optional<std::chrono::nanoseconds> time_to_target;  ///< first measurement at or below the target loss
  std::vector<measurement> history;
  std::vector<node_report> nodes;
  std::vector<edge_report> edges;
  std::vector<std::string> warnings;  ///< sentences about what may have spoiled the result
  std::vector<shared_buffer> models;  ///< final estimate of each measured node (run/assemble.hpp); on the host
  /// Who is not there at the end, where members come and go: of these, models are those with which they went.
  std::vector<node_id> absent{};

  static void visit_state(auto& self, auto&& visit) {
    run_setup::visit_state(self, visit);
    visit("stopped", self.stopped), visit("ended", self.ended), visit("events", self.events);
    visit("time_to_target", self.time_to_target), visit("history", self.history), visit("nodes", self.nodes);
    visit("edges", self.edges), visit("warnings", self.warnings), visit("models", self.models);
    visit("absent", self.absent);
  }
};

/// The vector whose values these bodies hold one after the other, as several servers do that share a model; on the
/// host.
[[nodiscard]] inline auto joined(std::span<shared_buffer const> parts) -> shared_buffer {
  std::size_t size = 0;
  for (auto const& p : parts) size += p.size();
  auto const copy = [&]<class T>(T) {
    auto whole = buffer_pool{}.template allocate<T>(size);
    auto* to = whole.data();
    for (auto const& p : parts) {
      auto const here = p.on_host();
      to = std::copy_n(here.template view<T>().data(), here.size(), to);
    }
    return std::move(whole).publish();
  };
  return !parts.empty() && parts[0].kind() == element::f32 ? copy(float{}) : copy(double{});
}

}  // namespace rubato
