// SPDX-License-Identifier: MIT
#include <rubato/core/shared_buffer.hpp>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/contract.hpp"

namespace {

using namespace rubato;

// Immutable by type: what is shared can be read only, what can be written cannot be copied.
static_assert(std::is_same_v<decltype(std::declval<shared_buffer&>().view<float>()), std::span<float const>>);
static_assert(std::is_same_v<decltype(std::declval<shared_buffer&>().bytes()), std::span<std::byte const>>);
static_assert(!std::is_copy_constructible_v<writable_buffer<float>>);
static_assert(std::is_nothrow_move_constructible_v<writable_buffer<float>>);
static_assert(std::is_nothrow_copy_constructible_v<shared_buffer>);

auto counted(buffer_pool& pool, std::size_t n) -> shared_buffer {
  auto b = pool.allocate<std::int32_t>(n);
  std::iota(b.data(), b.data() + n, 0);
  return std::move(b).publish();
}

TEST_CASE("a published body keeps its values, kind and size, and copies share it") {
  buffer_pool pool;
  auto const body = counted(pool, 100);
  auto const copy = body;
  CHECK(copy == body);
  CHECK(copy.view<std::int32_t>().data() == body.view<std::int32_t>().data());
  CHECK(copy.view<std::int32_t>()[99] == 99);
  CHECK(body.kind() == element::i32);
  CHECK(body.size() == 100);
  CHECK(body.size_bytes() == 400);
  CHECK_FALSE(counted(pool, 100) == body);
}

TEST_CASE("publishing empties the writer, and an empty buffer has no values") {
  buffer_pool pool;
  auto writer = pool.allocate<float>(3);
  auto const body = std::move(writer).publish();
  CHECK_FALSE(writer);  // NOLINT: its state after publish is promised
  CHECK(writer.size() == 0);
  CHECK(body);
  CHECK_FALSE(shared_buffer{});
  CHECK(shared_buffer{}.view<float>().empty());
  CHECK(shared_buffer{}.kind() == element::none);
}

TEST_CASE("a pool recycles a body when its last owner lets go, and not before") {
  buffer_pool pool;
  auto body = counted(pool, 1000);
  auto copy = body;
  auto const* const at = body.bytes().data();
  auto const held = pool.held_bytes();
  body = {};
  auto other = pool.allocate<std::int32_t>(1000);
  CHECK(reinterpret_cast<std::byte const*>(other.data()) != at);
  CHECK(copy.view<std::int32_t>()[999] == 999);
  copy = {};
  auto const again = pool.allocate<float>(1000);  // the same bytes, another type
  CHECK(reinterpret_cast<std::byte const*>(again.data()) == at);
  CHECK(pool.held_bytes() == 2 * held);
}

TEST_CASE("a body outlives the pool it came from") {
  shared_buffer body;
  {
    buffer_pool pool;
    body = counted(pool, 10);
  }
  CHECK(body.view<std::int32_t>()[9] == 9);
}

TEST_CASE("buffers are aligned for any hardware vector, even of one value or none") {
  buffer_pool pool;
  for (std::size_t const n : {0U, 1U, 17U, 1000U}) {
    auto const b = pool.allocate<double>(n);
    CHECK(reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0);
    CHECK(b.size() == n);
  }
}

TEST_CASE("returned memory can be reused for another type, and the body then has that type") {
  buffer_pool pool;
  auto first = pool.allocate<double>(8);
  auto const* const place = static_cast<void const*>(first.data());
  std::fill_n(first.data(), 8, 0.5);
  first = {};
  auto second = pool.allocate<std::int32_t>(16);
  CHECK(static_cast<void const*>(second.data()) == place);
  for (int i = 0; i < 16; ++i) second.data()[i] = i;
  auto const body = std::move(second).publish();
  CHECK(body.kind() == element::i32);
  CHECK(body.view<std::int32_t>()[15] == 15);
}

TEST_CASE("a body is read with the type it was written with") {
  buffer_pool pool;
  auto const body = counted(pool, 4);
  CHECK(test::broken_by([&] { static_cast<void>(body.view<float>()); }) ==
        "a body is read as the element type it was written with");
  CHECK(test::broken_by([&] { static_cast<void>(body.view<std::int32_t>()); }).empty());
}

TEST_CASE("bodies may be shared, read and dropped by several threads, and all come back to the pool") {
  buffer_pool pool;
  std::atomic<long> wrong{0};
  for (int round = 0; round < 200; ++round) {
    auto body = counted(pool, 256);
    std::vector<std::jthread> readers;
    for (int t = 0; t < 4; ++t) {
      readers.emplace_back([copy = body, &wrong, &pool]() mutable {
        auto const second = copy;
        auto const mine = counted(pool, 256);
        if (second.view<std::int32_t>()[255] != 255 || mine.view<std::int32_t>()[7] != 7) ++wrong;
        copy = {};
      });
    }
    body = {};
  }
  CHECK(wrong == 0);
  CHECK(pool.held_bytes() <= 5 * 1024);  // never more than one body and one for each reader
}

/// Memory that is counted.
struct counted_memory final : memory_source {
  auto allocate(std::size_t bytes) -> std::byte* override {
    ++live;
    return heap.allocate(bytes);
  }
  void release(std::byte* at, std::size_t bytes) noexcept override {
    --live;
    heap.release(at, bytes);
  }
  heap_memory heap;
  int live = 0;
};

TEST_CASE("a pool returns all memory to its source when the last handle and the last body are gone") {
  auto const memory = std::make_shared<counted_memory>();
  {
    shared_buffer last;
    {
      buffer_pool pool{memory};
      auto const copy = pool;
      last = counted(pool, 10);
      counted(pool, 20);
      CHECK(memory->live == 2);
    }
    CHECK(memory->live >= 1);
  }
  CHECK(memory->live == 0);
}

TEST_CASE("values that are lent are a body where they lie, for as long as anybody holds it, and are nobody's to free") {
  std::vector<double> values{1, 2, 3};
  shared_buffer body;
  {
    vector_lender lender;
    body = lender.lend(std::span<double const>{values});
    CHECK(lender.lend(std::span<double const>{}).size() == 0);  // given back at once, and taken again
    CHECK(lender.lend(std::span<double const>{values}.first(1)).view<double>().size() == 1);
  }
  CHECK(body.is_on_host());
  CHECK(body.kind() == element::f64);
  CHECK(body.view<double>().data() == values.data());
  CHECK(body.size_bytes() == 24);
  auto const other = body;
  body = {};
  values[2] = 7;
  CHECK(other.view<double>()[2] == 7);
}

TEST_CASE("a tracking pool knows which live vector an address belongs to, and whether it is published") {
  buffer_pool pool;
  pool.track();
  auto writer = pool.allocate<float>(10);
  auto const* const at = writer.data();
  CHECK(pool.find(at + 9).begin == reinterpret_cast<std::byte const*>(at));
  CHECK_FALSE(pool.find(at + 9).published);
  CHECK(pool.find(at + 10).begin == nullptr);
  auto body = std::move(writer).publish();
  CHECK(pool.find(at).published);
  body = {};
  CHECK(pool.find(at).begin == nullptr);
}

}  // namespace
