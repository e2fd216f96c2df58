// SPDX-License-Identifier: MIT
// What peer and cluster do with the folders of checkpoints before a run begins: nobody else may save there.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/checkpoint_lock.hpp>

#include "support/interrupt.hpp"
#include "support/peer_options.hpp"

namespace rubato::examples {

namespace detail {

/// Waits until `holder()` is empty, for `o.wait` at most, and says so after a second. False if interrupted.
template<class Holder>
auto await_free(char const* program, checkpoint_options const& o, Holder const& holder) -> bool {
  auto const since = std::chrono::steady_clock::now();
  auto said = false;
  for (auto who = holder(); !who.empty(); who = holder()) {
    auto const waited = std::chrono::steady_clock::now() - since;
    if (interrupted()) return false;
    if (waited >= o.wait) checkpoint_lock::refuse(o, who);
    if (!said && waited > std::chrono::seconds{1}) {
      said = true;
      std::fprintf(stderr, "%s: waiting for another process that still saves into '%s' (%s)\n", program,
                   escaped(o.folder.string()).c_str(), who.c_str());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  return true;
}

}  // namespace detail

[[nodiscard]] inline auto resumes(peer_choice const& c) -> bool { return c.checkpoint.resume || c.resume_if_there; }

/// Waits until no process of a former life of a run that is to go on saves these nodes any more. False if interrupted.
/// Throws config_error.
[[nodiscard]] inline auto await_former_life(char const* program, peer_choice const& c, std::string const& algorithm,
                                            range nodes) -> bool {
  if (!resumes(c)) return true;
  auto o = c.checkpoint;
  o.folder /= algorithm;
  return detail::await_free(program, o, [&] { return checkpoint_lock::holder(o, nodes); });
}

/// With --resume-if-there, of a folder where some nodes were saved: who of these has no checkpoint there and begins
/// anew; empty: nobody.
[[nodiscard]] inline auto who_begins_anew(peer_choice const& c, std::string const& algorithm, range nodes)
    -> std::string {
  if (!c.resume_if_there) return {};
  auto o = c.checkpoint;
  o.folder /= algorithm;
  auto none = std::error_code{};
  auto at = std::filesystem::directory_iterator{o.folder, none};
  if (none || std::none_of(at, {}, [](auto const& file) { return file.path().extension() == ".checkpoint"; }))
    return {};
  std::string who;
  for (auto i = nodes.begin; i < nodes.end; ++i) {
    if (!has_checkpoint(o, to_node(i))) who += (who.empty() ? "node " : ", node ") + std::to_string(i);
  }
  return who.empty() ? who
                     : "there is no checkpoint of " + who + " in '" + escaped(o.folder.string()) +
                           "', so it begins anew, beside others that go on";
}

/// Of several algorithms, what each is about to do.
struct resumption {
  std::string algorithm;
  std::optional<std::uint64_t> round{};
  bool goes_on = false;
};
[[nodiscard]] inline auto words_of(std::vector<resumption> const& all) -> std::string {
  std::string on, anew;
  for (auto const& each : all) {
    auto& list = each.goes_on ? on : anew;
    list += (list.empty() ? "" : ", ") + each.algorithm;
    if (each.round) list += " (from round " + std::to_string(*each.round) + ")";
  }
  return (on.empty() ? "" : "going on: " + on) + (on.empty() || anew.empty() ? "" : "; ") +
         (anew.empty() ? "" : "beginning anew: " + anew);
}

/// Whether any of so many nodes has a checkpoint.
[[nodiscard]] inline auto any_is_saved(peer_choice const& c, std::string const& algorithm, std::size_t nodes) -> bool {
  auto o = c.checkpoint;
  o.folder /= algorithm;
  for (std::size_t i = 0; i < nodes; ++i) {
    if (has_checkpoint(o, to_node(i))) return true;
  }
  return false;
}

/// Throws config_error where one of several algorithms is to go on and was never saved: nothing is run then.
inline void refuse_unsaved(peer_choice const& c, std::string const& algorithm, std::size_t nodes) {
  if (!c.checkpoint.resume || c.race.algorithms.size() < 2 || any_is_saved(c, algorithm, nodes)) return;
  throw config_error{"no node has a checkpoint in '" + escaped((c.checkpoint.folder / algorithm).string()) +
                     "', so none of these algorithms is run: leave it out, or give --resume-if-there, with which it "
                     "begins anew"};
}

/// What a cluster holds of the folder of one algorithm while it runs, so that no other one begins there. Its peers lock
/// their nodes themselves.
class held_folder {
 public:
  /// Nothing where the folder is missing: take() makes it. Waits like await_former_life().
  held_folder(peer_choice const& c, std::string const& algorithm, std::size_t nodes) : options_{c.checkpoint} {
    if (options_.folder.empty()) return;
    options_.folder /= algorithm;
    if (!resumes(c)) options_.wait = {};
    auto none = std::error_code{};
    if (!std::filesystem::exists(options_.folder, none)) return;
    // Asked before it is taken: where a lock is one of the process, to ask drops it.
    auto const is_free = detail::await_free("cluster", options_, [&] {
      auto who = checkpoint_lock::holder_of_run(options_);
      return who.empty() ? checkpoint_lock::holder(options_, {0, nodes}) : who;
    });
    if (is_free) take();
  }
  /// Throws config_error.
  void take() {
    if (options_.folder.empty() || lock_) return;
    ensure_writable_folder(options_.folder);
    lock_ = std::make_unique<checkpoint_lock>();
    static_cast<void>(lock_->take_run(options_, signals().token()));
    if (!lock_->remark().empty()) std::fprintf(stderr, "cluster: %s\n", lock_->remark().c_str());
  }

 private:
  checkpoint_options options_;
  std::unique_ptr<checkpoint_lock> lock_;
};

}  // namespace rubato::examples
