// SPDX-License-Identifier: MIT
// A state on disk: what it belongs to, when it was saved, and its words and bodies.
//
// File, little-endian: magic u64, format u32, build text, subject text (each: length u64, bytes), node u32, progress
// u64, resumed u32, words (count u64, each u64), bodies (count u64; each: element u8, values u64, bytes), digest of all
// before it u64.
#pragma once

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/digest.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/build.hpp>
#include <rubato/wire/agreement.hpp>
#if RUBATO_BODIES
#include <rubato/run/atomic_file.hpp>
#endif

namespace rubato {

/// A state that was saved, or is to be saved.
struct checkpoint {
  /// What it belongs to: all that a run must have in common with it, as the text of a wire::agreement.
  std::string subject;
  node_id node{};
  std::uint64_t progress = 0;  ///< local iterations, or events of a simulation
  std::uint32_t resumed = 0;  ///< how often its run had gone on from a checkpoint by then
  snapshot state;
  std::string build = build_text();
};

inline constexpr std::uint64_t checkpoint_magic = 0x706b636f74616275ULL;  // "ubatockp"
inline constexpr std::uint32_t checkpoint_format = 1;

/// Writes the checkpoint aside, syncs file and folder to the disk, and renames it. So a checkpoint that exists is a
/// whole one. Throws run_error, whose sentence names the path; an older file is then still there.
void write_checkpoint(std::filesystem::path const& path, checkpoint const& c);

/// Throws config_error if there is no file, or if it is not a whole checkpoint of this format. Bodies are in host
/// memory.
[[nodiscard]] auto read_checkpoint(std::filesystem::path const& path) -> checkpoint;

/// Throws config_error unless the checkpoint is of that node of a run with this subject. Returns a warning if another
/// build wrote it, since this one may round differently; otherwise nothing.
auto check_checkpoint(checkpoint const& c, std::string_view subject, node_id node) -> std::string;

/// Where one process keeps its node's checkpoints.
struct checkpoint_options {
  std::filesystem::path folder{};  ///< empty: none are saved
  std::chrono::nanoseconds every = std::chrono::seconds{30};  ///< where each node is saved at a moment of its own
  bool resume = false;  ///< begin from the node's checkpoint in `folder`
  /// What a state belongs to besides the assembled run, such as the data; the text of a wire::agreement.
  std::string subject{};
  /// Where all go on together (any_node::common_round): between two rounds at whose beginnings nodes are saved, the
  /// same for all of them.
  std::uint64_t every_rounds = 1000;
  std::optional<std::uint64_t> round{};  ///< of the checkpoint to begin from; nothing: the newest one that is whole
  /// How long a run that resumes waits for processes that still save the same nodes, such as those of its former life.
  std::chrono::nanoseconds wait = std::chrono::seconds{20};

