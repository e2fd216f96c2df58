// SPDX-License-Identifier: MIT
// The node of all methods in which neighbours average models, with or without gradient tracking. What it does in one
// local iteration is its Order, a sequence of actions; runs of actions between two waits are one pass over memory.
// The formulas and invariants of the tracking members stand in algorithm/gradient_tracking.hpp.
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/batch.hpp>
#include <rubato/algorithm/compressed_sums.hpp>
#include <rubato/algorithm/debt.hpp>
#include <rubato/algorithm/finite.hpp>
#include <rubato/algorithm/gossip_kernel.hpp>
#include <rubato/algorithm/neighbours.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/algorithm/order.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/core/node.hpp>
#include <rubato/ledger/concepts.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/concepts.hpp>
#include <rubato/synchrony/free.hpp>
#include <rubato/weighting/concepts.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// A node that averages models with its neighbours and descends along its own or a tracked gradient.
/// Memory in vectors: x, v, g and, with tracking, z, one rho per out-edge, rho and rho~ per in-edge; whole vectors that
/// arrive by reference are shared with their sender. The 64-bit view of rho adds half a vector a tracking edge at most.
/// SumCodec: codec::identity sends rho as it is, at no cost; a codec of sums costs a pass a message at either end.
/// Without tracking, a local iteration may take a batch of several gradients at one model (algorithm/batch.hpp). With
/// contribution::finished a neighbour's message that it could only post after its own batch of this round ends this
/// node's batch too. The message only hurries: who never hears it fills its batch and goes on, so that nobody waits for it.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Order, class Step = step::sgd, class Weighting = weighting::constant,
         class Synchrony = synchrony::free, class Ledger = ledger::floating, class SumCodec = codec::identity,
         class Contribution = contribution::all>
class gossip {
  static_assert(step::check_step<Step, Backend>() && weighting::check_weighting<Weighting>() &&
                synchrony::check_synchrony<Synchrony>() && ledger::check_ledger<Ledger, typename Backend::scalar>() &&
                contribution::check_contribution<Contribution>());
  static_assert(!Contribution::follows_the_fastest || (synchrony::in_lock_step<Synchrony>() && !order::tracks<Order>()),
                "a contribution that follows the fastest needs rounds and an update order without tracking");

 public:
  using backend_type = Backend;
  static auto name() -> std::string { return "gossip: " + order::words_of<Order>(); }
  using scalar = typename Backend::scalar;
  using value = typename Ledger::template value<scalar>;  ///< of z and of running sums
  static constexpr bool tracks = order::tracks<Order>();
  static constexpr bool compresses = tracks && !std::is_same_v<SumCodec, codec::identity>;

