// SPDX-License-Identifier: MIT
// Synchronous SGD whose gradients are all-reduced in buckets while the rest of them is computed, over machines of
// several nodes; node i of n.   Source: the execution layer of BAGUA, arXiv 2107.01499, and of its public code.
// The gradient has K buckets, [b d/K, (b+1) d/K). All nodes begin them in one order, the last values first, each as
// soon as its values are final; up to `under_way` at the same time. Nodes r s to r s + s - 1 are machine r of M (the
// last may have fewer); its first node leads it.   S_r: sum of machine r
//   (B.U)  S_r = sum of its nodes' g_i, by id                    each node sends its bucket to its leader
//   (B.M)  m = (1/M) sum_r S_r, all to all among leaders         (C.*) of detail/scatter_mean.hpp, in any precision
//   (B.D)  m, from each leader to its nodes
//   (B.X)  x_b <- x_b - gamma (M/n) m_b                          as soon as bucket b is there
// invariants: all replicas are equal bit for bit after a round; machines of one node and codec::identity have the bits
// of scatter_allreduce_sgd, whatever the buckets; when buckets begin changes no bit
//                                                                tests/unit/algorithm/bucketed_allreduce_sgd.cpp
// differs from [BAGUA]: buckets are equal ranges of values and not lists of tensors, need no padding, and several may
// be under way (under_way = 1 is its one communication thread); no bucket is tuned by trials.
// Passes a round, in vectors, besides those of scatter_mean at leaders: reads x, m; writes x; a leader of s nodes reads
// s g, writes S; parts of a gradient are copied once by the driver.
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
#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/gradient_buckets.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/scatter_mean.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

/// When a bucket may begin.
enum class bucket_start : std::uint8_t {
  when_final,  ///< while the rest of the gradient is computed, if the problem says what is final
  after_gradient,
};
constexpr auto name_of(bucket_start when) -> std::string_view {
  return when == bucket_start::when_final ? "when final" : "after gradient";
}

namespace detail {

template<class Codec, class Step>
struct bucketed_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  Codec codec{};
  std::size_t bucket_values = 65536;  ///< at most; 0: one bucket
  bucket_start begin = bucket_start::when_final;
  std::size_t under_way = 0;  ///< buckets at the same time; 0: any number
  std::size_t machine = 1;  ///< s, nodes of a machine
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("codec", self.codec, "how messages between machines are coded");
    visit("bucket values", self.bucket_values, "values of a bucket, at most; 0: all of them");
    visit("begin", self.begin, "when-final: while the rest of the gradient is computed; after-gradient: not before");
    visit("under way", self.under_way, "buckets that may be under way at the same time; 0: any number");
    visit("machine", self.machine,
          "nodes of a machine, of consecutive ids, whose first one speaks with other machines");
  }
};

}  // namespace detail

