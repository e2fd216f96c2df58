// SPDX-License-Identifier: MIT
// What bench_update_kernels measures. Each unit of bench/kernels/ is compiled once a backend, and adds to one list.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace bench {

/// One kernel on vectors of one size, ready to run, until another one is prepared. `bytes` are those that one call has
/// to read and write; `operations`, of products and gradients, are its multiplications with additions.
struct prepared {
  std::function<void()> call;
  double bytes = 0;
  double operations = 0;
};

struct entry {
  std::string name;  ///< family/kernel/backend/scalar
  std::string family;
  std::string backend;
  bool takes_degree = false;
  /// Of n values and a node with `degree` neighbours of each kind. Throws std::bad_alloc where memory is short.
  std::function<prepared(std::size_t n, std::size_t degree)> prepare;
  std::function<void()> wait = [] {};  ///< until all calls are done
  /// Bytes a second of a copy of that many bytes, where triads of the host are no yardstick.
  std::function<double(double bytes)> copy{};
};

inline auto all_entries() -> std::vector<entry>& {
  static std::vector<entry> all;
  return all;
}

}  // namespace bench
