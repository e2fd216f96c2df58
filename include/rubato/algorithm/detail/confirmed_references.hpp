// SPDX-License-Identifier: MIT
// Both ends of the edges of a node that sends differences from references (codec/referenced_bits.hpp). For each edge
// and channel the sender knows a reference: a vector that the receiver holds, bit for bit. It begins as zeros, since a
// node that is back may begin with a model that nobody else has.
//   (D.S)  a message is its sender's vector less the reference, coded, with the number of the reference and the place
//          k = 0, 1, 2, ... of the message after it. The sender keeps the codes of every message whose k is a multiple
//          of a stride, and doubles the stride when they are as many as it may remember. The message says the stride.
//   (D.R)  a receiver decodes it against that reference. If it holds none of that number, the message counts as lost.
//          It keeps one such vector, pinned, unless the sender no longer has its codes; then it pins another.
//   (D.C)  every message to that sender, on either channel, names what is pinned. The sender that has its codes adds
//          them to the reference and begins anew: k = 0, stride 1. The next message that names this reference tells the
//          receiver, who moves there too.
// A receiver lets go of a pinned vector only after a message whose sender had let go of its codes, so both always hold
// the reference of the next message, whatever is lost, doubled or overtaken. Codes are kept of a longer and longer
// past, so any round trip is borne. What is counted as sent and consumed is not decided here: conservation does not
// depend on it. Memory for each edge and channel: a reference and `remembered` messages at the sender; a reference and
// a pinned vector at the receiver, shared with its mailbox where it is the newest.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/codec/detail/parts.hpp>
#include <rubato/codec/measured_bits.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/mixing/neighbourhood.hpp>

namespace rubato::detail {

/// Replaces confirmed_references in a node whose vectors travel as they are.
struct no_references {
  no_references(auto const&...) {}
  static void visit_state(auto&, auto&&) {}
  void change(neighbour_change const&) const {}
};

template<class Backend, class U, class Codec>
class confirmed_references {
  using scalar = typename Backend::scalar;
  static_assert(codec::detail::check_on_host<Backend>());

 public:
  static void visit_state(auto& self, auto&& visit) { visit("references", self.edges_); }

  /// Throws config_error if a neighbour never hears from this node, and so could not learn what has arrived.
  confirmed_references(Backend b, mixing::neighbourhood const& n, block_partition const& blocks, Codec const& codec)
      : backend_{std::move(b)}, values_{blocks.values()}, codec_{codec} {
    codec.check(blocks);
    auto const add = [&](node_id peer) {
      if (!hears(n, peer)) {
        throw config_error{"node " + std::to_string(to_index(n.self)) + " hears node " +
                           std::to_string(to_index(peer)) +
                           " and sends it nothing, so it cannot confirm what arrives: differences from references need "
                           "neighbours that hear each other"};
      }
      if (find_edge(edges_, peer) == nullptr) edges_.emplace_back().peer = peer;
      std::sort(edges_.begin(), edges_.end(), [](auto const& a, auto const& c) { return a.peer < c.peer; });
    };
    for (auto const& e : n.pull_from) add(e.peer);
    for (auto const peer : n.push_from) add(peer);
    for (auto const peer : n.pull_to) refuse_unless_heard(n, peer);
    for (auto const& e : n.push_to) refuse_unless_heard(n, e.peer);
  }

  /// The partition of a message's body: one block of bytes.
  [[nodiscard]] auto coded_blocks(patch const& p) const -> block_partition {
    std::size_t width = 0;
    if (measures && p.body.kind() == element::u8 && p.body.size() >= header_bytes)
      width = width_in(p.body.template view<std::byte>().data());
    return block_partition{header_bytes + code_bytes(p.channel, width)};
  }

