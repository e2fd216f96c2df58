// SPDX-License-Identifier: MIT
// A few endpoints of one transport on this machine, polled by one thread, for tests that hold for every transport.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/transport/in_process.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/zlib.hpp>

namespace rubato::test {

using transport::incoming;
using what = transport::incoming::what;

inline constexpr std::size_t test_values = 300;

/// Node `self` of n, all of which talk to each other; vectors of 300 floats in blocks of 64.
inline auto test_identity(std::size_t self, std::size_t n) -> transport::identity {
  transport::identity me;
  me.self = to_node(self);
  for (std::size_t i = 0; i < n; ++i) {
    if (i != self) me.peers.push_back(to_node(i));
  }
  me.blocks = block_partition{test_values, 64};
  me.channels = {{channel::model, channel_kind::state, element::f32, carrying(scalar_slot::push_sum_weight)},
                 {channel::tracker, channel_kind::state, element::i32},
                 {channel::chunk, channel_kind::event, element::f32, carrying(scalar_slot::loss)}};
  me.agreed.add("nodes", n).add("seed", 1);
  me.check = &wire::crc32_of;
  return me;
}

/// A vector whose first value is `first`, counting upwards.
inline auto counting(buffer_pool& pool, float first, std::size_t values = test_values) -> shared_buffer {
  auto body = pool.allocate<float>(values);
  std::iota(body.data(), body.data() + values, first);
  return std::move(body).publish();
}

inline auto message(std::size_t from, std::size_t to, channel lane, std::uint64_t number, shared_buffer body) -> packet {
  packet p;
  p.from = to_node(from);
  p.to = to_node(to);
  p.lane = lane;
  p.number = iteration{number};
  p.body = std::move(body);
  return p;
}

/// Doors of n nodes on loopback, with ports that the system chose.
struct tcp_doors {
  explicit tcp_doors(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      auto const door = transport::open_tcp_door("127.0.0.1:0");
      descriptors.push_back(door.descriptor);
      addresses.push_back(door.address);
    }
  }
  [[nodiscard]] auto options(std::size_t self) -> transport::tcp_options {
    transport::tcp_options o;
    o.addresses = addresses;
    o.listener = std::exchange(descriptors[self], -1);
    if (*o.listener < 0) o.listener.reset();  // a second life opens the same port anew
    return o;
  }
  std::vector<int> descriptors;
  std::vector<std::string> addresses;
};

template<class T>
class world;

template<>
class world<transport::in_process> {
 public:
  explicit world(std::size_t n, std::size_t bound = 64) : n_{n}, room_{n, bound} {}
  auto make(std::size_t self) -> std::unique_ptr<transport::in_process> {
    return std::make_unique<transport::in_process>(room_, test_identity(self, n_));
  }

 private:
  std::size_t n_;
  transport::in_process::room room_;
};

template<>
class world<transport::tcp> {
 public:
  explicit world(std::size_t n, std::size_t bound = 64) : n_{n}, bound_{bound}, doors_{n} {}
  auto make(std::size_t self) -> std::unique_ptr<transport::tcp> {
    auto o = doors_.options(self);
    o.event_bound = bound_;
    return std::make_unique<transport::tcp>(test_identity(self, n_), std::move(o));
  }

 private:
  std::size_t n_;
  std::size_t bound_;
  tcp_doors doors_;
};

/// Everything that reached an endpoint so far.
template<class T>
struct seat {
  std::unique_ptr<T> end;
  std::vector<incoming> got{};

  [[nodiscard]] auto count(what kind) const -> std::size_t {
    return static_cast<std::size_t>(std::count_if(got.begin(), got.end(), [&](auto const& n) { return n.kind == kind; }));
  }
  [[nodiscard]] auto messages(channel lane) const -> std::vector<incoming> {
    std::vector<incoming> all;
    for (auto const& n : got) {
      if (n.kind == what::message && n.p.lane == lane) all.push_back(n);
    }
    return all;
  }
  [[nodiscard]] auto newest(what kind) const -> incoming const* {
    auto const at = std::find_if(got.rbegin(), got.rend(), [&](auto const& n) { return n.kind == kind; });
    return at == got.rend() ? nullptr : &*at;
  }
};

/// Polls all in turn until `done` holds; false after half a minute, which no healthy run comes near.
template<class T>
auto poll_until(std::vector<seat<T>*> const& seats, std::function<bool()> const& done) -> bool {
  auto const latest = transport::clock::now() + std::chrono::seconds{30};
  while (!done()) {
    if (transport::clock::now() > latest) return false;
    for (auto* s : seats) {
      if (s->end) s->end->poll(transport::clock::now() + std::chrono::milliseconds{1}, s->got);
    }
  }
  return true;
}

/// n endpoints that have met.
template<class T>
auto meeting(world<T>& w, std::size_t n) -> std::vector<seat<T>> {
  std::vector<seat<T>> seats;
  std::vector<seat<T>*> all;
  for (std::size_t i = 0; i < n; ++i) seats.push_back({w.make(i)});
  for (auto& s : seats) all.push_back(&s);
  auto const met = poll_until<T>(all, [&] {
    return std::all_of(seats.begin(), seats.end(), [&](auto const& s) { return s.count(what::opened) == n - 1; });
  });
  if (!met) seats.clear();
  return seats;
}

}  // namespace rubato::test
