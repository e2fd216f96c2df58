// SPDX-License-Identifier: MIT
// A folder for temporary files that no other user can enter or guess. It disappears with its owner, however that ends:
// a separate process, which no signal to the owner reaches, waits for that and removes what is left.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <rubato/core/errors.hpp>

namespace rubato::examples {

class private_folder {
 public:
  /// `name` is the start of the folder's name, and `also(folder)` removes what belongs to it elsewhere, again and again
  /// if need be. Throws config_error if no folder can be made. Call it before any thread is started.
  explicit private_folder(std::string const& name, void (*also)(std::string const& folder) = nullptr) : also_{also} {
    auto error = std::error_code{};
    path_ = (std::filesystem::temp_directory_path(error) / (name + "-XXXXXX")).string();
    if (!error && mkdtemp(path_.data()) == nullptr) error = {errno, std::generic_category()};
    if (error)
      throw config_error{"there is no folder for temporary files: " + error.message() + "; name one in TMPDIR"};
    watch();
  }
  private_folder(private_folder const&) = delete;
  auto operator=(private_folder const&) -> private_folder& = delete;
  ~private_folder() {
    remove();
    if (open_ >= 0) close(open_);
  }

  /// Removes what is in it, and what belongs to it elsewhere.
  void clear() const {
    auto ignored = std::error_code{};
    for (auto const& each : std::filesystem::directory_iterator{path_, ignored})
      std::filesystem::remove_all(each.path(), ignored);
    if (also_ != nullptr) also_(path_);
  }
  [[nodiscard]] auto path(std::string const& name) const -> std::string { return path_ + "/" + name; }

 private:
  void remove() const {
    auto ignored = std::error_code{};
    std::filesystem::remove_all(path_, ignored);
    if (also_ != nullptr) also_(path_);
  }

  /// Forks twice, so that the watcher is no child of the owner. If that fails, only the destructor removes the folder.
  void watch() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    auto const id = fork();
    if (id == 0) {
      close(ends[1]);
      if (setsid() < 0 || fork() != 0) _exit(0);
      await_end(ends[0]);
    }
    close(ends[0]);
    if (id > 0) waitpid(id, nullptr, 0);
    open_ = ends[1];
  }

  /// The other end of the pipe closes with its owner. Processes that die with the owner may still write for a moment.
  [[noreturn]] void await_end(int end) const {
    auto const nowhere = open("/dev/null", O_RDWR);
    for (auto const stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nowhere, stream);
    char byte = 0;
    while (read(end, &byte, 1) < 0 && errno == EINTR) {
    }
    auto const least = also_ == nullptr ? 0 : 10;
    for (auto tries = 0; tries < least || (tries < 100 && access(path_.c_str(), F_OK) == 0); ++tries) {
      remove();
      usleep(20'000);
    }
    _exit(0);
  }

  std::string path_;
  void (*also_)(std::string const& folder) = nullptr;
  int open_ = -1;
};

}  // namespace rubato::examples
