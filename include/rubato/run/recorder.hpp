// SPDX-License-Identifier: MIT
// Records, under any driver, what every node of a run consumed, with a digest of its outputs and of its state. A node
// is a pure state machine, so run/replay.hpp can demand the same bits from another program.
//
// File, little-endian: magic u64, format u32, build text, name, setup text (each: length u64, bytes), node u32, digest
// u64; then records: kind u8, length u64, input bytes, digest of the input u64, digest of outputs and of all state u64.
// The digest of an input covers its kind, place and length too, so that no record can be cut out, moved or changed.
#pragma once

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/node.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/build.hpp>
#include <rubato/run/event_log.hpp>

namespace rubato {

inline constexpr std::uint64_t recording_magic = 0x676f6c6f74616275ULL;  // "ubatolog"
inline constexpr std::uint32_t recording_format = 3;

/// Where recordings go and how large they may become.
struct recording_options {
  std::filesystem::path folder;
  std::string name;  ///< of the run, in file names: NAME.node-K.log
  std::string setup;  ///< kept in the file: all that a replay needs to build the nodes again
  std::uint64_t bytes_max = std::uint64_t{1}
                            << 30;  ///< for each node; what comes later is not recorded, and the run goes on
};

/// How one node's recording went. Read it after the run.
struct recording_status {
  enum class ending : std::uint8_t { complete, at_limit, failed };
  std::filesystem::path file;
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
  ending end = ending::complete;
  std::string cut_short;  ///< empty if everything was recorded; otherwise why not
};

namespace detail {

/// Stands in the end record in place of a time.
enum class end_of_log : std::int64_t { all_recorded = 0, limit_reached = 1 };

/// One node's file. A failed write ends the recording, never the run.
/// **Thread safety:** one thread at a time.
class event_log {
 public:
  event_log(recording_options const& o, node_id self) : limit_{o.bytes_max} {
    status_.file = o.folder / (o.name + ".node-" + std::to_string(to_index(self)) + ".log");
    // A new file, so that nobody who may write to the folder can redirect the output by a link of that name.
    static_cast<void>(std::remove(status_.file.c_str()));
    file_.reset(std::fopen(status_.file.c_str(), "wbx"));
    if (!file_)
      throw config_error{"the recording '" + escaped(status_.file.string()) + "' cannot be written: " + reason()};
    byte_writer w{bytes_};
    w.put(recording_magic).put(recording_format);
    for (auto const& text : {build_text(), o.name, o.setup}) w.put(std::as_bytes(std::span{text}));
    w.put(static_cast<std::uint32_t>(self));
    w.put(digest{}.add(std::span<std::byte const>{bytes_}).value());
    write();
  }
  event_log(event_log const&) = delete;
  auto operator=(event_log const&) -> event_log& = delete;
  ~event_log() { close(); }

  /// The file is complete; later inputs are not recorded.
  void close() {
    if (!file_) return;
    if (status_.cut_short.empty()) write_end(end_of_log::all_recorded);
    if (std::fclose(file_.release()) != 0) fail();
  }

  /// Encodes an input; finish() then adds its outputs. No other input may come between the two.
  void begin(logged_event const& e) {
    if (!records()) return;
    bytes_.clear();
    byte_writer{bytes_}.put(static_cast<std::uint8_t>(e.kind)).put(std::uint64_t{0});
    encode_event(e, bytes_);
    wire::detail::put(bytes_.data() + 1, std::uint64_t{bytes_.size() - 9});
    byte_writer{bytes_}.put(digest{}.add(status_.events).add(std::span<std::byte const>{bytes_}).value());
  }
  void finish(outbox const& out, any_node& node) {
    if (!records()) return;
    byte_writer{bytes_}.put(outputs_.of(out, node));
    constexpr std::uint64_t room_for_end = 64;
    if (status_.bytes + bytes_.size() + room_for_end > limit_) {
      write_end(end_of_log::limit_reached);
      status_.cut_short = "its limit of " + std::to_string(limit_) + " bytes was reached";
      status_.end = recording_status::ending::at_limit;
      return;
    }
    write();
    ++status_.events;
  }

  [[nodiscard]] auto status() const -> recording_status const& { return status_; }

 private:
  struct closer {
    void operator()(std::FILE* f) const { static_cast<void>(std::fclose(f)); }
  };
  static auto reason() -> std::string { return std::generic_category().message(errno); }
  void fail() {
    status_.cut_short = reason();
    status_.end = recording_status::ending::failed;
  }

