// SPDX-License-Identifier: MIT
// Replays what run/recorder.hpp wrote: the same inputs into a fresh node, and the same bits demanded from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/node.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/event_log.hpp>
#include <rubato/run/recorder.hpp>

namespace rubato {

/// The beginning of a recording.
struct recording_header {
  std::string build;
  std::string name;
  std::string setup;
  node_id self{};
};

struct replay_report {
  std::uint64_t events = 0;  ///< number of events with identical bits
  bool cut_short = false;    ///< the recording ended at its size limit, before the run did
};

/// One recording, opened. Every sentence that it throws names the file.
/// **Thread safety:** one owner at a time.
class recorded_run {
 public:
  /// Throws config_error if the file cannot be read, is not a recording, or has a damaged beginning.
  explicit recorded_run(std::filesystem::path path) : path_{std::move(path)}, shown_{escaped(path_.string())} {
    std::error_code error;
    left_ = size_ = std::filesystem::file_size(path_, error);
    if (error && std::filesystem::exists(path_))
      throw config_error{"'" + shown_ + "' is not a recording: it is not a plain file"};
    file_.reset(error ? nullptr : std::fopen(path_.c_str(), "rb"));
    if (!file_) throw config_error{"the recording '" + shown_ + "' cannot be opened for reading"};
    read_header();
  }

  [[nodiscard]] auto header() const -> recording_header const& { return header_; }

  /// Gives the recorded node of `run` the inputs that it consumed. `run` must be assembled as it was then; every field
  /// is checked against what the node may be given. Throws run_error, which names the first event whose outputs differ
  /// in any bit. Throws config_error if the recording is damaged, belongs to no node of `run`, or was made by a build
  /// that may round differently. Call it once only.
  [[nodiscard]] auto replay(assembly run) -> replay_report {
    if (header_.build != build_text()) {
      throw config_error{"the recording '" + shown_ + "' was made by '" + escaped(header_.build, 200) +
                         "' and this is '" + build_text() +
                         "', which may round otherwise; replay it with a program of the same build"};
    }
    if (to_index(header_.self) >= run.nodes.size()) {
      throw config_error{"the recording '" + shown_ + "' is of node " + std::to_string(to_index(header_.self)) +
                         ", and its run has nodes 0 to " + std::to_string(run.nodes.size() - 1)};
    }
    auto const rules = event_rules::of(run, header_.self);
    auto& fresh = run.nodes[to_index(header_.self)];
    replay_report report;
    detail::outbox_digest outputs;
    outbox out;
    while (true) {
      place_ = report.events + 1;
      auto const r = next_record(rules);
      auto event = decoded(r, rules, run.pool);
      if (r.kind == logged::end) return ended(event, r.outputs, report);
      if ((r.kind == logged::start) != (report.events == 0)) damaged("a node is started once, before all else");
      out.clear();
      hand_in(fresh, event, out);
      if (outputs.of(out, fresh) != r.outputs) refuse(event);
      ++report.events;
    }
  }

 private:
  struct closer {
    void operator()(std::FILE* f) const { static_cast<void>(std::fclose(f)); }
  };
  struct record {
    logged kind{};
    std::vector<std::byte> input{};
    std::uint64_t outputs = 0;
  };

  /// Says where: reading begins each event at its first byte.
  [[noreturn]] void damaged(std::string const& how) const {
    auto const where =
        place_ == 0 ? "in its header" : "at event " + std::to_string(place_) + ", byte " + std::to_string(begun_);
    throw config_error{"the recording '" + shown_ + "' is damaged " + where + ": " + how};
  }

  /// Appends the next n bytes. A length beyond the end of the file is reported as damage before memory is allocated.
  void read(std::uint64_t n, std::vector<std::byte>& into) {
    if (n > left_) damaged("it ends in the middle");
    auto const at = into.size();
    into.resize(at + n);
    if (std::fread(into.data() + at, 1, n, file_.get()) != n) damaged("it cannot be read to its end");
    left_ -= n;
  }
  template<class U>
  auto read_number(std::vector<std::byte>& into) -> U {
    read(sizeof(U), into);
    return wire::detail::get<U>(into.data() + into.size() - sizeof(U));
  }

