// SPDX-License-Identifier: MIT
// tests/cluster/doctor.sh runs whole doctors in processes of their own.
#include "../../examples/support/doctor.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "transport/worlds.hpp"

namespace rubato::test {
namespace {

using namespace std::chrono_literals;
using findings = std::vector<examples::finding>;

/// What two doctors find whose choices are as `as` makes them, if a pair has that long to measure its link.
template<class As>
auto found_by_two(tcp_doors& doors, As const& as, std::chrono::nanoseconds turn) -> std::vector<findings> {
  auto const choice = [&](std::size_t self) {
    return as(examples::doctor_choice{.self = self,
                                      .addresses = doors.addresses,
                                      .listener = doors.options(self).listener,
                                      .arrival = 60s,
                                      .silence = 60s,
                                      .turn = turn});
  };
  auto const no_keys = [] { return std::shared_ptr<transport::security const>{}; };
  std::vector<findings> all(2);
  auto first = examples::doctor{choice(0)}, second = examples::doctor{choice(1)};
  std::thread other{[&] { all[1] = second.examine(no_keys); }};
  all[0] = first.examine(no_keys);
  other.join();
  return all;
}

auto found_within(std::chrono::nanoseconds turn) -> std::vector<findings> {
  tcp_doors doors{2};
  return found_by_two(doors, [](auto c) { return c; }, turn);
}

auto of_link(findings const& all) -> examples::finding {
  auto const at = std::find_if(all.begin(), all.end(), [](auto const& f) { return f.check == "link"; });
  REQUIRE(at != all.end());
  return *at;
}

TEST_CASE("a link that is too slow to be measured in its turn fails nothing, and what is measured is told") {
  for (auto const& each : found_within(std::chrono::seconds{0})) {
    CHECK(says(of_link(each).found, "was not measured in time"));
    CHECK(of_link(each).mend.starts_with("better: "));
    CHECK(std::none_of(each.begin(), each.end(), [](auto const& f) { return f.fails; }));
  }
  for (auto const& each : found_within(std::chrono::minutes{1})) {
    CHECK(says(of_link(each).found, "ms one way"));
    CHECK(std::none_of(each.begin(), each.end(), [](auto const& f) { return f.fails; }));
  }
}

auto over_udp(examples::doctor_choice choice, int datagrams) -> examples::doctor_choice {
  choice.over_udp = true;
  choice.datagrams = datagrams;
  return choice;
}

TEST_CASE("datagrams of the size of a run are tried both ways, and where none arrives both nodes say so") {
  for (auto const is_deaf : {false, true}) {
    tcp_doors doors{2};
    std::vector<int> sockets;
    for (std::size_t i = 0; i < 2; ++i)
      sockets.push_back(transport::open_udp_socket(is_deaf && i == 1 ? "127.0.0.1:0" : doors.addresses[i]).descriptor);
    auto const all =
        found_by_two(doors, [&](examples::doctor_choice c) { return over_udp(std::move(c), sockets[c.self]); }, 1min);
    for (auto const& each : all) {
      auto const fails = [](auto const& f) { return f.fails; };
      auto const first = std::find_if(each.begin(), each.end(), [](auto const& f) { return f.check == "udp"; });
      REQUIRE(first != each.end());
      CHECK(std::any_of(each.begin(), each.end(), fails) == is_deaf);
      if (!is_deaf) CHECK(says(first->found, "of 1200 bytes arrive there, "));
      else CHECK(std::any_of(first, each.end(), [](auto const& f) { return says(f.mend, "let UDP through"); }));
    }
  }
}

TEST_CASE("two nodes at one place are named, whatever they are called") {
  auto const words_of = [](std::vector<std::string> const& texts) {
    std::vector<std::optional<transport::address>> where;
    for (auto const& each : texts) where.emplace_back(transport::address_in(each));
    where.emplace_back();  // a name that nobody knows
    return examples::words_of_same_place(texts, where);
  };
  CHECK(words_of({"127.0.0.1:7000", "localhost:7001", "[::1]:7000", "localhost:0", "127.0.0.1:0"}).empty());
  CHECK(says(words_of({"127.0.0.1:7001", "127.0.0.1:7000", "localhost:7000"}),
             "nodes 1 and 2 are at one place: 127.0.0.1:7000 and localhost:7000 are both 127.0.0.1:7000"));
  CHECK(says(words_of({"127.0.0.1:9", "127.0.0.1:9"}), "nodes 0 and 1 are given the same address, 127.0.0.1:9"));
}

TEST_CASE("what is to be mended of datagrams follows from how many of each size arrive") {
  using arrived = examples::arrived_datagrams;
  CHECK(arrived{100, 100}.to_mend().empty());
  CHECK(says(arrived{50, 90}.to_mend(), "better: a link that loses fewer"));
  CHECK(says(arrived{0, 90}.to_mend(), "raise the MTU of the way, since 90 of 100 short ones arrive"));
  CHECK(says(arrived{0, 0}.to_mend(), "let UDP through"));
}

}  // namespace
}  // namespace rubato::test
