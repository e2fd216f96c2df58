// SPDX-License-Identifier: MIT
// Who has no key learns nothing, changes nothing and stops nobody, wherever on the way of the bytes it is; and who has
// the key of one node speaks as that node alone.
#include <rubato/transport/tls.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/transport/tcp.hpp>

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
using transport::tcp;
using tcp_seat = seat<tcp>;

auto seat_of(tcp_doors& doors, std::size_t self, keys k, transport::tcp_options const& how = {}, std::size_t n = 2)
    -> tcp_seat {
  auto o = doors.options(self);
  o.security = std::move(k);
  o.arrival = how.arrival;
  o.greeting = how.greeting;
  o.silence = how.silence;
  return {std::make_unique<tcp>(test_identity(self, n), std::move(o))};
}

auto both_opened(tcp_seat& one, tcp_seat& two) -> bool {
  return poll_until<tcp>({&one, &two}, [&] { return one.count(what::opened) == 1 && two.count(what::opened) == 1; });
}

/// Sends from node 1 to node 0 until so many models have come there.
auto reaches(
    tcp_seat& one, tcp_seat& two, std::size_t messages, std::function<void()> const& meanwhile = [] {}) -> bool {
  buffer_pool pool;
  auto next = std::uint64_t{one.messages(channel_id::model).size()};
  auto const wanted = next + messages;
  return poll_until<tcp>({&one, &two}, [&] {
    meanwhile();
    if (one.messages(channel_id::model).size() >= next) {
      ++next;
      static_cast<void>(
          two.end->send(channel_kind::state, message(1, 0, channel_id::model, next, counting(pool, 12345.0F))));
    }
    return one.messages(channel_id::model).size() >= wanted;
  });
}

/// Two nodes whose bytes go through a tap while so many models are sent.
struct tapped {
  explicit tapped(keys const& k) : tap{doors.addresses[0]}, one{seat_of(doors, 0, k)} {
    auto through = doors.options(1);
    through.addresses[0] = tap.address();
    through.security = k;
    two = {std::make_unique<tcp>(test_identity(1, 2), std::move(through))};
    auto const opened = [&] {
      tap.poll();
      return one.count(what::opened) == 1 && two.count(what::opened) == 1;
    };
    REQUIRE(poll_until<tcp>({&one, &two}, opened));
  }
  tcp_doors doors{2};
  wire_tap tap;
  tcp_seat one, two;
};

TEST_CASE("nothing that peers with a key say can be read on the wire") {
  scratch_folder const folder{"tls"};
  for (auto const has_key : {false, true}) {
    tapped t{has_key ? key_in(folder) : nullptr};
    REQUIRE(reaches(t.one, t.two, 3, [&] { t.tap.poll(); }));
    buffer_pool pool;
    auto const body = counting(pool, 12345.0F);
    INFO("key: " << has_key);
    CHECK(holds(t.tap.up, body.bytes().first(64)) == !has_key);
    CHECK(holds(t.tap.up, bytes_of("seed")) == !has_key);  // what is agreed on
    CHECK(holds(t.tap.down, bytes_of("seed")) == !has_key);
  }
}

TEST_CASE("what was said in one session is of no use later, and a changed byte ends a session without a wrong value") {
  scratch_folder const folder{"tls"};
  tapped t{key_in(folder)};
  REQUIRE(reaches(t.one, t.two, 3, [&] { t.tap.poll(); }));
  auto const before = t.one.end->rejected().strangers;
  asio::io_context io;
  asio::ip::tcp::socket again{io};
  auto const a = transport::address_in(t.doors.addresses[0]);
  again.connect({a.host, a.port});
  boost::system::error_code error;
  asio::write(again, asio::buffer(t.tap.up), error);
  auto const turned_away = [&] {
    t.tap.poll();
    return t.one.end->rejected().strangers > before;
  };
  REQUIRE(poll_until<tcp>({&t.one, &t.two}, turned_away));
  CHECK(t.one.count(what::closed) == 0);

  t.tap.changes_next = true;
  auto const is_back = [&] {
    t.tap.poll();
    return t.one.count(what::closed) > 0 && t.one.count(what::opened) == 2 && t.two.count(what::opened) == 2;
  };
  buffer_pool pool;
  auto number = std::uint64_t{100};
  REQUIRE(poll_until<tcp>({&t.one, &t.two}, is_back, [&](tcp_seat& s) {
    if (&s == &t.two)
      static_cast<void>(
          s.end->send(channel_kind::state, message(1, 0, channel_id::model, ++number, counting(pool, 12345.0F))));
  }));
  for (auto const& m : t.one.messages(channel_id::model)) {
    auto const v = m.p.body.view<float>();
    for (std::size_t k = 0; k < v.size(); ++k) REQUIRE(v[k] == 12345.0F + static_cast<float>(m.blocks.begin * 64 + k));
  }
}

