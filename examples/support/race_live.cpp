// SPDX-License-Identifier: MIT
// What --live serves, in a file of its own, since nothing else of race needs Boost.
#include "support/race_live.hpp"

#include <rubato/core/errors.hpp>
#if RUBATO_EXAMPLES_HAVE_ASIO
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>

#include <rubato/report/access_token.hpp>

#include "support/interrupt.hpp"
#include "support/say.hpp"
#include "support/status_service.hpp"

namespace rubato::examples {

namespace {
constexpr std::size_t most_nodes = 1000, most_edges = 20'000;  // what a page can draw

void refuse_too_many(std::size_t most, std::string const& what, std::size_t there_are) {
  if (there_are > most)
    throw config_error{"--live shows at most " + std::to_string(most) + " " + what + ", not " +
                       std::to_string(there_are)};
}
/// Both ways of a link count.
auto edges_of(assembly const& a) -> std::size_t {
  std::size_t all = 0;
  for (std::size_t i = 0; a.factory && i < a.nodes.size(); ++i) all += a.factory.neighbours(i).size();
  return all;
}
}  // namespace

struct live_page::served {
  status_service service;
};

live_page::live_page(std::string const& port)
    : self_{new served{status_service{
          {.self = 0, .addresses = {"127.0.0.1:" + (port == "auto" ? "0" : port)}, .token = report::new_token()}}}} {
  say("live: " + self_->service.server().url() + "\n");
}
live_page::~live_page() = default;

void live_page::stay() {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0 || interrupted()) return;
  say("live: the page stays until you press Enter, or for ten minutes\n");
  tcflush(STDIN_FILENO, TCIFLUSH);  // an Enter that was pressed during the race does not end it
  auto const latest = std::chrono::steady_clock::now() + std::chrono::minutes{10};
  auto input = pollfd{STDIN_FILENO, POLLIN, 0};
  while (!interrupted() && std::chrono::steady_clock::now() < latest && poll(&input, 1, 100) <= 0) continue;
}

auto live_page::begin(assembly const& a) -> status_boards {
  refuse_too_many(most_nodes, "nodes", a.nodes.size());
  refuse_too_many(most_edges, "edges", edges_of(a));
  auto boards = status_boards{};
  for (std::size_t i = 0; i < a.nodes.size(); ++i) boards.push_back(std::make_shared<status_board>());
  self_->service.show(boards);
  return boards;
}

}  // namespace rubato::examples
#else
namespace rubato::examples {

struct live_page::served {};

live_page::live_page(std::string const&) {
  throw config_error{"this race can show no page: --live needs Boost 1.81 when it is built (Debian: libboost1.81-dev)"};
}
live_page::~live_page() = default;
auto live_page::begin(assembly const&) -> status_boards { return {}; }
void live_page::stay() {}

}  // namespace rubato::examples
#endif
