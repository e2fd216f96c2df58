// SPDX-License-Identifier: MIT
// Datagrams under keys: who has none reads nothing, changes nothing and ends nothing, wherever its datagrams and calls
// come from; what was sent once counts once; and a peer that was started again agrees on new keys.
#include <rubato/transport/udp.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/transport/detail/replay_window.hpp>
#include <rubato/transport/tls.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"
#include "transport/key_material.hpp"
#include "transport/wire_tap.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

namespace asio = boost::asio;
using transport::datagram_keys;
using transport::udp;
using udp_seat = seat<udp>;
using datagram = std::vector<std::byte>;

auto seat_of(keyed_udp_doors& doors, std::size_t self, keys k, transport::udp_options o = {}) -> udp_seat {
  o.security = std::move(k);
  return {std::make_unique<udp>(state_identity(self, 2), doors.options(self, std::move(o)))};
}
auto both_opened(udp_seat& one, udp_seat& two) -> bool {
  return poll_until<udp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; });
}
constexpr auto first_value = 12345.0F;

/// Node 1 sends in its present session until all blocks of so many more vectors have come to node 0.
auto reaches(
    udp_seat& one, udp_seat& two, std::uint64_t vectors, std::function<void()> const& meanwhile = [] {}) -> bool {
  buffer_pool pool;
  auto const came = [&] {
    auto const newest = one.newest_blocks();
    return *std::min_element(newest.begin(), newest.end());
  };
  auto next = came();
  auto const wanted = next + vectors;
  return poll_until<udp>({&one, &two}, [&] {
    meanwhile();
    if (came() >= next) {
      auto p = message(1, 0, channel_id::model, ++next, counting(pool, first_value));
      p.session = two.newest(what::opened)->outgoing;
      static_cast<void>(two.end->send(channel_kind::state, std::move(p)));
    }
    return came() >= wanted;
  });
}
void require_right_values(udp_seat const& one) {
  for (auto const& m : one.messages(channel_id::model)) {
    auto const v = m.p.body.view<float>();
    for (std::size_t k = 0; k < v.size(); ++k)
      REQUIRE(v[k] == first_value + static_cast<float>(m.blocks.begin * 64 + k));
  }
}

auto endpoint_of(std::string const& text) -> asio::ip::udp::endpoint {
  auto const a = transport::address_in(text);
  return {a.host, a.port};
}
void say(asio::ip::udp::socket& from, datagram const& what, asio::ip::udp::endpoint const& to) {
  boost::system::error_code ignored;
  from.send_to(asio::buffer(what), to, 0, ignored);
}

/// Stands between nodes 0 and 1, each of which takes it for the other, and hears all that they say to each other.
class datagram_tap {
 public:
  datagram_tap(std::string const& node_0, std::string const& node_1)
      : in_place_of_0_{transport::open_udp_sockets("127.0.0.1:0")},
        calls_{node_0, in_place_of_0_.calls.descriptor},
        before_0_{io_, {asio::ip::address_v4::loopback(), 0}},
        before_1_{io_, asio::ip::udp::v4(), in_place_of_0_.datagrams.descriptor},
        node_0_{endpoint_of(node_0)},
        node_1_{endpoint_of(node_1)} {
    before_0_.non_blocking(true);
    before_1_.non_blocking(true);
  }
  [[nodiscard]] auto place_of_0() const -> std::string { return in_place_of_0_.datagrams.address; }
  [[nodiscard]] auto place_of_1() const -> std::string {
    return "127.0.0.1:" + std::to_string(before_0_.local_endpoint().port());
  }
  void poll() {
    calls_.poll();
    forward(before_0_, before_1_, node_1_, to_1);
    forward(before_1_, before_0_, node_0_, to_0);
  }
  /// As if node 1 had said it.
  void say_to_0(datagram const& what) { say(before_0_, what, node_0_); }

  std::vector<datagram> to_0, to_1;

