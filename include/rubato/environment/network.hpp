// SPDX-License-Identifier: MIT
// The simulated links: when a packet leaves, whether and when it arrives, and what is counted on the way.
// Every random draw is keyed by edge, channel and packet number, so it does not depend on the order of events. Bursts
// of loss strike a directed edge whatever the channel, and are keyed by the edge and the number of the packet on it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <rubato/core/detail/fetch.hpp>
#include <rubato/core/edge_report.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/random.hpp>
#include <rubato/environment/scenario.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::environment {

/// The outcome of one packet's journey: its arrivals (0, 1 or 2 of them).
struct journey {
  std::optional<nanoseconds> arrival{};
  std::optional<nanoseconds> second{};
};

class network {
 public:
  static constexpr std::size_t no_block = (std::numeric_limits<std::size_t>::max)();

  network(scenario const& s, std::size_t nodes)
      : scenario_{&s}, from_(nodes), machines_(s.machine_bits_per_second > 0 ? nodes : 0) {}

  /// Counters of one channel of one directed edge; see the members of edge_report with the same names.
  struct traffic {
    std::uint64_t packets_sent = 0;  ///< numbers the random draws too
    std::uint64_t values_sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t lost = 0;
    std::uint64_t duplicated = 0;
    std::uint64_t conflated = 0;
    std::uint64_t delivered = 0;

    static void visit_state(auto& self, auto&& visit) {
      visit("packets sent", self.packets_sent), visit("values sent", self.values_sent);
      visit("bytes sent", self.bytes_sent), visit("lost", self.lost), visit("duplicated", self.duplicated);
      visit("conflated", self.conflated), visit("delivered", self.delivered);
    }
  };
  /// One channel of one directed edge. A large run has millions, so a channel holds what every packet needs and no
  /// more.
  struct channel {
    channel_id name{};
    channel_kind kind{};
    random_stream key{{}};  // of its random draws, which are numbered by its packets
    traffic counts{};
    std::unique_ptr<packet> pending{};  // state channels: the newest that waits for the link

    static void visit_state(auto& self, auto&& visit) {
      visit("name", self.name), visit("kind", self.kind), visit("key", self.key), visit("counts", self.counts);
      visit("pending", self.pending);
    }
  };
  struct window {
    nanoseconds from{};
    nanoseconds until{};
  };
  struct edge {
    node_id from{};
    node_id to{};
    link_model const* link = nullptr;
    bool is_calm = false;  // packets of state channels arrive once and in order
    nanoseconds free_at{};
    nanoseconds last_arrival{};  // event channels keep one order on an edge, as one TCP connection would
    bool departure_scheduled = false;
    std::size_t turn = 0;  // the channel whose packet may leave first
    std::vector<channel> channels{};
    std::vector<window> cuts{};  // partitions of this edge, by beginning
    std::uint64_t carried = 0;  // packets, each try counted: numbers the draws of bursts
    bool bad = false;  // in a burst of loss

    static void visit_state(auto& self, auto&& visit) {
      visit("from", self.from), visit("to", self.to), visit("free at", self.free_at);
      visit("last arrival", self.last_arrival), visit("departure scheduled", self.departure_scheduled);
      visit("turn", self.turn), visit("channels", self.channels), visit("carried", self.carried),
          visit("bad", self.bad);
    }
  };

  static void visit_state(auto& self, auto&& visit) {
    visit("from", self.from_), visit("machines", self.machines_);
    for (auto& mine : self.from_) {
      for (auto& e : mine.edges) {
        self.settle(e);
      }
    }
  }

  /// O(1) if nodes send to their neighbours in turns, else O(log degree). Valid until a new edge of `from` is added.
  auto edge_between(node_id from, node_id to) -> edge& {
    auto& mine = from_[to_index(from)];
    auto place = mine.turn < mine.edges.size() ? mine.turn : 0;
    if (mine.edges.empty() || mine.edges[place].to != to) place = place_of(mine, from, to);
    mine.turn = place + 1;
    return mine.edges[place];
  }
  /// Prefetches what a node needs to send: its list of edges and then, when that is in the cache, the edges.
  void fetch_list(std::size_t node) const { detail::fetch(&from_[node]); }
  void fetch_edges(std::size_t node) const { detail::fetch<512>(from_[node].edges.data()); }

  /// Valid until a new channel of e is added.
  auto channel_of(edge& e, channel_id name, channel_kind kind) -> channel& {
    for (auto& l : e.channels) {
      if (l.name == name) return l;
    }
    return e.channels.emplace_back(
        channel{name, kind,
                random_stream{{scenario_->seed, 0x6c696e6bULL, static_cast<std::uint64_t>(e.from),
                               static_cast<std::uint64_t>(e.to), static_cast<std::uint64_t>(name)}}});
  }

