// SPDX-License-Identifier: MIT
// What nodes count about themselves, and the look into tracking state that conservation checks need.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/packet.hpp>

namespace rubato {

/// How old received values were where they were used for the first time: time from post to use on the run's clock.
struct age_counter {
  std::uint64_t uses = 0;
  double total_ns = 0;  ///< an integer would soon overflow if the clocks of hosts differ by a day
  std::chrono::nanoseconds largest{};
  static void visit_state(auto& self, auto&& visit) {
    visit("uses", self.uses), visit("total ns", self.total_ns), visit("largest", self.largest);
  }

  void add(std::chrono::nanoseconds age) {
    ++uses;
    total_ns += static_cast<double>(age.count());
    if (age > largest) largest = age;
  }
  void add(age_counter const& other) {
    uses += other.uses;
    total_ns += other.total_ns;
    if (other.largest > largest) largest = other.largest;
  }
  [[nodiscard]] auto mean_seconds() const -> double {
    return uses == 0 ? 0.0 : total_ns / 1e9 / static_cast<double>(uses);
  }
};

/// How a server weighed the gradients that came over one edge; all zero where no server weighs.
struct weight_counter {
  std::uint64_t uses = 0;           ///< gradients that entered a step
  double total = 0;                 ///< the sum of their weights, which are factors on the step
  double capped = 0;                ///< the part of it that a cap withheld
  std::uint64_t delay_total =
      0;    ///< versions of the model between the one they were computed at and the one they changed
  std::uint64_t delay_largest = 0;
  static void visit_state(auto& self, auto&& visit) {
    visit("uses", self.uses), visit("total", self.total), visit("capped", self.capped);
    visit("delay total", self.delay_total), visit("delay largest", self.delay_largest);
  }

  /// Of `times` gradients alike.
  void add(double weight, double kept_back, std::uint64_t delay, std::uint64_t times = 1) {
    uses += times;
    total += static_cast<double>(times) * weight;
    capped += static_cast<double>(times) * kept_back;
    delay_total += times * delay;
    if (times > 0 && delay > delay_largest) delay_largest = delay;
  }
  [[nodiscard]] auto mean_weight() const -> double { return uses == 0 ? 0.0 : total / static_cast<double>(uses); }
  [[nodiscard]] auto mean_delay() const -> double {
    return uses == 0 ? 0.0 : static_cast<double>(delay_total) / static_cast<double>(uses);
  }
};

/// One in-edge and channel of a node.
struct edge_statistics {
  node_id peer{};
  channel_id channel{};
  std::uint64_t accepted = 0;   ///< patches that brought something newer
  std::uint64_t overtaken = 0;  ///< patches that were duplicates or older than what was there
  age_counter age;
  weight_counter weights{};
  std::uint64_t refused = 0;  ///< of the accepted ones, models in whose place the node took its own (run/admission.hpp)
  std::uint64_t refused_last = 0;  ///< how many of them came since one was let in, or since the node began
};

struct node_statistics {
  std::uint64_t iterations = 0;  ///< local iterations completed
  std::uint64_t gradients = 0;  ///< gradients used
  std::uint64_t dropped = 0;  ///< gradients whose ticket was not the outstanding one
  std::vector<edge_statistics> edges;

  /// What was counted since `before`, an earlier look at the same node; largest values stay those of all its life, and
  /// `iterations` says where the node is.
  [[nodiscard]] auto since(node_statistics const& before) const -> node_statistics {
    auto s = *this;
    auto const subtract = [](auto& count, auto was) { count = count < was ? count : count - was; };  // it began anew
    subtract(s.gradients, before.gradients), subtract(s.dropped, before.dropped);
    for (auto& e : s.edges) {
      for (auto const& was : before.edges) {
        if (was.peer != e.peer || was.channel != e.channel) continue;
        subtract(e.accepted, was.accepted), subtract(e.overtaken, was.overtaken), subtract(e.refused, was.refused);
        subtract(e.age.uses, was.age.uses), subtract(e.age.total_ns, was.age.total_ns);
        subtract(e.weights.uses, was.weights.uses), subtract(e.weights.total, was.weights.total);
        subtract(e.weights.capped, was.weights.capped), subtract(e.weights.delay_total, was.weights.delay_total);
      }
    }
    return s;
  }
};

/// Tracking state in doubles, which hold 32-bit units exactly. In a fixed-point ledger values are units of q and
/// totals wrap at 2^32; otherwise they are plain values. Empty `tracker` means: this node tracks nothing.
/// in_model_units() gives any of these vectors in the units of models and gradients.
struct tracking_audit {
  struct edge {
    node_id peer{};
    channel_id channel{channel_id::tracker};
    std::vector<double> total;  ///< empty stands for zeros
  };
  bool fixed_point = false;
  std::vector<double> tracker;  ///< z
  std::vector<double> gradient;  ///< g, as it entered z
  std::vector<edge> pushed;  ///< rho: all ever pushed, per out-edge
  std::vector<edge> consumed;  ///< rho~: all ever consumed, per in-edge
  std::vector<double> quanta{};  ///< q of each block, or of all; empty: 1, values are plain
  std::size_t block_values = 0;  ///< of each block, where `quanta` has several

  /// q of that value: what one unit of the ledger is in the model's units.
  [[nodiscard]] auto quantum(std::size_t value) const -> double {
    if (quanta.empty()) return 1;
    return quanta.size() == 1 ? quanta[0] : quanta[value / block_values];
  }
  /// q times each value of tracker, gradient or a total (of which differences alone mean something, as they wrap).
  [[nodiscard]] auto in_model_units(std::vector<double> const& of_ledger) const -> std::vector<double> {
    auto plain = of_ledger;
    for (std::size_t i = 0; i < plain.size(); ++i) plain[i] *= quantum(i);
    return plain;
  }
};

}  // namespace rubato