  void read_header() {
    std::vector<std::byte> bytes;
    if (left_ < 8 || read_number<std::uint64_t>(bytes) != recording_magic) {
      throw config_error{"'" + shown_ + "' is not a recording of a rubato node"};
    }
    if (read_number<std::uint32_t>(bytes) != recording_format) damaged("its format is not the one this program knows");
    for (auto* const text : {&header_.build, &header_.name, &header_.setup}) {
      auto const n = read_number<std::uint64_t>(bytes);
      if (n > most_text_bytes) damaged("it announces a text of " + std::to_string(n) + " bytes");
      read(n, bytes);
      text->assign(reinterpret_cast<char const*>(bytes.data() + bytes.size() - n), n);
    }
    header_.self = node_id{read_number<std::uint32_t>(bytes)};
    auto const expected = digest{}.add(std::span<std::byte const>{bytes}).value();
    if (read_number<std::uint64_t>(bytes) != expected) damaged("its header was changed");
  }

  auto next_record(event_rules const& rules) -> record {
    begun_ = size_ - left_;
    std::vector<std::byte> bytes;
    auto const kind = read_number<std::uint8_t>(bytes);
    auto const length = read_number<std::uint64_t>(bytes);
    if (kind > static_cast<std::uint8_t>(logged::end)) damaged("it is of no known kind");
    if (length > rules.bytes_max())
      damaged("it announces " + std::to_string(length) + " bytes, more than the run can need");
    read(length, bytes);
    auto const expected = digest{}.add(place_ - 1).add(std::span<std::byte const>{bytes}).value();
    std::vector<std::byte> digests;
    if (read_number<std::uint64_t>(digests) != expected) damaged("it was changed");
    auto const outputs = read_number<std::uint64_t>(digests);
    return {static_cast<logged>(kind), {bytes.begin() + 9, bytes.end()}, outputs};
  }

  auto decoded(record const& r, event_rules const& rules, buffer_pool& pool) const -> logged_event {
    try {
      return decode_event(r.kind, r.input, rules, pool);
    } catch (config_error const& e) {
      damaged(e.what());
    }
  }

  auto ended(logged_event const& end, std::uint64_t outputs, replay_report report) const -> replay_report {
    if (outputs != 0) damaged("its end was changed");
    if (left_ != 0) damaged("something follows its end");
    report.cut_short = end.now.since_start.count() == static_cast<std::int64_t>(detail::end_of_log::limit_reached);
    return report;
  }

  static void hand_in(any_node& n, logged_event& e, outbox& out) {
    switch (e.kind) {
      case logged::start:
        n.start(e.now, out);
        break;
      case logged::patch:
        n.on_patch(e.now, e.part, out);
        break;
      case logged::gradient:
        n.on_gradient(e.now, std::move(e.answer), out);
        break;
      case logged::wakeup:
        n.on_wakeup(e.now, e.woken, out);
        break;
      case logged::neighbours:
        n.on_neighbours(e.now, e.change, out);
        break;
      case logged::end:
        break;
    }
  }

  [[noreturn]] void refuse(logged_event const& e) const {
    auto what = std::string{name_of(e.kind)};
    if (e.kind == logged::patch) {
      what += " of node " + std::to_string(to_index(e.part.from)) + ", " + std::string{name_of(e.part.channel)};
    }
    throw run_error{"node " + std::to_string(to_index(header_.self)) + " does not replay: after event " +
                    std::to_string(place_) + " (" + what + ", at " + shortest(to_seconds(e.now.since_start)) +
                    " s) of '" + shown_ + "' its outputs are not those recorded, bit for bit"};
  }

  static constexpr std::uint64_t most_text_bytes = std::uint64_t{1} << 20;

  std::filesystem::path path_;
  std::string shown_;  // in sentences
  std::unique_ptr<std::FILE, closer> file_;
  std::uint64_t size_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t begun_ = 0;  // of the present event: where it begins,
  std::uint64_t place_ = 0;  // and which it is, from 1; 0: in the header
  recording_header header_;
};

}  // namespace rubato