  /// Whether a packet of that channel must wait for a busy link. Events need not wait here; they queue on the link.
  [[nodiscard]] static auto must_wait(edge const& e, channel const& c, nanoseconds now) -> bool {
    return c.kind == channel_kind::state && e.free_at > now;
  }
  /// For state channels: p waits, and replaces an older packet that waits. False if it replaced one.
  static auto keep_waiting(channel& c, packet&& p) -> bool {
    auto const is_first = c.pending == nullptr;
    if (!is_first) ++c.counts.conflated;
    c.pending = std::make_unique<packet>(std::move(p));
    return is_first;
  }
  /// The channel whose packet leaves next, or null. Channels take turns, so that none starves on a slow link.
  [[nodiscard]] static auto next_to_leave(edge& e) -> channel* {
    for (std::size_t k = 0; k < e.channels.size(); ++k) {
      auto& c = e.channels[(e.turn + k) % e.channels.size()];
      if (c.pending) return &c;
    }
    return nullptr;
  }
  [[nodiscard]] static auto take_waiting(edge& e, channel& c) -> std::unique_ptr<packet> {
    e.turn = static_cast<std::size_t>(&c - e.channels.data() + 1) % e.channels.size();
    return std::exchange(c.pending, nullptr);
  }

  /// Puts `values` values of p on the link, now or as soon as it is free.
  auto transmit(edge& e, channel& l, packet const& p, std::size_t values, nanoseconds now) -> journey {
    auto const bytes = wire::header_bytes + values * bytes_of(p.body.kind());
    auto draw = l.key.with(l.counts.packets_sent++);
    auto const sending = sending_time(*e.link, bytes);
    e.free_at = (std::max)(now, e.free_at) + sending;
    l.counts.values_sent += values;
    l.counts.bytes_sent += bytes;
    if (scenario_->machine_bits_per_second > 0) e.free_at = leave_machine(e, now, bytes);
    auto arrival = e.free_at + e.link->latency + some_of(e.link->jitter, draw);
    if (scenario_->machine_bits_per_second > 0) arrival = enter_machine(e, arrival, bytes);
    if (l.kind == channel_kind::event) return retransmitted(e, l, arrival, {bytes, sending}, draw);
    return e.is_calm ? journey{arrival, {}} : carried(e, l, arrival, draw);
  }

  /// How long a link is busy with so many bytes.
  static auto sending_time(link_model const& l, std::size_t bytes) -> nanoseconds {
    return l.bits_per_second <= 0 ? nanoseconds{} : time_at_rate(l.bits_per_second, bytes);
  }

  /// By all nodes so far; O(edges).
  [[nodiscard]] auto bytes_sent() const -> std::uint64_t {
    std::uint64_t bytes = 0;
    for (auto const& mine : from_) {
      for (auto const& e : mine.edges) {
        for (auto const& l : e.channels) bytes += l.counts.bytes_sent;
      }
    }
    return bytes;
  }

  void collect(std::vector<edge_report>& reports) const {
    auto count = reports.size();
    for (auto const& mine : from_) {
      for (auto const& e : mine.edges) count += e.channels.size();
    }
    reports.reserve(count);
    for (std::size_t i = 0; i < from_.size(); ++i) collect_from(i, reports);
  }
  /// The edges from one node.
  void collect_from(std::size_t node, std::vector<edge_report>& reports) const {
    for (auto const& e : from_[node].edges) {
      for (auto const& l : e.channels) reports.push_back(report_of(e, l));
    }
  }

 private:
  /// The edges from one node in the order in which they were added, and their places by the id of the other end.
  struct outgoing {
    std::vector<edge> edges;
    std::vector<std::uint32_t> by_id;
    std::size_t turn = 0;  // nodes send to their neighbours in turns: the place of the next one
    static void visit_state(auto& self, auto&& visit) {
      visit("edges", self.edges), visit("by id", self.by_id), visit("turn", self.turn);
    }
  };

  static auto report_of(edge const& e, channel const& l) -> edge_report {
    auto const& c = l.counts;
    return {.from = e.from,
            .to = e.to,
            .channel = l.name,
            .packets_sent = c.packets_sent,
            .values_sent = c.values_sent,
            .bytes_sent = c.bytes_sent,
            .lost = c.lost,
            .duplicated = c.duplicated,
            .conflated = c.conflated,
            .delivered = c.delivered};
  }

  /// The place of the edge to `to`, which is added if it is new.
  [[gnu::noinline]] auto place_of(outgoing& mine, node_id from, node_id to) -> std::size_t {
    auto const at = std::lower_bound(mine.by_id.begin(), mine.by_id.end(), to,
                                     [&](std::uint32_t place, node_id id) { return mine.edges[place].to < id; });
    if (at != mine.by_id.end() && mine.edges[*at].to == to) return *at;
    mine.by_id.insert(at, static_cast<std::uint32_t>(mine.edges.size()));
    auto& e = mine.edges.emplace_back();
    e.from = from;
    e.to = to;
    settle(e);
    return mine.edges.size() - 1;
  }

  /// The scenario's link model of an edge.
  void settle(edge& e) const {
    e.link = &scenario_->link_of(e.from, e.to);
    e.cuts = cuts_of({e.from, e.to});
    e.is_calm = e.link->loss <= 0 && e.link->bursts.begin <= 0 && e.link->overtaking <= 0 && e.link->duplication <= 0 &&
                e.cuts.empty();
  }

