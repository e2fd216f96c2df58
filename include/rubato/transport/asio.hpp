// SPDX-License-Identifier: MIT
// What the transports over Boost.Asio share: addresses as text, names of hosts, and a context that is polled with a
// deadline.
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/socket_base.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato::transport {

/// Where a node is: a host by number, and a port.
struct address {
  boost::asio::ip::address host{};
  std::uint16_t port = 0;
  std::string name{};  ///< by which the host was given; empty if it was given by number
  [[nodiscard]] auto numbers() const -> std::string {
    auto const h = host.to_string();
    return (host.is_v6() ? "[" + h + "]" : h) + ":" + std::to_string(port);
  }
  /// For messages: a name with what it resolves to, as in "node1:5000 (10.0.0.7)".
  [[nodiscard]] auto text() const -> std::string {
    return name.empty() ? numbers() : name + ":" + std::to_string(port) + " (" + host.to_string() + ")";
  }
};

namespace detail {

/// Chooses one of a name's addresses. Unless `insecure`, only addresses of this machine are taken. With `insecure`,
/// others are preferred, for a machine's own name often resolves to its loopback. IPv4 is preferred to IPv6, so that
/// all nodes of a run choose alike.
inline auto likeliest(std::vector<boost::asio::ip::address> all, bool insecure) -> boost::asio::ip::address {
  auto const rank = [insecure](boost::asio::ip::address const& a) {
    return 2 * static_cast<int>(a.is_loopback() == insecure) + static_cast<int>(a.is_v6());
  };
  return *std::min_element(all.begin(), all.end(), [&](auto const& a, auto const& b) { return rank(a) < rank(b); });
}

/// Asks the system's resolver, which may take seconds.
inline auto host_named(std::string const& name, bool insecure) -> boost::asio::ip::address {
  boost::asio::io_context io;
  boost::system::error_code error;
  auto const found = boost::asio::ip::tcp::resolver{io}.resolve(name, "", error);
  std::vector<boost::asio::ip::address> all;
  for (auto const& entry : found) all.push_back(entry.endpoint().address());
  if (!all.empty()) return likeliest(std::move(all), insecure);
  throw config_error{"no host is known here by the name '" + escaped(name, wire::detail::most_shown) +
                     "': " + (error ? error.message() : "it has no address")};
}

}  // namespace detail

/// "127.0.0.1:5000", "[::1]:5000" or "node1:5000"; a name is looked up at once. Throws config_error with a sentence
/// that names the text. Only loopback addresses are accepted unless `insecure`: nothing is encrypted, and anyone who
/// can connect can take part.
[[nodiscard]] inline auto address_in(std::string const& text, bool insecure = false) -> address {
  auto const refuse = [&](char const* right) {
    throw config_error{"'" + escaped(text, wire::detail::most_shown) + "' is no address: " + right};
  };
  auto const colon = text.rfind(':');
  if (colon == text.npos || colon == 0) refuse("give host:port, as 127.0.0.1:5000 or node1:5000");
  auto host = text.substr(0, colon);
  auto const is_bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  address a;
  auto const* const end = text.data() + text.size();
  auto const read = std::from_chars(text.data() + colon + 1, end, a.port);
  if (read.ec != std::errc{} || read.ptr != end) refuse("a port is a number from 0 to 65535");
  boost::system::error_code error;
  a.host = boost::asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error) {
    auto const may_be_of_name = [](char c) { return c > ' ' && c <= '~' && c != ':' && c != '/'; };
    auto const is_name = !is_bracketed && host.find_first_not_of("0123456789.") != host.npos &&
                         std::all_of(host.begin(), host.end(), may_be_of_name);
    if (!is_name) refuse("a host is given by number, as 127.0.0.1 or [::1], or by name");
    a.name = host;
    a.host = detail::host_named(host, insecure);
  }
  if (a.host.is_v6() && a.host.to_v6().is_v4_mapped()) {
    a.host = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, a.host.to_v6());
  }
  if (!insecure && !a.host.is_loopback()) {
    throw config_error{
        a.text() +
        " is not an address of this machine alone: messages are not encrypted, and "
        "peers are not authenticated; use loopback, give keys (--key), or ask for insecure (--insecure) on a "
        "network that you trust"};
  }
  return a;
}

