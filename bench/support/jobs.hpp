// SPDX-License-Identifier: MIT
// Independent runs on two threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <rubato/core/errors.hpp>
#include "support/interrupt.hpp"

namespace bench {

/// Calls job(0) .. job(count - 1) on two threads. Throws the first exception of a job, after which no further one
/// begins; and run_error when the program is interrupted, since runs that were cut short mean nothing.
template<class Job>
void for_all_jobs(std::size_t count, Job const& job) {
  std::atomic<std::size_t> next{0};
  std::mutex one_at_a_time;
  std::exception_ptr failed;
  std::vector<std::jthread> threads;
  for (auto w = 0; w < 2; ++w) {
    threads.emplace_back([&] {
      for (auto i = next++; i < count && !rubato::examples::interrupted(); i = next++) {
        try {
          job(i);
        } catch (...) {
          auto const lock = std::lock_guard{one_at_a_time};
          if (!failed) failed = std::current_exception();
          next = count;
        }
      }
    });
  }
  threads.clear();
  if (failed) std::rethrow_exception(failed);
  if (rubato::examples::interrupted()) throw rubato::run_error{"interrupted; nothing of this sweep is kept"};
}

}  // namespace bench
