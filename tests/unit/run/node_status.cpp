// SPDX-License-Identifier: MIT
#include <rubato/run/node_status.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/status_watch.hpp>

#include "support/catch.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// A node that has made so many iterations, and used as many values of node 1, each 20 ms old.
auto after(std::uint64_t iterations) -> node_status {
  auto s = node_status{};
  s.of = 2;
  s.at = node_status::phase::running;
  s.iterations = iterations;
  s.gradients = 2 * iterations;
  auto& n = s.neighbours.emplace_back();
  n.peer = node_id{1};
  n.bytes_sent = 100 * iterations;
  n.age.uses = iterations;
  n.age.total_ns = 20e6 * static_cast<double>(iterations);
  return s;
}

TEST_CASE("a board tells rates and ages of the last seconds") {
  status_board board;
  CHECK(board.newest()->of == 0);
  for (auto k = 0; k <= 40; ++k) board.publish(after(static_cast<std::uint64_t>(10 * k)), instant{k * 250ms});
  auto s = board.newest();
  CHECK(s->iterations_a_second == Approx(40));
  CHECK(s->gradients_a_second == Approx(80));
  CHECK(s->bytes_a_second == Approx(4000));
  CHECK(s->neighbours[0].recent_age_s == Approx(0.02));

  for (auto k = 41; k <= 80; ++k) board.publish(after(400), instant{k * 250ms});  // it stands still
  s = board.newest();
  CHECK(s->iterations_a_second == 0);
  CHECK(s->neighbours[0].recent_age_s > 6);
  CHECK(s->neighbours[0].recent_age_s < 10.1);
}

TEST_CASE("the age of what was never used is not known") {
  status_board board;
  for (auto k = 0; k < 20; ++k) board.publish(after(0), instant{k * 250ms});
  CHECK(std::isnan(board.newest()->neighbours[0].recent_age_s));
}

TEST_CASE("a status is due at once in a new phase, and else four times a second") {
  status_board board;
  CHECK(board.is_due(node_status::phase::arriving, instant{}));
  board.publish(after(1), instant{});
  CHECK(!board.is_due(node_status::phase::running, instant{100ms}));
  CHECK(board.is_due(node_status::phase::running, instant{250ms}));
  CHECK(board.is_due(node_status::phase::ended, instant{1ms}));
}

TEST_CASE("a node whose run has failed is shown as it stood, but no longer as one that runs") {
  status_board board;
  board.publish(after(5), instant{1s});
  auto const before = board.newest();
  board.end();
  CHECK(before->at == node_status::phase::running);
  CHECK(board.newest()->at == node_status::phase::ended);
  CHECK(board.newest()->iterations == 5);
}

TEST_CASE("a board keeps a bounded number of looks, from the first to the newest, and of sentences the last") {
  status_board board;
  constexpr auto looks = 100'000;
  for (auto k = 0; k < looks; ++k) board.add({.at = k * 10ms, .loss = 1.0 * k});
  for (auto k = 0; k < 100; ++k) board.say(std::to_string(k));
  auto const s = board.newest();
  auto const& h = s->history;
  CHECK(h.size() <= status_board::most_looks);
  CHECK(h.size() > status_board::most_looks / 4);
  CHECK(h.front().at == 0s);
  CHECK(h.back().at == (looks - 1) * 10ms);
  auto widest = 0ns;
  for (std::size_t k = 1; k < h.size(); ++k) {
    CHECK(h[k].at > h[k - 1].at);
    widest = (std::max)(widest, h[k].at - h[k - 1].at);
  }
  CHECK(widest < 1000s / 40);  // evenly
  CHECK(s->said.size() == status_board::most_said);
  CHECK(s->said.back() == "99");
}

TEST_CASE("looks with a loss outlive those without one, and the newest loss is always known") {
  for (auto const one_in : {3, 10, 40}) {
    INFO("one look in " << one_in);
    status_board board;
    constexpr auto looks = 36'000;
    auto last = 0;
    for (auto k = 0; k < looks; ++k) {
      auto m = measurement{.at = k * 250ms, .gradients = static_cast<std::uint64_t>(k)};
      if (k % one_in == 1) m.loss = last = k;
      board.add(m);
      if (k % 997 == 0 && k > one_in) REQUIRE(newest_loss(*board.newest()) == last);
    }
    auto const s = board.newest();
    auto const& h = s->history;
    REQUIRE(s->newest.has_value());
    CHECK(s->newest->gradients == looks - 1);
    CHECK(h.size() <= status_board::most_looks);
    std::vector<measurement> measured;
    std::copy_if(h.begin(), h.end(), std::back_inserter(measured), [](auto const& m) { return !std::isnan(m.loss); });
    REQUIRE(measured.size() > status_board::most_looks / 4);
    CHECK(measured.back().loss == last);
    auto widest = measured.front().at;
    for (std::size_t k = 1; k < measured.size(); ++k) widest = (std::max)(widest, measured[k].at - measured[k - 1].at);
    CHECK(widest < 250ms * looks / 40);  // over the whole run
  }
}

TEST_CASE("what was read from a board does not change") {
  status_board board;
  board.publish(after(1), instant{});
  auto const before = board.newest();
  CHECK(board.newest() == before);
  board.publish(after(2), instant{1s});
  CHECK(before->iterations == 1);
  CHECK(board.newest()->iterations == 2);
}

TEST_CASE("the last loss that was measured is the newest, and memory in use is known") {
  auto s = node_status{};
  CHECK(std::isnan(newest_loss(s)));
  s.measured = {.loss = 2};
  CHECK(newest_loss(s) == 2);
  CHECK(resident_bytes() > 100'000);
}

TEST_CASE("a residual is known once somebody has looked at a node that has the law") {
  auto s = node_status{};
  s.tracks = true;
  CHECK(std::isnan(newest_residual(s)));
  s.newest = {.tracking_residual = 0.5};
  CHECK(newest_residual(s) == 0.5);
  s.tracks = false;
  CHECK(std::isnan(newest_residual(s)));
}

TEST_CASE("a watch measures the loss at a node's model, and ends no run whose model has none") {
  using space = backend::host<double>;
  auto const oracle = problem::any_oracle{space{}, problem::quadratic::random(1, 3, 1)};
  auto const seen = [&](double value) {
    auto const board = std::make_shared<status_board>();
    auto model = space{}.allocate<double>(3);
    std::fill_n(model.data(), 3, value);
    auto const models = std::array{std::move(model).publish()};
    status_watch{board, oracle}({{.at = 1s, .gradients = 5}, models});
    CHECK(board->newest()->history.back().gradients == 5);
    return std::pair{newest_loss(*board->newest()), oracle.score_mean(models).loss};
  };
  auto const [told, right] = seen(0.5);
  CHECK(told == right);
  CHECK(std::isnan(seen(std::numeric_limits<double>::infinity()).first));
}

}  // namespace
}  // namespace rubato::test
