// SPDX-License-Identifier: MIT
// Memory with a name that processes of one machine share, who holds it, and the two kinds of it that
// transport/shared_memory.hpp uses: a door for each node, at which it is woken, and a link for each session of an edge.
#pragma once

#if !defined(__linux__)
#error "transport::shared_memory needs Linux: futexes between processes, and locks of open files"
#endif

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/shared_memory_object.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/memory_ring.hpp>
#include <rubato/wire/frame.hpp>
#include <rubato/wire/hello.hpp>

namespace rubato::transport::detail {

// --- names

inline constexpr auto shared_memory_folder = "/dev/shm";
/// All names of a run begin with this. Users do not share names.
inline auto memory_prefix(std::string const& run) -> std::string {
  return "rubato-" + std::to_string(::geteuid()) + "-" + run + ":";
}
inline auto door_name(std::string const& run, node_id id) -> std::string {
  return memory_prefix(run) + "node-" + std::to_string(to_index(id));
}
inline auto link_name(std::string const& run, node_id caller, node_id callee) -> std::string {
  return memory_prefix(run) + "edge-" + std::to_string(to_index(caller)) + "-" + std::to_string(to_index(callee));
}
inline void refuse_run_name(std::string const& run) {
  auto const may_be = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  };
  if (!run.empty() && run.size() <= 100 && std::all_of(run.begin(), run.end(), may_be)) return;
  throw config_error{"'" + escaped(run, 100) +
                     "' is no name of a run over shared memory: give 1 to 100 letters, digits, '_', '.' and '-'"};
}

/// 64 KiB, 1.5 MiB
inline auto bytes_text(std::uint64_t bytes) -> std::string {
  if (bytes < (1U << 20)) return std::to_string((bytes + 1023) / 1024) + " KiB";
  return shortest(static_cast<double>((bytes * 10 + (1U << 20) - 1) >> 20) / 10) + " MiB";
}

// --- segments

/// Memory with a name, as long as it is removed by nobody, and then without one. A process holds some of its bytes: a
/// lock that goes with its open file, however the process ends, and that two of one process have separately.
/// **Thread safety:** one owner.
class segment {
 public:
  segment() = default;
  segment(segment&& other) noexcept { swap(other); }
  auto operator=(segment&& other) noexcept -> segment& {
    swap(other);
    return *this;
  }
  ~segment() = default;

  /// For this user alone, and held at that byte from the first moment on. Nothing if the name is taken, or somebody who
  /// tidies up was faster; it may still lose its name to such a one. Throws config_error if it cannot be, and leaves no
  /// name then; `all` is how much memory its owner needs in all, for the sentence. All of it is there from now on: a
  /// system that runs out of memory does not end the process later.
  [[nodiscard]] static auto create(std::string const& name, off_t held, std::uint64_t bytes, std::uint64_t all)
      -> std::optional<segment> {
    segment s;
    try {
      s.object_ = object{boost::interprocess::create_only, name.c_str(), boost::interprocess::read_write,
                         boost::interprocess::permissions{0600}};
      s.name_ = name;
    } catch (boost::interprocess::interprocess_exception const& e) {
      if (e.get_error_code() == boost::interprocess::already_exists_error) return std::nullopt;
      refuse(name, e.what());
    }
    if (!s.hold(held)) return std::nullopt;
    auto error = EINTR;
    for (auto tries = 0; error == EINTR && tries < 100; ++tries)
      error = ::posix_fallocate(s.file(), 0, static_cast<off_t>(bytes));
    if (error != 0) {
      auto const left = s.bytes_left();
      object::remove(name.c_str());
      if (error == ENOSPC) refuse_size(all, left);
      refuse(name, std::generic_category().message(error));
    }
    if (auto const why = s.map(bytes); !why.empty()) {
      object::remove(name.c_str());
      refuse(name, why);
    }
    return s;
  }
  /// Not mapped yet. Nothing if there is none that this user has made, and `why` says what there is instead.
  [[nodiscard]] static auto open(std::string const& name, std::string* why = nullptr) -> std::optional<segment> {
    segment s;
    try {
      s.object_ = object{boost::interprocess::open_only, name.c_str(), boost::interprocess::read_write};
      s.name_ = name;
    } catch (boost::interprocess::interprocess_exception const& e) {
      if (why != nullptr && e.get_error_code() != boost::interprocess::not_found_error) *why = e.what();
      return std::nullopt;
    }
    struct stat about{};
    if (::fstat(s.file(), &about) == 0 && about.st_uid == ::geteuid()) return s;
    if (why != nullptr) *why = "another user has made it; give the run another name";
    return std::nullopt;
  }
  /// Why it cannot be, if it cannot: it must have that many bytes, or any number above 0 where that is 0.
  [[nodiscard]] auto map(std::uint64_t bytes) -> std::string {
    struct stat about{};
    if (::fstat(file(), &about) != 0 || about.st_size <= 0) return "it has no bytes";
    if (bytes != 0 && static_cast<std::uint64_t>(about.st_size) != bytes) return "its size is wrong";
    try {
      region_ = boost::interprocess::mapped_region{object_, boost::interprocess::read_write};
    } catch (boost::interprocess::interprocess_exception const& e) {
      return e.what();
    }
    return {};
  }
  [[noreturn]] static void refuse(std::string const& name, std::string const& why) {
    throw config_error{"there can be no shared memory by the name " + escaped(name, 200) + ": " + why};
  }

