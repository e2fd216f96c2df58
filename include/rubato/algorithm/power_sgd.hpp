// SPDX-License-Identifier: MIT
// PowerSGD, node i of n.   Vogels, Karimireddy, Jaggi, arXiv 1905.13727.   M_i: the gradient, as matrices; Q: of rank r
//   (P.E)  U_i = M_i + e_i
//   (P.P)  P   = (1/n) sum_i U_i Q ;  its columns orthonormal             all-reduced: r rows instead of rows columns
//   (P.Q)  Q   <- (1/n) sum_i U_i^T P                                     all-reduced; kept for the next round
//   (P.D)  D   = P Q^T ;  e_i <- U_i - D ;  x <- x - gamma D
// Factors are summed, so what n nodes send does not grow with n. Parts that are no matrices, or so small that factors
// would not be half as large, travel as they are, with P. The first Q is drawn from a common seed.
// invariant: replicas are equal bit for bit; sum of all D + (1/n) sum_i e_i = sum of all (1/n) sum_i M_i
//                                                                             tests/unit/algorithm/power_sgd.cpp
// differs from the public code, which makes one factor a step and takes turns: both are made in each, as in the paper.
// e_i also holds what M_i differs from the mean, since D is common.
// Values a node sends in a round: 2 (n - 1) / n (r (rows + columns) + the rest), see power_sgd_values().
// Passes, in vectors: reads g, e, writes U; two products read U; one writes D; reads U, D, writes e; reads x, D, writes
// x. Besides these Gram-Schmidt of P, r^2 passes over its columns, and as many again of
// columns that lie nearly in the span of those before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/detail/low_rank.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/scatter_mean.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/random.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

template<class Step>
struct power_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Step step_rule{};
  std::size_t rank = 1;
  std::vector<std::size_t> shapes{};
  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("rank", self.rank, "columns of the factors of each matrix, at least 1 and at most as many as values");
    visit("shapes", self.shapes, "rows and columns of the matrices of a vector, in turn; nothing: one, nearly square");
  }
};

/// Random normal values of a common seed, where the backend's vectors are.
template<class Backend>
auto drawn_values(Backend& b, std::uint64_t seed, std::size_t n) -> writable_buffer<typename Backend::scalar> {
  using scalar = typename Backend::scalar;
  buffer_pool host;
  auto draw = random_stream{0x706f776572ULL, seed};
  auto values = host.allocate<scalar>(n);
  for (auto& v : values.view()) v = static_cast<scalar>(draw.normal());
  auto there = b.pool();
  return there.template writable_copy<scalar>(std::move(values).publish());
}

}  // namespace detail

/// Values of factors and of the rest, for a vector of this size: what one all-reduce of n nodes is of, in place of it.
[[nodiscard]] inline auto power_sgd_values(std::size_t values, std::size_t rank,
                                           std::vector<std::size_t> const& shapes = {}) -> std::size_t {
  auto const parts = detail::matrix_parts::of(values, rank, shapes);
  return parts.left + parts.right;
}

/// Every node ends every round with the same model. Needs lossless, ordered links; a slow node slows all. Memory in
/// vectors: x, g, e, U, D, besides the factors.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Step>
class power_sgd : public detail::node_core<Backend, detail::power_options<Step>> {
  using core = detail::node_core<Backend, detail::power_options<Step>>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "PowerSGD"; }

  /// All-to-all, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static constexpr std::array all_channels{detail::scatter_mean<Backend, codec::identity, codec::use::sums>::spec};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  /// Throws config_error if the rank is 0 or above the number of values, or the shapes do not fit the vector.
  power_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        parts_{detail::matrix_parts::of(core::size(), o.rank, o.shapes)},
        right_{detail::drawn_values(core::backend_, o.seed, parts_.right)},
        error_{backend::zeros<scalar>(core::backend_, core::size())},
        means_{self,
               plan.nodes[to_index(self)].nodes,
               parts_.left + parts_.right,
               {},
               o.seed,
               parts_.right == 0 ? std::size_t{1} : std::size_t{2}} {
    if (parts_.right != 0) means_.split_at(parts_.left);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    auto& b = this->backend_;
    total_ = b.template allocate<scalar>(this->size());
    b.sweep({0, this->size()}, codec::detail::combine_kernel<scalar>{core::values_of(g.value), error_.data(),
                                                                     total_.data(), 1, 1});  // (P.E)
    auto left = b.template allocate<scalar>(parts_.left);
    detail::left_factors(b, parts_, std::as_const(total_).data(), std::as_const(right_).data(), left.data());  // (P.P)
    means_.begin(b, left.data(), now, this->posting(channel_id::chunk, now, out));
    go_on(now, out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel == channel_id::chunk && means_.accept(p, out)) go_on(now, out);
  }

  /// An all-reduce needs every node.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && !means_.under_way()) return means_.resume(change);
    core::refuse_change(change, "the all-reduce, which needs every node; use r_fast where nodes may leave", out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    means_.add_statistics(s);
    return s;
  }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{this->iterations_, this->pending_.under_way() && !means_.under_way(), 1, 1};
  }
  /// e_i, shared; what this node has not sent yet.
  [[nodiscard]] auto error() const -> shared_buffer { return error_.host_copy(); }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("right factors", self.right_), visit("left factors", self.left_), visit("error", self.error_);
    visit("total", self.total_), visit("means", self.means_);
  }

 private:
  void go_on(instant now, outbox& out) {
    auto const post = this->posting(channel_id::chunk, now, out);
    while (means_.advance(this->backend_, now, post, out)) {
      if (parts_.right != 0 && means_.rounds_done() % 2 == 1) {
        left_ = means_.take_mean();
        detail::orthonormalise(this->backend_, parts_, left_.data());
        auto right = this->backend_.template allocate<scalar>(parts_.right);
        detail::right_factors(this->backend_, parts_, std::as_const(total_).data(), std::as_const(left_).data(),
                              right.data());  // (P.Q)
        means_.begin(this->backend_, right.data(), now, post);
      } else {
        (parts_.right != 0 ? right_ : left_) = means_.take_mean();
        return step_along_factors(now, out);
      }
    }
    if (!this->pending_.under_way() && !out.failure) out.wait = means_.missing();
  }

  void step_along_factors(instant now, outbox& out) {
    auto& b = this->backend_;
    auto direction = b.template allocate<scalar>(this->size());
    detail::from_factors(b, parts_, std::as_const(left_).data(), std::as_const(right_).data(), direction.data());
    for (auto const& p : parts_.all) {
      if (p.rows == 0) continue;  // was sent as it is
      auto const at = p.values.begin;
      b.sweep({0, p.values.size()}, codec::detail::combine_kernel<scalar>{total_.data() + at, direction.data() + at,
                                                                          error_.data() + at, 1, -1});
    }
    if (!this->step_along(now, direction.data())) out.failure = detail::blame{this->self_}.sentence();  // (P.D)
    ++this->iterations_;
    this->ask_gradient(out);
  }

  detail::matrix_parts parts_;
  writable_buffer<scalar> right_;  // Q of all matrices
  writable_buffer<scalar> left_;  // P of all matrices and the rest, between two all-reduces
  writable_buffer<scalar> error_;  // e_i
  writable_buffer<scalar> total_;  // U_i, during a round
  detail::scatter_mean<Backend, codec::identity, codec::use::sums> means_;
};

}  // namespace rubato
