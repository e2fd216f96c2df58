// SPDX-License-Identifier: MIT
// Ports of loopback that servers will listen on later, and that nobody else is given until then.
#pragma once

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/transport/asio.hpp>

namespace rubato::examples {

/// Each is bound, and not listened on. The system gives such a port to no socket that asks for any, and to no
/// connection; a server that names it may listen there, once or many times, if it sets SO_REUSEADDR (as those of
/// rubato do).
class reserved_ports {
 public:
  /// Those from `first` on, or n that the system chooses (0). Throws config_error if one is taken or there is none.
  reserved_ports(std::size_t n, std::uint16_t first = 0) {
    if (first != 0 && first + n > 65536)
      throw config_error{"there are no " + std::to_string(n) + " ports from " + std::to_string(first) + " on"};
    for (std::size_t i = 0; i < n; ++i) reserve(static_cast<std::uint16_t>(first == 0 ? 0 : first + i));
  }
  [[nodiscard]] auto addresses() const -> std::vector<std::string> const& { return addresses_; }

 private:
  using tcp = boost::asio::ip::tcp;

  void reserve(std::uint16_t port) {
    auto const at = tcp::endpoint{boost::asio::ip::address_v4::loopback(), port};
    auto socket = tcp::acceptor{io_};
    auto error = boost::system::error_code{};
    socket.open(at.protocol(), error);
    if (!error) ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // it is this process' alone
    if (!error) socket.set_option(tcp::acceptor::reuse_address{true}, error);
    if (!error) socket.bind(at, error);
    auto const name = [](tcp::endpoint const& e) { return transport::address{e.address(), e.port()}.numbers(); };
    if (error)
      throw config_error{(port == 0 ? "no port of loopback is free" : "nobody can listen on " + name(at)) + ": " +
                         error.message()};
    addresses_.push_back(name(socket.local_endpoint()));
    held_.push_back(std::move(socket));
  }

  boost::asio::io_context io_;
  std::vector<std::string> addresses_;
  std::vector<tcp::acceptor> held_;
};

}  // namespace rubato::examples
