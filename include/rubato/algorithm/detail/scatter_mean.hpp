// SPDX-License-Identifier: MIT
// The mean of one vector per node, all to all, in compressed messages: BAGUA's C_LP_S, and its C_FP_S where Q is
// codec::identity. Nothing blocks inside: the driver's events move it on. Node i owns chunk i, [i d/n, (i+1) d/n).
// Rounds may take turns with P fragments of a vector: round r is of fragment r mod P, [p d/P, (p+1) d/P), in place of
// the whole.
//   (C.S)  q_ic = Q(s_ic) for each chunk c of the own vector s_i, sent to node c                   scatter
//   (C.R)  m_i = (1/n) sum_j decode(q_ji), by id;  Q(m_i), sent to all                             reduce
//   (C.G)  mean = the decoded Q(m_c) of all chunks, including the own one                          gather
// invariant: the means of all nodes are equal bit for bit         tests/unit/algorithm/scatter_allreduce_sgd.cpp
// Per node and round: 2(n-1) messages with 2d(n-1)/n values. Passes, in values: encodes d + d/n, decodes 2d, adds d
// (reads 2, writes 1), writes zeros and scales d/n. A codec with memory adds its own (codec/error_feedback.hpp), as the
// sender of d + d/n values and the receiver of 2d.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/mean_rounds.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/random.hpp>

namespace rubato::detail {

/// One node's part in an endless sequence of rounds. Needs lossless, ordered links. Channel: of its messages.
template<class Backend, class Codec, codec::use Use, channel_id Channel = channel_id::chunk>
class scatter_mean : public mean_rounds {
  static_assert(codec::check_codec<Codec, Backend, channel_kind::event, Use>());

 public:
  using scalar = typename Backend::scalar;
  static constexpr auto channel = Channel;
  static constexpr auto spec = channel_spec{channel, channel_kind::event,
                                            element_of<typename Codec::template code<scalar>>, 0, body_form::codes};

  static void visit_state(auto& self, auto&& visit) {
    mean_rounds::visit_state(self, visit);
    visit("rounds", self.rounds_), visit("mean", self.mean_), visit("reduced", self.reduced_);
    if constexpr (codec::has_memory<Codec>) {
      visit("part senders", self.parts_out_), visit("mean sender", self.mean_out_);
      visit("part receivers", self.parts_in_), visit("mean receivers", self.means_in_);
    }
  }

  /// `values`: of the whole vector; `seed`: of the codec's draws. Throws config_error if the codec cannot take a chunk.
  scatter_mean(node_id self, members of, std::size_t values, Codec codec, std::uint64_t seed, std::size_t fragments = 1)
      : mean_rounds{self, of, values, fragments, channel},
        codec_{std::move(codec)},
        seed_{seed},
        parts_out_(fragments * of.count),
        mean_out_(fragments),
        parts_in_(fragments * of.count),
        means_in_(fragments * of.count) {
    for (std::size_t f = 0; f < fragments_; ++f)
      for (std::size_t c = 0; c < n_; ++c) codec::check_size(codec_, chunk(c, f).size());
    for (auto& r : rounds_) {
      r.parts.resize(n_);
      r.means.resize(n_);
    }
  }

  /// All nodes go back to the moment between two rounds: messages for the next one are sent again.
  void resume(neighbour_change const& c) {
    if (!resumes_after(2 * round_, c)) return;
    auto const j = members_.place_of(c.peer);
    for (auto& r : rounds_) r.parts[j] = r.means[j] = {};
  }

  /// Gives s_i for the next round, the values of its fragment; x is read now. post(edge, body) posts a message on
  /// `channel` and returns it.
  template<class Post>
  void begin(Backend& backend, scalar const* x, instant now, Post const& post) {
    RUBATO_EXPECTS(!begun_, "a round begins when the one before it is complete");
    begun_ = true;
    for (std::size_t c = 0; c < n_; ++c) {
      auto const r = chunk(c, round_);
      auto body = parts_out_[slot(c)].encode(codec_, backend, x + r.begin, r.size(), draw(step::scatter, c));  // (C.S)
      if (c == me_) present().parts[c] = {now, std::move(body)};
      else post(peers_[c].outward(), std::move(body)).number = number_of(step::scatter);
    }
  }

  /// Takes the next message of another node, of this or the next round. False if it is invalid or of another session.
  [[nodiscard]] auto accept(patch const& p, outbox& out) -> bool {
    if (!is_from_peer(p, out)) return false;
    auto const from = members_.place_of(p.from);
    auto const number = to_count(p.numbers[0]) - 1;
    auto const owner = number % 2 == 0 ? me_ : from;
    auto const codes = codec_.template codes<scalar>(chunk(owner, number / 2).size());
    if (!count(p, spec.values, codes, number / 2, out)) return false;
    auto& r = rounds_[number / 2 % 2];
    (number % 2 == 0 ? r.parts : r.means)[from] = {p.posted_at, p.body};
    return true;
  }

  /// Goes on as far as the messages allow; true if that completed the round.
  template<class Post>
  [[nodiscard]] auto advance(Backend& backend, instant now, Post const& post, outbox& out) -> bool {
    if (!begun_) return false;
    if (!reduced_) {
      if (first_missing(present().parts) < n_) return false;
      reduce(backend, now, post, out);
      if (out.failure) return false;
    }
    if (first_missing(present().means) < n_) return false;
    gather(backend, now);
    return true;
  }

