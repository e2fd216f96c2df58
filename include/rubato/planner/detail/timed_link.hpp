// SPDX-License-Identifier: MIT
// When messages arrive that a directed link carries in order and sends again when they are lost.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/random.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::planner::detail {

inline auto in_seconds(std::chrono::nanoseconds t) -> double { return std::chrono::duration<double>(t).count(); }

/// A message with a body of that many bytes: what it takes of a link.
struct message {
  double bytes = 0;  ///< with its header
  double sending = 0;  ///< seconds on the link
  message(environment::link_model const& link, double body)
      : bytes{body + static_cast<double>(wire::header_bytes)},
        sending{link.bits_per_second > 0 ? 8 * bytes / link.bits_per_second : 0.0} {}
  /// Tries that a message takes on a link that loses some.
  static auto tries(environment::link_model const& link) -> double { return 1 / (1 - link.mean_loss()); }
};

/// As an event channel of environment/network.hpp: a loss is noticed after two round trips, and what follows waits.
class timed_link {
 public:
  /// The time at which a message arrives that is sent at `now`. *requires* a mean loss below 1 (situation::check).
  auto arrival(environment::link_model const& link, message const& m, double now, random_stream& draw) -> double {
    auto const latency = in_seconds(link.latency);
    free_at_ = (std::max)(now, free_at_) + m.sending;
    auto at = free_at_ + latency + in_seconds(link.jitter) * (link.jitter.count() > 0 ? draw.uniform() : 0.0);
    auto const loss = link.mean_loss();
    while (loss > 0 && draw.chance(loss)) {
      at += 4 * latency + m.sending;
      free_at_ += m.sending;
    }
    return last_ = (std::max)(last_, at);
  }

 private:
  double free_at_ = 0, last_ = 0;
};

/// The times of gradients, worker by worker, in seconds.
class drawn_times {
 public:
  drawn_times(environment::compute_model const& model, std::size_t workers, std::uint64_t seed)
      : model_{&model}, seed_{seed}, draws_(workers) {}
  auto operator()(std::size_t worker) -> double {
    return in_seconds(model_->duration(seed_, to_node(static_cast<std::uint32_t>(worker)), draws_[worker]++));
  }

 private:
  environment::compute_model const* model_;
  std::uint64_t seed_;
  std::vector<std::uint64_t> draws_;
};

}  // namespace rubato::planner::detail
