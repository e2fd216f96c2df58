// SPDX-License-Identifier: MIT
// What is computed index by index and does not fit into lanes, such as a row of a matrix at a time: a function of the
// index, written once for all backends. On the host it is a plain loop, on a device a launch.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::backend {

namespace detail {

template<class F>
struct index_kernel {
  F f;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    f(at.index());
  }
  void over(range r) const {
    auto const local = f;  // otherwise every store might change it
    for (auto i = r.begin; i < r.end; ++i) local(i);
  }
};

template<class F>
concept takes_parts_of_rows = requires(F const& f, std::size_t n) { f.part_of_row(n, n, n); };

/// Index k is cell (k / columns, k % columns), so that neighbouring threads have neighbouring columns.
template<class F>
struct cell_kernel {
  F f;
  std::size_t columns;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    f(at.index() / columns, at.index() % columns);
  }
  void over(range r) const {
    auto const local = f;
    for (auto k = r.begin; k < r.end;) {
      auto const row = k / columns, first = k % columns;
      auto const end = r.end - k < columns - first ? first + (r.end - k) : columns;
      if constexpr (takes_parts_of_rows<F>) {
        local.part_of_row(row, first, end);
      } else {
        for (auto j = first; j < end; ++j) local(row, j);
      }
      k += end - first;
    }
  }
};

/// Every `parts`-th term from `part` on.
template<class F>
struct partial_sum {
  F f;
  std::size_t n, parts;
  double* sums;
  RUBATO_HOST_DEVICE void operator()(std::size_t part) const {
    double sum = 0;
    for (auto k = part; k < n; k += parts) sum += f(k);
    sums[part] = sum;
  }
};

}  // namespace detail

/// f(i) for each i < n, in any order: f is a trivially copyable struct whose operator() is marked RUBATO_HOST_DEVICE,
/// calls no other kind of function, and reads and writes memory of the backend alone. Nothing is waited for.
template<array_backend Backend, class F>
void for_each(Backend& b, std::size_t n, F const& f) {
  static_assert(std::is_trivially_copyable_v<F>);
  b.sweep({0, n}, detail::index_kernel<F>{f});
}

/// f(i, j) for each i < rows and j < columns, as for_each; on the host row by row. There f may do better in
/// f.part_of_row(i, begin, end), which stands for the columns begin .. end - 1.
template<array_backend Backend, class F>
void for_each_cell(Backend& b, std::size_t rows, std::size_t columns, F const& f) {
  static_assert(std::is_trivially_copyable_v<F>);
  b.sweep({0, rows * columns}, detail::cell_kernel<F>{f, columns});
}

/// Sum of f(k) over k < n, in double; f as for for_each. On the host from the first to the last; on a device in parts,
/// whose sums (32 KiB at most) are copied to the host, which waits for them.
template<array_backend Backend, class F>
[[nodiscard]] auto sum_of(Backend& b, std::size_t n, F const& f) -> double {
  double sum = 0;
  if constexpr (has_host_twin<Backend>) {
    auto const parts = n < 4096 ? n : std::size_t{4096};
    auto sums = b.template allocate<double>(parts);
    for_each(b, parts, detail::partial_sum<F>{f, n, parts, sums.data()});
    for (auto const part : b.pool().values(std::as_const(sums).data(), parts)) sum += part;
  } else {
    auto const local = f;
    for (std::size_t k = 0; k < n; ++k) sum += local(k);
  }
  return sum;
}

}  // namespace rubato::backend
