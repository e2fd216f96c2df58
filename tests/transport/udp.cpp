// SPDX-License-Identifier: MIT
// State channels over UDP: blocks that are lost, late or merged, strangers on the port, and R-FAST through all of it.
#include <rubato/transport/udp.hpp>

#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

/// With which error the system refuses this thread's datagrams; 0: with none.
auto refusing_with() -> int& {
  static thread_local int error = 0;
  return error;
}

}  // namespace
}  // namespace rubato::test

/// Stands before the system's own: on loopback no socket is ever full.
extern "C" auto sendmsg(int socket, msghdr const* message, int flags) -> ssize_t {
  static auto* const system = reinterpret_cast<ssize_t (*)(int, msghdr const*, int)>(dlsym(RTLD_NEXT, "sendmsg"));
  if (rubato::test::refusing_with() == 0) return system(socket, message, flags);
  errno = rubato::test::refusing_with();
  return -1;
}

namespace rubato::test {
namespace {

using transport::send_status;
using transport::udp;
using transport::udp_options;
using udp_seat = seat<udp>;

auto seat_of(udp_doors& doors, std::size_t self, udp_options const& o = {}, std::uint64_t seed = 1) -> udp_seat {
  return {std::make_unique<udp>(state_identity(self, 2, seed), doors.options(self, o))};
}

auto have_met(udp_seat& one, udp_seat& two) -> bool {
  return poll_until<udp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; });
}

TEST_CASE("a vector travels as datagrams of one block each, and arrives with all its fields") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0), two = seat_of(doors, 1);
  REQUIRE(have_met(one, two));
  CHECK(one.newest(what::opened)->outgoing == session_id{});
  buffer_pool pool;
  auto p = message(1, 0, channel_id::model, 7, counting(pool, 0.5F));
  p.extra.set(scalar_slot::push_sum_weight, 0.25);
  CHECK(two.end->send(channel_kind::state, std::move(p)) == send_status::accepted);
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.newest_blocks() == std::vector<std::uint64_t>(5, 7); }));
  std::vector<float> values(test_values, -1);
  for (auto const& n : one.messages(channel_id::model)) {
    CHECK(n.p.extra.real(scalar_slot::push_sum_weight) == 0.25);
    CHECK(n.p.session == session_id{});
    auto const here = n.p.body.view<float>();
    std::copy(here.begin(), here.end(), values.begin() + static_cast<std::ptrdiff_t>(n.blocks.begin * 64));
  }
  for (std::size_t i = 0; i < test_values; ++i) REQUIRE(values[i] == 0.5F + static_cast<float>(i));
  auto const sent = two.end->traffic_of();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].packets == 5);
  CHECK(sent[0].values == test_values);
  CHECK(sent[0].bytes == 5 * wire::header_bytes + 4 * test_values);
}

TEST_CASE(
    "under loss every block still becomes fresh, losses are counted, and the same seed loses the same datagrams") {
  auto const lose_half = [](std::uint64_t seed) {
    udp_doors doors{2};
    auto one = seat_of(doors, 0), two = seat_of(doors, 1, {.loss = 0.5, .loss_seed = seed});
    REQUIRE(have_met(one, two));
    buffer_pool pool;
    std::uint64_t k = 0;
    // Each packet leaves before the next is posted, so that none is replaced.
    while (k < 40) {
      ++k;
      two.end->send(channel_kind::state, message(1, 0, channel_id::model, k, counting(pool, static_cast<float>(k))));
      REQUIRE(poll_until<udp>({&one, &two}, [&] {
        auto const t = two.end->traffic_of();
        return !t.empty() && t[0].packets == 5 * k;
      }));
    }
    auto const sent = two.end->traffic_of()[0];
    CHECK(sent.lost > 60);
    CHECK(sent.lost < 140);
    REQUIRE(poll_until<udp>({&one, &two}, [&] {
      auto const t = one.end->traffic_of();
      return !t.empty() && t[0].delivered + t[0].skipped == sent.packets - sent.lost;
    }));
    auto const fresh = one.newest_blocks();
    CHECK(*std::min_element(fresh.begin(), fresh.end()) > 25);
    return std::pair{sent.lost, fresh};
  };
  auto const first = lose_half(3);
  CHECK(lose_half(3) == first);
  CHECK(lose_half(4) != first);
}

