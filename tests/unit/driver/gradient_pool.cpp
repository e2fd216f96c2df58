// SPDX-License-Identifier: MIT
#include <rubato/driver/detail/gradient_pool.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include <rubato/backend/host.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using detail::gradient_pool;

/// g = x + draw; draw 13 throws. Draw 77 says that it began and stays until it is let go.
struct watched_oracle {
  struct watch {
    std::atomic<int> calls{0};
    std::latch begun{1};
    std::latch let_go{1};
  };
  std::shared_ptr<watch> seen = std::make_shared<watch>();

  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  auto gradient(backend::host<double>&, std::span<double const> x, sample_key key, std::span<double> g) const
      -> double {
    ++seen->calls;
    if (key.draw == 13) throw std::runtime_error{"draw 13 is unlucky"};
    if (key.draw == 77) {
      seen->begun.count_down();
      seen->let_go.wait();
    }
    for (std::size_t k = 0; k < g.size(); ++k) g[k] = x[k] + static_cast<double>(key.draw);
    return static_cast<double>(key.draw);
  }
};

struct fixture {
  watched_oracle oracle;
  backend::host<double> b;

  auto request(std::uint64_t draw) -> gradient_request {
    auto x = b.allocate<double>(3);
    for (std::size_t k = 0; k < 3; ++k) x.data()[k] = static_cast<double>(k);
    return {ticket{draw}, std::move(x).publish(), {1, node_id{0}, draw}};
  }
  auto pool(unsigned threads) -> gradient_pool { return gradient_pool{problem::any_oracle{b, oracle}, threads}; }
};

TEST_CASE("every result belongs to its own request, in any order of taking, on one thread or three") {
  for (auto const threads : {1U, 3U}) {
    fixture f;
    auto pool = f.pool(threads);
    std::vector<std::uint64_t> names;
    for (std::uint64_t draw = 100; draw < 160; ++draw) names.push_back(pool.submit(f.request(draw)));
    for (std::size_t k = 0; k < names.size(); ++k) {
      auto const which = k * 7 % names.size();
      auto const g = pool.take(names[which]);
      REQUIRE(g.id == ticket{100 + which});
      REQUIRE(g.value.view<double>()[2] == 102.0 + static_cast<double>(which));
      REQUIRE(g.loss == 100.0 + static_cast<double>(which));
    }
    CHECK(f.oracle.seen->calls == 60);
  }
}

TEST_CASE("an exception from the problem is rethrown when its result is taken, and other results are not affected") {
  for (auto const threads : {1U, 3U}) {
    fixture f;
    auto pool = f.pool(threads);
    auto const before = pool.submit(f.request(1));
    auto const unlucky = pool.submit(f.request(13));
    auto const after = pool.submit(f.request(2));
    CHECK(pool.take(after).loss == 2.0);
    std::string said;
    try {
      static_cast<void>(pool.take(unlucky));
    } catch (std::runtime_error const& e) {
      said = e.what();
    }
    CHECK(said == "draw 13 is unlucky");
    CHECK(pool.take(before).loss == 1.0);
  }
}

TEST_CASE("with one thread a gradient is computed when it is taken, and a forgotten one never") {
  fixture f;
  auto pool = f.pool(1);
  auto const wanted = pool.submit(f.request(1)), unwanted = pool.submit(f.request(13));
  CHECK(f.oracle.seen->calls == 0);
  pool.forget(unwanted);
  auto const next = pool.submit(f.request(2));
  pool.forget(unwanted);  // not known any more, though its place may be another's
  CHECK(pool.take(next).loss == 2.0);
  CHECK(pool.take(wanted).loss == 1.0);
  CHECK(f.oracle.seen->calls == 2);
}

TEST_CASE("a gradient can be forgotten while it is being computed, and the pool goes on") {
  fixture f;
  auto pool = f.pool(3);
  auto const unwanted = pool.submit(f.request(77));
  f.oracle.seen->begun.wait();
  auto freeing = std::jthread{[&] { f.oracle.seen->let_go.count_down(); }};
  pool.forget(unwanted);  // returns once nobody computes it any more
  CHECK(pool.take(pool.submit(f.request(5))).loss == 5.0);
  CHECK(f.oracle.seen->calls == 2);
}

TEST_CASE("the exception of a forgotten gradient is dropped, and forgetting an unknown gradient does nothing") {
  fixture f;
  auto pool = f.pool(3);
  auto const unlucky = pool.submit(f.request(13));
  pool.forget(unlucky);
  pool.forget(unlucky);
  CHECK(pool.take(pool.submit(f.request(3))).loss == 3.0);
}

TEST_CASE("a pool can be destroyed while gradients wait to be taken") {
  fixture f;
  {
    auto pool = f.pool(3);
    for (std::uint64_t draw = 0; draw < 50; ++draw) pool.submit(f.request(draw));
  }
  CHECK(f.oracle.seen.use_count() == 1);  // no thread is left that holds the problem
}

}  // namespace
