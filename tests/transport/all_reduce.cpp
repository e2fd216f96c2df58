// SPDX-License-Identifier: MIT
#include <rubato/collective/all_reduce.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <semaphore>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "transport/worlds.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using collective::algorithm;
using test::tcp_doors;

/// Runs live(i) for each of n nodes but the missing one, in a thread each; what each threw, in words.
template<class Live>
auto at_all_nodes(std::size_t n, Live live, std::size_t missing) -> std::vector<std::string> {
  std::vector<std::string> said(n);
  std::vector<std::jthread> all;
  for (std::size_t i = 0; i < n; ++i) {
    if (i == missing) continue;
    all.emplace_back([&, i] {
      try {
        live(i);
      } catch (run_error const& e) {
        said[i] = e.what();
      }
    });
  }
  all.clear();
  return said;
}

/// Runs `live(port)` at n nodes that meet in a room.
template<class Live>
auto in_a_room(std::size_t n, collective::options const& o, Live live, std::size_t missing = collective::detail::nobody)
    -> std::vector<std::string> {
  auto const room = transport::in_process::room{n, 64, missing == collective::detail::nobody ? 10s : 2s};
  auto const at_one = [&](std::size_t i) {
    auto const me = collective::identity_of(to_node(i), n, nullptr, o);
    auto wires = transport::in_process{room, me};
    auto port = collective::port{me, wires, o};
    live(port);
  };
  return at_all_nodes(n, at_one, missing);
}

/// The same over TCP, with checksums.
template<class Live>
auto over_tcp(std::size_t n, collective::options const& o, Live live, std::size_t missing = collective::detail::nobody)
    -> std::vector<std::string> {
  tcp_doors doors{n};
  std::vector<transport::tcp_options> how;
  for (std::size_t i = 0; i < n; ++i) {
    how.push_back(doors.options(i));
    how[i].arrival = missing == collective::detail::nobody ? 10s : 2s;
  }
  auto const at_one = [&](std::size_t i) {
    auto const me = collective::identity_of(to_node(i), n, &wire::xxh3_of, o);
    auto wires = transport::tcp{me, how[i]};
    auto port = collective::port{me, wires, o};
    live(port);
  };
  return at_all_nodes(n, at_one, missing);
}

/// The same over shared memory.
template<class Live>
auto over_shared_memory(std::size_t n, collective::options const& o, Live live) -> std::vector<std::string> {
  test::shared_memory_doors const doors{n};
  auto const at_one = [&](std::size_t i) {
    auto const me = collective::identity_of(to_node(i), n, nullptr, o);
    auto wires = transport::shared_memory{me, doors.options(i)};
    auto port = collective::port{me, wires, o};
    live(port);
  };
  return at_all_nodes(n, at_one, collective::detail::nobody);
}

