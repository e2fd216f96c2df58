// SPDX-License-Identifier: MIT
#include <rubato/core/outbox.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;

TEST_CASE("clear() removes all effects and keeps the memory") {
  outbox out;
  out.packets.resize(20);
  out.wakeups.resize(3);
  out.request.emplace();
  out.cancel = ticket{1};
  out.wait = waiting{};
  out.failure = fault{"broken"};
  auto const capacity = out.packets.capacity();
  out.clear();
  CHECK(out.packets.empty());
  CHECK(out.wakeups.empty());
  CHECK_FALSE(out.request);
  CHECK_FALSE(out.cancel);
  CHECK_FALSE(out.wait);
  CHECK_FALSE(out.failure);
  CHECK(out.packets.capacity() == capacity);
}

TEST_CASE("clear() releases the bodies") {
  buffer_pool pool;
  pool.track();
  auto writer = pool.allocate<float>(4);
  auto const* const at = writer.data();
  outbox out;
  out.packets.emplace_back().body = std::move(writer).publish();
  CHECK(pool.find(at).published);
  out.clear();
  CHECK(pool.find(at).begin == nullptr);
}

}  // namespace
