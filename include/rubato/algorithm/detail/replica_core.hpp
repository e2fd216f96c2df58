// SPDX-License-Identifier: MIT
// The base of algorithms in rounds whose messages are compressed differences. Each node publishes a vector, or two: its
// neighbours hold replicas of it, and a message is the code of how far it is to move. The node and its neighbours add
// the same decoded values in the same order, so that all copies of a vector are equal bit for bit, round by round,
// whatever the codec loses. The node knows what its neighbours know, and its next difference makes up for that loss.
// The orders of events in a round are in replica_rounds.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato::detail {

/// Options of methods in which models move a little towards what is known of neighbours.
template<class Codec, class Step>
struct consensus_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  double consensus = 0.25;  ///< c, above 0 and at most 1; the coarser the codec, the smaller
  Step step_rule{};
  Codec codec{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("consensus", self.consensus, "how far models move towards those of neighbours; less with a coarse codec");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("codec", self.codec, "how messages are coded");
  }
};
/// The same where references move by a part of each difference.
template<class Codec, class Step>
struct reference_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  double consensus = 0.25;  ///< c, above 0 and at most 1; the coarser the codec, the smaller
  double share = 0.5;  ///< a: 1, 1/2, 1/4, ...
  Step step_rule{};
  Codec codec{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("consensus", self.consensus, "how far models move towards those of neighbours; less with a coarse codec");
    visit("share", self.share, "of a coded difference, by which references move; less with a noisy codec");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("codec", self.codec, "how messages are coded");
  }
};

/// What a node knows of a neighbour's published vectors. Such an edge goes both ways: each end holds replicas of the
/// other's.
template<class T, std::size_t Streams>
struct replica_of_neighbour : two_way_edge {
  double weight = 0;  // w_ij
  std::array<writable_buffer<T>, Streams> values{};  // the replicas, or empty where none are kept
  std::uint64_t round = 0;  // how many of the neighbour's messages are in them
  struct difference {
    instant posted{};
    shared_buffer body{};  // codes
    static void visit_state(auto& self, auto&& visit) { visit("posted", self.posted), visit("body", self.body); }
  };
  std::vector<difference> ahead{};  // came, and not yet in the replica; in order, two at most

  static void visit_state(auto& self, auto&& visit) {
    two_way_edge::visit_state(self, visit);
    visit("values", self.values), visit("round", self.round), visit("ahead", self.ahead);
  }
};

/// What a node knows of a vector of its own that it publishes.
template<class T>
struct published_vector {
  writable_buffer<T> known{};  // h_i, equal to all its replicas bit for bit
  writable_buffer<T> said{};  // h_i + q_i as it was before the last move of h_i
  static void visit_state(auto& self, auto&& visit) { visit("known", self.known), visit("said", self.said); }
};

/// said <- h + q;  h <- h + share q. Reads h, q, writes both. (Where no h is kept, said <- q.)
template<class T>
struct said_kernel {
  T const* q;
  T* known;
  T* said;
  T share;  // a power of two, so that its products are exact and all builds compute equal references
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const difference = at.load(q);
    if (known == nullptr) {
      at.expect_finite(difference);
      at.store(said, difference);
      return;
    }
    auto const before = at.load(known);
    auto const whole = before + difference;
    at.expect_finite(whole);
    at.store(said, whole);
    at.store(known, before + share * difference);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (known == nullptr ? 2 : 4) * sizeof(T); }
};

