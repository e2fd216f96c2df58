// SPDX-License-Identifier: MIT
// What happens when a port is used by anything but a healthy peer: each case is one sentence or a counted rejection.
#include <rubato/transport/tcp.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/connect.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using transport::send_status;
using transport::tcp;
using tcp_seat = seat<tcp>;
namespace asio = boost::asio;

/// A client that knows nothing of rubato.
class stranger {
 public:
  explicit stranger(std::string const& where) : socket_{io_} {
    auto const a = transport::address_in(where);
    socket_.connect({a.host, a.port}, error_);
  }
  void say(std::vector<std::byte> const& bytes) { asio::write(socket_, asio::buffer(bytes), error_); }
  void say(std::string const& text) { asio::write(socket_, asio::buffer(text), error_); }
  /// Whether the other side has closed (reads what there is, and throws it away).
  [[nodiscard]] auto is_turned_away() -> bool {
    socket_.non_blocking(true, error_);
    std::vector<std::byte> bytes(4096);
    while (true) {
      boost::system::error_code e;
      auto const n = socket_.read_some(asio::buffer(bytes), e);
      heard_.insert(heard_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      if (e == asio::error::would_block) return false;
      if (e) return true;
    }
  }
  [[nodiscard]] auto heard() const -> std::size_t { return heard_.size(); }

 private:
  asio::io_context io_;
  asio::ip::tcp::socket socket_;
  boost::system::error_code error_;
  std::vector<std::byte> heard_;
};

auto identity_with_seed(std::size_t self, std::size_t n, std::uint64_t seed) -> transport::identity {
  auto me = test_identity(self, n);
  me.agreed = {};
  me.agreed.add("nodes", n).add("seed", seed);
  return me;
}

auto seat_of(tcp_doors& doors, std::size_t self, transport::tcp_options const& deadlines, std::size_t n = 2)
    -> tcp_seat {
  auto o = doors.options(self);
  o.arrival = deadlines.arrival;
  o.greeting = deadlines.greeting;
  o.silence = deadlines.silence;
  return {std::make_unique<tcp>(test_identity(self, n), std::move(o))};
}

auto hello_of(std::size_t from, std::size_t to, std::uint64_t seed) -> std::vector<std::byte> {
  wire::agreement agreed;
  agreed.add("nodes", 2).add("seed", seed);
  return wire::encode_hello({agreed.id(), to_node(from), to_node(to), 0, 0, 0, 0}, agreed.text());
}

TEST_CASE("a closed connection reads no body any more, also if a part of it had just gone") {
  auto const at = transport::detail::phase::closed;
  auto const open = transport::detail::phase::open;
  auto moved = transport::clock::time_point{};
  auto body = std::vector<std::byte>(1 << 20);
  auto tail = std::array<std::byte, wire::tail_bytes>{};
  auto const header = std::array<std::byte, wire::header_bytes>{};
  auto sum = wire::running_sum{header, wire::seal{1, &wire::xxh3_of}}, none = sum;
  auto const goes = [&](wire::running_sum& s, transport::detail::phase const& p) {
    return transport::detail::summed_on_its_way{&moved, &s, body, tail.data(), &p}({}, body.size());
  };
  CHECK(goes(none, at) == 0);
  CHECK(moved == transport::clock::time_point{});
  CHECK(tail == std::array<std::byte, wire::tail_bytes>{});
  CHECK(goes(sum, open) > 0);
  CHECK(tail != std::array<std::byte, wire::tail_bytes>{});
}

TEST_CASE("an address in use, an invalid one and one beyond loopback are each refused in one sentence") {
  auto const bound_socket = transport::open_tcp_socket("127.0.0.1:0");
  CHECK(says(refusal([&] { static_cast<void>(transport::open_tcp_socket(bound_socket.address)); }), "in use"));
  CHECK(says(refusal([&] { static_cast<void>(transport::open_tcp_socket(bound_socket.address)); }),
             bound_socket.address.c_str()));
  asio::io_context io;
  asio::ip::tcp::acceptor{io, asio::ip::tcp::v4(), bound_socket.descriptor}.close();
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("127.0.0.1")); }), "host:port"));
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("127.0.0.1:70000")); }), "65535"));
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("999.0.0.1:80")); }), "by number"));
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("192.0.2.1:80")); }), "insecure"));
  CHECK(transport::address_in("192.0.2.1:80", true).text() == "192.0.2.1:80");
  CHECK(transport::address_in("localhost:7").text() == "127.0.0.1:7");
  CHECK(transport::address_in("[::1]:7").text() == "[::1]:7");
  CHECK(says(refusal([] { tcp t{test_identity(0, 3), {.addresses = {"127.0.0.1:0", "127.0.0.1:1"}}}; }),
             "node 2 has no address"));
  CHECK(says(
      refusal([] { tcp t{test_identity(0, 3), {.addresses = {"127.0.0.1:0", "127.0.0.1:7001", "127.0.0.1:7001"}}}; }),
      "nodes 1 and 2 are given the same address, 127.0.0.1:7001: each needs one of its own"));
}