  /// Holds that byte from now on; false if somebody else does.
  [[nodiscard]] auto hold(off_t byte) -> bool { return lock(F_OFD_SETLK, byte, 1) == F_UNLCK; }
  /// Whether another open file holds that byte.
  [[nodiscard]] auto is_held(off_t byte) const -> bool { return lock(F_OFD_GETLK, byte, 1) != F_UNLCK; }
  /// Whether its name still means this memory.
  [[nodiscard]] auto is_named() const -> bool {
    struct stat mine{}, named{};
    return ::fstat(file(), &mine) == 0 &&
           ::stat((std::string{shared_memory_folder} + "/" + name_).c_str(), &named) == 0 &&
           mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
  }
  /// Whether it was made so long ago, by the system's clock.
  [[nodiscard]] auto is_as_old_as(std::chrono::seconds age) const -> bool {
    struct stat about{};
    return age.count() <= 0 || (::fstat(file(), &about) == 0 && ::time(nullptr) - about.st_mtime > age.count());
  }
  void remove_name() {
    if (is_named()) object::remove(name_.c_str());
  }
  /// Removes the name if nobody holds any byte: what a process left that was killed.
  void remove_left_over() {
    if (lock(F_OFD_SETLK, 0, 0) == F_UNLCK) remove_name();  // nobody can begin to hold it meanwhile
  }

  [[nodiscard]] auto bytes() const -> std::span<std::byte> {
    return {static_cast<std::byte*>(region_.get_address()), region_.get_size()};
  }

 private:
  using object = boost::interprocess::shared_memory_object;

  [[noreturn]] static void refuse_size(std::uint64_t all, std::uint64_t left) {
    throw config_error{"this node needs " + bytes_text(all) + " of shared memory for its edges, and " +
                       shared_memory_folder + " has " + bytes_text(left) +
                       " left: enlarge it (for a container, --shm-size), or give its edges shorter rings"};
  }
  [[nodiscard]] auto file() const -> int { return object_.get_mapping_handle().handle; }
  [[nodiscard]] auto bytes_left() const -> std::uint64_t {
    struct statvfs about{};
    if (::fstatvfs(file(), &about) != 0) return 0;
    return std::uint64_t{about.f_bavail} * about.f_frsize;
  }
  /// The type of lock that is in the way; F_UNLCK: none. `length` 0: all bytes.
  [[nodiscard]] auto lock(int how, off_t byte, off_t length) const -> short {
    struct flock at{};
    at.l_type = F_WRLCK;
    at.l_whence = SEEK_SET;
    at.l_start = byte;
    at.l_len = length;
    auto const done = ::fcntl(file(), how, &at) == 0;
    if (how == F_OFD_GETLK) return done ? at.l_type : static_cast<short>(F_WRLCK);
    return static_cast<short>(done ? F_UNLCK : F_WRLCK);
  }
  void swap(segment& other) noexcept {
    object_.swap(other.object_);
    region_.swap(other.region_);
    name_.swap(other.name_);
  }

