// SPDX-License-Identifier: MIT
// What report/http.hpp is made of: where a server listens, one connection of it, whom it answers, and one request to
// another server.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/report/access_token.hpp>
#include <rubato/transport/asio.hpp>

namespace rubato::report::detail {

using http_protocol = boost::asio::generic::stream_protocol;  // TCP or a Unix socket
using http_socket = http_protocol::socket;
using http_stream = boost::beast::basic_stream<http_protocol>;
using http_verb = boost::beast::http::verb;
using http_field = boost::beast::http::field;
using http_status = boost::beast::http::status;
using http_error = boost::beast::http::error;
using http_text = boost::beast::http::string_body;
using http_request = boost::beast::http::request<http_text>;
using http_answer = boost::beast::http::response<http_text>;

inline constexpr std::size_t most_request_bytes = 8192;  // a request has no body
inline constexpr std::size_t most_answer_bytes = std::size_t{4} << 20;

// --- where a server listens

/// Added to a Unix socket's path until somebody listens there.
inline constexpr std::size_t new_name_digits = 8;
inline constexpr std::size_t most_path_bytes = sizeof(sockaddr_un::sun_path) - 1 - (1 + new_name_digits);

inline auto is_unix(std::string const& address) -> bool { return address.starts_with("unix:"); }
inline auto path_in(std::string const& address) -> std::string { return address.substr(std::string{"unix:"}.size()); }

/// Throws config_error if it is no address, or one that other machines can reach.
inline auto endpoint_at(std::string const& address) -> http_protocol::endpoint {
  if (is_unix(address)) {
    auto const path = path_in(address);
    if (!path.empty() && path.size() <= most_path_bytes) return boost::asio::local::stream_protocol::endpoint{path};
    throw config_error{"'" + escaped(address, 200) + "' is no address: a Unix socket's path has 1 to " +
                       std::to_string(most_path_bytes) + " bytes"};
  }
  auto const a = transport::address_in(address, true);
  if (a.host.is_loopback()) return boost::asio::ip::tcp::endpoint{a.host, a.port};
  throw config_error{a.text() +
                     " can be reached from other machines, and a status is not encrypted: serve it on "
                     "127.0.0.1 or unix:PATH, and read it from elsewhere through ssh -L"};
}

struct http_door {
  boost::asio::basic_socket_acceptor<http_protocol> acceptor;
  std::string address;
  struct stat file{};  ///< of a Unix socket
};

/// Whether a socket's file is one that nobody listens to any more.
inline auto is_left_over(boost::asio::io_context& io, std::string const& path, http_protocol::endpoint const& at)
    -> bool {
  struct stat is{};
  if (::lstat(path.c_str(), &is) != 0 || !S_ISSOCK(is.st_mode) || is.st_uid != ::geteuid()) return false;
  auto error = boost::system::error_code{};
  auto caller = http_socket{io, at.protocol()};
  caller.non_blocking(true);  // who listens may be at a stand
  caller.connect(at, error);
  return error == boost::asio::error::connection_refused;
}

inline auto last_error() -> boost::system::error_code { return {errno, boost::system::system_category()}; }

inline auto listening_at(boost::asio::io_context& io, http_protocol::endpoint const& at, char const* file,
                         boost::system::error_code& error) -> boost::asio::basic_socket_acceptor<http_protocol> {
  auto acceptor = boost::asio::basic_socket_acceptor<http_protocol>{io};
  acceptor.open(at.protocol(), error);
  if (!error) acceptor.set_option(boost::asio::socket_base::reuse_address{true}, error);
  if (!error) acceptor.bind(at, error);
  if (!error && file != nullptr && ::chmod(file, 0600) != 0) error = last_error();
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  return acceptor;
}

/// While it is held, no other one for this socket is: of two servers that find one left-over socket, the later would
/// otherwise replace the earlier's. It is a file of this user beside the socket, and goes with the lock.
class door_lock {
 public:
  explicit door_lock(std::string const& path) : file_{path + ".lock"} {
    auto const latest = std::chrono::steady_clock::now() + std::chrono::seconds{1};
    while (is_held_elsewhere() && std::chrono::steady_clock::now() < latest)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  door_lock(door_lock const&) = delete;
  auto operator=(door_lock const&) -> door_lock& = delete;
  ~door_lock() {
    if (!why_) ::unlink(file_.c_str());
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] auto file() const -> std::string const& { return file_; }
  /// Why it is not held; no error: it is.
  [[nodiscard]] auto why_not() const -> boost::system::error_code { return why_; }

 private:
  auto is_held_elsewhere() -> bool {
    if (descriptor_ >= 0) ::close(descriptor_);
    why_ = {};
    struct stat ours{}, there{};
    descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor_ < 0 || ::fstat(descriptor_, &ours) != 0) why_ = last_error();
    else if (!S_ISREG(ours.st_mode) || ours.st_uid != ::geteuid()) why_ = boost::asio::error::access_denied;
    else if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) why_ = last_error();
    else if (::lstat(file_.c_str(), &there) != 0 || there.st_dev != ours.st_dev || there.st_ino != ours.st_ino)
      why_ = boost::asio::error::would_block;  // who held it has taken the file away meanwhile
    return why_ == boost::asio::error::would_block;
  }

