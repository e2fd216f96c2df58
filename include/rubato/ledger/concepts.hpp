// SPDX-License-Identifier: MIT
// What a ledger policy must offer: a type of values, how nodes agree on it, and the arithmetic of the kernels.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <rubato/backend/lanes.hpp>
#include <rubato/core/blocks.hpp>

namespace rubato::ledger {

/// value<T>: what z and the running sums are made of, where models are made of T.
template<class L, class T>
concept has_values = std::copyable<L> && std::default_initializable<L> && requires {
  typename L::template value<T>;
  { L::exact } -> std::convertible_to<bool>;
} && std::is_arithmetic_v<typename L::template value<T>>;

template<class L, class T>
concept can_be_agreed_on =
    requires(L& l, L const& c, block_partition const& blocks, std::span<double const> largest, std::size_t n) {
      l.calibrate(blocks, largest, n);
      { c.uniform_end(n, n) } -> std::convertible_to<std::size_t>;
      c.template arithmetic_for<T>(n);
    };

template<class L>
concept watches_its_range = requires(L const& c, backend::flag_bits bits, std::size_t block) {
  { c.quantum(block) } -> std::convertible_to<double>;
  { L::out_of_range(bits) } -> std::convertible_to<bool>;
  { c.range_sentence(block) } -> std::convertible_to<std::string>;
};

/// See fixed_point::arithmetic for what the members mean.
template<class A, class T, class U>
concept arithmetic_of =
    std::is_trivially_copyable_v<A> && requires(A const& a, backend::scalar_lanes<T>& at, T weight, U z) {
      { a.quantise(at, weight) } -> std::convertible_to<U>;
      { a.add(z, z) } -> std::convertible_to<U>;
      { a.sub(z, z) } -> std::convertible_to<U>;
      { a.share(at, z, weight) } -> std::convertible_to<U>;
      { a.kept(z, weight, z) } -> std::convertible_to<U>;
      { a.direction(at, z) } -> std::convertible_to<T>;
      a.watch(at, z);
    };

/// Not checked, but required: the shares and what is kept add up to the whole (exactly, if `exact` says so).
/// Models: fixed_point, floating.
template<class L, class T>
concept policy =
    has_values<L, T> && can_be_agreed_on<L, T> && watches_its_range<L> &&
    arithmetic_of<decltype(std::declval<L const&>().template arithmetic_for<T>(0)), T, typename L::template value<T>>;

/// Checked where a node uses a ledger; each sentence needs no context.
template<class L, class T>
consteval auto check_ledger() -> bool {
  static_assert(has_values<L, T>,
                "a ledger is copyable, says in a constant whether it is exact, and has a type of numbers value<T>");
  static_assert(
      can_be_agreed_on<L, T>,
      "a ledger has calibrate(blocks, largest, nodes), uniform_end(block, blocks) and arithmetic_for<T>(block)");
  static_assert(
      watches_its_range<L>,
      "a ledger has a quantum(block), a static out_of_range(bits) and a range_sentence(block) for a run that ends");
  if constexpr (has_values<L, T> && can_be_agreed_on<L, T>) {
    static_assert(arithmetic_of<decltype(std::declval<L const&>().template arithmetic_for<T>(0)), T,
                                typename L::template value<T>>,
                  "a ledger's arithmetic has quantise, add, sub, share, kept, direction and watch, for lanes of T");
  }
  return true;
}

}  // namespace rubato::ledger
