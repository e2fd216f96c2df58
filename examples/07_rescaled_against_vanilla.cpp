// SPDX-License-Identifier: MIT
// A server applies gradients as they arrive. A fast worker delivers more of them and so counts more: plain asynchronous
// SGD finds the optimum of another sum than the intended one, and its curves do not show it. The rescaled form weights
// each gradient by its computation time: a worker that delivers half as often makes steps
// twice as long, and all count the same.
//
//        0   1   2   3       worker i wants x = 0, 1, 4, 10 with curvature 1, 2, 0.5, 3
//         \  |   |  /        and takes 1, 2, 4, 8 s for a gradient
//          server
//
// The mean of the four is smallest at 68/13 = 5.2308; weighted by the rates of the workers, at 2.1. A report of limit
// weights says which sum a run has minimised, and warns if it is not the mean.
// Expected output: expected/07_rescaled_against_vanilla.txt
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/report.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using backend = rubato::backend::eigen<double>;

template<class Node>
void report(char const* name) {
  auto const problem = rubato::problem::quadratic{{{1}, {2}, {0.5}, {3}}, {{0}, {1}, {4}, {10}}};
  auto const scenario = rubato::environment::scenario{
      .compute = rubato::environment::fixed(1s).slow(1, 2).slow(2, 4).slow(3, 8), .link = {.latency = 1ms}};
  auto const result =
      rubato::simulate<Node>(rubato::topology::star(4), problem, {.step = 0.002}, scenario, rubato::until{.time = 5h});
  std::printf("%s ends at x = %.2f\n", name, result.models[0].template view<double>()[0]);
  std::printf("%s\n", rubato::report::limit_weight_text(rubato::report::measured_weights(result)).c_str());
}

int main() {
  report<rubato::asgd<backend>>("asgd");
  report<rubato::rescaled_asgd<backend>>("rescaled_asgd");
}
