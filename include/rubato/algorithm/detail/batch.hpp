// SPDX-License-Identifier: MIT
// The mini-batches of one node in one round, under a contribution policy.   [N] = non-blocking SGD, arXiv 2211.00889
// All gradients of a batch are at the same model x.   shapes: s_i in R^d, counts m_i <= M and c_i
//   (N.S)  s_i <- s_i + g_i(x; next sample),  m_i <- m_i + 1      until m_i = M or, with finished, the fastest are done
//   (N.C)  c_i = m_i (by samples), M (by nodes), 0 if m_i = 0;  s_i <- (c_i / m_i) s_i
//   (N.R)  all-reduce:  x   <- x - gamma (sum_i s_i) / (sum_i c_i)                  no step where all m_i = 0
//   (N.D)  D-PSGD:      x_i <- sum_j w_ij x_j - gamma s_i / M, or the step first    no step where m_i = 0
// invariant: samples consumed = mini-batches counted; equal speeds give the blocking run bit for bit
//                                                                            tests/unit/algorithm/non_blocking.cpp
// Passes a batch: none for one mini-batch, else reads 2m, writes m-1; scaling (by nodes, m < M) reads 1, writes 1.
// differs from [N]: it does not say how nodes are weighted and what becomes of an unfinished mini-batch; see
// contribution/finished.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/contribution/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::detail {

/// out <- a + b, n values: reads 2n, writes n.
template<class T>
struct sum_kernel {
  T const* a;
  T const* b;
  T* out;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const sum = at.load(a) + at.load(b);
    at.expect_finite(sum);
    at.store(out, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// A node's part of a round: s_i, null for zeros, and c_i.
struct contributed {
  shared_buffer sum;
  std::uint64_t count = 0;
  static void visit_state(auto& self, auto&& visit) { visit("sum", self.sum), visit("count", self.count); }
};

/// Adds gradients up. A batch of one keeps its gradient by reference.
template<class Backend, class Contribution>
class batch {
  static_assert(contribution::check_contribution<Contribution>());

 public:
  using scalar = typename Backend::scalar;

  static void visit_state(auto& self, auto&& visit) {
    visit("first", self.first_), visit("sum", self.sum_), visit("done", self.done_), visit("draws", self.draws_);
  }

  explicit batch(Contribution const& policy) : policy_{policy} {
    if (policy.minibatches == 0) throw config_error{"a batch consists of at least one mini-batch, not of 0"};
  }

  [[nodiscard]] auto minibatches() const -> std::size_t { return policy_.minibatches; }
  [[nodiscard]] auto full() const -> bool { return done_ == policy_.minibatches; }
  [[nodiscard]] auto empty() const -> bool { return done_ == 0; }
  /// The sample number of the next mini-batch: the count of those added since the start, over all rounds.
  [[nodiscard]] auto draw() const -> std::uint64_t { return draws_; }

  void add(Backend& backend, shared_buffer g) {
    auto const all = range{0, g.size()};
    auto const* fresh = g.template view<scalar>().data();
    if (done_ == 0) {
      first_ = std::move(g);
    } else if (done_ == 1) {
      sum_ = backend.template allocate<scalar>(g.size());
      backend.sweep(all, sum_kernel<scalar>{first_.template view<scalar>().data(), fresh, sum_.data()});  // (N.S)
      first_ = {};
    } else {
      backend.sweep(all, backend::add_kernel<scalar>{fresh, sum_.data(), scalar{1}});
    }
    ++done_;
    ++draws_;
  }

  /// Returns s_i and c_i, and begins the next batch.
  [[nodiscard]] auto take(Backend& backend) -> contributed {
    auto const done = std::exchange(done_, 0);
    auto const count = policy_.counted(done);
    if (done > 0 && count != done) scale(backend, static_cast<double>(count) / static_cast<double>(done));  // (N.C)
    return {sum_ ? std::move(sum_).publish() : std::move(first_), count};
  }

 private:
  void scale(Backend& backend, double factor) {
    auto const* from = sum_ ? std::as_const(sum_).data() : first_.template view<scalar>().data();
    auto const n = sum_ ? sum_.size() : first_.size();
    if (!sum_) sum_ = backend.template allocate<scalar>(n);
    backend.sweep({0, n}, backend::scale_kernel<scalar>{from, sum_.data(), static_cast<scalar>(factor)});
    first_ = {};
  }

  Contribution policy_;
  shared_buffer first_;  // of a batch with one gradient so far
  writable_buffer<scalar> sum_;  // of a batch with more
  std::size_t done_ = 0;
  std::uint64_t draws_ = 0;
};

}  // namespace rubato::detail
