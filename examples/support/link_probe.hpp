// SPDX-License-Identifier: MIT
// Measures links to other machines, one after the other: latency, jitter, rate, and how far two clocks are apart.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::examples {

/// Talks to one machine after the other; the lower id begins. A `Port` is a collective::port, or sends, receives and
/// waits as one does.
template<class Port>
class link_probe {
 public:
  /// Of latencies and of clocks it begins no more rounds after `longest`, and at least two.
  explicit link_probe(Port& p, std::chrono::nanoseconds longest = std::chrono::seconds{1})
      : port_{&p}, longest_{longest} {}

  /// Half the time there and back of one value: the least, and how far nine of ten lie above it. The first rounds do
  /// not count.
  auto delays(std::size_t other, bool begins) -> std::pair<double, double> {
    constexpr auto most = 50, first = 5;
    auto times = std::vector<double>{};
    auto left = rounds{most, longest_};
    for (auto goes_on = true; goes_on;) {
      auto const before = transport::clock::now();
      if (begins) goes_on = left.next(), say(other, goes_on), take(other);
      else goes_on = hear(other) != 0, post(other, 1);
      times.push_back(std::chrono::duration<double>(transport::clock::now() - before).count() / 2);
    }
    auto const uncounted = (std::min)(first, static_cast<int>(times.size() / 2));
    times.erase(times.begin(), times.begin() + uncounted);
    std::sort(times.begin(), times.end());
    return {times.front(), times[times.size() * 9 / 10] - times.front()};
  }

  /// By how many seconds the other's clock is ahead of this one, as the quickest of some answers says: by half the time
  /// there and back it may be wrong.
  auto clock_ahead(std::size_t other, bool begins) -> double {
    constexpr auto most = 10;
    auto ahead = 0.0, quickest = 1e300;
    auto left = rounds{most, longest_};
    for (auto goes_on = true; goes_on;) {
      if (!begins) {
        goes_on = hear(other) != 0, say(other, seconds_now());
        continue;
      }
      goes_on = left.next();
      auto const before = seconds_now();
      say(other, goes_on);
      auto const theirs = hear(other), after = seconds_now();
      if (after - before < quickest) quickest = after - before, ahead = theirs - (before + after) / 2;
    }
    if (begins) return say(other, ahead), ahead;
    return -hear(other);
  }

  /// One number to the other machine, and the next one of it.
  void say(std::size_t to, double value) {
    port_->send(to, channel_id::gradient, port_->copy_of(std::span<double const>{&value, 1}), 1);
  }
  auto hear(std::size_t from) -> double {
    auto const body = next(from);
    auto const values = body.template view<double>();
    return values.empty() ? 0 : values[0];
  }

  /// Seconds until messages of that many values altogether are there, or at the other end nothing of use.
  auto stream(std::size_t other, bool sends, std::size_t values) -> double {
    auto const before = transport::clock::now();
    if (sends) {
      for (auto left = values; left > 0;) {
        while (!port_->may_send()) port_->wait(other, true);
        auto const piece = (std::min)(left, port_->piece_values());
        post(other, piece, values), left -= piece;
      }
      take(other);
    } else {
      for (auto left = values; left > 0;) left -= take(other);
      post(other, 1);
    }
    return std::chrono::duration<double>(transport::clock::now() - before).count();
  }

 private:
  /// The one that begins says with each round whether another one follows.
  class rounds {
   public:
    rounds(int most, std::chrono::nanoseconds longest) : left_{most}, latest_{transport::later(longest)} {}
    auto next() -> bool { return --left_ > 0 && (!std::exchange(begun_, true) || transport::clock::now() < latest_); }

   private:
    int left_;
    bool begun_ = false;
    transport::clock::time_point latest_;
  };

  void post(std::size_t to, std::size_t values, std::size_t of = 1) {
    port_->send(to, channel_id::gradient, port_->copy_of(std::span<double const>{zeros_}.first(values)), of);
  }
  auto next(std::size_t from) -> shared_buffer {
    while (true) {
      if (auto p = port_->receive(from)) return std::move(p->body);
      port_->wait(from, false);
    }
  }
  auto take(std::size_t from) -> std::size_t { return next(from).template view<double>().size(); }
  static auto seconds_now() -> double {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  Port* port_;
  std::chrono::nanoseconds longest_;
  std::vector<double> zeros_ = std::vector<double>(port_->piece_values());
};

struct measured_link {
  double latency = 0, jitter = 0;  // in seconds
  double rate = 0;  // bits a second, from here
};

/// Both ends call it at once, with as many values to stream (of 8 bytes); `begins` at the one of the lower id.
template<class Port>
auto measured(link_probe<Port>& link, std::size_t other, bool begins, std::size_t values = std::size_t{1} << 19)
    -> measured_link {
  auto const [least, more] = link.delays(other, begins);
  auto rate = 0.0;
  for (auto const first_way : {true, false}) {
    auto const sends = begins == first_way;
    auto const seconds = link.stream(other, sends, values);
    if (sends) rate = 64.0 * static_cast<double>(values) / (std::max)(seconds - 2 * least, 1e-9);
  }
  return {least, more, rate};
}

}  // namespace rubato::examples