  struct cost {
    std::size_t bytes;
    nanoseconds sending;
  };

  /// Machines send to all others, and receive from all, one packet at a time, in the order in which packets are posted.
  [[gnu::noinline]] auto machine_time(std::size_t bytes) const -> nanoseconds {
    return time_at_rate(scenario_->machine_bits_per_second, bytes);
  }
  [[gnu::noinline]] auto leave_machine(edge const& e, nanoseconds now, std::size_t bytes) -> nanoseconds {
    auto& its = machines_[to_index(e.from)];
    its.sends_until = (std::max)(e.free_at, (std::max)(now, its.sends_until) + machine_time(bytes));
    return its.sends_until;
  }
  /// A packet enters while it leaves, unless others hold it up there.
  [[gnu::noinline]] auto enter_machine(edge const& e, nanoseconds arrival, std::size_t bytes) -> nanoseconds {
    auto& its = machines_[to_index(e.to)];
    its.receives_until = (std::max)(arrival, its.receives_until + machine_time(bytes));
    return its.receives_until;
  }

  [[gnu::noinline]] static auto time_at_rate(double bits_per_second, std::size_t bytes) -> nanoseconds {
    return nanoseconds{std::llround((std::min)(8e9 * static_cast<double>(bytes) / bits_per_second, 1e16))};  // 115 days
  }
  static auto some_of(nanoseconds most, random_stream& draw) -> nanoseconds {
    return most.count() <= 0
               ? nanoseconds{}
               : nanoseconds{static_cast<std::int64_t>(draw.below(static_cast<std::uint64_t>(most.count()) + 1))};
  }

  [[nodiscard]] auto cuts_of(topology::edge which) const -> std::vector<window> {
    std::vector<window> cuts;
    for (auto const& p : scenario_->partitions) {
      if (std::find(p.edges.begin(), p.edges.end(), which) != p.edges.end()) cuts.push_back({p.from, p.until});
    }
    std::sort(cuts.begin(), cuts.end(), [](window const& a, window const& b) { return a.from < b.from; });
    return cuts;
  }
  /// The first partition of e that a packet meets between leaving and arriving, or null.
  static auto met(edge const& e, nanoseconds leaves, nanoseconds arrives) -> window const* {
    for (auto const& w : e.cuts) {
      if (leaves < w.until && arrives >= w.from) return &w;
    }
    return nullptr;
  }

  /// Whether e loses the next packet at random (partitions are treated elsewhere).
  auto loses_next(edge& e, random_stream& draw) const -> bool {
    auto loss = e.link->loss;
    auto const& bursts = e.link->bursts;
    if (bursts.begin > 0) {
      auto turn = random_stream{{scenario_->seed, 0x6275727374ULL, static_cast<std::uint64_t>(e.from),
                                 static_cast<std::uint64_t>(e.to), e.carried++}};
      e.bad = e.bad ? !turn.chance(bursts.end) : turn.chance(bursts.begin);
      if (e.bad) loss = bursts.loss;
    }
    return loss > 0 && draw.chance(loss);
  }

  [[gnu::noinline]] auto carried(edge& e, channel& l, nanoseconds arrival, random_stream& draw) const -> journey {
    auto const& link = *e.link;
    journey j;
    if (link.overtaking > 0 && draw.chance(link.overtaking)) arrival += some_of(4 * link.latency, draw);
    if (loses_next(e, draw) || met(e, e.free_at, arrival) != nullptr) ++l.counts.lost;
    else j.arrival = arrival;
    if (link.duplication > 0 && draw.chance(link.duplication)) {
      ++l.counts.duplicated;
      auto const second = arrival + some_of(4 * link.latency, draw);
      if (met(e, e.free_at, second) != nullptr) ++l.counts.lost;
      else j.second = second;
    }
    return j;
  }

  // Each loss is noticed and repaired after two round trips, on the same link; later messages wait behind it. A packet
  // that meets a partition is sent again when the partition has healed.
  [[gnu::noinline]] auto retransmitted(edge& e, channel& l, nanoseconds arrival, cost c, random_stream& draw) const
      -> journey {
    auto const again = [&] {
      ++l.counts.lost;
      l.counts.bytes_sent += c.bytes;
      e.free_at += c.sending;
    };
    auto leaves = e.free_at;
    while (loses_next(e, draw)) {
      arrival += 4 * e.link->latency + c.sending;
      again();
    }
    while (auto const* cut = met(e, leaves, arrival)) {
      auto const travels = (std::max)(arrival - leaves, e.link->latency);
      leaves = cut->until + c.sending;
      arrival = leaves + travels;
      again();
    }
    e.last_arrival = (std::max)(e.last_arrival, arrival);
    return {e.last_arrival, std::nullopt};
  }

  scenario const* scenario_;
  std::vector<outgoing> from_;
  struct machine {
    nanoseconds sends_until{}, receives_until{};
    static void visit_state(auto& self, auto&& visit) {
      visit("sends until", self.sends_until), visit("receives until", self.receives_until);
    }
  };
  std::vector<machine> machines_;  // by node, if machines limit what they send and receive
};

}  // namespace rubato::environment