  [[nodiscard]] auto records() const -> bool { return file_ && status_.cut_short.empty(); }
  void write_end(end_of_log why) {
    begin({logged::end, {std::chrono::nanoseconds{static_cast<std::int64_t>(why)}}, {}, {}, {}, {}, {}});
    byte_writer{bytes_}.put(std::uint64_t{0});
    write();
  }
  void write() {
    if (std::fwrite(bytes_.data(), 1, bytes_.size(), file_.get()) != bytes_.size()) fail();
    status_.bytes += bytes_.size();
  }

  std::uint64_t limit_;
  recording_status status_;
  std::unique_ptr<std::FILE, closer> file_;
  std::vector<std::byte> bytes_;
  outbox_digest outputs_;
};

}  // namespace detail

/// A node whose inputs and outputs are recorded. It costs a pass over every received body and one digest of every sent
/// body. As always, drivers must give it an empty outbox at every call. A replay does not repeat where nodes met
/// to be saved, so this node does not say that it can meet.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as the node's.
class recorded_node {
 public:
  recorded_node(any_node inner, std::shared_ptr<detail::event_log> log)
      : inner_{std::move(inner)}, log_{std::move(log)} {}
  recorded_node(recorded_node&&) = default;
  auto operator=(recorded_node&&) -> recorded_node& = default;
  ~recorded_node() {
    if (log_) log_->close();
  }

  void start(instant now, outbox& out) {
    log_->begin({logged::start, now, {}, {}, {}, {}, {}});
    inner_.start(now, out);
    log_->finish(out, inner_);
  }
  void on_patch(instant now, patch const& p, outbox& out) {
    log_->begin({logged::patch, now, p, {}, {}, {}, {}});
    inner_.on_patch(now, p, out);
    log_->finish(out, inner_);
  }
  void on_gradient(instant now, gradient g, outbox& out) {
    log_->begin({logged::gradient, now, {}, {}, g, {}, {}});
    inner_.on_gradient(now, std::move(g), out);
    log_->finish(out, inner_);
  }
  void on_wakeup(instant now, wakeup w, outbox& out) {
    log_->begin({logged::wakeup, now, {}, {}, {}, w, {}});
    inner_.on_wakeup(now, w, out);
    log_->finish(out, inner_);
  }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) {
    log_->begin({logged::neighbours, now, {}, {}, {}, {}, c});
    inner_.on_neighbours(now, c, out);
    log_->finish(out, inner_);
  }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner_.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics { return inner_.statistics(); }
  void audit(tracking_audit& a) const { inner_.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner_.channels(); }
  [[nodiscard]] auto closes_ended_edges() const -> bool { return inner_.closes_ended_edges(); }
  static void visit_state(auto& self, auto&& visit) { visit("inner", self.inner_); }

 private:
  any_node inner_;
  std::shared_ptr<detail::event_log> log_;
};

/// How the recordings of a run went, by node.
class recording {
 public:
  recording() = default;
  explicit recording(std::vector<std::shared_ptr<detail::event_log>> logs) : logs_{std::move(logs)} {}
  void join(recording const& other) { logs_.insert(logs_.end(), other.logs_.begin(), other.logs_.end()); }
  /// *requires* that the run has ended.
  [[nodiscard]] auto statuses() const -> std::vector<recording_status> {
    std::vector<recording_status> all;
    for (auto const& log : logs_) all.push_back(log->status());
    return all;
  }
  /// A sentence about the first recording that could not be written; empty if all were. *requires* that the run has
  /// ended and its nodes are destroyed, since some failures show only then.
  [[nodiscard]] auto failure() const -> std::string {
    for (auto const& log : logs_) {
      auto const& s = log->status();
      if (s.end != recording_status::ending::failed) continue;
      return "the recording '" + escaped(s.file.string()) + "' failed after " + std::to_string(s.events) +
             " events: " + s.cut_short;
    }
    return {};
  }

 private:
  std::vector<std::shared_ptr<detail::event_log>> logs_;
};

/// Records node `self` of `a` from now on. The file is complete when the run's nodes are destroyed, which is when its
/// driver returns. What a restarted node does after its restart is not recorded. Throws config_error if the file cannot
/// be made.
[[nodiscard]] inline auto record(assembly& a, node_id self, recording_options const& o) -> recording {
  std::error_code error;  // a fault of the folder shows when the file is created
  std::filesystem::create_directories(o.folder, error);
  auto log = std::make_shared<detail::event_log>(o, self);
  auto& n = a.nodes[to_index(self)];
  n = any_node{recorded_node{std::move(n), log}};
  return recording{{std::move(log)}};
}

/// Records every node, for drivers that run all of them.
[[nodiscard]] inline auto record(assembly& a, recording_options const& o) -> recording {
  recording all;
  for (std::size_t i = 0; i < a.nodes.size(); ++i) all.join(record(a, to_node(i), o));
  return all;
}

}  // namespace rubato
