// SPDX-License-Identifier: MIT
// What a transport is: the ends of one node's edges, between which packets travel. One thread owns and polls it;
// sending never waits. A transport declares what it guarantees (law 3), counts what it refuses, and gives every wait a
// deadline (law 8).
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/core/channel_table.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/transport/peer_status.hpp>
#include <rubato/wire/agreement.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::transport {

using clock = std::chrono::steady_clock;

/// One process's clock: instants are nanoseconds since it began. `began` says when that was, in nanoseconds since 1970,
/// so that times of one host (or of hosts whose clocks agree) can be brought to one origin.
struct run_clock {
  clock::time_point begin = clock::now();
  std::int64_t began =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();

  [[nodiscard]] auto now() const -> instant {
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - begin)};
  }
  [[nodiscard]] auto at(instant t) const -> clock::time_point { return begin + t.since_start; }
  /// The instant `theirs` of a clock that began at that time, on this clock.
  [[nodiscard]] auto from(std::int64_t other_began, instant theirs) const -> instant {
    // A received time may be any number, so it is limited to 73 years. (Sums of such times are made in double.)
    static constexpr auto most = std::int64_t{1} << 61;
    auto const held = [](std::int64_t v) { return std::clamp(v, -most, most); };
    return {std::chrono::nanoseconds{held(theirs.since_start.count()) + held(held(other_began) - held(began))}};
  }
};

/// That far from now, or the end of the clock if that is sooner.
[[nodiscard]] inline auto later(std::chrono::nanoseconds from_now) -> clock::time_point {
  auto const now = clock::now();
  return now + std::min<std::chrono::nanoseconds>(from_now, (clock::time_point::max)() - now);
}

/// How a node presents itself to its transport, and what its messages may look like.
struct identity {
  node_id self{};
  std::vector<node_id> peers;  ///< nodes with which messages are exchanged in either direction; sorted
  wire::agreement agreed;  ///< peers with another one are refused
  block_partition blocks;  ///< of every vector
  std::vector<channel_spec> channels;  ///< other messages are refused
  buffer_pool pool;  ///< holds bodies that arrive as bytes
  wire::checksum check = nullptr;  ///< over whole frames, beyond what the transport checks by itself
  run_clock time{};  ///< of the owner; received times are brought to it
  std::uint32_t opened_before =
      0;  ///< the number of its first session: above 0 if former processes had some (sessions_before())
  /// Bytes of events with which a poll returns, so that they can be used while they are in the cache.
  std::size_t most_held = std::size_t{16} << 20;
};

/// What became of a packet that was given to send().
enum class send_status : std::uint8_t {
  accepted,  ///< it is sent as soon as the link is free
  replaced,  ///< accepted, and replaces an older one of its state channel
  full,  ///< accepted, but so many events wait for the link that no gradient should be begun
  refused,  ///< not sent, since the queue of events has grown far beyond its bound: give the peer up, or end the run
  closed,  ///< dropped, since the edge is closed
};

/// What a poll returns.
struct incoming {
  enum class what : std::uint8_t {
    message,  ///< `p` with the values of `blocks`
    opened,  ///< the edge to `peer` has begun a session
    stands,  ///< the peer has a new status, `peer_status`: nearer to its beginning, or running
    closed,  ///< the peer died, fell silent, never came or ended by an error: `why` is a sentence about it
    left,  ///< the peer has ended its run in order
  };
  what kind{};
  node_id peer{};
  packet p{};
  range blocks{};
  session_id outgoing{};  ///< opened: the session of packets to the peer from now on
  session_id incoming{};  ///< opened: the session of packets from the peer
  std::string why{};
  cause because{};  ///< closed: the node at fault, which need not be the peer
  transport::peer_status peer_status{};
};

/// Counters of one channel to and from one peer.
struct traffic {
  node_id peer{};
  channel_id channel{};
  std::uint64_t packets = 0;  ///< sent; for vectors that travel as blocks: datagrams
  std::uint64_t values = 0;
  std::uint64_t bytes = 0;  ///< bodies and headers
  std::uint64_t replaced = 0;  ///< replaced by a newer one before they were sent
  std::uint64_t lost = 0;  ///< dropped here, on purpose or because the edge was closed
  std::uint64_t delivered = 0;  ///< received and handed to the owner
  std::uint64_t skipped = 0;  ///< received, and replaced by a newer one before the owner polled
  std::uint64_t bytes_in = 0;  ///< of bodies received
  std::uint64_t late = 0;  ///< received after a newer one (udp); counted among the others too
};

[[nodiscard]] inline auto bytes_sent(std::vector<traffic> const& all) -> std::uint64_t {
  std::uint64_t bytes = 0;
  for (auto const& t : all) bytes += t.bytes;
  return bytes;
}