/// Every node ends every round with the same model. Needs lossless, ordered links; a slow node slows all. The messages
/// between leaders are on the channel chunk, those within a machine on the channel gradient. Memory in vectors: x, g,
/// the new x, the buckets under way.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec, class Step>
class bucketed_allreduce_sgd : public detail::node_core<Backend, detail::bucketed_options<Codec, Step>> {
  using core = detail::node_core<Backend, detail::bucketed_options<Codec, Step>>;
  using rule = typename Step::template state<Backend>::rule;
  using leaders_mean = detail::scatter_mean<Backend, Codec, codec::use::sums>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "bucketed all-reduce SGD"; }

  /// Whatever the network: leaders all-to-all, and each joined to the nodes of its machine.
  [[nodiscard]] static auto make_plan(topology::pair const& network, options const& o) -> mixing::plan {
    auto const n = network.pull().nodes();
    if (o.machine <= 1) return mixing::all_to_all_plan(n);
    std::vector<topology::edge> edges;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        auto const leads_i = j == i / o.machine * o.machine;
        if (!leads_i && (i % o.machine != 0 || j % o.machine != 0)) continue;
        edges.push_back({to_node(i), to_node(j)});
        edges.push_back({to_node(j), to_node(i)});
      }
    }
    return mixing::gossip_plan(topology::from_edges(n, std::move(edges), "machines with leaders"));
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    if (o.machine == 0) throw config_error{"a machine has at least one node, not 0"};
  }
  static constexpr std::array all_channels{leaders_mean::spec, channel_spec{channel_id::gradient, channel_kind::event,
                                                                            element_of<scalar>, 0, body_form::part}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  bucketed_allreduce_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        n_{plan.nodes[to_index(self)].nodes},
        leader_{to_index(self) / o.machine * o.machine},
        machines_{(n_ - 1) / o.machine + 1},
        own_{core::size(), o.bucket_values},
        buckets_(own_.count()) {
    front_ = oldest_ = buckets_.size();
    if (leads()) {
      for (std::size_t k = 0; k < buckets_.size(); ++k) {
        auto const seed = o.seed + k * 0x9e3779b97f4a7c15ULL;  // no two buckets have the same draws
        means_.emplace_back(self, detail::members{machines_, o.machine}, own_.range_of(k).size(), o.codec, seed);
      }
      for (std::size_t r = 0; r < machines_; ++r) between_.emplace_back().peer = to_node(r * o.machine);
      auto const end = (std::min)(n_, leader_ + o.machine);
      for (auto j = leader_ + 1; j < end; ++j) within_.emplace_back().peer = to_node(j);
    } else {
      within_.emplace_back().peer = to_node(leader_);
    }
    for (auto& each : buckets_) each.heard.resize(within_.size());
    sent_between_.resize(between_.size());
    sent_within_.resize(within_.size());
  }

  [[nodiscard]] auto takes_gradient_parts() const -> bool {
    return this->options_->begin == bucket_start::when_final && buckets_.size() > 1;
  }
  void on_gradient_part(instant now, gradient_part const& g, outbox& out) {
    if (!this->pending_.awaits(g)) return;
    own_.add(this->backend_, g);
    begin_buckets(now, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    own_.add_whole(g.value);
    begin_buckets(now, out);
    settle(out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const b = p.channel == channel_id::chunk      ? hear_leader(p, out)
                   : p.channel == channel_id::gradient ? hear_within(p, out)
                                                       : buckets_.size();
    if (b == buckets_.size()) return;
    advance(b, now, out);
    begin_buckets(now, out);
    settle(out);
  }

  /// An all-reduce needs every node.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && at_begin()) return resume(change);
    core::refuse_change(change, "the all-reduce, which needs every node; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    for (std::size_t r = 0; r < between_.size(); ++r)
      if (between_[r].peer != this->self_) s.edges.push_back(between_[r].counted(channel_id::chunk));
    node_statistics of_buckets;
    for (auto const& mean : means_) mean.add_statistics(of_buckets);
    for (auto const& used : of_buckets.edges)
      for (auto& e : s.edges)
        if (e.peer == used.peer) e.age.add(used.age);
    for (auto const& e : within_) s.edges.push_back(e.counted(channel_id::gradient));
    return s;
  }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin(), 1, 1, true};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("own", self.own_), visit("buckets", self.buckets_);
    for (auto& mean : self.means_) visit("mean", mean);
    visit("between", self.between_), visit("within", self.within_);
    visit("sent between", self.sent_between_), visit("sent within", self.sent_within_), visit("front", self.front_);
    visit("open", self.open_), visit("oldest", self.oldest_);
    self.visit_fresh(visit);
  }

 private:
  struct message {
    instant posted{};
    shared_buffer body{};
    static void visit_state(auto& self, auto&& visit) { visit("posted", self.posted), visit("body", self.body); }
  };
  struct bucket {
    bool begun = false;
    bool reduced = false;  // at a leader: its machine's sum is among the leaders'
    bool applied = false;
    std::vector<message> heard;  // from each end of within_
    static void visit_state(auto& self, auto&& visit) {
      visit("begun", self.begun), visit("reduced", self.reduced), visit("applied", self.applied);
      visit("heard", self.heard);
    }
  };

  [[nodiscard]] auto leads() const -> bool { return to_index(this->self_) == leader_; }
  [[nodiscard]] auto at_begin() const -> bool {
    return this->pending_.under_way() && front_ == buckets_.size() && own_.is_empty();
  }

  // messages: numbers count those of an edge and channel; based_on names the bucket and, between leaders, the message
  // of scatter_mean

  // These return the bucket, or their number for a message that is not of this session or, with out.failure, not valid.

  auto hear_leader(patch const& p, outbox& out) -> std::size_t {
    auto const from = detail::members{machines_, this->options_->machine}.place_of(p.from);
    if (from >= between_.size() || p.from == this->self_ || !between_[from].is_of_session(p)) return buckets_.size();
    if (!is_next(between_[from], p, out)) return buckets_.size();
    auto const name = to_count(p.based_on) - 1;
    auto inner = p;
    auto const number = iteration{name / buckets_.size() + 1};
    inner.numbers = {&number, 1};
    if (!means_[name % buckets_.size()].accept(inner, out)) return buckets_.size();
    ++between_[from].accepted;
    return name % buckets_.size();
  }

  auto hear_within(patch const& p, outbox& out) -> std::size_t {
    std::size_t e = 0;
    while (e < within_.size() && within_[e].peer != p.from) ++e;
    if (e == within_.size() || !within_[e].is_of_session(p)) return buckets_.size();
    if (!is_next(within_[e], p, out)) return buckets_.size();
    auto const b = to_count(p.based_on) - 1;
    if (b < buckets_.size()) out.failure = detail::malformed(p, element_of<scalar>, own_.range_of(b).size());
    if (!out.failure && (b >= buckets_.size() || !may_come(b, e)))
      out.failure = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " is of a bucket that node " +
                          std::to_string(to_index(p.from)) + " cannot have come to in this round"};
    if (out.failure) return buckets_.size();
    buckets_[b].heard[e] = {p.posted_at, p.body};
    ++within_[e].accepted;
    return b;
  }

  /// Whether end e can have sent a message of bucket b. A node begins the next round once it has all means, so a leader
  /// whose own gradient has not ended yet may get that round's buckets once it has applied all of this one's.
  [[nodiscard]] auto may_come(std::size_t b, std::size_t e) const -> bool {
    auto const& it = buckets_[b];
    if (it.heard[e].body) return false;
    if (!leads()) return it.begun && !it.applied;
    return !it.reduced || oldest_ == 0;
  }
  /// Whether it is the next message of that edge, and names something. False with out.failure otherwise.
  auto is_next(detail::two_way_edge& from, patch const& p, outbox& out) -> bool {
    out.failure = detail::miscounted(p);
    if (!out.failure) out.failure = from.order.follow_on(p);
    if (!out.failure && to_count(p.based_on) == 0)
      out.failure = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " does not say of which bucket it is"};
    return !out.failure;
  }

  void send_within(std::size_t b, shared_buffer const& body, instant now, outbox& out) {
    for (std::size_t e = 0; e < within_.size(); ++e) {
      auto& p = this->post(within_[e].outward(), channel_id::gradient, body, now, out);
      p.number = iteration{++sent_within_[e]};
      p.based_on = iteration{b + 1};
    }
  }
  /// What scatter_mean has posted of bucket b since there were `before` packets.
  void name_packets(std::size_t b, std::size_t before, outbox& out) {
    for (auto k = before; k < out.packets.size(); ++k) {
      auto& p = out.packets[k];
      if (p.channel != channel_id::chunk) continue;
      p.based_on = iteration{(to_count(p.number) - 1) * buckets_.size() + b + 1};
      p.number = iteration{++sent_between_[to_index(p.to) / this->options_->machine]};
    }
  }

  /// All go back to the beginning of a round.
  void resume(neighbour_change const& c) {
    auto const done = this->iterations_ * buckets_.size();
    auto const again = [&](std::vector<detail::two_way_edge>& edges, std::vector<std::uint64_t>& sent, auto count) {
      for (std::size_t e = 0; e < edges.size(); ++e) {
        if (edges[e].peer != c.peer) continue;
        edges[e].change(c);
        edges[e].order.resume_after(count);
        sent[e] = count;
      }
    };
    again(between_, sent_between_, 2 * done);
    again(within_, sent_within_, done);
    for (auto& mean : means_) mean.resume(c);
    for (auto& each : buckets_)
      for (std::size_t e = 0; e < within_.size(); ++e)
        if (within_[e].peer == c.peer) each.heard[e] = {};
  }

  // a round

  /// Begins buckets in their order, as far as their values and the option allow.
  void begin_buckets(instant now, outbox& out) {
    auto const most = this->options_->under_way;
    while (!out.failure && front_ > 0 && own_.is_full(front_ - 1) && (most == 0 || open_ < most)) {
      auto const b = --front_;
      buckets_[b].begun = true;
      ++open_;
      if (!leads()) send_within(b, own_part(b), now, out);  // (B.U)
      advance(b, now, out);
    }
  }
  /// Ends the round if all of it is there, or says what is waited for.
  void settle(outbox& out) {
    if (out.failure || this->pending_.under_way()) return;
    if (front_ == 0 && open_ == 0) finish_round(out);
    else out.wait = missing();
  }
  /// This node's values of a bucket as a body of their own.
  [[nodiscard]] auto own_part(std::size_t b) -> shared_buffer {
    auto const n = own_.range_of(b).size();
    if (own_.body_of(b).size() == n) return own_.body_of(b);
    return backend::copied(this->backend_, own_.values_of(b), n).publish();
  }

  /// Moves a bucket on as far as messages allow.
  void advance(std::size_t b, instant now, outbox& out) {
    auto& it = buckets_[b];
    if (!it.begun || it.applied) return;
    if (leads()) return advance_leader(b, now, out);
    if (!it.heard[0].body) return;
    within_[0].age.add(now - it.heard[0].posted);
    auto const body = std::exchange(it.heard[0], {}).body;
    if (!apply(b, body, now))
      out.failure = detail::blame{this->self_}.message(within_[0].peer, channel_id::gradient, body).sentence();
  }
  void advance_leader(std::size_t b, instant now, outbox& out) {
    auto const before = out.packets.size();
    auto const post = this->posting(channel_id::chunk, now, out);
    if (!buckets_[b].reduced && !reduce(b, now, post, out)) return;
    auto const complete = means_[b].advance(this->backend_, now, post, out);  // (B.M)
    name_packets(b, before, out);
    if (!complete) return;
    auto const mean = means_[b].take_mean().publish();
    send_within(b, mean, now, out);  // (B.D)
    if (apply(b, mean, now)) return;
    auto const here = mean.on_host();
    auto const v = here.template view<scalar>();
    out.failure = means_[b].spoilt({v.begin(), v.end()});
  }

  /// At a leader: sums what its machine has of a bucket, once all of it is there, and gives it to the leaders' mean.
  template<class Post>
  auto reduce(std::size_t b, instant now, Post const& post, outbox& out) -> bool {
    auto& it = buckets_[b];
    for (auto const& m : it.heard)
      if (!m.body) return false;
    auto const n = own_.range_of(b).size();
    auto sum = writable_buffer<scalar>{};
    auto const* so_far = own_.values_of(b);
    for (std::size_t e = 0; e < it.heard.size(); ++e) {
      auto const m = std::exchange(it.heard[e], {});
      within_[e].age.add(now - m.posted);
      auto fresh = this->backend_.template allocate<scalar>(n);
      auto const raised = this->backend_.sweep(
          {0, n}, detail::sum_kernel<scalar>{so_far, core::values_of(m.body), fresh.data()});  // (B.U)
      if ((raised & backend::not_finite) != 0) {
        out.failure = detail::blame{this->self_}
                          .gradient(own_part(b))
                          .message(within_[e].peer, channel_id::gradient, m.body)
                          .sentence();
        return false;
      }
      sum = std::move(fresh);
      so_far = std::as_const(sum).data();
    }
    it.reduced = true;
    means_[b].begin(this->backend_, so_far, now, post);
    return true;
  }

  /// Makes the step of these values. False if they are not finite.
  [[nodiscard]] auto apply(std::size_t b, shared_buffer const& mean, instant now) -> bool {
    if (!x_fresh_) {  // the first of the round
      x_fresh_ = this->backend_.template allocate<scalar>(this->size());
      rule_ = this->next_rule(now);
    }
    buckets_[b].applied = true;
    --open_;
    while (oldest_ > front_ && buckets_[oldest_ - 1].applied) --oldest_;
    auto const r = own_.range_of(b);
    auto const share = static_cast<scalar>(static_cast<double>(machines_) / static_cast<double>(n_));
    auto const kernel = detail::mean_step_kernel<scalar, rule>{this->x() + r.begin, core::values_of(mean),
                                                               x_fresh_.data() + r.begin, share, rule_.from(r.begin)};
    return (this->backend_.sweep({0, r.size()}, kernel) & backend::not_finite) == 0;  // (B.X)
  }

  void finish_round(outbox& out) {
    this->x_ = std::move(x_fresh_).publish();
    ++this->iterations_;
    own_.clear();
    for (auto& each : buckets_) each.begun = each.reduced = each.applied = false;
    front_ = oldest_ = buckets_.size();
    this->ask_gradient(out);
  }

  /// The next message of a node that the first bucket under way waits for.
  [[nodiscard]] auto missing() -> waiting {
    auto const next_of = [](detail::two_way_edge const& e, channel_id channel) {
      return waiting{e.peer, channel, iteration{e.order.newest() + 1}};
    };
    auto const b = oldest_ - 1;
    for (std::size_t e = 0; e < within_.size(); ++e)
      if (!buckets_[b].reduced && !buckets_[b].heard[e].body) return next_of(within_[e], channel_id::gradient);
    auto const place = detail::members{machines_, this->options_->machine}.place_of(means_[b].missing().peer);
    return next_of(between_[place], channel_id::chunk);
  }

  /// The buckets of the new model that are there.
  void visit_fresh(state_visitor& visit) {
    auto there = static_cast<bool>(x_fresh_);
    visit("fresh x", there);
    if (!there) return;
    if (visit.is_reading()) {
      x_fresh_ = this->backend_.template allocate<scalar>(this->size());
      rule_ = this->present_rule();
    }
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      if (!buckets_[b].applied) continue;
      auto const r = own_.range_of(b);
      auto part = backend::copied(this->backend_, std::as_const(x_fresh_).data() + r.begin, r.size());
      visit("fresh bucket", part);
      this->backend_.sweep({0, r.size()}, backend::copy_kernel<scalar>{part.data(), x_fresh_.data() + r.begin});
    }
  }

  std::size_t n_;
  std::size_t leader_;  // of this node's machine
  std::size_t machines_;
  detail::gradient_buckets<Backend> own_;
  std::vector<bucket> buckets_;
  std::vector<leaders_mean> means_{};  // by bucket; none at a node that does not lead
  std::vector<detail::two_way_edge> between_{};  // by machine, at a leader
  std::vector<detail::two_way_edge> within_{};  // to the leader, or to the nodes that it leads
  std::vector<std::uint64_t> sent_between_{}, sent_within_{};
  std::size_t front_ = 0;  // buckets from here on were begun
  std::size_t oldest_ = 0;  // buckets from here on are applied, and the one before is not, if one is under way
  std::size_t open_ = 0;  // buckets that were begun and not applied
  writable_buffer<scalar> x_fresh_;
  rule rule_{};  // of the round
};

}  // namespace rubato
