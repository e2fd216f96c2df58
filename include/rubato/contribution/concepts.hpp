// SPDX-License-Identifier: MIT
// What a contribution policy must offer: the number of mini-batches in a node's batch of a round, what ends the batch,
// and the weight of the finished mini-batches.
#pragma once

#include <concepts>
#include <cstddef>

#include <rubato/core/language.hpp>

namespace rubato::contribution {

template<class C>
concept sizes_a_batch = std::copyable<C> && std::default_initializable<C> && requires(C const& c) {
  { c.minibatches } -> std::convertible_to<std::size_t>;
};

template<class C>
concept says_who_ends_a_batch = requires {
  { C::follows_the_fastest } -> std::convertible_to<bool>;
};

template<class C>
concept counts_what_is_finished = requires(C const& c, std::size_t finished) {
  { c.counted(finished) } -> std::convertible_to<std::size_t>;
};

/// Not checked, but required: counted(0) is 0, counted(minibatches) is minibatches, and anything else counts for more
/// than 0 and for no more than that. Where follows_the_fastest is false, a batch ends with its last mini-batch and
/// never before. Models: all, finished.
template<class C>
concept policy = sizes_a_batch<C> && says_who_ends_a_batch<C> && counts_what_is_finished<C>;

/// Checked where a node uses a contribution; each sentence needs no context.
template<class C>
consteval auto check_contribution() -> bool {
  static_assert(sizes_a_batch<C>, "a contribution is copyable and has minibatches, how many of them make a batch");
  static_assert(
      says_who_ends_a_batch<C>,
      "a contribution says in a constant, follows_the_fastest, whether the fastest node ends everyone's batch");
  static_assert(counts_what_is_finished<C>,
                "a contribution has counted(finished), as how many mini-batches the finished ones count");
  return true;
}

}  // namespace rubato::contribution