/// Node i's value k: of both signs, and of sizes that make rounding show.
template<class T>
auto value_of(std::size_t i, std::size_t k) -> T {
  auto const mixed = (k * 2654435761U + i * 40503U) % 100'003U;
  return static_cast<T>((static_cast<double>(mixed) - 50'000) / 17.0 * (k % 7 == 0 ? 1e3 : 1));
}

/// One call of each size at every node; all hold the same bits, which are the plain sum as far as rounding goes.
template<class T>
struct trial {
  std::size_t n = 0;
  std::vector<std::size_t> sizes;
  collective::call_options how{};
  std::vector<std::vector<std::vector<T>>> results = std::vector<std::vector<std::vector<T>>>(n);

  template<class Port>
  void live(Port& port) {
    for (auto const size : sizes) {
      std::vector<T> values(size);
      for (std::size_t k = 0; k < size; ++k) values[k] = value_of<T>(port.self(), k);
      collective::all_reduce(port, std::span{values}, how);
      results[port.self()].push_back(std::move(values));
    }
  }
  void check() const {
    for (std::size_t s = 0; s < sizes.size(); ++s) {
      auto const& first = results[0].at(s);
      REQUIRE(first.size() == sizes[s]);
      auto worst = 0.0;
      for (std::size_t k = 0; k < sizes[s]; k += sizes[s] > 100'000 ? 97U : 1U) {
        auto sum = 0.0, size = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
          sum += static_cast<double>(value_of<T>(i, k));
          size += std::abs(static_cast<double>(value_of<T>(i, k)));
        }
        auto const all = static_cast<double>(n);
        if (how.result == collective::result::mean) sum /= all, size /= all;
        worst = std::max(worst, std::abs(static_cast<double>(first[k]) - sum) / (size + 1e-300));
      }
      CHECK(worst <= static_cast<double>(n) * static_cast<double>(std::numeric_limits<T>::epsilon()));
      for (auto const& other : results)
        REQUIRE((sizes[s] == 0 || std::memcmp(other.at(s).data(), first.data(), sizes[s] * sizeof(T)) == 0));
    }
  }
};

/// In pieces so small that many are under way, in several steps at once.
constexpr auto small_pieces = collective::options{.piece_values = 64};

TEST_CASE("an all-reduce of threads gives the sum, with the same bits everywhere, at any number of nodes and size") {
  for (std::size_t n = 1; n <= 9; ++n) {
    for (auto const by : collective::all_algorithms) {
      INFO(n << " nodes, " << std::string{name_of(by)});
      auto t = trial<float>{n, {0, 1, n - 1, n, 1013}, {.by = by}};
      auto const said = in_a_room(n, small_pieces, [&](auto& port) { t.live(port); });
      for (auto const& s : said) REQUIRE(s == "");
      t.check();
    }
  }
  for (auto const by : collective::all_algorithms) {
    auto t = trial<float>{3, {1'000'003}, {.by = by}};
    for (auto const& s : in_a_room(3, {}, [&](auto& port) { t.live(port); })) REQUIRE(s == "");
    t.check();
  }
}

TEST_CASE("means and doubles too, chosen by size, one call after another without a word between") {
  auto t = trial<double>{5, std::vector<std::size_t>(30, 777), {.result = collective::result::mean}};
  for (auto const& s : in_a_room(5, small_pieces, [&](auto& port) { t.live(port); })) REQUIRE(s == "");
  t.check();
}

TEST_CASE("over TCP it gives the same sums, in messages with checksums") {
  for (std::size_t n = 1; n <= 5; ++n) {
    for (auto const by : collective::all_algorithms) {
      INFO(n << " nodes, " << std::string{name_of(by)});
      auto t = trial<float>{n, {0, 1, n - 1, 1013, 1}, {.by = by}};
      for (auto const& s : over_tcp(n, small_pieces, [&](auto& port) { t.live(port); })) REQUIRE(s == "");
      t.check();
    }
  }
  auto t = trial<float>{2, {1'000'003}, {.by = algorithm::ring}};
  for (auto const& s : over_tcp(2, {}, [&](auto& port) { t.live(port); })) REQUIRE(s == "");
  t.check();
}

TEST_CASE("over shared memory too; and however many pieces go both ways at once, whatever carries them") {
  for (auto const by : collective::all_algorithms) {
    INFO(std::string{name_of(by)});
    auto t = trial<float>{3, {0, 1, 1013, 2}, {.by = by}};
    for (auto const& s : over_shared_memory(3, small_pieces, [&](auto& port) { t.live(port); })) REQUIRE(s == "");
    t.check();
  }
  constexpr auto single_values = collective::options{.piece_values = 1};  // many times what may wait for a peer
  for (std::size_t n = 2; n <= 3; ++n) {
    for (auto const by : collective::all_algorithms) {
      INFO(n << " nodes, " << std::string{name_of(by)});
      auto t = trial<float>{n, {1000, 999}, {.by = by}};
      auto const live = [&](auto& port) { t.live(port); };
      auto const clean = [&](std::vector<std::string> const& said) {
        for (auto const& s : said) REQUIRE(s == "");
        t.check();
        for (auto& r : t.results) r.clear();
      };
      clean(in_a_room(n, single_values, live));
      clean(over_tcp(n, single_values, live));
      clean(over_shared_memory(n, single_values, live));
    }
  }
}

/// Counts its polls, and those that may sleep.
struct counts_polls : transport::in_process {
  using transport::in_process::in_process;
  void poll(transport::clock::time_point until, std::vector<transport::incoming>& in) {
    sleeps += static_cast<int>(until > transport::clock::now());
    ++polls;
    transport::in_process::poll(until, in);
  }
  int sleeps = 0;
  std::atomic<int> polls{0};
};

TEST_CASE("a call stays awake for as long as its options say, and then sleeps") {
  auto const awake = GENERATE(0s, 300s);
  auto const o = collective::options{.awake = awake};
  auto const room = transport::in_process::room{2, 64, 10s};
  auto const polled = std::make_unique<std::binary_semaphore>(0);
  std::array<float, 2> sums{};
  auto sleeps = 0;
  auto const said = at_all_nodes(
      2,
      [&](std::size_t i) {
        auto const me = collective::identity_of(to_node(i), 2, nullptr, o);
        auto wires = counts_polls{room, me};
        auto port = collective::port{me, wires, o};
        sums[i] = 1;
        auto waits = std::jthread{};
        if (i == 0) {  // the other one comes to the call when this one waits for it
          waits = std::jthread{[&] {
            while (wires.polls == 0) std::this_thread::yield();
            polled->release();
          }};
        } else {
          polled->acquire();
        }
        collective::all_reduce(port, std::span{&sums[i], 1});
        if (i == 0) sleeps = wires.sleeps;
      },
      collective::detail::nobody);
  CHECK(said == std::vector<std::string>{"", ""});
  CHECK(sums == std::array<float, 2>{2, 2});
  CHECK((sleeps > 0) == (awake == 0s));
}

TEST_CASE("costs are measured alike at all nodes, and calls go by them") {
  std::vector<collective::link_costs> known(3);
  auto t = trial<float>{3, {100, 20'000}};
  auto const said = over_tcp(3, {}, [&](auto& port) {
    known[port.self()] = collective::measure_costs(port);
    t.live(port);
  });
  for (auto const& s : said) REQUIRE(s == "");
  t.check();
  for (auto const& c : known) {
    CHECK((c.message > 0 && c.added_byte > 0 && c.byte >= 0));
    CHECK((c.message == known[0].message && c.byte == known[0].byte && c.added_byte == known[0].added_byte));
  }
}

TEST_CASE("a node that never comes, or does not come to a call, ends it at all nodes by the deadline and by its name") {
  auto const impatient = collective::options{.piece_values = 64, .patience = 3s};
  auto const reduce = [](auto& port) {
    auto mine = std::vector<float>(100);
    collective::all_reduce(port, std::span{mine}, {.by = algorithm::ring});
  };
  auto const all_name_2 = [](std::vector<std::string> const& said, std::string const& what) {
    for (std::size_t i = 0; i < said.size(); ++i) {
      INFO(said[i]);
      CHECK((said[i].find("node 2") != std::string::npos) == (i != 2));
    }
    CHECK(std::any_of(said.begin(), said.end(), [&](auto const& s) { return s.find(what) != std::string::npos; }));
  };
  all_name_2(in_a_room(4, impatient, reduce, 2), "has not come within 2.0 s");
  all_name_2(over_tcp(4, impatient, reduce, 2), "has not come within 2.0 s");
  for (auto const by : {algorithm::ring, algorithm::doubling}) {
    INFO(std::string{name_of(by)});
    auto gone = std::counting_semaphore<>{0};
    auto const said = in_a_room(5, impatient, [&](auto& port) {
      if (port.self() == 2) {  // is there, but comes to no second call until the others have ended it
        reduce(port);
        for (auto others = 4; others > 0 && gone.try_acquire_for(60s); --others) {
        }
        return;
      }
      try {
        reduce(port);
        auto mine = std::vector<float>(100);
        collective::all_reduce(port, std::span{mine}, {.by = by});
        gone.release();  // or this test would wait for a minute
      } catch (run_error const&) {
        gone.release();
        reduce(port);  // which says the same again
      }
    });
    for (std::size_t i = 0; i < said.size(); ++i) {
      INFO(said[i]);
      CHECK((i == 2 || said[i].find("node 2") != std::string::npos));
    }
  }
}

TEST_CASE("vectors that nobody takes are read no more when their call has ended") {  // what sanitizers would see
  auto const o = collective::options{.patience = 1s};
  auto const read_no_more = [&]<class Wires>(std::type_identity<Wires>, auto doors, wire::checksum check) {
    auto gone = std::binary_semaphore{0};
    auto said = std::string{};
    auto const live = [&](std::size_t i) {
      auto const me = collective::identity_of(to_node(i), 2, check, o);
      auto wires = Wires{me, doors.options(i)};
      auto port = collective::port{me, wires, o};
      auto one = std::vector<float>(1);
      collective::all_reduce(port, std::span{one});
      if (i == 1) {  // takes nothing more until the other one has given up, and then what is there
        CHECK(gone.try_acquire_for(60s));
        return;
      }
      try {
        auto more_than_waits_in_a_wire = std::vector<float>(std::size_t{1} << 22, 1.0F);
        collective::all_reduce(port, std::span{more_than_waits_in_a_wire});
      } catch (run_error const& e) {
        said = e.what();
      }
      gone.release();
      std::vector<transport::incoming> news;
      for (auto k = 0; k < 50; ++k) wires.poll(transport::clock::now() + 5ms, news);
    };
    for (auto const& sentence : at_all_nodes(2, live, collective::detail::nobody)) CHECK(sentence == "");
    INFO(said);
    CHECK(said.find("node 1 has not come to call 2") != std::string::npos);
  };
  read_no_more(std::type_identity<transport::shared_memory>{}, test::shared_memory_doors{2}, nullptr);
  read_no_more(std::type_identity<transport::tcp>{}, tcp_doors{2}, &wire::xxh3_of);
#if defined(RUBATO_TEST_TLS)
  test::scratch_folder const folder{"all_reduce"};
  transport::make_key(folder.path() / "run.key");
  struct doors_with_key {
    auto options(std::size_t i) {
      auto o = doors.options(i);
      o.security = key;
      return o;
    }
    tcp_doors doors;
    std::shared_ptr<transport::security const> key;
  };
  auto const key = transport::shared_key(folder.path() / "run.key");
  read_no_more(std::type_identity<transport::tcp>{}, doors_with_key{tcp_doors{2}, key}, nullptr);
#endif
}

/// Node 1 by hand: sends node 0 messages of one float, of the calls that `number(k)` says, until node 0 has given up.
auto flooded(std::chrono::nanoseconds patience, std::uint64_t (*number)(std::uint64_t), int at_a_time) -> std::string {
  constexpr auto n = std::size_t{3};
  auto const o = collective::options{.piece_values = 64, .patience = patience};
  auto const room = transport::in_process::room{n};
  auto over = std::atomic<bool>{false};
  auto said = std::string{};
  std::vector<std::jthread> all;
  for (std::size_t i = 0; i < n; ++i) {
    all.emplace_back([&, i] {
      auto const me = collective::identity_of(to_node(i), n, nullptr, o);
      auto wires = transport::in_process{room, me};
      if (i == 0) {
        try {
          auto port = collective::port{me, wires, o};
          auto mine = std::vector<float>(1000);
          collective::all_reduce(port, std::span{mine}, {.by = algorithm::ring});
        } catch (run_error const& e) {
          said = e.what();
        }
        over = true;
      }
      buffer_pool pool;
      std::vector<transport::incoming> news;
      for (auto k = std::uint64_t{0}; !over; ++k) {
        for (auto sent = 0; i == 1 && sent < at_a_time && !wires.congested(); ++sent) {
          auto p = test::message(1, 0, channel_id::chunk, number(k), test::counting(pool, 1, 1));
          p.extra.set(scalar_slot::sample_count, std::uint64_t{1000});
          static_cast<void>(wires.send(channel_kind::event, std::move(p)));
        }
        news.clear();
        wires.poll(transport::clock::now() + 1ms, news);
      }
    });
  }
  all.clear();
  return said;
}

TEST_CASE("a node that floods another one with messages is refused by name, and holds no call open") {
  auto const says_all = [](std::string const& sentence, std::string const& what) {
    INFO(sentence);
    CHECK(sentence.find(what) != std::string::npos);
  };
  // From node 1, of which node 0 takes nothing before node 2 comes, which never does.
  says_all(flooded(
               30s, [](std::uint64_t) { return std::uint64_t{1}; }, 60),
           "node 1 has sent more values than call 1 of all_reduce takes from a node, if it has 1000");
  says_all(flooded(
               30s, [](std::uint64_t) { return std::uint64_t{2}; }, 60),
           "node 1 has sent more values than call 2 of all_reduce takes from a node, if it has 1000");
  says_all(flooded(
               30s, [](std::uint64_t k) { return k + 1; }, 1),
           ", but this node is in call 1 of all_reduce");  // of which call depends on when node 0 begins
  says_all(flooded(
               30s, [](std::uint64_t k) { return 2 - k % 2; }, 1),
           "node 1 has sent a message of call 1, but this node is in call 1 of all_reduce");
  says_all(flooded(
               500ms, [](std::uint64_t) { return std::uint64_t{1}; }, 1),
           "node 2 has not come to call 1 of all_reduce within 0.5 s");
}

/// Memory for one body, and no more.
struct one_body final : memory_source {
  std::vector<std::byte> bytes = std::vector<std::byte>(1 << 12);
  int left = 1;
  auto allocate(std::size_t) -> std::byte* override {
    if (left-- <= 0) throw std::domain_error{"no more"};
    return bytes.data();
  }
  void release(std::byte*, std::size_t) noexcept override {}
};

TEST_CASE("a call that any exception ends closes the edges, and its port takes no more") {
  auto const room = transport::in_process::room{2};
  auto said = std::array<std::string, 2>{};
  auto own_words = false;
  {
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < 2; ++i) {
      all.emplace_back([&, i] {
        auto me = collective::identity_of(to_node(i), 2, nullptr, small_pieces);
        if (i == 1) me.pool = buffer_pool{std::make_shared<one_body>()};
        auto wires = transport::in_process{room, me};
        auto port = collective::port{me, wires, small_pieces};
        auto mine = std::vector<float>(1000);
        auto const reduce = [&] { collective::all_reduce(port, std::span{mine}, {.by = algorithm::ring}); };
        try {
          reduce();
        } catch (std::domain_error const&) {
          own_words = i == 1;
        } catch (run_error const& e) {
          said[i] = e.what();
        }
        if (i == 0) return;
        try {
          reduce();
        } catch (run_error const& e) {
          said[i] = e.what();
        }
      });
    }
  }
  CHECK(own_words);
  CHECK(said[1] == "a call of all_reduce was left by an exception");
  INFO(said[0]);
  CHECK(said[0].find("node 1 is gone") != std::string::npos);
}

TEST_CASE("calls that do not fit together are refused in a sentence, and so are groups that there cannot be") {
  auto said = in_a_room(2, small_pieces, [](auto& port) {
    auto mine = std::vector<float>(100 + port.self());
    collective::all_reduce(port, std::span{mine});
  });
  auto const one_says = [&](char const* of_one, char const* of_other) {  // whichever sees it first
    return said[0].find(of_one) != std::string::npos || said[1].find(of_other) != std::string::npos;
  };
  CHECK(
      one_says("node 1 gave 101 floats, but this node 100 floats", "node 0 gave 100 floats, but this node 101 floats"));
  said = in_a_room(2, small_pieces, [](auto& port) {
    auto mine = std::vector<double>(100);
    auto single = std::vector<float>(100);
    if (port.self() == 0) collective::all_reduce(port, std::span{mine});
    else collective::all_reduce(port, std::span{single});
  });
  CHECK(one_says("gave 100 floats, but this node 100 doubles", "gave 100 doubles, but this node 100 floats"));
  said = in_a_room(2, small_pieces, [](auto& port) {
    auto mine = std::vector<float>(100);
    collective::all_reduce(port, std::span{mine}, {.by = port.self() == 0 ? algorithm::doubling : algorithm::tree});
  });
  CHECK(one_says("node 1 gave 100 floats by tree, but this node 100 floats by doubling",
                 "node 0 gave 100 floats by doubling, but this node 100 floats by tree"));
  CHECK_THROWS_AS(collective::identity_of(node_id{2}, 2), config_error);
  auto const me = collective::identity_of(node_id{0}, 1, nullptr, small_pieces);
  auto wires = transport::in_process{transport::in_process::room{1}, me};
  auto const port_of = [&](collective::options const& o) { collective::port const never{me, wires, o}; };
  CHECK_THROWS_AS(port_of({}), config_error);  // other pieces
  CHECK_THROWS_AS(port_of({.costs = {.byte = 1}, .piece_values = small_pieces.piece_values}), config_error);
  CHECK_NOTHROW(port_of({.piece_values = small_pieces.piece_values, .patience = 1s}));
  CHECK_THROWS_AS(collective::identity_of(node_id{0}, 2, nullptr, {.piece_values = 0}), config_error);
  CHECK_THROWS_AS(collective::identity_of(node_id{0}, 2, nullptr, {.patience = -1s}), config_error);
  CHECK_THROWS_AS(collective::identity_of(node_id{0}, 2, nullptr, {.awake = -1ns}), config_error);
  CHECK_THROWS_AS(collective::identity_of(node_id{0}, 2, nullptr, {.costs = {.byte = -1}}), config_error);
}

}  // namespace
