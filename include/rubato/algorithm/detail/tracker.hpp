// SPDX-License-Identifier: MIT
// The tracker of one node and the running sums of its edges: z, the stored gradient g, rho and rho~, in the units of a
// ledger. Besides the arithmetic in formulas.hpp, all that conservation depends on is here (laws 6 and 11).
// invariant: sum_i z_i + sum_(i->j) (rho_ji - rho~_ji) = sum_i g_i, debts of closed edges counted with z
//                                                                              tests/property/conservation.cpp
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/compressed_sums.hpp>
#include <rubato/algorithm/detail/debt.hpp>
#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/neighbours.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/statistics.hpp>
#include <rubato/mixing/neighbourhood.hpp>

namespace rubato::detail {

/// What one pass over memory includes.
struct pass_parts {
  bool pulls = false;  ///< reads the models of neighbours
  bool tracks = false;  ///< includes the new gradient; debts are released first
  bool consumes = false;  ///< otherwise no sums are read: consumed() leaves z as it is
  bool pushes = false;  ///< otherwise no sums are sent and a_ii is 1: pushed() leaves z as it is
  [[nodiscard]] constexpr auto uses_tracker() const -> bool { return tracks || consumes || pushes; }
};

/// Replaces tracker in a node that does not track.
template<class T, class U>
struct no_tracker {
  no_tracker(auto const&...) {}
  static void visit_state(auto&, auto&&) {}
  void take(patch const&, std::uint64_t, iteration, outbox&) const {}
  void begin(pass_parts) const {}
  [[nodiscard]] auto terms(auto&, pass_parts, std::size_t, std::size_t) const -> tracking_terms<T, U> { return {}; }
  void record_raised(range, backend::flag_bits) const {}
  void fail_if_out_of_range(outbox&) const {}
  void accuse(blame&) const {}
  void change(neighbour_change const&, iteration) const {}
  void count_into(node_statistics&) const {}
  void audit(tracking_audit& a) const { a = {}; }
};

template<class SumCodec>
struct motion_of {
  using type = no_motion;
};
template<class SumCodec>
  requires codec::adapts<SumCodec>
struct motion_of<SumCodec> {
  using type = typename SumCodec::motion;
};

/// The steps of a pass: begin(); terms() for each range of blocks that is swept together, and record_raised() with the
/// result of the sweep; fail_if_out_of_range(); finish().
template<class Backend, class Ledger, class SumCodec, class Synchrony>
class tracker {
 public:
  using scalar = typename Backend::scalar;
  using value = typename Ledger::template value<scalar>;
  static constexpr bool compresses = !std::is_same_v<SumCodec, codec::identity>;
  using code = typename SumCodec::template code<value>;
  static constexpr channel_spec spec{channel_id::tracker, Synchrony::delivery, element_of<code>, 0,
                                     codec::adapts<SumCodec> ? body_form::codes : body_form::whole};

  static void visit_state(auto& self, auto&& visit) {
    visit("z", self.z_), visit("g", self.g_), visit("g that came", self.g_new_);
    visit("sums in", self.in_), visit("sums out", self.out_), visit("debt", self.debt_);
    visit("weight of its own", self.push_self_);
  }

  tracker(Backend b, mixing::neighbourhood const& n, block_partition const& blocks, Ledger const& ledger,
          SumCodec const& codec, Synchrony const& synchrony)
      : backend_{std::move(b)},
        self_{n.self},
        ledger_{ledger},
        codec_{codec},
        synchrony_{synchrony},
        blocks_{blocks},
        push_self_{n.push_self},
        z_{backend::zeros<value>(backend_, blocks.values())} {
    if constexpr (compresses) {
      static_assert(codec::check_sum_codec<SumCodec, Backend, value, Synchrony::delivery>());
      if constexpr (codec::adapts<SumCodec>) codec_.check(blocks_);
      else codec_.check();
    }
    if constexpr (Ledger::exact) {
      RUBATO_EXPECTS(!ledger.exponents.empty(), "a fixed-point ledger is calibrated before nodes are made");
    }
    for (auto const peer : n.push_from) {
      auto& edge = in_.emplace_back();
      edge.peer = peer;
      edge.lead = lead_of(n, peer, synchrony);
      edge.is_heard = hears(n, peer);
    }
    for (auto const& e : n.push_to) {
      auto& edge = out_.emplace_back();
      edge.peer = e.peer;
      edge.weight = e.weight;
    }
  }

