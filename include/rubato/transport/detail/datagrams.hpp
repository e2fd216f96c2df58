// SPDX-License-Identifier: MIT
// Many datagrams of one size in one system call, if the system can split and join them (Linux: UDP_SEGMENT and
// UDP_GRO); otherwise one by one. The network sees the same datagrams.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <system_error>
#include <vector>

#include <netinet/in.h>
#include <netinet/udp.h>

#include <rubato/wire/frame.hpp>

namespace rubato::transport::detail {

inline constexpr std::size_t datagram_bytes = 1200;  // at most: below any MTU

/// Switches joining on for what `socket` receives. Returns whether the system can split what it sends.
[[nodiscard]] inline auto joins_and_cuts(int socket) -> bool {
#if defined(UDP_SEGMENT) && defined(UDP_GRO)
  auto size = 0;
  socklen_t bytes = sizeof size;
  auto const yes = 1;
  return getsockopt(socket, IPPROTO_UDP, UDP_SEGMENT, &size, &bytes) == 0 &&
         setsockopt(socket, IPPROTO_UDP, UDP_GRO, &yes, sizeof yes) == 0;
#else
  static_cast<void>(socket);
  return false;
#endif
}

/// Datagrams to one address, all but the last of one size, that leave together: frames, or what is sealed.
class outgoing_datagrams {
 public:
  static constexpr std::size_t most = 48;  // one call takes at most 64 KiB and 64 pieces

  outgoing_datagrams() {
    headers_.reserve(most);
    pieces_.reserve(2 * most);
  }

  [[nodiscard]] auto size() const -> std::size_t { return count_; }
  /// Adds a frame and returns the place of its header. The body must stay in place until the frames have left, and be
  /// as long as those before; after a shorter one no more may be added. At most `most` frames.
  auto add(std::span<std::byte const> body) -> std::span<std::byte, wire::header_bytes> {
    if (count_++ == 0) each_ = wire::header_bytes + body.size();
    auto& header = headers_.emplace_back();  // within its capacity, so earlier headers do not move
    pieces_.push_back({header.data(), header.size()});
    if (!body.empty()) pieces_.push_back({const_cast<std::byte*>(body.data()), body.size()});  // is read only
    return header;
  }
  /// Adds a datagram of that many bytes, to be written where they are returned. The same holds for it, and those that
  /// leave together are all added so.
  [[nodiscard]] auto room(std::size_t bytes) -> std::span<std::byte> {
    if (sealed_.empty()) sealed_.resize(most);
    auto const here = std::span{sealed_[count_]}.first(bytes);
    if (count_++ == 0) each_ = bytes;
    pieces_.push_back({here.data(), here.size()});
    return here;
  }

  /// Gives all to the system, which takes all or none. Returns its error, if any. Afterwards there are none here.
  [[nodiscard]] auto leave(int socket, void* address, std::size_t address_bytes) -> std::errc {
    msghdr m{};
    m.msg_name = address;
    m.msg_namelen = static_cast<socklen_t>(address_bytes);
    m.msg_iov = pieces_.data();
    m.msg_iovlen = pieces_.size();
#ifdef UDP_SEGMENT
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(std::uint16_t))> control{};
    if (count_ > 1) {
      m.msg_control = control.data();
      m.msg_controllen = control.size();
      auto* const c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = IPPROTO_UDP;
      c->cmsg_type = UDP_SEGMENT;
      c->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      auto const segment = static_cast<std::uint16_t>(each_);
      std::memcpy(CMSG_DATA(c), &segment, sizeof segment);
    }
#endif
    auto const error = sendmsg(socket, &m, MSG_NOSIGNAL) < 0 ? std::errc{errno} : std::errc{};
    headers_.clear();
    pieces_.clear();
    count_ = 0;
    return error;
  }

 private:
  std::vector<std::array<std::byte, wire::header_bytes>> headers_;
  std::vector<std::array<std::byte, datagram_bytes>> sealed_;
  std::vector<iovec> pieces_;
  std::size_t count_ = 0;
  std::size_t each_ = 0;  // bytes
};

/// Whether a socket's error reports the fate of something that was sent earlier; then there may be more to receive.
[[nodiscard]] inline auto is_echo(int error) -> bool {
  static constexpr int echoes[] = {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ECONNRESET,
                                   ENOPROTOOPT,  EPROTO,       EACCES,      EPERM,     EMSGSIZE, EINTR};
  return std::find(std::begin(echoes), std::end(echoes), error) != std::end(echoes);
}

/// The result of one call: datagrams of `each` bytes from one address; the last one may be shorter.
class incoming_datagrams {
 public:
  incoming_datagrams() : bytes_(std::size_t{1} << 16) {}

  /// False if nothing is available now. An error about something that was sent counts as an empty datagram. So does
  /// input that did not fit, since its boundaries are not known.
  [[nodiscard]] auto receive(int socket) -> bool {
    iovec all{bytes_.data(), bytes_.size()};
    alignas(cmsghdr) std::array<std::byte, 64>
        control{};  // room for a timestamp too, which the socket's creator may have switched on
    msghdr m{};
    m.msg_name = &address_;
    m.msg_namelen = sizeof address_;
    m.msg_iov = &all;
    m.msg_iovlen = 1;
    m.msg_control = control.data();
    m.msg_controllen = control.size();
    auto const n = recvmsg(socket, &m, MSG_DONTWAIT);
    size_ = 0;
    if (n < 0) return is_echo(errno);
    if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return true;
    size_ = static_cast<std::size_t>(n);
    each_ = std::max<std::size_t>(size_, 1);
    address_bytes_ = m.msg_namelen;
#ifdef UDP_GRO
    for (auto* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
      if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
      auto segment = 0;
      std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
      if (segment > 0) each_ = static_cast<std::size_t>(segment);
    }
#endif
    return true;
  }

  [[nodiscard]] auto address() const -> sockaddr const* { return reinterpret_cast<sockaddr const*>(&address_); }
  [[nodiscard]] auto address_bytes() const -> std::size_t { return address_bytes_; }
  /// Calls f with the bytes of each datagram.
  template<class F>
  void for_each(F&& f) const {
    for (std::size_t at = 0; at < size_; at += each_) f(std::span{bytes_}.subspan(at, (std::min)(each_, size_ - at)));
  }

 private:
  std::vector<std::byte> bytes_;
  sockaddr_storage address_{};
  std::size_t address_bytes_ = 0, size_ = 0, each_ = 1;
};

}  // namespace rubato::transport::detail
