// SPDX-License-Identifier: MIT
// How nodes that make local steps come to the mean of their work:
//   all_reduce  each owns a chunk, sums what the others send of it, and sends the mean: 2(n-1)/n vectors, coded twice
//   all_gather  each sends its whole vector to all: n-1 vectors, coded once; for codecs that send very little
#pragma once

#include <string_view>

#include <rubato/algorithm/detail/gather_mean.hpp>
#include <rubato/algorithm/detail/scatter_mean.hpp>
#include <rubato/codec/concepts.hpp>

namespace rubato::merge {

/// Policy of local_sgd: of<Backend, Codec> is a node's part in an endless sequence of means.
struct all_reduce {
  static constexpr auto name() -> std::string_view { return "all-reduce"; }
  template<class Backend, class Codec>
  using of = rubato::detail::scatter_mean<Backend, Codec, codec::use::sums>;
};

/// Policy, see all_reduce.
struct all_gather {
  static constexpr auto name() -> std::string_view { return "all-gather"; }
  template<class Backend, class Codec>
  using of = rubato::detail::gather_mean<Backend, Codec, codec::use::sums>;
};

}  // namespace rubato::merge
