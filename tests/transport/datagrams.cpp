// SPDX-License-Identifier: MIT
// Many datagrams in one system call: they arrive unchanged, whichever side cuts and joins them, and anything that is no
// datagram ends neither the reading nor the process.
#include <rubato/transport/detail/datagrams.hpp>

#include <linux/net_tstamp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

using transport::detail::incoming_datagrams;
using transport::detail::joins_and_cuts;
using transport::detail::outgoing_datagrams;
using bytes = std::vector<std::byte>;

constexpr std::size_t full = 1200 - wire::header_bytes;

/// A UDP socket on a loopback port that the system chose.
class port {
 public:
  /// Nothing where the system has no such loopback.
  static auto open(int family) -> std::optional<port> {
    port p{socket(family, SOCK_DGRAM, 0)};
    auto& v4 = reinterpret_cast<sockaddr_in&>(p.address_);
    auto& v6 = reinterpret_cast<sockaddr_in6&>(p.address_);
    p.address_.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else v6.sin6_addr = in6addr_loopback;
    p.address_bytes_ = family == AF_INET ? sizeof v4 : sizeof v6;
    if (p.descriptor_ < 0 || bind(p.descriptor_, p.address(), p.address_bytes_) != 0) return std::nullopt;
    getsockname(p.descriptor_, p.address(), &p.address_bytes_);
    return p;
  }
  port(port&& other) noexcept
      : descriptor_{std::exchange(other.descriptor_, -1)},
        address_{other.address_},
        address_bytes_{other.address_bytes_} {}
  auto operator=(port&&) -> port& = delete;
  ~port() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  [[nodiscard]] auto descriptor() const -> int { return descriptor_; }
  [[nodiscard]] auto address() -> sockaddr* { return reinterpret_cast<sockaddr*>(&address_); }
  [[nodiscard]] auto address_bytes() const -> socklen_t { return address_bytes_; }
  [[nodiscard]] auto is_that_of(incoming_datagrams const& in) const -> bool {
    return in.address_bytes() == address_bytes_ && std::memcmp(in.address(), &address_, address_bytes_) == 0;
  }

 private:
  explicit port(int descriptor) : descriptor_{descriptor} {}
  int descriptor_;
  sockaddr_storage address_{};
  socklen_t address_bytes_ = 0;
};

/// Sends frames with bodies of these sizes, together if `cuts`; returns them as they are to arrive.
auto send(port const& from, port& to, std::vector<std::size_t> const& sizes, bool cuts) -> std::vector<bytes> {
  std::vector<bytes> bodies, frames;
  for (std::size_t k = 0; k < sizes.size(); ++k) bodies.emplace_back(sizes[k], static_cast<std::byte>(100 + k));
  outgoing_datagrams out;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    auto const header = out.add(bodies[k]);
    std::fill(header.begin(), header.end(), static_cast<std::byte>(k));
    frames.emplace_back(header.begin(), header.end());
    frames.back().insert(frames.back().end(), bodies[k].begin(), bodies[k].end());
    if (cuts && k + 1 < sizes.size()) continue;
    REQUIRE(out.leave(from.descriptor(), to.address(), to.address_bytes()) == std::errc{});
    REQUIRE(out.size() == 0);
  }
  return frames;
}

