// SPDX-License-Identifier: MIT
// The goodput of the TCP transport on a loopback connection, against plain sockets that make the same copies: header
// and body sent from where they are, received into a pooled vector, with the system's congestion control for both; and
// Gloo and MPI point-to-point for comparison. Wrong if the sides move different bytes, or if one of them runs while the
// machine is slower: they take turns, and ratios of neighbouring rounds are reported.
//   tcp_goodput [REPETITIONS] [MESSAGES] [VALUES]
//   mpirun -n 2 --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include lo tcp_goodput
// The second form includes MPI; without these options MPI would use shared memory.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

#ifdef RUBATO_BENCH_OPENSSL
#include "support/encryption.hpp"
#endif
#include "support/goodput.hpp"
#include "support/goodput_rivals.hpp"
#include "support/quantile.hpp"

namespace {

using namespace rubato;
using transport::clock;

using bench::load;
using bench::quantile;
using bench::seconds_since;
using bench::vector_of;

void require(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "tcp_goodput: %s failed\n", what);
  std::exit(1);
}

// --- plain sockets

struct socket_pair {
  int sender = -1;
  int receiver = -1;
};

auto connected() -> socket_pair {
  auto const listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof where;
  auto* const at = reinterpret_cast<sockaddr*>(&where);
  require(bind(listener, at, size) == 0 && listen(listener, 1) == 0 && getsockname(listener, at, &size) == 0,
          "listening");
  socket_pair s;
  s.sender = socket(AF_INET, SOCK_STREAM, 0);
  require(connect(s.sender, at, size) == 0, "connecting");
  s.receiver = accept(listener, nullptr, nullptr);
  auto const yes = 1;
  for (auto const d : {s.sender, s.receiver}) setsockopt(d, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  close(listener);
  return s;
}

void send_raw(int to, shared_buffer const& body, std::size_t messages) {
  std::vector<std::byte> header(wire::header_bytes);
  for (std::size_t k = 0; k < messages; ++k) {
    iovec parts[] = {{header.data(), header.size()}, {const_cast<std::byte*>(body.bytes().data()), body.size_bytes()}};
    auto left = header.size() + body.size_bytes();
    auto* first = parts;
    while (left > 0) {
      msghdr m{};
      m.msg_iov = first;
      m.msg_iovlen = static_cast<std::size_t>(std::end(parts) - first);
      auto sent = sendmsg(to, &m, MSG_NOSIGNAL);
      require(sent > 0, "sending");
      left -= static_cast<std::size_t>(sent);
      while (first != std::end(parts) && static_cast<std::size_t>(sent) >= first->iov_len)
        sent -= static_cast<ssize_t>((first++)->iov_len);
      if (first == std::end(parts)) break;
      first->iov_base = static_cast<std::byte*>(first->iov_base) + sent;
      first->iov_len -= static_cast<std::size_t>(sent);
    }
  }
}

auto raw_rate(load const& l) -> double {
  buffer_pool sending, receiving;
  auto const body = vector_of(sending, l.values);
  auto const s = connected();
  auto const begin = clock::now();
  auto const sender = std::jthread{[&] { send_raw(s.sender, body, l.messages); }};
  std::vector<std::byte> header(wire::header_bytes);
  shared_buffer kept;
  for (std::size_t k = 0; k < l.messages; ++k) {
    require(recv(s.receiver, header.data(), header.size(), MSG_WAITALL) == static_cast<ssize_t>(header.size()),
            "receiving");
    auto fresh = receiving.allocate<float>(l.values);
    require(recv(s.receiver, fresh.data(), 4 * l.values, MSG_WAITALL) == static_cast<ssize_t>(4 * l.values),
            "receiving");
    kept = std::move(fresh).publish();
  }
  auto const rate = l.gigabytes() / seconds_since(begin);
  close(s.sender);
  close(s.receiver);
  return rate;
}

// --- the transport

auto identity_of(std::size_t self, load const& l, wire::checksum check) -> transport::identity {
  auto me =
      bench::identity_of_node(self, block_partition{l.values}, {channel_id::chunk, channel_kind::event, element::f32});
  me.check = check;
  return me;
}

/// Polls until the peer is there and has sent so many messages; when it was seen first.
auto await(transport::tcp& t, std::size_t messages) -> clock::time_point {
  std::vector<transport::incoming> in;
  std::optional<clock::time_point> met;
  while (!met || messages > 0) {
    in.clear();
    t.poll(clock::now() + std::chrono::milliseconds{100}, in);
    for (auto const& n : in) {
      require(n.kind != transport::incoming::what::closed, "the transport");
      if (n.kind == transport::incoming::what::opened) met = clock::now();
      messages -= n.kind == transport::incoming::what::message ? 1U : 0U;
    }
  }
  return *met;
}

void send_events(transport::tcp& t, load const& l, shared_buffer const& body) {
  std::vector<transport::incoming> in;
  for (std::size_t k = 1; k <= l.messages;) {
    if (t.congested()) {
      t.poll(clock::now() + std::chrono::milliseconds{1}, in);
      continue;
    }
    packet p;
    p.from = to_node(1);
    p.to = to_node(0);
    p.channel = channel_id::chunk;
    p.number = iteration{k++};
    p.body = body;
    require(t.send(channel_kind::event, std::move(p)) != transport::send_status::closed, "sending");
  }
  t.announce({transport::peer_status::phase::left});
  while (!t.everyone_left()) t.poll(clock::now() + std::chrono::milliseconds{1}, in);
}

auto transport_rate(load const& l, wire::checksum check,
                    std::shared_ptr<transport::security const> const& security = {}) -> double {
  std::vector<transport::tcp_socket> const doors{transport::open_tcp_socket("127.0.0.1:0"),
                                                 transport::open_tcp_socket("127.0.0.1:0")};
  transport::tcp_options o;
  o.addresses = {doors[0].address, doors[1].address};
  o.event_bound = 4;
  o.security = security;
  o.listener = doors[0].descriptor;
  transport::tcp receiver{identity_of(0, l, check), o};
  auto const sender = std::jthread{[&] {
    buffer_pool pool;
    auto const body = vector_of(pool, l.values);
    auto mine = o;
    mine.listener = doors[1].descriptor;
    transport::tcp t{identity_of(1, l, check), mine};
    await(t, 0);
    send_events(t, l, body);
  }};
  auto const begin =
      await(receiver, l.messages);  // the sender sees it at the same moment, but for a tenth of a millisecond
  auto const rate = l.gigabytes() / seconds_since(begin);
  std::vector<transport::incoming> in;
  receiver.announce({transport::peer_status::phase::left});
  while (!receiver.everyone_left()) receiver.poll(clock::now() + std::chrono::milliseconds{1}, in);
  return rate;
}

auto congestion_control() -> std::string {
  auto const s = socket(AF_INET, SOCK_STREAM, 0);
  char name[32] = "";
  socklen_t size = sizeof name;
  getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name, &size);
  close(s);
  return name;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  struct row {
    char const* name;
    std::function<double(load const&)> rate;
    std::vector<double> rates{}, over_raw{};
  };
  std::vector<row> rows{{"plain sockets", raw_rate},
                        {"transport::tcp", [](load const& l) { return transport_rate(l, nullptr); }},
                        {"transport::tcp, checksum", [](load const& l) { return transport_rate(l, &wire::xxh3_of); }}};
#ifdef RUBATO_BENCH_OPENSSL
  rows.push_back(
      {"transport::tcp, TLS 1.3", [k = bench::fresh_key()](load const& l) { return transport_rate(l, nullptr, k); }});
  rows.push_back(
      {"AES-128-GCM alone", [](load const& l) { return bench::encryption_rate(l, 16384); }});  // as TLS has it
#endif
#ifdef RUBATO_BENCH_MPI
  bench::mpi_rival const mpi{argc, argv};
  if (mpi.serves()) return mpi.serve(), 0;
  if (mpi.is_there()) rows.push_back({"MPI, two processes", [&](load const& l) { return mpi.rate(l); }});
#endif
#ifdef RUBATO_BENCH_GLOO
  rows.push_back({"Gloo", bench::gloo_rate});
#endif
  auto const argument = [&](int at, unsigned long otherwise) {
    return argc > at ? std::strtoul(argv[at], nullptr, 10) : otherwise;
  };
  auto const repetitions = argument(1, 15);
  auto const l = load{argument(2, 64), argument(3, 1UL << 20)};
  for (unsigned long r = 0; r < repetitions; ++r) {
    for (auto& each : rows) {
      each.rates.push_back(each.rate(l));
      each.over_raw.push_back(each.rates.back() / rows.front().rates.back());
    }
  }
  std::printf("%zu messages of %zu bytes over loopback, %s, %lu repetitions in turn\n", l.messages, l.bytes(),
              congestion_control().c_str(), repetitions);
  std::printf("%-28s %12s %12s %14s %14s\n", "", "GB/s median", "GB/s best", "ratio median", "ratio q25");
  for (auto const& each : rows) {
    std::printf("%-28s %12.2f %12.2f %14.2f %14.2f\n", each.name, quantile(each.rates, 0.5), quantile(each.rates, 1),
                quantile(each.over_raw, 0.5), quantile(each.over_raw, 0.25));
  }
#ifdef RUBATO_BENCH_OPENSSL
  std::vector<double> of_both;  // what a wire and a cipher that take turns would do
  for (std::size_t r = 0; r < rows[3].rates.size(); ++r)
    of_both.push_back(rows[3].rates[r] * (1 / rows[1].rates[r] + 1 / rows[4].rates[r]));
  std::printf("TLS over 1 / (1 / transport::tcp + 1 / AES-128-GCM): median %.2f, quartile %.2f\n",
              quantile(of_both, 0.5), quantile(of_both, 0.25));
#endif
}
