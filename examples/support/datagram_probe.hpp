// SPDX-License-Identifier: MIT
// Tries datagrams to other machines, one after the other, of the size that transport::udp takes and short ones: how
// many arrive each way, and how soon one is answered. What the two have to agree on goes over TCP, beside it.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/ip/udp.hpp>

#include <rubato/core/text.hpp>
#include <rubato/transport/udp.hpp>

#include "link_probe.hpp"  // not "support/...", so that a test may include this

namespace rubato::examples {

/// Of datagrams that one node sent to another: of each size so many.
struct arrived_datagrams {
  static constexpr int sent = 100;
  int full = 0, small = 0;
  double latency =
      std::numeric_limits<double>::quiet_NaN();  ///< half the time there and back, the least; of the sender

  /// `where` they arrive.
  [[nodiscard]] auto text(std::string const& where) const -> std::string {
    return std::to_string(full) + " of " + std::to_string(sent) + " of " +
           std::to_string(transport::udp::datagram_bytes) + " bytes arrive " + where +
           (latency >= 0 ? ", " + with_digits(1e3 * latency, 3) + " ms one way" : "");
  }
  /// What there is to mend; empty: nothing. Without a datagram of full size a run would fail.
  [[nodiscard]] auto to_mend() const -> std::string {
    if (full == 0)
      return small == 0 ? "let UDP through at the ports of both: a firewall may stop it"
                        : "raise the MTU of the way, since " + std::to_string(small) + " of " + std::to_string(sent) +
                              " short ones arrive";
    return full < sent * 4 / 5 ? "better: a link that loses fewer datagrams" : "";
  }
};

/// **Thread safety:** one owner.
class datagram_probe {
 public:
  /// Takes over a bound socket.
  explicit datagram_probe(int descriptor) : socket_{descriptor} {}
  datagram_probe(datagram_probe const&) = delete;
  auto operator=(datagram_probe const&) -> datagram_probe& = delete;
  ~datagram_probe() { ::close(socket_); }

  struct both_ways {
    arrived_datagrams out, in;
  };
  /// Both ends call it at once; `begins` at the one of the lower id. `Port`: a doctor_port. Throws as its wait().
  template<class Port>
  auto tried(Port& port, std::size_t other, transport::address const& where, bool begins) -> both_ways {
    to_ = {where.host, where.port};
    auto link = link_probe{port};
    mine_ = std::uint64_t{std::random_device{}()};  // a double holds it
    link.say(other, static_cast<double>(mine_));
    theirs_ = said(link.hear(other), std::numeric_limits<std::uint32_t>::max());
    both_ways all;
    for (auto const first_way : {true, false}) {
      if (begins == first_way) all.out = sent_to(port, link, other);
      else all.in = counted_from(port, link, other);
    }
    return all;
  }

 private:
  static constexpr std::size_t full_bytes = transport::udp::datagram_bytes, small_bytes = 64;
  enum class kind : std::uint64_t { question, answer };
  struct head {  // between machines of one byte order; another one counts as lost
    std::uint64_t token;
    kind is;
    std::uint64_t number;
  };

  /// What another machine says is a whole number up to `most`, or counts as 0.
  static auto said(double number, std::uint32_t most) -> std::uint32_t {
    return number >= 0 && number <= most ? static_cast<std::uint32_t>(number) : 0;
  }

  template<class Port>
  auto sent_to(Port& port, link_probe<Port>& link, std::size_t other) -> arrived_datagrams {
    asked_.assign(2 * arrived_datagrams::sent, {});
    answers_ = 0;
    quickest_ = std::chrono::nanoseconds::max();
    for (std::size_t k = 0; k < asked_.size(); ++k) {
      asked_[k] = transport::clock::now();
      post({theirs_, kind::question, k}, k % 2 == 0 ? full_bytes : small_bytes);
      serve(port, other);
    }
    auto const latest = transport::later(grace);
    while (answers_ < asked_.size() && transport::clock::now() < latest) serve(port, other);
    link.say(other, 0);
    arrived_datagrams there;
    there.full = static_cast<int>(said(link.hear(other), arrived_datagrams::sent));
    there.small = static_cast<int>(said(link.hear(other), arrived_datagrams::sent));
    if (quickest_ != std::chrono::nanoseconds::max())
      there.latency = std::chrono::duration<double>(quickest_).count() / 2;
    return there;
  }
  template<class Port>
  auto counted_from(Port& port, link_probe<Port>& link, std::size_t other) -> arrived_datagrams {
    heard_.assign(2 * arrived_datagrams::sent, false);
    while (!port.has_message(other)) serve(port, other);
    static_cast<void>(link.hear(other));
    for (auto const latest = transport::later(grace); transport::clock::now() < latest;) serve(port, other);
    arrived_datagrams here;
    for (std::size_t k = 0; k < heard_.size(); ++k) (k % 2 == 0 ? here.full : here.small) += heard_[k] ? 1 : 0;
    heard_.clear();
    link.say(other, here.full), link.say(other, here.small);
    return here;
  }

  /// Waits for a datagram, for a millisecond, and takes all that are there.
  template<class Port>
  void serve(Port& port, std::size_t other) {
    auto one = pollfd{socket_, POLLIN, 0};
    static_cast<void>(::poll(&one, 1, 1));
    for (auto k = 0; k < 64 && take(); ++k) continue;
    port.look(other, {});
  }
  auto take() -> bool {
    auto const size = ::recv(socket_, bytes_.data(), bytes_.size(), MSG_DONTWAIT);
    if (size < 0) return false;  // or an error about one that was sent
    auto h = head{};
    if (static_cast<std::size_t>(size) < sizeof h) return true;
    std::memcpy(&h, bytes_.data(), sizeof h);
    if (h.token != mine_) return true;
    if (h.is == kind::question && h.number < heard_.size()) {
      heard_[h.number] = true;
      post({theirs_, kind::answer, h.number}, static_cast<std::size_t>(size));
    } else if (h.is == kind::answer && h.number < asked_.size()) {
      quickest_ = std::min<std::chrono::nanoseconds>(quickest_, transport::clock::now() - asked_[h.number]);
      ++answers_;
    }
    return true;
  }
  /// One that the system does not take is as one that is lost.
  void post(head const& h, std::size_t size) {
    std::memcpy(bytes_.data(), &h, sizeof h);
    static_cast<void>(
        ::sendto(socket_, bytes_.data(), size, MSG_DONTWAIT, to_.data(), static_cast<socklen_t>(to_.size())));
  }

  static constexpr auto grace = std::chrono::milliseconds{300};  // for what is still under way

  int socket_;
  boost::asio::ip::udp::endpoint to_;
  std::uint64_t mine_ = 0, theirs_ = 0;
  std::vector<transport::clock::time_point> asked_;
  std::size_t answers_ = 0;
  std::chrono::nanoseconds quickest_{};
  std::vector<bool> heard_;
  std::array<std::byte, full_bytes> bytes_{};
};

}  // namespace rubato::examples
