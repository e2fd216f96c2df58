// SPDX-License-Identifier: MIT
// A few endpoints of one transport, for tests that hold for every transport: polled by one thread or, where a process
// can be one node only, each by its own process.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/transport/concepts.hpp>
#include <rubato/wire/xxhash.hpp>

namespace rubato::test {

using transport::incoming;
using what = transport::incoming::what;

inline constexpr std::size_t test_values = 300;
inline constexpr std::size_t test_blocks = 5;

/// Node `self` of n, all of which talk to each other; vectors of 300 floats in blocks of 64.
inline auto test_identity(std::size_t self, std::size_t n) -> transport::identity {
  transport::identity me;
  me.self = to_node(self);
  for (std::size_t i = 0; i < n; ++i) {
    if (i != self) me.peers.push_back(to_node(i));
  }
  me.blocks = block_partition{test_values, 64};
  me.channels = {{channel_id::model, channel_kind::state, element::f32, carrying(scalar_slot::push_sum_weight)},
                 {channel_id::tracker, channel_kind::state, element::i32},
                 {channel_id::chunk, channel_kind::event, element::f32, carrying(scalar_slot::loss), body_form::part},
                 {channel_id::gradient, channel_kind::event, element::f32, 0, body_form::codes}};
  me.agreed.add("nodes", n).add("seed", 1);
  me.check = &wire::xxh3_of;
  return me;
}

/// A vector whose first value is `first`, counting upwards.
inline auto counting(buffer_pool& pool, float first, std::size_t values = test_values) -> shared_buffer {
  auto body = pool.allocate<float>(values);
  std::iota(body.data(), body.data() + values, first);
  return std::move(body).publish();
}

inline auto message(std::size_t from, std::size_t to, channel_id channel, std::uint64_t number, shared_buffer body)
    -> packet {
  packet p;
  p.from = to_node(from);
  p.to = to_node(to);
  p.channel = channel;
  p.number = iteration{number};
  p.body = std::move(body);
  return p;
}

/// Everything that reached an endpoint so far.
template<class T>
struct seat {
  std::unique_ptr<T> end;
  std::vector<incoming> got{};
  bool rests = false;  // is not polled

  [[nodiscard]] auto count(what kind) const -> std::size_t {
    return static_cast<std::size_t>(
        std::count_if(got.begin(), got.end(), [&](auto const& n) { return n.kind == kind; }));
  }
  [[nodiscard]] auto messages(channel_id channel) const -> std::vector<incoming> {
    std::vector<incoming> all;
    for (auto const& n : got) {
      if (n.kind == what::message && n.p.channel == channel) all.push_back(n);
    }
    return all;
  }
  /// The newest number of each block that has arrived on a channel of states.
  [[nodiscard]] auto newest_blocks(channel_id channel = channel_id::model) const -> std::vector<std::uint64_t> {
    std::vector<std::uint64_t> newest(test_blocks);
    for (auto const& n : messages(channel)) {
      for (auto b = n.blocks.begin; b < n.blocks.end; ++b) newest[b] = std::max(newest[b], to_count(n.p.number));
    }
    return newest;
  }
  [[nodiscard]] auto newest(what kind) const -> incoming const* {
    auto const at = std::find_if(got.rbegin(), got.rend(), [&](auto const& n) { return n.kind == kind; });
    return at == got.rend() ? nullptr : &*at;
  }
};

/// Polls all in turn until `done` holds, and calls `meanwhile(seat)` between two polls of each; false after half a
/// minute, which no healthy run comes near.
template<class T>
auto poll_until(std::vector<seat<T>*> const& seats, std::function<bool()> const& done,
                std::function<void(seat<T>&)> const& meanwhile = {}) -> bool {
  auto const latest = transport::clock::now() + std::chrono::seconds{30};
  while (!done()) {
    if (transport::clock::now() > latest) return false;
    for (auto* s : seats) {
      if (!s->end || s->rests) continue;
      s->end->poll(transport::clock::now() + std::chrono::milliseconds{1}, s->got);
      if (meanwhile) meanwhile(*s);
    }
    std::this_thread::yield();
  }
  return true;
}

/// What a world may set of its transport.
struct limits {
  std::size_t event_bound = 64;
  std::chrono::nanoseconds arrival = std::chrono::seconds{10};
  std::chrono::nanoseconds silence = std::chrono::seconds{5};
};

/// make(self) gives node self's endpoint, or nothing if another process has it; everywhere(done) says whether all
/// processes are done; vanish(end) makes a peer go without a word.
template<class T>
class world;

/// The seats of n nodes. The same calls are made in every process; what `at` is given runs where that node is.
template<class T>
class table {
 public:
  explicit table(std::size_t n, limits const& l = {}) : world_{n, l}, seats_(n) {}

  void sit(std::size_t i) { seats_[i] = {world_.make(i), {}, false}; }
  /// Everybody sits down and meets all others.
  [[nodiscard]] auto meets() -> bool {
    for (std::size_t i = 0; i < seats_.size(); ++i) sit(i);
    return until_all([&](auto const& me) { return me.count(what::opened) == seats_.size() - 1; });
  }
  void vanish(std::size_t i) {
    if (seats_[i].end) world_.vanish(std::exchange(seats_[i].end, nullptr));
  }

  /// From now on, and until it goes on, nobody polls it.
  void rest(std::size_t i) { seats_[i].rests = true; }
  void go_on(std::size_t i) { seats_[i].rests = false; }

  template<class Do>
  void at(std::size_t i, Do what_to_do) {
    if (seats_[i].end) what_to_do(seats_[i]);
  }
  /// Polls all until `done(seat i)`; `meanwhile(seat)` is called between two polls of each seat.
  template<class Done>
  [[nodiscard]] auto until(std::size_t i, Done done, std::function<void(seat<T>&)> const& meanwhile = {}) -> bool {
    return poll([&] { return !seats_[i].end || done(seats_[i]); }, meanwhile);
  }
  template<class Done>
  [[nodiscard]] auto until_all(Done done, std::function<void(seat<T>&)> const& meanwhile = {}) -> bool {
    return poll([&] { return std::all_of(seats_.begin(), seats_.end(), [&](auto& s) { return !s.end || done(s); }); },
                meanwhile);
  }

 private:
  auto poll(std::function<bool()> const& done, std::function<void(seat<T>&)> const& meanwhile) -> bool {
    std::vector<seat<T>*> all;
    for (auto& s : seats_) all.push_back(&s);
    return poll_until<T>(all, [&] { return world_.everywhere(done()); }, meanwhile);
  }

  world<T> world_;
  std::vector<seat<T>> seats_;
};

}  // namespace rubato::test
