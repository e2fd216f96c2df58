// SPDX-License-Identifier: MIT
#include "../../../examples/support/listener.hpp"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace rubato::test {
namespace {

using lines = std::vector<std::string>;

TEST_CASE("who follows a file gets each line once, when it is whole") {
  scratch_folder const folder{"follower"};
  auto const file = (folder.path() / "output").string();
  auto f = examples::follower{file};
  CHECK(f.next(true) == lines{});  // there is none yet
  std::ofstream out{file};
  auto const add = [&](std::string const& text) { out << text << std::flush; };
  add("one\ntw");
  CHECK(f.next() == lines{"one"});
  CHECK(f.next() == lines{});
  add("o\n\nthree");
  CHECK(f.next() == lines{"two", ""});
  CHECK(f.next(true) == lines{"three"});
  add(std::string(10'000, 'x') + "\nend\n");
  auto const rest = f.next();
  REQUIRE(rest.size() == 2);
  CHECK(rest[0] == "three" + std::string(4091, 'x'));
  CHECK(rest[1] == "end");
}

TEST_CASE("what peers say is passed on once, with the first that says it, and not what is told elsewhere") {
  scratch_folder const folder{"listener"};
  auto const file = [&](char const* name) { return (folder.path() / name).string(); };
  auto heard = examples::listener{{file("0"), file("1")}, examples::speakers::one_a_file, {"told"}};
  lines said;
  auto const hear = [&](bool rest = false) {
    heard.pass_on([&](std::string const& words) { said.push_back(words); }, rest);
    return std::exchange(said, {});
  };
  std::ofstream one{file("0")}, two{file("1")};
  one << "peer: a\npeer: a\nnoise\npeer: this is told\npeer: b\001" << std::flush;
  two << "peer: a\n" << std::flush;
  CHECK(hear() == lines{"node 0: a"});
  CHECK(hear() == lines{});
  CHECK(hear(true) == lines{"node 0: b\\x01"});
  CHECK(heard.has_passed_on("a"));
  CHECK_FALSE(heard.has_passed_on("c"));
  for (auto i = 0; i < 2000; ++i) two << "peer: " << i << "\n";
  two << std::flush;
  auto const many = hear();
  CHECK(many.size() == 999);
  CHECK(many.back() == "what peers say more is left out");
  CHECK(hear(true) == lines{});
}

TEST_CASE("one loss of a node is passed on once, however its neighbours put it, and again once it was back") {
  scratch_folder const folder{"listener"};
  auto const file = (folder.path() / "output").string();
  auto heard = examples::listener{{file}, examples::speakers::unknown, {}};
  lines said;
  std::ofstream out{file};
  auto const says = [&](std::string const& sentence) {
    out << "peer: " << sentence << "\n" << std::flush;
    heard.pass_on([&](std::string const& words) { said.push_back(words); });
    return std::exchange(said, {}).size();
  };
  CHECK(says("after 1.2 s: node 2 at 127.0.0.1:7 is gone: End of file") == 1);
  CHECK(says("after 1.31 s: node 2 at 127.0.0.1:7 is gone: Connection reset by peer") == 0);
  CHECK(says("after 1.4 s: node 2 is gone: its process has ended") == 0);
  CHECK(says("after 1.4 s: node 21 is gone: its process has ended") == 1);
  CHECK(says("node 3 at 127.0.0.1:8 has ended because node 2 is gone") == 1);
  CHECK(says("after 2 s: node 2 at 127.0.0.1:7 has come back") == 1);
  CHECK(says("after 2.1 s: node 2 has come back") == 0);
  CHECK(says("after 3 s: node 2 is gone: it has been silent for 1 s") == 1);
  CHECK(says("after 4 s: a checkpoint failed: no space") == 1);
  CHECK(heard.has_passed_on("a checkpoint failed: no space"));
  CHECK(says("node 2 at 127.0.0.1") == 1);
}

}  // namespace
}  // namespace rubato::test