 private:
  static void forward(asio::ip::udp::socket& from, asio::ip::udp::socket& by, asio::ip::udp::endpoint const& to,
                      std::vector<datagram>& heard) {
    while (true) {
      auto all = datagram(2000);
      boost::system::error_code error;
      auto const n = from.receive(asio::buffer(all), 0, error);
      if (error == asio::error::would_block) return;
      if (error) continue;  // of what was sent to a node that was not there
      all.resize(n);
      say(by, all, to);
      heard.push_back(std::move(all));
    }
  }
  asio::io_context io_;
  transport::udp_sockets in_place_of_0_;
  wire_tap calls_;
  asio::ip::udp::socket before_0_, before_1_;
  asio::ip::udp::endpoint node_0_, node_1_;
};

/// Two nodes that have met through a tap.
struct tapped {
  explicit tapped(keys const& k) {
    auto const made = [&](std::size_t self) {
      auto o = doors.options(self);
      o.addresses[1 - self] = self == 0 ? tap.place_of_1() : tap.place_of_0();
      o.security = k;
      return udp_seat{std::make_unique<udp>(state_identity(self, 2), std::move(o))};
    };
    one = made(0);
    two = made(1);
    REQUIRE(poll_until<udp>({&one, &two}, [&] {
      tap.poll();
      return one.count(what::opened) == 1 && two.count(what::opened) == 1;
    }));
  }
  keyed_udp_doors doors{2};
  datagram_tap tap{doors.addresses[0], doors.addresses[1]};
  udp_seat one, two;
};

TEST_CASE("nothing that peers with a key say in datagrams can be read on the wire") {
  scratch_folder const folder{"udp_keys"};
  for (auto const has_key : {false, true}) {
    tapped t{has_key ? key_in(folder) : nullptr};
    REQUIRE(reaches(t.one, t.two, 3, [&] { t.tap.poll(); }));
    buffer_pool pool;
    auto const body = counting(pool, first_value);
    auto const is_heard = [](std::vector<datagram> const& all, std::span<std::byte const> part) {
      return std::any_of(all.begin(), all.end(), [&](auto const& d) { return holds(d, part); });
    };
    INFO("key: " << has_key);
    CHECK(is_heard(t.tap.to_0, body.bytes().first(64)) == !has_key);
    CHECK(is_heard(t.tap.to_0, bytes_of("seed")) == !has_key);  // of a hello
    CHECK(is_heard(t.tap.to_1, bytes_of("seed")) == !has_key);
    for (auto const& d : t.tap.to_0) CHECK(d.size() <= udp::datagram_bytes);
  }
}

TEST_CASE("a datagram counts once, and one that was changed anywhere does not count at all") {
  scratch_folder const folder{"udp_keys"};
  tapped t{key_in(folder)};
  REQUIRE(reaches(t.one, t.two, 5, [&] { t.tap.poll(); }));
  auto const messages = t.one.count(what::message);
  auto const refused = [&](std::vector<datagram> const& all) {
    auto const before = t.one.end->rejected().strangers;
    for (std::size_t k = 0; k < all.size(); ++k) {
      t.tap.say_to_0(all[k]);
      // a few at a time, which any buffer holds
      REQUIRE(poll_until<udp>({&t.one}, [&] { return k % 16 != 0 || t.one.end->rejected().strangers > before + k; }));
    }
    REQUIRE(poll_until<udp>({&t.one}, [&] { return t.one.end->rejected().strangers >= before + all.size(); }));
  };
  auto const all = t.tap.to_0;
  refused(all);  // replayed
  auto const whole = *std::max_element(all.begin(), all.end(), [](auto& a, auto& b) { return a.size() < b.size(); });
  std::vector<datagram> changed;
  auto fresh = whole;
  fresh[5] = std::byte{0x70};  // a number that has not come
  changed.push_back(fresh);
  for (std::size_t k = 0; k < whole.size(); k += k < 16 || k + 16 >= whole.size() ? 1U : 11U) {
    changed.push_back(fresh);
    changed.back()[k] ^= std::byte{1};
  }
  changed.push_back(datagram(whole.begin(), whole.end() - 1));
  changed.push_back(datagram(whole.begin(), whole.begin() + 20));
  changed.push_back(datagram(udp::datagram_bytes + 50));
  changed.push_back(whole);
  changed.back().push_back(std::byte{});
  refused(changed);
  CHECK(t.one.count(what::message) == messages);
  CHECK(t.one.count(what::closed) == 0);
  REQUIRE(reaches(t.one, t.two, 3, [&] { t.tap.poll(); }));
  require_right_values(t.one);
}

