// SPDX-License-Identifier: MIT
// The edges of one node: the nodes from which it pulls models, and the nodes from which it receives and to which it
// pushes tracked gradient. Sorted by id, so that every sum has one order; an edge can close and open again (law 11).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/incoming.hpp>
#include <rubato/algorithm/detail/mailbox.hpp>
#include <rubato/algorithm/detail/wide_total.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/statistics.hpp>
#include <rubato/mixing/neighbourhood.hpp>

namespace rubato::detail {

/// What every edge has: the node at its other end, its session, and whether it is open.
struct edge_session {
  node_id peer{};
  session_id session{};
  bool open = true;
  bool active = true;  // used in this direction: in the round for which weights were set last, or by these members
  static void visit_state(auto& self, auto&& visit) {
    visit.same("peer", to_index(self.peer));
    visit("session", self.session), visit("open", self.open), visit("active", self.active);
  }
  /// Whether an arriving message belongs to the current session. All algorithms check it here.
  [[nodiscard]] auto carries(patch const& p) const -> bool { return open && p.session == session; }
};

/// An edge on which messages arrive.
struct incoming_edge : edge_session {
  message_order order{};
  std::uint64_t accepted = 0;
  std::uint64_t overtaken = 0;  // or of another session
  age_counter age{};

  static void visit_state(auto& self, auto&& visit) {
    edge_session::visit_state(self, visit);
    visit("order", self.order), visit("accepted", self.accepted);
    visit("overtaken", self.overtaken), visit("age", self.age);
  }
  /// False for a message of another session: it is counted and must be ignored.
  [[nodiscard]] auto is_of_session(patch const& p) -> bool {
    if (!carries(p)) ++overtaken;
    return carries(p);
  }
  [[nodiscard]] auto counted(channel_id channel) const -> edge_statistics {
    return {peer, channel, accepted, overtaken, age};
  }
};

/// An edge on which messages go both ways, each way in a session of its own; `session` is that of incoming messages.
struct two_way_edge : incoming_edge {
  session_id outgoing{};

  static void visit_state(auto& self, auto&& visit) {
    incoming_edge::visit_state(self, visit);
    visit("outgoing", self.outgoing);
  }
  /// The edge as seen by outgoing messages.
  [[nodiscard]] auto outward() const -> edge_session { return {peer, outgoing, open}; }
  void change(neighbour_change const& c) {
    open = c.what != neighbour_change::edge::closes;
    session = c.incoming;
    outgoing = c.outgoing;
    order = {};
  }
};

/// Whether a message on an event channel may name its round, in based_on. It may
/// where neighbours agree on round numbers.
enum class named_rounds : std::uint8_t { no, yes };

/// After an edge opens in the middle of a run, each end may do one round before it has to wait for the other.
inline constexpr std::size_t opened_lead = 2;

/// An edge on which vectors arrive, with the newest of them.
template<class Backend, class U>
struct edge_in : edge_session {
  message_order order{};
  mailbox<Backend, U> box{};  // all that every message needs is in one cache line up to here
  std::size_t lead = 1;  // messages that may wait in the box, on an event channel
  bool is_heard = true;  // the other end waits in turn for messages of this node
  named_rounds rounds = named_rounds::no;
  std::uint64_t accepted = 0;
  std::uint64_t overtaken = 0;
  age_counter age{};

  static void visit_state(auto& self, auto&& visit) {
    edge_session::visit_state(self, visit);
    visit("box", self.box), visit("order", self.order), visit("lead", self.lead), visit("is heard", self.is_heard);
    visit("accepted", self.accepted), visit("overtaken", self.overtaken), visit("age", self.age);
  }

  /// Whether to keep a message: it belongs to this session, and it is valid on its channel. An invalid one sets
  /// out.failure. `passed`: the last message that the node could use now, on an event channel.
  [[nodiscard]] auto admit(node_id self, block_partition const& blocks, channel_spec const& spec, iteration passed,
                           patch const& p, outbox& out) -> bool {
    if (!carries(p)) {
      ++overtaken;
      return false;
    }
    if (auto wrong = malformed(p, blocks, spec)) return refuse(*wrong, out);
    if (spec.kind == channel_kind::event) return admit_next(self, passed, p, out);
    if (auto wrong = order.rise(p)) return refuse(*wrong, out);
    return true;
  }
  /// Closes the edge, or opens it or lets it resume; its first message is then for the round after `round`.
  void change(neighbour_change const& c, iteration round) {
    open = c.what != neighbour_change::edge::closes;
    session = c.incoming;
    order = {};
    box.begin_at(open ? round : iteration{});
  }
  /// Keeps an admitted message. `clock`: the owner's count, in which ages are measured.
  void put(Backend& backend, block_partition const& blocks, channel_kind kind, patch const& p, std::uint64_t clock) {
    auto newer = true;
    if (kind == channel_kind::event) box.enqueue(p, clock);
    else newer = box.accept(backend, blocks, p, clock);
    ++(newer ? accepted : overtaken);
  }

