// SPDX-License-Identifier: MIT
#include <rubato/report/access_token.hpp>

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

namespace rubato::test {
namespace {

TEST_CASE("a token is 32 digits, and no other one is it") {
  auto const token = report::new_token();
  CHECK(token.size() == 32);
  CHECK(token.find_first_not_of("0123456789abcdef") == token.npos);
  CHECK(report::new_token() != token);
  CHECK(report::is_token(token, token));
  CHECK(!report::is_token("", token));
  CHECK(!report::is_token(token, ""));
  CHECK(!report::is_token("", ""));
  CHECK(!report::is_token(token + token, token));
  CHECK(!report::is_token(token.substr(1), token));
  for (std::size_t i = 0; i < token.size(); ++i) {
    auto other = token;
    other[i] = other[i] == '0' ? '1' : '0';
    CHECK(!report::is_token(other, token));
  }
}

TEST_CASE("the first of many processes makes the token file, and all have one token") {
  scratch_folder const folder{"token"};
  auto const file = folder.path() / "status.token";
  std::vector<std::string> all(8);
  {
    std::vector<std::jthread> threads;
    for (auto& each : all) threads.emplace_back([&] { each = report::token_in(file); });
  }
  CHECK(std::set<std::string>{all.begin(), all.end()}.size() == 1);
  struct stat is{};
  REQUIRE(::stat(file.c_str(), &is) == 0);
  CHECK((is.st_mode & 0777) == 0600);
  CHECK(folder.files() == 1);
}

TEST_CASE("a token file that others can read, or that holds something else, is refused") {
  scratch_folder const folder{"token"};
  auto const file = folder.path() / "status.token";
  auto const said = [&] { return refusal([&] { static_cast<void>(report::token_in(file)); }); };
  static_cast<void>(report::token_in(file));
  std::filesystem::permissions(file, std::filesystem::perms::group_read, std::filesystem::perm_options::add);
  CHECK(says(said(), "is open to other users"));
  std::filesystem::permissions(file, std::filesystem::perms{0600});
  for (auto const& text : {std::string{}, std::string(64, 'a'), std::string(32, 'A'), std::string(31, 'a')}) {
    std::ofstream{file} << text << '\n';
    CHECK(says(said(), "holds no token"));
  }
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  CHECK(says(said(), "is not a file"));
  CHECK(says(refusal([&] { static_cast<void>(report::token_in(folder.path() / "nowhere" / "token")); }),
             "cannot be made: No such file or directory"));
}

}  // namespace
}  // namespace rubato::test