/// What was refused, by reason.
struct rejections {
  /// Connections that sent no valid hello in time; over UDP, datagrams of who is no peer, or that its key did not seal,
  /// or that had come before.
  std::uint64_t strangers = 0;
  std::uint64_t options = 0;  ///< peers with other options
  std::uint64_t frames =
      0;  ///< frames that were malformed, of another run, damaged, too large, or not of that peer and its channels
  std::uint64_t crowded = 0;  ///< connections closed because too many were unidentified at once
  [[nodiscard]] auto total() const -> std::uint64_t { return strangers + options + frames + crowded; }

  static void visit_state(auto& self, auto&& visit) {
    visit("strangers", self.strangers), visit("options", self.options), visit("frames", self.frames);
    visit("crowded", self.crowded);
  }
};

template<class T>
concept says_what_it_gives = requires {
  { T::lossless } -> std::convertible_to<bool>;
  { T::ordered } -> std::convertible_to<bool>;
};

template<class T>
concept sends = requires(T& t, packet p, channel_kind kind) {
  { t.send(kind, std::move(p)) } -> std::same_as<send_status>;
  { t.congested() } -> std::same_as<std::optional<node_id>>;
  t.give_up(node_id{}, std::string{});
};

template<class T>
concept polls = requires(T& t, clock::time_point until, std::vector<incoming>& in) {
  t.poll(until, in);
  t.wake();
};

template<class T>
concept stands = requires(T& t, peer_status s) {
  t.announce(s);
  { t.everyone_left() } -> std::convertible_to<bool>;
};

template<class T>
concept counts = requires(T const& t) {
  { t.traffic_of() } -> std::convertible_to<std::vector<traffic>>;
  { t.rejected() } -> std::convertible_to<rejections>;
};

/// Not checked, but required:
/// - send never waits. A state packet that finds its link busy waits for it, and the next one of its channel replaces
///   it; an event waits in a queue of bounded length;
/// - congested names a peer for which so many events wait that no gradient should be begun;
/// - give_up closes the edge to a peer, and does nothing if it is closed. The edge is then reported as `closed`, with
///   `why` in the sentence about it;
/// - what is kept of peers' messages between two polls is bounded, whatever they send;
/// - poll appends to `in` and returns as soon as there is something, at `until` at the latest, and possibly earlier;
/// - wake may be called from any thread and ends a poll; everything else belongs to one thread;
/// - each wait has a deadline: a peer that does not come, or falls silent, is `closed` with its name;
/// - announce sets this node's status, at first arriving(0), if it is greater than the present one. Peers are told at
///   once and, if frames may be lost, again and again; a peer that comes later is told when its edge opens. What others
///   announce is reported as `stands` or `left` or, if they ended by an error, as `closed` with the node they blame;
/// - after a last status (left, ended) nothing is sent. everyone_left says when all peers have sent their last status
///   too, or are gone. After `ended` this is soon, since peers need not answer it.
template<class T>
concept endpoint = says_what_it_gives<T> && sends<T> && polls<T> && stands<T> && counts<T>;

/// Checked where a driver uses a transport; each sentence needs no context.
template<class T>
consteval auto check_endpoint() -> bool {
  static_assert(says_what_it_gives<T>, "a transport says in two constants whether it is lossless and ordered");
  static_assert(sends<T>,
                "a transport has send(kind, packet), which returns a send_status, congested(), which may name a "
                "peer, and give_up(peer, why)");
  static_assert(polls<T>, "a transport has poll(until, in), which appends to a vector of incoming, and wake()");
  static_assert(stands<T>, "a transport has announce(peer_status) and everyone_left()");
  static_assert(counts<T>, "a transport has traffic_of() and rejected(), which count what passed and what did not");
  return true;
}

namespace detail {

template<class Node>
concept says_its_channels_early = requires { std::integral_constant<std::size_t, Node::channels().size()>{}; };

template<class Node>
consteval auto every_message_counts() -> bool {
  auto counts = false;
  for (auto const& c : Node::channels()) counts = counts || c.kind == channel_kind::event;
  return counts;
}

}  // namespace detail

/// Checked where a node of known type uses a transport; each sentence needs no context.
template<class T, class Node>
consteval auto check_carries() -> bool {
  if constexpr (!T::lossless) {
    static_assert(
        detail::says_its_channels_early<Node>,
        "a node that runs over a transport which may lose messages declares its channels in a constexpr function");
    if constexpr (detail::says_its_channels_early<Node>) {
      static_assert(
          !detail::every_message_counts<Node>(),
          "every message of this node counts, and this transport may lose some: run it over one that is lossless");
    }
  }
  return true;
}

