// SPDX-License-Identifier: MIT
// A run's fixed partition of a vector into blocks: the unit of delivery. A block is never torn, a vector may be (law
// 5).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <rubato/core/errors.hpp>

namespace rubato {

/// A half-open range of blocks or of values.
struct range {
  std::size_t begin = 0;
  std::size_t end = 0;
  static void visit_state(auto& self, auto&& visit) { visit("begin", self.begin), visit("end", self.end); }
  [[nodiscard]] constexpr auto size() const -> std::size_t { return end - begin; }
  [[nodiscard]] constexpr auto empty() const -> bool { return begin == end; }
  friend auto operator==(range const&, range const&) -> bool = default;
};

/// Equal blocks of `block_values` values, the last one possibly shorter. Part of the run id.
class block_partition {
 public:
  /// Blocks begin at multiples of this many values, so that kernels never straddle two of them.
  static constexpr std::size_t alignment = 64;

  block_partition() = default;
  /// The whole vector as one block.
  explicit block_partition(std::size_t values) : values_{values}, block_values_{(std::max)(values, std::size_t{1})} {}
  /// Throws config_error unless block_values is a positive multiple of alignment (or covers the vector).
  block_partition(std::size_t values, std::size_t block_values) : values_{values}, block_values_{block_values} {
    if (block_values == 0 || (block_values % alignment != 0 && block_values < values)) {
      throw config_error{"the block size must be a positive multiple of 64 values, not " +
                         std::to_string(block_values)};
    }
    if (values > 0) blocks_ = (values - 1) / block_values + 1;
  }

  [[nodiscard]] auto values() const -> std::size_t { return values_; }
  [[nodiscard]] auto block_values() const -> std::size_t { return block_values_; }
  [[nodiscard]] auto blocks() const -> std::size_t { return blocks_; }
  /// The values that a range of blocks covers.
  [[nodiscard]] auto values_of(range blocks) const -> range {
    return {(std::min)(blocks.begin * block_values_, values_), (std::min)(blocks.end * block_values_, values_)};
  }
  friend auto operator==(block_partition const&, block_partition const&) -> bool = default;

 private:
  std::size_t values_ = 0;
  std::size_t block_values_ = 1;
  std::size_t blocks_ = 1;  // kept, since every message asks and a division takes longer than the rest of its checks
};

}  // namespace rubato
