// SPDX-License-Identifier: MIT
// Formulas (LW.F), (LW.B), (LW.S) of driver/layerwise.hpp and (DP.F), (DP.B) of problem/deep_perceptron.hpp.
#include <rubato/driver/layerwise.hpp>

#include <chrono>
#include <cstdint>
#include <latch>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/backend/checked.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/deep_perceptron.hpp>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
using space = backend::host<double>;
using problem::deep_perceptron;

/// y = w_2 w_1 with target 1 and loss (y - 1)^2 / 2: two layers of one value.
struct two_weights {
  struct pass {
    double values[2] = {};
    double loss = 0;
  };
  std::uint64_t broken_draw = (std::numeric_limits<std::uint64_t>::max)();
  [[nodiscard]] auto dimension() const -> std::size_t { return 2; }
  [[nodiscard]] auto layers() const -> std::size_t { return 2; }
  [[nodiscard]] auto of_layer(std::size_t l) const -> range { return {l, l + 1}; }
  auto begin_pass(space&, sample_key key) const -> pass {
    if (key.draw == broken_draw) throw std::runtime_error{"draw " + std::to_string(key.draw) + " is broken"};
    return {};
  }
  void forward(space&, std::size_t l, std::span<double const> w, pass& p) const {
    p.values[l] = w[0] * (l == 0 ? 1.0 : p.values[0]);
    p.loss = 0.5 * (p.values[1] - 1) * (p.values[1] - 1);
  }
  void backward(space&, std::size_t l, std::span<double const> w, pass& p, std::span<double> g) const {
    if (l == 1) {
      auto const delta = p.values[1] - 1;
      g[0] = delta * p.values[0];
      p.values[0] = delta * w[0];
    } else {
      g[0] = p.values[0];
    }
  }
};

auto random_samples(std::size_t samples, std::size_t classes) -> problem::dataset {
  random_stream draw{0x6c61796572ULL};
  std::vector<float> features(samples * 5);
  for (auto& value : features) value = static_cast<float>(draw.normal());
  std::vector<std::uint16_t> labels(samples);
  for (auto& label : labels) label = static_cast<std::uint16_t>(draw.below(classes));
  return {features, labels, classes};
}

auto small_net(std::vector<std::size_t> hidden = {7, 6}) -> deep_perceptron<double> {
  auto const data = random_samples(60, 3);
  auto const options = problem::deep_perceptron_options{.batch = 8, .hidden = std::move(hidden), .seed = 4};
  return {problem::train_and_test{data, data}, split::iid(data, 1, 1), options};
}

/// All layers, one after another.
auto joined_layers(std::vector<shared_buffer> const& layers) -> std::vector<double> {
  std::vector<double> x;
  for (auto const& l : layers) x.insert(x.end(), l.view<double>().begin(), l.view<double>().end());
  return x;
}

auto sgd(deep_perceptron<double> const& p, std::uint64_t seed, double step, std::uint64_t updates)
    -> std::vector<double> {
  auto b = space{};
  auto x = p.initial();
  std::vector<double> g(x.size());
  for (std::uint64_t k = 1; k <= updates; ++k) {
    p.gradient(b, std::span<double const>{x}, {seed, node_id{0}, k}, std::span{g});
    for (std::size_t v = 0; v < x.size(); ++v) x[v] -= step * g[v];
  }
  return x;
}

TEST_CASE("a layer that moved between the passes is passed back with its new values, which is then updated") {
  auto b = space{};
  auto const p = two_weights{};
  std::vector<double> const start{0.5, 0.5}, up{-1.0};
  published_layers<double> model{p, b, start};
  auto f = pass_forward(p, b, model, {});
  model.update(b, 1, 0.1, up);  // w_2 = 0.6
  std::vector<std::uint64_t> moved;
  pass_back(p, b, model, f, 0.1, layer_moves::at_once, [&](std::uint64_t m) { moved.push_back(m); });
  CHECK(model.read(1).values.view<double>()[0] == Approx(0.6375).epsilon(1e-12));
  CHECK(model.read(0).values.view<double>()[0] == Approx(0.545).epsilon(1e-12));
  CHECK(moved == std::vector<std::uint64_t>{1, 0});
  CHECK(model.read(1).number == 2);
  CHECK(model.read(0).number == 1);
}

TEST_CASE("layers that were published are not written again") {
  auto b = space{};
  std::vector<double> const start{0.5, 0.5}, g{1.0};
  published_layers<double> model{two_weights{}, b, start};
  auto const before = model.read(0);
  model.update(b, 0, 0.25, g);
  CHECK(before.values.view<double>()[0] == 0.5);
  CHECK(model.read(0).values.view<double>()[0] == 0.25);
}

TEST_CASE("the gradient of a deep perceptron is that of its loss, for any number of layers") {
  for (auto const& hidden : {std::vector<std::size_t>{}, {7}, {7, 6}, {4, 5, 6}}) {
    auto const p = small_net(hidden);
    auto b = space{};
    auto x = random_vector(b, p.dimension(), 2, 0.5);
    std::vector<double> g(p.dimension()), scratch(p.dimension());
    sample_key const key{3, node_id{0}, 4};
    p.gradient(b, std::as_const(x).view(), key, std::span{g});
    CHECK(gradient_error(x, g, [&](auto at) { return p.gradient(b, at, key, std::span{scratch}); }) < 1e-6);
    p.full_gradient(b, std::as_const(x).view(), node_id{0}, std::span{g});
    CHECK(gradient_error(x, g, [&](auto at) { return p.loss(b, at); }) < 1e-6);
  }
}