TEST_CASE("a burst larger than any buffer is spread by the rate, replaced by the newest, and overflows no receiver") {
  udp_doors doors{2};
  constexpr std::size_t large = 64 * 4096;  // 1 MiB a vector, 4096 datagrams
  auto const make = [&](std::size_t self) {
    auto me = state_identity(self, 2);
    me.blocks = block_partition{large, 64};
    return udp_seat{std::make_unique<udp>(std::move(me), doors.options(self, {.bytes_per_second = 200e6}))};
  };
  auto one = make(0), two = make(1);
  REQUIRE(have_met(one, two));
  CHECK(one.end->receive_buffer() >= 4 * udp::datagram_bytes);
  buffer_pool pool;
  for (std::uint64_t k = 1; k <= 10; ++k) {
    two.end->send(channel_kind::state, message(1, 0, channel_id::model, k, counting(pool, 0, large)));
  }
  CHECK(two.end->traffic_of()[0].replaced == 9);
  // Nobody read while the ten were posted, so the last burst or two of the final one may have met a full buffer.
  std::size_t blocks = 0;
  REQUIRE(poll_until<udp>({&one, &two}, [&] {
    blocks = 0;
    for (auto const& n : one.messages(channel_id::model)) blocks += n.p.number == iteration{10} ? n.blocks.size() : 0;
    return blocks >= 4096 / 2 && two.end->traffic_of()[0].packets >= 4096;
  }));
}

TEST_CASE("events, blocks beyond a datagram and a loss that is no probability are refused in one sentence") {
  auto const refused = [](transport::identity me, udp_options o = {}) {
    o.addresses = {"127.0.0.1:0", "127.0.0.1:9"};
    return refusal([&] { udp u{std::move(me), std::move(o)}; });
  };
  CHECK(says(refused(test_identity(0, 2)), "channel chunk every message counts"));
  auto coded = state_identity(0, 2);
  coded.channels[0].body = body_form::codes;
  CHECK(says(refused(coded), "a message is one code of a whole vector, and udp sends vectors block by block"));
  auto large = state_identity(0, 2);
  large.blocks = block_partition{1000, 512};
  CHECK(says(refused(large),
             "a block of 512 values does not fit a datagram of 1200 bytes: give block_values of at most 256"));
  large.blocks = block_partition{1000, 256};
  CHECK(refused(large).empty());
  CHECK(says(refused(state_identity(0, 2), {.loss = 1}), "0 (included) to 1 (excluded)"));
  CHECK(says(refused(state_identity(0, 2), {.bytes_per_second = 0}), "rate"));
  CHECK(says(refused(state_identity(0, 2), {.silence = 0ms}),
             "silence after which a peer counts as dead must be 1 ms at least"));
  auto wordy = state_identity(0, 2);
  wordy.agreed.add("long", std::string(1200, 'x'));
  CHECK(says(refused(wordy), "more than a datagram"));
}

