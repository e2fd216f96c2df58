// SPDX-License-Identifier: MIT
// The descriptor of a closed connection is soon another's: an encrypted stream must not touch it any more. And which
// errors of a stream tell of keys.
#include <rubato/transport/tls.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <rubato/transport/detail/connection/tcp.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace rubato::test {
namespace {

namespace asio = boost::asio;
using error_code = boost::system::error_code;
using stream_pointer = std::unique_ptr<transport::secure_stream>;

/// Both ends of a connection under one key.
struct connected {
  explicit connected(scratch_folder const& folder) {
    transport::make_key(folder.path() / "run.key");
    security = transport::shared_key(folder.path() / "run.key");
    asio::ip::tcp::acceptor door{io, {asio::ip::address_v4::loopback(), 0}};
    this_socket.connect(door.local_endpoint());
    door.accept(that_socket);
    this_end = security->over(this_socket);
    that_end = security->over(that_socket);
    auto good = 0;
    this_end->shake_hands(transport::side::caller, [&](error_code error) { good += error ? 0 : 1; });
    that_end->shake_hands(transport::side::called, [&](error_code error) { good += error ? 0 : 1; });
    work();
    REQUIRE(good == 2);
  }
  void work() {
    io.restart();
    io.run();
  }
  asio::io_context io;
  std::shared_ptr<transport::security const> security;
  asio::ip::tcp::socket this_socket{io}, that_socket{io};
  stream_pointer this_end, that_end;
};

TEST_CASE(
    "only what OpenSSL or a verification finds is a verdict on keys, and neither a hang-up nor a network that fails") {
  using connection = transport::detail::tcp_connection;
  namespace errors = asio::error;
  scratch_folder const folder{"tls"};
  asio::io_context io;
  asio::ip::tcp::acceptor door{io, {asio::ip::address_v4::loopback(), 0}};
  auto const caller = std::make_shared<connection>(asio::ip::tcp::socket{io});
  auto const called = std::make_shared<connection>(asio::ip::tcp::socket{io});
  caller->socket.connect(door.local_endpoint());
  door.accept(called->socket);
  std::array<std::shared_ptr<transport::security const>, 2> keys;
  std::array<std::string, 2> why;
  for (std::size_t i = 0; i < 2; ++i) {
    auto const file = folder.path() / (std::to_string(i) + ".key");
    transport::make_key(file);
    keys[i] = transport::shared_key(file);
  }
  caller->shake_hands(keys[0].get(), transport::side::caller, [&](std::string const& w) { why[0] = w; });
  called->shake_hands(keys[1].get(), transport::side::called, [&](std::string const& w) {
    why[1] = w;
    called->close();
  });
  io.run();
  CHECK(called->is_verdict);
  CHECK(why[1].starts_with("it has another key, or none, or a certificate ("));
  CHECK(why[0].starts_with("it has another key, or none, or a certificate ("));

  for (auto const error : {error_code{errors::timed_out}, error_code{errors::host_unreachable},
                           error_code{errors::network_reset}, error_code{errors::operation_aborted}}) {
    CHECK(caller->found(error).empty());
    CHECK_FALSE(caller->is_verdict);
  }
  for (auto const error :
       {error_code{errors::eof}, error_code{errors::connection_reset}, error_code{errors::broken_pipe}}) {
    CHECK(caller->found(error).starts_with("it has another key, or none, or a certificate ("));
    CHECK_FALSE(caller->is_verdict);  // it may have had another reason
  }
}

/// Another connection, one end of which has that descriptor; what is said at its far end waits there to be read.
class bystander {
 public:
  explicit bystander(int descriptor) : here_{descriptor} {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    there_ = ends[1];
    if (ends[0] == here_) return;
    if (ends[1] == here_) {
      there_ = ends[0];
      return;
    }
    REQUIRE(::fcntl(here_, F_GETFD) == -1);  // free
    REQUIRE(::dup2(ends[0], here_) == here_);
    ::close(ends[0]);
  }
  bystander(bystander const&) = delete;
  auto operator=(bystander const&) -> bystander& = delete;
  ~bystander() {
    ::close(here_);
    ::close(there_);
  }
  void tell(std::string_view words) const {
    REQUIRE(::send(there_, words.data(), words.size(), 0) == static_cast<ssize_t>(words.size()));
  }
  [[nodiscard]] auto waiting_here() const -> ssize_t { return waiting(here_); }
  [[nodiscard]] auto came_there() const -> ssize_t { return waiting(there_); }

