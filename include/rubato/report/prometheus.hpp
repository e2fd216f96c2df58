// SPDX-License-Identifier: MIT
// The status of one node in the text format that Prometheus reads (version 0.0.4).
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/core/ids.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/run/node_status.hpp>

namespace rubato::report {
namespace detail {

/// Between the quotes of a label.
inline auto label_text(std::string_view text) -> std::string {
  std::string out;
  for (auto const c : text) {
    if (c == '\n') out += "\\n";
    else if (c == '"' || c == '\\') (out += '\\') += c;
    else out += c;
  }
  return out;
}

class prometheus_writer {
 public:
  explicit prometheus_writer(node_status const& s)
      : status_{&s}, node_{"node=\"" + std::to_string(to_index(s.id)) + "\""} {}

  void metric(std::string const& name, char const* type, char const* help) {
    name_ = "rubato_" + name;
    text += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
  }
  /// A double, or a whole number.
  template<class Value>
  void sample(Value value, std::string const& labels = {}) {
    text += name_ + "{" + node_ + (labels.empty() ? "" : "," + labels) + "} " + number(value) + "\n";
  }
  template<class Value>
  void one(std::string const& name, char const* type, char const* help, Value value) {
    metric(name, type, help);
    sample(value);
  }
  /// A metric with a sample for each neighbour; `value_of` is a callable on a neighbour_status.
  template<class Value>
  void by_peer(std::string const& name, char const* type, char const* help, Value value_of) {
    metric(name, type, help);
    for (auto const& n : status_->neighbours) sample(value_of(n), "peer=\"" + std::to_string(to_index(n.peer)) + "\"");
  }

  std::string text;

 private:
  static auto number(std::uint64_t n) -> std::string { return std::to_string(n); }
  static auto number(double x) -> std::string {
    if (std::isnan(x)) return "NaN";
    return std::isinf(x) ? (x > 0 ? "+Inf" : "-Inf") : shortest(x);
  }
  node_status const* status_;
  std::string node_;
  std::string name_;
};

inline void add_neighbours(prometheus_writer& w) {
  w.by_peer("edge_bytes_sent_total", "counter", "Bytes sent to this peer, bodies and headers.",
            [](auto const& n) { return n.bytes_sent; });
  w.by_peer("edge_packets_sent_total", "counter", "Messages sent to this peer.",
            [](auto const& n) { return n.packets_sent; });
  w.by_peer("edge_packets_lost_total", "counter", "Messages to this peer that were dropped here.",
            [](auto const& n) { return n.packets_lost; });
  w.by_peer("edge_bytes_received_total", "counter", "Bytes of bodies that came from this peer.",
            [](auto const& n) { return n.bytes_received; });
  w.by_peer("edge_delivered_total", "counter", "Messages of this peer handed to the node.",
            [](auto const& n) { return n.delivered; });
  w.by_peer("edge_models_refused_total", "counter", "Models of this peer that the rule of admission refused.",
            [](auto const& n) { return n.refused; });
  w.by_peer("edge_uses_total", "counter", "Values of this peer that the node used.",
            [](auto const& n) { return n.age.uses; });
  w.by_peer("edge_age_seconds_total", "counter", "Sum of the ages of values of this peer where they were used.",
            [](auto const& n) { return n.age.total_ns / 1e9; });
  w.by_peer("edge_age_seconds", "gauge", "Age of this peer's values in the last seconds; grows while none comes.",
            [](auto const& n) { return n.recent_age_s; });
}

}  // namespace detail

/// To be served as text/plain; version=0.0.4. The residual is NaN where the algorithm has no tracking law or
/// nobody has looked yet, and so is a loss that is not known.
[[nodiscard]] inline auto prometheus_text(node_status const& s) -> std::string {
  auto w = detail::prometheus_writer{s};
  w.metric("run_info", "gauge", "What this process runs.");
  w.sample(std::uint64_t{1}, "algorithm=\"" + detail::label_text(s.algorithm) + "\",network=\"" +
                                 detail::label_text(s.network) + "\",phase=\"" + std::string{name_of(s.at)} + "\"");
  w.one("ran_seconds", "gauge", "Time since all nodes had come.", seconds_of(s.ran));
  w.one("iterations_total", "counter", "Local iterations completed.", s.iterations);
  w.one("gradients_total", "counter", "Gradients computed.", s.gradients);
  w.one("gradients_dropped_total", "counter", "Gradients that were no longer wanted.", s.dropped);
  w.one("bytes_sent_total", "counter", "Bytes sent to all peers, bodies and headers.", s.bytes_sent());
  w.one("iterations_per_second", "gauge", "Local iterations in the last seconds.", s.iterations_a_second);
  w.one("gradients_per_second", "gauge", "Gradients in the last seconds.", s.gradients_a_second);
  w.one("loss", "gauge", "Loss at this node's own model, when it was measured last.", newest_loss(s));
  w.one("tracking_residual", "gauge",
        "This node's share of the tracking law, in units of its ledger: 0 in a sound run, but for rounding.",
        newest_residual(s));
  w.one("resident_bytes", "gauge", "Memory of this process in use.", s.resident_bytes);
  detail::add_neighbours(w);
  w.metric("peer_standing", "gauge", "1 for how this node sees the peer.");
  for (auto const& n : s.neighbours) {
    w.sample(std::uint64_t{1},
             "peer=\"" + std::to_string(to_index(n.peer)) + "\",standing=\"" + std::string{name_of(n.is)} + "\"");
  }
  return w.text;
}

}  // namespace rubato::report
