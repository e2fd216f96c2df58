// SPDX-License-Identifier: MIT
// Synchronous SGD over a ring all-reduce, node i of n.   Source: the usual reduce-scatter and all-gather on a ring.
// Chunk c is [c d/n, (c+1) d/n); indices of nodes and chunks are modulo n; 2(n-1) packets and 2d(n-1)/n values a round.
//   (A.R)  for s = 0 .. n-2:  receive S_c, c = i-s-1, from i-1;  S_c <- S_c + g_c;  forward to i+1      reduce-scatter
//   (A.G)  for s = 0 .. n-2:  receive the complete S_c, c = i-s, from i-1;  forward to i+1               all-gather
//   (A.X)  x_c <- x_c - gamma (1/n) S_c                                   as soon as chunk c is complete
// invariant: all replicas are equal bit for bit after a round               tests/unit/algorithm/ring_allreduce_sgd.cpp
// Passes a round, in vectors: reads g, x, 2 S; writes x, S. Partial sums live in the messages, not in a vector of their own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/mean_step.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>

namespace rubato {

namespace detail {

/// out <- a + b, n values: reads 2n, writes n.
template<class T>
struct sum_kernel {
  T const* a;
  T const* b;
  T* out;
  template<class At>
  void operator()(At& at) const {
    at.store(out, at.load(a) + at.load(b));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

}  // namespace detail

/// Every node ends every round with the same model. Needs lossless, ordered links; a slow node slows all.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step = step::sgd>
class ring_allreduce_sgd {
  static_assert(step::check_step<Step, Backend>());

 public:
  using backend_type = Backend;
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    Step step_rule{};
  };

  /// The ring goes by id, whatever the network: an all-reduce brings its own topology.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    return mixing::ring_plan(network.pull().nodes());
  }
  static constexpr bool calibrates = false;
  static void agree(options&, block_partition const&, std::span<double const>, std::size_t) {}
  static constexpr std::array<channel_spec, 1> all_channels{
      channel_spec{channel::chunk, channel_kind::event, element_of<scalar>}};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  ring_allreduce_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        n_{plan.nodes[to_index(self)].nodes},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        step_state_{o.step_rule, backend_, x0.size()},
        x_{std::move(x0)} {}

