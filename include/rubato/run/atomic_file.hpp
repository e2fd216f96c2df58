// SPDX-License-Identifier: MIT
// Files are written aside and renamed when they are complete, so a file that exists is a whole one.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato {

namespace detail {

inline auto reason(int error) -> std::string { return std::generic_category().message(error); }

/// Creates a new file of this name. It never opens an existing file, nor follows a link that somebody planted. Null on
/// failure, as fopen.
inline auto new_file(std::filesystem::path const& path) -> std::FILE* {
  static_cast<void>(std::remove(path.c_str()));
  return std::fopen(path.c_str(), "wbx");
}

/// Syncs `at` to the disk. Returns 0, or an errno.
inline auto sync_folder(std::filesystem::path const& at) -> int {
  auto const folder = ::open(at.empty() ? "." : at.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return errno;
  auto const error = ::fsync(folder) == 0 ? 0 : errno;
  ::close(folder);
  return error;
}

struct made_folder {
  std::error_code error{};  ///< empty if the folder exists
  int unsynced = 0;         ///< the errno because of which a new folder may not survive a loss of power
};

/// Creates a folder and its parents if they are missing, and syncs each new one to the disk.
inline auto make_folder(std::filesystem::path const& folder) -> made_folder {
  auto made = made_folder{};
  std::vector<std::filesystem::path> hold_new;
  auto ignored = std::error_code{};
  for (auto at = folder; !at.empty() && !std::filesystem::exists(at, ignored); at = at.parent_path()) {
    hold_new.push_back(at.parent_path());
  }
  if (!folder.empty()) std::filesystem::create_directories(folder, made.error);
  if (made.error) return made;
  for (auto const& at : hold_new) {
    if (auto const error = sync_folder(at); error != 0) made.unsynced = error;
  }
  return made;
}

/// Whether `text` is the id of a process that does not exist on this machine.
inline auto names_dead_process(std::string_view text) -> bool {
  auto process = ::pid_t{};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), process);
  if (error != std::errc{} || end != text.data() + text.size() || process <= 0) return false;
  return ::kill(process, 0) != 0 && errno == ESRCH;
}

/// Removes, as far as possible, what killed processes left beside `path`: files whose name is `beginning` followed by
/// the id of such a process.
inline void remove_left_over(std::filesystem::path const& folder, std::string const& beginning) {
  auto error = std::error_code{};
  auto at = std::filesystem::directory_iterator{folder.empty() ? "." : folder, error};
  for (; !error && at != std::filesystem::directory_iterator{}; at.increment(error)) {
    auto const name = at->path().filename().string();
    if (name.compare(0, beginning.size(), beginning) != 0) continue;
    if (names_dead_process(std::string_view{name}.substr(beginning.size()))) ::unlink(at->path().c_str());
  }
}

}  // namespace detail

/// A file that appears at `path` only by commit(), complete; until then it is `partial_path()`, in the same folder, and
/// whatever stood at `path` before stays as it is. Missing folders are created. What a killed process of this machine
/// left of the same file is removed when the next one is created. Every failure throws run_error, whose sentence names
/// path and reason, and leaves nothing behind. There is one exception: the file may be complete while it is not known
/// whether it survives a loss of power.
/// **Thread safety:** distinct objects of distinct paths are independent.
class atomic_file {
 public:
  explicit atomic_file(std::filesystem::path path)
      : path_{std::move(path)}, partial_{path_.string() + ".partial." + std::to_string(::getpid())} {
    auto const folder = detail::make_folder(path_.parent_path());
    if (folder.error) {
      throw run_error{"the folder of '" + escaped(path_.string()) + "' cannot be created: " + folder.error.message()};
    }
    unsynced_ = folder.unsynced;
    detail::remove_left_over(path_.parent_path(), path_.filename().string() + ".partial.");
    file_ = detail::new_file(partial_);
    if (file_ == nullptr)
      throw run_error{"'" + escaped(path_.string()) + "' cannot be written: " + detail::reason(errno)};
  }
  atomic_file(atomic_file const&) = delete;
  auto operator=(atomic_file const&) -> atomic_file& = delete;
  ~atomic_file() { discard(); }

  /// Appends; requires that commit() was not called.
  void write(std::string_view text) {
    RUBATO_EXPECTS(file_ != nullptr, "a committed or failed file takes no more text");
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail(errno);
  }

  void write(std::span<std::byte const> bytes) {
    write(std::string_view{reinterpret_cast<char const*>(bytes.data()), bytes.size()});
  }

  /// Makes what was written so far readable at partial_path(). Requires that commit() was not called.
  void flush() {
    RUBATO_EXPECTS(file_ != nullptr, "a committed or failed file has nothing to flush");
    if (std::fflush(file_) != 0) fail(errno);
  }