  object object_;
  boost::interprocess::mapped_region region_;
  std::string name_;
};

/// Removes what processes of a run by that name left that were killed, and nothing that a live one holds. Where others
/// may be making theirs, only what is at least that old: many that begin at a time would be in each other's way.
inline void remove_left_overs(std::string const& run, std::chrono::seconds least_age) {
  auto none = std::error_code{};
  auto const prefix = memory_prefix(run);
  auto files = std::filesystem::directory_iterator{shared_memory_folder, none};
  std::vector<std::string> names;
  for (; !none && files != std::filesystem::directory_iterator{}; files.increment(none)) {
    auto name = files->path().filename().string();
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  }
  for (auto const& name : names) {
    if (auto s = segment::open(name); s && s->is_as_old_as(least_age)) s->remove_left_over();
  }
}

// --- a door

/// What others see of a node: where it sleeps, and how often it was called.
struct door_words {
  static constexpr std::uint64_t made_of_this_version = 0x31726f6f64627572;  // "rubdoor1"
  static constexpr std::uint64_t bytes = 4096;
  std::atomic<std::uint64_t> made{0};  // this version, once the rest is there
  std::atomic<std::uint64_t> process{0};
  alignas(64) std::atomic<std::uint32_t> bell{0};  // a futex
  std::atomic<std::uint32_t> sleeps{0};  // 1: somebody must ring
  std::atomic<std::uint32_t> calls{0};  // links that were left for it
};

/// Ends the sleep of a door's owner, if it sleeps. Of several that ring, the first makes the system call.
inline void ring(door_words& door) {
  if (door.sleeps.load() == 0 || door.sleeps.exchange(0) == 0) return;
  door.bell.fetch_add(1);
  static_cast<void>(::syscall(SYS_futex, &door.bell, FUTEX_WAKE, 1, nullptr, nullptr, 0));
}

/// A node's own door: as long as it stands, no other process of this machine is the same node of a run by that name.
/// **Thread safety:** one owner; wake() from any thread.
class own_door {
 public:
  static constexpr off_t owner = 0;  // the byte that it holds

