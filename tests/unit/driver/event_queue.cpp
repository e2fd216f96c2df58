// SPDX-License-Identifier: MIT
#include <rubato/driver/detail/event_queue.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/for_all.hpp"

namespace {

using namespace rubato;
using detail::event_queue;

auto at(std::int64_t ns, std::uint32_t node) -> detail::event {
  detail::event e;
  e.at_ns = ns;
  e.node = node;
  return e;
}

TEST_CASE("events leave in the order of their times") {
  event_queue q;
  for (std::int64_t t : {50, 10, 40, 20, 30}) q.push(at(t, 0));
  CHECK(q.size() == 5);
  for (std::int64_t t : {10, 20, 30, 40, 50}) CHECK(q.pop().at_ns == t);
  CHECK(q.empty());
}

TEST_CASE("events of one time leave in the order in which they were pushed, also after others have left") {
  event_queue q;
  for (std::uint32_t k = 0; k < 50; ++k) q.push(at(7, k));
  for (std::uint32_t k = 0; k < 25; ++k) REQUIRE(q.pop().node == k);
  for (std::uint32_t k = 50; k < 90; ++k) q.push(at(7, k));
  for (std::uint32_t k = 25; k < 90; ++k) REQUIRE(q.pop().node == k);
}

TEST_CASE("the sequence number that the caller writes is ignored") {
  event_queue q;
  auto first = at(7, 1);
  first.number(99);
  q.push(first);
  q.push(at(7, 2));
  CHECK(q.pop().node == 1);
  CHECK(q.pop().node == 2);
}

TEST_CASE("times beyond 32 bits and small ones keep their order") {
  event_queue q;
  constexpr auto late = std::int64_t{1} << 62;
  q.push(at(late, 0));
  q.push(at(0, 1));
  q.push(at(late - 1, 2));
  CHECK(q.pop().node == 1);
  CHECK(q.pop().node == 2);
  CHECK(q.pop().node == 0);
}

TEST_CASE("any mixture of pushes and pops agrees with a stable sort") {
  test::for_all(200, [](random_stream& gen, std::uint64_t) {
    event_queue q;
    std::vector<detail::event> reference;  // sorted, the next one first
    std::uint32_t pushed = 0;
    for (int k = 0; k < 400; ++k) {
      if (reference.empty() || gen.chance(0.6)) {
        auto const e = at(static_cast<std::int64_t>(gen.below(20)), pushed++);
        q.push(e);
        reference.push_back(e);
        std::sort(reference.begin(), reference.end(),  // nodes count the pushes, so this is the order of a stable sort
                  [](detail::event const& a, detail::event const& b) {
                    return std::tie(a.at_ns, a.node) < std::tie(b.at_ns, b.node);
                  });
      } else {
        auto const e = q.pop();
        REQUIRE(e.at_ns == reference.front().at_ns);
        REQUIRE(e.node == reference.front().node);
        reference.erase(reference.begin());
      }
      REQUIRE(q.size() == reference.size());
    }
  });
}

TEST_CASE("a calendar of any pace keeps the order: days grow and shrink with the times, and one event lies far ahead") {
  test::for_all(20, [](random_stream& gen, std::uint64_t) {
    event_queue q;
    q.push(at(std::int64_t{1} << 60, 0));  // as a measurement after the end
    std::multiset<std::pair<std::int64_t, std::uint32_t>> reference;  // nodes count the pushes
    std::uint32_t pushed = 1;
    std::int64_t now = 0;
    for (auto const pace : {std::uint64_t{1}, std::uint64_t{1} << 34, std::uint64_t{50}, std::uint64_t{1} << 20}) {
      for (int k = 0; k < 3000; ++k) {
        while (reference.size() < 40 || gen.chance(0.5)) {
          auto const e = at(now + static_cast<std::int64_t>(gen.below(gen.chance(0.1) ? 100 * pace : pace)), pushed++);
          q.push(e);
          reference.emplace(e.at_ns, e.node);
        }
        REQUIRE(q.next().node == reference.begin()->second);
        auto const e = q.pop();
        REQUIRE(std::pair{e.at_ns, e.node} == *reference.begin());
        reference.erase(reference.begin());
        now = e.at_ns;
        REQUIRE(q.size() == reference.size() + 1);
      }
      REQUIRE(q.waiting().size() == q.size());
    }
  });
}

TEST_CASE("events due soon can be previewed, and events pushed among them afterwards still leave in order") {
  event_queue q;
  for (std::uint32_t k = 0; k < 100; ++k) q.push(at(1000000 * (k + 1), k));
  CHECK(q.next().node == 0);
  for (std::uint32_t k = 0; k < event_queue::fewest_known; ++k) {
    REQUIRE(q.ahead(k) != nullptr);
    CHECK(q.ahead(k)->node == k);
  }
  q.push(at(1500000, 100));
  CHECK(q.pop().node == 0);
  CHECK(q.next().node == 100);
  q.drop();
  for (std::uint32_t k = 1; k < 100; ++k) REQUIRE(q.pop().node == k);
  CHECK(q.empty());
  CHECK(q.ahead(0) == nullptr);
}

TEST_CASE("a slot that is closed is opened again as it was left") {
  detail::slot_store<std::vector<int>> store;
  auto const a = store.open();
  store.at(a).assign(5, 1);
  auto const* const memory = store.at(a).data();
  store.close(a);
  CHECK(store.open() == a);
  CHECK(store.at(a).data() == memory);
  CHECK(store.open() != a);
  CHECK(store.size() == 2);
}

TEST_CASE("a slot that was taken is used again, and the others keep their contents") {
  detail::slot_store<std::unique_ptr<int>> store;
  auto const a = store.put(std::make_unique<int>(1));
  auto const b = store.put(std::make_unique<int>(2));
  CHECK(a != b);
  CHECK(*store.take(a) == 1);
  CHECK(store.put(std::make_unique<int>(3)) == a);
  CHECK(*store.at(b) == 2);
  CHECK(*store.at(a) == 3);
}

}  // namespace
