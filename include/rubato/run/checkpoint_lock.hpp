// SPDX-License-Identifier: MIT
// Keeps two runs from saving into one folder: whoever saves a node there holds a lock on that node's line of the
// folder's file `lock`. The system drops it when its process ends, however that ends.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/stop_token.hpp>

namespace rubato {

/// The right to save some nodes in the folder of checkpoints, held until destruction.
/// **Thread safety:** one owner. Two of one process exclude each other too (Linux). Elsewhere only those of different
/// processes do, and a process drops all locks that it has in a folder as soon as it asks for a holder() there or
/// destroys another checkpoint_lock of that folder: ask before you take, and take once.
class checkpoint_lock {
 public:
  checkpoint_lock() = default;
  checkpoint_lock(checkpoint_lock const&) = delete;
  auto operator=(checkpoint_lock const&) -> checkpoint_lock& = delete;
  ~checkpoint_lock() {
    if (file_ >= 0) ::close(file_);
  }

  /// To be called once, where the folder exists: in one that is missing it holds nothing. A run that resumes waits for
  /// others that hold a lock on one of these nodes, such as processes of a former life of the run that save their last
  /// state, for `o.wait` at most. Then, and at once where a run begins anew, it throws config_error, which names the
  /// folder and who holds the lock (after a second at least if the system does not name who). False if `stop` was
  /// requested meanwhile.
  [[nodiscard]] auto take(checkpoint_options const& o, range nodes, stop_token const& stop = {}) -> bool {
    return take_lines(o, {nodes.begin + 1, nodes.end + 1}, stop);
  }
  /// The same for whoever starts the processes of a whole run, which save its nodes themselves.
  [[nodiscard]] auto take_run(checkpoint_options const& o, stop_token const& stop = {}) -> bool {
    return take_lines(o, {0, 1}, stop);
  }
  /// Who saves one of these nodes in the folder now, in words such as "node 2: process 4711 on host"; empty: nobody, as
  /// far as can be told.
  [[nodiscard]] static auto holder(checkpoint_options const& o, range nodes) -> std::string {
    return holder_in(o, {nodes.begin + 1, nodes.end + 1});
  }
  /// Likewise, who has taken the run.
  [[nodiscard]] static auto holder_of_run(checkpoint_options const& o) -> std::string { return holder_in(o, {0, 1}); }
  /// Throws config_error with the sentence of take().
  [[noreturn]] static void refuse(checkpoint_options const& o, std::string const& who) {
    throw config_error{"another run saves into '" + escaped(o.folder.string()) + "' (" + who +
                       "): wait until it has ended, or give another folder"};
  }
  /// A sentence if the file cannot be opened or the system cannot lock files there; empty: it can.
  [[nodiscard]] auto remark() const -> std::string const& { return remark_; }

 private:
  static constexpr std::size_t line_bytes = 64;

  [[nodiscard]] static auto file_in(checkpoint_options const& o) -> std::filesystem::path { return o.folder / "lock"; }

  /// Locks of an open file where there are such; else those of a process.
  [[nodiscard]] static auto control(int file, bool take, struct flock& at) -> bool {
#if defined(F_OFD_SETLK)
    return ::fcntl(file, take ? F_OFD_SETLK : F_OFD_GETLK, &at) == 0;
#else
    return ::fcntl(file, take ? F_SETLK : F_GETLK, &at) == 0;
#endif
  }
  [[nodiscard]] static auto span_of(range lines) -> struct flock {
    struct flock at{};
    at.l_type = F_WRLCK;
    at.l_whence = SEEK_SET;
    at.l_start = static_cast<off_t>(lines.begin * line_bytes);
    at.l_len = static_cast<off_t>(lines.size() * line_bytes);
    return at;
  }

  [[nodiscard]] auto
  take_lines(checkpoint_options const& o, range lines, stop_token const& stop) -> bool {
    RUBATO_EXPECTS(file_ < 0, "a lock is taken once");
    file_ = ::open(file_in(o).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (file_ < 0) {
      if (errno != ENOENT && errno != ENOTDIR) remark_ = words_of_none(o, errno);
      return true;
    }
    auto const first = std::chrono::steady_clock::now();
    auto const latest = first + (o.resume ? o.wait : std::chrono::nanoseconds{});
    for (auto at = span_of(lines); !control(file_, true, at); at = span_of(lines)) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EACCES) {
        remark_ = words_of_none(o, errno);
        return true;
      }
      if (stop.stop_requested()) return false;
      auto const who = holder_of(file_, lines);
      auto const now = std::chrono::steady_clock::now();
      if (!who.empty() && now >= latest) refuse(o, who);
      // The holder may have ended meanwhile; a system that never names one would be asked for ever.
      if (now >= (std::max)(latest, first + std::chrono::seconds{1})) refuse(o, "another process");
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    for (auto i = lines.begin; i < lines.end; ++i) sign(i);
    return true;
  }
  [[nodiscard]] static auto words_of_none(checkpoint_options const& o, int why) -> std::string {
    return "'" + escaped(o.folder.string()) + "' cannot be locked (" + detail::reason(why) +
           "): nothing keeps another run from saving there too";
  }
  /// Writes who this is into a line that it holds, for those who find it locked.
  void sign(std::size_t line) const {
    std::array<char, line_bytes> host{};
    static_cast<void>(::gethostname(host.data(), host.size() - 1));
    auto text = (line == 0 ? "the run" : "node " + std::to_string(line - 1)) + ": process " +
                std::to_string(::getpid()) + " on " + host.data();
    text.resize(line_bytes - 1, ' ');
    text += '\n';
    static_cast<void>(!::pwrite(file_, text.data(), text.size(), static_cast<off_t>(line * line_bytes)));
  }
  [[nodiscard]] static auto holder_in(checkpoint_options const& o, range lines) -> std::string {
    auto const file = ::open(file_in(o).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return {};
    auto who = holder_of(file, lines);
    ::close(file);
    return who;
  }
  [[nodiscard]] static auto holder_of(int file, range lines) -> std::string {
    auto at = span_of(lines);
    if (!control(file, false, at) || at.l_type == F_UNLCK) return {};
    // the lock may begin before these lines
    auto const line = (std::max)(static_cast<std::size_t>(at.l_start) / line_bytes, lines.begin);
    std::string text(line_bytes, ' ');
    auto const read = ::pread(file, text.data(), text.size(), static_cast<off_t>(line * line_bytes));
    text.resize(static_cast<std::size_t>((std::max<::ssize_t>)(read, 0)));
    text = text.substr(0, text.find('\n'));
    text.resize(text.find_last_not_of(' ') + 1);
    return text.empty() ? "a process that has not said its name" : escaped(text);
  }

  int file_ = -1;
  std::string remark_;
};

}  // namespace rubato
