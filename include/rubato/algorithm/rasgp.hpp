// SPDX-License-Identifier: MIT
// Robust asynchronous stochastic gradient push, node i.   [S] = Spiridonoff, Olshevsky, Paschalidis, arXiv 1811.03982.
// shapes: x, z, m, sigma, rho vectors;  w, u, sigma_w, rho_w numbers, w the weight of x;  d out-neighbours,
// a = 1 / (1 + d)
// When the gradient g of f_i at z has come:
//   (RG.X)  x <- x - gamma g                          on the numerator; the gradient is at the de-biased model
//   (RG.A)  m = a x,  u = a w;  sigma <- sigma + m,  sigma_w <- sigma_w + u;  x <- x - d m,  w <- w - d u
//           sigma, sigma_w are posted to each out-neighbour: what each of them was ever given
//   (RG.M)  x <- x + sum_j (sigma_j - rho_j),  w <- w + sum_j (sigma_w,j - rho_w,j);  rho_j <- sigma_j
//           sigma_j: the newest that has come of in-neighbour j; rho_j: what this node has had of it before
//   (RG.Z)  z <- x / w
// invariants: w + d sigma_w - sum_j rho_w,j = 1, and x + d sigma - sum_j rho_j changes by (RG.X) alone, up to the
//   rounding of x, at each node and whatever is lost: so sum_i w_i + what is under way = n
//                                                                       tests/unit/algorithm/rasgp.cpp
// A running sum makes up for all messages that were lost before it. x and its weight must be of the same message:
// parts of a vector count once all of one message have come, so over links that lose much a vector should fit in few
// datagrams.
// A node that hears nothing for long would give nearly all its mass away, and its step on z, gamma / w, would grow
// without bound. So it gives none while its weight is below 1/64. Sums are doubles, since they grow for ever.
// At rest sum_i r_i grad f_i = 0, r_i = iterations of node i per second: the optimum of the sum at even speeds, up to
// the error of a constant step. r_fast gives it at any speeds.
// differs from [S]: a node sends in each iteration and never sleeps, so it makes no steps up for sleep; the step is the
// user's (in [S] it falls as 1 / k); the bound of 1/64 is ours.
// Per local iteration, in vectors, one pass, with k new messages: reads x, g, sigma, k (sigma_j, rho_j); writes x,
// sigma, z. Sent: 1 per out-neighbour, of doubles, by reference. Memory: x, z, g, sigma, 2 per in-neighbour.
#pragma once

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
#include <rubato/algorithm/osgp.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/text.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

/// (RG.X) to (RG.Z) at one index; `sent` is null in an iteration that gives nothing.
template<class T, class Rule>
struct push_sums_kernel {
  static constexpr bool raises = false;
  T* x;
  T const* g;
  double const* sent_before;  // null for zeros
  double* sent;
  T share;
  T times;
  backend::table<sum_source<double>> came;
  T inverse;  // 1 / w
  T* z;
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto held = rule(at, at.load(x), at.load(g));  // (RG.X)
    if (sent != nullptr) {
      auto const part = share * held;
      auto const wide = at.template cast<double>(part);
      at.stream(sent, sent_before == nullptr ? wide : at.load(sent_before) + wide);
      held = held - times * part;  // (RG.A)
    }
    auto const* const sums = entries_of(at, came);
    for (std::size_t j = 0; j < came.size(); ++j) {
      auto fresh = at.load(sums[j].newest);
      if (sums[j].consumed != nullptr) fresh = fresh - at.load(sums[j].consumed);
      held = held + at.template cast<T>(fresh);  // (RG.M)
    }
    at.store(x, held);
    auto const mean = inverse * held;
    at.expect_finite(mean);
    at.stream(z, mean);  // (RG.Z)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t {
    return 4 * sizeof(T) + 16 + came.size() * 16 + Rule::bytes_per_value();
  }
};

/// The running sums of one in-neighbour.
struct push_sums_in : incoming_edge {
  struct sums {
    shared_buffer values{};  // empty: zeros
    double weight = 0;
    iteration number{};
    instant posted{};
    static void visit_state(auto& self, auto&& visit) {
      visit("values", self.values), visit("weight", self.weight);
      visit("number", self.number), visit("posted", self.posted);
    }
  };
  sums newest{}, consumed{};
  writable_buffer<double> parts{};  // of a message that has not come whole yet
  double parts_weight = 0;
  iteration parts_number{};
  std::vector<std::uint8_t> has{};  // of its blocks, 1 for those that have come
  std::uint64_t missing = 0;  // how many have not

