// SPDX-License-Identifier: MIT
// An algorithm of your own in fifty lines: asynchronous decentralised gradient descent. A node is a value with five
// handlers and no clock, lock or socket, so it runs in the simulator, on threads, over sockets and under MPI at once.
//   x_i <- w_ii x_i + sum_j w_ij x_j(newest) - gamma g_i(x_i);   post x_i;   nobody waits
// Expected output: expected/13_own_algorithm.txt
#include <cstdio>

#include <rubato/backend/host.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;

class async_dgd {
 public:
  using backend_type = rubato::backend::host<double>;
  using scalar = double;
  struct options {
    double step = 0.1;
    rubato::step_scale scale = rubato::step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
  };
  static auto make_plan(rubato::topology::pair const& network) { return rubato::mixing::gossip_plan(network); }
  static void resolve_options(options&, rubato::block_partition const&, std::span<double const>, std::size_t) {}
  static constexpr std::array all{
      rubato::channel_spec{rubato::channel_id::model, rubato::channel_kind::state, rubato::element::f64}};
  static constexpr auto channels() -> std::span<rubato::channel_spec const> { return all; }

  async_dgd(backend_type b, rubato::mixing::plan const& plan, rubato::node_id self, rubato::shared_buffer x0,
            options const& o)
      : backend_{b}, me_{plan.nodes[to_index(self)]}, options_{o}, x_{x0}, newest_(plan.nodes.size(), {0, x0}) {}

  void start(rubato::instant, rubato::outbox& out) { request(out); }
  void on_patch(rubato::instant, rubato::patch const& p, rubato::outbox&) {
    auto& [number, body] = newest_[to_index(p.from)];
    if (to_count(p.numbers[0]) > number) number = to_count(p.numbers[0]), body = p.body;  // the newest wins
  }
  void on_gradient(rubato::instant now, rubato::gradient g, rubato::outbox& out) {
    auto fresh = backend_.allocate<double>(x_.size());
    for (std::size_t k = 0; k < x_.size(); ++k) {
      fresh.data()[k] = me_.pull_self * x_.view<double>()[k] - options_.step * g.value.view<double>()[k];
      for (auto const& e : me_.pull_from)
        fresh.data()[k] += e.weight * newest_[to_index(e.peer)].second.view<double>()[k];
    }
    x_ = std::move(fresh).publish();
    for (auto const to : me_.pull_to)
      out.packets.push_back({me_.self, to, rubato::channel_id::model, {}, rubato::iteration{draws_}, {}, now, x_, {}});
    request(out);
  }
  void on_wakeup(rubato::instant, rubato::wakeup, rubato::outbox&) {}
  void on_neighbours(rubato::instant, rubato::neighbour_change const&, rubato::outbox&) {}
  auto estimate() const { return x_; }
  auto statistics() const -> rubato::node_statistics { return {draws_ - 1, draws_ - 1, 0, {}}; }
  void audit(rubato::tracking_audit& a) const { a = {}; }

 private:
  void request(rubato::outbox& out) {
    out.request = rubato::gradient_request{rubato::ticket{draws_}, x_, {options_.seed, me_.self, draws_}};
    ++draws_;
  }
  backend_type backend_;
  rubato::mixing::neighbourhood me_;
  options options_;
  rubato::shared_buffer x_;
  std::vector<std::pair<std::uint64_t, rubato::shared_buffer>> newest_;
  std::uint64_t draws_ = 0;
};
static_assert(rubato::node<async_dgd>);

int main() {
  auto const problem = rubato::problem::quadratic::random(6, 50, 3);
  auto const weather = rubato::environment::scenario{.compute = rubato::environment::lognormal(10ms, 0.3).slow(2, 5.0),
                                                     .link = {.latency = 2ms, .loss = 0.2}};
  for (auto const step : {0.1, 0.01, 0.001}) {  // the bias depends on the step, as theory says; r_fast has none
    auto const r =
        rubato::simulate<async_dgd>(rubato::topology::ring(6), problem, {.step = step}, weather, {.time = 600s});
    std::printf("step %g: loss above the minimum %.1e\n", step, r.history.back().loss - problem.minimum());
  }
}
