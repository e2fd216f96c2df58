// SPDX-License-Identifier: MIT
// One node's end of a group whose nodes add up vectors together (collective/all_reduce.hpp), over any transport that
// loses nothing. The transport and the port belong to one thread.
//
//   auto const o = collective::options{};
//   auto me = collective::identity_of(to_node(self), nodes, nullptr, o);
//   auto wires = transport::tcp{me, {.addresses = addresses, .silence = o.patience}};
//   auto port = collective::port{me, wires, o};
//
// A port works inside calls only. Between two of them nothing is sent, heartbeats neither, so that over TCP, shared
// memory and MPI a node that computes for longer than the `silence` of the others counts as dead there, though they
// would wait for it: give the transport as much silence as the calls have patience.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/collective/choice.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/idle_spell.hpp>

namespace rubato::collective {

/// Costs and pieces must be the same at all nodes of a group: one that differs is refused.
struct options {
  link_costs costs{};  ///< by which all_reduce chooses, until measure_costs() has measured them
  std::size_t piece_values = std::size_t{1} << 16;  ///< of which a message has at most so many: of floats 256 KiB
  std::chrono::nanoseconds patience = std::chrono::seconds{30};  ///< for which a call waits for its next message
  /// For which a call asks again and again before it sleeps, and lets other threads of its core run in between: about
  /// as long as a sleeping core takes to wake.
  std::chrono::nanoseconds awake = std::chrono::microseconds{50};

  /// Throws config_error.
  void check() const {
    auto const is_cost = [](double c) { return c >= 0 && c < 1e300; };
    if (!is_cost(costs.message) || !is_cost(costs.byte) || !is_cost(costs.added_byte))
      throw config_error{"what messages and bytes cost is given in seconds, 0 or more"};
    if (piece_values == 0) throw config_error{"a message of an all-reduce needs a value at least"};
    if (patience <= std::chrono::nanoseconds{}) throw config_error{"the patience of an all-reduce must be above 0"};
    if (awake < std::chrono::nanoseconds{})
      throw config_error{"the time for which an all-reduce stays awake is 0 or more"};
  }
};

/// How a node of a group presents itself to its transport: all nodes 0 .. nodes-1 talk to each other. Throws
/// config_error.
[[nodiscard]] inline auto identity_of(node_id self, std::size_t nodes, wire::checksum check = nullptr,
                                      options const& o = {}) -> transport::identity {
  o.check();
  if (to_index(self) >= nodes) {
    throw config_error{transport::detail::to_text(self) + " is none of a group of " + std::to_string(nodes) +
                       ": the first one is node 0"};
  }
  transport::identity me;
  me.self = self;
  for (std::size_t i = 0; i < nodes; ++i) {
    if (i != to_index(self)) me.peers.push_back(to_node(i));
  }
  me.agreed.add("program", "all_reduce").add("nodes", nodes).add("checksum", check == nullptr ? "none" : "yes");
  auto const add = [&](std::string_view name, double cost) { me.agreed.add(name, shortest(cost)); };
  add("seconds a message", o.costs.message), add("seconds a byte", o.costs.byte);
  add("seconds a byte added up", o.costs.added_byte);
  me.agreed.add("nodes that work at once", o.costs.at_once).add("values a message", o.piece_values);
  me.blocks = block_partition{o.piece_values};
  constexpr auto carried = carrying(scalar_slot::sample_count);
  me.channels = {{channel_id::chunk, channel_kind::event, element::f32, carried, body_form::part},
                 {channel_id::gradient, channel_kind::event, element::f64, carried, body_form::part}};
  me.check = check;
  me.most_held = std::size_t{1} << 18;
  return me;
}

template<class T>
concept sends_to_the_end = requires(T& t, transport::clock::time_point until, std::vector<transport::incoming>& in) {
  { t.has_unsent() } -> std::convertible_to<bool>;
  t.flush(until, in);
};

/// After an error (run_error, which names the node at fault) a port takes no more calls: each throws the same sentence.
/// **Thread safety:** one owner.
template<class Transport>
class port {
  static_assert(transport::check_endpoint<Transport>());
  static_assert(Transport::lossless && Transport::ordered,
                "every message of an all-reduce counts: run it over a transport that loses nothing and keeps order "
                "(in_process, shared_memory, tcp, mpi), not over udp");
  static_assert(
      !Transport::lossless || sends_to_the_end<Transport>,
      "a transport that carries an all-reduce says with has_unsent() whether what was sent still waits in it, "
      "and flush(until, in) polls until nothing does");

 public:
  /// `me` is what `wires` was made with, by identity_of() with these options. Throws config_error.
  port(transport::identity const& me, Transport& wires, options const& o = {})
      : wires_{wires},
        pool_{me.pool},
        self_{to_index(me.self)},
        options_{o},
        costs_{o.costs},
        others_(me.peers.size() + 1) {
    auto const agreed = identity_of(me.self, others_.size(), me.check, o).agreed;
    if (!me.agreed.text().starts_with(agreed.text()) || me.blocks.values() != o.piece_values)
      throw config_error{"a port of an all-reduce has other costs or pieces than its identity: give both the same"};
    others_[self_].is_open = true;
  }
  port(port const&) = delete;
  auto operator=(port const&) -> port& = delete;
  /// Ends the session in order: waits until the others have come to the end of their ports too, for `patience` at most.
  ~port() {
    if (!failed_.empty()) return;
    wires_.announce({transport::peer_status::phase::left});
    auto const latest = transport::later(options_.patience);
    while (!wires_.everyone_left() && transport::clock::now() < latest) {
      news_.clear();
      wires_.poll((std::min)(latest, transport::later(std::chrono::milliseconds{50})), news_);
    }
  }

