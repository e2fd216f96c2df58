// SPDX-License-Identifier: MIT
// D-PSGD that sends compressed differences (DCD-PSGD), node i.   Source: Tang et al., arXiv 1803.06443, and BAGUA's
// low-precision decentralised SGD, arXiv 2107.01499.   W symmetric, doubly stochastic; w_j: the published model of node j.
//   (D.Z)  z   = [sum_j w_ij w_j - gamma g(w_i)] - w_i                       where D-PSGD would go, as a difference
//   (D.Q)  q_i = Q(z), sent to all neighbours
//   (D.W)  w_i <- w_i + decode(q_i);  w_j <- w_j + decode(q_j)               the same sum at every end
// invariant: w_i at node i and its replicas at all neighbours are equal bit for bit, round by round
//                                                                 tests/unit/algorithm/low_precision_d_psgd.cpp
// differs from [BAGUA]: any such W instead of thirds on a ring; the gradient is computed while messages travel, at w_i.
// Passes a round with k neighbours, in vectors: reads w, k replicas, g, writes z; encodes z; decodes k + 1 differences into
// a scratch vector and adds each (reads 2, writes 1). Memory: w, z, a scratch vector, k replicas.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/finite.hpp>
#include <rubato/algorithm/gossip_kernel.hpp>
#include <rubato/algorithm/incoming.hpp>
#include <rubato/algorithm/neighbours.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

/// z <- rule(w_ii w + sum_j w_ij w_j, g) - w: reads w, g and the replicas, writes z.
template<class T, class Rule>
struct difference_kernel {
  T const* w;
  T const* g;
  T* z;
  T self_weight;
  table<model_source<T>> replicas;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const own = at.load(w);
    auto mixed = self_weight * own;
    for (std::size_t j = 0; j < replicas.size; ++j) {
      mixed = mixed + replicas.entries[j].weight * at.load(replicas.entries[j].values);
    }
    auto const difference = rule(at, mixed, at.load(g)) - own;
    at.expect_finite(difference);
    at.store(z, difference);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t {
    return (3 + replicas.size) * sizeof(T) + Rule::bytes_per_value();
  }
};

/// What a node knows of a neighbour's published model.
template<class T>
struct replica_of_neighbour : edge_life {
  double weight = 0;
  writable_buffer<T> values{};
  std::uint64_t round = 0;  // of values
  struct difference {
    iteration number{};
    instant posted{};
    shared_buffer body{};
    static void visit_state(auto& self, auto&& visit) {
      visit("number", self.number), visit("posted", self.posted), visit("body", self.body);
    }
  };
  std::vector<difference> ahead{};  // in order; a neighbour is ahead by two rounds at most
  std::uint64_t accepted = 0;
  age_counter age{};
  static void visit_state(auto& self, auto&& visit) {
    edge_life::visit_state(self, visit);
    visit("values", self.values), visit("round", self.round), visit("ahead", self.ahead);
    visit("accepted", self.accepted), visit("age", self.age);
  }
};

}  // namespace detail