 private:
  [[gnu::cold]] static auto refuse(fault& wrong, outbox& out) -> bool {
    out.failure = std::move(wrong);
    return false;
  }
  /// A round that is no further ahead than a neighbour may be is accepted, however high its number.
  [[nodiscard]] auto may_name(iteration round, iteration passed) const -> bool {
    auto const most = (std::max)(most_taken_over, to_count(passed) + opened_lead);
    return rounds == named_rounds::yes && round > box.latest() && to_count(round) <= most;
  }
  [[nodiscard, gnu::cold]] auto fault_of_round(patch const& p) const -> fault {
    auto const round = std::to_string(to_count(p.based_on));
    auto const what = text_of_message(p, to_count(p.numbers[0])) + " is for round " + round;
    if (rounds == named_rounds::no) return {what + ", and here no message names a round"};
    if (p.based_on > box.latest()) return {what + ", which no run reaches"};
    return {what + ", and one for round " + std::to_string(to_count(box.latest())) + " came before it"};
  }
  /// For event channels.
  auto admit_next(node_id self, iteration passed, patch const& p, outbox& out) -> bool {
    if (auto wrong = order.follow(p)) return refuse(*wrong, out);
    box.drop_passed(passed);
    if (p.based_on != iteration{} && !may_name(p.based_on, passed)) {
      auto wrong = fault_of_round(p);
      return refuse(wrong, out);
    }
    auto const most = lead + (session == session_id{} && p.based_on == iteration{} ? 0 : opened_lead);
    // A neighbour that does not receive from this node may have lost the nodes that it waited for, and then runs ahead:
    // its oldest messages are dropped.
    if (!is_heard && box.queued() >= most) box.skip_oldest();
    if (box.queued() < most) return true;
    auto wrong = fault{text_of_message(p, to_count(p.numbers[0])) + " came while " + std::to_string(box.queued()) +
                       " of it wait at node " + std::to_string(to_index(self)) +
                       ", which is as far as a neighbour may be ahead"};
    return refuse(wrong, out);
  }
};

/// The model v_j of one in-neighbour of the pull graph.
template<class Backend, class T>
struct alignas(64) model_in : edge_in<Backend, T> {
  double weight = 0;
  iteration pulled{};  // number of the last one used, for its first block

  static void visit_state(auto& self, auto&& visit) {
    edge_in<Backend, T>::visit_state(self, visit);
    visit("weight", self.weight), visit("pulled", self.pulled);
  }
};

/// rho_ij and rho~_ij of one in-neighbour of the push graph.
template<class Backend, class U>
struct alignas(64) sum_in : edge_in<Backend, U> {
  using edge_in<Backend, U>::box, edge_in<Backend, U>::age;
  shared_buffer consumed_whole{};  // rho~ by reference, while whole vectors arrive
  writable_buffer<U> consumed_parts{};  // rho~ as a copy, once parts arrive
  std::vector<iteration> consumed_numbers{};  // per block, for parts only
  iteration consumed_number{};
  wide_total<Backend, U> wide{};

  static void visit_state(auto& self, auto&& visit) {
    edge_in<Backend, U>::visit_state(self, visit);
    visit("consumed, whole", self.consumed_whole), visit("consumed, parts", self.consumed_parts);
    visit("consumed numbers", self.consumed_numbers), visit("consumed number", self.consumed_number);
    visit("wide", self.wide);
  }

  [[nodiscard]] auto consumed() const -> U const* {
    if (consumed_parts) return consumed_parts.data();
    return consumed_whole.template view<U>().data();
  }

  /// rho~ <- rho: free for whole vectors; otherwise copies the blocks that are new.
  void mark_consumed(Backend& backend, block_partition const& blocks, instant now) {
    if (box.values() == nullptr) return;
    if (box.is_whole()) {
      if (box.of(0).number > consumed_number) age.add(now - box.of(0).posted);
      consumed_number = box.of(0).number;
      consumed_whole = box.whole();
      consumed_parts = {};
      consumed_numbers.clear();
      return;
    }
    if (!consumed_parts) begin_parts(backend, blocks);
    for (std::size_t block = 0; block < blocks.blocks(); ++block) {
      if (!(box.of(block).number > consumed_numbers[block])) continue;
      auto const r = blocks.values_of({block, block + 1});
      backend.sweep(r, backend::copy_kernel<U>{box.values(), consumed_parts.data()});
      consumed_numbers[block] = box.of(block).number;
      age.add(now - box.of(block).posted);
    }
    consumed_number = box.number();
  }

