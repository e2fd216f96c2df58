// SPDX-License-Identifier: MIT
// A problem whose data are float cannot give gradients to nodes that compute in double.
// illegal: double
// legal:   float
// error:   takes the nodes' backend
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/softmax_regression.hpp>
#include <rubato/run/assemble.hpp>

using node_type = rubato::r_fast<rubato::backend::host<SUBJECT>>;

auto start(rubato::topology::pair const& network, rubato::problem::softmax_regression<float> const& problem) {
  return rubato::assemble<node_type>(network, problem, {.step = 0.1});
}