/// Waits for its neighbours' last round before it mixes. Needs lossless, ordered links and a fixed neighbourhood: one lost
/// difference would part a model from its replicas for good. The codec must be fine enough for the graph; minmax_u8 is.
/// Ends where d_psgd ends: differences fade, and their rounding with them.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::minmax_u8, class Step = step::sgd>
class low_precision_d_psgd {
  static constexpr auto delivery = channel_kind::event;
  static_assert(step::check_step<Step, Backend>() && codec::check_codec<Codec, Backend, delivery>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "low-precision D-PSGD"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.w_.size());
    visit("seed", self.seed_), visit("step", self.step_state_), visit("w", self.w_), visit("g", self.g_), visit("edges", self.edges_);
    visit("rounds", self.rounds_), visit("gradient asked for", self.asked_);
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    Step step_rule{};
    Codec codec{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("step rule", self.step_rule);
      visit("codec", self.codec);
    }
  };

  /// Metropolis-Hastings weights on the network taken as undirected.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan { return mixing::gossip_plan(network); }
  static constexpr bool calibrates = false;
  static void agree(options&, block_partition const&, std::span<double const>, std::size_t) {}
  static auto channels() -> std::span<channel_spec const> {
    static constexpr std::array<channel_spec, 1> all{
        channel_spec{channel::model, delivery, element_of<typename Codec::template code<scalar>>}};
    return all;
  }

  /// Throws config_error on a bad step or a neighbour who would not listen back.
  low_precision_d_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        self_weight_{static_cast<scalar>(plan.nodes[to_index(self)].pull_self)},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        codec_{o.codec},
        step_state_{o.step_rule, backend_, x0.size()},
        w_{std::move(x0)} {
    connect(plan.nodes[to_index(self)]);
  }

  void start(instant, outbox& out) { request_gradient(out); }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto* const edge = p.lane == channel::model ? detail::find_edge(edges_, p.from) : nullptr;
    if (edge == nullptr || !(p.life == session{})) return;
    out.failure = detail::malformed(p, channels()[0].values, codec_.template codes<scalar>(w_.size()));
    if (out.failure) return;
    if (p.numbers[0] != iteration{edge->round + edge->ahead.size() + 1}) {
      out.failure = fault{"message " + std::to_string(to_count(p.numbers[0])) + " of node " + std::to_string(to_index(p.from)) +
                          " came where message " + std::to_string(edge->round + edge->ahead.size() + 1) +
                          " was next: one that is lost parts a model from its replicas for good"};
      return;
    }
    if (p.numbers[0] > iteration{rounds_ + 1}) {
      out.failure = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " needs what node " + std::to_string(to_index(self_)) +
                          " has not sent yet, in round " + std::to_string(rounds_ + 1)};
      return;
    }
    edge->ahead.push_back({p.numbers[0], p.posted_at, p.body});
    ++edge->accepted;
    if (g_) go_on(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    g_ = std::move(g.value);
    go_on(now, out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  /// A replica cannot be taken up again in the middle.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (detail::find_edge(edges_, change.peer) == nullptr) return;
    out.failure = fault{"the edge to node " + std::to_string(to_index(change.peer)) +
                        " changed, and compressed differences need fixed neighbours; use d_psgd where they change"};
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return w_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{rounds_, rounds_ + (g_ ? 1 : 0), asked_.dropped(), {}};
    for (auto const& e : edges_) s.edges.push_back({e.peer, channel::model, e.accepted, 0, e.age});
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

  /// A neighbour's published model as this node knows it, and how many rounds it has counted; for tests.
  struct replica {
    std::span<scalar const> values;
    std::uint64_t round;
  };
  [[nodiscard]] auto replica_of(node_id peer) const -> replica {
    for (auto const& e : edges_) {
      if (e.peer == peer) return {e.values.view(), e.round};
    }
    return {};
  }

 private:
  using rule = typename Step::template state<Backend>::rule;

  void connect(mixing::neighbourhood const& n) {
    for (auto const& e : n.pull_from) {
      if (!std::binary_search(n.pull_to.begin(), n.pull_to.end(), e.peer)) {
        throw config_error{"node " + std::to_string(to_index(self_)) + " averages the model of node " +
                           std::to_string(to_index(e.peer)) + ", which does not average its; W must be symmetric"};
      }
      auto& edge = edges_.emplace_back();
      edge.peer = e.peer;
      edge.weight = e.weight;
      edge.values = backend::copied(backend_, values(w_), w_.size());
    }
  }

  [[nodiscard]] static auto values(shared_buffer const& b) -> scalar const* { return b.template view<scalar>().data(); }

  void request_gradient(outbox& out) { asked_.ask(w_, {seed_, self_, rounds_}, out); }

  /// With the gradient of this round: waits until all replicas are of this round too, then does it.
  void go_on(instant now, outbox& out) {
    for (auto& e : edges_) {
      auto const there = catch_up(e, now, out);
      if (out.failure) return;
      if (!there) {
        out.wait = waiting{e.peer, channel::model, iteration{e.round + 1}};
        return;
      }
    }
    auto const body = encoded_difference(out);
    for (auto const& e : edges_) out.packets.push_back(packet_to(e.peer, body, now));
    auto fresh = backend::copied(backend_, values(w_), w_.size());
    if (!add(body, fresh.data()) && !out.failure) out.failure = detail::blame{self_}.gradient(g_).sentence();
    w_ = std::move(fresh).publish();
    g_ = {};
    ++rounds_;
    request_gradient(out);
  }

  /// w_j of this node's round; false if messages are missing. What is of later rounds stays where it is.
  auto catch_up(detail::replica_of_neighbour<scalar>& e, instant now, outbox& out) -> bool {
    while (e.round < rounds_ && !e.ahead.empty()) {
      if (!add(e.ahead.front().body, e.values.data())) {
        auto const sum = backend_.pool().values(static_cast<scalar const*>(e.values.data()), w_.size());
        out.failure = detail::blame{self_}.message(e.peer, channel::model, sum).sentence();
        return false;
      }
      e.age.add(now - e.ahead.front().posted);
      e.ahead.erase(e.ahead.begin());
      ++e.round;
    }
    return e.round == rounds_;
  }

  [[nodiscard]] auto encoded_difference(outbox& out) -> shared_buffer {
    table_.clear();
    for (auto const& e : edges_) table_.push_back({e.values.data(), static_cast<scalar>(e.weight)});
    auto z = backend_.template allocate<scalar>(w_.size());
    auto const replicas = detail::table<detail::model_source<scalar>>{backend_.table(table_.data(), table_.size()), table_.size()};
    auto const raised = backend_.sweep({0, z.size()}, detail::difference_kernel<scalar, rule>{
        values(w_), values(g_), z.data(), self_weight_, replicas, step_state_.next(gamma_)});  // (D.Z)
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{self_}.gradient(g_).sentence();
    return codec::encoded(codec_, backend_, z.data(), z.size());  // (D.Q)
  }

  /// The same operations wherever a difference is added, so that all copies of a model stay equal. False if not finite.
  [[nodiscard]] auto add(shared_buffer const& difference, scalar* to) -> bool {
    auto const all = range{0, w_.size()};
    auto decoded = backend_.template allocate<scalar>(w_.size());
    codec::decode_body(codec_, backend_, difference, all, decoded.data());
    auto const raised = backend_.sweep(all, backend::add_kernel<scalar>{decoded.data(), to, scalar{1}});  // (D.W)
    return (raised & backend::not_finite) == 0;
  }

  [[nodiscard]] auto packet_to(node_id to, shared_buffer const& body, instant now) const -> packet {
    packet p;
    p.from = self_;
    p.to = to;
    p.lane = channel::model;
    p.number = iteration{rounds_ + 1};
    p.posted_at = now;
    p.body = body;
    return p;
  }

  Backend backend_;
  node_id self_;
  scalar self_weight_;
  double gamma_;
  std::uint64_t seed_;
  Codec codec_;
  typename Step::template state<Backend> step_state_;
  shared_buffer w_;  // w_i, the model
  shared_buffer g_;  // the gradient of this round, once it has come
  std::vector<detail::replica_of_neighbour<scalar>> edges_;
  std::vector<detail::model_source<scalar>> table_;  // of the pass under way
  std::uint64_t rounds_ = 0;
  detail::asked_gradient asked_;
};

}  // namespace rubato