  /// (D.S) The body of message `number` to `peer`, of this vector. One pass over it, its reference and the codes.
  [[nodiscard]] auto encode(channel_id channel, node_id peer, iteration number, shared_buffer const& vector,
                            instant now) -> shared_buffer {
    auto& edge = *find_edge(edges_, peer);
    auto& out = edge.out[place(channel)];
    auto const width = width_of(out, channel, now);
    auto body = backend_.template allocate<std::byte>(header_bytes + code_bytes(channel, width));
    auto const keeps = out.sent % out.stride == 0;
    if (keeps && out.kept.size() == codec_.remembered) thin(out);
    write(body.data(), out.reference_number == 0 ? 0 : to_count(number) - out.reference_number, 4);
    write(body.data() + 4, out.sent, 4);
    write(body.data() + 8, out.stride, 4);
    for (std::size_t c = 0; c < 2; ++c) write(body.data() + 12 + 4 * c, edge.in[c].pinned_number, 4);
    if constexpr (measures) {
      write(body.data() + 20, width, 1);
      for (std::size_t c = 0; c < 2; ++c) {
        write(body.data() + 21 + 5 * c, edge.in[c].width, 1);
        write(body.data() + 22 + 5 * c, static_cast<std::uint32_t>(edge.in[c].microseconds), 4);
      }
    }
    with_type(channel, width, [&](auto type, auto bits) {
      using value = typename decltype(type)::type;
      decltype(bits)::encode(vector.template view<value>().data(), values_of<value>(out.reference), values_,
                             body.data() + header_bytes);
    });
    auto shared = std::move(body).publish();
    if (out.sent % out.stride == 0) out.kept.push_back({to_count(number), out.sent, shared});
    ++out.sent;
    return shared;
  }

  /// What became of a message.
  struct opened {
    shared_buffer vector{};  ///< empty if it is of a reference that this node does not hold: a loss
    bool valid = true;  ///< false: no sender makes such codes
  };
  /// The vector of a well-formed message of the present session, which came now. One pass over codes and reference.
  [[nodiscard]] auto decode(patch const& p, instant now) -> opened {
    auto& edge = *find_edge(edges_, p.from);
    auto const* const bytes = p.body.template view<std::byte>().data();
    if (measures && !names_widths(bytes)) return {{}, false};
    confirm(edge.out[0], channel_id::model, read(bytes + 12));
    confirm(edge.out[1], channel_id::tracker, read(bytes + 16));
    auto& in = edge.in[place(p.channel)];
    auto const number = to_count(p.numbers[0]);
    auto const since = read(bytes), sent = read(bytes + 4), stride = read(bytes + 8);
    auto const named = since == 0 ? 0 : number - since;
    if (in.pinned_number != 0 && named == in.pinned_number) in.move_to_pinned();
    if (named != in.reference_number) return {};  // (D.R)
    auto fresh = add_codes(p.channel, in.reference, bytes);
    if (!fresh || !std::has_single_bit(stride)) return {{}, false};
    if constexpr (measures) {
      if (number > in.newest) measure(edge, in, p, now);
    }
    if ((in.pinned_number == 0 || in.pinned_sent % stride != 0) && sent % stride == 0) {
      in.pinned = fresh;
      in.pinned_number = number;
      in.pinned_sent = sent;
    }
    return {std::move(fresh), true};
  }

  /// Both ways of an edge begin anew.
  void change(neighbour_change const& c) {
    if (auto* const e = find_edge(edges_, c.peer)) *e = {e->peer, {}, {}};
  }

 private:
  static constexpr bool measures = codec::follows_links<Codec>;
  static constexpr std::size_t header_bytes = measures ? 31 : 20;
  static constexpr std::byte no_width{255};

