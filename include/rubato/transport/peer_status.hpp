// SPDX-License-Identifier: MIT
// How far a node is in its run. Every control frame carries this to the neighbours, so that heartbeats carry
// information, all nodes begin together, and a node that ends early says which node is the cause.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <rubato/core/packet.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::transport {

/// The node because of which a run ends, however far away it is.
struct cause {
  enum class how : std::uint8_t {
    failed,       ///< its problem threw, its ledger left its range, or it was sent something impossible
    gone,         ///< it died, or fell silent
    absent,       ///< it never came
    stalled,      ///< others waited longer for it than their patience
    interrupted,  ///< the user stopped it
  };
  node_id who{};
  how what{};
  friend auto operator==(cause const&, cause const&) -> bool = default;
  friend auto operator<=>(cause const&, cause const&) = default;
};

/// A later status is greater. A status that is not greater than the last one known is outdated.
struct peer_status {
  enum class phase : std::uint8_t {
    arriving,  ///< waits until all nodes of the run have arrived
    running,   ///< all nodes have arrived
    meeting,   ///< runs on to a round at which all nodes end
    left,      ///< has ended in order; comes after everything that it sent
    ended,     ///< has ended by an error; comes at once
  };
  phase at = phase::arriving;
  /// Arriving: all nodes that are at most this many edges away have arrived. Running: odd while the node has been
  /// waiting for another one for long. Meeting: twice 2^48 minus the round, so that an earlier round is a later status,
  /// and one more if a node was interrupted. Left: 0 if its run has ended; of a member 1 if it leaves the
  /// others, 2 if its run has ended.
  std::uint64_t level = 0;
  cause because{};  ///< ended
  /// Running, meeting, left: the distance, plus 1, of the nearest known node that has lost a peer and goes on without
  /// it; 0: none is known. If it changes while running, the level rises too.
  std::uint64_t parted = 0;
  /// Where members come and go, running and left: a short hash of those whom the node sees, from 1 to most_views; 0: it
  /// says none. If it changes while running, the level rises too.
  std::uint64_t view = 0;
  friend auto operator==(peer_status const&, peer_status const&) -> bool = default;
  friend auto operator<=>(peer_status const&, peer_status const&) = default;

  static constexpr auto most_rounds = std::uint64_t{1} << 48;
  static constexpr auto most_views = (std::uint64_t{1} << 22) - 1;
  /// That of a node that meets the others at this round, from 0 to most_rounds - 1, because one of them has come to its
  /// end, or was interrupted.
  [[nodiscard]] static auto meets_at(std::uint64_t round, bool interrupted, std::uint64_t parted) -> peer_status {
    return {phase::meeting, (most_rounds - round) * 2 + (interrupted ? 1 : 0), {}, parted};
  }
  /// Of a node that has ended in order: whether it is a member that leaves the others.
  [[nodiscard]] auto leaves() const -> bool { return at == phase::left && level == 1; }
  /// Of a node that is not there: whether it may come again in this run.
  [[nodiscard]] auto may_return() const -> bool { return at != phase::left || level != 0; }
  /// Nothing if it meets nobody, or at no round that there can be.
  [[nodiscard]] auto meeting() const -> std::optional<std::uint64_t> {
    if (at != phase::meeting || level < 2 || level / 2 > most_rounds) return std::nullopt;
    return most_rounds - level / 2;
  }
  /// Of a node that meets the others: whether one of them was interrupted.
  [[nodiscard]] auto is_interrupted() const -> bool { return level % 2 != 0; }

  /// Whether no status follows this one.
  [[nodiscard]] auto is_last() const -> bool { return at >= phase::left; }
};

namespace detail {

/// Why `teller` has ended: "it has failed", "node 3 is gone".
inline auto to_text(cause const& c, node_id teller) -> std::string {
  auto const who = c.who == teller ? std::string{"it"} : "node " + std::to_string(to_index(c.who));
  switch (c.what) {
    case cause::how::failed:
      return who + " has failed";
    case cause::how::gone:
      return who + " is gone";
    case cause::how::absent:
      return who + " has not come";
    case cause::how::stalled:
      return who + " keeps others waiting";
    case cause::how::interrupted:
      return who + " was interrupted";
  }
  return who;
}

/// In a frame: based-on holds the phase in its lowest 8 bits, `parted` in the next 34, and the view above; iteration
/// holds the level, or the id of the node at fault with the kind of fault in the upper bits.
inline auto frame_of(peer_status const& s, node_id from, node_id to) -> packet {
  packet p;
  p.from = from;
  p.to = to;
  p.channel = channel_id::control;
  p.based_on = iteration{static_cast<std::uint64_t>(s.at) | s.parted << 8 | s.view << 42};
  auto const fault = std::uint64_t{to_index(s.because.who)} | static_cast<std::uint64_t>(s.because.what) << 32;
  p.number = iteration{s.at == peer_status::phase::ended ? fault : s.level};
  return p;
}

/// Messages of the control channel have an element type, even if their body is empty.
inline auto is_status(wire::frame_view const& f) -> bool {
  return f.head.channel == channel_id::control && f.kind == element::none;
}

/// Nothing if a frame that is_status holds impossible values.
inline auto status_in(wire::frame_view const& f) -> std::optional<peer_status> {
  auto const phase = to_count(f.head.based_on) & 0xff;
  auto const value = to_count(f.head.number);
  if (phase > static_cast<std::uint64_t>(peer_status::phase::ended)) return std::nullopt;
  peer_status s;
  s.at = static_cast<peer_status::phase>(phase);
  s.parted = to_count(f.head.based_on) >> 8 & ((std::uint64_t{1} << 34) - 1);
  s.view = to_count(f.head.based_on) >> 42;
  auto const may_be_parted = s.at != peer_status::phase::arriving && s.at != peer_status::phase::ended;
  if (s.parted > (may_be_parted ? std::uint64_t{1} << 32 : 0)) return std::nullopt;
  if (s.view != 0 && (!may_be_parted || s.at == peer_status::phase::meeting)) return std::nullopt;
  if (!s.is_last()) {
    s.level = value;
    if (s.at == peer_status::phase::meeting && !s.meeting()) return std::nullopt;
  } else if (s.at == peer_status::phase::ended) {
    if (value >> 32 > static_cast<std::uint64_t>(cause::how::interrupted)) return std::nullopt;
    s.because = {node_id{static_cast<std::uint32_t>(value)}, static_cast<cause::how>(value >> 32)};
  } else if (value > 2) {
    return std::nullopt;
  } else {
    s.level = value;
  }
  return s;
}

}  // namespace detail
}  // namespace rubato::transport
