// SPDX-License-Identifier: MIT
#include <rubato/algorithm/detail/mailbox.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>

#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/contract.hpp"
#include "support/for_all.hpp"

namespace {

using namespace rubato;
using box_type = detail::mailbox<backend::host<float>, float>;

constexpr std::size_t dimension = 150;

/// Patches of vectors all of whose values are their iteration number.
struct post_office {
  block_partition blocks{dimension, 64};
  backend::host<float> b;
  box_type box;

  auto accept(std::uint64_t number, range which, std::uint64_t own = 0) -> bool {
    auto const r = blocks.values_of(which);
    auto body = b.allocate<float>(r.size());
    std::fill_n(body.data(), r.size(), static_cast<float>(number));
    iteration const at{number};
    patch p;
    p.blocks = which;
    p.numbers = {&at, 1};
    p.body = std::move(body).publish();
    return box.accept(b, blocks, p, own);
  }
  auto accept(std::uint64_t number) -> bool { return accept(number, {0, 3}); }
  /// The value of each block; -1 if a block is torn.
  auto values() -> std::vector<float> {
    std::vector<float> of_block;
    for (std::size_t k = 0; k < 3; ++k) {
      auto const r = blocks.values_of({k, k + 1});
      auto const* begin = box.values() + r.begin;
      auto const same = std::all_of(begin, box.values() + r.end, [&](float v) { return v == *begin; });
      of_block.push_back(same ? *begin : -1.0F);
    }
    return of_block;
  }
};

TEST_CASE("the newest whole vector wins, and duplicates and older ones change nothing") {
  post_office o;
  CHECK(o.box.values() == nullptr);
  CHECK(o.accept(3));
  auto const* const first = o.box.values();
  CHECK_FALSE(o.accept(3));
  CHECK_FALSE(o.accept(2));
  CHECK(o.box.values() == first);
  CHECK(o.accept(5));
  CHECK(o.values() == std::vector<float>{5, 5, 5});
  CHECK(o.box.is_whole());
}

TEST_CASE("parts keep an iteration number for each block") {
  post_office o;
  CHECK(o.accept(2, {1, 2}));
  CHECK(o.values() == std::vector<float>{0, 2, 0});
  CHECK(o.accept(5, {0, 2}));
  CHECK_FALSE(o.accept(4, {1, 2}));
  CHECK(o.values() == std::vector<float>{5, 5, 0});
  CHECK(o.box.number() == iteration{0});
  CHECK(o.accept(1, {2, 3}));
  CHECK(o.box.number() == iteration{1});
  CHECK(o.values() == std::vector<float>{5, 5, 1});
}

TEST_CASE("a patch with one iteration number for each of its blocks is taken block by block") {
  post_office o;
  o.accept(4, {1, 2});
  auto body = o.b.allocate<float>(o.blocks.values_of({1, 3}).size());
  auto const second = o.blocks.values_of({1, 2}).size();
  std::fill_n(body.data(), second, 3.0F);
  std::fill_n(body.data() + second, body.size() - second, 7.0F);
  iteration const at[] = {iteration{3}, iteration{7}};
  patch p;
  p.blocks = {1, 3};
  p.numbers = at;
  p.body = std::move(body).publish();
  CHECK(o.box.accept(o.b, o.blocks, p, 5));
  CHECK(o.values() == std::vector<float>{0, 4, 7});  // 3 is older than 4
  CHECK(o.box.of(1).number == iteration{4});
  CHECK(o.box.of(2).number == iteration{7});
  CHECK(o.box.of(2).arrived == 5);
  CHECK_FALSE(o.box.accept(o.b, o.blocks, p, 6));
}

TEST_CASE("a patch over all blocks with a number for each does not count as a whole vector") {
  post_office o;
  o.accept(5);
  auto body = o.b.allocate<float>(dimension);
  for (std::size_t k = 0; k < 3; ++k) {
    auto const r = o.blocks.values_of({k, k + 1});
    std::fill_n(body.data() + r.begin, r.size(), static_cast<float>(4 + k));
  }
  iteration const at[] = {iteration{4}, iteration{5}, iteration{6}};
  patch p;
  p.blocks = {0, 3};
  p.numbers = at;
  p.body = std::move(body).publish();
  CHECK(o.box.accept(o.b, o.blocks, p, 0));
  CHECK(o.values() == std::vector<float>{5, 5, 6});
  CHECK(o.box.number() == iteration{5});
  CHECK_FALSE(o.box.is_whole());
}

TEST_CASE("a whole vector replaces only those parts that are older") {
  post_office o;
  o.accept(4, {0, 1});
  o.accept(9, {1, 2});
  CHECK(o.accept(6));
  CHECK(o.values() == std::vector<float>{6, 9, 6});
  CHECK_FALSE(o.accept(6));
  CHECK(o.accept(10));
  CHECK(o.values() == std::vector<float>{10, 10, 10});
  CHECK(o.box.is_whole());
}

TEST_CASE("parts are laid over a whole vector without touching its body") {
  post_office o;
  o.accept(4);
  auto const kept = o.box.whole();
  CHECK(o.accept(5, {2, 3}));
  CHECK(o.values() == std::vector<float>{4, 4, 5});
  CHECK(std::all_of(kept.view<float>().begin(), kept.view<float>().end(), [](float v) { return v == 4.0F; }));
}

TEST_CASE("the order in which messages arrive between two activations does not matter, nor do repetitions") {
  struct item {
    std::uint64_t number;
    range which;
  };
  test::for_all(200, [](random_stream& gen, std::uint64_t) {
    std::vector<item> items;
    for (std::uint64_t k = 1; k <= 8; ++k) {
      auto const begin = gen.below(3);
      items.push_back({k, gen.chance(0.3) ? range{0, 3} : range{begin, begin + 1 + gen.below(3 - begin)}});
    }
    post_office in_order, permuted;
    for (auto const& i : items) in_order.accept(i.number, i.which);
    for (std::size_t k = 0; k < 12; ++k) items.push_back(items[gen.below(8)]);
    for (auto k = items.size(); k > 1; --k) std::swap(items[k - 1], items[gen.below(k)]);
    for (auto const& i : items) permuted.accept(i.number, i.which);
    REQUIRE(in_order.values() == permuted.values());
    REQUIRE(in_order.box.number() == permuted.box.number());
  });
}

TEST_CASE("blocks that arrived together form runs") {
  post_office o;
  o.accept(1, {0, 2}, 7);
  o.accept(1, {2, 3}, 8);
  CHECK(o.box.uniform_end(0, 3) == 2);
  CHECK(o.box.uniform_end(2, 3) == 3);
  CHECK(o.box.of(2).arrived == 8);
}

TEST_CASE("an event channel hands out every message once and in order") {
  post_office o;
  for (std::uint64_t k = 1; k <= 3; ++k) {
    auto body = o.b.allocate<float>(dimension);
    std::fill_n(body.data(), dimension, static_cast<float>(k));
    iteration const at{k};
    patch p;
    p.blocks = {0, 3};
    p.numbers = {&at, 1};
    p.body = std::move(body).publish();
    o.box.enqueue(p, 0);
  }
  CHECK(o.box.number() == iteration{0});
  for (std::uint64_t k = 1; k <= 3; ++k) {
    CHECK(o.box.advance_to(iteration{k}));
    CHECK(o.values()[0] == static_cast<float>(k));
  }
  CHECK_FALSE(o.box.advance_to(iteration{4}));
  CHECK(o.values()[0] == 3.0F);
}

TEST_CASE("a mailbox reads bodies with the type they were written with, whole, in parts and queued") {
  backend::host<float> b;
  block_partition const blocks{dimension, 64};
  iteration const at{1};
  patch p;
  p.numbers = {&at, 1};
  p.blocks = {0, 3};
  p.body = b.allocate<std::int32_t>(dimension).publish();
  auto const wrong = std::string{"a body is read as the element type it was written with"};
  box_type whole, parts, queued;
  whole.accept(b, blocks, p, 0);
  CHECK(test::broken_by([&] { static_cast<void>(whole.values()); }) == wrong);
  p.blocks = {0, 1};
  CHECK(test::broken_by([&] { parts.accept(b, blocks, p, 0); }) == wrong);
  queued.enqueue(p, 0);
  CHECK(test::broken_by([&] { static_cast<void>(queued.newest()); }) == wrong);
}

}  // namespace