TEST_CASE("peers with different options are refused on both sides, and both are told soon which option differs") {
  tcp_doors doors{2};
  tcp_seat one{std::make_unique<tcp>(identity_with_seed(0, 2, 1), doors.options(0))};
  tcp_seat two{std::make_unique<tcp>(identity_with_seed(1, 2, 7), doors.options(1))};
  auto const began = transport::clock::now();
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::closed) == 1 && two.count(what::closed) == 1; }));
  CHECK(transport::clock::now() - began > 500ms);  // both wait a second for the right process, and no longer
  CHECK(says(two.newest(what::closed)->why, "has seed 1, but this node has 7"));
  CHECK(says(two.newest(what::closed)->why, "node 0 at 127.0.0.1"));
  CHECK(says(one.newest(what::closed)->why, "has seed 7, but this node has 1"));
  CHECK((one.end->rejected().options > 1 && two.end->rejected().options > 1));
  CHECK((one.count(what::opened) == 0 && two.count(what::opened) == 0));
}

/// What a transport said.
auto spoken() -> std::vector<std::string>& {
  static std::vector<std::string> all;
  return all;
}

TEST_CASE("who comes once with other options in a peer's name ends nothing, and is told of once") {
  tcp_doors doors{2};
  auto o = doors.options(0);
  o.says = [](std::string_view sentence) { spoken().emplace_back(sentence); };
  spoken().clear();
  tcp_seat one{std::make_unique<tcp>(test_identity(0, 2), std::move(o))};
  {
    stranger other_run{doors.addresses[0]}, another{doors.addresses[0]};  // both have called before either is heard
    other_run.say(hello_of(1, 0, 2));
    another.say(hello_of(1, 0, 3));
    REQUIRE(poll_until<tcp>({&one}, [&] { return other_run.is_turned_away() && another.is_turned_away(); }));
  }
  auto const since = transport::clock::now();  // far longer than who keeps differing is borne
  REQUIRE(poll_until<tcp>({&one}, [&] { return transport::clock::now() - since > 2s; }));
  CHECK(one.got.empty());
  CHECK(one.end->rejected().options == 2);
  REQUIRE(spoken().size() == 1);
  CHECK(says(spoken()[0], "a process that takes itself for node 1 was refused, since node 1 at 127.0.0.1"));
  CHECK((says(spoken()[0], "has seed 2, but this node has 1") || says(spoken()[0], "has seed 3")));
  auto two = seat_of(doors, 1, {});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
}

/// Of a device: copies to the host are counted.
struct far_memory final : memory_source {
  auto allocate(std::size_t bytes) -> std::byte* override { return heap.allocate(bytes); }
  void release(std::byte* at, std::size_t bytes) noexcept override { heap.release(at, bytes); }
  auto is_on_host() const -> bool override { return false; }
  void copy_to_host(std::byte const* from, std::byte* to, std::size_t bytes) override {
    ++copies;
    std::memcpy(to, from, bytes);
  }
  auto host_side() const -> std::shared_ptr<memory_source> override { return std::make_shared<heap_memory>(); }
  heap_memory heap;
  int copies = 0;
};