TEST_CASE("large vectors go both ways at once, and an agreement may be empty") {
  scratch_folder const folder{"tls"};
  auto const k = key_in(folder);
  tcp_doors doors{2};
  constexpr auto values = std::size_t{3'000'001};  // more than the system keeps for a connection
  auto const made = [&](std::size_t self) {
    auto me = test_identity(self, 2);
    me.agreed = {};
    me.blocks = block_partition{values};
    auto o = doors.options(self);
    o.security = k;
    return tcp_seat{std::make_unique<tcp>(me, std::move(o))};
  };
  auto one = made(0), two = made(1);
  REQUIRE(both_opened(one, two));
  buffer_pool pool;
  for (auto number = 1U; number <= 3; ++number) {
    for (auto* s : {&one, &two}) {
      auto const self = s == &one ? 0U : 1U;
      static_cast<void>(s->end->send(channel_kind::event, message(self, 1 - self, channel_id::chunk, number,
                                                                  counting(pool, static_cast<float>(self), values))));
    }
  }
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::message) + two.count(what::message) == 6; }));
  for (auto* s : {&one, &two}) {
    auto const other = s == &one ? 1.0F : 0.0F;
    for (auto const& m : s->messages(channel_id::chunk)) {
      auto const v = m.p.body.view<float>();
      REQUIRE(v.size() == values);
      for (std::size_t i = 0; i < values; i += 997) REQUIRE(v[i] == other + static_cast<float>(i));
    }
  }
}

TEST_CASE("whoever calls without the key is turned away and told nothing, as often as it comes, and the run goes on") {
  scratch_folder const folder{"tls"};
  tcp_doors doors{2};
  auto const k = key_in(folder);
  auto one = seat_of(doors, 0, k, {.greeting = 500ms}), two = seat_of(doors, 1, k);
  wire::agreement agreed;
  agreed.add("nodes", 2).add("seed", 1);
  auto const hello = wire::encode_hello({agreed.id(), node_id{1}, node_id{0}, 9, 0, 0, 0}, agreed.text());
  auto const nobody_hears = [&](auto const& says) {
    caller_without_key c{doors.addresses[0]};
    auto const before = one.end->rejected().strangers;
    says(c);
    REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.end->rejected().strangers > before && c.listen(); }));
    CHECK(!holds(c.heard, bytes_of("seed")));
    CHECK(c.heard.size() < 100);  // an alert at most
  };
  auto const hello_in_plain = [&](caller_without_key& c) { asio::write(c.socket, asio::buffer(hello)); };
  auto const goodbye = [&](transport::peer_status::phase at) {  // with a hello before it, or without one
    return [&, at](caller_without_key& c) {
      auto bytes = at == transport::peer_status::phase::left ? hello : std::vector<std::byte>{};
      auto const last = transport::detail::frame_of({at}, node_id{1}, node_id{0});
      wire::encode_in_stream(last, {}, bytes, {agreed.id(), &wire::xxh3_of});
      asio::write(c.socket, asio::buffer(bytes));
    };
  };
  auto const garbage = [](caller_without_key& c) { asio::write(c.socket, asio::buffer(std::string(1000, 'x'))); };
  auto const silence = [](caller_without_key&) {};
  nobody_hears(hello_in_plain);  // before the run, in place of the peer
  nobody_hears(silence);
  REQUIRE(both_opened(one, two));
  for (auto round = 0; round < 3; ++round) {
    nobody_hears(hello_in_plain);
    nobody_hears(garbage);
    nobody_hears(goodbye(transport::peer_status::phase::left));
    nobody_hears(goodbye(transport::peer_status::phase::ended));
  }
  CHECK(one.count(what::left) + one.count(what::closed) == 0);
  // A flood of them, all at once.
  std::list<caller_without_key> many;
  for (auto i = 0; i < 200; ++i) {
    auto& c = many.emplace_back(doors.addresses[0]);
    if (i % 2 == 0) hello_in_plain(c);
  }
  CHECK(reaches(one, two, 20));
  CHECK(one.count(what::closed) == 0);
  CHECK(two.count(what::closed) == 0);
  // Who has died is not replaced by one of them either, and comes back while they call.
  two.end.reset();
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) == 1; }));
  nobody_hears(hello_in_plain);
  CHECK(one.count(what::opened) == 1);
  for (auto i = 0; i < 100; ++i) many.emplace_back(doors.addresses[0]);
  auto back = seat_of(doors, 1, k);
  REQUIRE(poll_until<tcp>({&one, &back}, [&] { return one.count(what::opened) == 2; }));
}

