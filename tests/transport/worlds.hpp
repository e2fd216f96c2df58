// SPDX-License-Identifier: MIT
// Where endpoints of each transport of one process meet: in a room, on ports of this machine that the system chooses,
// under a name of shared memory, or on the simulator's links.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/environment/network.hpp>
#include <rubato/transport/in_process.hpp>
#include <rubato/transport/shared_memory.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/transport/udp.hpp>

#if defined(RUBATO_TEST_TLS)
#include <rubato/transport/tls.hpp>
#include "support/scratch_folder.hpp"
#endif

#include "transport/seats.hpp"

namespace rubato::test {

/// Bound sockets of n nodes on loopback, with ports that the system chose. The first start of a node takes its own
/// over, as `Options::*taken` says; a second one opens the same port anew.
template<class Options, auto open, auto taken>
struct doors_of {
  explicit doors_of(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      auto const bound_socket = open("127.0.0.1:0", false);
      descriptors.push_back(bound_socket.descriptor);
      addresses.push_back(bound_socket.address);
    }
  }
  [[nodiscard]] auto options(std::size_t self, Options o = {}) -> Options {
    o.addresses = addresses;
    if (auto const d = std::exchange(descriptors[self], -1); d >= 0) o.*taken = d;
    return o;
  }
  std::vector<int> descriptors;
  std::vector<std::string> addresses;
};
/// The same of nodes that agree on keys for their datagrams: a socket of UDP and one of TCP for each.
struct keyed_udp_doors {
  explicit keyed_udp_doors(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      sockets.push_back(transport::open_udp_sockets("127.0.0.1:0"));
      addresses.push_back(sockets.back().datagrams.address);
    }
  }
  [[nodiscard]] auto options(std::size_t self, transport::udp_options o = {}) -> transport::udp_options {
    o.addresses = addresses;
    auto const taken = std::exchange(sockets[self], {});
    if (taken.datagrams.descriptor >= 0) o.socket = taken.datagrams.descriptor, o.listener = taken.calls.descriptor;
    return o;
  }
  std::vector<transport::udp_sockets> sockets;
  std::vector<std::string> addresses;
};
using tcp_doors = doors_of<transport::tcp_options, transport::open_tcp_socket, &transport::tcp_options::listener>;
using udp_doors = doors_of<transport::udp_options, transport::open_udp_socket, &transport::udp_options::socket>;

/// A name of a run that no other run of this machine has.
inline auto fresh_run_name() -> std::string {
  static std::atomic<int> runs{0};
  return "test-" + std::to_string(::getpid()) + "-" + std::to_string(++runs);
}
struct shared_memory_doors {
  explicit shared_memory_doors(std::size_t) {}
  [[nodiscard]] auto options(std::size_t, transport::shared_memory_options o = {}) const {
    o.run = run;
    return o;
  }
  std::string run = fresh_run_name();
};

/// Without events, which UDP does not carry.
inline auto state_identity(std::size_t self, std::size_t n, std::uint64_t seed = 1) -> transport::identity {
  auto me = test_identity(self, n);
  std::erase_if(me.channels, [](channel_spec const& c) { return c.kind == channel_kind::event; });
  me.agreed = {};
  me.agreed.add("nodes", n).add("seed", seed);
  return me;
}

/// All seats of a world in one process.
struct one_process {
  static auto everywhere(bool done) -> bool { return done; }
  template<class End>
  static void vanish(std::unique_ptr<End>) {}
};

template<>
class world<transport::in_process> : public one_process {
 public:
  world(std::size_t n, limits const& l) : n_{n}, room_{n, l.event_bound, l.arrival} {}
  auto make(std::size_t self) -> std::unique_ptr<transport::in_process> {
    return std::make_unique<transport::in_process>(room_, test_identity(self, n_));
  }

 private:
  std::size_t n_;
  transport::in_process::room room_;
};

template<>
class world<transport::tcp> : public one_process {
 public:
  world(std::size_t n, limits const& l) : n_{n}, limits_{l}, doors_{n} {}
  auto make(std::size_t self) -> std::unique_ptr<transport::tcp> {
    auto o = doors_.options(self);
    o.event_bound = limits_.event_bound;
    o.arrival = limits_.arrival;
    o.silence = limits_.silence;
    return std::make_unique<transport::tcp>(test_identity(self, n_), std::move(o));
  }

 private:
  std::size_t n_;
  limits limits_;
  tcp_doors doors_;
};

#if defined(RUBATO_TEST_TLS)
/// TCP between nodes that have one key.
class tcp_with_key : public transport::tcp {
 public:
  using tcp::tcp;
};

template<>
class world<tcp_with_key> : public one_process {
 public:
  world(std::size_t n, limits const& l) : n_{n}, limits_{l}, doors_{n} {
    auto const file = folder_.path() / "run.key";
    transport::make_key(file);
    key_ = transport::shared_key(file);
  }
  auto make(std::size_t self) -> std::unique_ptr<tcp_with_key> {
    auto o = doors_.options(self);
    o.event_bound = limits_.event_bound;
    o.arrival = limits_.arrival;
    o.silence = limits_.silence;
    o.security = key_;
    return std::make_unique<tcp_with_key>(test_identity(self, n_), std::move(o));
  }

 private:
  std::size_t n_;
  limits limits_;
  tcp_doors doors_;
  scratch_folder folder_{"key"};
  std::shared_ptr<transport::security const> key_;
};

/// UDP between nodes that have one key.
class udp_with_key : public transport::udp {
 public:
  using udp::udp;
};