  std::string file_;
  int descriptor_ = -1;
  boost::system::error_code why_;
};

/// Puts a socket's file in the place of one that nobody listens to any more; says why it cannot. Throws config_error if
/// the lock cannot be had.
inline auto replace_left_over(boost::asio::io_context& io, std::string const& path, http_protocol::endpoint const& at,
                              char const* new_path) -> boost::system::error_code {
  if (!is_left_over(io, path, at)) return boost::asio::error::address_in_use;
  auto const alone = door_lock{path};
  if (alone.why_not())
    throw config_error{"no status can be served at unix:" + escaped(path, 200) +
                       ": to replace the socket that is left there takes the lock " + escaped(alone.file(), 200) +
                       ": " + alone.why_not().message()};
  if (!is_left_over(io, path, at)) return boost::asio::error::address_in_use;
  return ::rename(new_path, path.c_str()) == 0 ? boost::system::error_code{} : last_error();
}

/// Listens under a new name first, so whoever finds the right one finds a server behind it, or what a dead one left.
inline auto opened_unix_door(boost::asio::io_context& io, std::string const& address, boost::system::error_code& error)
    -> http_door {
  auto const path = path_in(address);
  auto const new_path = path + "." + new_token().substr(0, new_name_digits);
  auto const removed_at_the_end =
      std::unique_ptr<char const, void (*)(char const*)>{new_path.c_str(), [](char const* file) { ::unlink(file); }};
  auto door = http_door{
      listening_at(io, boost::asio::local::stream_protocol::endpoint{new_path}, new_path.c_str(), error), address};
  if (!error && ::lstat(new_path.c_str(), &door.file) != 0) error = last_error();
  if (error || ::link(new_path.c_str(), path.c_str()) == 0) return door;  // which replaces nothing
  error = last_error();
  if (error == boost::system::errc::file_exists)
    error = replace_left_over(io, path, endpoint_at(address), new_path.c_str());
  return door;
}

inline auto opened_tcp_door(boost::asio::io_context& io, std::string const& address, boost::system::error_code& error)
    -> http_door {
  auto door = http_door{listening_at(io, endpoint_at(address), nullptr, error), address};
  if (error) return door;
  auto bound = door.acceptor.local_endpoint();
  auto tcp = boost::asio::ip::tcp::endpoint{};
  std::copy_n(static_cast<std::byte const*>(static_cast<void const*>(bound.data())), bound.size(),
              static_cast<std::byte*>(static_cast<void*>(tcp.data())));
  door.address = transport::address{tcp.address(), tcp.port()}.numbers();
  return door;
}

/// Throws config_error if nobody can be served there.
inline auto opened_door(boost::asio::io_context& io, std::string const& address) -> http_door {
  static_cast<void>(endpoint_at(address));
  auto error = boost::system::error_code{};
  auto door = is_unix(address) ? opened_unix_door(io, address, error) : opened_tcp_door(io, address, error);
  if (error) throw config_error{"no status can be served at " + escaped(address, 200) + ": " + error.message()};
  return door;
}