TEST_CASE("the body of a message is copied from its device only where it is received") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {});
  auto const memory = std::make_shared<far_memory>();
  buffer_pool pool{memory};
  auto const p = message(0, 1, channel_id::model, 1, counting(pool, 1));
  CHECK(one.end->send(channel_kind::state, packet{p}) == send_status::closed);
  CHECK(memory->copies == 0);
  auto two = seat_of(doors, 1, {});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1; }));
  CHECK(one.end->send(channel_kind::state, packet{p}) == send_status::accepted);
  CHECK(memory->copies == 1);
}

TEST_CASE("a peer that never connects is reported by name within its deadline, whichever side calls") {
  tcp_doors doors{2};
  auto const nobody = transport::open_tcp_socket("127.0.0.1:0");
  asio::io_context io;
  asio::ip::tcp::acceptor{io, asio::ip::tcp::v4(), nobody.descriptor}.close();
  auto waits = seat_of(doors, 0, {.arrival = 50ms});
  auto o = doors.options(1);
  o.addresses[0] = nobody.address;
  o.arrival = 500ms;  // within which it has been refused, however slow the machine is
  tcp_seat calls{std::make_unique<tcp>(test_identity(1, 2), std::move(o))};
  REQUIRE(poll_until<tcp>({&waits, &calls},
                          [&] { return waits.count(what::closed) == 1 && calls.count(what::closed) == 1; }));
  CHECK(says(waits.newest(what::closed)->why, "node 1 at 127.0.0.1"));
  CHECK(says(waits.newest(what::closed)->why, "has not come within 0.05 s: it has not called"));
  CHECK(says(calls.newest(what::closed)->why, "Connection refused"));
  // Who listens, and never looks, is given as long as all are.
  tcp_doors silent{2};
  auto vainly = seat_of(silent, 1, {.arrival = 500ms, .greeting = 20ms});
  REQUIRE(poll_until<tcp>({&vainly}, [&] { return vainly.count(what::closed) == 1; }));
  CHECK(says(vainly.newest(what::closed)->why, "has not come within 0.5 s: it has not answered"));
}

TEST_CASE("a host may be given by name, and sentences include its address or say that it has none") {
  auto const here = transport::address_in("LocalHost:7000");
  CHECK(here.host.is_loopback());
  CHECK(here.text() == "LocalHost:7000 (" + here.host.to_string() + ")");
  CHECK(transport::address_in("localhost:7000").text() == "127.0.0.1:7000");
  CHECK(transport::address_in("[::1]:7000").text() == "[::1]:7000");
  CHECK(transport::address_in("[::ffff:127.0.0.1]:7000").text() == "127.0.0.1:7000");
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("no..where:7000")); }),
             "no host is known here by the name 'no..where': "));
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("999.0.0.1:7000")); }),
             "'999.0.0.1:7000' is no address"));
  CHECK(says(refusal([] { static_cast<void>(transport::address_in("a b:7000")); }), "is no address"));
  CHECK(says(refusal([] { static_cast<void>(transport::address_in(":7000")); }), "is no address"));
  using boost::asio::ip::make_address;
  auto const all = std::vector{make_address("::1"), make_address("2001:db8::7"), make_address("192.0.2.7"),
                               make_address("127.0.1.1")};
  CHECK(transport::detail::likeliest(all, false) == make_address("127.0.1.1"));
  CHECK(transport::detail::likeliest(all, true) == make_address("192.0.2.7"));
}

TEST_CASE("peers whose hosts are given by name connect, and are named with their addresses") {
  tcp_doors doors{2};
  for (auto& a : doors.addresses) a.replace(0, a.rfind(':'), "LocalHost");
  auto one = seat_of(doors, 0, {}), two = seat_of(doors, 1, {});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) + two.count(what::opened) == 2; }));
  two.end.reset();
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) == 1; }));
  CHECK(says(one.newest(what::closed)->why,
             ("node 1 at " + transport::address_in(doors.addresses[1]).text() + " is gone").c_str()));
}