TEST_CASE("over UDP, different options and a peer that never connects are named, and garbage is counted") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0), two = seat_of(doors, 1, {}, 7);
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.count(what::closed) == 1 && two.count(what::closed) == 1; }));
  CHECK(says(two.newest(what::closed)->why, "has seed 1, but this node has 7"));
  CHECK(says(one.newest(what::closed)->why, "has seed 7, but this node has 1"));
  CHECK((one.end->rejected().options > 1 && two.end->rejected().options > 1));
  udp_doors alone{2};
  auto lonely = seat_of(alone, 0, {.arrival = 60ms});
  boost::asio::io_context io;
  boost::asio::ip::udp::socket stranger{io, boost::asio::ip::udp::endpoint{boost::asio::ip::address_v4::loopback(), 0}};
  auto const there = transport::address_in(alone.addresses[0]);
  stranger.send_to(boost::asio::buffer(std::string(500, 'x')), {there.host, there.port});
  REQUIRE(poll_until<udp>({&lonely},
                          [&] { return lonely.count(what::closed) == 1 && lonely.end->rejected().strangers == 1; }));
  CHECK(says(lonely.newest(what::closed)->why, "node 1 at 127.0.0.1"));
  CHECK(says(lonely.newest(what::closed)->why, "has not come within 0.06 s"));
  // The peer's own port, with what is no frame, and a frame of another run.
  boost::asio::ip::udp::socket peer{io, boost::asio::ip::udp::v4(), std::exchange(alone.descriptors[1], -1)};
  peer.send_to(boost::asio::buffer(std::string(500, 'x')), {there.host, there.port});
  std::vector<std::byte> frame;
  buffer_pool pool;
  wire::encode(message(1, 0, channel_id::model, 1, counting(pool, 0, 64)), {{0, 1}, counting(pool, 0, 64).bytes()},
               frame, {3, nullptr});
  peer.send_to(boost::asio::buffer(frame), {there.host, there.port});
  REQUIRE(poll_until<udp>({&lonely}, [&] { return lonely.end->rejected().frames == 2; }));
}

TEST_CASE("over UDP a process of another run that soon leaves a peer's address ends nothing") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0);
  {
    auto const same_socket = dup(doors.descriptors[1]);
    auto other_run = seat_of(doors, 1, {}, 7);
    doors.descriptors[1] = same_socket;
    REQUIRE(poll_until<udp>({&one, &other_run}, [&] { return one.end->rejected().options > 2; }));
  }
  auto const since = transport::clock::now();
  REQUIRE(poll_until<udp>({&one}, [&] { return transport::clock::now() - since > 2s; }));
  CHECK(one.got.empty());
  auto two = seat_of(doors, 1);
  REQUIRE(have_met(one, two));
}

TEST_CASE("over UDP a peer that stops is detected, and one that is restarted opens a new session of the edge") {
  auto const silence = GENERATE(200ms, 10ms);  // of which the second is less than half of what lies between two looks
  udp_doors doors{2};
  auto one = seat_of(doors, 0, {.silence = silence}), two = seat_of(doors, 1);
  REQUIRE(have_met(one, two));
  two.end.reset();
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::closed) == 1; }));
  CHECK(says(one.newest(what::closed)->why, silence == 200ms ? "silent for 0.2 s" : "silent for 0.01"));
  two = seat_of(doors, 1, {.silence = 200ms});
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.count(what::opened) == 2 && two.count(what::opened) == 1; }));
  CHECK_FALSE(one.newest(what::opened)->incoming == session_id{});
  buffer_pool pool;
  // What was posted for the former session goes nowhere; what is posted in the new one arrives in it.
  CHECK(one.end->send(channel_kind::state, message(0, 1, channel_id::model, 1, counting(pool, 0))) ==
        send_status::closed);
  two.end->send(channel_kind::state, message(1, 0, channel_id::model, 1, counting(pool, 0)));
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.count(what::message) > 0; }));
  CHECK(one.newest(what::message)->p.session == one.newest(what::opened)->incoming);
  one.end->announce({transport::peer_status::phase::left});
  two.end->announce({transport::peer_status::phase::left});
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.end->everyone_left() && two.end->everyone_left(); }));
}

TEST_CASE("over UDP nothing more is sent to a peer that has left, and it does not count as lost") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0, {.silence = 20ms}), two = seat_of(doors, 1);
  REQUIRE(have_met(one, two));
  two.end->announce({transport::peer_status::phase::left});
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.count(what::left) == 1; }));
  CHECK_FALSE(one.end->everyone_left());  // this one has not
  two.end.reset();
  CHECK(poll_until<udp>({&one}, [&] { return one.end->everyone_left(); }));  // nobody is there any more
  CHECK(one.count(what::closed) == 0);
}