TEST_CASE("a process without the key changes and hears nothing, also from the number of a peer's port") {
  scratch_folder const folder{"udp_keys"};
  keyed_udp_doors doors{2};
  auto const k = key_in(folder);
  auto one = seat_of(doors, 0, k, {.greeting = 500ms, .silence = 1min});
  asio::io_context io;
  // On loopback a peer may send from any address of its machine.
  asio::ip::udp::socket stranger{io, {asio::ip::make_address_v4("127.0.0.2"), endpoint_of(doors.addresses[1]).port()}};
  stranger.non_blocking(true);
  auto const me = state_identity(1, 2);
  auto const hello = wire::encode_hello({me.agreed.id(), node_id{1}, node_id{0}, 7}, me.agreed.text());
  auto const goodbye = [&](transport::peer_status::phase at) {
    auto frame = datagram(wire::header_bytes);
    auto const last = transport::detail::frame_of({at}, node_id{1}, node_id{0});
    wire::encode_header(last, {}, {me.agreed.id(), me.check}, std::span{frame}.first<wire::header_bytes>());
    return frame;
  };
  auto const left = goodbye(transport::peer_status::phase::left), ended = goodbye(transport::peer_status::phase::ended);
  auto const attack = [&](udp_seat& other) {
    auto const before = one.end->rejected().strangers;
    for (auto const& what : {hello, left, ended, datagram(1200, std::byte{1}), datagram(28), datagram(1)})
      say(stranger, what, endpoint_of(doors.addresses[0]));
    REQUIRE(poll_until<udp>({&one, &other}, [&] { return one.end->rejected().strangers >= before + 6; }));
    auto heard = datagram(2000);
    boost::system::error_code error;
    stranger.receive(asio::buffer(heard), 0, error);
    CHECK(error == asio::error::would_block);
  };
  auto nobody = udp_seat{};
  attack(nobody);
  CHECK(one.got.empty());
  auto two = seat_of(doors, 1, k, {.silence = 1min});
  REQUIRE(both_opened(one, two));
  attack(two);
  // And many that call, all at once, and say nothing or what is no handshake.
  std::list<caller_without_key> many;
  for (auto i = 0; i < 200; ++i) {
    auto& c = many.emplace_back(doors.addresses[0]);
    if (i % 2 == 0) asio::write(c.socket, asio::buffer(hello));
  }
  REQUIRE(reaches(one, two, 20, [&] { say(stranger, hello, endpoint_of(doors.addresses[0])); }));
  require_right_values(one);
  CHECK(one.count(what::closed) + two.count(what::closed) == 0);
  // While they go on, the peer dies and is started again.
  two.end.reset();
  for (auto i = 0; i < 100; ++i) many.emplace_back(doors.addresses[0]);
  auto back = seat_of(doors, 1, k);
  REQUIRE(poll_until<udp>({&one, &back}, [&] { return one.count(what::opened) == 2; }));
}