/// The sentences with which nodes 0 and 1 give up on each other. Node 1 calls, and node 0 waits a little longer.
struct both_sentences {
  std::string of_0, of_1;
};
auto sentences_of(keys of_0, keys of_1) -> both_sentences {
  tcp_doors doors{2};
  auto const hurry = transport::tcp_options{.arrival = 1500ms};
  auto one = seat_of(doors, 0, std::move(of_0), {.arrival = 2s}), two = seat_of(doors, 1, std::move(of_1), hurry);
  REQUIRE(poll_until<tcp>({&one, &two}, [&] { return one.count(what::closed) == 1 && two.count(what::closed) == 1; }));
  CHECK(one.count(what::opened) == 0);
  CHECK(two.count(what::opened) == 0);
  CHECK(one.end->rejected().strangers > 0);
  return {one.newest(what::closed)->why, two.newest(what::closed)->why};
}
auto sentence_of(keys of_0, keys of_1) -> std::string { return sentences_of(std::move(of_0), std::move(of_1)).of_1; }

TEST_CASE("a node with another key, or with none, or beside one with none, gives up with a sentence that says so") {
  scratch_folder const folder{"tls"};
  auto const mine = key_in(folder), other = key_in(folder, "other.key");
  auto const wrong = [](std::string const& sentence) {
    INFO(sentence);
    CHECK(sentence.find("node 0") != std::string::npos);
    CHECK(sentence.find("it has another key, or none") != std::string::npos);
  };
  wrong(sentence_of(mine, other));
  wrong(sentence_of(nullptr, mine));
  CHECK(says(sentence_of(mine, nullptr), "is not a rubato node, is too busy, or wants a key"));
  // Certificates are no keys, whoever has them.
  certified const made{2};
  wrong(sentence_of(made.of(0), mine));
  auto const [waits, calls] = sentences_of(mine, made.of(1));
  CHECK(says(waits, "somebody has, and was turned away: it has another key, or none, or a certificate"));
  CHECK(says(calls, "it refuses this node's certificate, or has none, or a key"));
}

TEST_CASE("who waits for a peer that has another key says that somebody was turned away, also for who was there once") {
  static std::string told;
  told.clear();
  scratch_folder const folder{"tls"};
  auto const k = key_in(folder), other = key_in(folder, "other.key");
  CHECK(says(sentences_of(k, other).of_0,
             "it has not called; somebody has, and was turned away: it has another key, or none"));
  tcp_doors doors{2};
  auto o = doors.options(0);
  o.security = k;
  o.says = [](std::string_view sentence) { told += std::string{sentence} + "\n"; };
  tcp_seat one{std::make_unique<tcp>(test_identity(0, 2), std::move(o))};
  auto two = seat_of(doors, 1, k);
  REQUIRE(both_opened(one, two));
  two.end.reset();
  REQUIRE(poll_until<tcp>({&one}, [&] { return one.count(what::closed) == 1; }));
  auto wrong = seat_of(doors, 1, other);
  REQUIRE(poll_until<tcp>({&one, &wrong}, [&] { return one.end->rejected().strangers > 3; }));
  CHECK(says(told, "is away somebody has called, and was turned away: it has another key"));
  CHECK(std::count(told.begin(), told.end(), '\n') == 1);  // once, however often it comes
}