 private:
  static auto waiting(int end) -> ssize_t {
    std::array<char, 64> bytes{};
    return ::recv(end, bytes.data(), bytes.size(), MSG_PEEK);
  }
  int here_, there_ = -1;
};

TEST_CASE("after so many records a connection takes new keys, as often as it must") {
  scratch_folder const folder{"tls_closed"};
  auto const file = folder.path() / "run.key";
  transport::make_key(file);
  transport::detail::shared_key_tls const keys{file};
  asio::io_context io;
  asio::ip::tcp::socket one{io}, two{io};
  asio::ip::tcp::acceptor door{io, {asio::ip::address_v4::loopback(), 0}};
  one.connect(door.local_endpoint());
  door.accept(two);
  constexpr auto by_key = transport::detail::proof::shared_key;
  transport::detail::tls_stream this_end{one, keys.handle(), by_key, 2}, that_end{two, keys.handle(), by_key};
  auto good = 0;
  this_end.shake_hands(transport::side::caller, [&](error_code error) { good += error ? 0 : 1; });
  that_end.shake_hands(transport::side::called, [&](error_code error) { good += error ? 0 : 1; });
  io.run();
  REQUIRE(good == 2);
  auto from = std::vector<char>(50'000), to = from;
  for (auto round = 0; round < 200; ++round) {
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i * 31 + static_cast<std::size_t>(round));
    asio::async_write(this_end, asio::buffer(from), [&](error_code error, std::size_t) { good += error ? 0 : 1; });
    asio::async_read(that_end, asio::buffer(to), [&](error_code error, std::size_t) { good += error ? 0 : 1; });
    io.restart();
    io.run();
    REQUIRE(to == from);
  }
  CHECK(good == 402);
  CHECK(this_end.renewals() > 100);
  CHECK(that_end.renewals() == 0);
}

TEST_CASE("a read that a close cuts takes nothing from the connection that has the descriptor next") {
  scratch_folder const folder{"tls_closed"};
  connected both{folder};
  auto const part = std::vector<char>(1000, 'x');
  asio::async_write(*both.that_end, asio::buffer(part), [](error_code, std::size_t) {});
  both.work();
  auto whole = std::vector<char>(200'000);  // of which a part has come
  auto ended = error_code{};
  asio::async_read(*both.this_end, asio::buffer(whole), [&](error_code error, std::size_t) { ended = error; });
  auto const descriptor = both.this_socket.native_handle();
  both.this_socket.close();
  bystander const other{descriptor};
  other.tell("bystander");
  both.work();
  CHECK(ended);
  CHECK(other.waiting_here() == 9);
}

TEST_CASE("a write that a close cuts says nothing on the connection that has the descriptor next") {
  scratch_folder const folder{"tls_closed"};
  connected both{folder};
  auto whole = std::make_unique<std::vector<char>>(64U << 20U, 'x');  // more than a socket takes
  auto ended = error_code{};
  asio::async_write(*both.this_end, asio::buffer(*whole), [&](error_code error, std::size_t) { ended = error; });
  auto const descriptor = both.this_socket.native_handle();
  both.this_socket.close();
  whole.reset();  // whose lender may take it back now, and a sanitizer would see who reads it
  bystander const other{descriptor};
  both.work();
  CHECK(ended);
  CHECK(other.came_there() == -1);
}

}  // namespace
}  // namespace rubato::test
