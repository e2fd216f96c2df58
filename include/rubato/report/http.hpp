// SPDX-License-Identifier: MIT
// A small server of pages that can only be read, for those of this machine who have a token, by Boost.Beast; and a
// client that gathers the same page from other such servers. Both live on one thread of their own, and every
// connection, request, answer and wait of theirs is bounded.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/report/detail/http.hpp>

namespace rubato::report {

struct http_page {
  std::string type;  ///< as in Content-Type
  std::string text;
};

/// Throws config_error, with a sentence, if it is no address of a server of this machine.
inline void ensure_http_address(std::string const& address) { static_cast<void>(detail::endpoint_at(address)); }

class http_server;

/// How a server is opened. `pages` is called on the server's thread with the path of a request, without its query;
/// nothing means that there is no such page. What it throws is an answer of status 500.
struct http_options {
  std::string address;  ///< 127.0.0.1:8000, [::1]:8000 or unix:PATH; port 0: the system chooses
  std::string token;    ///< of requests here, and of those to others; not empty
  std::function<std::optional<http_page>(std::string_view path, http_server& self)> pages;
  std::chrono::milliseconds deadline = std::chrono::seconds{5};  ///< for a request, and again for its answer
  std::size_t most_connections = 32;  ///< when one more comes, the oldest is closed
};

/// What another server answered.
struct gathered {
  std::string text;  ///< of its last good answer; empty: there was none
  std::string why;   ///< the last request failed; empty: it did not
  std::chrono::steady_clock::time_point at{};  ///< of the last good answer
};

/// Serves from its construction to its destruction. A request is answered if it is a GET or HEAD, names this machine in
/// its one Host header (so a page of another site is not taken for a reader, whatever its name resolves to), and shows
/// the token: as `Authorization: Bearer TOKEN` or as `?token=TOKEN`. A Unix socket can be reached by this user alone.
/// **Thread safety:** gathered_from() is for `pages`, on the server's thread; the rest belongs to one owner.
class http_server {
 public:
  /// Throws config_error, with a sentence, if nobody can be served there, or if there is no token.
  explicit http_server(http_options o)
      : options_{with_token(std::move(o))}, door_{detail::opened_door(io_, options_.address)}, pause_{io_} {
    accept();
    thread_ = std::thread{[this] { serve(); }};
  }
  http_server(http_server const&) = delete;
  auto operator=(http_server const&) -> http_server& = delete;
  ~http_server() {
    io_.stop();
    thread_.join();
    detail::remove_door(door_);
  }

  /// Where it listens, with the port that the system chose.
  [[nodiscard]] auto address() const -> std::string const& { return door_.address; }
  [[nodiscard]] auto token() const -> std::string const& { return options_.token; }
  /// For a browser, token included; empty if it listens on a Unix socket.
  [[nodiscard]] auto url() const -> std::string {
    return detail::is_unix(door_.address) ? "" : "http://" + door_.address + "/?token=" + options_.token;
  }

  /// The newest answers of the servers at these addresses, in their order. It does not wait: it asks for new ones, at
  /// most twice a second, which come while later calls are made. The addresses must be the same in all calls.
  [[nodiscard]] auto gathered_from(std::vector<std::string> const& addresses, std::string const& path)
      -> std::vector<gathered> {
    if (others_.size() != addresses.size()) others_.resize(addresses.size());
    auto const now = std::chrono::steady_clock::now();
    if (under_way_ == 0 && now >= next_round_) {
      next_round_ = now + std::chrono::milliseconds{500};
      asked_ = 0;
      for (std::size_t i = 0; i < most_at_once; ++i) ask_next(addresses, path);
    }
    return others_;
  }

 private:
  static constexpr std::size_t most_at_once = 16;

  static auto with_token(http_options o) -> http_options {
    if (o.token.empty()) throw config_error{"a status is served to who has its token, and there is none"};
    return o;
  }

  /// What a request or its answer throws, as where memory is short, ends that connection and not the run.
  void serve() {
    while (!io_.stopped()) {
      try {
        io_.run();
      } catch (...) {
      }
    }
  }

  void accept() {
    door_.acceptor.async_accept([this](boost::system::error_code error, detail::http_socket socket) {
      if (error) {  // as where no more files can be opened
        pause_.expires_after(std::chrono::milliseconds{100});
        return pause_.async_wait([this](boost::system::error_code) { accept(); });
      }
      accept();
      begin(std::move(socket));
    });
  }

  void begin(detail::http_socket socket) {
    sessions_.remove_if([](auto const& s) { return s.expired(); });
    if (sessions_.size() >= options_.most_connections) {
      if (auto const oldest = sessions_.front().lock()) oldest->close();
      sessions_.pop_front();
    }
    auto const s =
        std::make_shared<detail::http_session>(std::move(socket), options_.deadline, [this](auto const& request) {
          return detail::answer(request, options_.token,
                                [this](std::string_view path) { return options_.pages(path, *this); });
        });
    sessions_.push_back(s);
    s->start();
  }

  void ask_next(std::vector<std::string> const& addresses, std::string const& path) {
    if (asked_ >= addresses.size()) return;
    auto const i = asked_++;
    ++under_way_;
    auto then = [this, i, addresses, path](std::string text, std::string why) {
      --under_way_;
      others_[i].why = std::move(why);
      if (others_[i].why.empty()) {
        others_[i].text = std::move(text);
        others_[i].at = std::chrono::steady_clock::now();
      }
      ask_next(addresses, path);
    };
    std::make_shared<detail::http_fetch>(io_, std::move(then))->start(addresses[i], path, options_.token);
  }

  http_options options_;
  boost::asio::io_context io_{1};
  detail::http_door door_;
  boost::asio::steady_timer pause_;
  std::list<std::weak_ptr<detail::http_session>> sessions_;  // oldest first
  std::vector<gathered> others_;
  std::size_t asked_ = 0, under_way_ = 0;
  std::chrono::steady_clock::time_point next_round_{};
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace rubato::report