template<>
class world<udp_with_key> : public one_process {
 public:
  world(std::size_t n, limits const& l) : n_{n}, limits_{l}, doors_{n} {
    auto const file = folder_.path() / "run.key";
    transport::make_key(file);
    key_ = transport::shared_key(file);
  }
  auto make(std::size_t self) -> std::unique_ptr<udp_with_key> {
    auto o = doors_.options(self, {.security = key_, .arrival = limits_.arrival, .silence = limits_.silence});
    return std::make_unique<udp_with_key>(state_identity(self, n_), std::move(o));
  }

 private:
  std::size_t n_;
  limits limits_;
  keyed_udp_doors doors_;
  scratch_folder folder_{"key"};
  std::shared_ptr<transport::security const> key_;
};

using with_keys = std::tuple<tcp_with_key, udp_with_key>;
using lossless_with_keys = std::tuple<tcp_with_key>;
#else
using with_keys = std::tuple<>;
using lossless_with_keys = std::tuple<>;
#endif
template<class... All, class... More>
auto joined(std::tuple<All...> const*, std::tuple<More...> const*) -> std::tuple<All..., More...>;
template<class Keyed, class... All>
using and_also = decltype(joined(static_cast<std::tuple<All...>*>(nullptr), static_cast<Keyed*>(nullptr)));

template<>
class world<transport::shared_memory> : public one_process {
 public:
  world(std::size_t n, limits const& l) : n_{n}, limits_{l}, doors_{n} {}
  auto make(std::size_t self) -> std::unique_ptr<transport::shared_memory> {
    auto o = doors_.options(self, {.arrival = limits_.arrival, .silence = limits_.silence});
    o.event_bound = limits_.event_bound;
    return std::make_unique<transport::shared_memory>(test_identity(self, n_), std::move(o));
  }

 private:
  std::size_t n_;
  limits limits_;
  shared_memory_doors doors_;
};

template<>
class world<transport::udp> : public one_process {
 public:
  world(std::size_t n, limits const& l) : n_{n}, limits_{l}, doors_{n} {}
  auto make(std::size_t self) -> std::unique_ptr<transport::udp> {
    auto o = doors_.options(self, {.arrival = limits_.arrival, .silence = limits_.silence});
    return std::make_unique<transport::udp>(state_identity(self, n_), std::move(o));
  }

 private:
  std::size_t n_;
  limits limits_;
  udp_doors doors_;
};

/// The links of the simulator as far as they carry messages: a session of an edge is the simulator's own, so nobody
/// comes or goes here. Events are lost and sent again by the link; of states nothing is lost.
class simulated {
 public:
  static constexpr bool lossless = true;
  static constexpr bool ordered = true;

  struct air {
    explicit air(std::size_t n) : net{world, n} {}
    environment::scenario world{
        .link = {.latency = std::chrono::milliseconds{1}, .jitter = std::chrono::milliseconds{2}}};
    environment::network net;
    environment::nanoseconds now{};
    std::multimap<environment::nanoseconds, packet> under_way;
  };

  simulated(std::shared_ptr<air> a, transport::identity me) : air_{std::move(a)}, me_{std::move(me)} {
    for (auto const peer : me_.peers) news_.push_back({incoming::what::opened, peer, {}, {}, {}, {}, {}});
  }
  auto send(channel_kind kind, packet p) -> transport::send_status {
    auto& edge = air_->net.edge_between(p.from, p.to);
    air_->world.link.loss = kind == channel_kind::event ? 0.3 : 0;
    auto const j = air_->net.transmit(edge, air_->net.channel_of(edge, p.channel, kind), p, p.body.size(), air_->now);
    if (j.arrival) air_->under_way.emplace(*j.arrival, std::move(p));
    return transport::send_status::accepted;
  }
  /// What has arrived for this node by the time at which the next of all packets does.
  void poll(transport::clock::time_point, std::vector<incoming>& in) {
    for (auto& n : std::exchange(news_, {})) in.push_back(std::move(n));
    auto& all = air_->under_way;
    if (!all.empty()) air_->now = std::max(air_->now, all.begin()->first);
    for (auto at = all.begin(); at != all.end() && at->first <= air_->now;) {
      auto& p = at->second;
      if (p.to == me_.self) in.push_back({incoming::what::message, p.from, p, {0, me_.blocks.blocks()}, {}, {}, {}});
      at = p.to == me_.self ? all.erase(at) : std::next(at);
    }
  }

 private:
  std::shared_ptr<air> air_;
  transport::identity me_;
  std::vector<incoming> news_;
};

template<>
class world<simulated> : public one_process {
 public:
  world(std::size_t n, limits const&) : n_{n}, air_{std::make_shared<simulated::air>(n)} {}
  auto make(std::size_t self) { return std::make_unique<simulated>(air_, test_identity(self, n_)); }

 private:
  std::size_t n_;
  std::shared_ptr<simulated::air> air_;
};

using every_transport =
    and_also<with_keys, transport::in_process, transport::tcp, transport::shared_memory, transport::udp>;
using lossless_transports =
    and_also<lossless_with_keys, transport::in_process, transport::tcp, transport::shared_memory>;
using transports_with_silence =
    and_also<with_keys, transport::tcp, transport::shared_memory, transport::udp>;  // in a room nobody is silent
using carriers_of_messages =
    and_also<with_keys, transport::in_process, transport::tcp, transport::shared_memory, transport::udp, simulated>;
using carriers_of_events = std::tuple<transport::in_process, transport::tcp, transport::shared_memory, simulated>;

}  // namespace rubato::test
