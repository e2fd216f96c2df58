// SPDX-License-Identifier: MIT
// Common base of server_sgd, m_synchronous_sgd and mindflayer: both roles in one class (the neighbourhood says which
// one a node has), the gradient on its way to the server, and the model on its way back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/mixing/plan.hpp>

namespace rubato::detail {

/// The base of nodes on a star, with the server, node n, at its centre, or several: nodes n, n + 1, ... Models are
/// numbered by their version, from 0.
template<class Backend, class Options>
class server_core : public node_core<Backend, Options> {
  using core = node_core<Backend, Options>;

 public:
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("version", self.version_), visit("late", self.late_);
  }

 protected:
  server_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, Options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain, is_server(plan, self)},
        n_{plan.nodes[to_index(self)].nodes} {}

  [[nodiscard]] static auto is_server(mixing::plan const& plan, node_id self) -> bool {
    return plan.nodes[to_index(self)].part == mixing::role::server;
  }
  [[nodiscard]] auto serves() const -> bool { return to_index(this->self_) >= n_; }
  [[nodiscard]] auto server() const -> node_id { return to_node(n_); }

  // worker

  /// A cancelled job has used up its sample.
  void ask_next(shared_buffer point, outbox& out) { this->ask_gradient_at(std::move(point), this->requests_, out); }
  /// Sends the gradient; the caller sets the other fields.
  auto send_gradient(gradient& g, edge_session const& to, instant now, outbox& out) -> packet& {
    out.failure = spoilt_gradient(this->self_, server(), this->x_, g);
    auto& p = this->post(to, channel_id::gradient, std::move(g.value), now, out);
    p.number = iteration{this->gradients_};
    p.based_on = iteration{version_};
    return p;
  }
  /// Goes on at that model, at once, whatever is being computed.
  void go_on_at(shared_buffer model, std::uint64_t version, outbox& out) {
    this->x_ = std::move(model);
    version_ = version;
    this->pending_.cancel(out);
    ask_next(this->x_, out);
  }
  /// The edge to the server closes or opens: the job stops, at version 0, which is that of a restarted server.
  void wait_for_server(outbox& out) { wait_for(server(), out); }
  void wait_for(node_id one, outbox& out) {
    version_ = 0;
    this->pending_.cancel(out);
    out.wait = waiting{one, channel_id::model, iteration{1}};
  }

  // server

  /// What is wrong with a gradient that arrived.
  [[nodiscard]] auto wrong_gradient(patch const& p, channel_spec const& spec) const -> std::optional<fault> {
    if (auto wrong = malformed(p, this->blocks_, spec)) return wrong;
    return wrong_version(p);
  }
  [[nodiscard]] auto wrong_version(patch const& p) const -> std::optional<fault> {
    if (to_count(p.based_on) <= version_) return {};
    return fault{"node " + std::to_string(to_index(p.from)) + " sent a gradient at version " +
                 std::to_string(to_count(p.based_on)) + " of the model, and the server has only come to version " +
                 std::to_string(version_)};
  }

  std::size_t n_;  // workers
  std::uint64_t version_ = 0;
  std::uint64_t late_ = 0;  // gradients that arrived too late
};

}  // namespace rubato::detail
