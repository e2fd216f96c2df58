// SPDX-License-Identifier: MIT
// The simplest driver there is: all nodes act together. A round delivers all packets, then answers all gradients, so
// that synchronous algorithms can be compared with their dense matrix form.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/node.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/metrics.hpp>

namespace rubato::test {

/// Hands a whole packet to a node, as drivers do.
inline void hand_over(any_node& to, packet const& p, std::size_t blocks, outbox& out) {
  patch arrived{p.from,      p.to,        p.channel,      p.session, p.based_on,
                p.posted_at, {0, blocks}, {&p.number, 1}, p.body,    p.extra};
  to.on_patch({}, arrived, out);
}

/// What node 0 ends the run with when a message of that node comes that holds so many values; empty if it goes on.
template<class T>
auto complaint_of_size(assembly& a, node_id from, channel_id channel, std::uint64_t number, std::size_t values)
    -> std::string {
  outbox out;
  packet p;
  p.from = from;
  p.to = node_id{0};
  p.channel = channel;
  p.number = iteration{number};
  p.body = a.pool.allocate<T>(values).publish();
  hand_over(a.nodes[0], p, 1, out);
  return out.failure ? out.failure->sentence : "";
}

class lockstep {
 public:
  explicit lockstep(assembly a) : a_{std::move(a)}, requests_(a_.nodes.size()) {
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) {
      a_.nodes[i].start({}, out_);
      drain(i);
    }
    deliver();
  }

  /// Answers all gradients, then delivers what that caused. Afterwards every node has asked for its next gradient.
  void round() {
    auto const asked = std::exchange(requests_, std::vector<gradient_request>(a_.nodes.size()));
    for (std::size_t i = 0; i < asked.size(); ++i) {
      RUBATO_EXPECTS(asked[i].point, "in lock-step every node asks for a gradient in every round");
      a_.nodes[i].on_gradient({}, a_.oracle.evaluate(asked[i]), out_);
      drain(i);
    }
    deliver();
  }

  /// The model at which node i wants its next gradient.
  [[nodiscard]] auto point(std::size_t i) const -> std::vector<double> {
    std::vector<double> x;
    rubato::detail::widen(requests_[i].point, x);
    return x;
  }
  [[nodiscard]] auto body(std::size_t i) const -> shared_buffer const& { return requests_[i].point; }
  [[nodiscard]] auto nodes() -> std::vector<any_node>& { return a_.nodes; }
  [[nodiscard]] auto raw_step() const -> double { return a_.raw_step; }
  [[nodiscard]] auto failure() const -> std::string const& { return failure_; }

 private:
  void drain(std::size_t i) {
    if (out_.request) requests_[i] = std::move(*out_.request);
    for (auto& p : out_.packets) under_way_.push_back(std::move(p));
    if (out_.failure) failure_ = out_.failure->sentence;
    out_.clear();
  }
  void deliver() {
    while (!under_way_.empty()) {
      for (auto const& p : std::exchange(under_way_, {})) {
        hand_over(a_.nodes[to_index(p.to)], p, a_.blocks.blocks(), out_);
        drain(to_index(p.to));
      }
    }
  }

  assembly a_;
  std::vector<gradient_request> requests_;
  std::vector<packet> under_way_;
  std::string failure_;
  outbox out_;
};

}  // namespace rubato::test