TEST_CASE("passes of a layer touch only what they may") {
  auto const data = random_samples(40, 3);
  auto const p = deep_perceptron<double>{data, split::iid(data, 1, 1), {.batch = 4, .hidden = {3, 4}}};
  auto b = backend::checked<space>{};
  auto const start = p.initial();
  CHECK(train_layerwise(p, b, start, {.step = 0.05, .updates = 5}).updates == 5);
}

TEST_CASE("one forward and one backward thread without stored passes are SGD bit for bit, and so is one thread") {
  auto const p = small_net();
  auto const wanted = sgd(p, 9, 0.05, 200);
  auto o = layerwise_options{.step = 0.05, .seed = 9, .stored = 0, .updates = 200};
  auto const r = train_layerwise(p, space{}, p.initial(), o);
  CHECK(joined_layers(r.layers) == wanted);
  CHECK(r.updates == 200);
  CHECK(r.moved_max == 0);
  o.backward_threads = 0;
  for (auto const moves : {layer_moves::at_once, layer_moves::after_the_pass}) {
    o.moves = moves;
    CHECK(joined_layers(train_layerwise(p, space{}, p.initial(), o).layers) == wanted);
  }
}

TEST_CASE("threads that update one layer at once lose none of their updates") {
  constexpr std::size_t threads = 4, each = 2000;
  auto const start = std::vector<double>(2, 0.0);
  auto b = space{};
  published_layers<double> model{two_weights{}, b, start};
  std::latch begin{threads};
  std::vector<std::thread> all;
  for (std::size_t k = 0; k < threads; ++k) {
    all.emplace_back([&] {
      auto own = b;
      auto const minus_one = std::vector<double>{-1.0};
      begin.arrive_and_wait();
      for (std::size_t i = 0; i < each; ++i) model.update(own, 0, 1.0, minus_one);
    });
  }
  for (auto& t : all) t.join();
  CHECK(model.read(0).number == threads * each);
  CHECK(model.read(0).values.view<double>()[0] == double{threads * each});
  CHECK(model.read(1).number == 0);
}

TEST_CASE("many threads lose no update, and a layer moves no farther than passes are before its own") {
  auto const p = small_net();
  auto b = space{};
  auto const start = p.initial();
  auto const at_start = p.loss(b, std::span<double const>{start});
  auto const layers = p.layers();
  for (auto const backward : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    auto const r = train_layerwise(
        p, b, start, {.step = 0.02, .forward_threads = 3, .backward_threads = backward, .stored = 2, .updates = 600});
    CHECK(r.updates == 600);
    CHECK(r.versions == std::vector<std::uint64_t>(layers, 600));
    CHECK(p.loss(b, std::span<double const>{joined_layers(r.layers)}) < 0.95 * at_start);
  }
  // Before a pass of the only forward thread there are those that are stored, and one that is passed back.
  CHECK(train_layerwise(p, b, start, {.step = 0.02, .stored = 2, .updates = 600}).moved_max <= 3);
}

TEST_CASE("a run of layers ends by time and on request, and when a pass throws or breaks") {
  auto const p = small_net();
  auto const endless = (std::numeric_limits<std::uint64_t>::max)();
  CHECK(train_layerwise(p, space{}, p.initial(), {.updates = endless, .time = 20ms}).updates < endless);
  stop_source source;
  source.request_stop();
  CHECK(train_layerwise(p, space{}, p.initial(), {.updates = endless, .stop = source.get_token()}).updates < endless);
  std::vector<double> const start{0.5, 0.5};
  for (auto const backward : {std::size_t{0}, std::size_t{2}}) {
    CHECK_THROWS_WITH(train_layerwise(two_weights{7}, space{}, start,
                                      {.forward_threads = 2, .backward_threads = backward, .updates = 100}),
                      "draw 7 is broken");
  }
  CHECK(failure([&] {
          train_layerwise(two_weights{}, space{}, start, {.step = 1e200, .updates = 100});
        }).find("a smaller step may help") != std::string::npos);
}

TEST_CASE("options of layer-wise updates that mean nothing are refused in one sentence") {
  auto const refused = [&](layerwise_options const& o) {
    return refusal([&] { return train_layerwise(two_weights{}, space{}, std::vector{0.5, 0.5}, o); });
  };
  CHECK(refused({.step = 0}) == "the step must be a finite number above 0, not 0");
  CHECK(refused({.forward_threads = 0}) == "layer-wise updates need at least one forward thread, not 0");
  CHECK(refused({.backward_threads = 2000}) == "layer-wise updates take at most 1024 threads of a kind");
  CHECK(refused({.moves = layer_moves::after_the_pass}) ==
        "with backward threads layers move at once: give no backward threads, or layer_moves::at_once");
  CHECK(refused({.updates = 0}) == "a run makes at least one update, not 0");
  CHECK(refusal([] { return train_layerwise(two_weights{}, space{}, std::vector{0.5}, {}); }) ==
        "the first model has 1 values, and the problem 2");
  CHECK(refusal([] { return small_net({4, 0}); }) == "a hidden layer must hold at least one value, not 0");
  auto const data = random_samples(9, 3);
  CHECK(refusal([&] { return deep_perceptron<double>{data, {{0}}, {.l2 = 0.5}}; }) ==
        "a deep perceptron takes no l2 regularisation: give 0, not 0.5");
}

}  // namespace
}  // namespace rubato::test