/// mix <- mix + weight (h + q - said);  h <- h + share q. Reads h, q, said, mix, writes h and mix.
template<class T>
struct heard_kernel {
  T const* q;
  T* known;
  T const* said;
  T* mix;
  T weight;
  T share;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const difference = at.load(q);
    auto theirs = difference;
    if (known != nullptr) {
      auto const before = at.load(known);
      theirs = before + difference;
      at.store(known, before + share * difference);
    }
    at.expect_finite(theirs);
    at.store(mix, at.load(mix) + weight * (theirs - at.load(said)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (known == nullptr ? 4 : 6) * sizeof(T); }
};

/// x <- y + c mix: reads both, writes x.
template<class T>
struct towards_kernel {
  T const* y;
  T const* mix;
  T* x;
  T c;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const moved = at.load(y) + c * at.load(mix);
    at.expect_finite(moved);
    at.store(x, moved);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// z <- x - h: reads x, h, writes z.
template<class T>
struct from_reference_kernel {
  T const* x;
  T const* h;
  T* z;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const difference = at.load(x) - at.load(h);
    at.expect_finite(difference);
    at.store(z, difference);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// Throws config_error unless the consensus step lies in (0, 1].
inline void check_consensus(double consensus) {
  if (consensus > 0 && consensus <= 1) return;
  throw config_error{"the consensus step is above 0 and at most 1, not " + shortest(consensus)};
}
/// The same, and unless the share of references is 1, 1/2, 1/4, ... and small enough for the codec.
template<class Options>
void check_references(Options const& o, std::size_t values) {
  check_consensus(o.consensus);
  int exponent = 0;
  if (!(o.share > 0 && o.share <= 1 && std::frexp(o.share, &exponent) == 0.5 && exponent > -64)) {
    throw config_error{
        "references move by 1, 0.5, 0.25, ... of a difference, so that all nodes compute them alike, not "
        "by " +
        shortest(o.share)};
  }
  codec::check_share_of_references(o.codec, values, o.share);
}

/// A message says something of each of `Streams` vectors; `Keeps`: whether replicas are kept.
/// Needs lossless, ordered links and fixed neighbours: one lost difference would part a vector from its replicas for
/// good. A node sends one difference a round, in order, numbered from 1, and goes no further than its slowest neighbour
/// allows: `iterations_` are rounds. The derived class lists edges_ in visit_state, and posts, and says when replicas
/// are brought up to date (catch_up). All passes are those of add(), say()
/// and hear(), and what the derived class does.
/// **Thread safety:** one owner at a time.
template<class Backend, class Options, std::size_t Streams = 1, bool Keeps = true>
class replica_core : public node_core<Backend, Options> {
  using core = node_core<Backend, Options>;
  using code = typename decltype(Options::codec)::template code<typename core::scalar>;

 public:
  using typename core::scalar;
  static constexpr auto delivery = channel_kind::event;
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{
      channel_spec{channel_id::model, delivery, element_of<code>, 0, body_form::codes}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }
  /// Metropolis-Hastings weights on the network, taken as undirected.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::gossip_plan(network);
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(edges_, channel_id::model); }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin(), 1, 1};
  }

  /// A neighbour's published vector as this node knows it, and how many rounds it has counted; for tests.
  struct replica {
    std::span<scalar const> values;
    std::uint64_t round;
  };
  [[nodiscard]] auto replica_of(node_id peer, std::size_t stream = 0) const -> replica {
    for (auto const& e : edges_) {
      if (e.peer == peer) return {e.values[stream].view(), e.round};
    }
    return {};
  }

 protected:
  using replica_edge = replica_of_neighbour<scalar, Streams>;

  /// The first published vector begins with x0 at all nodes, a second one with zeros. Throws config_error on a bad
  /// step, on a neighbour that does not pull from this node, or if the codec cannot take the vector.
  replica_core(Backend b, mixing::neighbourhood const& n, node_id self, shared_buffer x0, Options const& o, double gain)
      : core{std::move(b), self, std::move(x0), o, gain} {
    codec::check_size(o.codec, this->size());
    for (auto const& e : n.pull_from) {
      if (!std::binary_search(n.pull_to.begin(), n.pull_to.end(), e.peer)) {
        throw config_error{"node " + std::to_string(to_index(n.self)) + " averages the model of node " +
                           std::to_string(to_index(e.peer)) + ", which does not average its; W must be symmetric"};
      }
      auto& edge = edges_.emplace_back();
      edge.peer = e.peer;
      edge.weight = e.weight;
      if constexpr (Keeps) {
        for (std::size_t s = 0; s < Streams; ++s) edge.values[s] = first_reference(s);
      }
    }
  }

  /// h before the first message.
  [[nodiscard]] auto first_reference(std::size_t stream) -> writable_buffer<scalar> {
    return stream == 0 ? backend::copied(this->backend_, this->x(), this->size())
                       : backend::zeros<scalar>(this->backend_, this->size());
  }
  [[nodiscard]] auto first_published(std::size_t stream) -> published_vector<scalar> {
    return {first_reference(stream), backend::zeros<scalar>(this->backend_, this->size())};
  }

  /// Whether this node computes the gradient of its round, and has sent nothing in it.
  [[nodiscard]] auto at_begin() const -> bool { return this->pending_.under_way(); }