/// The file, unless another server has put its own there.
inline void remove_door(http_door const& door) {
  struct stat is{};
  if (!is_unix(door.address) || ::lstat(path_in(door.address).c_str(), &is) != 0) return;
  if (is.st_dev == door.file.st_dev && is.st_ino == door.file.st_ino) ::unlink(path_in(door.address).c_str());
}

// --- whom it answers

/// Whether a Host header names this machine: localhost or a loopback address, with any port (ssh -L gives another one).
inline auto is_this_machine(std::string_view host) -> bool {
  auto const colon = host.rfind(':');
  if (colon != host.npos && host.find_first_not_of("0123456789", colon + 1) == host.npos) host = host.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") return true;
  auto error = boost::system::error_code{};
  auto const number = boost::asio::ip::make_address(std::string{host}, error);
  return !error && number.is_loopback();
}

/// The token that a request shows; empty: none.
inline auto token_of(http_request const& r) -> std::string_view {
  constexpr auto bearer = std::string_view{"Bearer "};
  auto const field = r[http_field::authorization];
  auto const said = std::string_view{field.data(), field.size()};
  if (boost::beast::iequals(said.substr(0, bearer.size()), bearer)) return said.substr(bearer.size());
  auto const target = std::string_view{r.target().data(), r.target().size()};
  constexpr auto key = std::string_view{"?token="};
  auto const at = target.find(key);
  if (at == target.npos) return {};
  auto const token = target.substr(at + key.size());
  return token.substr(0, token.find('&'));
}

inline auto answer_of(http_status status, std::string const& type, std::string text) -> http_answer {
  auto a = http_answer{status, 11};
  a.set(http_field::content_type, type);
  a.set(http_field::cache_control, "no-store");
  a.set(http_field::x_frame_options, "DENY");
  a.set("X-Content-Type-Options", "nosniff");
  a.set("Referrer-Policy", "no-referrer");
  a.set("Content-Security-Policy",
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  if (status == http_status::unauthorized) a.set(http_field::www_authenticate, "Bearer");
  if (status == http_status::method_not_allowed) a.set(http_field::allow, "GET, HEAD");
  a.keep_alive(false);
  a.body() = std::move(text);
  a.prepare_payload();
  return a;
}
inline auto refusal_of(http_status status, char const* sentence) -> http_answer {
  return answer_of(status, "text/plain; charset=utf-8", sentence + std::string{"\n"});
}

inline auto reads(http_request const& r) -> bool {
  return r.method() == http_verb::get || r.method() == http_verb::head;
}

/// `pages(path)` gives a page with a type and a text, if there is one.
template<class Pages>
auto answer(http_request const& r, std::string const& token, Pages const& pages) -> http_answer {
  auto const host = r[http_field::host];
  if (r.count(http_field::host) != 1 || !is_this_machine({host.data(), host.size()}))
    return refusal_of(http_status::misdirected_request, "the Host of a request here is localhost, or its number");
  if (!is_token(token_of(r), token))
    return refusal_of(http_status::unauthorized, "the token of this run is missing, or is another one");
  if (!reads(r)) return refusal_of(http_status::method_not_allowed, "a status can only be read, with GET or HEAD");
  auto const target = std::string_view{r.target().data(), r.target().size()};
  try {
    if (auto page = pages(target.substr(0, target.find('?'))))
      return answer_of(http_status::ok, page->type, std::move(page->text));
  } catch (...) {  // a page that cannot be made ends no run
    return refusal_of(http_status::internal_server_error, "this page could not be made");
  }
  return refusal_of(http_status::not_found, "there is no such page here");
}

/// What is said to who sent no request that can be answered; nothing to who sent none.
inline auto answer_to_bad(boost::system::error_code error) -> std::optional<http_answer> {
  if (error == http_error::header_limit || error == http_error::buffer_overflow)
    return refusal_of(http_status::request_header_fields_too_large, "the request is too long");
  if (error == http_error::body_limit) return refusal_of(http_status::payload_too_large, "a request has no body");
  if (error.category() != make_error_code(http_error::end_of_stream).category() || error == http_error::end_of_stream ||
      error == http_error::partial_message)
    return std::nullopt;
  return refusal_of(http_status::bad_request, "this is no HTTP request");
}

/// One connection, which answers one request. It lives as long as something of it is under way.
class http_session : public std::enable_shared_from_this<http_session> {
 public:
  using answering = std::function<http_answer(http_request const&)>;
  http_session(http_socket socket, std::chrono::milliseconds deadline, answering answer)
      : stream_{std::move(socket)}, deadline_{deadline}, answering_{std::move(answer)} {}

  void start() {
    parser_.header_limit(most_request_bytes);
    parser_.body_limit(0);
    stream_.expires_after(deadline_);
    boost::beast::http::async_read(stream_, buffer_, parser_, [self = shared_from_this()](auto error, std::size_t) {
      auto const& request = self->parser_.get();
      auto const with_body = error == http_error::body_limit && !reads(request);  // it is refused for its verb
      if (!error || with_body) return self->send(self->answer_to(request));
      if (auto sentence = answer_to_bad(error)) self->send(std::move(*sentence));
    });
  }
  void close() { stream_.close(); }

 private:
  auto answer_to(http_request const& request) -> http_answer {
    auto a = answering_(request);
    if (request.method() == http_verb::head) a.body().clear();  // its length stays in the header
    return a;
  }
  void send(http_answer a) {
    answer_ = std::move(a);
    stream_.expires_after(deadline_);
    boost::beast::http::async_write(stream_, answer_, [self = shared_from_this()](auto error, std::size_t) {
      if (!error) self->await_end();
    });
  }
  /// Until the other end closes or the deadline is over: if this end closed first, with something unread, the answer
  /// could be lost on its way.
  void await_end() {
    auto ignored = boost::system::error_code{};
    stream_.socket().shutdown(http_socket::shutdown_send, ignored);
    drain();
  }
  void drain() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(1024), [self = shared_from_this()](auto error, std::size_t) {
      if (!error) self->drain();
    });
  }

  http_stream stream_;
  std::chrono::milliseconds deadline_;
  answering answering_;
  boost::beast::flat_buffer buffer_{most_request_bytes};
  boost::beast::http::request_parser<http_text> parser_;
  http_answer answer_;
};

