// SPDX-License-Identifier: MIT
// A weighting gives a model a factor by its age; the weight withheld goes to the node itself. This one has factor 1 for
// fresh models and 1/4 for older ones. It is a struct of a few lines, without registration or a base class. The factor
// is never 0, so no edge is ever cut, and `can_cut` says so. A weighting that may cut is refused at a node with a
// single in-edge, which would be left isolated.
//
//      0 -> 1 -> 2 -> 3        an exponential graph: i sends to i+1, i+2, i+4 (mod 8);
//      ^  \_______/   |        node 6 computes five times slower than the others,
//      7 <- 6*<- 5 <- 4        so its models are old when they are used
//
// Expected output: expected/04_own_weighting.txt
#include <cmath>
#include <cstdint>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;
using backend = rubato::backend::eigen<double>;

/// Ages are counted in the receiver's own local iterations since the value arrived.
struct fresh_first {
  static constexpr bool can_cut = false;
  static constexpr bool depends_on_age = true;
  std::uint64_t fresh = 2;  ///< settings of a policy are part of the options
  /// Processes compare these at the start.
  static void visit_options(auto& self, auto&& visit) { visit("fresh", self.fresh); }
  auto operator()(std::uint64_t age) const -> double { return age <= fresh ? 1.0 : 0.25; }
};

template<class Node>
void report(char const* name, typename Node::options const& options) {
  auto const problem = rubato::problem::quadratic::random(8, 10, 7);
  auto const scenario = rubato::environment::scenario{.compute = rubato::environment::fixed(10ms).slow(6, 5.0),
                                                      .link = {.latency = 1ms, .loss = 0.1}};
  auto const result =
      rubato::simulate<Node>(rubato::topology::exponential(8), problem, options, scenario, rubato::until{.time = 60s});
  auto worst = 0.0;
  for (auto const& model : result.models)
    for (std::size_t k = 0; k < problem.dimension(); ++k)
      worst = std::fmax(worst, std::abs(model.template view<double>()[k] - problem.optimum()[k]));
  std::printf("%-24s every node within 1e-8 of the optimum: %s\n", name, worst < 1e-8 ? "yes" : "no");
}

int main() {
  using rubato::step::sgd;
  report<rubato::r_fast<backend>>("constant (the default)", {.step = 0.1});
  report<rubato::r_fast<backend, sgd, rubato::weighting::polynomial>>("polynomial, (1+age)^-1/2", {.step = 0.1});
  report<rubato::r_fast<backend, sgd, fresh_first>>("fresh_first", {.step = 0.1, .weighting = {.fresh = 1}});
}
