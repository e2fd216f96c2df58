// SPDX-License-Identifier: MIT
#include "../../../examples/support/private_folder.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

namespace rubato::test {
namespace {

namespace fs = std::filesystem;

/// Where temporary folders are made while it lives.
class temporary_folders_in {
 public:
  explicit temporary_folders_in(std::string const& path) {
    if (auto const* const given = std::getenv("TMPDIR")) former_ = given;
    ::setenv("TMPDIR", path.c_str(), 1);
  }
  temporary_folders_in(temporary_folders_in const&) = delete;
  auto operator=(temporary_folders_in const&) -> temporary_folders_in& = delete;
  ~temporary_folders_in() {
    if (former_.empty()) ::unsetenv("TMPDIR");
    else ::setenv("TMPDIR", former_.c_str(), 1);
  }

 private:
  std::string former_;
};

TEST_CASE(
    "a private folder is accessible to its owner only, has a new name each time, and is removed with its contents") {
  scratch_folder const scratch{"private"};
  temporary_folders_in const here{scratch.path().string()};
  {
    examples::private_folder const one{"it"}, other{"it"};
    CHECK(one.path("x") != other.path("x"));
    struct stat its{};
    REQUIRE(::stat(one.path("").c_str(), &its) == 0);
    CHECK((its.st_mode & 0777U) == 0700U);
    std::ofstream{one.path("file")} << "text";
    CHECK(scratch.files() == 3);
  }
  CHECK(scratch.files() == 0);
}

TEST_CASE("a private folder that is cleared is there, empty, and what belongs to it elsewhere is gone") {
  scratch_folder const scratch{"private"};
  temporary_folders_in const here{scratch.path().string()};
  static auto cleared = 0;
  examples::private_folder const its{"it", [](std::string const&) { ++cleared; }};
  std::ofstream{its.path("file")} << "text";
  fs::create_directories(its.path("folder/in"));
  its.clear();
  CHECK(fs::is_empty(its.path("")));
  CHECK(cleared == 1);
}

TEST_CASE("a private folder is also removed when its owner is ended by a signal that cannot be caught") {
  scratch_folder const scratch{"private"};
  temporary_folders_in const here{scratch.path().string()};
  auto const owner = fork();
  if (owner == 0) {
    examples::private_folder const its{"it"};
    std::ofstream{its.path("file")} << "text";
    ::raise(SIGKILL);
  }
  auto status = 0;
  REQUIRE(::waitpid(owner, &status, 0) == owner);
  REQUIRE(WIFSIGNALED(status));
  auto const latest = std::chrono::steady_clock::now() + std::chrono::seconds{60};
  while (!fs::is_empty(scratch.path()) && std::chrono::steady_clock::now() < latest) std::this_thread::yield();
  CHECK(scratch.files() == 0);
}

TEST_CASE("if there is no place for temporary files, the sentence says what to do") {
  temporary_folders_in const nowhere{"/nowhere"};
  CHECK(says(refusal([] { examples::private_folder const its{"it"}; }), "name one in TMPDIR"));
}

}  // namespace
}  // namespace rubato::test
