// SPDX-License-Identifier: MIT
// Vectors that travel block by block: what a sender has still to send, and what has arrived at a receiver.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/core/packet.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::transport::detail {

/// The blocks that wait for one peer. A newer packet continues at the block that the older one had reached, so that
/// every block is sent equally often, however fast packets come.
class block_stream {
 public:
  /// Blocks `blocks` of a packet that stays valid until the next put.
  struct run {
    packet const* from;
    range blocks;
  };

  /// Adds a packet. Returns whether it replaced an older packet of the channel of which not all blocks had left.
  auto put(packet p, std::size_t blocks) -> bool {
    auto& l = lanes_[static_cast<std::size_t>(p.channel)];
    auto const replaced = l.left > 0;
    l.newest = std::move(p);
    l.blocks = l.left = blocks;
    return replaced;
  }

  /// The next blocks, at most `most`, adjacent and of one packet. The same ones until done() is called.
  [[nodiscard]] auto next(std::size_t most) const -> std::optional<run> {
    for (std::size_t k = 0; k < lanes_.size(); ++k) {
      auto const& l = lanes_[(turn_ + k) % lanes_.size()];
      if (l.left == 0) continue;
      auto const begin = l.cursor % l.blocks;
      return run{&l.newest, {begin, begin + (std::min)({most, l.left, l.blocks - begin})}};
    }
    return std::nullopt;
  }
  /// The blocks that next() gave have left. Channels take turns.
  void done(run const& sent) {
    auto const at = static_cast<std::size_t>(sent.from->channel);
    lanes_[at].left -= sent.blocks.size();
    lanes_[at].cursor += sent.blocks.size();
    turn_ = at + 1;
  }
  [[nodiscard]] auto empty() const -> bool {
    return std::all_of(lanes_.begin(), lanes_.end(), [](auto const& l) { return l.left == 0; });
  }

 private:
  struct channel {
    packet newest;
    std::size_t blocks = 1;
    std::size_t left = 0;
    std::size_t cursor = 0;
  };
  std::array<channel, channel_count> lanes_;
  std::size_t turn_ = 0;
};

/// The largest number so far of one sender and channel in one session. A receiver that takes the newest as the best
/// could be blocked for ever by one number that is far too large. So a single datagram raises the number by a bounded
/// amount only. A datagram that jumps farther is dropped, which a state channel tolerates, unless the datagram before
/// it jumped too, and no farther.
class number_watch {
 public:
  static constexpr std::uint64_t stride = std::uint64_t{1} << 20;

  [[nodiscard]] auto is_late(iteration n) const -> bool { return to_count(n) < newest_; }
  [[nodiscard]] auto admits(iteration n) -> bool {
    auto const k = to_count(n);
    auto const is_far = k > newest_ && k - newest_ > stride;
    auto const is_confirmed = doubted_ != 0 && doubted_ <= k;
    doubted_ = is_far && !is_confirmed ? k : 0;
    if (doubted_ != 0) return false;
    newest_ = (std::max)(newest_, k);
    return true;
  }

 private:
  std::uint64_t newest_ = 0;
  std::uint64_t doubted_ = 0;  // 0: the last one was none
};

/// The newest version of each block that arrived since the owner last polled, handed over in as few pieces as possible.
class block_gatherer {
 public:
  [[nodiscard]] auto empty() const -> bool { return held_.empty(); }

  /// Takes a frame of one block. It replaces an older one of the same session that was not handed over yet; if it is
  /// itself older, it counts as late. False if its number is not credible yet.
  auto put(wire::frame_view const& f, identity const& me, std::vector<traffic>& counts) -> bool {
    auto& seen = seen_[{f.head.from, f.head.channel}];
    if (!(seen.session == f.head.session)) seen = {f.head.session, {}};
    auto const is_late = seen.numbers.is_late(f.head.number);
    if (!seen.numbers.admits(f.head.number)) return false;
    auto& count = count_of(counts, f.head.from, f.head.channel);
    if (is_late) ++count.late;
    auto const here = key{f.head.from, f.head.channel, f.blocks.begin};
    auto const at = held_.find(here);
    ++count.delivered;
    count.bytes_in += f.values * bytes_of(f.kind);
    if (at != held_.end()) {
      --count.delivered;
      ++count.skipped;
      if (at->second.head.session == f.head.session && f.head.number <= at->second.head.number) return true;
    }
    auto pool = me.pool;
    held_[here] = {f.head, wire::copy_body(f, pool)};
    return true;
  }

  /// Adjacent blocks of one packet become one message.
  void hand_over(identity const& me, std::vector<incoming>& in) {
    for (auto at = held_.begin(); at != held_.end();) {
      auto const first = at;
      auto const begin = std::get<2>(first->first);
      auto end = begin + 1;
      for (++at; at != held_.end() && goes_on(first, at, end); ++at) ++end;
      auto message = first->second.head;
      message.body = joined(first, at, me);
      in.push_back({incoming::what::message, message.from, std::move(message), {begin, end}, {}, {}, {}});
    }
    held_.clear();
  }

 private:
  struct block {
    packet head;
    shared_buffer body;
  };
  using key = std::tuple<node_id, channel_id, std::size_t>;
  using table = std::map<key, block>;

  static auto goes_on(table::iterator first, table::iterator at, std::size_t end) -> bool {
    auto const& a = first->second.head;
    auto const& b = at->second.head;
    return a.from == b.from && a.channel == b.channel && std::get<2>(at->first) == end && a.number == b.number &&
           a.session == b.session && a.based_on == b.based_on && a.extra == b.extra;
  }

  static auto joined(table::iterator first, table::iterator last, identity const& me) -> shared_buffer {
    if (std::next(first) == last) return std::move(first->second.body);
    std::size_t values = 0;
    for (auto at = first; at != last; ++at) values += at->second.body.size();
    auto pool = me.pool;
    auto whole = wire::arriving_body{first->second.body.kind(), values, pool};
    auto* to = whole.bytes().data();
    for (auto at = first; at != last; ++at) {
      auto const from = at->second.body.bytes();
      std::memcpy(to, from.data(), from.size());
      to += from.size();
    }
    return std::move(whole).publish();
  }

  table held_;
  struct sender_state {
    session_id session{};
    number_watch numbers;
  };
  std::map<std::pair<node_id, channel_id>, sender_state> seen_;
};

}  // namespace rubato::transport::detail
