// SPDX-License-Identifier: MIT
// The effect of speeds on a server without rounds: Fashion-MNIST, softmax, ten workers with one class each, two of each
// time of 10, 20, 40, 80 and 160 ms a gradient. In equal virtual time rescaled_asgd (each gradient weighted by its own
// duration) must reach the training loss of synchronous SGD, within 2 %; asgd must not, since
// classes of fast workers count 16-fold.
//   bench_server_bias [STEP [DATA_FOLDER]]
// One step for all, for rescaled_asgd by cycle, so that its model moves as much a second as the synchronous one. asgd
// moves 6 times as much with this step, so it also runs with a sixth of it, and the better run counts. Half a minute on
// one core; nothing is random except by seed. Status 1 if a requirement is missed. Wrong if the step is so large that
// noise hides the bias, or the time so short that no method has converged.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include <rubato/backend/eigen.hpp>
#include <rubato/report.hpp>
#include <rubato/rubato.hpp>

#include "support/idx_files.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using backend_type = backend::eigen<float>;
using problem_type = problem::softmax_regression<float>;

constexpr std::size_t workers = 10;
constexpr auto virtual_time = 120s;
constexpr double tolerance = 0.02;
constexpr std::array<double, workers> slowness{1, 1, 2, 2, 4, 4, 8, 8, 16, 16};

auto environment() -> environment::scenario {
  auto s = environment::scenario{.compute = environment::fixed(10ms), .link = {.latency = 100us}};
  for (std::size_t i = 0; i < workers; ++i) s.compute = s.compute.slow(static_cast<std::uint32_t>(i), slowness[i]);
  s.measure_every = virtual_time;
  return s;
}

template<class Node>
auto run(std::string const& name, problem_type const& problem, typename Node::options const& o) -> run_result {
  auto r = simulate<Node>(topology::star(workers), problem, o, environment(), {.time = virtual_time});
  r.algorithm = name;
  std::fprintf(stderr, "%s is done\n", name.c_str());
  return r;
}

void print_limit_weights(run_result const& r) {
  std::printf("%s:\n%s\n", r.algorithm.c_str(), report::limit_weight_text(report::measured_weights(r)).c_str());
}

auto judge(std::string const& what, double value, char const* relation, double bound, bool holds) -> bool {
  std::printf("%s: %s (wanted: %s %s): %s\n", what.c_str(), report::fixed(value, 4).c_str(), relation,
              report::fixed(bound, 2).c_str(), holds ? "holds" : "MISSED");
  return holds;
}

auto compare(problem_type const& problem, double step) -> bool {
  auto rescaled = rescaled_asgd<backend_type>::options{.step = step};
  rescaled.weight.scale = server::time_scale::cycle;
  auto const slower = step / server::proportional_weights(slowness, server::time_scale::mean_step).back();
  std::array<run_result, 4> const all{
      run<m_synchronous_sgd<backend_type>>("m_synchronous_sgd", problem, {.step = step}),
      run<asgd<backend_type>>("asgd", problem, {.step = step}),
      run<asgd<backend_type>>("asgd, step " + report::fixed(slower, 4), problem, {.step = slower}),
      run<rescaled_asgd<backend_type>>("rescaled_asgd", problem, rescaled)};
  std::printf("After %s s of virtual time, step %s:\n\n%s\n", report::fixed(to_seconds(virtual_time), 0).c_str(),
              report::shortest(step).c_str(), report::summary_table(all, -HUGE_VAL).c_str());
  print_limit_weights(all[1]);
  print_limit_weights(all[3]);
  auto const synchronous = report::final_loss(all[0]);
  auto const plain = std::min(report::final_loss(all[1]), report::final_loss(all[2])) / synchronous;
  auto const paid = report::final_loss(all[3]) / synchronous;
  auto const reaches =
      judge("loss, rescaled_asgd / m_synchronous_sgd", paid, "<=", 1 + tolerance, paid <= 1 + tolerance);
  return judge("loss, better asgd / m_synchronous_sgd", plain, ">", 1 + tolerance, plain > 1 + tolerance) && reaches;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const step = argc > 1 ? std::strtod(argv[1], nullptr) : 0.1;
    auto const raw = examples::read_idx_folder(argc > 2 ? argv[2] : "/usr/share/datasets/fashion-mnist");
    auto const data = problem::standardise(raw.train, raw.test);
    return compare({data, split::by_label(data.train, workers, 1), {.l2 = 0, .batch = 64}}, step) ? 0 : 1;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "server_bias: %s\n", e.what());
    return 2;
  }
}