TEST_CASE(
    "a peer that was only stopped hears that it was taken for dead, even of a node that is gone by then, and closes "
    "the edge") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0, {.silence = 200ms}), two = seat_of(doors, 1);
  REQUIRE(have_met(one, two));
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::closed) == 1; }));  // nobody polls the other one
  one.end.reset();
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return two.count(what::closed) == 1; }));
  CHECK(says(two.newest(what::closed)->why, "is gone: it took this node for dead"));
  buffer_pool pool;
  CHECK(two.end->send(channel_kind::state, message(1, 0, channel_id::model, 1, counting(pool, 0))) ==
        send_status::closed);
  CHECK(two.end->everyone_left());
}

/// Plays node 1 on its own port: says hellos, and hears what node 0 says in its.
class impostor {
 public:
  explicit impostor(udp_doors& doors)
      : socket_{io_, boost::asio::ip::udp::v4(), std::exchange(doors.descriptors[1], -1)},
        there_{transport::address_in(doors.addresses[0])} {
    socket_.non_blocking(true);
  }

  /// As the process whose clock began then.
  void greet(std::uint32_t mine, std::int64_t began, std::uint32_t heard = 0, std::uint32_t open = 0,
             std::uint32_t closed = 0) {
    say(wire::encode_hello({me_.agreed.id(), me_.self, node_id{0}, mine, began, heard, open, closed, 0, 0},
                           me_.agreed.text()));
  }
  /// One block of a model, in the session of these numbers.
  void post(session_id wire, std::uint64_t number, std::size_t block = 0) {
    auto p = message(1, 0, channel_id::model, number, counting(pool_, static_cast<float>(number)));
    p.session = wire;
    std::vector<std::byte> frame;
    wire::encode(p, wire::cut(p, me_.blocks, {block, block + 1}), frame, {me_.agreed.id(), me_.check});
    say(frame);
  }
  /// How node 1 stands, in the session of these numbers.
  [[nodiscard]] auto status_of(session_id wire, transport::peer_status const& s) const -> std::vector<std::byte> {
    auto p = transport::detail::frame_of(s, node_id{1}, node_id{0});
    p.session = wire;
    std::vector<std::byte> frame(wire::header_bytes);
    wire::encode_header(p, {}, {me_.agreed.id(), me_.check}, std::span{frame}.first<wire::header_bytes>());
    return frame;
  }
  void say(std::vector<std::byte> const& bytes) {
    socket_.send_to(boost::asio::buffer(bytes), {there_.host, there_.port});
  }
  /// Polls node 0 until it answers to what this one says as its number.
  auto answer_to(udp_seat& node, std::uint32_t mine, std::int64_t began) -> wire::hello {
    return hears(node, [&](auto const& h) { return h.heard == mine; }, [&] { greet(mine, began); });
  }
  /// Polls node 0 until it says such a hello.
  template<class Is>
  auto hears(udp_seat& node, Is is, std::function<void()> const& meanwhile = [] {}) -> wire::hello {
    std::optional<wire::hello> found;
    REQUIRE(poll_until<udp>({&node}, [&] {
      meanwhile();
      std::vector<std::byte> bytes(2000);
      boost::system::error_code error;
      for (std::size_t n = 0; !found && (n = socket_.receive(boost::asio::buffer(bytes), 0, error)) > 0 && !error;) {
        if (auto const said = wire::decode_whole_hello(std::span{bytes}.first(n)); said && is(said->who))
          found = said->who;
      }
      return found.has_value();
    }));
    return *found;
  }
  /// Everything that was said so far has been read after this.
  void flush(udp_seat& node) {
    auto const before = node.end->rejected().strangers;
    say(wire::encode_hello({me_.agreed.id(), node_id{9}, node_id{0}}, me_.agreed.text()));
    REQUIRE(poll_until<udp>({&node}, [&] { return node.end->rejected().strangers > before; }));
  }
  /// Meets node 0 with this number; returns the session.
  auto meet(udp_seat& node, std::uint32_t mine, std::int64_t began) -> session_id {
    auto const opened = node.count(what::opened);
    auto const theirs = hears(node, [](auto const& h) { return h.open == 0 || h.heard != h.open; }).session;
    greet(mine, began, theirs);
    REQUIRE(poll_until<udp>({&node}, [&] { return node.count(what::opened) == opened + 1; }));
    greet(mine, began, theirs, theirs);
    return {mine, theirs};
  }

