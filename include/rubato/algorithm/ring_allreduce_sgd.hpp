// SPDX-License-Identifier: MIT
// Synchronous SGD over a ring all-reduce, node i of n.   Source: the usual reduce-scatter and all-gather on a ring.
// Chunk c is [c d/n, (c+1) d/n); indices of nodes and chunks are modulo n; 2(n-1) packets and 2d(n-1)/n values a round.
// A node contributes its batch, s_i with the count c_i: (N.S) (N.C) of algorithm/detail/batch.hpp, at least one
// gradient.
//   (A.R)  for s = 0 .. n-2:  receive S_c, c = i-s-1, from i-1;  S_c <- S_c + s_c;  forward to i+1      reduce-scatter
//   (A.G)  for s = 0 .. n-2:  receive the complete S_c, c = i-s, from i-1;  forward to i+1               all-gather
//   (A.X)  x_c <- x_c - gamma S_c / sum_i c_i                             as soon as chunk c is complete
// invariant: all replicas are equal bit for bit after a round               tests/unit/algorithm/ring_allreduce_sgd.cpp
// Counts are summed in the messages along with the values, so a node with a complete chunk also has the complete count.
// With contribution::finished, a node's round ends when its own batch is full, when the first node to finish says so
// (in a control message to all; its successor takes the chunk for it), or when its predecessor's chunk arrives. The
// message only shortens the batch: a node that never receives it fills its batch and contributes all the same, so
// nobody waits for it.
// Passes a round, in vectors: reads s, x, 2 S; writes x, S. Partial sums are kept in the
// messages, not in a vector of their own.
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

#include <rubato/algorithm/detail/batch.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