  struct kept_codes {
    std::uint64_t number = 0;
    std::uint64_t sent = 0;
    shared_buffer body{};
    static void visit_state(auto& self, auto&& visit) {
      visit("number", self.number), visit("sent", self.sent), visit("codes", self.body);
    }
  };
  struct sent_before {
    shared_buffer reference{};  // empty: zeros, as in the beginning
    std::uint64_t reference_number = 0;  // 0: as in the beginning
    std::uint64_t sent = 0;  // messages since it was confirmed
    std::uint64_t stride = 1;
    std::vector<kept_codes> kept{};
    codec::link_width link{};  // of measured widths
    static void visit_state(auto& self, auto&& visit) {
      visit("reference", self.reference), visit("reference number", self.reference_number);
      visit("sent", self.sent), visit("stride", self.stride), visit("kept", self.kept);
      visit("link", self.link);
    }
  };
  struct received {
    shared_buffer reference{};
    std::uint64_t reference_number = 0;
    shared_buffer pinned{};
    std::uint64_t pinned_number = 0;  // 0: none
    std::uint64_t pinned_sent = 0;
    std::uint64_t newest = 0;  // the highest number of a message, where widths are measured
    std::size_t width = std::to_integer<std::size_t>(no_width);  // of that message, and how long it took
    std::int32_t microseconds = 0;  // negative where clocks differ
    static void visit_state(auto& self, auto&& visit) {
      visit("reference", self.reference), visit("reference number", self.reference_number);
      visit("pinned", self.pinned), visit("pinned number", self.pinned_number);
      visit("pinned sent", self.pinned_sent), visit("newest", self.newest);
      visit("width", self.width), visit("microseconds", self.microseconds);
    }
    void move_to_pinned() {
      reference = std::exchange(pinned, {});
      reference_number = std::exchange(pinned_number, 0);
    }
  };
  struct both_ways {
    node_id peer{};
    std::array<sent_before, 2> out{};  // models, sums
    std::array<received, 2> in{};
    static void visit_state(auto& self, auto&& visit) {
      visit.same("peer", to_index(self.peer));
      visit("out", self.out), visit("in", self.in);
    }
  };
  static constexpr auto place(channel_id channel) -> std::size_t { return channel == channel_id::model ? 0 : 1; }

  static void refuse_unless_heard(mixing::neighbourhood const& n, node_id peer) {
    auto const is = [peer](auto const& e) { return e.peer == peer; };
    if (std::any_of(n.pull_from.begin(), n.pull_from.end(), is)) return;
    if (std::find(n.push_from.begin(), n.push_from.end(), peer) != n.push_from.end()) return;
    throw config_error{"node " + std::to_string(to_index(n.self)) + " sends to node " + std::to_string(to_index(peer)) +
                       " and hears nothing from it, so no reference is ever confirmed: differences from references "
                       "need neighbours that hear each other"};
  }