  /// Keeps the difference of a neighbour until catch_up() needs it; `sent`: messages that this node has sent to each.
  /// False if it does not count (another channel or session), or with out.failure if it can be no neighbour's.
  [[nodiscard]] auto keep(patch const& p, std::uint64_t sent, outbox& out) -> bool {
    auto* const edge = p.channel == channel_id::model ? find_edge(edges_, p.from) : nullptr;
    if (edge == nullptr || !edge->is_of_session(p)) return false;
    auto wrong = malformed(p, element_of<code>, codes_of_all());
    if (!wrong) wrong = out_of_turn(*edge, p, sent);
    if (wrong) {
      out.failure = std::move(wrong);
      return false;
    }
    edge->ahead.push_back({p.posted_at, p.body});
    ++edge->accepted;
    return true;
  }

  /// Brings all replicas to a round: adds the differences up to that number. If one has not come, or a replica is not
  /// finite, sets out.wait or out.failure (which names the sender) and returns false; what was added stays added, so
  /// the next call goes on from there. A pass of add() for each difference.
  [[nodiscard]] auto catch_up(std::uint64_t round, instant now, outbox& out) -> bool {
    for (auto& e : edges_) {
      auto const there = catch_up(e, round, now, out);
      if (out.failure) return false;
      if (!there) {
        out.wait = waiting{e.peer, channel_id::model, iteration{e.round + 1}};
        return false;
      }
    }
    return true;
  }

  /// Q(z) of each stream in one body, with the draws of this node and round: called once a round. Passes: the codec's.
  [[nodiscard]] auto encoded(std::array<scalar const*, Streams> const& z) -> shared_buffer {
    auto const draw = random_stream{0x636f646563ULL, this->seed_, to_index(this->self_), this->iterations_};
    auto codes = this->backend_.template allocate<code>(codes_of_all());
    if (auto const gap = stride() - codes_of_one(); gap > 0) {
      for (std::size_t s = 1; s < Streams; ++s) {
        void* const at = codes.data() + s * stride() - gap;
        this->backend_.sweep({0, gap * sizeof(code)},
                             backend::zero_kernel<std::uint8_t>{static_cast<std::uint8_t*>(at)});
      }
    }
    for (std::size_t s = 0; s < Streams; ++s) {
      codec::encode_with(this->options_->codec, this->backend_, z[s], this->size(), codes.data() + s * stride(),
                         s == 0 ? draw : draw.with(s));
    }
    return std::move(codes).publish();
  }
  [[nodiscard]] auto encoded(scalar const* z) -> shared_buffer
    requires(Streams == 1)
  {
    return encoded(std::array{z});
  }
  /// One body for all, not copied.
  void post_to_all(shared_buffer const& body, instant now, outbox& out) {
    for (auto const& e : edges_) this->post(e.outward(), channel_id::model, body, now, out);
  }

  /// to <- to + decode(difference): the same operations at the sender and at its receivers, so that all copies stay
  /// equal. False if the sum is not finite. Decodes into a scratch vector, then reads 2 vectors and writes 1.
  [[nodiscard]] auto add(shared_buffer const& difference, scalar* to) -> bool {
    auto const all = range{0, this->size()};
    auto const decoded = decoded_part(difference, 0);
    auto const kernel = backend::add_kernel<scalar>{decoded.data(), to, scalar{1}};
    return (this->backend_.sweep(all, kernel) & backend::not_finite) == 0;
  }

  /// The replicas with factor * w_ij, for a kernel that mixes them; valid until the next call.
  [[nodiscard]] auto weighted_replicas(double factor = 1) -> backend::table<model_source<scalar>> {
    table_.clear();
    for (auto const& e : edges_) table_.push_back({e.values[0].data(), static_cast<scalar>(factor * e.weight)});
    return this->backend_.table(table_.data(), table_.size());
  }

  /// Notes what this node has just said of a stream. False if not finite.
  [[nodiscard]] auto say(shared_buffer const& body, std::size_t stream, published_vector<scalar>& own, double share = 1)
      -> bool {
    auto const q = decoded_part(body, stream);
    auto const kernel = said_kernel<scalar>{q.data(), own.known.data(), own.said.data(), static_cast<scalar>(share)};
    return (this->backend_.sweep({0, this->size()}, kernel) & backend::not_finite) == 0;
  }
  /// sum_j w_ij (what j said - what this node said) of each stream, when all messages of `round` are there. Otherwise,
  /// sets out.wait and returns false, and no part of the round is counted. If one is not finite, sets out.failure and
  /// returns false; edges before it are then counted, and the run is over.
  [[nodiscard]] auto hear(std::uint64_t round, std::array<published_vector<scalar> const*, Streams> const& own,
                          std::array<writable_buffer<scalar>, Streams>& mix, double share, instant now, outbox& out)
      -> bool {
    for (auto const& e : edges_) {
      if (e.round + e.ahead.size() >= round) continue;
      out.wait = waiting{e.peer, channel_id::model, iteration{e.round + e.ahead.size() + 1}};
      return false;
    }
    for (auto& m : mix) m = backend::zeros<scalar>(this->backend_, this->size());
    for (auto& e : edges_) {
      if (e.round < round && !hear_next(e, own, mix, share, now, out)) return false;
    }
    return true;
  }

