// SPDX-License-Identifier: MIT
// The watching backend must see each kind of misuse: a negative control for every rule that it checks.
#include <rubato/backend/checked.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <latch>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>

#include "support/catch.hpp"
#include "support/contract.hpp"

namespace {

using namespace rubato;
using watched = backend::checked<backend::host<double>>;

TEST_CASE("valid kernels run as on the backend inside") {
  watched b;
  auto x = b.allocate<double>(100);
  auto y = b.allocate<double>(100);
  CHECK(test::broken_by([&] {
          b.sweep({0, 100}, backend::zero_kernel<double>{x.data()});
          b.sweep({0, 100}, backend::copy_kernel<double>{x.data(), y.data()});
        }).empty());
  CHECK(std::count(y.data(), y.data() + 100, 0.0) == 100);
}

TEST_CASE("reading a value that was never written is detected") {
  watched b;
  auto x = b.allocate<double>(10);
  auto y = b.allocate<double>(10);
  std::fill_n(x.data(), 9, 1.0);
  auto const copy = [&](std::size_t n) {
    return test::broken_by([&] { b.sweep({0, n}, backend::copy_kernel<double>{x.data(), y.data()}); });
  };
  CHECK(copy(9).empty());
  CHECK(copy(10) == "a kernel reads only values that were written");
}

TEST_CASE("writing to a published body is detected") {
  watched b;
  auto x = b.allocate<double>(10);
  auto* const at = x.data();
  b.sweep({0, 10}, backend::zero_kernel<double>{at});
  auto const body = std::move(x).publish();
  CHECK(test::broken_by([&] { b.sweep({0, 1}, backend::zero_kernel<double>{at}); }) ==
        "a published body is never written again");
  CHECK(test::broken_by([&] {
          auto y = b.allocate<double>(10);
          b.sweep({0, 10}, backend::copy_kernel<double>{body.view<double>().data(), y.data()});
        }).empty());
}

TEST_CASE("reads and writes outside live vectors are detected") {
  watched b;
  auto x = b.allocate<double>(10);
  auto y = b.allocate<double>(8);
  b.sweep({0, 8}, backend::zero_kernel<double>{y.data()});
  CHECK(test::broken_by([&] { b.sweep({10, 11}, backend::zero_kernel<double>{x.data()}); }) ==
        "a kernel writes inside a live vector");
  CHECK(test::broken_by([&] { b.sweep({8, 9}, backend::copy_kernel<double>{y.data(), x.data()}); }) ==
        "a kernel reads inside a live vector");
  auto const* const gone = y.data();
  y = {};
  CHECK(test::broken_by([&] { b.sweep({0, 1}, backend::copy_kernel<double>{gone, x.data()}); }) ==
        "a kernel reads inside a live vector");
  std::vector<double> const stranger(8, 0.0);
  CHECK(test::broken_by([&] { b.sweep({0, 1}, backend::copy_kernel<double>{stranger.data(), x.data()}); }) ==
        "a kernel reads inside a live vector");
}

TEST_CASE("copies of one watching backend may work and publish on several threads at once") {
  watched shared;
  std::atomic<int> wrong{0};
  std::latch all_there{3};
  auto const work = [&, mine = shared]() mutable {
    all_there.arrive_and_wait();
    for (int k = 0; k < 2000; ++k) {
      auto x = mine.allocate<double>(16);
      auto y = mine.allocate<double>(16);
      mine.sweep({0, 16}, backend::zero_kernel<double>{x.data()});
      auto const body = std::move(x).publish();
      mine.sweep({0, 16}, backend::copy_kernel<double>{body.view<double>().data(), y.data()});
      static_cast<void>(mine.pool().find(reinterpret_cast<void const*>(~std::uintptr_t{0})));  // near another thread's
      if (y.data()[15] != 0 || !mine.pool().find(body.bytes().data()).published) ++wrong;
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back(work);
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
}

}  // namespace
