// SPDX-License-Identifier: MIT
// Who stands on the way of bytes, or calls without a key.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <rubato/transport/tcp.hpp>

namespace rubato::test {

inline auto holds(std::vector<std::byte> const& heard, std::span<std::byte const> part) -> bool {
  return std::search(heard.begin(), heard.end(), part.begin(), part.end()) != heard.end();
}
inline auto bytes_of(std::string_view text) { return std::as_bytes(std::span{text.data(), text.size()}); }

/// Stands between a caller and who is called, hears every byte, and may change one.
class wire_tap {
 public:
  explicit wire_tap(std::string target)
      : wire_tap{std::move(target), transport::open_tcp_socket("127.0.0.1:0").descriptor} {}
  /// Takes over a listening socket.
  wire_tap(std::string target, int listener)
      : target_{std::move(target)}, acceptor_{io_, boost::asio::ip::tcp::v4(), listener} {
    acceptor_.non_blocking(true);
  }
  [[nodiscard]] auto address() const -> std::string {
    return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }
  void poll() {
    boost::system::error_code error;
    boost::asio::ip::tcp::socket caller{io_};
    acceptor_.accept(caller, error);
    if (!error) {
      auto& p = pairs_.emplace_back(std::move(caller), boost::asio::ip::tcp::socket{io_});
      auto const a = transport::address_in(target_);
      p.second.connect({a.host, a.port}, error);
      p.first.non_blocking(true);
      p.second.non_blocking(true);
    }
    for (auto at = pairs_.begin(); at != pairs_.end();) {
      auto const over = !forward(at->first, at->second, up) || !forward(at->second, at->first, down);
      at = over ? pairs_.erase(at) : std::next(at);
    }
  }
  std::vector<std::byte> up, down;  // from the caller, and to it
  bool changes_next = false;

 private:
  auto forward(boost::asio::ip::tcp::socket& from, boost::asio::ip::tcp::socket& to, std::vector<std::byte>& heard)
      -> bool {
    std::array<std::byte, 4096> bytes;
    boost::system::error_code error;
    auto const n = from.read_some(boost::asio::buffer(bytes), error);
    if (error == boost::asio::error::would_block) return true;
    if (error) return false;
    heard.insert(heard.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    if (std::exchange(changes_next, changes_next && n < 100)) bytes[n / 2] ^= std::byte{1};
    to.non_blocking(false);
    boost::asio::write(to, boost::asio::buffer(bytes, n), error);
    to.non_blocking(true);
    return !error;
  }

  boost::asio::io_context io_;
  std::string target_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::list<std::pair<boost::asio::ip::tcp::socket, boost::asio::ip::tcp::socket>> pairs_;
};

/// Calls without anything of the run, and with whatever it is given to say.
struct caller_without_key {
  explicit caller_without_key(std::string const& where) {
    auto const a = transport::address_in(where);
    socket.connect({a.host, a.port});
    socket.non_blocking(true);
  }
  /// What it has heard; whether the other end has closed.
  auto listen() -> bool {
    std::array<std::byte, 4096> bytes;
    while (true) {
      boost::system::error_code error;
      auto const n = socket.read_some(boost::asio::buffer(bytes), error);
      heard.insert(heard.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      if (error) return error != boost::asio::error::would_block;
    }
  }
  boost::asio::io_context io;
  boost::asio::ip::tcp::socket socket{io};
  std::vector<std::byte> heard;
};

}  // namespace rubato::test