  /// Waits for a process that is that node and about to end. Throws config_error.
  own_door(std::string const& run, node_id self, std::chrono::nanoseconds limit) {
    auto const name = door_name(run, self);
    for (auto const latest = later(limit);;) {
      if (auto fresh = segment::create(name, owner, door_words::bytes, door_words::bytes);
          fresh && fresh->is_named()) {  // unless one that tidies up was faster
        segment_ = std::move(*fresh);
        words_ = new (segment_.bytes().data()) door_words;
        words_->process.store(static_cast<std::uint64_t>(::getpid()));
        words_->made.store(door_words::made_of_this_version);
        return;
      }
      auto why = std::string{"others remove it as soon as it is there"};
      if (auto old = segment::open(name, &why)) {
        old->remove_left_over();
        if (clock::now() > latest && old->is_named()) refuse(run, self, *old);
      }
      if (clock::now() > latest) segment::refuse(name, why);
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
  }
  own_door(own_door const&) = delete;
  auto operator=(own_door const&) -> own_door& = delete;
  ~own_door() { segment_.remove_name(); }

  void wake() { ring(*words_); }
  [[nodiscard]] auto calls() const -> std::uint32_t { return words_->calls.load(); }
  /// Sleeps until somebody rings, until `until` at the latest, and not at all if there `is_something_to_do()` now. Who
  /// rings from now on sees that somebody sleeps, or has rung after what was to be done was there to be seen.
  template<class Check>
  void sleep(clock::time_point until, Check is_something_to_do) {
    auto const rung = words_->bell.load();
    words_->sleeps.store(1);
    auto const left = std::chrono::duration_cast<std::chrono::nanoseconds>(until - clock::now()).count();
    if (left > 0 && !is_something_to_do()) {
      struct timespec limit{};
      limit.tv_sec = left / 1'000'000'000;
      limit.tv_nsec = left % 1'000'000'000;
      // Not private to this process. It returns at once if somebody has rung meanwhile.
      static_cast<void>(::syscall(SYS_futex, &words_->bell, FUTEX_WAIT, rung, &limit, nullptr, 0));
    }
    words_->sleeps.store(0);
  }

 private:
  [[noreturn]] static void refuse(std::string const& run, node_id self, segment& held) {
    auto const process = held.map(door_words::bytes).empty()
                             ? reinterpret_cast<door_words const*>(held.bytes().data())->process.load()
                             : std::uint64_t{0};
    throw config_error{"another process is " + to_text(self) + " of a run by the name " + run + " on this machine" +
                       (process == 0 ? "" : ": process " + std::to_string(process)) +
                       "; give this run another name, or end the other one"};
  }

  segment segment_;
  door_words* words_ = nullptr;
};

/// A peer's door, as long as it may be rung at.
class peer_door {
 public:
  /// If it is there, and its owner lives.
  [[nodiscard]] static auto of(std::string const& run, node_id peer) -> std::optional<peer_door> {
    peer_door d;
    auto found = segment::open(door_name(run, peer));
    if (!found || !found->map(door_words::bytes).empty()) return std::nullopt;
    d.segment_ = std::move(*found);
    if (!d.is_there()) return std::nullopt;
    return d;
  }
  /// Whether its owner lives, and has not removed it.
  [[nodiscard]] auto is_there() const -> bool {
    return words().made.load() == door_words::made_of_this_version && segment_.is_held(own_door::owner) &&
           segment_.is_named();
  }
  void wake() { ring(words()); }
  void call() {
    words().calls.fetch_add(1);
    wake();
  }

 private:
  [[nodiscard]] auto words() const -> door_words& { return *reinterpret_cast<door_words*>(segment_.bytes().data()); }
  segment segment_;
};

// --- a link

struct link_words {
  static constexpr std::uint64_t made_of_this_version = 0x316b6e696c627572;  // "rublink1"
  static constexpr std::uint64_t bytes = 4096;  // the rings follow
  std::atomic<std::uint64_t> made{0};
  std::atomic<std::uint64_t> ring_bytes{0};
  /// By end.
  std::array<std::atomic<std::uint32_t>, 2> has_come{};
  std::array<std::atomic<std::uint32_t>, 2> has_gone{};
  std::array<ring_words, 2> rings{};  // that each end writes
};
static_assert(sizeof(link_words) <= link_words::bytes && sizeof(door_words) <= door_words::bytes);

/// One session of an edge, as one of its ends sees it: a stream each way. The caller makes it and gives it a name; the
/// callee takes the name away, so that from then on the memory goes with the two. Each end holds a byte of it, by which
/// the other sees that it lives.
class memory_link {
 public:
  enum class end : std::uint8_t { caller, callee };
  static constexpr std::uint64_t least_ring = std::uint64_t{1} << 15;  // so that it takes any hello
  static constexpr std::uint64_t most_ring = std::uint64_t{1} << 48;

  [[nodiscard]] static auto bytes_for(std::uint64_t ring_bytes) -> std::uint64_t {
    return link_words::bytes + 2 * ring_bytes;
  }

