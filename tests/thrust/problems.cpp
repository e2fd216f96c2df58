// SPDX-License-Identifier: MIT
// Problems on every system of Thrust, with all calls handed to its threads, compute what they compute on the host.
#include <rubato/backend/thrust.hpp>

#include <cstddef>

#include <rubato/backend/host.hpp>

#include "support/all_gradients.hpp"
#include "support/catch.hpp"
#include "support/thrust_systems.hpp"

namespace {

using namespace rubato;

template<class T>
void compare(double tolerance) {
  auto const expected = test::all_values(backend::host<T>{});
  test::for_each_system([&](auto system) {
    using tested = backend::thrust<T, decltype(system)>;
    auto const found = test::all_values(tested{buffer_pool{}, {0, 0}});
    for (std::size_t p = 0; p < expected.size(); ++p) {
      INFO(tested::name() << ", " << expected[p].problem);
      CHECK(test::farthest_from(expected[p].gradient, found[p].gradient) <= tolerance);
      CHECK(test::farthest_from(expected[p].score, found[p].score) <= tolerance);
      CHECK(test::farthest_from({expected[p].loss}, {found[p].loss}) <= tolerance);
    }
  });
}

TEST_CASE("all problems compute on Thrust what they compute on the reference") {
  compare<double>(1e-12);
  compare<float>(1e-5);
}

/// Adds to each cell, in chunks that begin and end inside of rows.
struct numbered {
  double* cells;
  std::size_t columns;
  RUBATO_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
    cells[i * columns + j] += static_cast<double>(1000 * i + j);
  }
};

TEST_CASE("a function of cells is called once for each on every system") {
  constexpr std::size_t rows = 77, columns = 501;  // several chunks
  test::for_each_system([&](auto system) {
    using tested = backend::thrust<double, decltype(system)>;
    INFO(tested::name());
    tested b{buffer_pool{}, {0, 0}};
    auto cells = backend::zeros<double>(b, rows * columns);
    backend::for_each_cell(b, rows, columns, numbered{cells.data(), columns});
    std::size_t wrong = 0;
    for (std::size_t k = 0; k < rows * columns; ++k)
      wrong += cells.data()[k] == static_cast<double>(1000 * (k / columns) + k % columns) ? 0U : 1U;
    CHECK(wrong == 0);
  });
}

}  // namespace
