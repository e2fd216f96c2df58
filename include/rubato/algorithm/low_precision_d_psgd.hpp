// SPDX-License-Identifier: MIT
// D-PSGD that sends compressed differences (DCD-PSGD), node i.   Source: Tang et al., arXiv 1803.06443, and BAGUA's
// low-precision decentralised SGD, arXiv 2107.01499.   W symmetric, doubly stochastic; w_j: published model of node j
//   (D.Z)  z   = [sum_j w_ij w_j - gamma g(w_i)] - w_i                      the step of D-PSGD, as a difference
//   (D.Q)  q_i = Q(z), sent to all neighbours
//   (D.W)  w_i <- w_i + decode(q_i);  w_j <- w_j + decode(q_j)              the same sum at both ends
// invariant: w_i at node i and its replicas at all neighbours are equal bit for bit, round by round
//                                                                 tests/unit/algorithm/low_precision_d_psgd.cpp
// differs from [BAGUA]: any such W instead of thirds on a ring; the gradient is computed at w_i while messages travel.
// Passes a round with k neighbours, in vectors: reads w, k replicas, g, writes z; encodes z; decodes k + 1 differences
// into a scratch vector and adds each (reads 2, writes 1). Memory: w, z, a scratch vector, k replicas.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/random.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
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
struct replica_of_neighbour : two_way_edge {
  double weight = 0;
  writable_buffer<T> values{};
  std::uint64_t round = 0;  // of values
  struct difference {
    instant posted{};
    shared_buffer body{};
    static void visit_state(auto& self, auto&& visit) { visit("posted", self.posted), visit("body", self.body); }
  };
  std::vector<difference> ahead{};  // in order; a neighbour is ahead by two rounds at most

  static void visit_state(auto& self, auto&& visit) {
    two_way_edge::visit_state(self, visit);
    visit("values", self.values), visit("round", self.round), visit("ahead", self.ahead);
  }
};

}  // namespace detail

/// Waits for the last round of its neighbours before it mixes. Needs lossless, ordered links and a fixed neighbourhood:
/// one lost difference would separate a model from its replicas for good. The codec must be fine enough for the graph;
/// minmax_u8 is. Ends where d_psgd ends: differences fade, and their rounding with them.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec = codec::minmax_u8, class Step = step::sgd>
class low_precision_d_psgd : public detail::node_core<Backend, detail::coded_options<Codec, Step>> {
  using core = detail::node_core<Backend, detail::coded_options<Codec, Step>>;
  static constexpr auto delivery = channel_kind::event;
  static_assert(codec::check_codec<Codec, Backend, delivery, codec::use::differences>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "low-precision D-PSGD"; }