  /// Keeps a message, as model_exchange::take. A compressed sum is decoded on arrival; the rest of the tracker handles
  /// plain sums only.
  void take(patch const& p, std::uint64_t clock, iteration done, outbox& out) {
    auto* const edge = find_edge(in_, p.from);
    if (edge == nullptr || !edge->admit(self_, coded_blocks(), spec, last_usable(synchrony_, done), p, out)) return;
    if constexpr (codec::adapts<SumCodec>) {
      if (Synchrony::delivery == channel_kind::state && !(p.numbers[0] > edge->box.newest_number(0))) {
        ++edge->overtaken;
        return;
      }
      auto sums = backend_.template allocate<value>(z_.size());
      if (!codec_.decode(backend_, p.body.template view<code>().data(), edge->box.newest(), z_.size(), sums.data())) {
        out.failure = fault{text_of_message(p, to_count(p.numbers[0])) + " holds no coded sums"};
        return;
      }
      auto whole = p;
      whole.body = std::move(sums).publish();
      edge->put(backend_, blocks_, spec.kind, whole, clock);
    } else if constexpr (compresses) {
      auto sums = expanded_sums<value, Synchrony::delivery>(codec_, backend_, blocks_, edge->box, p);
      if (sums.beyond) {
        out.failure = fault{"node " + std::to_string(to_index(self_)) + ", sums of node " +
                            std::to_string(to_index(p.from)) + ": " + codec_.range_sentence(*sums.beyond)};
        return;
      }
      auto whole = p;
      whole.body = std::move(sums.body);
      edge->put(backend_, blocks_, spec.kind, whole, clock);
    } else {
      edge->put(backend_, blocks_, spec.kind, p, clock);
    }
  }

  /// Keeps a gradient for the next pass that tracks.
  void receive(shared_buffer g_new) { g_new_ = std::move(g_new); }
  /// Whether a gradient has been tracked yet.
  [[nodiscard]] auto has_tracked() const -> bool { return static_cast<bool>(g_); }

  void begin(pass_parts does) {
    magnitudes_ = 0;
    if (does.tracks && debt_) debt_.release(backend_, z_.data(), z_.size());
    if (!does.pushes) return;
    share_sums();
    for (std::size_t j = 0; j < out_.size(); ++j) {
      auto& e = out_[j];
      if (e.open && e.active && e.source == j) e.fresh = backend_.template allocate<value>(z_.size());
    }
  }

  /// The terms for the blocks from `block` on, for a sweep by that handle; `end` is lowered to the first block with
  /// another exponent.
  [[nodiscard]] auto terms(Backend& sweeping, pass_parts does, std::size_t block, std::size_t& end)
      -> tracking_terms<scalar, value> {
    end = (std::min)(end, ledger_.uniform_end(block, blocks_.blocks()));
    tracking_terms<scalar, value> s;
    s.z = z_.data();
    if (g_) s.g_old = g_.template view<scalar>().data();
    if (g_new_) s.g_new = g_new_.template view<scalar>().data();
    if (does.consumes) {
      in_table_.clear();
      for (auto const& e : in_) {  // a sum that was consumed and has not grown since is not read again
        if (e.box.values() != nullptr && e.box.values() != e.consumed())
          in_table_.push_back({e.box.values(), e.consumed()});
      }
      s.sums_in = sweeping.table(in_table_.data(), in_table_.size());
    }
    if (does.pushes) {
      out_table_.clear();
      auto self_weight = push_self_;
      for (std::size_t j = 0; j < out_.size(); ++j) {
        auto& e = out_[j];
        if (!e.open || !e.active) self_weight += e.weight;
        else if (e.source == j)
          out_table_.push_back({values_of(e.total), e.fresh.data(), static_cast<scalar>(e.weight), e.readers});
      }
      s.push_self = static_cast<scalar>(self_weight);
      s.sums_out = sweeping.table(out_table_.data(), out_table_.size());
    }
    return s;
  }
  [[nodiscard]] auto arithmetic(std::size_t block) const { return ledger_.template arithmetic_for<scalar>(block); }

  /// Records the result of the sweep over these blocks.
  void record_raised(range blocks, backend::flag_bits raised) {
    if (Ledger::out_of_range(raised) && !Ledger::out_of_range(magnitudes_)) beyond_ = blocks;
    magnitudes_ |= raised;
  }
  /// If a value left the ledger's range in this pass, sets out.failure, naming the block
  /// with the largest value in z or g_new.
  void fail_if_out_of_range(outbox& out) const {
    if (!Ledger::out_of_range(magnitudes_)) return;
    tracking_audit a;
    audit(a);
    auto const body = g_new_.on_host();
    auto const fresh = body.template view<scalar>();
    auto const values = blocks_.values_of(beyond_);
    auto worst = values.begin;
    auto largest = -1.0;
    for (auto i = values.begin; i < values.end; ++i) {
      auto const ours = std::abs(a.tracker[i]) * ledger_.quantum(i / blocks_.block_values());
      auto const theirs = fresh.empty() ? 0.0 : std::abs(static_cast<double>(fresh[i]));
      if (std::isfinite(theirs) && (std::max)(ours, theirs) <= largest) continue;
      largest = (std::max)(ours, theirs);
      worst = i;
      if (!std::isfinite(theirs)) {
        out.failure = blame{self_}.gradient(g_new_).sentence();
        return;
      }
    }
    out.failure = fault{"node " + std::to_string(to_index(self_)) + sender_out_of_range() + ": " +
                        ledger_.range_sentence(worst / blocks_.block_values())};
  }
  /// Adds the new gradient and the sums just read to the suspects for a value that is not finite.
  void accuse(blame& suspects) const {
    if (g_new_) suspects.gradient(g_new_);
    if constexpr (std::is_same_v<value, scalar>) {
      for (auto const& e : in_) {
        if (e.box.values() != nullptr)
          suspects.message(e.peer, channel_id::tracker, backend_.pool().values(e.box.values(), z_.size()));
      }
    }
  }

