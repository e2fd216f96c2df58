// SPDX-License-Identifier: MIT
// What a process serves, on a thread of its own, of its node and of the others, and the ports that are kept for that.
#include "../../examples/support/status_service.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <nlohmann/json.hpp>

#include <rubato/transport/tcp.hpp>

#include "../../examples/support/reserved_ports.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using examples::reserved_ports;
using examples::status_service;

auto const token = std::string(32, 'a');

auto network_at(status_service const& s) -> nlohmann::json {
  boost::asio::io_context io;
  auto got = std::string{};
  auto then = [&](std::string text, std::string const& why) {
    INFO(why);
    CHECK(why.empty());
    got = std::move(text);
  };
  std::make_shared<report::detail::http_fetch>(io, then)->start(s.server().address(), "/network.json", token);
  io.run();
  return nlohmann::json::parse(got);
}
/// The entry of node 1 at the page of node 0, once its status has come.
auto second_at(status_service const& first) -> nlohmann::json {
  auto const latest = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < latest) {
    if (auto const node = network_at(first)["nodes"][1]; !node["status"].is_null()) return node;
  }
  FAIL("the status of node 1 does not come");
  return {};
}

TEST_CASE("a status of another node that is too old is shown with the time since when") {
  reserved_ports const ports{2};
  auto const stale = GENERATE(0s, 1h);
  auto const of = [&](std::size_t self) {
    return status_service{{.self = self, .addresses = ports.addresses(), .token = token, .stale = stale}};
  };
  auto const first = of(0), second = of(1);
  auto s = node_status{};
  s.id = node_id{1};
  s.of = 2;
  second.board()->publish(s, {});
  auto const seen = second_at(first);
  CHECK(seen["why"].get<std::string>().starts_with(stale == 0s ? "last seen " : ""));
  CHECK((seen["why"] == "") == (stale != 0s));
  CHECK(seen["status"]["node"] == 1);
}

TEST_CASE("a page can tell a run from the next one at its address") {
  reserved_ports const ports{1};
  auto const begun = [&] {
    return network_at(status_service{{.addresses = ports.addresses(), .token = token}})["begun"].get<std::string>();
  };
  auto const first = begun();
  CHECK(!first.empty());
  CHECK(begun() != first);
}

TEST_CASE("a page shows all nodes of a run in one process, and then those of the next one") {
  reserved_ports const ports{1};
  status_service s{{.addresses = ports.addresses(), .token = token}};
  auto begun = std::string{};
  for (std::size_t const nodes : {std::size_t{3}, std::size_t{2}}) {
    status_boards boards;
    for (std::size_t i = 0; i < nodes; ++i) {
      auto one = node_status{};
      one.id = to_node(i);
      one.of = nodes;
      one.iterations = 10 * nodes + i;
      boards.push_back(std::make_shared<status_board>());
      boards.back()->publish(one, {});
    }
    s.show(boards);
    auto const seen = network_at(s);
    REQUIRE(seen["nodes"].size() == nodes);
    for (std::size_t i = 0; i < nodes; ++i) CHECK(seen["nodes"][i]["status"]["iterations"] == 10 * nodes + i);
    CHECK(seen["begun"] != begun);
    begun = seen["begun"];
  }
}

TEST_CASE("reserved ports are given to nobody else, and servers can listen there again and again") {
  reserved_ports const ports{64};
  auto const& kept = ports.addresses();
  for (auto round = 0; round < 10; ++round) {
    std::vector<transport::tcp_socket> others;
    for (std::size_t i = 0; i < kept.size(); ++i) others.push_back(transport::open_tcp_socket("127.0.0.1:0"));
    for (auto const& other : others) {
      CHECK(std::find(kept.begin(), kept.end(), other.address) == kept.end());
      ::close(other.descriptor);
    }
    status_service const s{{.addresses = {kept[0]}, .token = token}};
    CHECK(s.server().address() == kept[0]);
    CHECK(network_at(s)["self"] == 0);
    auto const port = static_cast<std::uint16_t>(std::stoul(kept[0].substr(kept[0].rfind(':') + 1)));
    CHECK(says(refusal([&] { reserved_ports const taken{1, port}; }), "Address already in use"));
  }
  CHECK(says(refusal([] { reserved_ports const many{2, 65535}; }), "there are no 2 ports from 65535 on"));
}

}  // namespace
}  // namespace rubato::test