 private:
  transport::identity me_ = state_identity(1, 2);
  boost::asio::io_context io_;
  boost::asio::ip::udp::socket socket_;
  transport::address there_;
  buffer_pool pool_;
};

TEST_CASE("over UDP a late or repeated hello of an earlier session changes nothing, whatever the clocks") {
  auto const later =
      GENERATE(std::int64_t{3600}, std::int64_t{-3600}, std::int64_t{2'160'000}, std::int64_t{-2'160'000}) *
      1'000'000'000;
  constexpr std::int64_t first = 1'700'000'000'000'000'000;
  udp_doors doors{2};
  auto one = seat_of(doors, 0);
  impostor peer{doors};
  auto const old = peer.meet(one, 11, first);
  CHECK(one.count(what::closed) == 0);
  for (auto k = 0; k < 3; ++k) {
    peer.greet(11, first);  // before it had heard anything
    peer.greet(11, first, old.receiver);  // what opened the session
    peer.greet(11, first, old.receiver, old.receiver);
    peer.greet(9, first - 5'000'000, 77);  // of a session before
    peer.flush(one);
  }
  CHECK(one.count(what::opened) == 1);
  CHECK(one.count(what::closed) == 0);
  // Started again: it knows nothing of the session, and its clock says anything. It has to repeat what it is offered.
  auto const offer = peer.answer_to(one, 22, first + later);
  CHECK(one.count(what::opened) == 1);
  CHECK(offer.open == 11);
  peer.greet(22, first + later, offer.session);
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::opened) == 2; }));
  CHECK(one.count(what::closed) == 1);
  CHECK(says(one.newest(what::closed)->why, "it has been started again"));
  for (auto k = 0; k < 3; ++k) {
    peer.greet(11, first);
    peer.greet(11, first, old.receiver);
    peer.greet(11, first, old.receiver, old.receiver, 5);
    peer.greet(22, first + later, offer.session);
    peer.flush(one);
  }
  CHECK(one.count(what::opened) == 2);
  CHECK(one.count(what::closed) == 1);
  // It is there, in a session of which node 0 knows: what it heard late of others moves neither.
  peer.greet(33, first + later, 4711, offer.session);
  peer.flush(one);
  CHECK(one.count(what::closed) == 1);
}

TEST_CASE(
    "over UDP what a session carries counts in that session only, and who says that it is over is believed if it knows "
    "its number") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0);
  impostor peer{doors};
  auto const old = peer.meet(one, 11, 1);
  peer.greet(12, 1, 0, 0, old.receiver + 1);  // a guess
  peer.post({11, old.receiver + 1}, 1);
  peer.post({12, old.receiver}, 1);
  peer.flush(one);
  CHECK(one.count(what::closed) == 0);
  CHECK(one.count(what::message) == 0);
  peer.post(old, 1);
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::message) == 1; }));
  peer.greet(12, 1, 0, 0, old.receiver);
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::closed) == 1; }));
  CHECK(says(one.newest(what::closed)->why, "it took this node for dead"));
  auto const offer = peer.answer_to(one, 12, 1);
  CHECK(offer.closed == 11);
  peer.greet(12, 1, offer.session);
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::opened) == 2; }));
  peer.post(old, 5);
  peer.post({12, offer.session}, 2);
  peer.flush(one);
  REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::message) == 2; }));
  CHECK(one.newest(what::message)->p.number == iteration{2});
  CHECK(one.newest(what::message)->p.session == one.newest(what::opened)->incoming);
}

