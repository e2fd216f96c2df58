// SPDX-License-Identifier: MIT
// Synchronous SGD over a ring all-reduce, node i of n.   Source: the usual reduce-scatter and all-gather on a ring.
// Chunk c is [c d/n, (c+1) d/n); indices of nodes and chunks are modulo n; 2(n-1) packets and 2d(n-1)/n values a round.
// What a node contributes, s_i with the count c_i, is its batch: (N.S) (N.C) of algorithm/batch.hpp, a gradient and 1 at least.
//   (A.R)  for s = 0 .. n-2:  receive S_c, c = i-s-1, from i-1;  S_c <- S_c + s_c;  forward to i+1      reduce-scatter
//   (A.G)  for s = 0 .. n-2:  receive the complete S_c, c = i-s, from i-1;  forward to i+1               all-gather
//   (A.X)  x_c <- x_c - gamma S_c / sum_i c_i                             as soon as chunk c is complete
// invariant: all replicas are equal bit for bit after a round               tests/unit/algorithm/ring_allreduce_sgd.cpp
// Counts are added up in the messages like sums, so that whoever has a complete chunk has the whole count too.
// With contribution::finished, a round ends for a node when its own batch is full, when a node that was first says so (a
// control message to all, which the chunk is for its successor), or when its predecessor's chunk comes. The message only
// hurries: a node that never hears it fills its batch and contributes all the same, so that nobody waits for it.
// Passes a round, in vectors: reads s, x, 2 S; writes x, S. Partial sums live in the messages, not in a vector of their own.
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
#include <rubato/algorithm/batch.hpp>
#include <rubato/algorithm/finite.hpp>
#include <rubato/algorithm/incoming.hpp>
#include <rubato/algorithm/mean_step.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

