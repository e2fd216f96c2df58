// SPDX-License-Identifier: MIT
// m-synchronous SGD, a server and n workers: a round takes the first m gradients at the present model; the others are
// cancelled. The honest synchronous baseline: near time-optimal under random compute times (arXiv 2602.03802).
//   (M.G)  worker i: g_i at x_k, sent to the server; a newer model cancels the computation
//   (M.X)  server: x_{k+1} <- x_k - gamma (1/m) sum of the first m gradients at x_k, summed by id; sent to all
// invariant: with m = n this is SGD on the mean gradient, whatever the speeds   tests/unit/algorithm/m_synchronous_sgd.cpp
// differs from a mean over data: with m < n and data that differs from node to node, the slow nodes' data counts less.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/finite.hpp>
#include <rubato/algorithm/incoming.hpp>
#include <rubato/algorithm/mean_step.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

/// Both roles in one class; the neighbourhood says which one a node has. Needs lossless, ordered links. A worker that comes
/// (back) is given the present model, and one whose server is gone waits for it. With m = n a lost worker ends the run.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step = step::sgd>
class m_synchronous_sgd {
  static_assert(step::check_step<Step, Backend>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "m-synchronous SGD"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.x_.size());
    visit("seed", self.seed_), visit("step", self.step_state_), visit("x", self.x_);
    visit("first", self.first_), visit("ends", self.ends_), visit("received", self.received_), visit("ages", self.ages_);
    visit("order", self.order_), visit("arrived", self.arrived_), visit("version", self.version_), visit("gradients", self.gradients_);
    visit("late", self.late_), visit("draws", self.draws_), visit("gradient asked for", self.asked_);
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    std::size_t m = 0;  ///< gradients that a round takes; 0: all n
    Step step_rule{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("m", self.m);
      visit("step rule", self.step_rule);
    }
  };

  /// A star of its own around an extra node, whatever the network.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    return mixing::server_plan(network.pull().nodes());
  }
  static constexpr bool calibrates = false;
  static void agree(options& o, block_partition const&, std::span<double const>, std::size_t nodes) {
    if (o.m > nodes) {
      throw config_error{"a round cannot take " + std::to_string(o.m) + " gradients from " + std::to_string(nodes) +
                         " workers; give m in 1 to " + std::to_string(nodes) + ", or 0 for all"};
    }
    if (o.m == 0) o.m = nodes;
  }
  static constexpr std::array<channel_spec, 2> all_channels{
      channel_spec{channel::model, channel_kind::event, element_of<scalar>},
      channel_spec{channel::gradient, channel_kind::event, element_of<scalar>, carrying(scalar_slot::loss)}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  m_synchronous_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        serves_{plan.nodes[to_index(self)].part == mixing::role::server},
        n_{plan.nodes[to_index(self)].nodes},
        m_{o.m == 0 ? n_ : o.m},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        blocks_{partition_of(o, x0.size())},
        step_state_{o.step_rule, backend_, serves_ ? x0.size() : 0},  // workers take no step
        x_{std::move(x0)},
        first_{serves_ ? shared_buffer{} : x_},
        ends_(serves_ ? n_ : 1),
        received_(serves_ ? n_ : 0),
        ages_(serves_ ? n_ : 1) {}

  void start(instant, outbox& out) {
    if (!serves_) request_gradient(out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const end = serves_ ? to_index(p.from) : 0;
    if (end >= ends_.size() || !ends_[end].open || !(p.life == ends_[end].incoming)) return;  // of another life of this edge
    if (serves_ && p.lane == channel::gradient && to_index(p.from) < n_) collect(now, p, out);
    else if (!serves_ && p.lane == channel::model && p.from == server()) follow(now, p, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    ++gradients_;
    out.failure = detail::spoilt_gradient(self_, server(), x_, g);
    auto p = packet_to(server(), channel::gradient, now);
    p.number = iteration{gradients_};
    p.based_on = iteration{version_};
    p.body = std::move(g.value);  // (M.G)
    p.extra.set(scalar_slot::loss, g.loss);
    out.packets.push_back(std::move(p));
    out.wait = waiting{server(), channel::model, iteration{version_ + 1}};
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    auto const peer = to_index(change.peer);
    auto const opens = change.what == neighbour_change::edge::opens;
    if (serves_ ? peer >= n_ : change.peer != server()) return;
    ends_[serves_ ? peer : 0] = {change.incoming, change.outgoing, opens};
    if (serves_) {
      if (opens && version_ > 0) give_model(peer, now, out);
      if (opens || m_ < n_) return;
      out.failure = fault{"node " + std::to_string(peer) + " left a run that needs it every round"};
      return;
    }
    order_ = {};
    version_ = 0;  // until the server says more: one that was started again needs gradients there
    asked_.cancel(out);
    if (!opens) out.wait = waiting{server(), channel::model, iteration{1}};
    else if (draws_ > 0) asked_.ask(first_, {seed_, self_, draws_++}, out);  // else it has not begun
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{version_, gradients_, asked_.dropped() + late_, {}};
    for (std::size_t i = 0; i < ages_.size(); ++i) {
      auto const peer = serves_ ? to_node(i) : server();
      s.edges.push_back({peer, serves_ ? channel::gradient : channel::model, ages_[i].uses, 0, ages_[i]});
    }
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

 private:
  /// The other end of an edge: of a worker's one edge, or by worker.
  struct other_end {
    session incoming{}, outgoing{};
    bool open = true;
    static void visit_state(auto& self, auto&& visit) {
      visit("incoming", self.incoming), visit("outgoing", self.outgoing), visit("open", self.open);
    }
  };

  [[nodiscard]] auto server() const -> node_id { return to_node(n_); }

  [[nodiscard]] auto packet_to(node_id to, channel lane, instant now) const -> packet {
    packet p;
    p.from = self_;
    p.to = to;
    p.lane = lane;
    p.life = ends_[serves_ ? to_index(to) : 0].outgoing;
    p.posted_at = now;
    return p;
  }

  void give_model(std::size_t worker, instant now, outbox& out) const {
    auto p = packet_to(to_node(worker), channel::model, now);
    p.number = iteration{version_};
    p.body = x_;
    out.packets.push_back(std::move(p));
  }

  void request_gradient(outbox& out) { asked_.ask(x_, {seed_, self_, draws_++}, out); }

  /// Worker: a new model ends whatever was computed at the old one.
  void follow(instant now, patch const& p, outbox& out) {
    out.failure = detail::malformed(p, blocks_, all_channels[0]);
    if (!out.failure) out.failure = order_.follow(p);
    if (out.failure) return;
    ages_[0].add(now - p.posted_at);
    x_ = p.body;
    version_ = to_count(p.numbers[0]);
    asked_.cancel(out);
    request_gradient(out);
  }

  /// Server: takes a gradient of the present round; late ones are dropped.
  void collect(instant now, patch const& p, outbox& out) {
    auto const from = to_index(p.from);
    out.failure = detail::malformed(p, blocks_, all_channels[1]);
    if (!out.failure && to_count(p.based_on) > version_) {
      out.failure = fault{"node " + std::to_string(from) + " sent a gradient at model " + std::to_string(to_count(p.based_on)) +
                          ", and the server has only come to model " + std::to_string(version_)};
    }
    if (out.failure) return;
    if (to_count(p.based_on) != version_ || received_[from]) {
      ++late_;
      return;
    }
    ages_[from].add(now - p.posted_at);
    received_[from] = p.body;
    if (++arrived_ < m_) return;
    auto const sum = summed();
    if (!detail::step_on(backend_, x_, step_state_.next(gamma_), {sum.data(), scalar{1} / static_cast<scalar>(m_)})) {  // (M.X)
      auto blame = detail::blame{self_};
      for (std::size_t i = 0; i < n_; ++i) {
        if (received_[i]) blame.message(to_node(i), channel::gradient, received_[i]);
      }
      out.failure = blame.sentence();
    }
    ++version_;
    arrived_ = 0;
    std::fill(received_.begin(), received_.end(), shared_buffer{});
    for (std::size_t i = 0; i < n_; ++i) {
      if (ends_[i].open) give_model(i, now, out);
    }
  }

  /// The sum of what came, by id, so that its rounding does not depend on who was first.
  [[nodiscard]] auto summed() -> writable_buffer<scalar> {
    auto sum = backend_.template allocate<scalar>(x_.size());
    auto const all = range{0, x_.size()};
    backend_.sweep(all, backend::zero_kernel<scalar>{sum.data()});
    for (auto const& g : received_) {
      if (g) backend_.sweep(all, backend::add_kernel<scalar>{g.template view<scalar>().data(), sum.data(), scalar{1}});
    }
    return sum;
  }

  Backend backend_;
  node_id self_;
  bool serves_;
  std::size_t n_;
  std::size_t m_;
  double gamma_;
  std::uint64_t seed_;
  block_partition blocks_;
  typename Step::template state<Backend> step_state_;
  shared_buffer x_;
  shared_buffer first_;                  // worker: the common first model, version 0
  std::vector<other_end> ends_;
  std::vector<shared_buffer> received_;  // server: this round's, by worker
  std::vector<age_counter> ages_;
  detail::message_order order_;          // worker: of the server
  std::size_t arrived_ = 0;
  std::uint64_t version_ = 0, gradients_ = 0, late_ = 0, draws_ = 0;
  detail::asked_gradient asked_;
};

}  // namespace rubato
