// SPDX-License-Identifier: MIT
// One thread that computes the gradients of one node, so that the thread that owns the node can serve its messages.
// Each gradient takes at least as long as a compute model says, so that stragglers can be tried in real time.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <rubato/core/outbox.hpp>
#include <rubato/problem/any_oracle.hpp>

namespace rubato::detail {

/// One request at a time. If another follows before it is done, its result is still computed, and dropped.
/// **Thread safety:** one owner; `done` is called from the computing thread.
class gradient_thread {
 public:
  struct result {
    gradient value{};
    std::exception_ptr thrown{};
  };

  /// The least time that the gradient of that number takes.
  using duration_of = std::function<std::chrono::nanoseconds(std::uint64_t)>;

  gradient_thread(problem::any_oracle oracle, duration_of takes, std::function<void()> done)
      : oracle_{std::move(oracle)}, takes_{std::move(takes)}, done_{std::move(done)}, thread_{[this] { live(); }} {}
  gradient_thread(gradient_thread const&) = delete;
  auto operator=(gradient_thread const&) -> gradient_thread& = delete;
  ~gradient_thread() {
    {
      auto const lock = std::lock_guard{mutex_};
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void submit(gradient_request r) {
    {
      auto const lock = std::lock_guard{mutex_};
      wanted_ = std::move(r);
      result_.reset();
      ++number_;
    }
    changed_.notify_one();
  }
  /// Drops the gradient under way.
  void forget() {
    {
      auto const lock = std::lock_guard{mutex_};
      wanted_.reset();
      result_.reset();
      ++number_;
    }
    changed_.notify_one();
  }
  [[nodiscard]] auto take() -> std::optional<result> {
    auto const lock = std::lock_guard{mutex_};
    return std::exchange(result_, std::nullopt);
  }

 private:
  void live() {
    auto lock = std::unique_lock{mutex_};
    while (true) {
      changed_.wait(lock, [this] { return ending_ || wanted_.has_value(); });
      if (ending_) return;
      auto const request = *std::exchange(wanted_, std::nullopt);
      auto const mine = number_;
      auto const begin = std::chrono::steady_clock::now();
      lock.unlock();
      auto r = evaluate(request);
      lock.lock();
      auto const longest = (std::chrono::steady_clock::time_point::max)() - begin;
      changed_.wait_until(lock, begin + (std::min<std::chrono::nanoseconds>)(takes_(draws_++), longest),
                          [&] { return ending_ || mine != number_; });
      if (ending_ || mine != number_) continue;
      r.value.duration = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - begin);
      result_ = std::move(r);
      lock.unlock();
      done_();
      lock.lock();
    }
  }

  auto evaluate(gradient_request const& request) const -> result {
    try {
      return {oracle_.evaluate(request), {}};
    } catch (...) {
      return {{}, std::current_exception()};  // rethrown by the owner
    }
  }

  problem::any_oracle oracle_;
  duration_of takes_;
  std::function<void()> done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<gradient_request> wanted_;
  std::optional<result> result_;
  std::uint64_t number_ = 0;  // of the request; a new number means that the former is not wanted
  std::uint64_t draws_ = 0;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace rubato::detail