TEST_CASE("over UDP nobody who does not know a session's numbers says that a peer has left, or ends it") {
  using phase = transport::peer_status::phase;
  auto const goodbye = GENERATE(phase::left, phase::ended);
  udp_doors doors{2};
  auto one = seat_of(doors, 0);
  impostor peer{doors};
  auto const here = peer.meet(one, 11, 1);
  auto const what_it_heard = [&] { return std::pair{one.count(what::left), one.count(what::closed)}; };
  REQUIRE(what_it_heard() == std::pair<std::size_t, std::size_t>{0, 0});
  // From the peer's own address, as who forges that has it, with guesses; and with the numbers, from another address.
  for (auto const guess :
       {session_id{}, session_id{11, here.receiver + 1}, session_id{12, here.receiver}, session_id{here.receiver, 11}})
    peer.say(peer.status_of(guess, {goodbye}));
  boost::asio::io_context io;
  boost::asio::ip::udp::socket elsewhere{io, {boost::asio::ip::make_address_v4("127.0.0.2"), 0}};
  auto const a = transport::address_in(doors.addresses[0]);
  elsewhere.send_to(boost::asio::buffer(peer.status_of(here, {goodbye})), {a.host, a.port});
  peer.flush(one);
  CHECK(what_it_heard() == std::pair<std::size_t, std::size_t>{0, 0});
  peer.say(peer.status_of(here, {goodbye}));
  CHECK(poll_until<udp>({&one}, [&] { return what_it_heard() != std::pair<std::size_t, std::size_t>{0, 0}; }));
}

TEST_CASE("over UDP one datagram with a far too large number is ignored, and does not hide those that follow") {
  auto const far = GENERATE(std::uint64_t{1} << 22, std::uint64_t{1} << 63, ~std::uint64_t{0});
  udp_doors doors{2};
  auto one = seat_of(doors, 0);
  impostor peer{doors};
  auto const here = peer.meet(one, 11, 1);
  auto const arrives = [&](std::uint64_t number) {
    auto const before = one.count(what::message);
    peer.post(here, number);
    REQUIRE(poll_until<udp>({&one}, [&] { return one.count(what::message) == before + 1; }));
    CHECK(one.newest(what::message)->p.number == iteration{number});
  };
  arrives(1);
  peer.post(here, far);
  peer.flush(one);
  CHECK(one.count(what::message) == 1);
  CHECK(one.end->rejected().frames == 1);
  arrives(2);
  peer.post(here, far);
  arrives(3);
  CHECK(one.end->traffic_of()[0].late == 0);
  // Who was away for long has come far: two that say so are enough.
  peer.post(here, 1U << 22);
  arrives((1U << 22) + 1);
  arrives((1U << 22) + 2);
}

TEST_CASE("over UDP a node with an IPv4 address refuses a peer with an IPv6 address, and says so at once") {
  auto const said = refusal([] { udp u{state_identity(0, 2), {.addresses = {"127.0.0.1:0", "[::1]:9"}}}; });
  CHECK(says(said, "node 1 at [::1]:9 cannot be reached from 127.0.0.1:0 over udp"));
  CHECK(says(said, "give all nodes addresses of one kind, or use tcp"));
  CHECK(refusal([] { udp u{state_identity(0, 2), {.addresses = {"127.0.0.1:0", "[::ffff:127.0.0.1]:9"}}}; }).empty());
}

TEST_CASE("adjacent blocks of one packet are delivered together, older ones not at all") {
  auto const me = state_identity(0, 2);
  transport::detail::block_gatherer gathered;
  std::vector<transport::traffic> counts;
  buffer_pool pool;
  auto const whole = counting(pool, 0);
  auto const put = [&](std::size_t block, std::uint64_t number) {
    std::vector<std::byte> frame;
    auto const p = message(1, 0, channel_id::model, number, whole);
    wire::encode(p, wire::cut(p, me.blocks, {block, block + 1}), frame);
    wire::frame_view f;
    REQUIRE_FALSE(wire::decode(frame, f));
    gathered.put(f, me, counts);
  };
  for (std::size_t block = 5; block-- > 0;) put(block, 2);  // in any order
  put(1, 1);  // late
  put(4, 3);
  std::vector<incoming> in;
  gathered.hand_over(me, in);
  REQUIRE(in.size() == 2);
  CHECK(in[0].blocks == range{0, 4});
  CHECK(in[0].p.body.size() == 256);
  CHECK(in[0].p.body.view<float>()[255] == 255.0F);
  CHECK(in[1].blocks == range{4, 5});
  CHECK(in[1].p.number == iteration{3});
  CHECK(counts[0].late == 1);
  CHECK(counts[0].delivered == 5);
  CHECK(counts[0].skipped == 2);
  CHECK(gathered.empty());
}