  [[nodiscard]] auto file_of(node_id node) const -> std::filesystem::path {
    return folder / ("node-" + std::to_string(to_index(node)) + ".checkpoint");
  }
  /// The same at the beginning of a round.
  [[nodiscard]] auto file_of(node_id node, std::uint64_t round_done) const -> std::filesystem::path {
    return folder / ("node-" + std::to_string(to_index(node)) + ".round-" + std::to_string(round_done) + ".checkpoint");
  }
  /// Throws config_error if these options contradict each other.
  void check() const {
    if (folder.empty() && resume)
      throw config_error{"there is no folder to resume from: give the one of the checkpoints"};
    if (every.count() <= 0) throw config_error{"the time between two checkpoints must be above 0"};
    if (wait.count() < 0) throw config_error{"the time to wait for who still saves a node cannot be below 0"};
    if (every_rounds == 0) throw config_error{"the rounds between two checkpoints must be 1 or more"};
  }
};

/// The rounds at whose beginnings that node was saved, in rising order; its files may be damaged.
[[nodiscard]] auto saved_rounds(checkpoint_options const& o, node_id node) -> std::vector<std::uint64_t>;

namespace detail {
/// The line of a subject that tells of the network in words.
inline auto const network_words = std::string{"network in words"};
/// On what processes agree that go on together.
inline constexpr auto round_to_go_on_from = std::string_view{"round to go on from"};
/// What follows the names of files of rounds that are of no run any more, since all nodes went back to an earlier one;
/// they are kept until the nodes have come further than that.
inline constexpr auto aside = std::string_view{".aside"};
/// The rounds of which that node has files whose names end so.
[[nodiscard]] auto rounds_of_files(checkpoint_options const& o, node_id node, std::string_view ending)
    -> std::vector<std::uint64_t>;
}  // namespace detail

struct round_to_resume {
  std::uint64_t done = 0;
  std::string remark{};  ///< why it is not the newest one that some node has; empty: it is
};
/// The newest round of which each of these nodes has a whole checkpoint, as far as this process sees their files; at
/// least one node. Reads them. Nothing where none of the nodes was saved at a round. Throws config_error where no round
/// is left.
[[nodiscard]] auto newest_common_round(checkpoint_options const& o, std::span<node_id const> nodes)
    -> std::optional<round_to_resume>;

/// A sentence if the folder holds checkpoints that a run of so many nodes ignores: those of other nodes and, where
/// nodes go on together from a round, those that are of none, or the other way round; empty: it holds no such.
[[nodiscard]] auto ignored_checkpoints(checkpoint_options const& o, std::size_t nodes, bool together) -> std::string;

/// Whether that node has a checkpoint in the folder, be it a damaged one; true as well where that cannot be told, so
/// that reading it says why. For programs that are started again blindly: `o.resume = has_checkpoint(o, self)`.
[[nodiscard]] auto has_checkpoint(checkpoint_options const& o, node_id node) -> bool;

/// The value of transport::identity::opened_before for a process whose node resumes: more than the number of times that
/// former processes of the node can have opened any edge, so that no session is used twice. 0 for a node that begins
/// anew. Throws what read_checkpoint throws.
[[nodiscard]] auto sessions_before(checkpoint_options const& o, node_id self) -> std::uint32_t;

#if RUBATO_BODIES
namespace detail {

static_assert(std::endian::native == std::endian::little, "checkpoints are written as they lie in memory");

/// Writes and digests.
class checkpoint_output {
 public:
  explicit checkpoint_output(atomic_file& file) : file_{&file} {}
  template<class T>
    requires std::is_integral_v<T>
  auto put(T value) -> checkpoint_output& {
    return put(std::as_bytes(std::span{&value, 1}));
  }
  auto put(std::string_view text) -> checkpoint_output& {
    return put(std::uint64_t{text.size()}).put(std::as_bytes(std::span{text}));
  }
  auto put(std::span<std::byte const> bytes) -> checkpoint_output& {
    file_->write(bytes);
    digest_.add(bytes);
    return *this;
  }
  [[nodiscard]] auto digest_so_far() const -> std::uint64_t { return digest_.value(); }

 private:
  atomic_file* file_;
  digest digest_;
};

/// Reads and digests. A missing part or an impossible length is reported as damage before any memory is allocated.
class checkpoint_input {
 public:
  explicit checkpoint_input(std::filesystem::path const& path) : shown_{escaped(path.string())} {
    auto error = std::error_code{};
    left_ = std::filesystem::file_size(path, error);
    if (!error) file_.reset(std::fopen(path.c_str(), "rbe"));
    if (!file_) {
      throw config_error{"the checkpoint '" + shown_ +
                         "' cannot be read: " + (error ? error.message() : reason(errno))};
    }
  }
  [[noreturn]] void damaged(std::string const& how) const {
    throw config_error{"the checkpoint '" + shown_ + "' is damaged: " + how};
  }
  [[nodiscard]] auto shown() const -> std::string const& { return shown_; }

  template<class T>
  auto get() -> T {
    T value{};
    read(std::as_writable_bytes(std::span{&value, 1}));
    return value;
  }
  auto text() -> std::string {
    std::string text(count_of(1), '\0');
    read(std::as_writable_bytes(std::span{text}));
    return text;
  }
  /// Reads a count of parts of at least `bytes_each` bytes; damage if the file is too short for them.
  auto count_of(std::size_t bytes_each) -> std::size_t {
    auto const n = get<std::uint64_t>();
    if (n > left_ / bytes_each) damaged("it ends in the middle");
    return static_cast<std::size_t>(n);
  }
  void read(std::span<std::byte> into) {
    if (into.size() > left_) damaged("it ends in the middle");
    if (std::fread(into.data(), 1, into.size(), file_.get()) != into.size()) damaged("it cannot be read to its end");
    left_ -= into.size();
    digest_.add(std::span<std::byte const>{into});
  }
  void finish() {
    auto const expected = digest_.value();
    if (get<std::uint64_t>() != expected) damaged("its digest is not that of what it holds");
    if (left_ != 0) damaged("something follows its end");
  }

