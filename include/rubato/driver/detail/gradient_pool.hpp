// SPDX-License-Identifier: MIT
// Computes gradients for the simulator, on several threads if asked. The real time at which a result is ready has no
// effect: the simulator asks for it at its virtual time, and computes it itself if no thread has begun.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <rubato/driver/detail/event_queue.hpp>
#include <rubato/problem/any_oracle.hpp>

namespace rubato::detail {

/// **Thread safety:** one caller; the pool's own threads are joined by the destructor.
class gradient_pool {
 public:
  /// `threads` counts the caller: 1 computes everything in take().
  gradient_pool(problem::any_oracle oracle, unsigned threads) : gradient_pool{std::move(oracle)} {
    // From here on the destructor runs even if a thread cannot be started.
    for (unsigned i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  gradient_pool(gradient_pool const&) = delete;
  auto operator=(gradient_pool const&) -> gradient_pool& = delete;
  ~gradient_pool() {
    {
      auto const lock = std::lock_guard{mutex_};
      ending_ = true;
    }
    ready_.notify_all();
    for (auto& w : workers_) w.join();
  }

  /// Submits this gradient. Returns a name by which to take or forget it.
  auto submit(gradient_request request) -> std::uint64_t {
    if (workers_.empty()) return keep(std::move(request));
    auto const id = ++last_;
    {
      auto const lock = std::lock_guard{mutex_};
      jobs_.emplace(id, job{std::move(request), {}, {}, state::waiting});
      queue_.push_back(id);
    }
    ready_.notify_one();
    return id;
  }

  /// The request with that name, if it was neither taken nor forgotten.
  [[nodiscard]] auto request_of(std::uint64_t id) -> gradient_request {
    if (workers_.empty()) return *kept_.at(static_cast<std::uint32_t>(id)).request;
    auto const lock = std::lock_guard{mutex_};
    return jobs_.at(id).request;
  }

  /// The result; rethrows what the problem threw.
  auto take(std::uint64_t id) -> gradient {
    if (workers_.empty()) return oracle_.evaluate(*kept(id));
    auto lock = std::unique_lock{mutex_};
    auto& mine = jobs_.at(id);
    if (mine.now == state::waiting) run(mine, lock);
    // Another thread computes it. What is in the queue is wanted soon, so this thread computes that instead of
    // sleeping.
    while (mine.now != state::done) {
      if (auto* const next = first_waiting()) run(*next, lock);
      else done_.wait(lock, [&] { return mine.now == state::done; });
    }
    auto result = std::move(mine);
    jobs_.erase(id);
    lock.unlock();
    if (result.error) std::rethrow_exception(result.error);
    return std::move(*result.result);
  }

  /// Drops this result.
  void forget(std::uint64_t id) {
    if (workers_.empty()) {
      static_cast<void>(kept(id));
      return;
    }
    auto lock = std::unique_lock{mutex_};
    auto const it = jobs_.find(id);
    if (it == jobs_.end()) return;
    done_.wait(lock, [&] { return it->second.now != state::running; });
    jobs_.erase(it);
  }

 private:
  explicit gradient_pool(problem::any_oracle oracle) : oracle_{std::move(oracle)} {}

  enum class state : std::uint8_t { waiting, running, done };
  struct job {
    gradient_request request;
    std::optional<gradient> result;
    std::exception_ptr error;
    state now = state::waiting;
  };

  // For a pool without threads: requests only, in slots, without a lock. A name is a slot and the number of its uses.
  struct kept_request {
    std::uint32_t use = 0;
    std::optional<gradient_request> request;
  };
  auto keep(gradient_request request) -> std::uint64_t {
    auto const slot = kept_.open();
    auto& mine = kept_.at(slot);
    mine.request = std::move(request);
    return std::uint64_t{++mine.use} << 32 | slot;
  }
  // Empty if the name is not known, or not any more.
  auto kept(std::uint64_t id) -> std::optional<gradient_request> {
    auto const slot = static_cast<std::uint32_t>(id);
    if (slot >= kept_.size() || kept_.at(slot).use != id >> 32 || !kept_.at(slot).request) return std::nullopt;
    kept_.close(slot);
    return std::exchange(kept_.at(slot).request, std::nullopt);
  }

  // Drops from the queue what was begun or forgotten; null once it is empty.
  auto first_waiting() -> job* {
    while (!queue_.empty()) {
      auto const it = jobs_.find(queue_.front());
      queue_.pop_front();
      if (it != jobs_.end() && it->second.now == state::waiting) return &it->second;
    }
    return nullptr;
  }

  // Runs outside the lock; references into an unordered_map stay valid while others are inserted.
  void run(job& j, std::unique_lock<std::mutex>& lock) {
    j.now = state::running;
    lock.unlock();
    std::optional<gradient> result;
    std::exception_ptr error;
    try {
      result = oracle_.evaluate(j.request);
    } catch (...) {
      error = std::current_exception();  // rethrown by take()
    }
    lock.lock();
    j.result = std::move(result);
    j.error = error;
    j.now = state::done;
  }

  void work() {
    auto lock = std::unique_lock{mutex_};
    while (true) {
      ready_.wait(lock, [&] { return ending_ || !queue_.empty(); });
      if (ending_) return;
      if (auto* const next = first_waiting()) run(*next, lock);
      done_.notify_all();
    }
  }

  problem::any_oracle oracle_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable done_;
  slot_store<kept_request> kept_;
  std::unordered_map<std::uint64_t, job> jobs_;
  std::deque<std::uint64_t> queue_;
  std::uint64_t last_ = 0;
  bool ending_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace rubato::detail