  void forget_consumed() {
    consumed_whole = {};
    consumed_parts = {};
    consumed_numbers.clear();
    consumed_number = {};
    wide = {};
  }

 private:
  void begin_parts(Backend& backend, block_partition const& blocks) {
    consumed_parts = backend.template allocate<U>(blocks.values());
    auto const all = range{0, blocks.values()};
    if (consumed_whole) {
      backend.sweep(all, backend::copy_kernel<U>{consumed_whole.template view<U>().data(), consumed_parts.data()});
    } else {
      backend.sweep(all, backend::zero_kernel<U>{consumed_parts.data()});
    }
    consumed_numbers.assign(blocks.blocks(), consumed_number);
    consumed_whole = {};
  }
};

/// rho_ji of one out-neighbour of the push graph; its value is the last body published.
struct no_motion {};
template<class Backend, class U, class Motion = no_motion>
struct sum_out : edge_session {
  double weight = 0;
  shared_buffer total{};
  writable_buffer<U> fresh{};  // of the current pass, unless another edge has it
  std::size_t source = 0;  // of the current pass: the edge that has it
  std::size_t readers = 1;  // of the current pass, if this edge has it: those that are sent this sum
  wide_total<Backend, U> wide{};
  [[no_unique_address]] Motion motion{};  // what a codec of sums remembers of them
  static void visit_state(auto& self, auto&& visit) {
    edge_session::visit_state(self, visit);
    visit("weight", self.weight), visit("total", self.total), visit("wide", self.wide), visit("motion", self.motion);
  }
};

/// Whether this node sends anything to `peer`.
inline auto hears(mixing::neighbourhood const& n, node_id peer) -> bool {
  return std::any_of(n.pull_to.begin(), n.pull_to.end(), [&](node_id to) { return to == peer; }) ||
         std::any_of(n.push_to.begin(), n.push_to.end(), [&](auto const& e) { return e.peer == peer; });
}

/// How many messages of a neighbour may wait unused: those of the current round and of the next one, if the neighbour
/// waits in turn for messages of this node. A neighbour that receives nothing from this node waits for a node that
/// does, over at most as many edges as there are nodes, while none of these edges is closed.
template<class Synchrony>
auto lead_of(mixing::neighbourhood const& n, node_id peer, Synchrony const& synchrony) -> std::size_t {
  std::size_t one = 2;
  std::size_t rounds = 1;
  if constexpr (requires { synchrony.bound; }) {
    one = 4;
    rounds +=
        static_cast<std::size_t>(std::min<std::uint64_t>(synchrony.bound, std::uint64_t{1} << 31));  // times n must fit
  }
  return hears(n, peer) ? one : one + n.nodes * rounds;
}

/// The last message of each neighbour that a node may use after `done` iterations of its own.
template<class Synchrony>
auto last_usable(Synchrony const& synchrony, iteration done) -> iteration {
  if constexpr (Synchrony::delivery == channel_kind::event) return synchrony.latest(done);
  else return done;
}

/// Gives these in-edges what they are in another neighbourhood: that from a node that `sends` is used.
template<class Edges, class IsSender, class Synchrony>
void take_senders(Edges& edges, mixing::neighbourhood const& n, IsSender const& sends, Synchrony const& synchrony) {
  for (auto& e : edges) {
    e.active = sends(e.peer);
    e.lead = lead_of(n, e.peer, synchrony);
    e.is_heard = hears(n, e.peer);
  }
}

/// A receiver of this node's model.
struct model_out : edge_session {};

/// The edge to or from `peer`, or null.
template<class Edge>
auto find_edge(std::vector<Edge>& edges, node_id peer) -> Edge* {
  auto* at = edges.data();
  auto n = edges.size();
  while (n > 8) {  // the last edge whose id is not above `peer` is among these n
    auto const half = n / 2;
    at = at[half].peer <= peer ? at + half : at;
    n -= half;
  }
  Edge* found = nullptr;  // no early exit: all loads can be under way at once
  for (auto* const end = at + n; at != end; ++at) found = at->peer == peer ? at : found;
  return found;
}

}  // namespace rubato::detail
