// SPDX-License-Identifier: MIT
// The defaults of race, except the steps of algorithms (catalogue.hpp).
#pragma once

#include <cstddef>
#include <string_view>

namespace rubato::examples {

/// 1.02 x the loss that centralised SGD reaches in 3 epochs: all 60,000 samples in one place, 703 steps of 8 x 32
/// samples, the best step of the same grid, the median of 5 seeds (bench/sweep_steps.cpp).
inline constexpr double default_target_loss = 0.4256;

/// The topology that gives each algorithm its own (catalogue.hpp).
inline constexpr std::string_view best_networks = "best";

/// The number of parts into which nodes that contribute partial batches cut their batch.
inline constexpr std::size_t non_blocking_minibatches = 16;

}  // namespace rubato::examples