  /// After the pass: stores what it read and publishes what it pushed, with send(edge, body) for each out-edge.
  template<class Send>
  void finish(pass_parts did, instant now, Send&& send) {
    if (did.tracks) store_gradient();
    if (did.consumes) mark_consumed(now);
    if (did.pushes) publish_sums(send);
  }
  /// g <- g_new
  void store_gradient() { g_ = std::exchange(g_new_, {}); }
  /// rho~ <- rho
  void mark_consumed(instant now) {
    for (auto& e : in_) {
      e.mark_consumed(backend_, blocks_, now);
      e.wide.grew(backend_, e.consumed(), z_.size(), magnitudes_);
    }
  }
  template<class Send>
  void publish_sums(Send&& send) {
    sent_.resize(out_.size());
    for (std::size_t j = 0; j < out_.size(); ++j) {
      auto& e = out_[j];
      if (!e.open || !e.active) continue;
      if (e.source == j) {
        auto const before = std::exchange(e.total, std::move(e.fresh).publish());
        sent_[j] = body_of(before, e);
      } else {
        e.total = out_[e.source].total;
        e.motion = out_[e.source].motion;
      }
      e.wide.grew(backend_, values_of(e.total), z_.size(), magnitudes_);
      send(e, sent_[e.source]);
    }
    sent_.clear();
  }

  /// The weights and senders of another neighbourhood, whose edges this node has. Sums go on over edges that stay.
  void take_place(mixing::neighbourhood const& n) {
    push_self_ = n.push_self;
    auto const sends = [&](node_id peer) { return std::binary_search(n.push_from.begin(), n.push_from.end(), peer); };
    take_senders(in_, n, sends, synchrony_);
    for (auto& e : out_) {
      e.weight = mixing::weight_of(n.push_to, e.peer);
      e.active = e.weight != 0;
    }
  }

  /// When an edge closes, what it pushed is taken back and what it delivered is given back, as a debt (law 11). Where
  /// all resume at one round, sums go on: all that was pushed in former rounds has been consumed.
  /// `round`: as in model_exchange::change.
  void change(neighbour_change const& c, iteration round) {
    auto const n = z_.size();
    auto const goes_on = c.what == neighbour_change::edge::resumes;
    if (auto* e = find_edge(in_, c.peer)) {
      if (!goes_on && e->consumed() != nullptr)
        e->wide.settle(backend_, e->consumed(), n, {debt_.open(backend_, n), -1.0});
      if (!goes_on) e->forget_consumed();
      e->change(c, Synchrony::delivery == channel_kind::event ? round : iteration{});
    }
    if (auto* e = find_edge(out_, c.peer)) {
      if (!goes_on && e->total) e->wide.settle(backend_, values_of(e->total), n, {debt_.open(backend_, n), 1.0});
      if (!goes_on) e->total = {}, e->motion = {};
      e->open = c.what != neighbour_change::edge::closes;
      e->session = c.outgoing;
    }
  }

  void audit(tracking_audit& a) const {
    a = {};
    auto const n = z_.size();
    auto const& memory = backend_.pool();
    auto const plain = [&](value const* v) {
      auto const values = memory.values(v, n);
      return std::vector<double>(values.begin(), values.end());
    };
    a.fixed_point = Ledger::exact;
    if constexpr (Ledger::exact) {
      a.block_values = blocks_.block_values();
      auto const all_alike = ledger_.uniform_end(0, blocks_.blocks()) == blocks_.blocks();
      for (std::size_t b = 0; b < (all_alike ? 1 : blocks_.blocks()); ++b) a.quanta.push_back(ledger_.quantum(b));
    }
    a.tracker = plain(z_.data());
    auto const owed = memory.values(debt_ ? debt_.values() : nullptr, n);
    for (std::size_t i = 0; i < owed.size(); ++i) a.tracker[i] += owed[i];
    a.gradient.assign(n, 0.0);
    auto const body = g_.on_host();
    auto const held = body.template view<scalar>();
    backend::scalar_lanes<scalar> at{0};
    for (std::size_t i = 0; i < held.size(); ++i) {
      a.gradient[i] = static_cast<double>(arithmetic(i / blocks_.block_values()).quantise(at, held[i]));
    }
    for (auto const& e : out_) a.pushed.push_back({e.peer, channel_id::tracker, plain(values_of(e.total))});
    for (auto const& e : in_) a.consumed.push_back({e.peer, channel_id::tracker, plain(e.consumed())});
  }