TEST_CASE("datagrams that a full socket refuses wait uncounted, and those that the system never accepts are lost") {
  udp_doors doors{2};
  auto one = seat_of(doors, 0), two = seat_of(doors, 1);
  REQUIRE(have_met(one, two));
  buffer_pool pool;
  auto const post = [&](std::uint64_t k) {
    two.end->send(channel_kind::state, message(1, 0, channel_id::model, k, counting(pool, 0)));
  };
  auto const sent = [&] {
    auto const t = two.end->traffic_of();
    return t.empty() ? transport::traffic{} : t[0];
  };
  auto const arrives = [&](std::uint64_t k) {
    return poll_until<udp>({&one, &two}, [&] { return one.newest_blocks() == std::vector<std::uint64_t>(5, k); });
  };
  post(1);
  REQUIRE(arrives(1));
  refusing_with() = EAGAIN;
  post(2);
  auto const some = transport::clock::now() + 30ms;  // in which it tries again and again
  REQUIRE(poll_until<udp>({&two}, [&] { return transport::clock::now() > some; }));
  CHECK(sent().packets == 5);
  CHECK(sent().lost == 0);
  refusing_with() = 0;
  REQUIRE(arrives(2));
  CHECK(sent().packets == 10);
  CHECK(sent().values == 2 * test_values);
  CHECK(sent().replaced == 0);
  refusing_with() = EPERM;
  post(3);
  refusing_with() = 0;
  CHECK(sent().packets == 15);
  CHECK(sent().lost == 5);
}

TEST_CASE("a newer packet continues at the block of the older one, so that no block is starved") {
  transport::detail::block_stream waiting;
  buffer_pool pool;
  auto const body = counting(pool, 0);
  CHECK_FALSE(waiting.put(message(1, 0, channel_id::model, 1, body), 5));
  auto const take = [&](std::size_t most) {
    auto const n = waiting.next(most);
    REQUIRE(waiting.next(most).has_value() == n.has_value());
    if (!n) return range{};
    CHECK(waiting.next(most)->blocks == n->blocks);  // until they are done
    waiting.done(*n);
    return n->blocks;
  };
  CHECK(take(1) == range{0, 1});
  CHECK(take(2) == range{1, 3});
  CHECK(waiting.put(message(1, 0, channel_id::model, 2, body), 5));
  std::vector<range> rest;
  while (auto const n = waiting.next(9)) {
    CHECK(n->from->number == iteration{2});
    rest.push_back(take(9));
  }
  CHECK(rest == std::vector<range>{{3, 5}, {0, 3}});
  CHECK(waiting.empty());
}

TEST_CASE("over UDP with a third of datagrams lost, the first node to leave still learns that the second one leaves") {
  constexpr std::size_t pairs = 6;
  std::vector<udp_seat> first, second;
  for (std::size_t k = 0; k < pairs; ++k) {
    udp_doors doors{2};
    first.push_back(seat_of(doors, 0, {.silence = 1min, .loss = 0.33, .loss_seed = 2 * k}));
    second.push_back(seat_of(doors, 1, {.silence = 1min, .loss = 0.33, .loss_seed = 2 * k + 1}));
  }
  std::vector<udp_seat*> seats;
  for (std::size_t k = 0; k < pairs; ++k) seats.insert(seats.end(), {&first[k], &second[k]});
  auto const all = [](std::vector<udp_seat> const& some, auto const& is_so) {
    return std::all_of(some.begin(), some.end(), is_so);
  };
  REQUIRE(poll_until<udp>(seats, [&] { return all(first, [](auto const& s) { return s.count(what::opened) == 1; }); }));
  for (auto& s : first) s.end->announce({transport::peer_status::phase::left});
  REQUIRE(poll_until<udp>(seats, [&] { return all(second, [](auto const& s) { return s.count(what::left) == 1; }); }));
  for (auto& s : second) s.end->announce({transport::peer_status::phase::left});
  REQUIRE(poll_until<udp>(seats, [&] {
    for (auto& s : second) {
      if (s.end && s.end->everyone_left()) s.end.reset();  // as its process does
    }
    return all(second, [](auto const& s) { return !s.end; });
  }));
  REQUIRE(poll_until<udp>(seats, [&] { return all(first, [](auto const& s) { return s.end->everyone_left(); }); }));
  CHECK(all(first, [](auto const& s) { return s.count(what::left) == 1 && s.count(what::closed) == 0; }));
}

