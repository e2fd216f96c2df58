// SPDX-License-Identifier: MIT
// What is shared memory's own: ends that are killed at any moment, peers that write nonsense into what they share, what
// a killed run leaves behind, and what there is no room or no right for.
#include <rubato/transport/shared_memory.hpp>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/interprocess/shared_memory_object.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using transport::send_status;
using transport::shared_memory;
using transport::shared_memory_options;
namespace internal = transport::detail;

/// Everything of a run that has a name in the folder of shared memory.
auto names_of(std::string const& run) -> std::vector<std::string> {
  std::vector<std::string> all;
  for (auto const& file : std::filesystem::directory_iterator{internal::shared_memory_folder}) {
    auto name = file.path().filename().string();
    if (name.starts_with(internal::memory_prefix(run))) all.push_back(std::move(name));
  }
  return all;
}

/// A ring that a large message goes round many times, and ticks that soon see who is gone.
auto small_rings(std::string const& run) -> shared_memory_options {
  return {.run = run, .ring_bytes = std::size_t{32} << 10, .greeting = 40ms};
}
/// Vectors of that many floats in one block, on a channel of events whose messages may be shorter.
auto identity_of_many(std::size_t self, std::size_t values) -> transport::identity {
  auto me = test_identity(self, 2);
  me.blocks = block_partition{values, values};
  return me;
}

TEST_CASE("a vector that is longer than its ring goes through it in both directions at a time, next to short ones") {
  constexpr auto values = std::size_t{4} << 20;  // 16 MiB
  auto const run = fresh_run_name();
  std::array<seat<shared_memory>, 2> seats;
  for (std::size_t i = 0; i < 2; ++i)
    seats[i].end = std::make_unique<shared_memory>(identity_of_many(i, values), small_rings(run));
  auto const all = std::vector{&seats[0], &seats[1]};
  REQUIRE(poll_until<shared_memory>(all, [&] {
    return std::all_of(seats.begin(), seats.end(), [](auto& s) { return s.count(what::opened) == 1; });
  }));
  CHECK(names_of(run).size() == 2);  // the doors: an open link has no name
  buffer_pool pool;
  auto const bodies = std::array{counting(pool, 1, values), counting(pool, 2, 1), counting(pool, 3, values)};
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::uint64_t k = 1; k <= bodies.size(); ++k) {
      auto p = message(i, 1 - i, channel_id::chunk, k, bodies[k - 1]);
      REQUIRE(seats[i].end->send(channel_kind::event, std::move(p)) == send_status::accepted);
    }
  }
  auto const latest = transport::clock::now() + 30s;
  while (seats[0].count(what::message) < 3 || seats[1].count(what::message) < 3) {
    REQUIRE(transport::clock::now() < latest);
    for (auto& s : seats) s.end->poll(transport::clock::now(), s.got);  // each waits for the other, so no poll waits
  }
  for (auto const& s : seats) {
    auto const got = s.messages(channel_id::chunk);
    for (std::size_t k = 0; k < bodies.size(); ++k) {
      auto const here = got[k].p.body.bytes(), sent = bodies[k].bytes();
      REQUIRE(here.size() == sent.size());
      CHECK(std::memcmp(here.data(), sent.data(), sent.size()) == 0);
    }
  }
  for (auto& s : seats) s.end.reset();
  CHECK(names_of(run).empty());
}

// --- killed at any moment

constexpr std::size_t longest = 30'000;  // values of a message; four rings
auto length_of(std::uint64_t number) -> std::size_t { return number % 7 == 0 ? longest : number * 37 % 600 + 1; }

/// Sends numbered messages whose content follows from their number, and checks those of the other end.
struct talker {
  std::size_t self;
  shared_memory end;
  buffer_pool pool{};
  std::optional<session_id> outgoing{}, coming{};
  std::uint64_t sent = 0, heard = 0, heard_in_all = 0;
  std::string trouble{};
  std::vector<std::string> closed{};
  std::vector<incoming> news{};

  talker(std::size_t i, std::string const& run) : self{i}, end{identity_of_many(i, longest), small_rings(run)} {}

