// SPDX-License-Identifier: MIT
// Common parts of programs that time a transport between two ends of one process: the load, the two nodes, the clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include <rubato/core/shared_buffer.hpp>
#include <rubato/transport/concepts.hpp>

namespace bench {

struct load {
  std::size_t messages = 64;
  std::size_t values = std::size_t{1} << 20;  ///< of 4 bytes: 4 MiB
  [[nodiscard]] auto bytes() const -> std::size_t { return 4 * values; }
  [[nodiscard]] auto gigabytes() const -> double { return 1e-9 * static_cast<double>(messages * bytes()); }
};

/// Messages that are posted and not yet done, for every rival alike.
inline constexpr std::size_t under_way = 4;

inline auto vector_of(rubato::buffer_pool& pool, std::size_t values) -> rubato::shared_buffer {
  auto body = pool.allocate<float>(values);
  std::fill_n(body.data(), values, 0.5F);
  return std::move(body).publish();
}

inline auto seconds_since(std::chrono::steady_clock::time_point t) -> double {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

/// Node 0 or 1 of two that are joined by one channel of floats.
inline auto identity_of_node(std::size_t self, rubato::block_partition blocks, rubato::channel_spec channel)
    -> rubato::transport::identity {
  rubato::transport::identity me;
  me.self = rubato::to_node(self);
  me.peers = {rubato::to_node(1 - self)};
  me.blocks = blocks;
  me.channels = {channel};
  return me;
}

}  // namespace bench
