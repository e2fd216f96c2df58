// SPDX-License-Identifier: MIT
// The mean of one vector per node where each sends its whole vector, compressed, to all: for codecs that send so little
// that the sum of n such vectors is not worth compressing again. Nothing blocks inside: the driver's events move it on.
//   (Ga.S)  q_i = Q(s_i), sent to all
//   (Ga.M)  mean = (1/n) sum_j decode(q_j), by id, including the own one
// Rounds may take turns with P fragments of a vector, as in scatter_mean.hpp.
// invariant: the means of all nodes are equal bit for bit                        tests/unit/algorithm/local_sgd.cpp
// Per node and round: n-1 messages of the codes of d values. Passes, in values: encodes d, decodes n d, sums n d.
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
#include <rubato/core/node.hpp>
#include <rubato/core/random.hpp>

namespace rubato::detail {

/// One node's part in an endless sequence of rounds. Needs lossless, ordered links.
template<class Backend, class Codec, codec::use Use>
class gather_mean : public mean_rounds {
  static_assert(codec::check_codec<Codec, Backend, channel_kind::event, Use>());

 public:
  using scalar = typename Backend::scalar;
  static constexpr auto channel = channel_id::chunk;
  static constexpr auto spec = channel_spec{channel, channel_kind::event,
                                            element_of<typename Codec::template code<scalar>>, 0, body_form::codes};

  static void visit_state(auto& self, auto&& visit) {
    mean_rounds::visit_state(self, visit);
    visit("rounds", self.rounds_), visit("mean", self.mean_);
    visit("spoilt by", self.spoilt_by_), visit("spoilt part", self.spoilt_part_);
    if constexpr (codec::has_memory<Codec>) visit("senders", self.out_), visit("receivers", self.in_);
  }

  /// `values`: of the whole vector; `seed`: of the codec's draws. Throws config_error if the codec cannot take them.
  gather_mean(node_id self, members of, std::size_t values, Codec codec, std::uint64_t seed, std::size_t fragments = 1)
      : mean_rounds{self, of, values, fragments, channel},
        codec_{std::move(codec)},
        seed_{seed},
        out_(fragments),
        in_(fragments * of.count),
        spoilt_by_{of.count} {
    for (std::size_t f = 0; f < fragments_; ++f) codec::check_size(codec_, fragment(f).size());
    for (auto& r : rounds_) r.resize(n_);
  }

  /// All nodes go back to the moment between two rounds: messages for the next one are sent again.
  void resume(neighbour_change const& c) {
    if (!resumes_after(round_, c)) return;
    for (auto& r : rounds_) r[members_.place_of(c.peer)] = {};
  }

  /// Gives s_i for the next round, the values of its fragment; x is read now. post(edge, body) posts a message on
  /// `channel` and returns it.
  template<class Post>
  void begin(Backend& backend, scalar const* x, instant now, Post const& post) {
    RUBATO_EXPECTS(!begun_, "a round begins when the one before it is complete");
    begun_ = true;
    auto const draw = random_stream{0x676174686572ULL, seed_, to_index(self_), round_ + 1, 0};
    auto const body = out_[round_ % fragments_].encode(codec_, backend, x, fragment(round_).size(), draw);  // (Ga.S)
    for (std::size_t j = 0; j < n_; ++j)
      if (j != me_) post(peers_[j].outward(), body).number = iteration{round_ + 1};
    present()[me_] = {now, body};
  }

  /// Takes the next message of another node, of this or the next round. False if it is invalid or of another session.
  [[nodiscard]] auto accept(patch const& p, outbox& out) -> bool {
    if (!is_from_peer(p, out)) return false;
    auto const round = to_count(p.numbers[0]) - 1;
    if (!count(p, spec.values, codec_.template codes<scalar>(fragment(round).size()), round, out)) return false;
    rounds_[round % 2][members_.place_of(p.from)] = {p.posted_at, p.body};
    return true;
  }

  /// Goes on as far as the messages allow; true if that completed the round.
  template<class Post>
  [[nodiscard]] auto advance(Backend& backend, instant now, Post const&, outbox&) -> bool {
    if (!begun_ || first_missing(present()) < n_) return false;
    for (std::size_t j = 0; j < n_; ++j)
      if (j != me_) peers_[j].age.add(now - present()[j].posted);
    sum_up(backend);
    begun_ = false;
    ++round_;
    return true;
  }

  /// The mean, of as many values as the fragment; call it after advance() has returned true.
  [[nodiscard]] auto take_mean() -> writable_buffer<scalar> { return std::move(mean_); }

  /// The cause of a mean that is not finite; call it after take_mean().
  [[nodiscard]] auto spoilt(std::vector<scalar> const&) const -> fault {
    auto named = blame{self_};
    if (spoilt_by_ < n_ && spoilt_by_ != me_) named.message(members_.node_of(spoilt_by_), channel, spoilt_part_);
    else if (spoilt_by_ < n_)
      return {"what node " + std::to_string(to_index(self_)) +
              " computed is not finite; if it grew before, the run diverges, and a smaller step helps"};
    return named.sentence();
  }

  /// The message that a round under way waits for.
  [[nodiscard]] auto missing() -> waiting {
    return {members_.node_of(first_missing(present())), channel, iteration{round_ + 1}};
  }

 private:
  [[nodiscard]] auto present() -> std::vector<message>& { return rounds_[round_ % 2]; }

  void sum_up(Backend& backend) {
    auto const size = fragment(round_).size();
    auto const all = range{0, size};
    auto sum = backend::zeros<scalar>(backend, size);
    auto part = backend.template allocate<scalar>(size);
    spoilt_by_ = n_;
    for (std::size_t j = 0; j < n_; ++j) {
      auto& from = present()[j];
      in_[round_ % fragments_ * n_ + j].decode(codec_, backend, from.body, all, part.data());
      auto const raised = backend.sweep(all, backend::add_kernel<scalar>{part.data(), sum.data(), scalar{1}});
      if ((raised & backend::not_finite) != 0 && spoilt_by_ == n_) {
        spoilt_by_ = j;
        spoilt_part_ = backend.pool().values(std::as_const(part).data(), size);
      }
      from = {};
    }
    auto const share = scalar{1} / static_cast<scalar>(n_);
    backend.sweep(all, backend::scale_kernel<scalar>{sum.data(), part.data(), share});  // (Ga.M)
    mean_ = std::move(part);
  }

  Codec codec_;
  std::uint64_t seed_;
  std::vector<codec::sender<Codec, Backend>> out_;  // by fragment
  std::vector<codec::receiver<Codec, Backend>> in_;  // by fragment, then by sender
  std::array<std::vector<message>, 2> rounds_;  // by sender, of the current round and the next, by parity
  writable_buffer<scalar> mean_;
  std::size_t spoilt_by_;  // of the last mean: whose part was not finite; n if none was
  std::vector<scalar> spoilt_part_{};
};

}  // namespace rubato::detail
