// SPDX-License-Identifier: MIT
// How n nodes can add up their vectors so that all hold the sum, what each way costs, and which one is cheapest. A
// message of b bytes takes alpha + beta b; adding b bytes up takes gamma b (R. Thakur, R. Rabenseifner, W. Gropp,
// "Optimization of collective communication operations in MPICH", 2005). Times are those of the longest path. With p
// the largest power of two in n and r = n - p, the first and third need 2 (alpha + beta b) + gamma b more where r > 0:
//
//   doubling           log2 p (alpha + beta b + gamma b)                  everybody swaps whole vectors with a partner
//   tree               ceil(log2 n) (2 alpha + 2 beta b + gamma b)        up a binomial tree, and down again
//   halving_doubling   2 log2 p alpha + (p-1)/p (2 beta + gamma) b        swaps halves, quarters..., then collects
//   ring               2 (n-1) alpha + (n-1)/n (2 beta + gamma) b         n parts go round twice
//
// Where nodes share processors, the work of all of them counts too, over the number of those that can work at once:
//
//   doubling           p log2 p (alpha + beta b + gamma b) + r (2 alpha + 2 beta b + gamma b)
//   tree               (n-1) (2 alpha + 2 beta b + gamma b)
//   halving_doubling   2 p log2 p alpha + (p-1) (2 beta + gamma) b + r (2 alpha + 2 beta b + gamma b)
//   ring               2 n (n-1) alpha + (n-1) (2 beta + gamma) b
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <rubato/core/language.hpp>

namespace rubato::collective {

enum class algorithm : std::uint8_t { doubling, tree, halving_doubling, ring };
inline constexpr std::array all_algorithms{algorithm::doubling, algorithm::tree, algorithm::halving_doubling,
                                           algorithm::ring};

constexpr auto name_of(algorithm a) -> std::string_view {
  constexpr std::array<std::string_view, 4> names{"doubling", "tree", "halving_doubling", "ring"};
  return names[static_cast<std::size_t>(a)];
}

/// What links and nodes cost, in seconds. The defaults are those of TCP over loopback.
struct link_costs {
  double message = 20e-6;  ///< alpha
  double byte = 0.4e-9;  ///< beta
  double added_byte = 0.1e-9;  ///< gamma
  std::size_t at_once = 0;  ///< nodes that can work at once: the cores, if all are on one machine; 0: all nodes
};

namespace detail {

/// Of an all-reduce: messages, and vectors that are sent and added.
struct effort {
  double messages = 0, sent = 0, added = 0;
  [[nodiscard]] constexpr auto seconds(double bytes, link_costs const& c) const -> double {
    return messages * c.message + bytes * (sent * c.byte + added * c.added_byte);
  }
  friend constexpr auto operator+(effort const& a, effort const& b) -> effort {
    return {a.messages + b.messages, a.sent + b.sent, a.added + b.added};
  }
  friend constexpr auto operator*(double k, effort const& e) -> effort {
    return {k * e.messages, k * e.sent, k * e.added};
  }
};

struct efforts {
  effort path, work;
};

constexpr auto efforts_of(algorithm a, std::size_t nodes) -> efforts {
  auto const n = static_cast<double>(nodes);
  auto const p = static_cast<double>(std::bit_floor(nodes));
  auto const log_p = static_cast<double>(std::bit_width(nodes) - 1);
  constexpr auto swap = effort{1, 1, 1}, there_and_back = effort{2, 2, 1};
  auto const folded = p < n ? there_and_back : effort{};
  switch (a) {
    case algorithm::doubling:
      return {log_p * swap + folded, p * log_p * swap + (n - p) * there_and_back};
    case algorithm::tree:
      return {static_cast<double>(std::bit_width(nodes - 1)) * there_and_back, (n - 1) * there_and_back};
    case algorithm::halving_doubling: {
      auto const all = effort{2 * p * log_p, 2 * (p - 1), p - 1};
      return {1 / p * all + folded, all + (n - p) * there_and_back};
    }
    case algorithm::ring: {
      auto const all = effort{2 * n * (n - 1), 2 * (n - 1), n - 1};
      return {1 / n * all, all};
    }
  }
  return {};
}

}  // namespace detail

/// Seconds until `nodes` nodes hold the sum of their vectors of so many bytes. Requires a node at least.
constexpr auto predicted_seconds(algorithm a, std::size_t nodes, std::size_t bytes, link_costs const& c) -> double {
  auto const e = detail::efforts_of(a, nodes);
  auto const b = static_cast<double>(bytes);
  auto const shared = c.at_once == 0 ? 0 : e.work.seconds(b, c) / static_cast<double>(c.at_once);
  return (std::max)(e.path.seconds(b, c), shared);
}

/// The algorithm that takes the least time; of those that take at most a fiftieth more, the last in the list, since its
/// parts are smaller, and stay in the cache (measured: by four processes a ring of 16 MiB takes a tenth less work).
constexpr auto choose(std::size_t nodes, std::size_t bytes, link_costs const& c) -> algorithm {
  auto least = predicted_seconds(all_algorithms[0], nodes, bytes, c);
  for (auto const a : all_algorithms) least = (std::min)(least, predicted_seconds(a, nodes, bytes, c));
  auto best = all_algorithms[0];
  for (auto const a : all_algorithms) {
    if (predicted_seconds(a, nodes, bytes, c) <= 1.02 * least) best = a;
  }
  return best;
}

}  // namespace rubato::collective
