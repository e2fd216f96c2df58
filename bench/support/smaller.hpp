// SPDX-License-Identifier: MIT
// Fewer and smaller pictures, for sweeps of many runs.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/problem/dataset.hpp>

namespace bench {

/// Every `of`-th sample, with the means of 2 x 2 pixels as its features.
[[nodiscard]] inline auto smaller(rubato::problem::dataset const& d, std::size_t of) -> rubato::problem::dataset {
  auto const side = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(d.width()))));
  if (side * side != d.width() || side % 2 != 0) {
    throw rubato::config_error{"pictures of half the side need square pictures of an even side, and these have " +
                               std::to_string(d.width()) + " pixels"};
  }
  std::vector<float> features;
  std::vector<std::uint16_t> labels;
  for (std::size_t s = 0; s < d.samples(); s += of) {
    auto const row = d.row(s);
    for (std::size_t y = 0; y < side; y += 2) {
      for (std::size_t x = 0; x < side; x += 2) {
        features.push_back(
            (row[y * side + x] + row[y * side + x + 1] + row[(y + 1) * side + x] + row[(y + 1) * side + x + 1]) / 4);
      }
    }
    labels.push_back(d.labels()[s]);
  }
  return {std::move(features), std::move(labels), d.classes()};
}

}  // namespace bench