  [[nodiscard]] auto self() const -> std::size_t { return self_; }
  [[nodiscard]] auto nodes() const -> std::size_t { return others_.size(); }
  [[nodiscard]] auto costs() const -> link_costs const& { return costs_; }
  /// Must be the same at all nodes, or their calls wait for messages that nobody sends.
  void set_costs(link_costs const& c) { costs_ = c; }
  /// These values as a body that may be read until a message has come that depends on it, or the call ends. They stay
  /// where they are, if the transport lets go of them then; otherwise they are copied.
  template<class T>
  [[nodiscard]] auto body_of(std::span<T const> values) -> shared_buffer {
    if constexpr (requires { Transport::lets_go_of_bodies; }) return lender_.lend(values);
    else return copy_of(values);
  }
  template<class T>
  [[nodiscard]] auto copy_of(std::span<T const> values) -> shared_buffer {
    auto copy = pool_.template allocate<T>(values.size());
    std::copy(values.begin(), values.end(), copy.data());
    return std::move(copy).publish();
  }
  /// Of what a message says beside its body: the length of the whole vector, and above it the algorithm.
  static constexpr auto length_bits = 60;
  [[nodiscard]] auto piece_values() const -> std::size_t { return options_.piece_values; }

  // --- what a call needs

  /// Waits until all nodes are there; gives the call its number. `values`: of its vector, 0 if that is unknown.
  void begin_call(std::size_t values = 0) {
    if (!failed_.empty()) throw run_error{failed_};
    ++calls_;
    values_ = values;
    begin_waiting();
    while (true) {
      auto const missing = std::find_if(others_.begin(), others_.end(), [](auto const& o) { return !o.is_open; });
      if (missing == others_.end()) return;
      wait(static_cast<std::size_t>(missing - others_.begin()), false);
    }
  }
  /// Waits until all that this node has sent is out of its hands.
  void end_call() {
    begin_waiting();
    while (wires_.has_unsent()) {
      auto const slow = wires_.congested();
      wait(slow ? to_index(*slow) : self_, true);
    }
  }

  [[nodiscard]] auto may_send() const -> bool { return !wires_.congested(); }
  void send(std::size_t to, channel_id channel, shared_buffer body, std::uint64_t total) {
    packet p;
    p.from = to_node(self_);
    p.to = to_node(to);
    p.channel = channel;
    p.number = iteration{calls_};
    p.body = std::move(body);
    p.extra.set(scalar_slot::sample_count, total);
    auto const status = wires_.send(channel_kind::event, std::move(p));
    if (status == transport::send_status::refused || status == transport::send_status::closed) {
      take_news(transport::clock::now(), false);  // which may say why
      fail({to_node(to), transport::cause::how::gone}, name_of(to) + " takes nothing more");
    }
    begin_waiting();
  }
  /// The next message of a node, if it has come.
  [[nodiscard]] auto receive(std::size_t from) -> std::optional<packet> {
    auto& waiting = others_[from].waiting;
    if (waiting.empty()) return std::nullopt;
    auto first = std::move(waiting.front());
    waiting.pop_front();
    others_[from].values -= weight_of(first);
    begin_waiting();
    return first;
  }
  /// Waits for anything to come, above all from that node, or until nothing that was sent waits here if that is asked.
  void wait(std::size_t awaited, bool or_sent) {
    if (others_[awaited].has_left) {
      fail({to_node(awaited), transport::cause::how::gone},
           name_of(awaited) + " has ended in order, without a part in call " + std::to_string(calls_));
    }
    auto const now = transport::clock::now();
    auto const latest = since_ + options_.patience;
    if (now >= latest) give_up(awaited);
    auto const half = since_ + options_.patience / 2;
    if (now >= half && told_ < calls_) {  // so that others, who wait too, know that it is not for this node
      told_ = calls_;
      wires_.announce({transport::peer_status::phase::running, 2 * calls_});
    }
    take_news(now < half ? half : latest, or_sent);
  }
  /// Unless a call has ended, or the session has: closes all edges, so that nothing reads what was lent any more. For
  /// calls that end by an exception.
  void abandon() {
    if (is_over_) return;
    if (failed_.empty()) failed_ = "a call of all_reduce was left by an exception";
    close_all();
  }
  /// Ends the session at this node's fault.
  [[noreturn]] void refuse(std::string const& why) { fail({to_node(self_), transport::cause::how::failed}, why); }
  [[nodiscard]] auto call() const -> std::uint64_t { return calls_; }