  /// By the caller, which is the only one to make links of that name. Throws config_error; `all` as in segment.
  [[nodiscard]] static auto offered(std::string const& name, std::uint64_t ring_bytes, std::uint64_t all)
      -> std::unique_ptr<memory_link> {
    auto link = std::unique_ptr<memory_link>{new memory_link{end::caller}};
    auto why = std::string{"others remove it as soon as it is there"};
    for (auto tries = 0; tries < 100; ++tries) {  // again only if somebody who tidies up was faster
      if (auto old = segment::open(name, &why)) old->remove_name();  // of a former call, or a former process
      auto fresh = segment::create(name, 0, bytes_for(ring_bytes), all);
      if (!fresh || !fresh->is_named()) continue;
      link->segment_ = std::move(*fresh);
      auto* const words = new (link->segment_.bytes().data()) link_words;
      words->ring_bytes.store(ring_bytes);
      words->has_come[0].store(1);
      link->attach(*words, ring_bytes);
      words->made.store(link_words::made_of_this_version);
      return link;
    }
    segment::refuse(name, why);
  }
  /// By the callee: takes the name away. Nothing if no live caller has left one, or it is damaged.
  [[nodiscard]] static auto taken(std::string const& name) -> std::unique_ptr<memory_link> {
    auto link = std::unique_ptr<memory_link>{new memory_link{end::callee}};
    auto found = segment::open(name);
    if (!found || !found->map(0).empty()) return nullptr;
    link->segment_ = std::move(*found);
    auto const all = link->segment_.bytes();
    if (all.size() < link_words::bytes) return nullptr;
    auto& words = *reinterpret_cast<link_words*>(all.data());
    if (words.made.load() != link_words::made_of_this_version || !link->segment_.is_held(0)) return nullptr;
    auto const ring_bytes = words.ring_bytes.load();
    auto const fits = std::has_single_bit(ring_bytes) && ring_bytes >= least_ring && ring_bytes <= most_ring &&
                      bytes_for(ring_bytes) == all.size();
    if (fits && !link->segment_.hold(1)) return nullptr;
    words.has_come[1].store(1);
    link->segment_.remove_name();
    if (!fits) return nullptr;
    link->attach(words, ring_bytes);
    return link;
  }
  memory_link(memory_link const&) = delete;
  auto operator=(memory_link const&) -> memory_link& = delete;
  /// What was written can still be read by the other end.
  ~memory_link() {
    if (words_ == nullptr) return;
    words_->has_gone[mine()].store(1);
    if (bell) bell->wake();
    if (end_ == end::caller && words_->has_come[1].load() == 0) segment_.remove_name();
  }

  [[nodiscard]] auto is_taken() const -> bool { return words_->has_come[1].load() != 0; }
  /// By the caller: whether the name is lost, by a race with one who tidies up, before anybody took the link.
  [[nodiscard]] auto is_lost() const -> bool { return !segment_.is_named() && !is_taken(); }  // taken, then unnamed
  /// The other end says that it is gone. What it wrote before may still be there to be read.
  [[nodiscard]] auto has_hung_up() const -> bool { return words_->has_gone[1 - mine()].load() != 0; }
  /// Asks the system whether the other end's process lives.
  [[nodiscard]] auto is_held() const -> bool { return segment_.is_held(static_cast<off_t>(1 - mine())); }

  ring_writer out;
  ring_reader in;
  std::optional<peer_door> bell;  // of the other end, once it is known

 private:
  explicit memory_link(end e) : end_{e} {}
  [[nodiscard]] auto mine() const -> std::size_t { return static_cast<std::size_t>(end_); }
  void attach(link_words& words, std::uint64_t ring_bytes) {
    words_ = &words;
    auto const ring_of = [&](std::size_t of) {
      return segment_.bytes().subspan(link_words::bytes + of * ring_bytes, ring_bytes);
    };
    out = {words.rings[mine()], ring_of(mine())};
    in = {words.rings[1 - mine()], ring_of(1 - mine())};
  }

  end end_;
  segment segment_;
  link_words* words_ = nullptr;
};

}  // namespace rubato::transport::detail
