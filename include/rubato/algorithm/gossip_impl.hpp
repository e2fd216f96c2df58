// SPDX-License-Identifier: MIT
// Definitions of gossip's members. Included by algorithm/gossip.hpp only.
#pragma once

#include <rubato/algorithm/gossip.hpp>

#define RUBATO_GOSSIP_TEMPLATE                                                                             \
  template<backend::array_backend Backend, class Order, class Step, class Weighting, class Synchrony, class Ledger, \
           class SumCodec, class Contribution>
#define RUBATO_GOSSIP gossip<Backend, Order, Step, Weighting, Synchrony, Ledger, SumCodec, Contribution>

namespace rubato {

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::connect(mixing::neighbourhood const& n) {
  pull_self_ = n.pull_self;
  for (auto const& e : n.pull_from) {
    auto& edge = models_.emplace_back();
    edge.peer = e.peer;
    edge.weight = e.weight;
    edge.box.start_with(x_);
  }
  for (auto const peer : n.pull_to) readers_.emplace_back().peer = peer;
  if constexpr (Weighting::can_cut) {
    if (models_.size() == 1) {
      throw config_error{"node " + std::to_string(to_index(self_)) +
                         " has a single in-edge, which this weighting may cut; use one that never reaches zero"};
    }
  }
  if constexpr (tracks) {
    push_self_ = n.push_self;
    for (auto const peer : n.push_from) sums_in_.emplace_back().peer = peer;
    for (auto const& e : n.push_to) {
      auto& edge = sums_out_.emplace_back();
      edge.peer = e.peer;
      edge.weight = e.weight;
    }
  }
  for (auto& e : models_) e.lead = lead_of(e.peer, n.nodes);
  for (auto& e : sums_in_) e.lead = lead_of(e.peer, n.nodes);
}

/// How many messages of a neighbour may wait unused, where it waits in turn for what this node sends: those of the present
/// round and of the next one. Who hears nothing of this node waits for one who does, within as many edges as there are nodes.
RUBATO_GOSSIP_TEMPLATE
auto RUBATO_GOSSIP::lead_of(node_id peer, std::size_t nodes) -> std::size_t {
  std::size_t one = 2;
  std::size_t rounds = 1;
  if constexpr (requires { options_.synchrony.bound; }) {
    one = 4;
    rounds += static_cast<std::size_t>(std::min<std::uint64_t>(options_.synchrony.bound, detail::most_counted));
  }
  auto const hears = detail::find_edge(readers_, peer) != nullptr || detail::find_edge(sums_out_, peer) != nullptr;
  return hears ? one : one + nodes * rounds;
}

/// The open edge of a message of this node's kind; null for one that is of no such edge or life, or that ends the run.
RUBATO_GOSSIP_TEMPLATE
template<class Edges>
auto RUBATO_GOSSIP::admit(Edges& edges, patch const& p, outbox& out) -> typename Edges::value_type* {
  auto* const edge = detail::find_edge(edges, p.from);
  if (edge == nullptr) return nullptr;
  if (!edge->open || !(p.life == edge->life)) {
    ++edge->overtaken;
    return nullptr;
  }
  auto wrong = detail::malformed(p, blocks_, all_channels[p.lane == channel::model ? 0 : 1]);
  if constexpr (Synchrony::delivery == channel_kind::event) {
    if (!wrong) wrong = edge->order.follow(p);
    edge->box.drop_passed(options_.synchrony.latest(iteration{iterations_}));
    if (!wrong && edge->box.queued() >= edge->lead) {
      wrong = fault{detail::text_of_message(p, to_count(p.numbers[0])) + " came while " + std::to_string(edge->box.queued()) +
                    " of it wait at node " + std::to_string(to_index(self_)) + ", which is as far as a neighbour may be ahead"};
    }
  } else {
    if (!wrong) wrong = edge->order.rise(p);
  }
  if (!wrong) return edge;
  out.failure = std::move(wrong);
  return nullptr;
}

RUBATO_GOSSIP_TEMPLATE
template<class Edge>
void RUBATO_GOSSIP::put(Edge& edge, patch const& p) {
  auto newer = true;
  if constexpr (Synchrony::delivery == channel_kind::event) edge.box.enqueue(p, batches_);
  else newer = edge.box.accept(backend_, blocks_, p, batches_);
  ++(newer ? edge.accepted : edge.overtaken);
}

/// A compressed sum becomes whole numbers where it comes in, so that nothing behind this line knows of codes.
RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::take_sum(patch const& p, outbox& out) {
  if constexpr (compresses) {
    auto* const edge = admit(sums_in_, p, out);
    if (edge == nullptr) return;
    auto sums = detail::expanded_sums<value>(options_.sum_codec, backend_, blocks_, edge->box, p);
    if (sums.beyond) {
      out.failure = fault{"node " + std::to_string(to_index(self_)) + ", sums of node " + std::to_string(to_index(p.from)) +
                          ": " + options_.sum_codec.range_sentence(*sums.beyond)};
      return;
    }
    put(*edge, {p.from, p.to, p.lane, p.life, p.based_on, p.posted_at, p.blocks, p.numbers, std::move(sums.body), p.extra});
  } else {
    take(sums_in_, p, out);
  }
}

/// What is posted of a running sum.
RUBATO_GOSSIP_TEMPLATE
auto RUBATO_GOSSIP::body_of(shared_buffer const& total) -> shared_buffer {
  if constexpr (compresses) {
    auto codes = backend_.template allocate<typename SumCodec::template code<value>>(total.size());
    options_.sum_codec.encode(backend_, total.template view<value>().data(), total.size(), codes.data());
    return std::move(codes).publish();
  } else {
    return total;
  }
}

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::request_gradient(outbox& out) {
  asked_.ask(x_, sample_key{options_.seed, self_, batch_.draw()}, out);  // named, for nvcc drops the braces of {}
  if (batch_.empty()) ++batches_;
}

/// Whether a neighbour is done with its batch of this round: its model after it has come, which in an order that sends
/// before it computes is that of the next round. One that is further ahead than a round allows was apart, and hurries nobody.
RUBATO_GOSSIP_TEMPLATE
auto RUBATO_GOSSIP::round_ends() const -> bool {
  if constexpr (Contribution::follows_the_fastest) {
    using enum order::action;
    constexpr auto sends_after = order::place_of<Order>(gradient) < order::place_of<Order>(send_model);
    auto const done = iteration{iterations_ + (sends_after ? 1 : 2)};
    auto const most = iteration{to_count(done) + 2};
    return std::any_of(models_.begin(), models_.end(), [&](auto const& e) {
      return e.open && e.box.latest() >= done && e.box.latest() <= most;
    });
  } else {
    return false;
  }
}

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::advance(instant now, outbox& out) {
  standing_ = false;
  while (dispatch(std::make_index_sequence<program.size()>{}, now, out)) {
  }
}

/// Runs from the present place; false when the node stops for a gradient, a neighbour or a fault.
RUBATO_GOSSIP_TEMPLATE
template<std::size_t... Place>
auto RUBATO_GOSSIP::dispatch(std::index_sequence<Place...>, instant now, outbox& out) -> bool {
  bool goes_on = false;
  static_cast<void>(((place_ == Place && (goes_on = run_from<Place>(now, out), true)) || ...));
  return goes_on && !out.failure;
}

RUBATO_GOSSIP_TEMPLATE
constexpr auto RUBATO_GOSSIP::slice_length(std::size_t begin) -> std::size_t {
  auto written = false;
  for (std::size_t n = 1; n <= program.size(); ++n) {
    // A model that an earlier pass wrote leaves before a later write_model replaces it.
    auto const last = program[(begin + n - 1) % program.size()];
    written = written || last == order::action::write_model;
    if (last == order::action::send_model && !written) return n;
    auto const a = program[(begin + n) % program.size()];
    if (a == order::action::gradient || waits_at(a)) return n;
  }
  return program.size();
}

RUBATO_GOSSIP_TEMPLATE
template<std::size_t Begin>
auto RUBATO_GOSSIP::run_from(instant now, outbox& out) -> bool {
  using enum order::action;
  constexpr auto first = program[Begin];
  if constexpr (first == gradient) {
    if (round_ends()) {  // before this node began with it
      end_batch();
      return true;
    }
    request_gradient(out);
    return false;
  } else {
    if constexpr (waits_at(first)) {
      // What lock-step would use here: this round's message if it is sent before this place, the last round's otherwise.
      constexpr auto sent_by = first == pull ? send_model : push;
      auto const needed = iteration{iterations_ + (order::place_of<Order>(sent_by) < Begin ? 1 : 0)};
      auto const can_go = first == pull ? ready(models_, channel::model, needed, out)
                                        : ready(sums_in_, channel::tracker, needed, out);
      if (!can_go) return false;
    }
    run_slice<Begin>(std::make_index_sequence<slice_length(Begin)>{}, now, out);
    return true;
  }
}

RUBATO_GOSSIP_TEMPLATE
template<class Edges>
auto RUBATO_GOSSIP::ready(Edges& edges, channel lane, iteration needed, outbox& out) -> bool {
  for (auto& edge : edges) {
    if (!edge.open) continue;
    if constexpr (Synchrony::delivery == channel_kind::event) edge.box.advance_to(options_.synchrony.latest(needed));
    if (options_.synchrony.ready(needed, edge.box.number())) continue;
    out.wait = waiting{edge.peer, lane, next(edge.box.number())};
    standing_ = true;
    return false;
  }
  return true;
}

/// Allocates what the actions will write and points the streams at what they read.
RUBATO_GOSSIP_TEMPLATE
template<class List>
auto RUBATO_GOSSIP::prepare() -> streams {
  streams s;
  auto const n = x_.size();
  s.x = x_.template view<scalar>().data();
  if constexpr (List::changes_x) {
    x_fresh_ = backend_.template allocate<scalar>(n);
    s.x_new = x_fresh_.data();
  }
  if constexpr (List::has(order::action::write_model) && !List::model_is_x()) {
    v_fresh_ = backend_.template allocate<scalar>(n);
    s.model = v_fresh_.data();
  }
  s.z = z_.data();
  if (g_) s.g_old = g_.template view<scalar>().data();
  if (g_new_) s.g_new = g_new_.template view<scalar>().data();
  s.g_share = scalar{1} / static_cast<scalar>(batch_.minibatches());
  if constexpr (List::has(order::action::push)) {
    for (auto& e : sums_out_) {
      if (e.open) e.fresh = backend_.template allocate<value>(n);
    }
  }
  return s;
}

/// Fills the tables for blocks from `block` on that have equal ages; returns the first block beyond them.
RUBATO_GOSSIP_TEMPLATE
template<class List>
auto RUBATO_GOSSIP::fill_tables(std::size_t block, streams& s) -> std::size_t {
  auto end = tracks ? options_.ledger.uniform_end(block, blocks_.blocks()) : blocks_.blocks();
  if constexpr (List::has(order::action::pull)) {
    pull_table_.clear();
    auto self_weight = pull_self_;
    for (auto const& e : models_) {
      auto factor = e.open && e.box.values() != nullptr ? 1.0 : 0.0;
      if constexpr (Weighting::depends_on_age) {
        end = (std::min)(end, e.box.uniform_end(block, end));
        auto const left = static_cast<double>(options_.weighting(batches_ - e.box.of(block).arrived));
        RUBATO_EXPECTS(left >= 0 && left <= 1, "a weighting gives a factor of 0 to 1 for every age");
        factor *= left;
      }
      self_weight += (1 - factor) * e.weight;
      if (factor > 0) pull_table_.push_back({e.box.values(), static_cast<scalar>(factor * e.weight)});
    }
    s.pull_self = static_cast<scalar>(self_weight);
    s.pulls = {backend_.table(pull_table_.data(), pull_table_.size()), pull_table_.size()};
  }
  if constexpr (List::has(order::action::consume)) {
    in_table_.clear();
    for (auto const& e : sums_in_) {
      if (e.box.values() != nullptr) in_table_.push_back({e.box.values(), e.consumed()});
    }
    s.sums_in = {backend_.table(in_table_.data(), in_table_.size()), in_table_.size()};
  }
  if constexpr (List::has(order::action::push)) {
    out_table_.clear();
    auto self_weight = push_self_;
    for (auto& e : sums_out_) {
      if (!e.open) self_weight += e.weight;
      else out_table_.push_back({e.total.template view<value>().data(), e.fresh.data(),
                                 static_cast<scalar>(e.weight)});
    }
    s.push_self = static_cast<scalar>(self_weight);
    s.sums_out = {backend_.table(out_table_.data(), out_table_.size()), out_table_.size()};
  }
  return end;
}

/// One pass over memory for all these actions (one a range of blocks, where blocks differ in age or exponent).
RUBATO_GOSSIP_TEMPLATE
template<order::action... Actions>
void RUBATO_GOSSIP::run_list(order::actions_of<Actions...>, outbox& out) {
  using list = order::actions_of<Actions...>;
  if constexpr (!list::reads_x && !list::changes_z) return;
  if constexpr (list::has(order::action::track)) {
    if (debt_) debt_.release(backend_, z_.data(), x_.size());
  }
  auto s = prepare<list>();
  typename Step::template state<Backend>::rule rule{};
  if (list::has(order::action::descend) && (tracks || g_new_)) rule = step_state_.next(gamma_);
  magnitudes_ = 0;
  finite_ = true;
  for (std::size_t block = 0; block < blocks_.blocks();) {
    auto const end = fill_tables<list>(block, s);
    auto const ledger = options_.ledger.template arithmetic_for<scalar>(block);
    auto const kernel = detail::gossip_kernel<scalar, value, decltype(ledger), decltype(rule), tracks, Actions...>{
        s, ledger, rule};
    auto const raised = backend_.sweep(blocks_.values_of({block, end}), kernel);
    if (Ledger::out_of_range(raised) && !Ledger::out_of_range(magnitudes_)) beyond_ = {block, end};
    magnitudes_ |= raised & ~backend::not_finite;
    finite_ = finite_ && (raised & backend::not_finite) == 0;
    block = end;
  }
  // Published only now: what was read above may be the very bodies that these replace.
  if constexpr (list::has(order::action::write_model)) {
    if constexpr (!list::model_is_x()) v_ = std::move(v_fresh_).publish();
  }
  if constexpr (list::changes_x) x_ = std::move(x_fresh_).publish();
  if constexpr (list::model_is_x()) v_ = x_;
  fail_if_out_of_range(out);
  if (!finite_ && !out.failure) say_what_is_not_finite(out);
}

/// What the pass read of others is still there, as is the gradient that came.
RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::say_what_is_not_finite(outbox& out) const {
  auto blame = detail::blame{self_};
  auto const suspect = [&](auto const& e, channel lane) {
    if (e.box.values() != nullptr) blame.message(e.peer, lane, backend_.pool().values(e.box.values(), x_.size()));
  };
  if (g_new_) blame.gradient(g_new_);
  for (auto const& e : models_) suspect(e, channel::model);
  if constexpr (std::is_same_v<value, scalar>) {
    for (auto const& e : sums_in_) suspect(e, channel::tracker);
  }
  out.failure = blame.sentence();
}

/// What an action leaves to do once its arithmetic is done: posts, marks and counts.
RUBATO_GOSSIP_TEMPLATE
template<order::action A>
void RUBATO_GOSSIP::finish(instant now, outbox& out) {
  using enum order::action;
  if constexpr (A == send_model) {
    for (auto const& to : readers_) {
      if (to.open) post(to, channel::model, v_, now, out);
    }
  } else if constexpr (A == pull) {
    for (auto& e : models_) {
      if (e.box.of(0).number > iteration{}) e.age.add(now - e.box.of(0).posted);
    }
  } else if constexpr (A == track) {
    g_ = std::move(g_new_);
    g_new_ = {};
  } else if constexpr (A == consume) {
    for (auto& e : sums_in_) {
      e.mark_consumed(backend_, blocks_, now);
      e.wide.grew(backend_, e.consumed(), x_.size(), magnitudes_);
    }
  } else if constexpr (A == push) {
    for (auto& e : sums_out_) {
      if (!e.open) continue;
      e.total = std::move(e.fresh).publish();
      e.wide.grew(backend_, e.total.template view<value>().data(), x_.size(), magnitudes_);
      post(e, channel::tracker, body_of(e.total), now, out);
    }
  } else if constexpr (A == descend && !tracks) {
    g_new_ = {};
  }
}

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::post(detail::edge_life const& to, channel lane, shared_buffer body, instant now, outbox& out) const {
  auto& p = out.packets.emplace_back();
  p.from = self_;
  p.to = to.peer;
  p.lane = lane;
  p.life = to.life;
  p.number = iteration{iterations_ + 1};
  p.posted_at = now;
  p.body = std::move(body);
}

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::fail_if_out_of_range(outbox& out) {
  if constexpr (tracks) {
    if (!Ledger::out_of_range(magnitudes_)) return;
    // Of the blocks swept together, the one that holds the largest number: in z, or in the gradient that came.
    tracking_audit a;
    audit(a);
    auto const body = g_new_.on_host();
    auto const fresh = body.template view<scalar>();
    auto const values = blocks_.values_of(beyond_);
    auto worst = values.begin;
    auto largest = -1.0;
    for (auto i = values.begin; i < values.end; ++i) {
      auto const ours = std::abs(a.tracker[i]) * options_.ledger.quantum(i / blocks_.block_values());
      auto const theirs = fresh.empty() ? 0.0 : std::abs(static_cast<double>(fresh[i]));
      if (std::isfinite(theirs) && (std::max)(ours, theirs) <= largest) continue;
      largest = (std::max)(ours, theirs);
      worst = i;
      if (!std::isfinite(theirs)) {
        out.failure = detail::blame{self_}.gradient(g_new_).sentence();
        return;
      }
    }
    out.failure = fault{"node " + std::to_string(to_index(self_)) + outreached_by() + ": " +
                        options_.ledger.range_sentence(worst / blocks_.block_values())};
  }
}

/// The sender of a running sum that, since it was last consumed, moved further than the ledger reaches; empty if none did.
RUBATO_GOSSIP_TEMPLATE
auto RUBATO_GOSSIP::outreached_by() const -> std::string {
  if constexpr (std::is_same_v<value, std::int32_t>) {
    auto const& memory = backend_.pool();
    for (auto const& e : sums_in_) {
      auto const newest = memory.values(e.box.values(), x_.size());
      auto const before = memory.values(e.consumed(), x_.size());
      for (std::size_t i = 0; i < newest.size(); ++i) {
        auto const moved = backend::wrap_sub(newest[i], before.empty() ? 0 : before[i]);
        if (!Ledger::out_of_range(static_cast<backend::raised_bits>(backend::magnitude_bits(moved)))) continue;
        return ", by a running sum that node " + std::to_string(to_index(e.peer)) + " sent";
      }
    }
  }
  return {};
}

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::on_neighbours(instant now, neighbour_change const& change, outbox& out) {
  auto const opens = change.what == neighbour_change::edge::opens;
  auto const n = x_.size();
  if (auto* e = detail::find_edge(models_, change.peer)) {
    e->box.clear();
    e->order = {};
    e->open = opens;
    e->life = change.incoming;
  }
  if (auto* e = detail::find_edge(readers_, change.peer)) {
    e->open = opens;
    e->life = change.outgoing;
  }
  if (auto* e = detail::find_edge(sums_in_, change.peer)) {
    if (e->consumed() != nullptr) e->wide.settle(backend_, e->consumed(), n, {debt_.open(backend_, n), -1.0});
    e->reset();
    e->open = opens;
    e->life = change.incoming;
  }
  if (auto* e = detail::find_edge(sums_out_, change.peer)) {
    if (e->total) {
      e->wide.settle(backend_, e->total.template view<value>().data(), n, {debt_.open(backend_, n), 1.0});
    }
    e->total = {};
    e->open = opens;
    e->life = change.outgoing;
  }
  if (standing_) advance(now, out);
}

RUBATO_GOSSIP_TEMPLATE
auto RUBATO_GOSSIP::statistics() const -> node_statistics {
  node_statistics s{iterations_, gradients_, asked_.dropped(), {}};
  for (auto const& e : models_) s.edges.push_back({e.peer, channel::model, e.accepted, e.overtaken, e.age});
  for (auto const& e : sums_in_) s.edges.push_back({e.peer, channel::tracker, e.accepted, e.overtaken, e.age});
  return s;
}

RUBATO_GOSSIP_TEMPLATE
void RUBATO_GOSSIP::audit(tracking_audit& a) const {
  a = {};
  if constexpr (tracks) {
    auto const n = x_.size();
    auto const& memory = backend_.pool();
    auto const plain = [&](value const* v) {
      auto const values = memory.values(v, n);
      return std::vector<double>(values.begin(), values.end());
    };
    a.fixed_point = Ledger::exact;
    a.tracker = plain(z_.data());
    auto const owed = memory.values(debt_ ? debt_.values() : nullptr, n);
    for (std::size_t i = 0; i < owed.size(); ++i) a.tracker[i] += owed[i];
    a.gradient.assign(n, 0.0);
    auto const body = g_.on_host();
    auto const held = body.template view<scalar>();
    backend::scalar_lanes<scalar> at{0};
    for (std::size_t i = 0; i < held.size(); ++i) {
      auto const ledger = options_.ledger.template arithmetic_for<scalar>(i / blocks_.block_values());
      a.gradient[i] = static_cast<double>(ledger.quantise(at, held[i]));
    }
    for (auto const& e : sums_out_) {
      a.pushed.push_back({e.peer, channel::tracker, plain(e.total.template view<value>().data())});
    }
    for (auto const& e : sums_in_) a.consumed.push_back({e.peer, channel::tracker, plain(e.consumed())});
  }
}

}  // namespace rubato

#undef RUBATO_GOSSIP_TEMPLATE
#undef RUBATO_GOSSIP
