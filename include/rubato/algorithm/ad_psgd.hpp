// SPDX-License-Identifier: MIT
// Asynchronous decentralised SGD by pairwise averaging, node i.   [A] = AD-PSGD, Lian et al., arXiv 1710.06952.
// shapes: x, a, b in R^d;   x^ = the model at which the gradient under way was asked for
//   (AD.G)  x <- x - gamma g_i(x^)                       when the gradient comes
//   (AD.A)  a = x, sent to a neighbour drawn at random   with every request for a gradient, unless one is unanswered
//   (AD.P)  asked with a:     answer b = x;  x <- x + (a - b) / 2
//   (AD.I)  answered with b:  x <- x + (b - a) / 2       a as it was sent, whatever x is by now
// invariant: sum_i x_i + sum over answers under way of (b - a) / 2 changes by (AD.G) alone, up to rounding
//   (a - b and b - a differ in their sign only, so all that is lost is what each sum rounds off)
//                                                                                 tests/unit/algorithm/ad_psgd.cpp
// At rest sum_i r_i grad f_i = 0, r_i = gradients of node i a second: who is fast weighs more. For sum_i grad f_i = 0
// whatever the speeds there is r_fast.
// differs from [A]: both ends average at a time of their own, by differences, so that there is no lock, nothing waits,
// and any graph will do (there: a bipartite one, whose active side asks and whose passive side answers).
// Vectors a local iteration: (AD.G) reads x, g, writes x; an average asked for reads x, a, b, a given one x, a; each writes
// x once. Sent: 1, and 1 for each answer. A model is posted by reference, without a copy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/finite.hpp>
#include <rubato/algorithm/incoming.hpp>
#include <rubato/algorithm/mean_step.hpp>
#include <rubato/algorithm/neighbours.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/random.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

/// x_new <- x + (theirs - mine) / 2: reads 3n, writes n.
template<class T>
struct approach_kernel {
  static constexpr bool raises = false;
  T const* x;
  T const* theirs;
  T const* mine;
  T* x_new;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const fresh = at.load(x) + T(0.5) * (at.load(theirs) - at.load(mine));
    at.expect_finite(fresh);
    at.store(x_new, fresh);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

}  // namespace detail