namespace detail {

/// 0.08 s, 5.0 s
inline auto seconds_text(std::chrono::nanoseconds d) -> std::string {
  auto const text = shortest(to_seconds(d));
  return (text.find_first_of(".e") == text.npos ? text + ".0" : text) + " s";
}

/// The name of a peer in sentences; `place` as in "node 1 at 127.0.0.1:5000".
inline auto to_text(node_id id, std::string const& place = {}) -> std::string {
  return "node " + std::to_string(to_index(id)) + (place.empty() ? "" : " at " + place);
}

// What an owner is told of a peer; `name` is the peer's name in sentences.
inline auto closed_news(node_id peer, std::string why, cause c) -> incoming {
  return {incoming::what::closed, peer, {}, {}, {}, {}, std::move(why), c};
}
inline constexpr auto stalled_words = "it reads too slowly, or not at all";
inline auto gone_news(node_id peer, std::string const& name, std::string const& why) -> incoming {
  return closed_news(peer, name + " is gone: " + why, {peer, cause::how::gone});
}
inline auto status_news(node_id peer, std::string const& name, peer_status const& s) -> incoming {
  if (s.at == peer_status::phase::ended)
    return closed_news(peer, name + " has ended because " + to_text(s.because, peer), s.because);
  auto const kind = s.at == peer_status::phase::left ? incoming::what::left : incoming::what::stands;
  return {kind, peer, {}, {}, {}, {}, {}, {}, s};
}
inline auto absence_text(std::string const& name, std::chrono::nanoseconds limit) -> std::string {
  return name + " has not come within " + seconds_text(limit);
}

/// The counters of one channel and peer, made at first use.
inline auto count_of(std::vector<traffic>& all, node_id peer, channel_id channel) -> traffic& {
  for (auto& t : all) {
    if (t.peer == peer && t.channel == channel) return t;
  }
  return all.emplace_back(traffic{peer, channel});
}

/// Whether `fresh` replaces `old`: both from the same peer and state channel, for the same blocks.
inline auto overtakes(packet const& fresh, packet const& old) -> bool {
  return fresh.session == old.session && old.number <= fresh.number;
}

/// Appends a message. On a state channel it replaces an older one that was not handed over yet (the newest wins).
inline void hand_over(std::vector<incoming>& in, channel_kind kind, incoming&& fresh, std::vector<traffic>& counts) {
  auto& count = count_of(counts, fresh.peer, fresh.p.channel);
  ++count.delivered;
  count.bytes_in += fresh.p.body.size_bytes();
  if (kind == channel_kind::state) {
    auto const replaced = std::erase_if(in, [&](incoming const& old) {
      return old.kind == incoming::what::message && old.peer == fresh.peer && old.p.channel == fresh.p.channel &&
             old.blocks == fresh.blocks && overtakes(fresh.p, old.p);
    });
    count.delivered -= replaced;
    count.skipped += replaced;
  }
  in.push_back(std::move(fresh));
}

/// Checks incoming frames against what their channel declares, before memory is allocated.
class frame_filter {
 public:
  explicit frame_filter(identity const& me) : self_{me.self}, blocks_{me.blocks} {
    for (auto const& s : me.channels) specs_[static_cast<std::size_t>(s.channel)] = s;
  }

  [[nodiscard]] auto kind_of(channel_id channel) const -> channel_kind {
    return specs_[static_cast<std::size_t>(channel)].kind;
  }

  /// Whether a frame that was decoded may be a message of this peer to this node.
  [[nodiscard]] auto admits(wire::frame_view const& f, node_id from) const -> bool {
    auto const& s = specs_[static_cast<std::size_t>(f.head.channel)];
    if (f.head.from != from || f.head.to != self_ || s.values == element::none || f.kind != s.values) return false;
    if ((f.head.extra.mask() & ~s.carried_scalars) != 0 || to_count(f.head.number) == 0) return false;
    if (f.blocks.end > blocks_.blocks() || f.blocks.empty()) return false;
    auto const counts = s.kind == channel_kind::event;
    if (counts && f.blocks.size() != blocks_.blocks()) return false;  // events are never cut into blocks
    switch (s.body) {  // the algorithm knows the exact size of parts and codes, and checks it
      case body_form::whole:
        return f.values == blocks_.values_of(f.blocks).size();
      case body_form::part:
        return f.values <= blocks_.values();
      case body_form::codes:
        return f.values <= 32 * blocks_.values() + 2048;
      case body_form::none:
        return f.values == 0;
    }
    return false;
  }

 private:
  node_id self_;
  block_partition blocks_;
  std::array<channel_spec, channel_count> specs_{};
};

}  // namespace detail
}  // namespace rubato::transport
