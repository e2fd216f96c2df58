// SPDX-License-Identifier: MIT
// How a run is asked to end from outside: the stop tokens of the standard library, or the same interface where it has
// none.
#pragma once

#include <version>

#include <rubato/core/language.hpp>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#else
#include <atomic>
#include <memory>
#include <utility>
#endif

namespace rubato {

#if defined(__cpp_lib_jthread)
using std::stop_source;
using std::stop_token;
#else
/// As std::stop_token, without callbacks. An empty one is never asked to stop.
class stop_token {
 public:
  stop_token() = default;
  [[nodiscard]] auto stop_requested() const noexcept -> bool { return asked_ && *asked_; }
  [[nodiscard]] auto stop_possible() const noexcept -> bool { return asked_ != nullptr; }

 private:
  friend class stop_source;
  explicit stop_token(std::shared_ptr<std::atomic<bool>> asked) : asked_{std::move(asked)} {}
  std::shared_ptr<std::atomic<bool>> asked_;
};

/// As std::stop_source.
class stop_source {
 public:
  [[nodiscard]] auto get_token() const -> stop_token { return stop_token{asked_}; }
  [[nodiscard]] auto stop_requested() const noexcept -> bool { return *asked_; }
  /// True for the first call.
  auto request_stop() const noexcept -> bool { return !asked_->exchange(true); }

 private:
  std::shared_ptr<std::atomic<bool>> asked_ = std::make_shared<std::atomic<bool>>(false);
};
#endif

}  // namespace rubato
