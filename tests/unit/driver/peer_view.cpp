// SPDX-License-Identifier: MIT
#include <rubato/driver/detail/peer_view.hpp>

#include <array>
#include <string>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

TEST_CASE("a node that has resumed awaits its peers until they come, and has lost those that go then") {
  constexpr auto peer = node_id{1};
  detail::peer_neighbours others;
  others.of(peer).here = true;  // it had come before this node began
  others.resume(std::array{peer});
  CHECK(detail::standing_of(others, peer) == standing::awaited);
  CHECK(!others.comes_back(peer));
  CHECK(detail::standing_of(others, peer) == standing::here);
  CHECK(others.lose(peer, instant{}, "it is gone"));
  CHECK(detail::standing_of(others, peer) == standing::lost);
  CHECK(others.comes_back(peer));
  others.of(peer).waits = true;
  CHECK(detail::standing_of(others, peer) == standing::waiting);
  others.leaves(peer, instant{});
  CHECK(detail::standing_of(others, peer) == standing::left);
}

}  // namespace
}  // namespace rubato::test