  static constexpr bool takes_negative_weights = true;  ///< as d_psgd
  /// Metropolis-Hastings weights on the network, taken as undirected.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::gossip_plan(network);
  }
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{channel_spec{
      channel_id::model, delivery, element_of<typename Codec::template code<scalar>>, 0, body_form::codes}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  /// Throws config_error on a bad step or a neighbour that does not pull from this node.
  low_precision_d_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        self_weight_{static_cast<scalar>(plan.nodes[to_index(self)].pull_self)} {
    codec::check_size(o.codec, this->size());
    connect(plan.nodes[to_index(self)]);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    g_ = std::move(g.value);
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto* const edge = p.channel == channel_id::model ? detail::find_edge(edges_, p.from) : nullptr;
    if (edge == nullptr || !edge->is_of_session(p)) return;
    auto wrong =
        detail::malformed(p, all_channels[0].values, this->options_->codec.template codes<scalar>(this->size()));
    if (!wrong) wrong = out_of_turn(*edge, p);
    if (wrong) {
      out.failure = std::move(wrong);
      return;
    }
    edge->ahead.push_back({p.posted_at, p.body});
    ++edge->accepted;
    if (g_) go_on(now, out);
  }

  /// A replica cannot be resumed in the middle of a round. If all nodes go back to the start of a round, replicas are
  /// as they were before the last difference, which is sent again.
  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && at_begin()) return resume(change, now, out);
    core::refuse_change(
        change, "a run on compressed differences, which needs fixed neighbours; use d_psgd where they change", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(edges_, channel_id::model); }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin()};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("g", self.g_), visit("edges", self.edges_), visit("last difference", self.last_);
  }

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
  void connect(mixing::neighbourhood const& n) {
    for (auto const& e : n.pull_from) {
      if (!std::binary_search(n.pull_to.begin(), n.pull_to.end(), e.peer)) {
        throw config_error{"node " + std::to_string(to_index(n.self)) + " averages the model of node " +
                           std::to_string(to_index(e.peer)) + ", which does not average its; W must be symmetric"};
      }
      auto& edge = edges_.emplace_back();
      edge.peer = e.peer;
      edge.weight = e.weight;
      edge.values = backend::copied(this->backend_, this->x(), this->size());
    }
  }

  [[nodiscard]] auto at_begin() const -> bool { return this->pending_.under_way(); }
  void resume(neighbour_change const& c, instant now, outbox& out) {
    auto* const edge = detail::find_edge(edges_, c.peer);
    if (edge == nullptr) return;
    edge->change(c);
    edge->ahead.clear();
    if (last_) this->post(edge->outward(), channel_id::model, last_, now, out).number = iteration{this->iterations_};
  }

  /// What is wrong with the number of a message: each counts, and a neighbour is at most one round ahead.
  [[nodiscard]] auto out_of_turn(detail::replica_of_neighbour<scalar> const& edge, patch const& p) const
      -> std::optional<fault> {
    auto const number = to_count(p.numbers[0]), due = edge.round + edge.ahead.size() + 1;
    if (number != due) {
      return fault{"message " + std::to_string(number) + " of node " + std::to_string(to_index(p.from)) +
                   " came where message " + std::to_string(due) +
                   " was next: one that is lost parts a model from its replicas for good"};
    }
    if (number <= this->iterations_ + 1) return {};
    return fault{detail::text_of_message(p, number) + " needs what node " + std::to_string(to_index(this->self_)) +
                 " has not sent yet, in round " + std::to_string(this->iterations_ + 1)};
  }

  /// With the gradient of this round: waits until all replicas are of this round too, then completes it.
  void go_on(instant now, outbox& out) {
    for (auto& e : edges_) {
      auto const there = catch_up(e, now, out);
      if (out.failure) return;
      if (!there) {
        out.wait = waiting{e.peer, channel_id::model, iteration{e.round + 1}};
        return;
      }
    }
    auto const body = encoded_difference(now, out);
    for (auto const& e : edges_) this->post(e.outward(), channel_id::model, body, now, out);
    auto fresh = backend::copied(this->backend_, this->x(), this->size());
    if (!add(body, fresh.data()) && !out.failure) out.failure = detail::blame{this->self_}.gradient(g_).sentence();
    this->x_ = std::move(fresh).publish();
    last_ = body;
    g_ = {};
    ++this->iterations_;
    this->ask_gradient(out);
  }

  /// w_j of this node's round; false if messages are missing. Those of later rounds are kept.
  auto catch_up(detail::replica_of_neighbour<scalar>& e, instant now, outbox& out) -> bool {
    while (e.round < this->iterations_ && !e.ahead.empty()) {
      if (!add(e.ahead.front().body, e.values.data())) {
        auto const sum = this->backend_.pool().values(std::as_const(e.values).data(), this->size());
        out.failure = detail::blame{this->self_}.message(e.peer, channel_id::model, sum).sentence();
        return false;
      }
      e.age.add(now - e.ahead.front().posted);
      e.ahead.erase(e.ahead.begin());
      ++e.round;
    }
    return e.round == this->iterations_;
  }

  [[nodiscard]] auto encoded_difference(instant now, outbox& out) -> shared_buffer {
    table_.clear();
    for (auto const& e : edges_) table_.push_back({e.values.data(), static_cast<scalar>(e.weight)});
    auto z = this->backend_.template allocate<scalar>(this->size());
    auto const rule = this->next_rule_along(now, {core::values_of(g_)});
    auto const kernel = detail::difference_kernel<scalar, std::remove_const_t<decltype(rule)>>{
        this->x(),
        core::values_of(g_),
        z.data(),
        self_weight_,
        {this->backend_.table(table_.data(), table_.size()), table_.size()},
        rule};
    auto const raised = this->backend_.sweep({0, z.size()}, kernel);  // (D.Z)
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{this->self_}.gradient(g_).sentence();
    auto const draw = random_stream{0x636f646563ULL, this->seed_, to_index(this->self_), this->iterations_};
    return codec::encoded(this->options_->codec, this->backend_, z.data(), z.size(), draw);  // (D.Q)
  }

  /// The same operations wherever a difference is added, so that all copies of a model stay equal. False if not finite.
  [[nodiscard]] auto add(shared_buffer const& difference, scalar* to) -> bool {
    auto const all = range{0, this->size()};
    auto decoded = this->backend_.template allocate<scalar>(this->size());
    codec::decode_body(this->options_->codec, this->backend_, difference, all, decoded.data());
    auto const kernel = backend::add_kernel<scalar>{decoded.data(), to, scalar{1}};
    return (this->backend_.sweep(all, kernel) & backend::not_finite) == 0;  // (D.W)
  }

  // w_i is x_ of the core.
  scalar self_weight_;
  shared_buffer g_;  // the gradient of this round, once it has come
  shared_buffer last_;  // the last codes sent
  std::vector<detail::replica_of_neighbour<scalar>> edges_;
  std::vector<detail::model_source<scalar>> table_;  // of the current pass
};

}  // namespace rubato