  /// The cause of a mean that is not finite; call it after take_mean().
  [[nodiscard]] auto spoilt(std::vector<scalar> const& mean) const -> fault {
    for (std::size_t c = 0; c < n_; ++c) {
      auto const r = chunk(c, round_ - 1);
      std::vector<scalar> const part(mean.begin() + static_cast<std::ptrdiff_t>(r.begin),
                                     mean.begin() + static_cast<std::ptrdiff_t>(r.end));
      if (first_not_finite(part) < part.size()) return spoilt_by(c, part);
    }
    return blame{self_}.sentence();
  }

  /// The mean, of as many values as the fragment; call it after advance() has returned true.
  [[nodiscard]] auto take_mean() -> writable_buffer<scalar> { return std::move(mean_); }

  /// The message that a round under way waits for.
  [[nodiscard]] auto missing() -> waiting {
    auto const& list = reduced_ ? present().means : present().parts;
    return {members_.node_of(first_missing(list)), channel, number_of(reduced_ ? step::gather : step::scatter)};
  }

 private:
  enum class step : std::uint8_t { scatter, gather };
  struct round {
    std::vector<message> parts;  // by sender: parts of the own chunk
    std::vector<message> means;  // by owner
    static void visit_state(auto& self, auto&& visit) { visit("parts", self.parts), visit("means", self.means); }
  };

  /// In the fragment of that round.
  [[nodiscard]] auto chunk(std::size_t c, std::uint64_t of_round) const -> range {
    auto const values = fragment(of_round).size();
    return {c * values / n_, (c + 1) * values / n_};
  }
  /// Where what belongs to that node in this round's fragment is kept.
  [[nodiscard]] auto slot(std::size_t j) const -> std::size_t { return turn() * n_ + j; }
  [[nodiscard]] auto turn() const -> std::size_t { return round_ % fragments_; }
  [[nodiscard]] auto present() -> round& { return rounds_[round_ % 2]; }
  [[nodiscard]] auto number_of(step s) const -> iteration {
    return iteration{2 * round_ + (s == step::scatter ? 1 : 2)};
  }
  /// The key of a message's draws.
  [[nodiscard]] auto draw(step s, std::size_t c) const -> random_stream {
    return random_stream{0x636f646563ULL, seed_, to_index(self_), to_count(number_of(s)), c};
  }

  template<class Post>
  void reduce(Backend& backend, instant now, Post const& post, outbox& out) {
    auto const size = chunk(me_, round_).size();
    auto const all = range{0, size};
    auto sum = backend.template allocate<scalar>(size);
    auto part = backend.template allocate<scalar>(size);
    backend.sweep(all, backend::zero_kernel<scalar>{sum.data()});
    for (std::size_t j = 0; j < n_ && !out.failure; ++j) {
      parts_in_[slot(j)].decode(codec_, backend, present().parts[j].body, all, part.data());
      auto const raised = backend.sweep(all, backend::add_kernel<scalar>{part.data(), sum.data(), scalar{1}});
      if ((raised & backend::not_finite) != 0)
        out.failure = spoilt_by(j, backend.pool().values(std::as_const(part).data(), size));
      if (j != me_) peers_[j].age.add(now - present().parts[j].posted);
    }
    backend.sweep(
        all, backend::scale_kernel<scalar>{sum.data(), part.data(), scalar{1} / static_cast<scalar>(n_)});  // (C.R)
    auto const body = mean_out_[turn()].encode(codec_, backend, part.data(), size, draw(step::gather, me_));
    for (std::size_t j = 0; j < n_; ++j) {
      if (j != me_) post(peers_[j].outward(), body).number = number_of(step::gather);
    }
    present().means[me_] = {now, body};
    reduced_ = true;
  }

  /// The sum was finite before this node's part was added.
  [[nodiscard]] auto spoilt_by(std::size_t j, std::vector<scalar> const& part) const -> fault {
    auto named = blame{self_};
    if (j != me_) named.message(members_.node_of(j), channel, part);
    else if (first_not_finite(part) < part.size())
      return {"what node " + std::to_string(to_index(self_)) +
              " computed is not finite; if it grew before, the run diverges, and a smaller step helps"};
    return named.sentence();
  }

  void gather(Backend& backend, instant now) {
    mean_ = backend.template allocate<scalar>(fragment(round_).size());
    for (std::size_t c = 0; c < n_; ++c) {
      means_in_[slot(c)].decode(codec_, backend, present().means[c].body, chunk(c, round_), mean_.data());  // (C.G)
      if (c != me_) peers_[c].age.add(now - present().means[c].posted);
      present().parts[c] = {};
      present().means[c] = {};
    }
    begun_ = reduced_ = false;
    ++round_;
  }

  Codec codec_;
  std::uint64_t seed_;
  std::vector<codec::sender<Codec, Backend>> parts_out_;  // by fragment, then by chunk
  std::vector<codec::sender<Codec, Backend>> mean_out_;  // by fragment
  std::vector<codec::receiver<Codec, Backend>> parts_in_;  // by fragment, then by sender
  std::vector<codec::receiver<Codec, Backend>> means_in_;  // by fragment, then by owner
  std::array<round, 2> rounds_;  // the current one and the next, by parity
  writable_buffer<scalar> mean_;
  bool reduced_ = false;
};

}  // namespace rubato::detail