  void turn() {
    while (outgoing && !end.congested()) {
      auto const n = ++sent;
      auto p =
          message(self, 1 - self, channel_id::chunk, n, counting(pool, static_cast<float>(n % 1000), length_of(n)));
      p.session = *outgoing;
      static_cast<void>(end.send(channel_kind::event, std::move(p)));
    }
    news.clear();
    end.poll(transport::clock::now() + 1ms, news);
    for (auto const& n : news) take(n);
  }
  void take(incoming const& n) {
    if (n.kind == what::opened) outgoing = n.outgoing, coming = n.incoming, sent = heard = 0;
    if (n.kind == what::closed) outgoing.reset(), closed.push_back(n.why);
    if (n.kind != what::message) return;
    auto const x = n.p.body.view<float>();
    ++heard_in_all;
    auto const first = static_cast<float>(to_count(n.p.number) % 1000);
    auto is_right = n.p.number == iteration{++heard} && x.size() == length_of(heard) && n.p.session == *coming;
    for (std::size_t k = 0; is_right && k < x.size(); ++k) is_right = x[k] == first + static_cast<float>(k);
    if (!is_right) trouble = "message " + std::to_string(heard) + " of a session is not what was sent";
  }
};

/// A process that is a talker until it is killed.
auto start_talker(std::size_t self, std::string const& run) -> pid_t {
  auto const child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    talker t{self, run};
    while (t.trouble.empty()) t.turn();
  } catch (std::exception const&) {
  }
  ::_exit(1);
}

TEST_CASE(
    "whichever end is killed, writing or reading and at any moment, the other one says so and takes its next life") {
  std::mt19937 draw{1};
  for (std::size_t killed = 0; killed < 2; ++killed) {  // the callee, and then the caller
    auto const run = fresh_run_name();
    std::uint64_t heard = 0;
    {
      talker t{1 - killed, run};
      for (auto life = 0; life < 60; ++life) {
        auto const closed_before = t.closed.size();
        auto const child = start_talker(killed, run);
        REQUIRE(child > 0);
        auto const latest = transport::clock::now() + 30s;
        auto const turn_in_time = [&] {
          t.turn();
          REQUIRE(transport::clock::now() < latest);
        };
        // While it comes, or after so many messages of it.
        auto moment = std::uniform_int_distribution{0, 20}(draw);
        if (life % 2 == 0) {
          while (!t.outgoing) turn_in_time();
          for (auto const goal = t.heard_in_all + static_cast<std::uint64_t>(moment); t.heard_in_all < goal;)
            turn_in_time();
        } else {
          for (; moment > 0; --moment) turn_in_time();
        }
        ::kill(child, SIGKILL);
        auto status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));  // it had not ended by itself
        while (t.outgoing) turn_in_time();  // opened, and not yet closed
        for (auto k = closed_before; k < t.closed.size(); ++k) {
          INFO(t.closed[k]);
          CHECK(says(t.closed[k], killed == 0 ? "node 0 is gone: " : "node 1 is gone: "));
        }
        REQUIRE(t.trouble.empty());
      }
      heard = t.heard_in_all;
      CHECK(t.closed.size() >= 30);  // so many at least were killed with an open edge
      CHECK(t.end.rejected().total() == 0);
    }
    CHECK(heard > 0);
    shared_memory::remove_left_overs(run);
    CHECK(names_of(run).empty());
  }
}

// --- nonsense

/// Node 1 by hand: it has left node 0 a link with a hello, and sees all of its memory.
struct vandal {
  std::unique_ptr<internal::memory_link> link;
  internal::segment memory;

  explicit vandal(std::string const& run, transport::identity const& me) {
    auto const name = internal::link_name(run, node_id{1}, node_id{0});
    link = internal::memory_link::offered(name, std::uint64_t{32} << 10, 0);
    auto again = internal::segment::open(name);
    REQUIRE(again.has_value());
    REQUIRE(again->map(0).empty());
    memory = std::move(*again);
    auto const hello = wire::encode_hello({me.agreed.id(), node_id{1}, node_id{0}, 0, 0, 0, 0}, me.agreed.text());
    REQUIRE(link->out.put(hello) == hello.size());
    if (auto door = internal::peer_door::of(run, node_id{0})) door->call();
  }
  [[nodiscard]] auto words() const -> internal::link_words& {
    return *reinterpret_cast<internal::link_words*>(memory.bytes().data());
  }
};