  /// does(type, bits) of a channel, and of a width where these are measured.
  template<class Does>
  static auto with_type(channel_id channel, [[maybe_unused]] std::size_t width, Does&& does) {
    auto const with_bits = [&](auto type, auto fixed) {
      if constexpr (!measures) {
        return does(type, fixed);
      } else {
        switch (codec::link_width::widths[(std::min)(width, std::size_t{4})]) {
          case 2:
            return does(type, codec::detail::bits_of_difference<2>{});
          case 4:
            return does(type, codec::detail::bits_of_difference<4>{});
          case 8:
            return does(type, codec::detail::bits_of_difference<8>{});
          case 16:
            return does(type, codec::detail::bits_of_difference<16>{});
          default:
            return does(type, codec::detail::bits_of_difference<0>{});
        }
      }
    };
    if constexpr (measures) {
      if (channel == channel_id::model) return with_bits(std::type_identity<scalar>{}, 0);
      else return with_bits(std::type_identity<U>{}, 0);
    } else {
      if (channel == channel_id::model) return with_bits(std::type_identity<scalar>{}, typename Codec::models{});
      else return with_bits(std::type_identity<U>{}, typename Codec::sums{});
    }
  }
  [[nodiscard]] auto code_bytes(channel_id channel, std::size_t width) const -> std::size_t {
    return with_type(channel, width, [&](auto type, auto bits) {
      return decltype(bits)::template bytes<typename decltype(type)::type>(values_);
    });
  }
  /// The width that a message says; 0 where all have one.
  static auto width_in([[maybe_unused]] std::byte const* bytes) -> std::size_t {
    if constexpr (measures) return std::to_integer<std::size_t>(bytes[20]);
    else return 0;
  }
  /// Whether the widths of a message, and of those that it tells of, are a sender's.
  static auto names_widths(std::byte const* bytes) -> bool {
    auto const is = [&](std::size_t at) {
      return std::to_integer<std::size_t>(bytes[at]) < codec::link_width::widths.size();
    };
    auto const told = [&](std::size_t at) { return is(at) || bytes[at] == no_width; };
    return is(20) && told(21) && told(26);
  }
  /// What a message that is newer than all before says of both directions.
  static void measure(both_ways& edge, received& in, patch const& p, instant now) {
    auto const* const bytes = p.body.template view<std::byte>().data();
    for (std::size_t c = 0; c < 2; ++c) {
      edge.out[c].link.heard(std::to_integer<std::size_t>(bytes[21 + 5 * c]),
                             1e-6 * static_cast<double>(static_cast<std::int32_t>(read(bytes + 22 + 5 * c))));
    }
    auto const took = (now - p.posted_at).count() / 1000;
    in.newest = to_count(p.numbers[0]);
    auto const fits = std::in_range<std::int32_t>(took);
    in.width = fits ? width_in(bytes) : std::to_integer<std::size_t>(no_width);
    in.microseconds = fits ? static_cast<std::int32_t>(took) : 0;
  }
  /// The width of the next message.
  [[nodiscard]] auto width_of([[maybe_unused]] sent_before& out, [[maybe_unused]] channel_id channel,
                              [[maybe_unused]] instant now) const -> std::size_t {
    if constexpr (!measures) {
      return 0;
    } else {
      codec::link_width::sizes bytes{};
      for (std::size_t w = 0; w < bytes.size(); ++w) bytes[w] = header_bytes + code_bytes(channel, w);
      return out.link.next(now, bytes, codec_.part);
    }
  }
  template<class T>
  [[nodiscard]] static auto values_of(shared_buffer const& b) -> T const* {
    return b.template view<T>().data();  // null for none: zeros
  }
  /// The reference plus the codes of a body; empty if they are no encoder's.
  [[nodiscard]] auto add_codes(channel_id channel, shared_buffer const& held, std::byte const* body) -> shared_buffer {
    return with_type(channel, width_in(body), [&](auto type, auto bits) -> shared_buffer {
      using value = typename decltype(type)::type;
      auto sum = backend_.template allocate<value>(values_);
      auto const valid = decltype(bits)::decode(body + header_bytes, values_of<value>(held), values_, sum.data());
      return valid ? std::move(sum).publish() : shared_buffer{};
    });
  }
  /// Doubles the stride.
  static void thin(sent_before& out) {
    out.stride *= 2;
    std::erase_if(out.kept, [&](kept_codes const& k) { return k.sent % out.stride != 0; });
  }
  /// (D.C); `named`: the low 32 bits of a number, 0 for none.
  void confirm(sent_before& out, channel_id channel, std::uint64_t named) {
    if (named == 0) return;
    for (auto const& k : out.kept) {
      if ((k.number & 0xffffffffU) != named) continue;
      auto const bytes = k.body.template view<std::byte>();
      auto moved = add_codes(channel, out.reference, bytes.data());
      out = sent_before{std::move(moved), k.number, 0, 1, {}, out.link};
      return;
    }
  }

  static void write(std::byte* at, std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) at[i] = static_cast<std::byte>(value >> (8 * i) & 0xffU);
  }
  [[nodiscard]] static auto read(std::byte const* at) -> std::uint64_t {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value |= std::to_integer<std::uint64_t>(at[i]) << (8 * i);
    return value;
  }

  Backend backend_;
  std::size_t values_;
  Codec codec_;
  std::vector<both_ways> edges_;  // by id
};

}  // namespace rubato::detail