/// Whether there is something to receive, within ten seconds.
auto is_ready(port const& at) -> bool {
  pollfd one{at.descriptor(), POLLIN, 0};
  return poll(&one, 1, 10'000) == 1;
}

/// So many datagrams, as soon as they are there; all must be from there.
auto receive(port const& at, port const& from, std::size_t n) -> std::vector<bytes> {
  std::vector<bytes> got;
  incoming_datagrams in;
  while (got.size() < n && is_ready(at)) {
    REQUIRE(in.receive(at.descriptor()));
    CHECK(from.is_that_of(in));
    in.for_each([&](std::span<std::byte const> d) { got.emplace_back(d.begin(), d.end()); });
  }
  CHECK_FALSE(in.receive(at.descriptor()));
  return got;
}

TEST_CASE("frames arrive unchanged, many or one, with a shorter last one or no body, batched or one by one") {
  auto last_shorter = std::vector<std::size_t>(7, full);
  last_shorter.push_back(5);
  auto const sets = {
      std::vector<std::size_t>(outgoing_datagrams::most, full), last_shorter, {full, 0}, {full}, {0}, {0, 0, 0}};
  for (auto const family : {AF_INET, AF_INET6}) {
    for (auto const joins : {false, true}) {
      auto here = port::open(family), there = port::open(family);
      if (family == AF_INET6 && !here) continue;
      REQUIRE((here && there));
      auto const cuts = joins && joins_and_cuts(here->descriptor());
      for (auto const& sizes : sets) {
        INFO(sizes.size() << " frames, family " << family << (cuts ? ", together" : ", one by one"));
        auto const frames = send(*there, *here, sizes, cuts);
        CHECK(receive(*here, *there, frames.size()) == frames);
      }
    }
  }
}

TEST_CASE("datagrams of a stranger in between arrive under its own address") {
  auto here = port::open(AF_INET), peer = port::open(AF_INET), stranger = port::open(AF_INET);
  REQUIRE((here && peer && stranger));
  auto const cuts = joins_and_cuts(here->descriptor());
  send(*peer, *here, {full, full}, cuts);
  send(*stranger, *here, {full}, cuts);
  send(*peer, *here, {full}, cuts);
  std::size_t of_peer = 0, of_stranger = 0;
  incoming_datagrams in;
  while (of_peer + of_stranger < 4 && is_ready(*here)) {
    REQUIRE(in.receive(here->descriptor()));
    REQUIRE((peer->is_that_of(in) || stranger->is_that_of(in)));
    in.for_each([&](auto) { ++(peer->is_that_of(in) ? of_peer : of_stranger); });
  }
  CHECK(of_peer == 3);
  CHECK(of_stranger == 1);
}

TEST_CASE("an error about a sent datagram is received as an empty datagram, and a lasting error as nothing") {
  auto here = port::open(AF_INET), there = port::open(AF_INET);
  REQUIRE((here && there));
  outgoing_datagrams out;
  incoming_datagrams in;
  auto datagrams = 0;
  REQUIRE(connect(here->descriptor(), there->address(), there->address_bytes()) == 0);
  {
    auto const closed = std::move(*there);
  }
  out.add({});
  REQUIRE(out.leave(here->descriptor(), nullptr, 0) == std::errc{});
  REQUIRE(is_ready(*here));
  CHECK(in.receive(here->descriptor()));  // nobody listens there
  in.for_each([&](auto) { ++datagrams; });
  CHECK(datagrams == 0);
  CHECK_FALSE(in.receive(here->descriptor()));
  CHECK_FALSE(in.receive(-1));
  out.add({});
  CHECK(out.leave(-1, nullptr, 0) == std::errc::bad_file_descriptor);
  bytes const large(70'000);
  out.add(large);
  CHECK(out.leave(here->descriptor(), nullptr, 0) == std::errc::message_size);
}

TEST_CASE("if the system cannot report what it joined, the data are not taken for one frame") {
  auto here = port::open(AF_INET), there = port::open(AF_INET);
  REQUIRE((here && there));
  if (!joins_and_cuts(here->descriptor())) return;
  auto const noted = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;  // which takes all the room
  REQUIRE(setsockopt(here->descriptor(), SOL_SOCKET, SO_TIMESTAMPING, &noted, sizeof noted) == 0);
  send(*there, *here, {full, full, full}, true);
  REQUIRE(is_ready(*here));
  incoming_datagrams in;
  auto joined = 0;
  while (in.receive(here->descriptor()))
    in.for_each([&](auto d) {
      if (d.size() != 1200) ++joined;
    });
  CHECK(joined == 0);
}

}  // namespace
}  // namespace rubato::test
