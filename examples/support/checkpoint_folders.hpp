// SPDX-License-Identifier: MIT
// What peer and cluster do with the folders of checkpoints before a run begins: nobody else may save there.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <rubato/core/blocks.hpp>
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
    if (detail::await_free("cluster", options_, [this] { return checkpoint_lock::holder_of_run(options_); })) take();
    static_cast<void>(
        detail::await_free("cluster", options_, [&] { return checkpoint_lock::holder(options_, {0, nodes}); }));
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