 private:
  struct other {
    bool is_open = false;
    bool has_left = false;
    std::uint64_t in_call = 0;  // at least, as far as it has said
    std::deque<packet> waiting{};
    std::size_t values = 0;  // of them
    std::uint64_t newest = 0;  // the call of its last message
  };

  static auto name_of(std::size_t node) -> std::string { return transport::detail::to_text(to_node(node)); }
  void begin_waiting() { since_ = transport::clock::now(); }

  void take_news(transport::clock::time_point until, bool or_sent) {
    news_.clear();
    auto const ask = [&](transport::clock::time_point latest) {
      if (or_sent) wires_.flush(latest, news_);
      else wires_.poll(latest, news_);
      return !news_.empty() || (or_sent && !wires_.has_unsent());
    };
    auto idle = transport::detail::idle_spell<transport::clock::time_point>{options_.awake};
    for (auto is_done = false; !is_done;) {
      auto const latest = idle.end_of_wait(transport::clock::now(), until);
      is_done = ask(latest) || latest == until;
    }
    for (auto& n : news_) take(n);
  }
  void take(transport::incoming& n) {
    using what = transport::incoming::what;
    auto& o = others_[to_index(n.peer)];
    switch (n.kind) {
      case what::message:
        return keep(o, n.peer, std::move(n.p));
      case what::opened:
        if (o.is_open) return fail({n.peer, transport::cause::how::gone}, name_of(to_index(n.peer)) + " began anew");
        o.is_open = true;
        return begin_waiting();
      case what::stands:
        o.in_call = (std::max)(o.in_call, n.peer_status.level / 2);
        return;
      case what::left:
        o.has_left = true;
        return;
      case what::closed:
        return fail(n.because, n.why);
    }
  }
  static auto weight_of(packet const& p) -> std::size_t { return (std::max)(p.body.size(), std::size_t{1}); }
  /// A node may be in a later call than this one, but not past it: no call with values ends before this node has taken
  /// part in it, while of those without values any number may lie between. In a call it sends nobody more than twice
  /// its vector. So what waits is bounded, for a later call by the length that the node itself gives it.
  void keep(other& o, node_id peer, packet p) {
    auto const number = to_count(p.number);
    if (number < (std::max)(calls_, o.newest) || (number > o.newest && o.newest > calls_)) {
      fail({peer, transport::cause::how::failed}, name_of(to_index(peer)) + " has sent a message of call " +
                                                      std::to_string(number) + ", but this node is in call " +
                                                      std::to_string(calls_) + " of all_reduce");
    }
    o.in_call = (std::max)(o.in_call, number);
    o.newest = number;
    o.values += weight_of(p);
    auto const given = p.extra.count(scalar_slot::sample_count).value_or(0) & ((std::uint64_t{1} << length_bits) - 1);
    auto const length = number == calls_ && values_ > 0 ? values_ : static_cast<std::size_t>(given);
    if (o.values > 2 * values_ + 2 * length) {
      fail({peer, transport::cause::how::failed},
           name_of(to_index(peer)) + " has sent more values than call " + std::to_string(number) +
               " of all_reduce takes from a node, if it has " + std::to_string(length));
    }
    o.waiting.push_back(std::move(p));
  }
  /// Of a call that has lasted too long: whoever is not known to be in it is at fault, or else who is waited for.
  [[noreturn]] void give_up(std::size_t awaited) {
    auto const late = std::find_if(others_.begin(), others_.end(),
                                   [&](other const& o) { return &o != &others_[self_] && o.in_call < calls_; });
    auto const who = late == others_.end() ? awaited : static_cast<std::size_t>(late - others_.begin());
    fail({to_node(who), transport::cause::how::stalled}, name_of(who) + " has not come to call " +
                                                             std::to_string(calls_) + " of all_reduce within " +
                                                             transport::detail::seconds_text(options_.patience));
  }
  /// Tells the others whose fault it is. Then nothing more is sent, of bodies that were lent either.
  [[noreturn]] void fail(transport::cause const& because, std::string const& why) {
    failed_ = why;
    wires_.announce({transport::peer_status::phase::ended, 0, because});
    auto const latest = transport::later(std::chrono::seconds{1});
    while (!wires_.everyone_left() && transport::clock::now() < latest) {
      news_.clear();
      wires_.poll(transport::later(std::chrono::milliseconds{10}), news_);
    }
    close_all();
    throw run_error{failed_};
  }
  void close_all() {
    for (std::size_t i = 0; i < others_.size(); ++i) {
      if (i != self_) wires_.give_up(to_node(i), failed_);
    }
    is_over_ = true;
  }

  Transport& wires_;
  buffer_pool pool_;
  vector_lender lender_;
  std::size_t self_;
  options options_;
  link_costs costs_;
  std::vector<other> others_;  // by id
  std::vector<transport::incoming> news_;
  std::uint64_t calls_ = 0;
  std::uint64_t told_ = 0;  // the last call that was announced
  transport::clock::time_point since_{};  // when the call began, or last took or sent a message
  std::size_t values_ = 0;  // of the call
  std::string failed_;
  bool is_over_ = false;  // all edges are closed
};

}  // namespace rubato::collective
