// SPDX-License-Identifier: MIT
// Problems on a device against the reference: every gradient and score, host code on the backend that is named for it,
// and nodes on threads that train a perceptron on one device. Ends with 77 where there is none to run on.
#include <rubato/backend/thrust.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/topology/builders.hpp>

#if __has_include(<Eigen/Core>)
#define EIGEN_NO_CUDA  // it is not used in device code, where Eigen 3.4 gives warnings
#include <rubato/backend/eigen.hpp>
#endif

#include "support/all_gradients.hpp"
#include "support/device_checks.hpp"

namespace of_gradients {  // with no name nvcc would say that a member is declared and not used

/// Host code whose gradient is a product, 2 x, by the backend that it is given.
struct doubled {
  std::string* name;
  [[nodiscard]] auto dimension() const -> std::size_t { return 300; }
  template<class Backend>
  auto gradient(Backend& b, std::span<double const> x, rubato::sample_key, std::span<double> g) const -> double {
    *name = std::string{Backend::name()};
    auto two = 2.0;
    b.multiply({x.size(), 1, 1}, 1.0, x.data(), &two, 0.0, g.data());
    return 0;
  }
};

}  // namespace of_gradients

namespace {

using namespace rubato;
using of_gradients::doubled;
using namespace std::chrono_literals;
using test::check;
template<class T>
using device = backend::thrust<T, backend::system::cuda>;

template<class T>
void values_agree(double tolerance) {
  auto const expected = test::all_values(backend::host<T>{});
  auto const found = test::all_values(device<T>{}), again = test::all_values(device<T>{});
  for (std::size_t p = 0; p < expected.size(); ++p) {
    auto const name = expected[p].problem + " of " + std::to_string(sizeof(T)) + " bytes";
    auto const off = test::farthest_from(expected[p].gradient, found[p].gradient);
    auto const score_off = test::farthest_from(expected[p].score, found[p].score);
    check(off <= tolerance, "the gradient of " + name + " is that of the host (" + shortest(off) + " away)");
    check(score_off <= tolerance, "the score of " + name + " is that of the host (" + shortest(score_off) + " away)");
    check(std::isnan(found[p].loss), "nobody waits for the loss of a batch of " + name);
    check(found[p].gradient == again[p].gradient, "the gradient of " + name + " has the same bits each time");
  }
}

template<class Backend>
void host_code_runs_on(std::string const& twin) {
  Backend b;
  std::string name;
  auto here = b.pool().host_side().template allocate<double>(300);
  for (auto& v : here.view()) v = 4;
  auto const oracle = problem::any_oracle{b, doubled{&name}};
  auto const g = oracle.evaluate({ticket{1}, b.pool().bring_in(std::move(here).publish()), {}});
  check(oracle.is_staged() && name == twin, "host code runs on " + twin + ", not on " + name);
  check(!g.value.is_on_host(), "what host code computes goes back to the device");
  check(g.value.on_host().template view<double>()[299] == 8, "host code for a device computes what it says");
}

/// Eight nodes, each with one thread; `T` decides the ledger.
template<class T>
void nodes_train_on_a_device() {
  using node = r_fast<device<T>>;
  auto const data = problem::train_and_test{test::four_classes(1), test::four_classes(2)};
  auto const net =
      problem::multilayer_perceptron<T>{data, split::iid(data.train, 8, 1), {.batch = 8, .hidden = 40, .seed = 1}};
  auto const result =
      run_threads(assemble<node>(topology::binary_tree(8), net, {.step = 0.05}), {}, {.time = 60s, .target_loss = 0.5});
  check(result.history.front().loss > 1, "a perceptron begins with a loss above 1");
  check(result.history.back().loss <= 0.5,
        "nodes on threads train it on one device: the loss ends at " + shortest(result.history.back().loss));
  check(result.history.back().tracking_residual <= (sizeof(T) == 4 ? 0.0 : 1e-9), "and conserve what they track");
}

}  // namespace

int main() {
  return test::run_on_device<device<float>>([] {
    values_agree<double>(1e-12);
    values_agree<float>(1e-5);
    host_code_runs_on<device<double>>("thrust_cpp");
#if __has_include(<Eigen/Core>)
    host_code_runs_on<backend::thrust<double, backend::system::cuda, backend::eigen<double>>>("eigen");
#endif
    nodes_train_on_a_device<float>();
    nodes_train_on_a_device<double>();
  });
}