/// Every node ends every round with the same model. Needs lossless, ordered links. A slow node slows all, unless
/// Contribution is contribution::finished: then it contributes less.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step = step::sgd, class Contribution = contribution::all>
class ring_allreduce_sgd {
  static_assert(step::check_step<Step, Backend>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "ring all-reduce SGD"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.x_.size());
    visit("seed", self.seed_), visit("step", self.step_state_), visit("batch", self.batch_), visit("x", self.x_), visit("own", self.own_);
    visit("inbox", self.inbox_), visit("step of the round", self.step_), visit("sent", self.sent_), visit("fastest", self.fastest_);
    visit("rounds", self.rounds_), visit("gradients", self.gradients_), visit("order", self.order_), visit("age", self.age_), visit("gradient asked for", self.asked_);
    self.visit_fresh(visit);
    if (self.step_ + 1 >= self.n_) self.rule_ = step::present_rule(self.step_state_, self.gamma_);  // in the middle of a round
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    Step step_rule{};
    Contribution contribution{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("step rule", self.step_rule);
      visit("contribution", self.contribution);
    }
  };

  /// The ring goes by id, whatever the network: an all-reduce brings its own topology. Who hurries the others talks to all.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    auto plan = mixing::ring_plan(network.pull().nodes());
    if constexpr (Contribution::follows_the_fastest) mixing::add_messengers(plan);
    return plan;
  }
  static constexpr bool calibrates = false;
  static void agree(options&, block_partition const&, std::span<double const>, std::size_t) {}
  static constexpr std::array<channel_spec, 2> all_channels{
      channel_spec{channel::chunk, channel_kind::event, element_of<scalar>, carrying(scalar_slot::sample_count)},
      channel_spec{channel::control, channel_kind::event, element_of<scalar>, 0, true}};
  static constexpr auto channels() -> std::span<channel_spec const> {
    return std::span{all_channels}.first(Contribution::follows_the_fastest ? 2 : 1);
  }

  ring_allreduce_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        n_{plan.nodes[to_index(self)].nodes},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        step_state_{o.step_rule, backend_, x0.size()},
        batch_{o.contribution},
        x_{std::move(x0)} {}

  void start(instant, outbox& out) { request_gradient(out); }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (!(p.life == session{})) return;
    if (p.lane == channel::chunk && p.from == before() && n_ > 1) take(p, out);
    else if (Contribution::follows_the_fastest && p.lane == channel::control && to_index(p.from) < n_) hear(p, out);
    else return;
    if (out.failure) return;
    if (asked_.under_way() && round_ends()) {
      asked_.cancel(out);
      contribute(now, out);
    }
    go_on(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    ++gradients_;
    batch_.add(backend_, std::move(g.value));
    if (!batch_.full()) {
      request_gradient(out);
      return;
    }
    if constexpr (Contribution::follows_the_fastest) tell_all(now, out);
    contribute(now, out);
    go_on(now, out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  /// A ring cannot do without one of its nodes.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::closes) {
      out.failure = fault{"node " + std::to_string(to_index(change.peer)) +
                          " left the ring all-reduce, which needs every node; use r_fast where nodes may leave"};
    }
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{rounds_, gradients_, asked_.dropped(), {}};
    if (n_ > 1) s.edges.push_back({before(), channel::chunk, order_.newest(), 0, age_});
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

 private:
  /// A chunk of the predecessor. It needs this node's part of a round to end it, so it is never a whole round ahead.
  void take(patch const& p, outbox& out) {
    auto const count = p.extra.count(scalar_slot::sample_count);
    auto const most = std::uint64_t{n_} * batch_.minibatches();
    auto wrong = detail::miscounted(p);
    if (!wrong) wrong = order_.follow(p);
    if (!wrong) wrong = detail::malformed(p, all_channels[0].values, chunk(chunk_of((order_.newest() - 1) % steps())).size());
    if (!wrong && !(count && *count <= most)) {
      wrong = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " sums " +
                    (count ? std::to_string(*count) : "an unsaid number of") + " mini-batches, and a round has " +
                    std::to_string(most) + " at most"};
    }
    if (!wrong && inbox_.size() >= steps()) {
      wrong = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " is more than a round ahead of node " +
                    std::to_string(to_index(self_)) + ", which has its part in every round"};
    }
    out.failure = std::move(wrong);
    if (!out.failure) inbox_.push_back({p.posted_at, {p.body, *count}});
  }

  /// Some node's word that it is done with a round: with this node's, or with the next if it needs no more of this one.
  void hear(patch const& p, outbox& out) {
    out.failure = detail::malformed(p, all_channels[1].values, 0);
    if (!out.failure && to_count(p.numbers[0]) > rounds_ + 2) {
      out.failure = fault{"node " + std::to_string(to_index(p.from)) + " says that it is done with round " +
                          std::to_string(to_count(p.numbers[0])) + ", which cannot begin before node " +
                          std::to_string(to_index(self_)) + " has ended round " + std::to_string(rounds_ + 1)};
    }
    if (!out.failure) fastest_ = (std::max)(fastest_, p.numbers[0]);
  }

  struct message {
    instant posted{};
    detail::contributed part;
    static void visit_state(auto& self, auto&& visit) { visit("posted", self.posted), visit("part", self.part); }
  };

  [[nodiscard]] auto before() const -> node_id { return to_node((to_index(self_) + n_ - 1) % n_); }
  [[nodiscard]] auto after() const -> node_id { return to_node((to_index(self_) + 1) % n_); }
  [[nodiscard]] auto chunk(std::size_t c) const -> range {
    auto const d = x_.size();
    return {c * d / n_, (c + 1) * d / n_};
  }
  /// Steps 0 .. n-2 reduce, n-1 .. 2n-3 gather; each ends with one receipt.
  [[nodiscard]] auto steps() const -> std::size_t { return 2 * (n_ - 1); }

  void request_gradient(outbox& out) { asked_.ask(x_, {seed_, self_, batch_.draw()}, out); }

  [[nodiscard]] auto packet_to(node_id to, channel lane, instant now) const -> packet {
    packet p;
    p.from = self_;
    p.to = to;
    p.lane = lane;
    p.posted_at = now;
    return p;
  }

  void send(detail::contributed const& part, instant now, outbox& out) {
    auto p = packet_to(after(), channel::chunk, now);
    p.number = iteration{rounds_ * steps() + sent_++ + 1};
    p.body = part.sum;
    p.extra.set(scalar_slot::sample_count, part.count);
    out.packets.push_back(std::move(p));
  }

  /// Whether others are done with this round. A chunk that comes during a batch is of the same round: the next one's
  /// needs this node's part.
  [[nodiscard]] auto round_ends() const -> bool {
    return Contribution::follows_the_fastest && (fastest_ > iteration{rounds_} || !inbox_.empty());
  }

  /// The first to fill its batch says so; its successor will see it by the chunk.
  void tell_all(instant now, outbox& out) {
    auto const nothing = backend_.template allocate<scalar>(0).publish();
    for (std::size_t j = 0; j < n_; ++j) {
      if (to_node(j) == self_ || to_node(j) == after()) continue;
      auto p = packet_to(to_node(j), channel::control, now);
      p.number = iteration{rounds_ + 1};
      p.body = nothing;
      out.packets.push_back(std::move(p));
    }
  }

  /// Ends the batch, whatever it holds, and begins the reduction with the node's own chunk.
  void contribute(instant now, outbox& out) {
    own_ = batch_.take(backend_);
    x_fresh_ = backend_.template allocate<scalar>(x_.size());
    if (n_ == 1) {
      apply(0, own_, out);
      finish_round(now, out);
      return;
    }
    auto const r = chunk(to_index(self_));
    auto first = backend_.template allocate<scalar>(r.size());
    auto const all = range{0, r.size()};
    if (own_.sum) {
      auto const raised = backend_.sweep(all, backend::scale_kernel<scalar>{own_values() + r.begin, first.data(), scalar{1}});
      if ((raised & backend::not_finite) != 0) out.failure = spoilt({});
    }
    else backend_.sweep(all, backend::zero_kernel<scalar>{first.data()});
    send({std::move(first).publish(), own_.count}, now, out);
  }
  [[nodiscard]] auto own_values() const -> scalar const* { return own_.sum.template view<scalar>().data(); }

  void go_on(instant now, outbox& out) {
    while (!asked_.under_way() && !inbox_.empty() && !out.failure) {
      auto m = std::move(inbox_.front());
      inbox_.erase(inbox_.begin());
      age_.add(now - m.posted);
      receive(std::move(m.part), now, out);
    }
    if (!asked_.under_way() && !out.failure) out.wait = waiting{before(), channel::chunk, iteration{rounds_ * steps() + step_ + 1}};
  }

  /// The chunk that comes in a step.
  [[nodiscard]] auto chunk_of(std::size_t step) const -> std::size_t {
    auto const i = to_index(self_);
    return step < n_ - 1 ? (i + 2 * n_ - step - 1) % n_ : (i + 2 * n_ - (step - (n_ - 1))) % n_;
  }

  void receive(detail::contributed part, instant now, outbox& out) {
    auto const reduces = step_ < n_ - 1;
    auto const c = chunk_of(step_);
    if (reduces && own_.sum) {
      auto const r = chunk(c);
      auto sum = backend_.template allocate<scalar>(r.size());
      auto const* own = own_values() + r.begin;
      auto const raised = backend_.sweep({0, r.size()},
                                         detail::sum_kernel<scalar>{part.sum.template view<scalar>().data(), own, sum.data()});  // (A.R)
      if ((raised & backend::not_finite) != 0) out.failure = spoilt(part);
      part = {std::move(sum).publish(), part.count + own_.count};
    } else if (reduces && part.sum.size() > 0) {
      // Nothing is added, so no sum would show whose fault it is: the next node would blame this one.
      auto copy = backend_.template allocate<scalar>(part.sum.size());
      auto const raised = backend_.sweep({0, copy.size()},
                                         backend::scale_kernel<scalar>{part.sum.template view<scalar>().data(), copy.data(), scalar{1}});
      if ((raised & backend::not_finite) != 0) out.failure = spoilt(part);
    }
    if (out.failure) return;
    ++step_;
    if (step_ < steps()) send(part, now, out);  // (A.G): complete chunks are forwarded as they came
    if (step_ >= n_ - 1) apply(c, part, out);
    if (out.failure) return;
    if (step_ == steps()) finish_round(now, out);
  }

  /// Of a sum that is not finite: this node's own part of it, or what the predecessor sent.
  [[nodiscard]] auto spoilt(detail::contributed const& sum) const -> fault {
    auto blame = detail::blame{self_};
    if (own_.sum) blame.gradient(own_.sum);
    if (n_ > 1) blame.message(before(), channel::chunk, sum.sum);
    return blame.sentence();
  }

  /// Of the model under way, the chunks that are complete.
  void visit_fresh(state_visitor& visit) {
    auto there = static_cast<bool>(x_fresh_);
    visit("fresh x", there);
    if (!there) return;
    if (!x_fresh_) x_fresh_ = backend_.template allocate<scalar>(x_.size());
    for (auto s = n_ - 2; s < step_; ++s) {  // chunk_of(n-2) is the first to be complete
      auto const r = chunk(chunk_of(s));
      auto part = backend::copied(backend_, std::as_const(x_fresh_).data() + r.begin, r.size());
      visit("fresh chunk", part);
      backend_.sweep({0, r.size()}, backend::copy_kernel<scalar>{part.data(), x_fresh_.data() + r.begin});
    }
  }

  /// Every complete chunk of a round has the same count; with none at all, the model stays as it is.
  void apply(std::size_t c, detail::contributed const& whole, outbox& out) {
    auto const r = chunk(c);
    auto const* x = x_.template view<scalar>().data() + r.begin;
    auto* const x_new = x_fresh_.data() + r.begin;
    if (whole.count == 0) {
      backend_.sweep({0, r.size()}, backend::copy_kernel<scalar>{x, x_new});
      return;
    }
    if (step_ + 1 == n_) rule_ = step_state_.next(gamma_);  // the first of the round
    auto const kernel = detail::mean_step_kernel<scalar, rule>{x, whole.sum.template view<scalar>().data(), x_new,
                                                               scalar{1} / static_cast<scalar>(whole.count), rule_.from(r.begin)};
    auto const raised = backend_.sweep({0, r.size()}, kernel);  // (A.X) (N.R)
    if ((raised & backend::not_finite) != 0 && !out.failure) out.failure = spoilt(whole);
  }

  void finish_round(instant now, outbox& out) {
    x_ = std::move(x_fresh_).publish();
    own_ = {};
    ++rounds_;
    sent_ = 0;
    step_ = 0;
    if (round_ends()) contribute(now, out);  // others are already done with the next one
    else request_gradient(out);
  }

  using rule = typename Step::template state<Backend>::rule;

  Backend backend_;
  node_id self_;
  std::size_t n_;
  double gamma_;
  std::uint64_t seed_;
  typename Step::template state<Backend> step_state_;
  rule rule_{};
  detail::batch<Backend, Contribution> batch_;
  shared_buffer x_;
  detail::contributed own_;  // this node's part of the round, once its batch has ended
  writable_buffer<scalar> x_fresh_;
  std::vector<message> inbox_;  // of the predecessor, in order; it may be a round ahead
  std::size_t step_ = 0;        // receipts of this round
  std::size_t sent_ = 0;        // packets of this round
  iteration fastest_{};         // the newest round in which some node is known to be done
  std::uint64_t rounds_ = 0, gradients_ = 0;
  detail::message_order order_;  // of the predecessor
  age_counter age_;
  detail::asked_gradient asked_;
};

}  // namespace rubato
