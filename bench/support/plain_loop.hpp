// SPDX-License-Identifier: MIT
// The simulator's control: R-FAST in the plainest loop that does the same work for one network and one problem. A
// binary heap of events, packets whose bodies are shared, the arithmetic of the fixed-point ledger in loops over
// values, and one generator for all draws. It has no losses, blocks, policies, counters, checks or threads.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <queue>
#include <span>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/core/random.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/digraph.hpp>

namespace bench {

/// What the loop needs to know of a run: gamma, the ledger's exponent, and times in nanoseconds.
struct plain_setup {
  float gamma = 0;
  int exponent = 0;
  double compute_mean = 10e6;
  double compute_variation = 0.2;
  std::int64_t latency = 1'000'000;
  std::uint64_t jitter = 200'000;
};

class plain_loop {
 public:
  plain_loop(rubato::topology::digraph const& graph, rubato::problem::quadratic const& problem, plain_setup const& s)
      : problem_{&problem}, setup_{s}, d_{problem.dimension()}, nodes_(graph.nodes()), share_(d_) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      auto& n = nodes_[i];
      n.z.assign(d_, 0), n.g.assign(d_, 0), n.fresh.assign(d_, 0);
      n.x = std::make_shared<float[]>(d_);
      for (auto const peer : graph.out_of(rubato::to_node(i))) {
        auto& e = n.edges.emplace_back(edge{rubato::to_index(peer)});
        e.newest = n.x;
        e.sum = e.consumed = e.total = std::make_shared<std::int32_t[]>(d_);
      }
      n.weight = 1.0F / static_cast<float>(1 + n.edges.size());
    }
  }

  /// Runs until so many gradients are done; returns the events: gradients and packets that came.
  auto run(std::uint64_t gradients) -> std::uint64_t {
    for (std::size_t i = 0; i < nodes_.size(); ++i) begin_gradient(i);
    for (std::uint64_t events = 0;; ++events) {
      auto const e = queue_.top();
      queue_.pop();
      now_ = e.at;
      if (e.slot == computing) {
        step(e.node);
        if (--gradients == 0) return events + 1;
      } else {
        deliver(e);
      }
    }
  }

 private:
  using model = std::shared_ptr<float[]>;
  using sums = std::shared_ptr<std::int32_t[]>;
  static constexpr std::uint32_t computing = ~0U;

  struct edge {
    std::size_t peer;
    model newest{};  // the neighbour's model
    sums sum{};  // the neighbour's running sum towards this node, and what of it has been consumed
    sums consumed{};
    sums total{};  // this node's running sum towards the neighbour
    std::uint64_t model_number = 0;
    std::uint64_t sum_number = 0;
  };
  struct node {
    std::vector<float> g, fresh;
    std::vector<std::int32_t> z;
    model x;
    std::vector<edge> edges;
    float weight = 0;
    std::uint64_t gradients = 0;
  };
  struct packet {
    std::uint32_t from = 0;
    std::uint64_t number = 0;
    model v{};  // either this
    sums rho{};  // or that
  };
  struct event {
    std::int64_t at;
    std::uint64_t sequence;
    std::uint32_t node;
    std::uint32_t slot;
    friend auto operator<(event const& a, event const& b) -> bool {  // a priority_queue has the largest on top
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };

  void schedule(std::int64_t at, std::size_t who, std::uint32_t slot) {
    queue_.push({at, sequence_++, static_cast<std::uint32_t>(who), slot});
  }

  void begin_gradient(std::size_t i) {
    auto const factor = std::exp(std::sqrt(variance_) * draw_.normal() - variance_ / 2);
    schedule(now_ + std::llround(setup_.compute_mean * factor), i, computing);
  }

  void send(std::size_t to, packet p) {
    auto slot = static_cast<std::uint32_t>(packets_.size());
    if (free_.empty()) {
      packets_.push_back(std::move(p));
    } else {
      slot = free_.back();
      free_.pop_back();
      packets_[slot] = std::move(p);
    }
    schedule(now_ + setup_.latency + static_cast<std::int64_t>(draw_.below(setup_.jitter + 1)), to, slot);
  }

  void deliver(event const& e) {
    auto p = std::move(packets_[e.slot]);
    free_.push_back(e.slot);
    for (auto& to : nodes_[e.node].edges) {
      if (to.peer != p.from) continue;
      if (p.v && p.number > to.model_number) {
        to.newest = std::move(p.v);
        to.model_number = p.number;
      } else if (p.rho && p.number > to.sum_number) {
        to.sum = std::move(p.rho);
        to.sum_number = p.number;
      }
      return;
    }
  }

  /// The gradient has come: track, consume, push; descend, post, pull; and the next gradient.
  void step(std::size_t i) {
    auto& n = nodes_[i];
    auto const units = units_, quantum = 1 / units_;  // a power of two: exact
    auto const from = static_cast<std::uint32_t>(i);
    static_cast<void>(problem_->gradient(backend_, std::span<float const>{n.x.get(), d_},
                                         {0, rubato::to_node(i), n.gradients++}, std::span<float>{n.fresh}));
    auto const rounded = [](float v) { return rubato::backend::detail::rounded(v); };
    for (std::size_t k = 0; k < d_; ++k) n.z[k] += rounded(units * n.fresh[k]) - rounded(units * n.g[k]);
    std::swap(n.g, n.fresh);
    if (n.gradients > 1) exchange(n, from);
    auto v = std::make_shared_for_overwrite<float[]>(d_);
    auto x = std::make_shared_for_overwrite<float[]>(d_);
    auto* const descended = v.get();
    auto* const mixed = x.get();
    for (std::size_t k = 0; k < d_; ++k)
      descended[k] = n.x.get()[k] - setup_.gamma * (quantum * static_cast<float>(n.z[k]));
    for (std::size_t k = 0; k < d_; ++k) mixed[k] = n.weight * descended[k];
    for (auto const& e : n.edges) {
      auto const* const other = e.newest.get();
      for (std::size_t k = 0; k < d_; ++k) mixed[k] += n.weight * other[k];
    }
    for (auto const& e : n.edges) send(e.peer, {from, n.gradients, v, {}});
    n.x = std::move(x);
    begin_gradient(i);
  }

  void exchange(node& n, std::uint32_t from) {
    for (auto& e : n.edges) {
      auto const *const newest = e.sum.get(), *const before = e.consumed.get();
      for (std::size_t k = 0; k < d_; ++k) n.z[k] += newest[k] - before[k];
      e.consumed = e.sum;
    }
    for (std::size_t k = 0; k < d_; ++k)
      share_[k] = rubato::backend::detail::rounded(n.weight * static_cast<float>(n.z[k]));
    for (auto& e : n.edges) {
      auto total = std::make_shared_for_overwrite<std::int32_t[]>(d_);
      auto* const after = total.get();
      auto const* const before = e.total.get();
      for (std::size_t k = 0; k < d_; ++k) after[k] = before[k] + share_[k];
      for (std::size_t k = 0; k < d_; ++k) n.z[k] -= share_[k];
      e.total = total;
      send(e.peer, {from, n.gradients, {}, std::move(total)});
    }
  }

  rubato::problem::quadratic const* problem_;
  plain_setup setup_;
  std::size_t d_;
  float units_ = std::ldexp(1.0F, setup_.exponent);
  double variance_ = std::log1p(setup_.compute_variation * setup_.compute_variation);
  std::vector<node> nodes_;
  std::vector<packet> packets_;
  std::vector<std::uint32_t> free_;
  std::priority_queue<event> queue_;
  std::vector<std::int32_t> share_;
  rubato::random_stream draw_{1};
  rubato::backend::host<float> backend_;
  std::int64_t now_ = 0;
  std::uint64_t sequence_ = 0;
};

}  // namespace bench