#if defined(__linux__)
/// Of this process's sockets that are connected over TCP: how each is kept from sending too much.
auto congestion_controls() -> std::vector<std::string> {
  std::vector<std::string> all;
  for (auto fd = 0; fd < 1024; ++fd) {
    sockaddr_storage there{};
    socklen_t length = sizeof there;
    char name[16] = {};
    socklen_t size = sizeof name;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&there), &length) != 0) continue;
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0) all.emplace_back(name);
  }
  return all;
}

TEST_CASE("connections within a machine are not paced, whatever the system's congestion control") {
  tcp_doors doors{2};
  auto const make = [&](std::size_t self) {
    return tcp_seat{std::make_unique<tcp>(test_identity(self, 2), doors.options(self))};
  };
  auto one = make(0), two = make(1);
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
  CHECK(congestion_controls() == std::vector<std::string>{"reno", "reno"});
}
#endif

TEST_CASE("messages lost with a connection are sent again several times within the silence") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {.silence = 16s}), two = seat_of(doors, 1, {.silence = 16s});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) + two.count(what::opened) == 2; }));
  auto connections = 0;
  for (auto d = 3; d < 256; ++d) {
    sockaddr_storage peer{};
    socklen_t bytes = sizeof peer;
    if (getpeername(d, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0 || peer.ss_family != AF_INET) continue;
    ++connections;
    auto value = 0;
    socklen_t size = sizeof value;
    REQUIRE(getsockopt(d, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &value, &size) == 0);
    CHECK(value == 1);
    constexpr auto longest_pause_in_ms = 44;  // of Linux 6.15
    if (getsockopt(d, IPPROTO_TCP, longest_pause_in_ms, &value, &size) == 0) CHECK(value == 2000);
  }
  CHECK(connections == 2);
}

TEST_CASE("a node that runs twice on two machines is named by those whom both call") {
  tcp_doors doors{2}, elsewhere{2};
  auto one = seat_of(doors, 0, {});
  auto two = seat_of(doors, 1, {});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
  auto o = elsewhere.options(1);
  o.addresses[0] = doors.addresses[0];
  auto twin = tcp_seat{std::make_unique<tcp>(test_identity(1, 2), std::move(o))};
  REQUIRE(poll_until<tcp>({&one, &two, &twin}, [&] { return one.count(what::closed) > 0; }));
  CHECK(says(one.newest(what::closed)->why, "it has called again: it began anew, or two processes are this node"));
}

TEST_CASE("garbage, half a hello, an unknown hello and silence on the port are counted, and the peer still connects") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {.greeting = 200ms});
  stranger garbage{doors.addresses[0]}, half{doors.addresses[0]}, silent{doors.addresses[0]},
      nobody{doors.addresses[0]};
  garbage.say(std::string(1000, 'x'));
  auto cut = hello_of(1, 0, 1);
  cut.resize(cut.size() - 3);
  half.say(cut);
  nobody.say(hello_of(5, 0, 1));
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.end->rejected().strangers == 4; }));
  CHECK(garbage.is_turned_away());
  CHECK(half.is_turned_away());
  CHECK(silent.is_turned_away());
  CHECK(nobody.is_turned_away());
  stranger other_run{doors.addresses[0]};
  other_run.say(hello_of(1, 0, 2));
  REQUIRE(poll_until<tcp>({&one}, [&] { return other_run.is_turned_away() && one.end->rejected().options == 1; }));
  CHECK(other_run.heard() >= wire::hello_bytes);  // it was told what is agreed on here
  CHECK(one.got.empty());
  auto two = seat_of(doors, 1, {});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
}

/// A stranger that has said a valid hello, and may now send frames as node 1.
auto impostor(tcp_doors const& doors, tcp_seat& one) -> std::unique_ptr<stranger> {
  auto s = std::make_unique<stranger>(doors.addresses[0]);
  auto const before = one.count(what::opened);
  s->say(hello_of(1, 0, 1));
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::opened) == before + 1; }));
  return s;
}