TEST_CASE("positions that cannot be end a session with a counted error, whichever end of a ring wrote them") {
  auto const run = fresh_run_name();
  auto const me = test_identity(0, 2);
  seat<shared_memory> it{std::make_unique<shared_memory>(me, small_rings(run))};
  buffer_pool pool;
  auto rejected = std::uint64_t{0};
  for (auto const reads : {false, true}) {
    for (auto const position : {std::uint64_t{1} << 40, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
      vandal v{run, me};
      it.got.clear();
      REQUIRE(poll_until<shared_memory>({&it}, [&] { return it.count(what::opened) == 1; }));
      if (reads) v.words().rings[1].read.store(position);
      else v.words().rings[0].written.store(position);
      if (reads) it.end->send(channel_kind::state, message(0, 1, channel_id::model, 1, counting(pool, 1)));
      REQUIRE(poll_until<shared_memory>({&it}, [&] { return it.count(what::closed) == 1; }));
      CHECK(says(it.newest(what::closed)->why, "node 1 is gone: the memory that it shares with this node is damaged"));
      CHECK(it.end->rejected().frames == ++rejected);
    }
  }
}

TEST_CASE("whatever a peer writes anywhere into what it shares, nothing false is delivered, and no poll takes long") {
  auto const run = fresh_run_name();
  auto const me = test_identity(0, 2);
  seat<shared_memory> it{std::make_unique<shared_memory>(me, small_rings(run))};
  buffer_pool pool;
  auto const body = counting(pool, 1);
  std::mt19937_64 draw{2};
  auto const below = [&](std::uint64_t n) { return draw() % n; };
  std::uint64_t number = 0, opened = 0;
  for (auto round = 0; round < 300; ++round) {
    vandal v{run, me};
    auto const bytes = v.memory.bytes();
    for (auto step = below(4); step > 0; --step) it.end->poll(transport::clock::now(), it.got);
    for (auto step = 0; step < 6; ++step) {
      for (auto k = below(3); k > 0; --k) {  // mostly what both look at, then the hello, and anything
        constexpr std::size_t words[] = {0, 8, 16, 24, 64, 64, 128, 136, 192, 256, 256, 264};
        auto const any = 8 * below(below(2) == 0 ? bytes.size() / 8 : internal::link_words::bytes / 8 + 30);
        auto const at = below(4) == 0 ? any : words[below(std::size(words))];
        auto& word = *reinterpret_cast<std::atomic<std::uint64_t>*>(bytes.data() + at);
        auto const value = std::array{draw(), word.load() + below(200), word.load() - below(200),
                                      word.load() ^ (std::uint64_t{1} << below(64)), std::uint64_t{0}};
        word.store(value[below(value.size())]);
      }
      it.end->send(channel_kind::state, message(0, 1, channel_id::model, ++number, body));
      it.end->send(channel_kind::event, message(0, 1, channel_id::chunk, number, body));
      auto const begun = transport::clock::now();
      it.end->poll(begun, it.got);
      REQUIRE(transport::clock::now() < begun + 5s);
    }
    opened += it.count(what::opened);
    REQUIRE(it.count(what::message) == 0);  // none was sent
    it.got.clear();
  }
  CHECK(opened > 100);
  CHECK(it.end->rejected().frames > 10);
  CHECK(it.end->rejected().strangers > 0);
}

// --- names

TEST_CASE("what killed processes left is removed by the next of the same name, even if it was never finished") {
  auto const run = fresh_run_name();
  auto status = 0;
  auto const child = ::fork();
  if (child == 0) {
    shared_memory const caller{test_identity(1, 3), small_rings(run)};
    shared_memory const other{test_identity(2, 3), small_rings(run)};
    ::kill(::getpid(), SIGKILL);
  }
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(names_of(run).size() >= 4);
  using boost::interprocess::create_only, boost::interprocess::read_write, boost::interprocess::shared_memory_object;
  shared_memory_object const empty{create_only, internal::door_name(run, node_id{0}).c_str(), read_write};
  {
    std::array<seat<shared_memory>, 3> seats;
    std::vector<seat<shared_memory>*> all;
    for (std::size_t i = 0; i < 3; ++i) {
      seats[i].end = std::make_unique<shared_memory>(test_identity(i, 3), small_rings(run));
      all.push_back(&seats[i]);
    }
    REQUIRE(poll_until<shared_memory>(all, [&] {
      return std::all_of(seats.begin(), seats.end(), [](auto& s) { return s.count(what::opened) == 2; });
    }));
    for (auto const& s : seats) CHECK(s.count(what::closed) == 0);
    CHECK(names_of(run).size() == 3);
    for (auto const& name : names_of(run)) {
      struct stat about{};
      REQUIRE(::stat((std::string{internal::shared_memory_folder} + "/" + name).c_str(), &about) == 0);
      CHECK((about.st_mode & 0777) == 0600);
    }
  }
  CHECK(names_of(run).empty());
}

TEST_CASE("a link that loses its name before the other end takes it is left anew, and the edge opens all the same") {
  auto const run = fresh_run_name();
  std::array<seat<shared_memory>, 2> seats;
  seats[1].end = std::make_unique<shared_memory>(test_identity(1, 2), small_rings(run));
  using boost::interprocess::shared_memory_object;
  REQUIRE(shared_memory_object::remove(internal::link_name(run, node_id{1}, node_id{0}).c_str()));
  seats[0].end = std::make_unique<shared_memory>(test_identity(0, 2), small_rings(run));
  REQUIRE(poll_until<shared_memory>({&seats[0], &seats[1]}, [&] {
    return std::all_of(seats.begin(), seats.end(), [](auto& s) { return s.count(what::opened) == 1; });
  }));
  for (auto const& s : seats) CHECK(s.count(what::closed) == 0);
}

TEST_CASE("a name that others use is refused, whoever they are, and so is one that is none") {
  auto const run = fresh_run_name();
  auto const end_of = [](std::size_t self, shared_memory_options const& o) {
    return refusal([&] { shared_memory const never{test_identity(self, 2), o}; });
  };
  {
    shared_memory const first{test_identity(1, 2), small_rings(run)};
    auto const sentence = end_of(1, small_rings(run));
    CHECK(says(sentence, "another process is node 1 of a run by the name test-"));
    CHECK(says(sentence, (": process " + std::to_string(::getpid()) + "; give this run another name").c_str()));
    CHECK(names_of(run).size() == 2);  // nothing was taken from the first
  }
  using boost::interprocess::create_only, boost::interprocess::read_write, boost::interprocess::shared_memory_object;
  for (auto const& name : {internal::door_name(run, node_id{1}), internal::link_name(run, node_id{1}, node_id{0})}) {
    shared_memory_object const theirs{create_only, name.c_str(), read_write};
    if (::fchown(theirs.get_mapping_handle().handle, 65534, 65534) == 0)  // as root alone
      CHECK(says(end_of(1, small_rings(run)), "another user has made it; give the run another name"));
    shared_memory_object::remove(name.c_str());
  }
  CHECK(names_of(run).empty());
  for (auto const* const none : {"", "a/b", "a b", "a:b"})
    CHECK(says(end_of(1, small_rings(none)), "is no name of a run"));
  CHECK(says(end_of(1, small_rings(std::string(101, 'a'))), "is no name of a run"));
  for (auto const bytes : {std::size_t{0}, std::size_t{1} << 14, (std::size_t{1} << 20) + 1}) {
    CHECK(says(end_of(1, {.run = run, .ring_bytes = bytes}), "a power of two of bytes, from 32768 up, not"));
  }
}

TEST_CASE("if there is too little shared memory, a sentence says before the start how much is needed and left") {
  struct statvfs about{};
  REQUIRE(::statvfs(internal::shared_memory_folder, &about) == 0);
  if (about.f_blocks == 0) return;  // it has no limit here
  auto const run = fresh_run_name();
  auto o = small_rings(run);
  o.ring_bytes = std::size_t{1} << 45;
  auto const sentence = refusal([&] { shared_memory const never{test_identity(2, 3), o}; });
  INFO(sentence);
  CHECK(says(sentence, "this node needs 134217728.1 MiB of shared memory for its edges, and /dev/shm has "));
  CHECK(says(sentence, " left: enlarge it (for a container, --shm-size), or give its edges shorter rings"));
  CHECK(names_of(run).empty());
  shared_memory const calls_nobody{test_identity(0, 3), o};
}

}  // namespace
}  // namespace rubato::test