  /// Asks the system to begin writing to the disk, so that a commit with survives::power waits for a shorter time.
  void begin_sync() {
    flush();
#if defined(__linux__)
    static_cast<void>(
        ::sync_file_range(::fileno(file_), 0, 0, SYNC_FILE_RANGE_WRITE));  // a hint: fsync reports failures
#endif
  }

  /// Whether a file that was committed survives a loss of power.
  enum class survives : std::uint8_t { process, power };

  /// Renames the complete file to `path`, over an older one. At most once. With survives::power the file, its folder
  /// and all folders that were created for it are on the disk when this returns.
  void commit(survives what = survives::process) {
    flush();
    auto const durable = what == survives::power;
    if (durable && ::fsync(::fileno(file_)) != 0) fail(errno);
    auto* const file = file_;
    file_ = nullptr;
    if (std::fclose(file) != 0) fail(errno);
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) fail(errno);
    if (!durable) return;
    auto const error = detail::sync_folder(path_.parent_path());
    if (error == 0 && unsynced_ == 0) return;
    throw run_error{"'" + escaped(path_.string()) +
                    "' is written, but its folder cannot be synced, so that a loss of power may undo it: " +
                    detail::reason(error != 0 ? error : unsynced_)};
  }

  [[nodiscard]] auto partial_path() const -> std::filesystem::path const& { return partial_; }

 private:
  [[noreturn]] void fail(int error) {
    discard();
    std::remove(partial_.c_str());
    throw run_error{"'" + escaped(path_.string()) + "' cannot be written: " + detail::reason(error)};
  }

  void discard() noexcept {
    if (file_ == nullptr) return;
    std::fclose(file_);
    file_ = nullptr;
    std::remove(partial_.c_str());
  }

  std::filesystem::path path_;
  std::filesystem::path partial_;
  std::FILE* file_ = nullptr;
  int unsynced_ = 0;  // an errno, of folders that were created
};

/// Writes a whole file aside and renames it. Throws run_error.
inline void write_file(std::filesystem::path const& path, std::string_view text) {
  auto file = atomic_file{path};
  file.write(text);
  file.commit();
}

/// Throws config_error if a file could not be written to this path. So a run does not end with a result that has no
/// place.
inline void ensure_replaceable(std::filesystem::path const& file) {
  auto error = std::error_code{};
  if (!std::filesystem::exists(file, error) || std::filesystem::is_regular_file(file, error)) return;
  throw config_error{"'" + escaped(file.string()) +
                     "' is in the way of a result and is no plain file: move it, or give another folder"};
}

/// Throws config_error if the disk of that folder, which need not exist yet, has less room than so many bytes.
inline void ensure_space(std::filesystem::path const& folder, std::uint64_t bytes) {
  auto error = std::error_code{};
  auto at = std::filesystem::absolute(folder, error);
  while (!std::filesystem::exists(at, error) && at.has_parent_path() && at != at.parent_path()) at = at.parent_path();
  auto const space = std::filesystem::space(at, error);
  auto const is_disk = !error && space.capacity > 0;  // /proc is none
  if (!is_disk || space.available >= bytes) return;  // what cannot be told is told by the file that cannot be written
  throw config_error{"the disk of '" + escaped(folder.string()) + "' has room for " + std::to_string(space.available) +
                     " bytes, and the files of this run need at least " + std::to_string(bytes) +
                     " bytes: give another folder"};
}

/// Creates the folder if it is missing, and tests it with a small file that is removed at once. So a run does not end
/// with results that have no place. Throws config_error.
inline void ensure_writable_folder(std::filesystem::path const& folder) {
  if (folder.empty()) throw config_error{"the output folder has no name: give one, or '.' for the present folder"};
  auto error = std::error_code{};
  if (std::filesystem::exists(folder, error) && !std::filesystem::is_directory(folder, error))
    throw config_error{"the output folder '" + escaped(folder.string()) +
                       "' is a file: give a folder that can be written to"};
  auto const made = detail::make_folder(folder);  // what cannot be synced is said of the files that lie in it
  if (made.error) {
    throw config_error{"the output folder '" + escaped(folder.string()) + "' cannot be created (" +
                       made.error.message() + "): give one that can be written to"};
  }
  static std::atomic<unsigned> probes{0};  // threads of one process may try one folder at a time
  auto const probe = folder / (".rubato.partial." + std::to_string(::getpid()) + "." + std::to_string(probes++));
  auto* const file = detail::new_file(probe);
  if (file == nullptr) {
    throw config_error{"the output folder '" + escaped(folder.string()) + "' cannot be written to (" +
                       detail::reason(errno) + "): give another one"};
  }
  auto const text = std::string(4096, ' ');
  auto const written = std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
  auto const why = errno;
  std::fclose(file);
  std::remove(probe.c_str());
  if (written) return;
  throw config_error{"the output folder '" + escaped(folder.string()) + "' cannot be written to (" +
                     detail::reason(why) + "): give another one"};
}

}  // namespace rubato