  void count_into(node_statistics& s) const {
    for (auto const& e : in_) s.edges.push_back({e.peer, channel_id::tracker, e.accepted, e.overtaken, e.age});
  }
  /// The in-edges, for code that waits for a message.
  [[nodiscard]] auto in() -> std::vector<sum_in<Backend, value>>& { return in_; }

 private:
  /// Edges that push with one weight, and over which the same has been pushed since they opened, have one sum. (Which
  /// they had before is seen by its body. Few sums are compared, so that degrees may be large.)
  void share_sums() {
    std::array<std::size_t, 4> latest{};
    std::size_t sums = 0;
    for (std::size_t j = 0; j < out_.size(); ++j) {
      auto& e = out_[j];
      if (!e.open || !e.active) continue;
      e.source = j;
      e.readers = 1;
      for (std::size_t k = 0; k < (std::min)(sums, latest.size()) && e.source == j; ++k) {
        auto const& other = out_[latest[k]];
        if (other.weight == e.weight && other.total == e.total) e.source = latest[k];
      }
      if (e.source != j) ++out_[e.source].readers;
      else latest[sums++ % latest.size()] = j;
    }
  }
  /// The sender of a running sum that has moved further than the ledger's range since it was last consumed; empty if
  /// there is none.
  [[nodiscard]] auto sender_out_of_range() const -> std::string {
    if constexpr (std::is_same_v<value, std::int32_t>) {
      auto const& memory = backend_.pool();
      for (auto const& e : in_) {
        auto const newest = memory.values(e.box.values(), z_.size());
        auto const before = memory.values(e.consumed(), z_.size());
        for (std::size_t i = 0; i < newest.size(); ++i) {
          auto const moved = backend::wrap_sub(newest[i], before.empty() ? 0 : before[i]);
          if (!Ledger::out_of_range(static_cast<backend::flag_bits>(backend::magnitude_bits(moved)))) continue;
          return ", by a running sum that node " + std::to_string(to_index(e.peer)) + " sent";
        }
      }
    }
    return {};
  }
  static auto values_of(shared_buffer const& total) -> value const* { return total.template view<value>().data(); }
  using edge_out = sum_out<Backend, value, typename motion_of<SumCodec>::type>;

  /// The message of an edge's new sums; `before`: those of the last one, or empty.
  [[nodiscard]] auto body_of([[maybe_unused]] shared_buffer const& before, edge_out& e) -> shared_buffer {
    if constexpr (codec::adapts<SumCodec>) {
      auto codes = backend_.template allocate<code>(codec_.codes(e.total.size()));
      codec_.encode(backend_, before ? values_of(before) : nullptr, values_of(e.total), e.total.size(), e.motion,
                    codes.data());
      return std::move(codes).publish();
    } else if constexpr (compresses) {
      auto codes = backend_.template allocate<code>(e.total.size());
      codec_.encode(backend_, values_of(e.total), e.total.size(), codes.data());
      return std::move(codes).publish();
    } else {
      return e.total;
    }
  }
  /// The partition of a message's body.
  [[nodiscard]] auto coded_blocks() const -> block_partition {
    if constexpr (codec::adapts<SumCodec>) return block_partition{codec_.codes(blocks_.values())};
    else return blocks_;
  }

  Backend backend_;
  node_id self_;
  Ledger ledger_;
  SumCodec codec_;
  Synchrony synchrony_;
  block_partition blocks_;
  double push_self_;
  writable_buffer<value> z_;  // z_i
  shared_buffer g_, g_new_;  // the gradient that z contains, and the one that arrived
  std::vector<sum_in<Backend, value>> in_;
  std::vector<edge_out> out_;
  debt<Backend, value> debt_;
  std::vector<sum_source<value>> in_table_;  // tables of the current pass; kept for their memory
  std::vector<sum_target<scalar, value>> out_table_;
  std::vector<shared_buffer> sent_;  // by out-edge, the same
  backend::flag_bits magnitudes_ = 0;  // of the last pass
  range beyond_{};  // the blocks in which the last pass left the ledger's range
};

}  // namespace rubato::detail
