// SPDX-License-Identifier: MIT
// The shortest run there is. Four nodes on a ring; node i wants x = i, and no node knows what the others want. Together
// they find the x that suits all of them best, the mean, 1.5. No node waits for another, and none sees everything.
//
//      0 --- 1        node i: f_i(x) = (x - i)^2 / 2
//      |     |
//      3 --- 2        the sum of all is smallest at x = 1.5
//
// The simulator runs in virtual time: each gradient takes 10 ms and each message 1 ms, on any machine. The first lines
// of output show the control flow: nodes post messages, and the driver decides when they arrive.
// Expected output: expected/01_quadratic_on_a_ring.txt
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;

/// Prints the first few messages only.
class trace : public rubato::simulation_trace {
 public:
  void posted(rubato::instant now, rubato::packet const& p) override {
    if (++count_ > 10) return;
    std::printf("%4.0f ms  node %zu sends its %s to node %zu, message %d\n", rubato::to_seconds(now.since_start) * 1e3,
                to_index(p.from), name_of(p.channel).data(), to_index(p.to), static_cast<int>(to_count(p.number)));
  }

 private:
  int count_ = 0;
};

int main() {
  using node = rubato::r_fast<rubato::backend::eigen<double>>;

  auto const problem = rubato::problem::quadratic{{{1}, {1}, {1}, {1}}, {{0}, {1}, {2}, {3}}};
  auto const scenario =
      rubato::environment::scenario{.compute = rubato::environment::fixed(10ms), .link = {.latency = 1ms}};
  auto looker_on = trace{};

  auto const result = simulate(rubato::assemble<node>(rubato::topology::ring(4), problem, {.step = 0.1}), scenario,
                               rubato::until{.time = 10s}, {.trace = &looker_on});

  std::printf("...\n");
  for (std::size_t i = 0; i < result.models.size(); ++i)
    std::printf("node %zu ends at x = %.6f\n", i, result.models[i].view<double>()[0]);
}