TEST_CASE("every frame that is not of this run, this peer and its channels closes the edge and is counted") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {});
  buffer_pool pool;
  auto const run = test_identity(0, 2).agreed.id();
  auto const seal = wire::seal{run, &wire::xxh3_of};
  auto const partition = block_partition{test_values, 64};
  auto const good = message(1, 0, channel_id::model, 1, counting(pool, 1));
  auto const frame_of = [&](packet const& p, wire::seal const& s, range blocks = {0, 5}) {
    std::vector<std::byte> bytes;
    wire::encode_in_stream(p, {blocks, p.body.bytes()}, bytes, s);
    return bytes;
  };
  auto const with = [&](auto change) {
    auto p = good;
    change(p);
    return frame_of(p, seal);
  };
  auto const status_of = [&](std::uint64_t phase, std::uint64_t value) {
    auto p = transport::detail::frame_of({}, node_id{1}, node_id{0});
    p.based_on = iteration{phase};
    p.number = iteration{value};
    return frame_of(p, seal, {});
  };
  auto const chunk_in = [&](range blocks) {
    auto p = message(1, 0, channel_id::chunk, 1, counting(pool, 1, 64));
    return frame_of(p, seal, blocks);
  };
  auto damaged = frame_of(good, seal);
  damaged[wire::header_bytes + 100] ^= std::byte{1};
  auto damaged_tail = frame_of(good, seal);
  damaged_tail.back() ^= std::byte{1};
  auto damaged_size = frame_of(good, seal);
  damaged_size[96 + 6] = std::byte{1};  // 2^48 values more
  auto oversize = damaged_size;  // told so by who means it
  auto const head = std::span<std::byte const>{oversize}.first<wire::header_bytes>();
  auto const sum = wire::running_sum{head, seal}.of_header();
  std::memcpy(oversize.data() + wire::header_bytes - 4, &sum, sizeof sum);
  std::vector<std::vector<std::byte>> const bad{
      damaged,
      damaged_tail,
      damaged_size,
      oversize,
      frame_of(good, {run + 1, seal.check}),
      frame_of(good, {run, nullptr}),
      frame_of(good, seal, {0, 6}),  // a block too many
      with([](packet& p) { p.from = node_id{0}; }),
      with([](packet& p) { p.to = node_id{1}; }),
      with([](packet& p) { p.channel = channel_id::control; }),
      with([&](packet& p) {  // more codes than a codec may make
        p.channel = channel_id::gradient;
        p.body = counting(pool, 1, 32 * test_values + 2049);
      }),
      with([](packet& p) { p.channel = channel_id::tracker; }),  // which carries integers
      with([](packet& p) { p.number = iteration{0}; }),
      chunk_in({0, 1}),                            // an event is never cut into blocks
      with([](packet& p) { p.extra.set(scalar_slot::loss, 1.0); }),
      with([&](packet& p) { p.body = counting(pool, 1, 299); }),
      std::vector<std::byte>(wire::header_bytes, std::byte{0}),
      status_of(5, 0),                       // a phase that there is not
      status_of(2, 0),                       // nodes meet at a round
      status_of(2, 1),
      status_of(2, (std::uint64_t{1} << 49) + 2),
      status_of(3, 5),                       // who has left has no level
      status_of(4, std::uint64_t{9} << 32),  // nor is this a manner of ending
      status_of(0 | 1U << 8, 0),             // who arrives has lost nobody yet
      status_of(1 | std::uint64_t{1} << 41, 1),  // nor is anybody so far away
  };
  for (std::size_t k = 0; k < bad.size(); ++k) {
    INFO("frame " << k);
    auto const s = impostor(doors, one);
    s->say(frame_of(good, seal));
    s->say(bad[k]);
    REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) == k + 1; }));
    CHECK(one.end->rejected().frames == k + 1);
    CHECK(says(one.newest(what::closed)->why, "node 1"));
    CHECK(one.count(what::message) == k + 1);  // the good one, every time
  }
  CHECK(partition.blocks() == 5);
}

