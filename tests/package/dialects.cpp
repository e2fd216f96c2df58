// SPDX-License-Identifier: MIT
// What an outside project instantiates, compiled by dialects.sh and never run: each family of algorithms, on each host
// backend, under the simulator, the threads driver and a peer. dialects.sh includes every header before this.
#include <chrono>
#include <cstdio>

namespace {

using namespace std::chrono_literals;
using rubato::backend::checked, rubato::backend::host;
#if defined(EIGEN_CORE_H)
template<class T>
using fast = rubato::backend::eigen<T>;
#else
template<class T>
using fast = host<T>;
#endif

auto const ring = rubato::topology::ring(4);
auto const problem = rubato::problem::quadratic::random(4, 8, 1);

template<class... Nodes>
void simulated() {
  (std::puts(rubato::simulate<Nodes>(ring, problem, {.step = 0.1}, {}, {.gradients = 8}).network.c_str()), ...);
}

template<class Node>
void on_threads_and_as_peers() {
  auto const on_threads =
      rubato::run_threads(rubato::assemble<Node>(ring, problem, {.step = 0.1}), {}, {.gradients = 8});
  auto nodes = rubato::assemble<Node>(ring, problem, {.step = 0.1});
  rubato::transport::in_process::room room{4};
  auto const me = rubato::identity_of(nodes, rubato::to_node(0), nullptr);
  auto wires = rubato::transport::in_process{room, me};
  auto const as_peer = rubato::run_peer<Node>(nodes, me, wires, {.gradients = 8});
  auto const results = std::vector{on_threads, as_peer.result};
  std::puts(rubato::report::summary_table(results, 1.0).c_str());
}

}  // namespace

int main() {
  simulated<rubato::r_fast<fast<float>>, rubato::r_fast<checked<host<double>>, rubato::step::adam>,
            rubato::r_fast_low_bits<fast<float>>, rubato::push_pull<host<double>, rubato::step::momentum>,
            rubato::d_psgd<fast<double>>, rubato::non_blocking_d_psgd<fast<float>>, rubato::ad_psgd<fast<float>>,
            rubato::osgp<fast<double>>, rubato::low_precision_d_psgd<fast<float>, rubato::codec::bf16>,
            rubato::async_model_average<fast<float>>, rubato::ring_allreduce_sgd<fast<double>>,
            rubato::byte_grad<fast<float>>, rubato::m_synchronous_sgd<fast<float>>,
            rubato::rescaled_asgd<fast<float>>>();
  on_threads_and_as_peers<rubato::r_fast<fast<float>>>();
}