TEST_CASE("either of two peers may be killed: who takes its place agrees on new keys at once, in a new session") {
  scratch_folder const folder{"udp_keys"};
  auto const k = key_in(folder);
  for (auto const killed : {0U, 1U}) {
    keyed_udp_doors doors{2};
    std::array<udp_seat, 2> seats;
    for (std::size_t i = 0; i < 2; ++i) seats[i] = seat_of(doors, i, k, {.silence = 1min});
    REQUIRE(both_opened(seats[0], seats[1]));
    REQUIRE(reaches(seats[0], seats[1], 2));
    seats[killed] = {};
    seats[killed] = seat_of(doors, killed, k, {.silence = 1min});
    auto& other = seats[1 - killed];
    REQUIRE(poll_until<udp>({seats.data(), seats.data() + 1},
                            [&] { return other.count(what::opened) == 2 && seats[killed].count(what::opened) == 1; }));
    CHECK(says(other.newest(what::closed)->why, "it has been started again"));
    CHECK(reaches(seats[0], seats[1], 2));
    require_right_values(seats[0]);
  }
}

TEST_CASE("who has the key and calls in a peer's name, and sends no datagram, ends no session") {
  scratch_folder const folder{"udp_keys"};
  keyed_udp_doors doors{2};
  auto const k = key_in(folder);
  auto one = seat_of(doors, 0, k), two = seat_of(doors, 1, k);
  REQUIRE(both_opened(one, two));
  asio::io_context io;
  std::vector<std::shared_ptr<transport::detail::tcp_connection>> calls;
  auto agreed = 0;
  for (auto i = 0; i < 3; ++i) {
    auto const c = calls.emplace_back(
        std::make_shared<transport::detail::tcp_connection>(transport::detail::tcp_connection::socket_type{io}));
    transport::detail::call(c, transport::address_in(doors.addresses[0]), k.get(),
                            {wire::agreement{}.id(), node_id{1}, node_id{0}}, "",
                            [&](std::string const& why) { agreed += why.empty() ? 1 : 0; });
    REQUIRE(poll_until<udp>({&one, &two}, [&, i] {
      io.restart();
      io.poll();
      return agreed > i;
    }));
    CHECK(reaches(one, two, 5));
  }
  CHECK(one.count(what::closed) + two.count(what::closed) == 0);
  for (auto const& c : calls) c->close();
  CHECK(reaches(one, two, 5));
}

/// The sentences with which nodes 0 and 1 give up on each other.
auto sentences_of(keys of_0, keys of_1) -> std::pair<std::string, std::string> {
  keyed_udp_doors doors{2};
  auto one = seat_of(doors, 0, std::move(of_0), {.arrival = 1s}),
       two = seat_of(doors, 1, std::move(of_1), {.arrival = 600ms});
  REQUIRE(poll_until<udp>({&one, &two}, [&] { return one.count(what::closed) == 1 && two.count(what::closed) == 1; }));
  CHECK(one.count(what::opened) + two.count(what::opened) == 0);
  return {one.newest(what::closed)->why, two.newest(what::closed)->why};
}

TEST_CASE("over UDP, who has another key, none, or the certificate of another node is told so, and runs with nobody") {
  scratch_folder const folder{"udp_keys"};
  auto const mine = key_in(folder), other = key_in(folder, "other.key");
  {
    auto const [waits, calls] = sentences_of(mine, other);
    CHECK(says(waits, "it has not called; somebody has, and was turned away: it has another key, or none"));
    CHECK(says(calls, "no keys could be agreed on over TCP: it has another key, or none"));
  }
  {
    auto const [waits, calls] = sentences_of(mine, nullptr);
    CHECK(says(waits, "it has not called, by which keys are agreed on"));
    CHECK(says(calls, "nothing was heard of it"));
  }
  certified const made{3};
  {
    auto const [waits, calls] = sentences_of(made.of(0), made.of(2));
    CHECK(says(waits, "it has the certificate of another node than node 1"));
    CHECK(says(calls, "this node's certificate is another node's"));
  }
  CHECK(says(sentences_of(made.of(2), made.of(1)).second, "what answers there has the certificate of another node"));
  keyed_udp_doors doors{2};
  auto one = seat_of(doors, 0, made.of(0)), two = seat_of(doors, 1, made.of(1));
  REQUIRE(both_opened(one, two));
  CHECK(reaches(one, two, 5));
}