TEST_CASE("R-FAST over UDP that loses a fifth of its datagrams ends at the optimum of the sum, with its law intact") {
  using space = backend::host<double>;
  auto const p = problem::quadratic::random(3, 150, 9);
  udp_doors doors{3};
  std::vector<peer_result> parts(3);
  std::vector<std::string> sentences(3);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        try {
          auto a = assemble<r_fast<space>>(topology::complete(3), p, {.step = 0.1, .block_values = 64});
          auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
          udp wires{me, doors.options(i, {.loss = 0.2, .loss_seed = i})};
          parts[i] = run_peer<r_fast<space>>(a, me, wires, {.gradients = 2500}, {.compute = environment::fixed(1ms)});
        } catch (std::exception const& e) {
          sentences[i] = e.what();
        }
      });
    }
  }
  for (std::size_t i = 0; i < 3; ++i) {
    INFO(sentences[i]);
    REQUIRE(sentences[i].empty());
    CHECK(parts[i].looks.back().residual < 1e-9);
    auto const x = parts[i].result.models[0].view<double>();
    for (std::size_t k = 0; k < x.size(); ++k) REQUIRE(std::abs(x[k] - p.optimum()[k]) < 1e-5);
  }
  auto const all = merged(parts, {space{}, p});
  for (auto const& e : all.edges) CHECK(e.lost > 0);
}

TEST_CASE("over UDP a node that dies is also named by distant nodes, without one silence per hop") {
  using space = backend::host<double>;
  using phase = transport::peer_status::phase;
  auto const p = problem::quadratic::random(4, 20, 9);
  udp_doors doors{4};
  std::vector<std::string> sentences(3);
  auto const open = [&](std::size_t i, assembly const& a) {
    auto const me = identity_of(a, to_node(i), &wire::xxh3_of);
    return std::make_unique<udp>(me, doors.options(i, {.silence = 800ms, .loss = 0.2, .loss_seed = i}));
  };
  auto const make = [&] { return assemble<r_fast<space>>(topology::line(4), p, {.step = 0.1, .block_values = 64}); };
  {
    std::vector<std::jthread> threads;
    auto const a = make();
    udp_seat last{open(3, a)};  // gone before the threads are waited for
    for (std::size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        auto mine = make();
        auto const wires = open(i, mine);
        try {
          static_cast<void>(run_peer(mine, identity_of(mine, to_node(i), &wire::xxh3_of), *wires, {.time = 1min},
                                     {.compute = environment::fixed(1ms)}));
        } catch (run_error const& e) {
          sentences[i] = e.what();
        }
      });
    }
    last.end->announce({phase::running});
    CHECK(poll_until<udp>({&last}, [&] {
      auto const* const n = last.newest(what::stands);
      return n != nullptr && n->peer_status.at == phase::running;
    }));
  }
  CHECK(says(sentences[2], "is gone: it has been silent for 0.8 s"));
  CHECK(says(sentences[1], " has ended because node 3 is gone"));
  CHECK(says(sentences[0], " has ended because node 3 is gone"));
}

TEST_CASE("a node that needs every message is refused over UDP before the run") {
  using space = backend::host<double>;
  auto const p = problem::quadratic::random(2, 5, 9);
  auto const a = assemble<ring_allreduce_sgd<space>>(topology::ring(2), p, {.step = 0.1});
  CHECK(says(refusal([&] { udp u{identity_of(a, node_id{0}), {.addresses = {"127.0.0.1:0", "127.0.0.1:9"}}}; }),
             "channel chunk every message counts"));
}

}  // namespace
}  // namespace rubato::test
