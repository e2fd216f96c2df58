// SPDX-License-Identifier: MIT
// What targets are made of: plain SGD at one node that holds all data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "support/race_run.hpp"

namespace bench {

/// The training loss after that many steps from zero.
[[nodiscard]] inline auto plain_sgd_loss(rubato::problem::train_and_test const& data, std::size_t batch, double step,
                                         std::uint64_t seed, std::size_t steps) -> double {
  using namespace rubato;
  examples::race_problem const problem{data, split::iid(data.train, 1, seed), {0, batch}};
  examples::race_backend b;
  auto x = b.allocate<float>(problem.dimension());
  auto g = b.allocate<float>(problem.dimension());
  b.sweep({0, x.size()}, backend::zero_kernel<float>{x.data()});
  for (std::size_t k = 0; k < steps; ++k) {
    problem.gradient(b, std::as_const(x).view(), {seed, node_id{0}, k}, g.view());
    b.sweep({0, x.size()}, backend::add_kernel<float>{g.data(), x.data(), static_cast<float>(-step)});
  }
  return problem.loss(b, std::as_const(x).view());
}

}  // namespace bench