TEST_CASE("over UDP with a key, addresses beyond this machine are taken, and a datagram has room for what seals it") {
  scratch_folder const folder{"udp_keys"};
  auto const refused = [](keys k, std::string const& peer, std::size_t words = 0) {
    auto me = state_identity(0, 2);
    me.agreed.add("long", std::string(words, 'x'));
    return refusal([&] { udp u{std::move(me), {.addresses = {"127.0.0.1:0", peer}, .security = std::move(k)}}; });
  };
  CHECK(says(refused(nullptr, "192.0.2.1:9"), "not an address of this machine alone"));
  CHECK(refused(key_in(folder), "192.0.2.1:9").empty());
  CHECK(refused(nullptr, "127.0.0.1:9", 1110).empty());
  CHECK(says(refused(key_in(folder), "127.0.0.1:9", 1110), "more than a datagram: udp allows 1112 bytes of text"));
  // The number of a port that is taken by somebody else over TCP.
  auto const taken = transport::open_tcp_socket("127.0.0.1:0");
  auto const said = refusal(
      [&] { udp u{state_identity(0, 2), {.addresses = {taken.address, "127.0.0.1:9"}, .security = key_in(folder)}}; });
  ::close(taken.descriptor);
  CHECK(says(said, "nobody can listen (over TCP, to agree on keys) on 127.0.0.1:"));
}

TEST_CASE("of the last 1,024 numbers a replay window knows which have come, and what is older has come") {
  transport::detail::replay_window w;
  CHECK(w.is_new(0));
  for (auto const n : {5U, 3U, 1100U, 77U, 1099U}) {
    REQUIRE(w.is_new(n));
    w.note(n);
    CHECK_FALSE(w.is_new(n));
  }
  CHECK_FALSE(w.is_new(76));  // 1100 - 1024
  CHECK(w.is_new(78));
  CHECK(w.is_new(1098));
  w.note(5000);  // far ahead
  CHECK_FALSE(w.is_new(1101));
  for (auto n = 5000U - 1023U; n < 5000; ++n) CHECK(w.is_new(n));
  CHECK(w.next() == 5001);
}

TEST_CASE("a key is renewed after so many datagrams, also where some are lost or late, and no two are sealed alike") {
  transport::detail::datagram_secrets secrets{};
  for (std::size_t i = 0; i < secrets.size(); ++i) secrets[i] = static_cast<unsigned char>(i * 7 + 1);
  using transport::detail::tls_datagrams;
  tls_datagrams caller{secrets, transport::side::caller, 4}, called{secrets, transport::side::called, 4};
  auto const text = datagram(40, std::byte{9});
  auto const sealed_by = [&](tls_datagrams& from) {
    auto whole = datagram(text.size() + datagram_keys::overhead);
    from.seal(std::span{text}.first(15), std::span{text}.subspan(15), whole);
    return whole;
  };
  auto const opens = [&](tls_datagrams& at, datagram const& whole) {
    auto plain = datagram(whole.size() - datagram_keys::overhead);
    return at.open(whole, plain) && plain == text;
  };
  std::set<datagram> bodies;
  auto late = sealed_by(caller);
  for (auto k = 1; k < 40; ++k) {
    auto const d = sealed_by(caller);
    bodies.insert(datagram(d.begin() + 12, d.end()));
    CHECK_FALSE(opens(caller, d));  // of the other direction
    if (k % 3 == 0) continue;  // lost
    CHECK(opens(called, d));
    CHECK_FALSE(opens(called, d));
    if (k == 4) CHECK(opens(called, late));  // of the key before
  }
  CHECK(bodies.size() == 39);
  auto const answer = sealed_by(called);
  CHECK(bodies.count(datagram(answer.begin() + 12, answer.end())) == 0);
  CHECK(opens(caller, answer));
  for (auto k = 0; k < 12; ++k) static_cast<void>(sealed_by(caller));
  CHECK_FALSE(opens(called, sealed_by(caller)));  // so many were lost in a row that nobody is still there
}

}  // namespace
}  // namespace rubato::test