  void start(instant, outbox& out) { request_gradient(out); }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.lane != channel::chunk || p.from != before() || !(p.life == session{})) return;
    ++accepted_;
    inbox_.push_back({p.numbers[0], p.posted_at, p.body});
    go_on(now, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!computing_ || g.id != ticket_) {
      ++dropped_;
      return;
    }
    computing_ = false;
    ++gradients_;
    g_ = std::move(g.value);
    rule_ = step_state_.next(gamma_);
    x_fresh_ = backend_.template allocate<scalar>(x_.size());
    step_ = 0;
    if (n_ == 1) {
      apply(0, g_);
      finish_round(out);
      return;
    }
    auto const r = chunk(to_index(self_));
    auto own = backend_.template allocate<scalar>(r.size());
    backend_.sweep({0, r.size()}, backend::copy_kernel<scalar>{gradient_values() + r.begin, own.data()});
    send(std::move(own).publish(), now, out);
    go_on(now, out);
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  /// A ring cannot do without one of its nodes.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::closes) {
      out.failure = fault{"node " + std::to_string(to_index(change.peer)) +
                          " left the ring all-reduce, which needs every node; use r_fast where nodes may leave"};
    }
  }

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  [[nodiscard]] auto statistics() const -> node_statistics {
    node_statistics s{rounds_, gradients_, dropped_, {}};
    if (n_ > 1) s.edges.push_back({before(), channel::chunk, accepted_, 0, age_});
    return s;
  }
  void audit(tracking_audit& a) const { a = {}; }

 private:
  struct message {
    iteration number{};
    instant posted{};
    shared_buffer body;
  };

  [[nodiscard]] auto before() const -> node_id { return to_node((to_index(self_) + n_ - 1) % n_); }
  [[nodiscard]] auto after() const -> node_id { return to_node((to_index(self_) + 1) % n_); }
  [[nodiscard]] auto chunk(std::size_t c) const -> range {
    auto const d = x_.size();
    return {c * d / n_, (c + 1) * d / n_};
  }
  [[nodiscard]] auto gradient_values() const -> scalar const* { return g_.template view<scalar>().data(); }
  /// Steps 0 .. n-2 reduce, n-1 .. 2n-3 gather; each ends with one receipt.
  [[nodiscard]] auto steps() const -> std::size_t { return 2 * (n_ - 1); }

  void request_gradient(outbox& out) {
    ticket_ = next(ticket_);
    out.request = gradient_request{ticket_, x_, {seed_, self_, rounds_}};
    computing_ = true;
  }

  void send(shared_buffer body, instant now, outbox& out) {
    packet p;
    p.from = self_;
    p.to = after();
    p.lane = channel::chunk;
    p.number = iteration{rounds_ * steps() + sent_++ + 1};
    p.posted_at = now;
    p.body = std::move(body);
    out.packets.push_back(std::move(p));
  }

  void go_on(instant now, outbox& out) {
    while (!computing_ && !inbox_.empty()) {
      auto m = std::move(inbox_.front());
      inbox_.erase(inbox_.begin());
      age_.add(now - m.posted);
      receive(std::move(m.body), now, out);
    }
    if (!computing_) out.wait = waiting{before(), channel::chunk, iteration{rounds_ * steps() + step_ + 1}};
  }

  void receive(shared_buffer body, instant now, outbox& out) {
    auto const i = to_index(self_);
    auto const reduces = step_ < n_ - 1;
    auto const c = reduces ? (i + 2 * n_ - step_ - 1) % n_ : (i + 2 * n_ - (step_ - (n_ - 1))) % n_;
    if (reduces) {
      auto const r = chunk(c);
      auto sum = backend_.template allocate<scalar>(r.size());
      auto const* own = gradient_values() + r.begin;
      backend_.sweep({0, r.size()},
                     detail::sum_kernel<scalar>{body.template view<scalar>().data(), own, sum.data()});  // (A.R)
      body = std::move(sum).publish();
    }
    ++step_;
    if (step_ < steps()) send(body, now, out);  // (A.G): complete chunks are forwarded as they came
    if (step_ >= n_ - 1) apply(c, body);
    if (step_ == steps()) finish_round(out);
  }

  void apply(std::size_t c, shared_buffer const& sum) {
    auto const r = chunk(c);
    auto const kernel = detail::mean_step_kernel<scalar, rule>{
        x_.template view<scalar>().data() + r.begin, sum.template view<scalar>().data(), x_fresh_.data() + r.begin,
        scalar{1} / static_cast<scalar>(n_), rule_};
    backend_.sweep({0, r.size()}, kernel);  // (A.X)
  }

  void finish_round(outbox& out) {
    x_ = std::move(x_fresh_).publish();
    g_ = {};
    ++rounds_;
    sent_ = 0;
    step_ = 0;
    request_gradient(out);
  }

  using rule = typename Step::template state<Backend>::rule;

  Backend backend_;
  node_id self_;
  std::size_t n_;
  double gamma_;
  std::uint64_t seed_;
  typename Step::template state<Backend> step_state_;
  rule rule_{};
  shared_buffer x_, g_;
  writable_buffer<scalar> x_fresh_;
  std::vector<message> inbox_;  // of the predecessor, in order; it may be a round ahead
  std::size_t step_ = 0;        // receipts of this round
  std::size_t sent_ = 0;        // packets of this round
  std::uint64_t rounds_ = 0, gradients_ = 0, dropped_ = 0, accepted_ = 0;
  age_counter age_;
  ticket ticket_{};
  bool computing_ = false;
};

}  // namespace rubato
