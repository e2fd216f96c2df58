// SPDX-License-Identifier: MIT
// One thread that computes the gradients of one node, so that the thread that owns the node can serve its messages.
// Each gradient takes at least as long as a compute model says, so that stragglers can be tried in real time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/core/node.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/transport/detail/idle_spell.hpp>

namespace rubato::detail {

/// One request at a time. If another follows before it is done, its result is still computed, and dropped. Parts of a
/// gradient (problem::gives_gradient_parts) are there before it, and take their share of its time at least.
/// **Thread safety:** one owner; `done` is called from the computing thread.
class gradient_thread : problem::part_receiver {
 public:
  struct result {
    gradient value{};
    std::exception_ptr thrown{};
  };

  using clock = std::chrono::steady_clock;
  /// The least time that the gradient of that number takes.
  using duration_of = std::function<std::chrono::nanoseconds(std::uint64_t)>;

  /// It stays awake for so long before it sleeps.
  gradient_thread(problem::any_oracle oracle, duration_of takes, std::function<void()> done,
                  std::chrono::nanoseconds awake)
      : oracle_{std::move(oracle)}, takes_{std::move(takes)}, done_{std::move(done)}, idle_{awake}, thread_{[this] {
          live();
        }} {}
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

  enum class given : std::uint8_t { whole, in_parts };
  static auto given_to(any_node const& n) -> given { return n.takes_gradient_parts() ? given::in_parts : given::whole; }

  void submit(gradient_request r, given how = given::whole) {
    {
      auto const lock = std::lock_guard{mutex_};
      wanted_ = std::move(r);
      result_.reset();
      parts_.clear();
      how_ = how;
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
      parts_.clear();
      ++number_;
    }
    changed_.notify_one();
  }
  [[nodiscard]] auto take() -> std::optional<result> {
    auto const lock = std::lock_guard{mutex_};
    return std::exchange(result_, std::nullopt);
  }

  /// Those that are new. After take() has given a result, there are no more.
  [[nodiscard]] auto take_parts() -> std::vector<gradient_part> {
    auto const lock = std::lock_guard{mutex_};
    return std::exchange(parts_, {});
  }

 private:
  void live() {
    auto lock = std::unique_lock{mutex_};
    while (true) {
      await_request(lock);
      if (ending_) return;
      auto const request = *std::exchange(wanted_, std::nullopt);
      auto const mine = number_;
      auto const begin = clock::now();
      auto const longest = (clock::time_point::max)() - begin;
      job_ = {mine, begin, (std::min<std::chrono::nanoseconds>)(takes_(draws_++), longest), 0};
      auto const how = how_;
      lock.unlock();
      auto r = evaluate(request, how);
      lock.lock();
      if (!is_due(lock, job_.least)) continue;
      r.value.duration = std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - begin);
      result_ = std::move(r);
      lock.unlock();
      done_();
      lock.lock();
    }
  }

  void await_request(std::unique_lock<std::mutex>& lock) {
    auto const is_there = [this] { return ending_ || wanted_.has_value(); };
    for (auto is_awake = true; is_awake && !is_there();) {
      lock.unlock();
      auto const now = clock::now();
      is_awake = idle_.end_of_wait(now, (clock::time_point::max)()) == now;
      lock.lock();
    }
    changed_.wait(lock, is_there);
    idle_.end();
  }

  /// Waits until the present job has taken that long. False if it is not wanted any more.
  auto is_due(std::unique_lock<std::mutex>& lock, std::chrono::nanoseconds after) -> bool {
    auto const dropped = [this] { return ending_ || job_.number != number_; };
    changed_.wait_until(lock, job_.begin + after, dropped);
    return !dropped();
  }
  void take_part(gradient_part part) override {
    auto lock = std::unique_lock{mutex_};
    auto const share = oracle_.parts()[job_.parts++].time;
    auto const least = std::chrono::nanoseconds{std::llround(share * static_cast<double>(job_.least.count()))};
    if (!is_due(lock, least)) return;
    parts_.push_back(std::move(part));
    lock.unlock();
    done_();
  }

  auto evaluate(gradient_request const& request, given how) -> result {
    try {
      return {how == given::whole ? oracle_.evaluate(request) : oracle_.evaluate(request, *this), {}};
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
  std::vector<gradient_part> parts_;
  given how_ = given::whole;
  std::uint64_t number_ = 0;  // of the request; a new number means that the former is not wanted
  struct job {
    std::uint64_t number = 0;
    clock::time_point begin{};
    std::chrono::nanoseconds least{};
    std::size_t parts = 0;  // that are final
  };
  job job_{};  // of the computing thread alone, as what follows
  transport::detail::idle_spell<clock::time_point> idle_;
  std::uint64_t draws_ = 0;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace rubato::detail
