// SPDX-License-Identifier: MIT
// Of each pair of nodes the one with the higher id calls the other over TCP: how it calls, and how those who call are
// kept apart until they have said who they are.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/transport/asio.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/transport/detail/connection/tcp.hpp>
#include <rubato/transport/security.hpp>

namespace rubato::transport::detail {

/// What a node knows of a peer that it calls, or that calls it.
struct calling_edge {
  address there;  ///< where it listens
  bool we_call = false;
  std::shared_ptr<tcp_connection> link;  ///< after hellos both ways
  std::shared_ptr<tcp_connection> calling;  ///< our call, before that
  clock::time_point call_again{};
  std::string trouble;  ///< the latest
  std::string verdict;  ///< what was found last of a key or certificate that is not right
  std::uint32_t sessions = 0;  ///< how often the edge has been opened
  bool told_of_strangers = false;  ///< since it was open

  /// An end that hangs up, or is no more, tells less than what was found of it before.
  [[nodiscard]] auto words() const -> std::string {
    return verdict.empty() || verdict == trouble ? trouble : trouble + "; before, " + verdict;
  }
  void fails(std::string why, bool is_verdict) {
    trouble = std::move(why);
    if (is_verdict) verdict = trouble;
  }
  void close() {
    if (auto const c = std::exchange(link, nullptr)) c->close();
    if (auto const c = std::exchange(calling, nullptr)) c->close();
  }
};

/// What is encrypted has no checksum beside.
inline auto sealed_by(security const* s, identity me) -> identity {
  if (s != nullptr) me.check = nullptr;
  return me;
}

/// Calls a peer; once it has shown who it is, hellos go both ways. then(why that failed, or nothing) runs once if a
/// failed call is closed then. `by` outlives the connection.
template<class Then>
void call(std::shared_ptr<tcp_connection> const& c, address const& there, security const* by, wire::hello const& ours,
          std::string const& agreed, Then then) {
  auto const greet = [c, by, ours, agreed, then] {
    c->write_hello(ours, agreed, [then](boost::system::error_code cut) {
      if (cut) then(cut.message());
    });
    c->read_hello([c, by, ours, then](bool whole) {
      if (whole && c->other.from == ours.to && c->other.to == ours.from) return then(std::string{});
      if (whole) return then("node " + std::to_string(to_index(c->other.from)) + " answers there");
      if (!c->refusal.empty()) return then(c->refusal);
      then(by == nullptr ? std::string{"what answers there is not a rubato node, is too busy, or wants a key"}
                         : std::string{"what answers there is not a rubato node, or is too busy"});
    });
  };
  c->socket.async_connect({there.host, there.port}, [c, by, ours, then, greet](boost::system::error_code error) {
    if (c->at == phase::closed) return;
    if (error) return then(error.message());
    c->at = phase::greeting;
    c->shake_hands(by, side::caller, [c, ours, then, greet](std::string const& why) {
      if (!why.empty()) return then(why);
      if (c->may_be(ours.to)) return greet();
      c->is_verdict = true;
      then(std::string{"what answers there has the certificate of another node"});
    });
  });
}

/// Somebody was turned away who belongs to no peer that is there: of those that are not, it may be one that was started
/// wrongly.
template<class Peers>
void tell_of_stranger(Peers& peers, std::string const& why, bool is_verdict, void (*says)(std::string_view)) {
  for (auto& p : peers) {
    if (p.we_call || p.is_open()) continue;
    p.fails("it has not called; somebody has, and was turned away: " + why, is_verdict);
    if (says != nullptr && p.sessions > 0 && !std::exchange(p.told_of_strangers, true))
      says("while " + p.name + " is away somebody has called, and was turned away: " + why);
  }
}

/// Those who have called and have not said yet who they are: a bounded number, each for a bounded time.
class callers {
 public:
  using connection = tcp_connection;
  static constexpr std::size_t most = 64;

  /// `by` and `counts` outlive it.
  callers(boost::asio::io_context& io, security const* by, std::chrono::nanoseconds greeting, rejections& counts)
      : acceptor_{io}, by_{by}, greeting_{greeting}, counts_{counts} {}
  callers(callers const&) = delete;
  auto operator=(callers const&) -> callers& = delete;
  ~callers() {
    for (auto& c : unidentified_) c->close();
  }

  /// Takes over a listening socket. `of_hello(c)` is told of a caller with a whole hello, which may speak as the node
  /// that it says to be, and then turns it away, forgets or releases it. `of_stranger(why, whether keys are
  /// at fault)` is told of one that is turned away after it was heard. Throws config_error.
  void listen(int socket, address const& own, std::function<void(std::shared_ptr<connection> const&)> of_hello,
              std::function<void(std::string const&, bool)> of_stranger) {
    of_hello_ = std::move(of_hello);
    of_stranger_ = std::move(of_stranger);
    boost::system::error_code error;
    acceptor_.assign(protocol_of<boost::asio::ip::tcp>(own), socket, error);
    if (error) throw config_error{"socket " + std::to_string(socket) + " cannot be listened on: " + error.message()};
    accept();
  }
  void turn_away(std::shared_ptr<connection> const& c) {
    ++counts_.strangers;
    forget(c);
  }
  void forget(std::shared_ptr<connection> const& c) {
    c->close();
    release(c);
  }
  /// From now on it is somebody else's.
  void release(std::shared_ptr<connection> const& c) { std::erase(unidentified_, c); }

  void tick(clock::time_point now) {
    if (!accepting_) accept();
    while (!unidentified_.empty() && now > unidentified_.front()->until)
      turn_away(std::shared_ptr<connection>{unidentified_.front()});
  }

 private:
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, connection::socket_type socket) {
      accepting_ = false;
      if (error) {  // most likely out of descriptors: some are freed, and the next tick tries again
        turn_away_oldest();
        return;
      }
      auto const c = unidentified_.emplace_back(std::make_shared<connection>(std::move(socket)));
      c->at = phase::greeting;
      c->until = later(greeting_);
      if (unidentified_.size() > most) turn_away_oldest();
      c->shake_hands(by_, side::called, [this, c](std::string const& why) {
        if (!why.empty()) return c->is_verdict ? refuse(c, why) : turn_away(c);
        c->read_hello([this, c](bool whole) {
          if (!whole) return c->refusal.empty() ? turn_away(c) : refuse(c, c->refusal);
          if (c->may_be(c->other.from)) return of_hello_(c);
          c->is_verdict = true;
          refuse(c, "it has the certificate of another node than " + to_text(c->other.from));
        });
      });
      accept();
    });
    accepting_ = true;
  }
  void refuse(std::shared_ptr<connection> const& c, std::string const& why) {
    of_stranger_(why, c->is_verdict);
    turn_away(c);
  }
  void turn_away_oldest() {
    if (unidentified_.empty()) return;
    ++counts_.crowded;
    forget(std::shared_ptr<connection>{unidentified_.front()});
  }

  boost::asio::ip::tcp::acceptor acceptor_;
  security const* by_;
  std::chrono::nanoseconds greeting_;
  rejections& counts_;
  std::function<void(std::shared_ptr<connection> const&)> of_hello_;
  std::function<void(std::string const&, bool)> of_stranger_;
  std::vector<std::shared_ptr<connection>> unidentified_;  // oldest first
  bool accepting_ = false;
};

}  // namespace rubato::transport::detail