/// Every node ends every round with the same model. Needs lossless, ordered links. A slow node slows all, unless
/// Contribution is contribution::finished: then it contributes less.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step, class Contribution>
class ring_allreduce_sgd : public detail::node_core<Backend, detail::batch_options<Step, Contribution>> {
  using core = detail::node_core<Backend, detail::batch_options<Step, Contribution>>;
  using rule = typename Step::template state<Backend>::rule;
  static constexpr auto hurries = Contribution::follows_the_fastest;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "ring all-reduce SGD"; }

  /// A ring by id, whatever the network: an all-reduce brings its own topology. With a contribution that follows the
  /// fastest, every two nodes are joined for short messages.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    auto plan = mixing::ring_plan(network.pull().nodes());
    if constexpr (hurries) mixing::add_messengers(plan);
    return plan;
  }
  static constexpr std::array<channel_spec, 2> all_channels{
      channel_spec{channel_id::chunk, channel_kind::event, element_of<scalar>, carrying(scalar_slot::sample_count),
                   body_form::part},
      channel_spec{channel_id::control, channel_kind::event, element_of<scalar>, 0, body_form::none}};
  static constexpr auto channels() -> std::span<channel_spec const> {
    return std::span{all_channels}.first(hurries ? 2 : 1);
  }

  ring_allreduce_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        n_{plan.nodes[to_index(self)].nodes},
        batch_{o.contribution} {
    before_.peer = to_node((to_index(self) + n_ - 1) % n_);
    after_.peer = to_node((to_index(self) + 1) % n_);
    for (std::size_t j = 0; hurries && j < n_; ++j) others_.emplace_back().peer = to_node(j);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    batch_.add(this->backend_, std::move(g.value));
    if (!batch_.full()) {
      this->ask_gradient(out);
      return;
    }
    if constexpr (hurries) tell_all(now, out);
    contribute(now, out);
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel == channel_id::chunk && p.from == before_.peer && n_ > 1 && before_.is_of_session(p)) take(p, out);
    else if (hurries && p.channel == channel_id::control && to_index(p.from) < n_ &&
             others_[to_index(p.from)].carries(p))
      hear(p, out);
    else return;
    if (out.failure) return;
    if (this->pending_.under_way() && round_ends()) {
      this->pending_.cancel(out);
      contribute(now, out);
    }
    go_on(now, out);
  }

  /// An all-reduce on a ring needs every node.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && at_begin()) return resume(change);
    core::refuse_change(change, "the ring all-reduce, which needs every node; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    if (n_ > 1) s.edges.push_back(before_.counted(channel_id::chunk));
    return s;
  }
  /// A round ends only when all its chunks have arrived.
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin(), 1, hurries ? 0 : batch_.minibatches()};
  }
  void meet_at(std::uint64_t round, std::uint64_t) { meets_at_ = round; }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("batch", self.batch_), visit("own", self.own_), visit("inbox", self.inbox_);
    visit("step of the round", self.step_);
    visit("sent", self.sent_), visit("fastest", self.fastest_), visit("before", self.before_),
        visit("after", self.after_);
    visit("others", self.others_), visit("meets at", self.meets_at_);
    self.visit_fresh(visit);
    if (visit.is_reading() && self.step_ + 1 >= self.n_) {  // in the middle of a round
      self.rule_ = self.present_rule();
    }
  }

 private:
  // messages

  /// A chunk from the predecessor, which needs this node's part to end the round, so it is never a whole round ahead.
  void take(patch const& p, outbox& out) {
    auto const count = p.extra.count(scalar_slot::sample_count);
    auto const most = std::uint64_t{n_} * batch_.minibatches();
    auto wrong = detail::miscounted(p);
    if (!wrong) wrong = before_.order.follow_on(p);
    if (!wrong) {
      auto const c = chunk_of((before_.order.newest() - 1) % steps());
      wrong = detail::malformed(p, all_channels[0].values, chunk(c).size());
    }
    if (!wrong && !(count && *count <= most)) {
      wrong = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " sums " +
                    (count ? std::to_string(*count) : "an unsaid number of") + " mini-batches, and a round has " +
                    std::to_string(most) + " at most"};
    }
    if (!wrong && inbox_.size() >= steps()) {
      wrong = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " is more than a round ahead of node " +
                    std::to_string(to_index(this->self_)) + ", which has its part in every round"};
    }
    out.failure = std::move(wrong);
    if (out.failure) return;
    ++before_.accepted;
    inbox_.push_back({p.posted_at, {p.body, *count}});
  }

  /// A message that some node has finished a round: this node's, or the next one if it needs no more of this one.
  void hear(patch const& p, outbox& out) {
    out.failure = detail::malformed(p, all_channels[1].values, 0);
    if (!out.failure && to_count(p.numbers[0]) > this->iterations_ + 2) {
      out.failure =
          fault{"node " + std::to_string(to_index(p.from)) + " says that it is done with round " +
                std::to_string(to_count(p.numbers[0])) + ", which cannot begin before node " +
                std::to_string(to_index(this->self_)) + " has ended round " + std::to_string(this->iterations_ + 1)};
    }
    if (!out.failure) fastest_ = (std::max)(fastest_, p.numbers[0]);
  }

  struct message {
    instant posted{};
    detail::contributed part;
    static void visit_state(auto& self, auto&& visit) { visit("posted", self.posted), visit("part", self.part); }
  };

  void send(detail::contributed const& part, instant now, outbox& out) {
    auto& p = this->post(after_, channel_id::chunk, part.sum, now, out);
    p.number = iteration{this->iterations_ * steps() + sent_++ + 1};
    p.extra.set(scalar_slot::sample_count, part.count);
  }

  /// The first node to fill its batch tells the others; its successor sees it by the chunk.
  void tell_all(instant now, outbox& out) {
    auto const nothing = this->backend_.template allocate<scalar>(0).publish();
    for (std::size_t j = 0; j < n_; ++j) {
      if (to_node(j) != this->self_ && to_node(j) != after_.peer)
        this->post(others_[j].outward(), channel_id::control, nothing, now, out);
    }
  }

  // a round

  [[nodiscard]] auto at_begin() const -> bool { return this->pending_.under_way() && batch_.empty(); }
  /// Messages that had arrived for the next round are sent again.
  void resume(neighbour_change const& c) {
    if (hurries && to_index(c.peer) < n_) others_[to_index(c.peer)].change(c);
    fastest_ = iteration{this->iterations_};
    if (c.peer == after_.peer) after_.session = c.outgoing;
    if (c.peer != before_.peer) return;
    before_.session = c.incoming;
    before_.order.resume_after(this->iterations_ * steps());
    inbox_.clear();
  }

  /// Steps 0 .. n-2 reduce, n-1 .. 2n-3 gather; each ends with one receipt.
  [[nodiscard]] auto steps() const -> std::size_t { return 2 * (n_ - 1); }
  [[nodiscard]] auto chunk(std::size_t c) const -> range {
    auto const d = this->size();
    return {c * d / n_, (c + 1) * d / n_};
  }
  /// The chunk that is received in a step.
  [[nodiscard]] auto chunk_of(std::size_t step) const -> std::size_t {
    auto const i = to_index(this->self_);
    return step < n_ - 1 ? (i + 2 * n_ - step - 1) % n_ : (i + 2 * n_ - (step - (n_ - 1))) % n_;
  }
  /// Whether other nodes have finished this round. A chunk that arrives during a batch is of the same round: that of
  /// the next one needs this node's part.
  [[nodiscard]] auto round_ends() const -> bool {
    return hurries && (fastest_ > iteration{this->iterations_} || !inbox_.empty());
  }

  /// Ends the batch, with the gradients it has, and begins the reduction with the node's own chunk.
  void contribute(instant now, outbox& out) {
    own_ = batch_.take(this->backend_);
    x_fresh_ = this->backend_.template allocate<scalar>(this->size());
    if (n_ == 1) {
      apply(0, own_, now, out);
      finish_round(now, out);
      return;
    }
    auto const r = chunk(to_index(this->self_));
    auto first = this->backend_.template allocate<scalar>(r.size());
    auto const all = range{0, r.size()};
    if (own_.sum) {
      auto const kernel = backend::scale_kernel<scalar>{own_values() + r.begin, first.data(), scalar{1}};
      if ((this->backend_.sweep(all, kernel) & backend::not_finite) != 0) out.failure = spoilt({});
    } else {
      this->backend_.sweep(all, backend::zero_kernel<scalar>{first.data()});
    }
    send({std::move(first).publish(), own_.count}, now, out);
  }
  [[nodiscard]] auto own_values() const -> scalar const* { return core::values_of(own_.sum); }

  void go_on(instant now, outbox& out) {
    auto const computes = [this] { return this->pending_.under_way(); };
    while (!computes() && !inbox_.empty() && !out.failure) {
      auto m = std::move(inbox_.front());
      inbox_.erase(inbox_.begin());
      before_.age.add(now - m.posted);
      receive(std::move(m.part), now, out);
    }
    if (computes() || out.failure) return;
    out.wait = waiting{before_.peer, channel_id::chunk, iteration{this->iterations_ * steps() + step_ + 1}};
  }

  void receive(detail::contributed part, instant now, outbox& out) {
    auto const reduces = step_ < n_ - 1;
    auto const c = chunk_of(step_);
    if (reduces && own_.sum) {
      auto const r = chunk(c);
      auto sum = this->backend_.template allocate<scalar>(r.size());
      auto const kernel =
          detail::sum_kernel<scalar>{core::values_of(part.sum), own_values() + r.begin, sum.data()};  // (A.R)
      if ((this->backend_.sweep({0, r.size()}, kernel) & backend::not_finite) != 0) out.failure = spoilt(part);
      part = {std::move(sum).publish(), part.count + own_.count};
    } else if (reduces && part.sum.size() > 0) {
      // Nothing is added here, so a bad value would go unnoticed and the next node would blame this one.
      auto copy = this->backend_.template allocate<scalar>(part.sum.size());
      auto const kernel = backend::scale_kernel<scalar>{core::values_of(part.sum), copy.data(), scalar{1}};
      if ((this->backend_.sweep({0, copy.size()}, kernel) & backend::not_finite) != 0) out.failure = spoilt(part);
    }
    if (out.failure) return;
    ++step_;
    if (step_ < steps()) send(part, now, out);  // (A.G): complete chunks are forwarded as they came
    if (step_ >= n_ - 1) apply(c, part, now, out);
    if (out.failure) return;
    if (step_ == steps()) finish_round(now, out);
  }

  /// Every complete chunk of a round has the same count; with none at all, the model stays as it is.
  void apply(std::size_t c, detail::contributed const& whole, instant now, outbox& out) {
    auto const r = chunk(c);
    auto const* x = this->x() + r.begin;
    auto* const x_new = x_fresh_.data() + r.begin;
    if (whole.count == 0) {
      this->backend_.sweep({0, r.size()}, backend::copy_kernel<scalar>{x, x_new});
      return;
    }
    if (step_ + 1 == n_) rule_ = this->next_rule(now);  // at the first chunk of the round
    auto const kernel = detail::mean_step_kernel<scalar, rule>{
        x, core::values_of(whole.sum), x_new, scalar{1} / static_cast<scalar>(whole.count), rule_.from(r.begin)};
    auto const raised = this->backend_.sweep({0, r.size()}, kernel);  // (A.X) (N.R)
    if ((raised & backend::not_finite) != 0 && !out.failure) out.failure = spoilt(whole);
  }

  void finish_round(instant now, outbox& out) {
    this->x_ = std::move(x_fresh_).publish();
    own_ = {};
    ++this->iterations_;
    sent_ = 0;
    step_ = 0;
    if (round_ends() && this->iterations_ != meets_at_) contribute(now, out);  // others have finished the next round
    else this->ask_gradient(out);
  }

  /// The cause of a sum that is not finite: this node's part of it, or the body from the predecessor.
  [[nodiscard]] auto spoilt(detail::contributed const& sum) const -> fault {
    auto blame = detail::blame{this->self_};
    if (own_.sum) blame.gradient(own_.sum);
    if (n_ > 1) blame.message(before_.peer, channel_id::chunk, sum.sum);
    return blame.sentence();
  }

  /// The complete chunks of the new model.
  void visit_fresh(state_visitor& visit) {
    auto there = static_cast<bool>(x_fresh_);
    visit("fresh x", there);
    if (!there) return;
    if (!x_fresh_) x_fresh_ = this->backend_.template allocate<scalar>(this->size());
    for (auto s = n_ - 2; s < step_; ++s) {  // chunk_of(n-2) is the first to be complete
      auto const r = chunk(chunk_of(s));
      auto part = backend::copied(this->backend_, std::as_const(x_fresh_).data() + r.begin, r.size());
      visit("fresh chunk", part);
      this->backend_.sweep({0, r.size()}, backend::copy_kernel<scalar>{part.data(), x_fresh_.data() + r.begin});
    }
  }

  std::size_t n_;
  rule rule_{};  // of the round
  detail::batch<Backend, Contribution> batch_;
  detail::contributed own_;  // this node's part of the round, once its batch has ended
  writable_buffer<scalar> x_fresh_;
  detail::incoming_edge before_;  // the predecessor
  detail::edge_session after_;
  std::vector<detail::two_way_edge> others_;  // all, by id, for messages that shorten batches
  std::uint64_t meets_at_ =
      0;  // rounds, after which the next one begins with a gradient, so that the node can be saved
  std::vector<message> inbox_;  // of the predecessor, in order; it may be a round ahead
  std::size_t step_ = 0;  // receipts of this round
  std::size_t sent_ = 0;  // packets of this round
  iteration fastest_{};  // the newest round that some node is known to have finished
};

}  // namespace rubato
