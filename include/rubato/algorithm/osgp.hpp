// SPDX-License-Identifier: MIT
// Stochastic gradient push with overlap, node i.  [O] = SGP and OSGP, Assran, Loizou, Ballas, Rabbat, arXiv 1811.10792.
// shapes: x, z, m in R^d;  w, the weight of x;  a = 1 / (1 + out-neighbours): column-stochastic on any directed graph
//   (OS.X)  x <- x - gamma g_i(z)                          on the numerator; the gradient is at the de-biased model
//   (OS.A)  m = a x, u = a w, to each out-neighbour;  x <- x - sum m;  w <- w - sum u
//           where the graph changes: in iteration k to those of round k, a = a_ji(k) of mixing::schedule
//   (OS.M)  x <- x + sum of the m that arrived;  w <- w + sum of their u       each once, before the next gradient
//   (OS.Z)  z <- x / w
// invariants: sum_i w_i + under way = n;  sum_i x_i + under way changes by (OS.X) alone;  w_i > 0
//                                                                                    tests/unit/algorithm/osgp.cpp
// Overlap s: after its t-th iteration a node requests the next gradient once it has, from every in-neighbour, all
// messages up to that of the sender's iteration t - s. On a graph that stays every iteration sends to every
// out-neighbour; on one that changes all nodes know all rounds, so a node knows which messages there are. They carry
// the sender's count. s = 0 in lock-step is SGP; a large s never waits. A node waits only for nodes that have done
// fewer iterations, so the node that has done the fewest goes on: there is no deadlock. Messages that arrive early are
// merged early: mass is not held back.
// step: the step of node i on z is gamma / w_i. While nothing arrives, w shrinks with every iteration, so a large
// overlap among nodes of very different speeds needs a small step. At rest sum_i r_i grad f_i = 0, r_i = iterations per
// second. The overlap s makes the r_i equal in the long run: the limit is then the optimum of the sum, up to the error
// of a constant step.
// differs from [O]: on a graph that stays every iteration sends to all out-neighbours. One or two in turn, as in [O],
// are a graph that changes: mixing::schedule::cycle(mixing::one_peer_exponential(n)).
// Vectors per local iteration with k messages: reads x twice, g, k m; writes x twice, m, z; sent: 1 per out-neighbour.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

template<class Step>
struct osgp_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::uint64_t overlap = 1;  ///< s: local iterations before a message is waited for
  Step step_rule{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("overlap", self.overlap, "local iterations before a message is waited for");
    visit("step rule", self.step_rule, "how a step is made of a direction");
  }
};

/// x <- rule(x, g), then `times` shares of it leave: reads 2n, writes 2n (n if nothing leaves: m is null).
template<class T, class Rule>
struct descend_and_share_kernel {
  T* x;
  T const* g;
  T* m;
  T share;
  T times;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const stepped = rule(at, at.load(x), at.load(g));  // (OS.X)
    at.expect_finite(stepped);
    if (m == nullptr) {
      at.store(x, stepped);
      return;
    }
    auto const part = share * stepped;
    at.stream(m, part);
    at.store(x, stepped - times * part);  // (OS.A)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T) + Rule::bytes_per_value(); }
};

/// m <- ratio * first;  x <- x - times * m: a second share of what the first was taken of: reads 2n, writes 2n.
template<class T>
struct share_more_kernel {
  static constexpr bool raises = false;
  T* x;
  T const* first;
  T* m;
  T ratio;
  T times;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const part = ratio * at.load(first);
    at.stream(m, part);
    at.store(x, at.load(x) - times * part);  // (OS.A)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

/// x <- x + sum of the table;  z <- x / w: reads (1 + k)n, writes 2n.
template<class T>
struct merge_kernel {
  static constexpr bool raises = false;
  T* x;
  T* z;
  T inverse;  // 1 / w
  backend::table<T const*> came;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto sum = at.load(x);
    auto const* const parts = entries_of(at, came);
    for (std::size_t j = 0; j < came.size(); ++j) sum = sum + at.load(parts[j]);  // (OS.M)
    at.store(x, sum);
    auto const mean = inverse * sum;
    at.expect_finite(mean);
    at.stream(z, mean);  // (OS.Z)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return (3 + came.size()) * sizeof(T); }
};

}  // namespace detail

/// The mass of a push-sum node: merged, and arrived but not merged yet.
struct push_sum_mass {
  double weight = 0;
  std::vector<double> numerator;
};