  static void visit_state(auto& self, auto&& visit) {
    incoming_edge::visit_state(self, visit);
    visit("newest", self.newest), visit("consumed", self.consumed), visit("parts", self.parts);
    visit("weight of parts", self.parts_weight), visit("number of parts", self.parts_number);
    visit("has", self.has), visit("missing", self.missing);
  }
};

}  // namespace detail

/// Nobody waits for anybody, and lost messages are harmless. Nodes may not leave: their mass would leave with them.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class rasgp : public detail::node_core<Backend, detail::step_options<Step>> {
  using core = detail::node_core<Backend, detail::step_options<Step>>;
  using source = detail::push_sums_in;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "RASGP"; }

  /// The edges of both graphs, each in its own direction: along trees, both ways.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::push_sum_plan(network);
  }
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{channel_spec{channel_id::tracker, channel_kind::state, element_of<double>,
                                                        carrying(scalar_slot::push_sum_weight)}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step.
  rasgp(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        nodes_{plan.nodes.size()},
        numerator_{backend::copied(core::backend_, core::x(), core::size())} {
    auto const& own = plan.nodes[to_index(self)];
    for (auto const& e : own.push_to) readers_.emplace_back().peer = e.peer;
    for (auto const peer : own.push_from) sources_.emplace_back().peer = peer;
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    descend_and_exchange(g.value, now, out);
    ++this->iterations_;
    if (!out.failure) this->ask_gradient(out);
  }

  void on_patch(instant, patch const& p, outbox& out) {
    auto* const from = p.channel == channel_id::tracker ? detail::find_edge(sources_, p.from) : nullptr;
    if (from == nullptr || !from->is_of_session(p)) return;
    auto const weight = p.extra.real(scalar_slot::push_sum_weight);
    auto wrong = detail::malformed(p, this->blocks_, all_channels[0]);
    if (!wrong) wrong = from->order.rise(p);
    if (!wrong) {  // n with each message
      auto const most = static_cast<double>(nodes_) * static_cast<double>(to_count(p.numbers[0]));
      wrong = detail::fault_of_weight(p, weight, most, "a sum of push-sum weights");
    }
    if (!wrong) wrong = keep(*from, p, *weight);
    if (wrong) out.failure = std::move(wrong);
  }

  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    core::refuse_change(change, "a run of push-sum and took its mass with it; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics { return this->counts(sources_, channel_id::tracker); }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("readers", self.readers_), visit("sources", self.sources_);
    visit("numerator", self.numerator_), visit("w", self.w_);
    visit("sent", self.sent_), visit("weight sent", self.weight_sent_), visit("messages", self.messages_);
  }

  /// The weight of the present model.
  [[nodiscard]] auto weight() const -> double { return w_; }
  /// What this node has and has ever given, less all that it was given: a weight of 1, and its first model less its own
  /// steps. Copied if vectors are not on the host.
  [[nodiscard]] auto balance() const -> push_sum_mass {
    auto const x = this->backend_.pool().values(numerator_.view().data(), numerator_.size());
    push_sum_mass m{w_, {x.begin(), x.end()}};
    auto const add = [&m](shared_buffer const& sums, double weight, double times) {
      m.weight += times * weight;
      if (!sums) return;
      auto const here = sums.on_host();
      for (std::size_t k = 0; k < m.numerator.size(); ++k) m.numerator[k] += times * here.template view<double>()[k];
    };
    add(sent_, weight_sent_, static_cast<double>(readers_.size()));
    for (auto const& e : sources_) add(e.consumed.values, e.consumed.weight, -1);
    return m;
  }

 private:
  static constexpr double least_weight = 1.0 / 64;

  [[nodiscard]] static auto fault_of_order(patch const& p, double weight, char const* beside) -> fault {
    return {detail::text_of_message(p, to_count(p.number_of(p.blocks.begin))) +
            " carries a sum of push-sum weights of " + shortest(weight) + beside};
  }

  /// Keeps what is newer than the newest whole message.
  [[nodiscard]] auto keep(source& from, patch const& p, double weight) -> std::optional<fault> {
    auto const all = this->blocks_.blocks();
    if (p.blocks.size() == all && p.numbers.size() == 1) {
      if (p.numbers[0] <= from.newest.number) ++from.overtaken;
      else return complete(from, p, {p.body, weight, p.numbers[0], p.posted_at});
      return {};
    }
    auto const offset = this->blocks_.values_of(p.blocks).begin;
    for (auto block = p.blocks.begin; block < p.blocks.end; ++block) {
      auto const number = p.number_of(block);
      if (number <= from.newest.number || number < from.parts_number) {
        ++from.overtaken;
        continue;
      }
      if (number > from.parts_number) {
        from.parts = this->backend_.template allocate<double>(this->size());
        from.parts_number = number;
        from.parts_weight = weight;
        from.has.assign(all, 0);
        from.missing = all;
      }
      if (weight != from.parts_weight) return fault_of_order(p, weight, ", and another part of it another one");
      if (std::exchange(from.has[block], std::uint8_t{1}) != 0) continue;
      auto const r = this->blocks_.values_of({block, block + 1});
      this->backend_.sweep({0, r.size()},
                           backend::copy_kernel<double>{p.body.template view<double>().data() + (r.begin - offset),
                                                        from.parts.data() + r.begin});
      if (--from.missing > 0) continue;
      auto const whole = std::move(from.parts).publish();
      from.parts = {};
      if (auto wrong = complete(from, p, {whole, weight, number, p.posted_at})) return wrong;
    }
    return {};
  }
  [[nodiscard]] static auto complete(source& from, patch const& p, source::sums fresh) -> std::optional<fault> {
    if (fresh.weight < from.newest.weight) return fault_of_order(p, fresh.weight, ", less than one before it");
    from.newest = std::move(fresh);
    ++from.accepted;
    return {};
  }

  void descend_and_exchange(shared_buffer const& g, instant now, outbox& out) {
    auto rule = this->next_rule_along(now, {core::values_of(g)});
    if constexpr (requires { rule.decay_at(1.0); }) rule.decay_at(1 / w_);  // what decays is z
    auto const degree = static_cast<double>(readers_.size());
    auto const share = 1 / (1 + degree);
    auto const gives = !readers_.empty() && w_ >= least_weight;
    auto sums = gives ? this->backend_.template allocate<double>(this->size()) : writable_buffer<double>{};
    auto const* const before = sent_ ? sent_.template view<double>().data() : nullptr;
    if (gives) {
      weight_sent_ += share * w_;
      w_ -= degree * (share * w_);
    }
    table_.clear();
    for (auto& e : sources_) {
      if (e.newest.number == e.consumed.number) continue;
      auto const* const had = e.consumed.values ? e.consumed.values.template view<double>().data() : nullptr;
      table_.push_back({e.newest.values.template view<double>().data(), had});
      w_ += e.newest.weight - e.consumed.weight;
      e.age.add(now - e.newest.posted);
    }
    auto z = this->backend_.template allocate<scalar>(this->size());
    auto const kernel =
        detail::push_sums_kernel<scalar, decltype(rule)>{numerator_.data(),
                                                         core::values_of(g),
                                                         before,
                                                         sums.data(),
                                                         static_cast<scalar>(share),
                                                         static_cast<scalar>(degree),
                                                         this->backend_.table(table_.data(), table_.size()),
                                                         static_cast<scalar>(1 / w_),
                                                         z.data(),
                                                         rule};
    auto const raised = this->backend_.sweep({0, this->size()}, kernel);
    this->x_ = std::move(z).publish();
    if ((raised & backend::not_finite) != 0) return accuse(g, out);
    for (auto& e : sources_) e.consumed = e.newest;
    if (gives) post_sums(std::move(sums).publish(), now, out);
  }
  void post_sums(shared_buffer sums, instant now, outbox& out) {
    sent_ = std::move(sums);
    ++messages_;
    for (auto const& to : readers_) {
      auto& p = this->post(to, channel_id::tracker, sent_, now, out);
      p.number = iteration{messages_};
      p.extra.set(scalar_slot::push_sum_weight, weight_sent_);
    }
  }
  void accuse(shared_buffer const& g, outbox& out) const {
    auto suspects = detail::blame{this->self_};
    suspects.gradient(g);
    for (auto const& e : sources_)
      if (e.newest.values) suspects.message(e.peer, channel_id::tracker, e.newest.values);
    out.failure = suspects.sentence();
  }

  // z, the de-biased model at which gradients are asked for, is x_ of the core.
  std::size_t nodes_;  // n
  writable_buffer<scalar> numerator_;  // x
  double w_ = 1;
  shared_buffer sent_;  // sigma: the last one posted
  double weight_sent_ = 0;  // sigma_w
  std::uint64_t messages_ = 0;
  std::vector<detail::edge_session> readers_;
  std::vector<source> sources_;  // by id
  std::vector<detail::sum_source<double>> table_;  // of the present pass; kept for its memory
};

}  // namespace rubato
