// SPDX-License-Identifier: MIT
// The server of a run's status: whom it answers and whom it refuses, that nobody holds it up, and what it gathers from
// others of its kind.
#include <rubato/report/http.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <rubato/transport/tcp.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

auto const token = std::string(32, 'a');

auto pages(std::string_view path, report::http_server&) -> std::optional<report::http_page> {
  if (path == "/broken") throw std::bad_alloc{};
  if (path == "/foreign") throw 7;
  if (path != "/status.json") return std::nullopt;
  return report::http_page{"application/json", R"({"node":7})"};
}
auto options(std::string address = "127.0.0.1:0") -> report::http_options {
  return {.address = std::move(address), .token = token, .pages = &pages};
}

/// A client that plays by no rules; each of its waits ends after ten seconds.
class caller {
 public:
  explicit caller(std::string const& address) : socket_{io_} {
    socket_.connect(report::detail::endpoint_at(address));
    auto const most = timeval{10, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  }
  auto say(std::string const& text) -> caller& {
    auto ignored = boost::system::error_code{};
    boost::asio::write(socket_, boost::asio::buffer(text), ignored);
    return *this;
  }
  /// All that it is told until the connection is closed.
  auto hear() -> std::string {
    std::string all;
    auto error = boost::system::error_code{};
    boost::asio::read(socket_, boost::asio::dynamic_buffer(all), error);
    CHECK(error != boost::asio::error::try_again);  // it was closed in time
    return all;
  }

 private:
  boost::asio::io_context io_;
  report::detail::http_socket socket_;
};

auto request(std::string const& path, std::string const& more, std::string const& host = "localhost") -> std::string {
  return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n";
}
auto const bearer = "Authorization: Bearer " + token + "\r\n";

auto status_of(report::http_server const& s, std::string const& text) -> std::string {
  return caller{s.address()}.say(text).hear().substr(0, 12);
}

TEST_CASE("a page is given to who shows the token and names this machine, and to nobody else") {
  report::http_server const s{options()};
  auto const good = caller{s.address()}.say(request("/status.json", bearer)).hear();
  CHECK(good.starts_with("HTTP/1.1 200"));
  CHECK(good.ends_with("\r\n\r\n{\"node\":7}"));
  for (auto const* const header : {"Cache-Control: no-store", "Referrer-Policy: no-referrer", "default-src 'none'",
                                   "Content-Type: application/json", "X-Content-Type-Options: nosniff"})
    CHECK(good.find(header) != good.npos);
  CHECK(good.find("Access-Control") == good.npos);
  CHECK(s.url() == "http://" + s.address() + "/?token=" + token);
  CHECK(status_of(s, request("/status.json?token=" + token, "")) == "HTTP/1.1 200");
  CHECK(status_of(s, request("/status.json", "authorization: bearer " + token + "\r\n")) == "HTTP/1.1 200");
  auto const head = caller{s.address()}.say("HEAD" + request("/status.json", bearer).substr(3)).hear();
  CHECK(head == good.substr(0, good.find("\r\n\r\n") + 4));
  for (auto const* const host : {"127.0.0.1:8000", "localhost:1", "[::1]:8000", "[::1]", "127.0.0.1"})
    CHECK(status_of(s, request("/status.json", bearer, host)) == "HTTP/1.1 200");

  for (auto const* const host : {"evil.example", "localhost.evil.example", "10.0.0.7:8000", "", "127.0.0.1.evil:80",
                                 "localhost:80:80", "[::1]x"}) {
    INFO(host);
    CHECK(status_of(s, request("/status.json", bearer, host)) == "HTTP/1.1 421");
  }
  CHECK(status_of(s, "GET /status.json HTTP/1.1\r\n" + bearer + "\r\n") == "HTTP/1.1 421");
  CHECK(status_of(s, request("/status.json", bearer + "Host: localhost\r\n")) == "HTTP/1.1 421");

  for (auto const& wrong :
       {std::string{}, "Authorization: Basic " + token + "\r\n", "Authorization: Bearer\r\n" + std::string{},
        "Authorization: " + token + "\r\n", "Authorization: Bearer " + token + "a\r\n",
        "Authorization: Bearer " + std::string(31, 'a') + "\r\n",
        "Authorization: Bearer " + std::string(64, 'a') + "\r\n"})
    CHECK(status_of(s, request("/status.json", wrong)) == "HTTP/1.1 401");
  CHECK(status_of(s, request("/status.json?token=", "")) == "HTTP/1.1 401");
  CHECK(status_of(s, request("/nowhere", "")) == "HTTP/1.1 401");  // nothing is said of what there is

  CHECK(status_of(s, request("/nowhere", bearer)) == "HTTP/1.1 404");
  CHECK(status_of(s, request("/broken", bearer)) == "HTTP/1.1 500");
  CHECK(status_of(s, request("/foreign", bearer)) == "HTTP/1.1 500");
  for (auto const* const verb : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    CHECK(status_of(s, verb + request("/status.json", bearer).substr(3)) == "HTTP/1.1 405");
    auto const with_body = verb + request("/status.json", bearer + "Content-Length: 5\r\n").substr(3) + "12345";
    CHECK(status_of(s, with_body) == "HTTP/1.1 405");
    CHECK(status_of(s, verb + request("/status.json", "Content-Length: 5\r\n").substr(3) + "12345") == "HTTP/1.1 401");
  }
}

TEST_CASE("what is no request, or too long a one, is refused") {
  report::http_server const s{options()};
  CHECK(status_of(s, "hello\r\n\r\n") == "HTTP/1.1 400");
  CHECK(status_of(s, request("/" + std::string(9000, 'x'), bearer)) == "HTTP/1.1 431");
  CHECK(status_of(s, request("/status.json", bearer + "X: " + std::string(100'000, 'x') + "\r\n")) == "HTTP/1.1 431");
  CHECK(status_of(s, request("/status.json", bearer + "Content-Length: 5\r\n") + "12345") == "HTTP/1.1 413");
  CHECK(status_of(s, request("/status.json", bearer)) == "HTTP/1.1 200");
}

TEST_CASE("who sends slowly, or nothing, holds up nobody and is closed at the deadline") {
  auto o = options();
  o.deadline = 2s;  // for the good ones, too
  report::http_server const s{o};
  caller mute{s.address()}, slow{s.address()}, deaf{s.address()};
  slow.say("GET /status.json HTTP/1.1\r\nHo");
  deaf.say(request("/status.json", bearer));
  CHECK(status_of(s, request("/status.json", bearer)) == "HTTP/1.1 200");
  CHECK(mute.hear().empty());
  CHECK(slow.hear().empty());
  CHECK(deaf.hear().starts_with("HTTP/1.1 200"));
}

TEST_CASE("where more connect than may, the oldest are closed and the newest are served") {
  auto o = options();
  o.most_connections = 3;
  o.deadline = 1h;
  report::http_server const s{o};
  std::vector<std::unique_ptr<caller>> all;
  for (auto i = 0; i < 20; ++i) all.push_back(std::make_unique<caller>(s.address()));
  CHECK(status_of(s, request("/status.json", bearer)) == "HTTP/1.1 200");
  for (std::size_t i = 0; i < 18; ++i) CHECK(all[i]->hear().empty());
  CHECK(all[19]->say(request("/status.json", bearer)).hear().starts_with("HTTP/1.1 200"));
}

TEST_CASE("an address that is taken, that others can reach or that is none is refused with a sentence") {
  report::http_server const s{options()};
  auto const opened = [](std::string const& address) {
    return refusal([&] { report::http_server const another{options(address)}; });
  };
  CHECK(opened(s.address()) == "no status can be served at " + s.address() + ": Address already in use");
  CHECK(says(opened("10.0.0.7:8000"), "10.0.0.7:8000 can be reached from other machines"));
  CHECK(says(opened("0.0.0.0:8000"), "can be reached from other machines"));
  CHECK(says(opened("8000"), "'8000' is no address"));
  CHECK(says(opened("unix:"), "a Unix socket's path has 1 to"));
  CHECK(says(opened("unix:" + std::string(200, 'x')), "a Unix socket's path has 1 to"));
  CHECK(says(opened("unix:/nowhere/at/all"), "No such file or directory"));
}

/// As a server that was killed.
void leave_socket(std::string const& path) {
  namespace local = boost::asio::local;
  boost::asio::io_context io;
  local::stream_protocol::acceptor const left_over{io, local::stream_protocol::endpoint{path}};
}

TEST_CASE("a Unix socket is for this user alone, goes with its server, and replaces what a dead one left") {
  scratch_folder const folder{"http"};
  auto const path = (folder.path() / "status").string();
  {
    report::http_server const s{options("unix:" + path)};
    struct stat is{};
    REQUIRE(::stat(path.c_str(), &is) == 0);
    CHECK((is.st_mode & 0777) == 0600);
    CHECK(s.url().empty());
    CHECK(status_of(s, request("/status.json", bearer)) == "HTTP/1.1 200");
    CHECK(status_of(s, request("/status.json", "")) == "HTTP/1.1 401");
    CHECK(says(refusal([&] { report::http_server const another{options("unix:" + path)}; }), "Address already in use"));
    CHECK(status_of(s, request("/status.json", bearer)) == "HTTP/1.1 200");
  }
  CHECK(::access(path.c_str(), F_OK) != 0);
  leave_socket(path);
  REQUIRE(::access(path.c_str(), F_OK) == 0);
  report::http_server const s{options("unix:" + path)};
  CHECK(status_of(s, request("/status.json", bearer)) == "HTTP/1.1 200");
}

TEST_CASE(
    "a left-over socket is replaced under a lock of this user, whoever locks the folder, or else the lock is named") {
  scratch_folder const folder{"http"};
  auto const path = (folder.path() / "status").string();
  auto const opens = [&] { report::http_server const s{options("unix:" + path)}; };
  leave_socket(path);
  auto const whole = ::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::flock(whole, LOCK_EX) == 0);  // as anybody may do with /tmp
  CHECK_NOTHROW(opens());
  ::close(whole);
  CHECK(folder.files() == 0);

  leave_socket(path);
  REQUIRE(::symlink("elsewhere", (path + ".lock").c_str()) == 0);
  CHECK(says(refusal(opens), "status.lock: Too many levels of symbolic links"));
  CHECK(folder.files() == 2);  // the socket and the link: no new name is left
}

TEST_CASE("a server without a token is refused, since everybody would have it") {
  auto o = options();
  o.token.clear();
  CHECK(says(refusal([&] { report::http_server const s{o}; }), "who has its token, and there is none"));
}

TEST_CASE("whoever finds a Unix socket of a server is not turned away, as from a left-over one") {
  scratch_folder const folder{"http"};
  auto const address = "unix:" + (folder.path() / "status").string();
  auto const at = report::detail::endpoint_at(address);
  boost::asio::io_context io;
  for (auto round = 0; round < 200; ++round) {
    auto first = boost::system::error_code{};  // that is not of no file
    auto server = std::unique_ptr<report::http_server>{};
    {
      std::jthread const finding{[&] {
        auto const latest = std::chrono::steady_clock::now() + 30s;
        do {
          report::detail::http_socket caller{io, at.protocol()};
          caller.connect(at, first);
        } while (first == boost::system::errc::no_such_file_or_directory && std::chrono::steady_clock::now() < latest);
      }};
      server = std::make_unique<report::http_server>(options(address));
    }
    REQUIRE(first == boost::system::error_code{});
  }
}

TEST_CASE("of servers that open one Unix socket at once, one serves there and the others are refused") {
  scratch_folder const folder{"http"};
  auto const path = (folder.path() / "status").string();
  auto const address = "unix:" + path;
  for (auto round = 0; round < 100; ++round) {
    constexpr auto most = 4;
    if (round % 2 == 0) leave_socket(path);
    std::vector<std::unique_ptr<report::http_server>> opened(most);
    std::barrier<> together{most};
    {
      std::vector<std::jthread> threads;
      for (auto& each : opened) {
        threads.emplace_back([&] {
          together.arrive_and_wait();
          try {
            each = std::make_unique<report::http_server>(options(address));
          } catch (config_error const&) {
          }
        });
      }
    }
    CHECK(std::count(opened.begin(), opened.end(), nullptr) == most - 1);
    CHECK(folder.files() == 1);
    CHECK(caller{address}.say(request("/status.json", bearer)).hear().starts_with("HTTP/1.1 200"));
  }
  CHECK(folder.files() == 0);
}

TEST_CASE("a server that ends leaves the Unix socket of another one that has taken its place") {
  scratch_folder const folder{"http"};
  auto const path = (folder.path() / "status").string();
  auto first = std::make_unique<report::http_server>(options("unix:" + path));
  REQUIRE(::unlink(path.c_str()) == 0);
  report::http_server const second{options("unix:" + path)};
  first.reset();
  CHECK(status_of(second, request("/status.json", bearer)) == "HTTP/1.1 200");
}

TEST_CASE("a server gathers the pages of others, and says of each why it could not") {
  report::http_server const other{options()};
  auto foreign = options();
  foreign.token = std::string(32, 'b');
  report::http_server const stranger{foreign};
  boost::asio::io_context io;
  auto const silent = transport::open_tcp_socket("127.0.0.1:0");  // listens, and never answers
  auto const closed = transport::open_tcp_socket("127.0.0.1:0");
  ::close(closed.descriptor);
  std::vector<std::string> const all{other.address(), stranger.address(), closed.address, silent.address};

  auto o = options();
  o.pages = [&](std::string_view, report::http_server& self) -> std::optional<report::http_page> {
    std::string text;
    for (auto const& g : self.gathered_from(all, "/status.json")) text += "[" + g.text + "|" + g.why + "]";
    return report::http_page{"text/plain", text};
  };
  report::http_server const s{o};
  auto const latest = std::chrono::steady_clock::now() + 30s;
  auto heard = std::string{};
  while (heard.find("timeout") == heard.npos && std::chrono::steady_clock::now() < latest)
    heard = caller{s.address()}.say(request("/", bearer)).hear();
  INFO(heard);
  CHECK(heard.find("[{\"node\":7}|][|it answers 401][|Connection refused][|") != heard.npos);
  CHECK(heard.find("timeout") != heard.npos);
  ::close(silent.descriptor);
}

}  // namespace
}  // namespace rubato::test
