// SPDX-License-Identifier: MIT
// The base of algorithms in rounds whose messages are compressed differences. Each node publishes a vector: its
// neighbours hold replicas of it, and a message is the code of how far it is to move. The node and its neighbours add
// the same decoded values in the same order, so that all copies of a vector are equal bit for bit, round by round,
// whatever the codec loses. The node knows what its neighbours know, and its next difference makes up for that loss.
// Two algorithms build on it, and say what is published: low_precision_d_psgd (its model) and choco_sgd (a reference,
// towards which models move).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/random.hpp>
#include <rubato/mixing/neighbourhood.hpp>

namespace rubato::detail {

/// What a node knows of a neighbour's published vector. Such an edge goes both ways: each end holds a replica of the
/// other's.
template<class T>
struct replica_of_neighbour : two_way_edge {
  double weight = 0;  // w_ij
  writable_buffer<T> values{};  // the replica
  std::uint64_t round = 0;  // how many of the neighbour's differences are in it
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

/// Needs lossless, ordered links and fixed neighbours: one lost difference would part a vector from its replicas for
/// good. A node sends one difference a round, in order, numbered from 1, and goes no further than its slowest neighbour
/// allows: `iterations_` are rounds. The derived class lists edges_ in visit_state, and posts, and says when replicas
/// are brought up to date (catch_up). All passes are those of add(), and what the derived class does.
/// **Thread safety:** one owner at a time.
template<class Backend, class Options>
class replica_core : public node_core<Backend, Options> {
  using core = node_core<Backend, Options>;

 public:
  using typename core::scalar;

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(edges_, channel_id::model); }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, at_begin(), 1, 1};
  }

  /// A neighbour's published vector as this node knows it, and how many rounds it has counted; for tests.
  struct replica {
    std::span<scalar const> values;
    std::uint64_t round;
  };
  [[nodiscard]] auto replica_of(node_id peer) const -> replica {
    for (auto const& e : edges_) {
      if (e.peer == peer) return {e.values.view(), e.round};
    }
    return {};
  }

 protected:
  /// All published vectors begin with x0. Throws config_error on a bad step, on a neighbour that does not pull from
  /// this node, or if the codec cannot take the vector.
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
      edge.values = backend::copied(this->backend_, this->x(), this->size());
    }
  }

  /// Whether this node computes the gradient of its round, and has sent nothing in it.
  [[nodiscard]] auto at_begin() const -> bool { return this->pending_.under_way(); }

  /// Keeps the difference of a neighbour until catch_up() needs it; `sent`: messages that this node has sent to each.
  /// False if it does not count (another channel or session), or with out.failure if it can be no neighbour's.
  [[nodiscard]] auto keep(patch const& p, element type, std::uint64_t sent, outbox& out) -> bool {
    auto* const edge = p.channel == channel_id::model ? find_edge(edges_, p.from) : nullptr;
    if (edge == nullptr || !edge->is_of_session(p)) return false;
    auto wrong = malformed(p, type, this->options_->codec.template codes<scalar>(this->size()));
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

  /// Q(z), with the draws of this node and round: called once a round. Passes: the codec's.
  [[nodiscard]] auto encoded(scalar const* z) -> shared_buffer {
    auto const draw = random_stream{0x636f646563ULL, this->seed_, to_index(this->self_), this->iterations_};
    return codec::encoded(this->options_->codec, this->backend_, z, this->size(), draw);
  }
  /// One body for all, not copied.
  void post_to_all(shared_buffer const& body, instant now, outbox& out) {
    for (auto const& e : edges_) this->post(e.outward(), channel_id::model, body, now, out);
  }

  /// to <- to + decode(difference): the same operations at the sender and at its receivers, so that all copies stay
  /// equal. False if the sum is not finite. Decodes into a scratch vector, then reads 2 vectors and writes 1.
  [[nodiscard]] auto add(shared_buffer const& difference, scalar* to) -> bool {
    auto const all = range{0, this->size()};
    auto decoded = this->backend_.template allocate<scalar>(this->size());
    codec::decode_body(this->options_->codec, this->backend_, difference, all, decoded.data());
    auto const kernel = backend::add_kernel<scalar>{decoded.data(), to, scalar{1}};
    return (this->backend_.sweep(all, kernel) & backend::not_finite) == 0;
  }

  /// The replicas with factor * w_ij, for a kernel that mixes them; valid until the next call.
  [[nodiscard]] auto weighted_replicas(double factor = 1) -> table<model_source<scalar>> {
    table_.clear();
    for (auto const& e : edges_) table_.push_back({e.values.data(), static_cast<scalar>(factor * e.weight)});
    return {this->backend_.table(table_.data(), table_.size()), table_.size()};
  }

  std::vector<replica_of_neighbour<scalar>> edges_;

 private:
  /// What is wrong with the number of a message, or nothing: none may be missing, and a neighbour cannot send its next
  /// one before it has this node's of the round before.
  [[nodiscard]] auto out_of_turn(replica_of_neighbour<scalar> const& edge, patch const& p, std::uint64_t sent) const
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
  auto catch_up(replica_of_neighbour<scalar>& e, std::uint64_t round, instant now, outbox& out) -> bool {
    while (e.round < round && !e.ahead.empty()) {
      if (!add(e.ahead.front().body, e.values.data())) {
        auto const sum = this->backend_.pool().values(std::as_const(e.values).data(), this->size());
        out.failure = blame{this->self_}.message(e.peer, channel_id::model, sum).sentence();
        return false;
      }
      e.age.add(now - e.ahead.front().posted);
      e.ahead.erase(e.ahead.begin());
      ++e.round;
    }
    return e.round == round;
  }

  std::vector<model_source<scalar>> table_;  // of the current pass
};

}  // namespace rubato::detail