TEST_CASE(
    "who said because of whom it ends, and closed before it was read, is believed, though nothing can be written to "
    "it") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {});
  auto peer = impostor(doors, one);
  buffer_pool pool;
  // More than the system takes at once: something waits to be written when the connection breaks.
  auto const large = counting(pool, 0, test_values);
  for (std::uint64_t k = 1; one.end->congested() == std::nullopt; ++k) {
    one.end->send(channel_kind::event, message(0, 1, channel_id::chunk, k, large));
    one.end->poll(transport::clock::now(), one.got);
  }
  auto const said =
      transport::peer_status{transport::peer_status::phase::ended, 0, {node_id{3}, transport::cause::how::gone}};
  auto const p = transport::detail::frame_of(said, node_id{1}, node_id{0});
  std::vector<std::byte> bytes;
  wire::encode_in_stream(p, {}, bytes, {test_identity(0, 2).agreed.id(), &wire::xxh3_of});
  peer->say(bytes);
  peer.reset();  // with bytes that it has not read: nothing can be written to it from now on
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) > 0; }));
  CHECK(one.newest(what::closed)->because == transport::cause{node_id{3}, transport::cause::how::gone});
  CHECK(one.end->send(channel_kind::event, message(0, 1, channel_id::chunk, 1, large)) == send_status::closed);
  one.end->poll(transport::clock::now() + 20ms, one.got);
  CHECK(one.count(what::closed) == 1);
}

TEST_CASE("half a frame followed by silence counts as a lost peer when the deadline passes") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {.silence = 80ms});
  auto const s = impostor(doors, one);
  buffer_pool pool;
  std::vector<std::byte> bytes;
  auto const p = message(1, 0, channel_id::model, 1, counting(pool, 1));
  wire::encode_in_stream(p, wire::uncut(p, {test_values, 64}), bytes,
                         {test_identity(0, 2).agreed.id(), &wire::xxh3_of});
  bytes.resize(bytes.size() / 2);
  s->say(bytes);
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) == 1; }));
  CHECK(says(one.newest(what::closed)->why, "silent for 0.08 s"));
  CHECK(one.count(what::message) == 0);
}

TEST_CASE("peers without messages keep their edge alive, and one that stops is detected") {
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {.silence = 200ms});
  auto two = seat_of(doors, 1, {.silence = 200ms});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
  auto const later = transport::clock::now() + 600ms;
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return transport::clock::now() > later; }));
  CHECK(one.count(what::closed) + two.count(what::closed) == 0);
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) == 1; }));  // nobody polls the other end
  CHECK(says(one.newest(what::closed)->why, "has been silent"));
}

TEST_CASE("a thousand connections at once are refused or time out, and the peer still connects") {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  tcp_doors doors{2};
  auto one = seat_of(doors, 0, {.greeting = 300ms});
  std::vector<std::unique_ptr<stranger>> crowd;
  for (auto k = 0; k < 1000; ++k) {
    crowd.push_back(std::make_unique<stranger>(doors.addresses[0]));
    if (k % 10 == 0) one.end->poll(transport::clock::now(), one.got);
  }
  auto two = seat_of(doors, 1, {});
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.end->rejected().total() >= 1000; }));
  CHECK(one.end->rejected().crowded > 0);
  CHECK(one.count(what::closed) == 0);
}

TEST_CASE("a large body arrives whole, in the middle of small ones") {
  constexpr std::size_t large = std::size_t{1} << 20;
  tcp_doors doors{2};
  auto const make = [&](std::size_t self) {
    auto me = test_identity(self, 2);
    me.blocks = block_partition{large};
    return tcp_seat{std::make_unique<tcp>(std::move(me), doors.options(self))};
  };
  auto one = make(0), two = make(1);
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; }));
  buffer_pool pool;
  for (std::uint64_t k = 1; k <= 6; ++k) {
    two.end->send(channel_kind::event, message(1, 0, channel_id::chunk, k, counting(pool, 0, k % 2 == 0 ? large : 3)));
  }
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::message) == 6; }));
  auto const big = one.messages(channel_id::chunk)[3].p.body.view<float>();
  REQUIRE(big.size() == large);
  for (std::size_t i = 0; i < large; i += 1009) REQUIRE(big[i] == static_cast<float>(i));
}

}  // namespace
}  // namespace rubato::test