  std::vector<replica_edge> edges_;

 private:
  [[nodiscard]] auto codes_of_one() const -> std::size_t {
    return this->options_->codec.template codes<scalar>(this->size());
  }
  /// From one vector's codes to the next one's in a message, which begin where a scale may stand; zeros lie between.
  [[nodiscard]] auto stride() const -> std::size_t {
    constexpr auto step = (std::max)(alignof(scalar) / sizeof(code), std::size_t{1});
    return (codes_of_one() + step - 1) / step * step;
  }
  [[nodiscard]] auto codes_of_all() const -> std::size_t { return (Streams - 1) * stride() + codes_of_one(); }
  [[nodiscard]] auto decoded_part(shared_buffer const& body, std::size_t stream) -> writable_buffer<scalar> {
    auto decoded = this->backend_.template allocate<scalar>(this->size());
    auto const codes = body.template view<code>();
    RUBATO_EXPECTS(codes.size() == codes_of_all(), "a message holds the codes of all its vectors");
    this->options_->codec.decode(this->backend_, codes.data() + stream * stride(), this->size(), decoded.data());
    return decoded;
  }

  auto hear_next(replica_edge& e, std::array<published_vector<scalar> const*, Streams> const& own,
                 std::array<writable_buffer<scalar>, Streams>& mix, double share, instant now, outbox& out) -> bool {
    auto& next = e.ahead.front();
    for (std::size_t s = 0; s < Streams; ++s) {
      auto const q = decoded_part(next.body, s);
      auto const kernel = heard_kernel<scalar>{q.data(),
                                               e.values[s].data(),
                                               own[s]->said.data(),
                                               mix[s].data(),
                                               static_cast<scalar>(e.weight),
                                               static_cast<scalar>(share)};
      if ((this->backend_.sweep({0, this->size()}, kernel) & backend::not_finite) == 0) continue;
      auto const sent = this->backend_.pool().values(q.data(), this->size());
      out.failure = blame{this->self_}.message(e.peer, channel_id::model, sent).sentence();
      return false;
    }
    count(e, now);
    return true;
  }
  /// The oldest message of an edge is used.
  static void count(replica_edge& e, instant now) {
    e.age.add(now - e.ahead.front().posted);
    e.ahead.erase(e.ahead.begin());
    ++e.round;
  }

  /// What is wrong with the number of a message, or nothing: none may be missing, and a neighbour cannot send its next
  /// one before it has this node's of the round before.
  [[nodiscard]] auto out_of_turn(replica_edge const& edge, patch const& p, std::uint64_t sent) const
      -> std::optional<fault> {
    auto const number = to_count(p.numbers[0]), due = edge.round + edge.ahead.size() + 1;
    if (number != due) {
      return fault{"message " + std::to_string(number) + " of node " + std::to_string(to_index(p.from)) +
                   " came where message " + std::to_string(due) +
                   " was next: one that is lost parts a model from its replicas for good"};
    }
    if (number <= sent + 1) return {};
    return fault{text_of_message(p, number) + " needs what node " + std::to_string(to_index(this->self_)) +
                 " has not sent yet, in round " + std::to_string(sent + 1)};
  }

  /// The same for one replica. False if messages are missing; those of later rounds are kept.
  auto catch_up(replica_edge& e, std::uint64_t round, instant now, outbox& out) -> bool {
    while (e.round < round && !e.ahead.empty()) {
      if (!add(e.ahead.front().body, e.values[0].data())) {
        auto const sum = this->backend_.pool().values(std::as_const(e.values[0]).data(), this->size());
        out.failure = blame{this->self_}.message(e.peer, channel_id::model, sum).sentence();
        return false;
      }
      count(e, now);
    }
    return e.round == round;
  }

  std::vector<model_source<scalar>> table_;  // of the current pass
};

}  // namespace rubato::detail
