// SPDX-License-Identifier: MIT
// Decodes compressed running sums on arrival at a node, against the newest sum that it has.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include <rubato/algorithm/detail/mailbox.hpp>
#include <rubato/core/packet.hpp>

namespace rubato::detail {

struct expanded_body {
  shared_buffer body{};                   // the patch's blocks; those that are not new are left indeterminate
  std::optional<std::size_t> beyond{};    // the first block with a sum beyond the codec's reach
};

/// Decodes the blocks of p that are newer than those in the mailbox. A block that is not newer is not decoded: it may
/// lie beyond the codec's reach by now, and nobody reads it. On an event channel every block is newer.
template<class U, channel_kind Kind, class SumCodec, class Backend>
auto expanded_sums(SumCodec const& codec, Backend& backend, block_partition const& blocks,
                   mailbox<Backend, U> const& box, patch const& p) -> expanded_body {
  auto const covered = blocks.values_of(p.blocks);
  auto const codes = p.body.template view<typename SumCodec::template code<U>>();
  RUBATO_EXPECTS(codes.size() == covered.size(), "a patch holds a code for each value of its blocks");
  auto sums = backend.template allocate<U>(covered.size());
  expanded_body result;
  auto const* const known = box.newest();
  for (auto block = p.blocks.begin; block < p.blocks.end; ++block) {
    if (Kind == channel_kind::state && !(p.number_of(block) > box.newest_number(block))) continue;
    auto const r = blocks.values_of({block, block + 1});
    auto const at = r.begin - covered.begin;
    auto const in_reach = codec.decode(backend, codes.data() + at, known == nullptr ? nullptr : known + r.begin,
                                       r.size(), sums.data() + at);
    if (!in_reach && !result.beyond) result.beyond = block;
  }
  result.body = std::move(sums).publish();
  return result;
}

}  // namespace rubato::detail