/// Push-sum: models on a directed graph agree on the mean of all nodes, whatever the degrees. Needs lossless, ordered
/// links: the mass of a lost message would be lost, so a gap in the numbers ends the run.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class osgp : public detail::node_core<Backend, detail::osgp_options<Step>> {
  using core = detail::node_core<Backend, detail::osgp_options<Step>>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "OSGP"; }

  /// The edges of both graphs, each in its own direction: along trees, both ways.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::push_sum_plan(network);
  }
  [[nodiscard]] static auto make_plan(mixing::schedule rounds) -> mixing::plan {
    return mixing::push_sum_plan(std::move(rounds));
  }
  static constexpr bool takes_changing_graphs = true;
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{
      channel_spec{channel_id::model, channel_kind::event, element_of<scalar>, carrying(scalar_slot::push_sum_weight)}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  osgp(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        nodes_{plan.nodes.size()},
        behind_{mixing::push_rounds_behind(plan, (std::min)(o.overlap, std::uint64_t{1} << 32) + 1)},
        rounds_{plan.rounds},
        numerator_{backend::copied(core::backend_, core::x(), core::size())} {
    auto const& own = plan.nodes[to_index(self)];
    for (auto const& e : own.push_to) readers_.emplace_back().peer = e.peer;
    for (auto const peer : own.push_from) sources_.emplace_back().peer = peer;
    parts_.resize(readers_.size());
    shares_.reserve(readers_.size());
    if (rounds_ && readers_.empty() && nodes_ > 1)
      throw config_error{"push-sum sends along edges of its own: make the plan with mixing::push_sum_plan"};
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    share_out(g.value, now, out);
    ++this->iterations_;
    if (!out.failure) go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto* const from = p.channel == channel_id::model ? detail::find_edge(sources_, p.from) : nullptr;
    if (from == nullptr || !from->is_of_session(p)) return;
    auto const weight = p.extra.real(scalar_slot::push_sum_weight);
    auto wrong = detail::malformed(p, this->blocks_, all_channels[0]);
    if (!wrong) wrong = detail::fault_of_weight(p, weight, static_cast<double>(nodes_));
    if (!wrong && p.numbers[0] <= from->newest) {
      ++from->overtaken;
      return;
    }
    if (!wrong && p.numbers[0] != next_of(*from)) {
      wrong = fault{"message " + std::to_string(to_count(next_of(*from))) + " of node " +
                    std::to_string(to_index(p.from)) + " to node " + std::to_string(to_index(this->self_)) +
                    " is lost, and its mass with it; push-sum needs links that lose nothing, r_fast does not"};
    }
    if (!wrong && meets_every_ == 1) wrong = detail::fault_beyond_rounds(p, this->self_, this->iterations_, apart());
    if (wrong) {
      out.failure = std::move(wrong);
      return;
    }
    ++from->accepted;
    from->newest = p.numbers[0];
    from->came.push_back({p.body, *weight, p.posted_at, p.numbers[0]});
    if (from->came.size() > most_apart && meets_every_ > 1) fold(*from);
    if (!this->pending_.under_way()) go_on(now, out);
  }

  /// Mass on its way to a node that leaves, and the mass of that node, cannot be recovered.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && has_met()) return resume(change);
    core::refuse_change(change, "a run of push-sum and took its mass with it; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(sources_, channel_id::model); }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("readers", self.readers_), visit("meets at", self.meets_at_), visit("meets every", self.meets_every_);
    visit("numerator", self.numerator_), visit("w", self.w_), visit("sources", self.sources_);
  }

  /// Where nodes meet no mass is under way: each has merged all that was sent before, and nothing that was sent after.
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    auto const edge = (std::min)(this->options_->overlap, std::uint64_t{1} << 32) + 1;
    if (!rounds_) return round_state{this->iterations_, has_met(), behind_, 1, behind_ > edge};
    auto const others = (std::max)(apart(), std::size_t{2});
    return round_state{this->iterations_, has_met(), (std::min)(edge, detail::most_counted / others) * others, 1, true};
  }
  void meet_at(std::uint64_t round, std::uint64_t every) {
    meets_at_ = round;
    meets_every_ = every;
  }

  /// The mass of this node, as in the conservation law; copied if vectors are not on the host.
  [[nodiscard]] auto mass() const -> push_sum_mass {
    auto const x = this->backend_.pool().values(numerator_.view().data(), numerator_.size());
    push_sum_mass m{w_, {x.begin(), x.end()}};
    for (auto const& e : sources_) {
      for (auto const& c : e.came) {
        m.weight += c.weight;
        auto const part = c.part.on_host();
        auto const values = part.template view<scalar>();
        for (std::size_t k = 0; k < values.size(); ++k) m.numerator[k] += static_cast<double>(values[k]);
      }
    }
    return m;
  }

 private:
  static constexpr std::size_t most_apart = 64;  // messages of one sender that wait unmerged
  struct message {
    shared_buffer part;
    double weight = 0;
    instant posted{};
    iteration number{};  // of the last one summed
    static void visit_state(auto& self, auto&& visit) {
      visit("part", self.part), visit("weight", self.weight), visit("posted", self.posted);
      visit("number", self.number);
    }
  };
  struct source : detail::incoming_edge {
    iteration newest{};
    std::vector<message> came{};  // not merged yet
    iteration due{}, due_after{};  // where the graph changes: the message after `due_after`; follows from the state
    static void visit_state(auto& self, auto&& visit) {
      incoming_edge::visit_state(self, visit);
      visit("newest", self.newest), visit("came", self.came);
    }
  };

  /// The number of the next message: that of the next round in which its sender gives something to this node.
  [[nodiscard]] auto next_of(source& e) const -> iteration {
    if (!rounds_) return next(e.newest);
    if (e.due == iteration{} || e.due_after != e.newest) {
      e.due_after = e.newest;
      e.due = iteration{rounds_->next_with(to_count(e.newest), this->self_, e.peer)};
    }
    return e.due;
  }
  /// By how many rounds two nodes may be apart that wait for every message of a round: what one has done reaches at
  /// least one further node each time that all edges have been there.
  [[nodiscard]] auto apart() const -> std::size_t {
    return rounds_ ? nodes_ * std::size_t{rounds_->longest_absence()} : nodes_;
  }

  [[nodiscard]] auto has_met() const -> bool { return this->pending_.under_way() && this->iterations_ == meets_at_; }
  void resume(neighbour_change const& c) {
    if (auto* const to = detail::find_edge(readers_, c.peer)) to->session = c.outgoing;
    auto* const from = detail::find_edge(sources_, c.peer);
    if (from == nullptr) return;
    from->session = c.incoming;
    from->newest = iteration{this->iterations_};
    from->came.clear();
  }
  /// How many meetings lie between this node and that message; its mass waits for all of them.
  [[nodiscard]] auto meetings_before(iteration number) const -> std::uint64_t {
    if (this->iterations_ > meets_at_ || to_count(number) <= meets_at_) return 0;
    return 1 + (to_count(number) - meets_at_ - 1) / meets_every_;
  }

  /// A sender far ahead fills no memory: its waiting mass is summed, in order, from meeting to meeting.
  void fold(source& e) {
    std::size_t sums = 0;
    for (std::size_t k = 0; k < e.came.size();) {
      auto folded = e.came[k];
      auto sum = backend::copied(this->backend_, core::values_of(folded.part), this->size());
      for (++k; k < e.came.size() && meetings_before(e.came[k].number) == meetings_before(folded.number); ++k) {
        auto const* const more = core::values_of(e.came[k].part);
        this->backend_.sweep({0, this->size()}, backend::add_kernel<scalar>{more, sum.data(), scalar{1}});
        folded.weight += e.came[k].weight;
        folded.number = e.came[k].number;
      }
      folded.part = std::move(sum).publish();
      e.came[sums++] = std::move(folded);
    }
    e.came.erase(e.came.begin() + static_cast<std::ptrdiff_t>(sums), e.came.end());
  }

  /// A part of the mass that so many out-neighbours are given in this iteration.
  struct equal_shares {
    double part = 0;
    std::size_t times = 0;
  };
  /// By weight, in the order in which they come first; parts_ says who is given which. Valid until the next call.
  [[nodiscard]] auto shares() -> std::span<equal_shares const> {
    shares_.clear();
    for (std::size_t i = 0; i < readers_.size(); ++i) {
      parts_[i] = rounds_ ? rounds_->weight(this->iterations_ + 1, readers_[i].peer, this->self_)
                          : 1 / (1 + static_cast<double>(readers_.size()));
      if (parts_[i] == 0) continue;
      auto at = std::find_if(shares_.begin(), shares_.end(), [&](auto const& s) { return s.part == parts_[i]; });
      if (at == shares_.end()) at = shares_.insert(at, {parts_[i]});
      ++at->times;
    }
    return shares_;
  }

  void share_out(shared_buffer const& g, instant now, outbox& out) {
    auto const all = shares();
    auto const degree = all.empty() ? 0.0 : static_cast<double>(all[0].times);
    auto const share = all.empty() ? 1.0 : all[0].part;
    auto part = all.empty() ? writable_buffer<scalar>{} : this->backend_.template allocate<scalar>(this->size());
    auto rule = this->next_rule_along(now, {core::values_of(g)});
    if constexpr (requires { rule.decay_at(1.0); }) rule.decay_at(1 / w_);  // what decays is z
    auto const kernel = detail::descend_and_share_kernel<scalar, decltype(rule)>{
        numerator_.data(),          core::values_of(g),          part.data(),
        static_cast<scalar>(share), static_cast<scalar>(degree), rule};
    auto const raised = this->backend_.sweep({0, this->size()}, kernel);
    if ((raised & backend::not_finite) != 0) out.failure = detail::blame{this->self_}.gradient(g).sentence();
    auto const body = std::move(part).publish();
    auto const before = w_;
    for (auto const& s : all) send_shares(s, s.part == share ? body : further_share(body, s, share), before, now, out);
  }
  /// The numerator's part for those who are given another share than the first.
  [[nodiscard]] auto further_share(shared_buffer const& first, equal_shares const& s, double share) -> shared_buffer {
    auto part = this->backend_.template allocate<scalar>(this->size());
    this->backend_.sweep({0, this->size()}, detail::share_more_kernel<scalar>{
                                                numerator_.data(), core::values_of(first), part.data(),
                                                static_cast<scalar>(s.part / share), static_cast<scalar>(s.times)});
    return std::move(part).publish();
  }
  void send_shares(equal_shares const& s, shared_buffer const& body, double before, instant now, outbox& out) {
    auto const weight = s.part * before;
    w_ -= static_cast<double>(s.times) * weight;
    for (std::size_t i = 0; i < readers_.size(); ++i) {
      if (parts_[i] == s.part)
        this->post(readers_[i], channel_id::model, body, now, out).extra.set(scalar_slot::push_sum_weight, weight);
    }
  }

  /// Merges what has arrived and requests the next gradient, or sets out.wait.
  void go_on(instant now, outbox& out) {
    auto const overlap = this->iterations_ == meets_at_ ? 0 : this->options_->overlap;
    if (this->iterations_ > overlap) {
      auto const needed = iteration{this->iterations_ - overlap};
      for (auto& e : sources_) {
        auto const due = next_of(e);
        if (due > needed) continue;
        out.wait = waiting{e.peer, channel_id::model, due};
        return;
      }
    }
    merge(now, out);
    this->ask_gradient(out);
  }

  /// The messages to merge now: all that have arrived, except those sent after the next meeting.
  [[nodiscard]] auto due_of(source const& e) const -> std::span<message const> {
    auto n = e.came.size();
    while (n > 0 && meetings_before(e.came[n - 1].number) > 0) --n;
    return std::span{e.came}.first(n);
  }

  /// In order of ids, so that sums do not depend on the order of arrival.
  void merge(instant now, outbox& out) {
    table_.clear();
    for (auto& e : sources_) {
      for (auto const& c : due_of(e)) {
        table_.push_back(core::values_of(c.part));
        w_ += c.weight;
        e.age.add(now - c.posted);
      }
    }
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    auto const kernel = detail::merge_kernel<scalar>{numerator_.data(), fresh.data(), static_cast<scalar>(1 / w_),
                                                     this->backend_.table(table_.data(), table_.size())};
    auto const spoilt = (this->backend_.sweep({0, this->size()}, kernel) & backend::not_finite) != 0;
    auto blame = detail::blame{this->self_};
    for (auto& e : sources_) {
      if (spoilt) {
        for (auto const& c : due_of(e)) blame.message(e.peer, channel_id::model, c.part);
      }
      e.came.erase(e.came.begin(), e.came.begin() + static_cast<std::ptrdiff_t>(due_of(e).size()));
    }
    if (spoilt) out.failure = blame.sentence();
    this->x_ = std::move(fresh).publish();
  }

  // z, the de-biased model at which gradients are asked for, is x_ of the core.
  std::size_t nodes_;  // n
  std::uint64_t behind_;  // rounds, of a neighbour
  std::shared_ptr<mixing::schedule const> rounds_;  // null: the graph stays the same
  writable_buffer<scalar> numerator_;  // x
  double w_ = 1;
  std::vector<detail::edge_session> readers_;
  std::vector<double> parts_;  // of readers_, in the present iteration; 0: none
  std::vector<equal_shares> shares_;  // of the present iteration
  std::vector<source> sources_;  // by id
  std::uint64_t meets_at_ = 0;  // local iterations, after which all nodes have the mass of those before and no other
  std::uint64_t meets_every_ = (std::numeric_limits<std::uint64_t>::max)();
  std::vector<scalar const*> table_;  // of the merge under way; a member only to keep its memory
};

}  // namespace rubato
