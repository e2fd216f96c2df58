// SPDX-License-Identifier: MIT
#include <rubato/wire/agreement.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <rubato/wire/hello.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace rubato::test {
namespace {

auto options(std::string const& seed) -> wire::agreement {
  wire::agreement a;
  a.add("dimension", 7).add("seed", seed).add("algorithm", "r_fast");
  return a;
}

TEST_CASE("equal options have one run id, and a different option is named with both values") {
  CHECK(options("1").id() == options("1").id());
  CHECK(options("1").id() != options("2").id());
  CHECK(wire::difference(options("1").text(), options("1").text(), "node 2").empty());
  CHECK(wire::difference(options("1").text(), options("2").text(), "node 2") ==
        "node 2 has seed 2, but this node has 1");
}

TEST_CASE("where algorithms differ, they are named, and nothing that follows from them") {
  CHECK(wire::difference("nodes=4\nchannel model=float32\nalgorithm=EXTRA\n",
                         "nodes=5\nchannel model=float64\nalgorithm=R-FAST\n",
                         "node 2") == "node 2 has algorithm R-FAST, but this node has EXTRA");
}

TEST_CASE("options that only one side has, or in another order, are a difference") {
  auto more = options("1");
  more.add("m", 4);
  CHECK(wire::difference(more.text(), options("1").text(), "node 2") == "node 2 says nothing of m, which is 4 here");
  CHECK(wire::difference(options("1").text(), more.text(), "node 2") ==
        "node 2 has m=4, which this node does not know");
  CHECK_FALSE(wire::difference("a=1\nb=2\n", "b=2\na=1\n", "node 2").empty());
  CHECK_FALSE(wire::difference("a=1\n", "a=1\na=1\n", "node 2").empty());
}

TEST_CASE("text from a stranger in place of options is shown without control characters, and truncated") {
  auto const sentence = wire::difference("seed=1\n", "seed=\x1b[2J" + std::string(500, 'x') + "\n", "node 2");
  CHECK(says(sentence, "seed \\x1b[2Jxxx"));
  CHECK(sentence.size() < 160);
  CHECK(says(refusal([] { wire::agreement{}.add("long", std::string(20'000, 'x')); }), "16 KiB"));
}

TEST_CASE("a hello is decoded as it was encoded, and every wrong bit is detected") {
  auto const text = options("1").text();
  auto const bytes = wire::encode_hello({options("1").id(), node_id{3}, node_id{70'000}, 5, -17, 0, 0}, text);
  REQUIRE(bytes.size() == wire::hello_bytes + text.size());
  auto const said = [&](std::vector<std::byte> const& b) {
    auto const head = std::span{b}.first<wire::hello_bytes>();
    auto const rest = std::string_view{reinterpret_cast<char const*>(b.data()) + wire::hello_bytes, text.size()};
    auto who = wire::decode_hello(head);
    return who && who->text_bytes == text.size() && wire::is_intact(head, rest) ? who : std::nullopt;
  };
  auto const who = said(bytes);
  REQUIRE(who);
  CHECK(who->run == options("1").id());
  CHECK(who->from == node_id{3});
  CHECK(who->to == node_id{70'000});
  CHECK(who->session == 5);
  CHECK(who->clock_began == -17);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    INFO("bit " << bit);
    REQUIRE_FALSE(said(flipped));
  }
}

TEST_CASE("a hello whose run id does not match its text is damaged, and one that announces too much is refused") {
  auto const text = options("1").text();
  auto const forged = wire::encode_hello({1, {}, {}, 0, 0, 0, 0}, text);
  CHECK_FALSE(wire::is_intact(std::span{forged}.first<wire::hello_bytes>(), text));
  auto const huge = wire::encode_hello({}, std::string(wire::agreement::most_bytes + 1, 'x'));
  CHECK_FALSE(wire::decode_hello(std::span{huge}.first<wire::hello_bytes>()));
}

}  // namespace
}  // namespace rubato::test