/// Nobody waits for anybody. Needs lossless, ordered links: a lost answer would lose half a difference.
/// A neighbour whose edge closes is not asked any more; an average under way on its edge is given up, which moves the sum by
/// half a difference if only the other end took its part. A node without neighbours goes on alone.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step = step::sgd>
class ad_psgd {
  static_assert(step::check_step<Step, Backend>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "AD-PSGD"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.x_.size());
    visit("seed", self.seed_), visit("step", self.step_state_), visit("x", self.x_), visit("neighbours", self.neighbours_);
    visit("question", self.asked_), visit("posted", self.posted_), visit("questions", self.questions_);
    visit("gradients", self.gradients_), visit("gradient asked for", self.gradient_);
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;  ///< of the mini-batches, and of who is asked
    std::size_t block_values = 0;
    Step step_rule{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("step rule", self.step_rule);
    }
  };

  /// Any connected network, edges taken both ways.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan { return mixing::gossip_plan(network); }
  static constexpr bool calibrates = false;
  static void agree(options&, block_partition const&, std::span<double const>, std::size_t) {}
  /// An answer says in based_on which question it answers; a question's based_on is 0.
  static auto channels() -> std::span<channel_spec const> {
    static constexpr std::array<channel_spec, 1> all{
        channel_spec{channel::model, channel_kind::event, element_of<scalar>}};
    return all;
  }

  ad_psgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        blocks_{partition_of(o, x0.size())},
        step_state_{o.step_rule, backend_, x0.size()},
        x_{std::move(x0)} {
    for (auto const& e : plan.nodes[to_index(self)].pull_from) neighbours_.emplace_back().peer = e.peer;
  }

  void start(instant now, outbox& out) { begin(now, out); }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto* const from = p.lane == channel::model ? detail::find_edge(neighbours_, p.from) : nullptr;
    if (from == nullptr) return;
    if (!from->open || !(p.life == from->life)) {
      ++from->overtaken;
      return;
    }
    if (auto wrong = detail::malformed(p, blocks_, channels()[0])) {
      out.failure = std::move(wrong);
      return;
    }
    auto const answers = p.based_on != iteration{};
    if (answers && !(asked_ && asked_->peer == p.from && asked_->number == p.based_on)) {
      ++from->overtaken;
      return;
    }
    ++from->accepted;
    from->age.add(now - p.posted_at);
    if (answers) {
      approach(p, std::exchange(asked_, {})->sent, out);  // (AD.I)
      return;
    }
    post(*from, p.numbers[0], now, out);
    approach(p, x_, out);  // (AD.P)
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!gradient_.accept(g)) return;
    ++gradients_;
    if (!detail::step_on(backend_, x_, step_state_.next(gamma_), {values_of(g.value)})) {  // (AD.G)
      out.failure = detail::blame{self_}.gradient(g.value).sentence();
    }
    begin(now, out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  void on_neighbours(instant, neighbour_change const& change, outbox&) {
    auto* const edge = detail::find_edge(neighbours_, change.peer);
    if (edge == nullptr) return;
    edge->open = change.what == neighbour_change::edge::opens;
    edge->life = change.incoming;
    edge->outgoing = change.outgoing;
    if (asked_ && asked_->peer == change.peer) asked_.reset();
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{gradients_, gradients_, gradient_.dropped(), {}};
    for (auto const& e : neighbours_) s.edges.push_back({e.peer, channel::model, e.accepted, e.overtaken, e.age});
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

 private:
  struct neighbour : detail::edge_life {  // its life is that of what comes in
    session outgoing{};
    std::uint64_t accepted = 0;
    std::uint64_t overtaken = 0;
    age_counter age{};
    static void visit_state(auto& self, auto&& visit) {
      edge_life::visit_state(self, visit);
      visit("outgoing", self.outgoing), visit("accepted", self.accepted);
      visit("overtaken", self.overtaken), visit("age", self.age);
    }
  };
  /// The one question of this node that has no answer yet.
  struct question {
    node_id peer{};
    iteration number{};
    shared_buffer sent;
    static void visit_state(auto& self, auto&& visit) {
      visit("peer", self.peer), visit("number", self.number), visit("sent", self.sent);
    }
  };

  [[nodiscard]] static auto values_of(shared_buffer const& b) -> scalar const* { return b.template view<scalar>().data(); }

  void begin(instant now, outbox& out) {
    gradient_.ask(x_, {seed_, self_, gradients_}, out);
    if (!asked_) ask(now, out);
  }

  void ask(instant now, outbox& out) {
    std::size_t there = 0;
    for (auto const& e : neighbours_) there += e.open ? 1 : 0;
    if (there == 0) return;
    auto draw = random_stream{{0x70616972ULL, seed_, static_cast<std::uint64_t>(self_), questions_++}};
    auto left = draw.below(there);
    for (auto const& e : neighbours_) {
      if (!e.open || left-- > 0) continue;
      asked_ = question{e.peer, post(e, {}, now, out), x_};  // (AD.A)
      return;
    }
  }

  /// Posts x as it is, in answer to `answered` if that is not 0, and returns its number.
  auto post(neighbour const& to, iteration answered, instant now, outbox& out) -> iteration {
    packet p;
    p.from = self_;
    p.to = to.peer;
    p.lane = channel::model;
    p.life = to.outgoing;
    p.number = posted_ = next(posted_);
    p.based_on = answered;
    p.posted_at = now;
    p.body = x_;
    out.packets.push_back(std::move(p));
    return posted_;
  }

  void approach(patch const& p, shared_buffer const& mine, outbox& out) {
    auto fresh = backend_.template allocate<scalar>(x_.size());
    auto const kernel =
        detail::approach_kernel<scalar>{values_of(x_), values_of(p.body), values_of(mine), fresh.data()};
    auto const raised = backend_.sweep({0, x_.size()}, kernel);
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{self_}.message(p.from, p.lane, p.body).sentence();
    x_ = std::move(fresh).publish();
  }

  Backend backend_;
  node_id self_;
  double gamma_;
  std::uint64_t seed_;
  block_partition blocks_;
  typename Step::template state<Backend> step_state_;
  shared_buffer x_;
  std::vector<neighbour> neighbours_;  // by id
  std::optional<question> asked_;
  iteration posted_{};
  std::uint64_t questions_ = 0, gradients_ = 0;
  detail::asked_gradient gradient_;
};

}  // namespace rubato
