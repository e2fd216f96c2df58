// SPDX-License-Identifier: MIT
// One pass over memory on a host processor: whole groups of hardware vectors, then single ones, halves and quarters of
// one, then the rest one by one; streaming stores once the data cannot stay in the cache (below that size they would
// cost twice the time, above they save a read).
#pragma once

#include <cstddef>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/lanes.hpp>
#include <rubato/core/blocks.hpp>

namespace rubato::backend {

/// Data of one sweep above which results bypass the caches.
inline constexpr std::size_t default_streaming_bytes = std::size_t{24} << 20;

namespace detail::inline RUBATO_INSTRUCTION_SET {
// Flattened: a kernel that is called, not inlined, keeps its flagged bits in memory, which costs a ledger half its
// speed.
template<class Lanes, class Kernel>
[[gnu::flatten]] auto sweep_groups(range r, Kernel const& kernel) -> flag_bits {
  Lanes at{r.begin};
  for (auto i = r.begin; i < r.end; i += Lanes::width) {
    at.move_to(i);
    kernel(at);
  }
  return at.raised();
}

template<class Kernel>
inline constexpr bool fits_short_lanes = requires { requires Kernel::fits_short_lanes; };

/// Less than four vectors: what fits into one of `Bytes` at a time, then into half of one, down to 16 bytes. Moves
/// r.begin to what is left.
template<class T, std::size_t Bytes, class Kernel>
auto sweep_short(range& r, Kernel const& kernel) -> flag_bits {
  using lanes = short_lanes<T, Bytes>;
  auto const end = r.begin + r.size() / lanes::width * lanes::width;
  flag_bits raised = 0;
  if (r.begin < end) raised = sweep_groups<lanes>({r.begin, end}, kernel);
  r.begin = end;
  if constexpr (Bytes > 16) raised |= sweep_short<T, Bytes / 2>(r, kernel);
  return raised;
}

/// How many values are swept in all. A kernel whose vector is swept in chunks says how many all of them have, or 0
/// where chunks do not all begin at multiples of 64 bytes, so that nothing can be streamed.
template<class Kernel>
auto values_of(Kernel const& kernel, range r) -> std::size_t {
  if constexpr (requires { kernel.values_of_all_chunks(); }) return kernel.values_of_all_chunks();
  else return r.size();
}
}  // namespace detail::inline RUBATO_INSTRUCTION_SET

inline namespace RUBATO_INSTRUCTION_SET {

/// Runs the kernel once over r. Streams only if r begins at a multiple of 64 values, which keeps bases aligned.
template<class T, class Kernel>
auto vector_sweep(range r, Kernel const& kernel, std::size_t streaming_bytes) -> flag_bits {
  using cached = vector_lanes<T, false>;
  auto const whole = r.begin + r.size() / cached::width * cached::width;
  // What a kernel moves is counted only where it may matter: no kernel moves 4 KiB per value.
  auto const n = detail::values_of(kernel, r);
  auto const streams =
      r.begin % 64 == 0 && n > streaming_bytes / 4096 && n * kernel.bytes_per_value() > streaming_bytes;
  flag_bits raised = 0;
  if (streams) {
    raised = detail::sweep_groups<vector_lanes<T, true>>({r.begin, whole}, kernel);
    detail::finish_streaming();
  } else if (r.begin < whole) {
    raised = detail::sweep_groups<cached>({r.begin, whole}, kernel);
  }
  auto rest = range{whole, r.end};
  if constexpr (detail::fits_short_lanes<Kernel>) raised |= detail::sweep_short<T, detail::native_bytes>(rest, kernel);
  scalar_lanes<T> single{rest.begin};
  for (auto i = rest.begin; i < rest.end; ++i) {
    single.move_to(i);
    kernel(single);
  }
  return raised | single.raised();
}
template<class T, class Kernel>
  requires runs_by_index<Kernel>
auto vector_sweep(range r, Kernel const& kernel, std::size_t) -> flag_bits {
  kernel.over(r);
  return 0;
}

}  // namespace RUBATO_INSTRUCTION_SET

}  // namespace rubato::backend