/// As `certified`, but expired an hour ago. By the program that the script calls too.
struct expired {
  expired() {
    auto const at = folder.path().string();
    auto const run = [](std::string const& command) { REQUIRE(std::system((command + " 2>/dev/null").c_str()) == 0); };
    std::ofstream{folder.path() / "index"}.close();
    std::ofstream{folder.path() / "serial"} << "01\n";
    std::ofstream{folder.path() / "ca.cnf"}
        << "[ca]\ndefault_ca=own\n[own]\ndatabase=" << at << "/index\nserial=" << at << "/serial\nnew_certs_dir=" << at
        << "\ndefault_md=sha256\npolicy=any\ncopy_extensions=copy\n[any]\ncommonName=supplied\n";
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=authority -keyout " +
        at + "/authority.key -out " + at + "/authority.pem");
    for (auto const* const node : {"node-0", "node-1"}) {
      auto const own = at + "/" + node;
      run("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + std::string{node} +
          ".rubato -addext subjectAltName=DNS:" + node + ".rubato -keyout " + own + ".key -out " + own + ".csr");
      run("openssl ca -batch -notext -config " + at + "/ca.cnf -cert " + at + "/authority.pem -keyfile " + at +
          "/authority.key -startdate 20200101000000Z -enddate 20200102000000Z -in " + own + ".csr -out " + own +
          ".pem");
    }
  }
  [[nodiscard]] auto of(std::size_t node) const -> keys {
    auto const own = folder.path() / ("node-" + std::to_string(node));
    return transport::certificates(folder.path() / "authority.pem", own.string() + ".pem", own.string() + ".key");
  }
  scratch_folder folder{"expired"};
};

TEST_CASE("nodes with certificates of one authority talk, each as itself") {
  certified const made{3}, others{2};
  expired const old;
  {
    tcp_doors doors{2};
    auto one = seat_of(doors, 0, made.of(0)), two = seat_of(doors, 1, made.of(1));
    REQUIRE(both_opened(one, two));
    CHECK(reaches(one, two, 5));
  }
  // Node 2's files, in the name of node 0 and of node 1.
  CHECK(says(sentence_of(made.of(2), made.of(1)), "what answers there has the certificate of another node"));
  auto const [waits, calls] = sentences_of(made.of(0), made.of(2));
  CHECK(says(waits, "somebody has, and was turned away: it has the certificate of another node than node 1"));
  CHECK(says(calls, "or this node's certificate is another node's"));
  auto const other = refusal([&] {
    static_cast<void>(transport::certificates(made.file("authority.pem"), made.file("node-2.pem"),
                                              made.file("node-2.key"), node_id{1}));
  });
  CHECK(says(other, "node-2.pem' is another node's: that of node 1 is made out to node-1.rubato"));
  CHECK(says(sentence_of(others.of(0), made.of(1)), "its certificate is refused here"));
  CHECK(says(sentence_of(old.of(0), old.of(1)), "its certificate is refused here: certificate has expired"));
}

TEST_CASE("what was found of a certificate is said at the end, whatever came after it") {
  certified const made{3};
  auto const wrong_at = [&](std::size_t wrong) {
    tcp_doors doors{2};
    auto const hurry = transport::tcp_options{.arrival = 2s};
    auto right = seat_of(doors, 1 - wrong, made.of(1 - wrong), hurry), other = seat_of(doors, wrong, made.of(2));
    auto const turned_away = [&] { return (wrong == 0 ? other : right).end->rejected().strangers; };
    REQUIRE(poll_until<tcp>({&right, &other}, [&] { return turned_away() > 2; }));
    other.end.reset();
    if (wrong == 1) {  // as if another call were cut off by its end
      auto const before = turned_away();
      {
        caller_without_key const cut{doors.addresses[0]};
      }
      REQUIRE(poll_until<tcp>({&right}, [&] { return turned_away() > before; }));
    }
    REQUIRE(poll_until<tcp>({&right}, [&] { return right.count(what::closed) == 1; }));
    return right.newest(what::closed)->why;
  };
  CHECK(says(wrong_at(0), "before, what answers there has the certificate of another node"));
  CHECK(says(wrong_at(1), "somebody has, and was turned away: it has the certificate of another node than node 1"));
}

