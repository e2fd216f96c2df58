// SPDX-License-Identifier: MIT
// Options that every algorithm has.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>

namespace rubato {

enum class step_scale : std::uint8_t {
  per_gain,  ///< gamma = step / gain: one unit of time moves the consensus model by step times the average gradient
  raw,       ///< gamma = step
};

struct common_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;        ///< of the mini-batches
  std::size_t block_values = 0;  ///< unit of delivery; 0: the whole vector is one block

  [[nodiscard]] auto partition(std::size_t dimension) const -> block_partition {
    return block_values == 0 ? block_partition{dimension} : block_partition{dimension, block_values};
  }
  /// gamma; throws config_error unless the step is a positive number.
  [[nodiscard]] auto raw_step(double gain) const -> double {
    if (!(step > 0) || !std::isfinite(step)) {
      throw config_error{"the step must be a positive number, not " + std::to_string(step)};
    }
    return scale == step_scale::raw ? step : step / gain;
  }
};

}  // namespace rubato