 private:
  struct closer {
    void operator()(std::FILE* f) const { static_cast<void>(std::fclose(f)); }
  };
  std::string shown_;
  std::uint64_t left_ = 0;
  std::unique_ptr<std::FILE, closer> file_;
  digest digest_;
};

template<class T>
auto body_from(checkpoint_input& in, std::size_t values, buffer_pool& pool) -> shared_buffer {
  auto body = pool.allocate<T>(values);
  in.read(std::as_writable_bytes(body.view()));
  return std::move(body).publish();
}
RUBATO_INLINE auto body_from(checkpoint_input& in, buffer_pool& pool) -> shared_buffer {
  auto const kind = in.get<std::uint8_t>();
  if (kind == 0 || kind > static_cast<std::uint8_t>(last_element)) in.damaged("it holds values of an unknown type");
  auto const values = in.count_of(bytes_of(static_cast<element>(kind)));
  switch (static_cast<element>(kind)) {
    case element::f32:
      return body_from<float>(in, values, pool);
    case element::f64:
      return body_from<double>(in, values, pool);
    case element::i32:
      return body_from<std::int32_t>(in, values, pool);
    case element::i64:
      return body_from<std::int64_t>(in, values, pool);
    case element::u16:
      return body_from<std::uint16_t>(in, values, pool);
    case element::u8:
      return body_from<std::byte>(in, values, pool);
    case element::none:
      break;
  }
  return {};
}

}  // namespace detail

RUBATO_INLINE void write_checkpoint(std::filesystem::path const& path, checkpoint const& c) {
  auto file = atomic_file{path};
  auto out = detail::checkpoint_output{file};
  out.put(checkpoint_magic).put(checkpoint_format).put(c.build).put(c.subject);
  out.put(static_cast<std::uint32_t>(c.node)).put(c.progress).put(c.resumed);
  out.put(std::uint64_t{c.state.words.size()}).put(std::as_bytes(std::span{c.state.words}));
  out.put(std::uint64_t{c.state.bodies.size()});
  for (auto const& b : c.state.bodies) {
    auto const here = b.on_host();
    out.put(static_cast<std::uint8_t>(here.kind())).put(std::uint64_t{here.size()}).put(here.bytes());
    file.begin_sync();
  }
  out.put(out.digest_so_far());
  file.commit(atomic_file::survives::power);
}

namespace detail {
/// Everything except the state.
RUBATO_INLINE auto checkpoint_head(checkpoint_input& in) -> checkpoint {
  if (in.get<std::uint64_t>() != checkpoint_magic)
    throw config_error{"'" + in.shown() + "' is not a checkpoint of rubato"};
  if (auto const format = in.get<std::uint32_t>(); format != checkpoint_format) {
    throw config_error{"the checkpoint '" + in.shown() + "' has format " + std::to_string(format) +
                       ", and this version reads format " + std::to_string(checkpoint_format)};
  }
  checkpoint c;
  c.build = in.text();
  c.subject = in.text();
  c.node = node_id{in.get<std::uint32_t>()};
  c.progress = in.get<std::uint64_t>();
  c.resumed = in.get<std::uint32_t>();
  return c;
}
}  // namespace detail

RUBATO_INLINE auto read_checkpoint(std::filesystem::path const& path) -> checkpoint {
  auto in = detail::checkpoint_input{path};
  auto c = detail::checkpoint_head(in);
  c.state.words.resize(in.count_of(sizeof(std::uint64_t)));
  in.read(std::as_writable_bytes(std::span{c.state.words}));
  auto pool = buffer_pool{};
  c.state.bodies.resize(in.count_of(9));
  for (auto& b : c.state.bodies) b = detail::body_from(in, pool);
  in.finish();
  return c;
}

RUBATO_INLINE auto has_checkpoint(checkpoint_options const& o, node_id node) -> bool {
  auto error = std::error_code{};
  return std::filesystem::status(o.file_of(node), error).type() != std::filesystem::file_type::not_found ||
         !saved_rounds(o, node).empty();
}

RUBATO_INLINE auto sessions_before(checkpoint_options const& o, node_id self) -> std::uint32_t {
  o.check();
  if (!o.resume) return 0;
  auto const resumed_of = [](std::filesystem::path const& path) {
    auto in = detail::checkpoint_input{path};
    return detail::checkpoint_head(in).resumed;
  };
  auto const rounds = saved_rounds(o, self);
  if (rounds.empty()) return (resumed_of(o.file_of(self)) + 1) << 16;
  std::uint32_t most = 0;
  for (auto const round : rounds) {
    try {
      most = (std::max)(most, resumed_of(o.file_of(self, round)));
    } catch (config_error const&) {  // a damaged one, beside whole ones
    }
  }
  return (most + 1) << 16;
}

RUBATO_INLINE auto saved_rounds(checkpoint_options const& o, node_id node) -> std::vector<std::uint64_t> {
  return detail::rounds_of_files(o, node, "");
}

RUBATO_INLINE auto detail::rounds_of_files(checkpoint_options const& o, node_id node, std::string_view ending)
    -> std::vector<std::uint64_t> {
  std::vector<std::uint64_t> rounds;
  auto error = std::error_code{};
  for (auto at = std::filesystem::directory_iterator{o.folder, error}; !error && at != end(at); at.increment(error)) {
    auto const name = at->path().filename().string();
    auto const digits = name.find(".round-") + 7;
    std::uint64_t round = 0;
    auto const read = std::from_chars(name.data() + (std::min)(digits, name.size()), name.data() + name.size(), round);
    if (read.ec == std::errc{} && o.file_of(node, round).filename().string().append(ending) == name)
      rounds.push_back(round);
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds;
}

RUBATO_INLINE auto ignored_checkpoints(checkpoint_options const& o, std::size_t nodes, bool together) -> std::string {
  std::vector<std::string> ignored;
  auto error = std::error_code{};
  for (auto at = std::filesystem::directory_iterator{o.folder, error}; !error && at != end(at); at.increment(error)) {
    auto const name = at->path().filename().string();
    if (!name.starts_with("node-") || !name.ends_with(".checkpoint")) continue;
    std::size_t node = 0;
    auto const read = std::from_chars(name.data() + 5, name.data() + name.size(), node);
    auto const of_round = std::string_view{read.ptr, name.data() + name.size()}.starts_with(".round-");
    if (read.ec != std::errc{} || node >= nodes || of_round != together) ignored.push_back(name);
  }
  if (ignored.empty()) return {};
  auto const first = *std::min_element(ignored.begin(), ignored.end());
  return "of '" + escaped(o.folder.string()) + "' this run ignores " + std::to_string(ignored.size()) +
         (ignored.size() == 1 ? " file" : " files") + " of another one, such as '" + escaped(first) + "'";
}

RUBATO_INLINE auto newest_common_round(checkpoint_options const& o, std::span<node_id const> nodes)
    -> std::optional<round_to_resume> {
  std::set<std::uint64_t, std::greater<>> newest_first;
  for (auto const node : nodes) {
    for (auto const round : saved_rounds(o, node)) newest_first.insert(round);
  }
  if (newest_first.empty()) return {};
  std::string why;
  for (auto const round : newest_first) {
    auto const skipped = [&why, round](node_id node, std::string const& how) {
      if (why.empty() || how.starts_with("none"))  // damage says more than a file that is not there yet
        why = "of round " + std::to_string(round) + " node " + std::to_string(to_index(node)) + " has " + how;
    };
    auto whole = true;
    for (auto const node : nodes) {
      auto const file = o.file_of(node, round);
      auto error = std::error_code{};
      whole = std::filesystem::exists(file, error);
      if (error) throw config_error{"'" + escaped(file.string()) + "' cannot be looked at: " + error.message()};
      try {
        if (whole) static_cast<void>(read_checkpoint(file));
        else skipped(node, "no checkpoint");
      } catch (config_error const& e) {
        whole = false;
        skipped(node, "none that is whole (" + std::string{e.what()} + ")");
      }
      if (!whole) break;
    }
    if (!whole) continue;
    if (why.empty()) return round_to_resume{round};
    return round_to_resume{round, why + ": going on from round " + std::to_string(round) + ", which loses the " +
                                      std::to_string(*newest_first.begin() - round) + " rounds after it"};
  }
  throw config_error{"there is no round of which every node has a whole checkpoint in '" + escaped(o.folder.string()) +
                     "': " + why};
}

namespace detail {
/// The subject without its line about the network, whose words may differ: a graph is known by its edges.
RUBATO_INLINE auto without_network(std::string_view subject) -> std::string {
  auto const line = network_words + "=";
  auto const at = subject.find(line);
  if (at == subject.npos || (at > 0 && subject[at - 1] != '\n')) return std::string{subject};
  return std::string{subject.substr(0, at)} +
         std::string{subject.substr((std::min)(subject.find('\n', at), subject.size() - 1) + 1)};
}
/// In words, where the networks of both runs are known and differ.
RUBATO_INLINE auto both_networks(std::string_view mine, std::string_view saved) -> std::string {
  auto const ours = wire::detail::value_of(mine, network_words), its = wire::detail::value_of(saved, network_words);
  if (!ours || !its || *ours == *its) return {};
  return " (its network is " + escaped(*its, 100) + ", and this one " + escaped(*ours, 100) + ")";
}
}  // namespace detail

RUBATO_INLINE auto check_checkpoint(checkpoint const& c, std::string_view subject, node_id node) -> std::string {
  if (c.node != node) {
    throw config_error{"the checkpoint is of node " + std::to_string(to_index(c.node)) + ", and this is node " +
                       std::to_string(to_index(node))};
  }
  auto different =
      wire::difference(detail::without_network(subject), detail::without_network(c.subject), "the checkpoint");
  if (!different.empty())
    throw config_error{different + detail::both_networks(subject, c.subject) + ": it is of another run"};
  if (c.build == build_text()) return {};
  return "the checkpoint was written by '" + escaped(c.build, 200) + "' and this is '" + build_text() +
         "': from here on bits may differ from those of a run that was never cut";
}
#endif  // RUBATO_BODIES

}  // namespace rubato