// --- a request to another server

/// `then(text, why)` is called once, on the context's thread; `why` is empty if the text came.
class http_fetch : public std::enable_shared_from_this<http_fetch> {
 public:
  using answered = std::function<void(std::string text, std::string why)>;
  http_fetch(boost::asio::io_context& io, answered then) : io_{&io}, stream_{io}, then_{std::move(then)} {}

  void start(std::string const& address, std::string const& path, std::string const& token) {
    request_ = {http_verb::get, path, 11};
    request_.set(http_field::host, "localhost");
    request_.set(http_field::authorization, "Bearer " + token);
    parser_.body_limit(most_answer_bytes);
    stream_.expires_after(std::chrono::seconds{2});
    auto at = http_protocol::endpoint{};
    try {
      at = endpoint_at(address);
    } catch (config_error const& e) {
      return boost::asio::post(*io_,
                               [self = shared_from_this(), why = std::string{e.what()}] { self->then_({}, why); });
    }
    stream_.async_connect(at, [self = shared_from_this()](auto error) { self->on_connected(error); });
  }

 private:
  void on_connected(boost::system::error_code error) {
    if (error) return then_({}, error.message());
    boost::beast::http::async_write(stream_, request_, [self = shared_from_this()](auto failed, std::size_t) {
      if (failed) return self->then_({}, failed.message());
      boost::beast::http::async_read(self->stream_, self->buffer_, self->parser_,
                                     [self](auto why, std::size_t) { self->on_read(why); });
    });
  }
  void on_read(boost::system::error_code error) {
    if (error) return then_({}, error.message());
    if (parser_.get().result() == http_status::ok) return then_(std::move(parser_.get().body()), {});
    then_({}, "it answers " + std::to_string(parser_.get().result_int()));
  }

  boost::asio::io_context* io_;
  http_stream stream_;
  answered then_;
  boost::beast::http::request<boost::beast::http::empty_body> request_;
  boost::beast::flat_buffer buffer_;
  boost::beast::http::response_parser<http_text> parser_;
};

}  // namespace rubato::report::detail