TEST_CASE("key files that others can read, that are none, or that are there already are refused in a sentence") {
  scratch_folder const folder{"tls"};
  auto const file = folder.path() / "run.key";
  auto const refused = [&](char const* with) {
    auto const sentence = refusal([&] { static_cast<void>(transport::shared_key(file)); });
    INFO(sentence);
    CHECK(says(sentence, with));
    CHECK(says(sentence, "the key file '"));
  };
  refused("cannot be read: No such file");
  transport::make_key(file);
  CHECK_NOTHROW(transport::shared_key(file));
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  CHECK(says(refusal([&] { transport::make_key(file); }), "cannot be made: File exists"));
  auto const first = content_of(file);
  CHECK(first.size() == 65);
  transport::make_key(folder.path() / "second.key");
  CHECK(content_of(folder.path() / "second.key") != first);
  for (auto const mode : {0640U, 0604U, 0660U}) {
    REQUIRE(::chmod(file.c_str(), mode) == 0);
    refused("is open to other users");
  }
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  auto const holding = [&](std::string const& text, char const* with) {
    std::ofstream{file, std::ios::trunc} << text;
    if (*with == '\0') CHECK_NOTHROW(transport::shared_key(file));  // white space at the end, as editors leave it
    else refused(with);
  };
  holding(first.substr(0, 32), "not of 32 characters");
  holding("", "not of 0 characters");
  holding(first.substr(0, 64) + " \r\n\n", "");
  holding(first.substr(0, 63) + "g\n", "not of other characters");
  holding(first + first, "not of more");
  std::filesystem::remove(file);
  REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
  refused("is not a file");
  certified const made{1};
  auto const bad = [&](char const* authority, char const* certificate, char const* key) {
    return refusal([&] {
      static_cast<void>(transport::certificates(made.file(authority), made.file(certificate), made.file(key)));
    });
  };
  CHECK(says(bad("node-0.key", "node-0.pem", "node-0.key"), "the authority's certificate '"));
  CHECK(says(bad("authority.pem", "authority.pem", "node-0.key"), "the private key '"));
  CHECK(says(bad("authority.pem", "nothing.pem", "node-0.key"), "the certificate '"));
  CHECK(says(bad("nothing.pem", "node-0.pem", "node-0.key"), "cannot be used: No such file or directory"));
  auto const locked = "openssl pkcs8 -topk8 -passout pass:secret -in " + made.file("node-0.key").string() + " -out " +
                      made.file("locked.key").string();
  REQUIRE(std::system(locked.c_str()) == 0);
  REQUIRE(::chmod(made.file("locked.key").c_str(), 0600) == 0);
  CHECK(says(bad("authority.pem", "node-0.pem", "locked.key"), "the private key '"));  // and nobody is asked
  REQUIRE(::chmod(made.file("node-0.key").c_str(), 0644) == 0);
  CHECK(says(bad("authority.pem", "node-0.pem", "node-0.key"), "is open to other users"));
}

TEST_CASE("with a key, addresses beyond this machine are taken") {
  scratch_folder const folder{"tls"};
  auto const make = [&](keys k) {
    return refusal(
        [&] { tcp{test_identity(0, 2), {.addresses = {"127.0.0.1:0", "192.0.2.1:9"}, .security = std::move(k)}}; });
  };
  CHECK(says(make(nullptr), "not an address of this machine alone"));
  CHECK(make(key_in(folder)) == "");
}

}  // namespace
}  // namespace rubato::test