/// The address of one node of the run; throws config_error if none is given, or another node has the same (port 0,
/// which the system chooses, is no address).
[[nodiscard]] inline auto address_of(node_id id, std::vector<std::string> const& all, bool insecure) -> address {
  if (to_index(id) < all.size()) {
    auto const& own = all[to_index(id)];
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i == to_index(id) || all[i] != own || own.ends_with(":0")) continue;
      throw config_error{"nodes " + std::to_string((std::min)(i, to_index(id))) + " and " +
                         std::to_string((std::max)(i, to_index(id))) + " are given the same address, " +
                         escaped(own, 100) + ": each needs one of its own"};
    }
    return address_in(own, insecure);
  }
  throw config_error{"node " + std::to_string(to_index(id)) + " has no address: " + std::to_string(all.size()) +
                     " are given, one a node from node 0 on"};
}

/// A socket that is bound before its transport exists, so that the peers can be told a port that the system has chosen.
/// The descriptor belongs to the caller, or to the transport that takes it over.
struct bound_socket {
  int descriptor = -1;
  std::string address;
};

namespace detail {

template<class Protocol>
auto protocol_of(address const& a) -> Protocol {
  return a.host.is_v6() ? Protocol::v6() : Protocol::v4();
}

/// Binds a `Socket`, and listens if it is an acceptor. Throws config_error; `nobody_can` says in its sentence what the
/// socket is for. A node that is given by a name on a network is bound to all addresses of its machine, since the name
/// may resolve to another address here than elsewhere.
template<class Socket>
auto open_socket(address a, std::string const& nobody_can) -> bound_socket {
  using any = boost::asio::ip::address;
  if (!a.name.empty() && !a.host.is_loopback())
    a.host = a.host.is_v6() ? any{boost::asio::ip::address_v6::any()} : any{};
  constexpr auto listens = requires(Socket& s) { s.listen(); };
  boost::asio::io_context io;
  Socket opened{io};
  boost::system::error_code error;
  opened.open(protocol_of<typename Socket::protocol_type>(a), error);
  if (listens && !error) opened.set_option(typename Socket::reuse_address{true}, error);
  if (!error) opened.bind({a.host, a.port}, error);
  if constexpr (listens) {
    if (!error) opened.listen(boost::asio::socket_base::max_listen_connections, error);
  }
  auto const* const twice = error == boost::asio::error::address_in_use
                                ? ": another program has this port, or two processes are the same node"
                                : "";
  if (error) throw config_error{"nobody can " + nobody_can + " " + a.text() + " here: " + error.message() + twice};
  a.port = opened.local_endpoint().port();
  return {opened.release(), a.numbers()};
}

/// One thread polls; any thread may wake it.
class polled_context {
 public:
  [[nodiscard]] auto context() -> boost::asio::io_context& { return io_; }
  void wake() {
    boost::asio::post(io_, [this] { woken_ = true; });
  }

  /// Runs handlers that are ready: at most some hundred, for some milliseconds, however much comes in, and none once
  /// `enough()` is true. If `idle()` is still true then, waits for more until the deadline.
  template<class Idle, class Enough>
  void run(clock::time_point until, Idle idle, Enough enough) {
    woken_ = false;
    run_ready(enough);
    while (idle() && !woken_) {
      io_.restart();
      if (io_.run_one_until(until) == 0) return;
      run_ready(enough);
    }
  }

 private:
  template<class Enough>
  void run_ready(Enough enough) {
    auto const latest = clock::now() + std::chrono::milliseconds{10};
    io_.restart();
    for (auto budget = 256; budget > 0 && !enough() && io_.poll_one() > 0; --budget) {
      if (clock::now() > latest) return;
    }
  }

  boost::asio::io_context io_{1};
  bool woken_ = false;
};

}  // namespace detail
}  // namespace rubato::transport
