// SPDX-License-Identifier: MIT
#include <rubato/run/atomic_file.hpp>

#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/full_disk.hpp"
#include "support/scratch_folder.hpp"

namespace {

/// What was synced, by name; and the folder that the disk does not sync.
auto synced() -> std::vector<std::string>& {
  static std::vector<std::string> names;
  return names;
}
auto unsyncable() -> std::string& {
  static std::string name;
  return name;
}

}  // namespace

/// Stands before the system's own.
extern "C" auto fsync(int file) -> int {
  auto error = std::error_code{};
  auto const name = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file), error).string();
  synced().push_back(name);
  if (name != unsyncable() || name.empty()) return static_cast<int>(::syscall(SYS_fsync, file));
  errno = EIO;
  return -1;
}

namespace {

using namespace rubato;
using rubato::test::content_of;
using rubato::test::full_disk;
using rubato::test::scratch_folder;

/// The sentence of the error that `act` throws; empty if it throws none.
template<class Error, class Act>
auto sentence_of(Act act) -> std::string {
  try {
    act();
  } catch (Error const& error) {
    return error.what();
  }
  return {};
}

TEST_CASE("the temporary file is always a new file, whatever link was planted under its name") {
  auto const folder = scratch_folder{"planted"};
  auto const path = folder.path() / "race.csv";
  auto const precious = folder.path() / "precious";
  write_file(precious, "keep me");
  auto const aside = path.string() + ".partial." + std::to_string(::getpid());
  std::filesystem::create_symlink(precious, aside);
  write_file(path, "text");
  CHECK(content_of(precious) == "keep me");
  CHECK(content_of(path) == "text");
  CHECK_FALSE(std::filesystem::is_symlink(path));
  std::filesystem::create_symlink(precious, folder.path() / (".rubato.partial." + std::to_string(::getpid())));
  ensure_writable_folder(folder.path());
  CHECK(content_of(precious) == "keep me");
}

TEST_CASE("a file appears when it is committed, whole, in folders that are created for it") {
  auto const folder = scratch_folder{"commit"};
  auto const path = folder.path() / "a" / "b" / "race.csv";
  auto file = atomic_file{path};
  file.write("one ");
  file.write("two");
  CHECK_FALSE(std::filesystem::exists(path));
  file.commit();
  CHECK(content_of(path) == "one two");
  CHECK(folder.files() == 3);  // a, b, race.csv
}

TEST_CASE("leftovers of a killed process are removed when the next file is made, and files of others stay") {
  auto const folder = scratch_folder{"left_over"};
  auto const path = folder.path() / "race.csv";
  auto const dead = ::fork();
  if (dead == 0) {
    auto* const file = new atomic_file{path};  // never destroyed
    file->write("half");
    file->flush();
    ::_exit(0);
  }
  REQUIRE(::waitpid(dead, nullptr, 0) == dead);
  auto const aside = [&](std::string const& end) { return folder.path() / ("race.csv.partial." + end); };
  REQUIRE(std::filesystem::exists(aside(std::to_string(dead))));
  auto const other = folder.path() / ("other.partial." + std::to_string(dead));
  auto const kept = {aside("1"), aside("mine"), aside("-1"), aside(""), other};
  for (auto const& name : kept) std::ofstream{name} << "text";
  write_file(path, "whole");
  CHECK_FALSE(std::filesystem::exists(aside(std::to_string(dead))));
  for (auto const& name : kept) CHECK(content_of(name) == "text");
  CHECK(content_of(path) == "whole");
}

TEST_CASE("if a file survives a loss of power, so do all folders created for it") {
  auto const folder = scratch_folder{"power"};
  auto const has = [](std::filesystem::path const& name) {
    return std::count(synced().begin(), synced().end(), std::filesystem::canonical(name).string()) > 0;
  };
  synced().clear();
  ensure_writable_folder(folder.path() / "out");
  CHECK(has(folder.path()));
  synced().clear();
  auto file = atomic_file{folder.path() / "out" / "a" / "b" / "node"};
  file.write("text");
  file.commit(atomic_file::survives::power);
  CHECK(has(folder.path() / "out"));
  CHECK(has(folder.path() / "out" / "a"));
  CHECK(has(folder.path() / "out" / "a" / "b"));
  CHECK_FALSE(has(folder.path()));
}

TEST_CASE("a written file whose folder cannot be synced is in place, and the sentence says so") {
  auto const folder = scratch_folder{"unsynced"};
  auto const in_new_folder = GENERATE(false, true);
  auto const path = folder.path() / (in_new_folder ? "new/node" : "node");
  unsyncable() = std::filesystem::canonical(folder.path()).string();
  auto const sentence = sentence_of<run_error>([&] {
    auto file = atomic_file{path};
    file.write("text");
    file.commit(atomic_file::survives::power);
  });
  unsyncable().clear();
  CHECK(sentence.find(path.string() + "' is written, but its folder cannot be synced, ") != std::string::npos);
  CHECK(sentence.find("Input/output error") != std::string::npos);
  CHECK(content_of(path) == "text");
}

TEST_CASE("an exception leaves the earlier file as it was and nothing beside it") {
  auto const folder = scratch_folder{"exception"};
  auto const path = folder.path() / "race.csv";
  write_file(path, "earlier");
  auto const interrupted = [&] {
    auto file = atomic_file{path};
    file.write("half");
    throw std::runtime_error{"interrupted"};
  };
  CHECK_THROWS_AS(interrupted(), std::runtime_error);
  CHECK(content_of(path) == "earlier");
  CHECK(folder.files() == 1);
}

TEST_CASE("a full disk is reported in a sentence that names the file, and no partial file stays") {
  auto const folder = scratch_folder{"full"};
  auto const path = folder.path() / "race.csv";
  auto const sentence = sentence_of<run_error>([&] {
    auto const disk = full_disk{1000};
    write_file(path, std::string(100000, 'x'));
  });
  CHECK(sentence.find(path.string() + "' cannot be written: ") != std::string::npos);
  CHECK(folder.files() == 0);
}

TEST_CASE("a folder on a full disk, or on one with less room than a run needs, is refused") {
  auto const folder = scratch_folder{"space"};
  CHECK(sentence_of<config_error>([&] {
          auto const disk = full_disk{1000};
          ensure_writable_folder(folder.path());
        }).find("'" + folder.path().string() + "' cannot be written to") != std::string::npos);
  CHECK(folder.files() == 0);
  ensure_space(folder.path() / "not" / "there", 1);
  auto const sentence =
      sentence_of<config_error>([&] { ensure_space(folder.path() / "not" / "there", std::uint64_t{1} << 62); });
  CHECK(sentence.find("the disk of '" + (folder.path() / "not" / "there").string() + "' has room for ") == 0);
  CHECK(sentence.find("and the files of this run need at least 4611686018427387904 bytes") != std::string::npos);
  if (std::filesystem::exists("/proc/self")) ensure_space("/proc/none", 1);  // no disk, of which nothing can be said
  CHECK(folder.files() == 0);
}

TEST_CASE("a path below a file, or that is a folder, cannot be written") {
  auto const folder = scratch_folder{"below"};
  write_file(folder.path() / "file", "");
  auto const below = folder.path() / "file" / "race.csv";
  CHECK(sentence_of<run_error>([&] { write_file(below, "x"); }).find(below.string()) != std::string::npos);
  std::filesystem::create_directory(folder.path() / "race.csv");
  CHECK_THROWS_AS(write_file(folder.path() / "race.csv", "x"), run_error);
  CHECK(folder.files() == 2);
}

TEST_CASE("an output folder is created and tested before a run, and left empty") {
  auto const folder = scratch_folder{"tried"};
  ensure_writable_folder(folder.path() / "out" / "deep");
  CHECK(std::filesystem::is_directory(folder.path() / "out" / "deep"));
  CHECK(folder.files() == 2);
}

TEST_CASE("an output folder that cannot be written to is refused with a sentence that names it") {
  auto const folder = scratch_folder{"refused"};
  auto const file = folder.path() / "file";
  write_file(file, "");
  auto const refusal = [](auto const& path) {
    return sentence_of<config_error>([&] { ensure_writable_folder(path); });
  };
  CHECK(refusal(file) == "the output folder '" + file.string() + "' is a file: give a folder that can be written to");
  CHECK(refusal(file / "out").find((file / "out").string() + "' cannot be created") != std::string::npos);
  CHECK(refusal(std::filesystem::path{"/proc/rubato"}).find("'/proc/rubato'") != std::string::npos);
  CHECK(refusal(std::filesystem::path{}).find("has no name") != std::string::npos);
}

}  // namespace