  /// What a user may set; the network and the first model come from the driver.
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    Step step_rule{};
    Weighting weighting{};
    Synchrony synchrony{};
    Ledger ledger{};
    SumCodec sum_codec{};
    Contribution contribution{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("step rule", self.step_rule);
      visit("weighting", self.weighting);
      visit("synchrony", self.synchrony);
      visit("ledger", self.ledger);
      visit("sum codec", self.sum_codec);
      visit("contribution", self.contribution);
    }
  };

  /// Both matrices for tracking orders, a symmetric doubly stochastic W otherwise; throws config_error.
  /// In rounds nothing ages, so that the gain of a regular graph is 1.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    if constexpr (!tracks) return mixing::gossip_plan(network);
    else if constexpr (synchrony::in_lock_step<Synchrony>()) return mixing::tracking_plan(network, {0, 0});
    else return mixing::tracking_plan(network);
  }

  static constexpr bool calibrates = tracks && Ledger::exact;  ///< agree() needs the first gradients

  /// Fixes what all nodes must agree on, from the largest |g_i(x0)| per block over all nodes.
  static void agree(options& o, block_partition const& blocks, std::span<double const> largest, std::size_t nodes) {
    if constexpr (tracks) o.ledger.calibrate(blocks, largest, nodes);
  }

  static constexpr std::array<channel_spec, 2> all_channels{
      channel_spec{channel::model, Synchrony::delivery, element_of<scalar>},
      channel_spec{channel::tracker, Synchrony::delivery, element_of<typename SumCodec::template code<value>>}};
  static constexpr auto channels() -> std::span<channel_spec const> {
    return std::span{all_channels}.first(tracks ? 2 : 1);
  }

  /// `x0`: the common first model, of the run's dimension. Throws config_error on a bad step or an unfit weighting.
  gossip(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        options_{o},
        self_{self},
        blocks_{partition_of(o, x0.size())},
        gamma_{rubato::raw_step(o, plan.gain)},
        step_state_{o.step_rule, backend_, x0.size()},
        batch_{o.contribution},
        x_{std::move(x0)} {
    order::check_order<Order>();
    if constexpr (compresses) {
      static_assert(codec::check_sum_codec<SumCodec, Backend, value, Synchrony::delivery>());
      options_.sum_codec.check();
    }
    if (tracks && batch_.minibatches() != 1) {
      throw config_error{"an order that tracks takes one mini-batch a local iteration, not " +
                         std::to_string(batch_.minibatches()) + "; make the problem's mini-batch larger instead"};
    }
    connect(plan.nodes[to_index(self)]);
    if constexpr (tracks) {
      RUBATO_EXPECTS(!Ledger::exact || has_scale(), "a fixed-point ledger is calibrated before nodes are made");
      z_ = backend_.template allocate<value>(x_.size());
      backend_.sweep({0, x_.size()}, backend::zero_kernel<value>{z_.data()});
    }
  }

  void start(instant now, outbox& out) {
    if constexpr (tracks) request_gradient(out);  // z_0 = g(x_0)
    else advance(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.lane == channel::model) take(models_, p, out);
    else if (tracks && p.lane == channel::tracker) take_sum(p, out);
    if (out.failure) return;
    if (asked_.under_way() && round_ends()) {
      asked_.cancel(out);
      end_batch();
      advance(now, out);
    } else if (standing_) {
      advance(now, out);
    }
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    ++gradients_;
    batch_.add(backend_, std::move(g.value));
    if (!batch_.full()) {
      request_gradient(out);
      return;
    }
    if (tracks && !tracking_) {
      tracking_ = true;
      g_new_ = batch_.take(backend_).sum;
      run_list(order::actions_of<order::action::track>{}, out);
      finish<order::action::track>(now, out);
    } else {
      end_batch();
    }
    advance(now, out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  void on_neighbours(instant now, neighbour_change const& change, outbox& out);

  /// x, shared; valid for ever.
  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics;
  void audit(tracking_audit& a) const;

 private:
  static constexpr auto program = Order::program;
  using streams = detail::gossip_streams<scalar, value>;

  // set-up
  void connect(mixing::neighbourhood const& n);
  [[nodiscard]] auto lead_of(node_id peer, std::size_t nodes) -> std::size_t;
  [[nodiscard]] auto has_scale() const -> bool {
    if constexpr (Ledger::exact) return !options_.ledger.exponents.empty();
    else return true;
  }

  // inputs
  template<class Edges>
  auto admit(Edges& edges, patch const& p, outbox& out) -> typename Edges::value_type*;
  template<class Edge>
  void put(Edge& edge, patch const& p);
  template<class Edges>
  void take(Edges& edges, patch const& p, outbox& out) {
    if (auto* const edge = admit(edges, p, out)) put(*edge, p);
  }
  void take_sum(patch const& p, outbox& out);

  // the program
  void request_gradient(outbox& out);
  [[nodiscard]] auto round_ends() const -> bool;
  void end_batch() {
    g_new_ = batch_.take(backend_).sum;
    step_past(order::place_of<Order>(order::action::gradient));
  }
  void advance(instant now, outbox& out);
  void step_past(std::size_t place) {
    place_ = (place + 1) % program.size();
    if (place_ == 0) ++iterations_;
  }
  template<std::size_t... Place>
  auto dispatch(std::index_sequence<Place...>, instant now, outbox& out) -> bool;
  template<std::size_t Begin>
  auto run_from(instant now, outbox& out) -> bool;
  template<std::size_t Begin, std::size_t... Place>
  void run_slice(std::index_sequence<Place...>, instant now, outbox& out) {
    run_list(order::actions_of<program[(Begin + Place) % program.size()]...>{}, out);
    (finish_and_step<(Begin + Place) % program.size()>(now, out), ...);
  }
  template<order::action... Actions>
  void run_list(order::actions_of<Actions...>, outbox& out);
  template<order::action A>
  void finish(instant now, outbox& out);
  template<std::size_t Place>
  void finish_and_step(instant now, outbox& out) {
    finish<program[Place]>(now, out);
    step_past(Place);
  }

  // rounds
  [[nodiscard]] static constexpr auto waits_at(order::action a) -> bool {
    return Synchrony::waits && (a == order::action::pull || a == order::action::consume);
  }
  [[nodiscard]] static constexpr auto slice_length(std::size_t begin) -> std::size_t;
  template<class Edges>
  auto ready(Edges& edges, channel lane, iteration needed, outbox& out) -> bool;

  // one pass
  template<class List>
  auto prepare() -> streams;
  template<class List>
  auto fill_tables(std::size_t block, streams& s) -> std::size_t;
  void fail_if_out_of_range(outbox& out);
  void say_what_is_not_finite(outbox& out) const;
  [[nodiscard]] auto outreached_by() const -> std::string;
  [[nodiscard]] auto body_of(shared_buffer const& total) -> shared_buffer;
  void post(detail::edge_life const& to, channel lane, shared_buffer body, instant now, outbox& out) const;

  Backend backend_;
  options options_;
  node_id self_;
  block_partition blocks_;
  double gamma_;
  typename Step::template state<Backend> step_state_;
  detail::batch<Backend, Contribution> batch_;

  shared_buffer x_;           // x_i, published: it is the point of gradients too
  shared_buffer v_;           // v_i as last written
  writable_buffer<scalar> x_fresh_, v_fresh_;
  writable_buffer<value> z_;  // z_i
  shared_buffer g_, g_new_;   // the gradient that z holds, and the one (or the batch) that came

  double pull_self_ = 1;
  double push_self_ = 1;
  std::vector<detail::model_in<Backend, scalar>> models_;
  std::vector<detail::model_out> readers_;
  std::vector<detail::sum_in<Backend, value>> sums_in_;
  std::vector<detail::sum_out<Backend, value>> sums_out_;
  detail::debt<Backend, value> debt_;

  // tables of the pass under way; members only to keep their memory
  std::vector<detail::model_source<scalar>> pull_table_;
  std::vector<detail::sum_source<value>> in_table_;
  std::vector<detail::sum_target<scalar, value>> out_table_;

  backend::raised_bits magnitudes_ = 0;  // of the last pass
  bool finite_ = true;                   // all that the last pass wrote
  range beyond_{};                       // the blocks in which it left the ledger's range
  std::size_t place_ = 0;
  std::uint64_t iterations_ = 0;
  std::uint64_t gradients_ = 0;
  detail::asked_gradient asked_;
  std::uint64_t batches_ = 0;  // begun: the clock of ages
  bool tracking_ = false;  // z holds the first gradient
  bool standing_ = false;  // waits for a neighbour
};

}  // namespace rubato

#include <rubato/algorithm/gossip_impl.hpp>
