// SPDX-License-Identifier: MIT
// The UDP transport with vectors of 131,072 floats in blocks of 256, one per datagram, from one thread to another over
// loopback: processor time per datagram at the default rate, and goodput without a limit; each with many datagrams per
// system call, and one by one. Both take turns in one run. Wrong if the system cannot cut and join datagrams (before
// Linux 5.0): then both rows are the same; or if the granted buffer is so small that every burst overflows it: the
// share of datagrams that arrived is printed. With OpenSSL also under a key, against plain datagrams and the cipher
// alone over as many bytes a piece, as a wire and a cipher that take turns would be.
//   udp_goodput [ROUNDS] [SECONDS OF EACH]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/transport/udp.hpp>

#ifdef RUBATO_BENCH_OPENSSL
#include "support/encryption.hpp"
#endif
#include "support/goodput.hpp"
#include "support/quantile.hpp"

namespace {

using namespace rubato;
using bench::median;
using transport::clock;
using transport::incoming;
using security = std::shared_ptr<transport::security const>;

constexpr std::size_t values = std::size_t{1} << 17;

struct outcome {
  double goodput = 0;  ///< bytes of bodies a second that came
  double came = 0;  ///< datagrams, of those sent
  double microseconds = 0;  ///< of processor time, both ends, a datagram that came
};

auto identity_of(std::size_t self) -> transport::identity {
  return bench::identity_of_node(self, block_partition{values, 256},
                                 {channel_id::model, channel_kind::state, element::f32});
}

auto processor_seconds() -> double {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

auto sum_of(std::vector<transport::traffic> const& counts, std::uint64_t transport::traffic::* what) -> double {
  auto sum = 0.0;
  for (auto const& c : counts) sum += static_cast<double>(c.*what);
  return sum;
}

/// Polls in turn with the other end until it is told to stop; what it saw meanwhile is dropped.
void receive(transport::udp& wires, std::atomic<bool> const& over) {
  std::vector<incoming> in;
  while (!over) {
    in.clear();
    wires.poll(clock::now() + std::chrono::milliseconds{5}, in);
  }
}

void send(transport::udp& wires, std::chrono::duration<double> time) {
  buffer_pool pool;
  auto const body = bench::vector_of(pool, values);
  std::vector<incoming> in;
  auto is_open = false;
  auto begin = clock::now();
  for (std::uint64_t number = 1; !is_open || clock::now() - begin < time;) {
    in.clear();
    wires.poll(clock::now() + std::chrono::microseconds{200}, in);
    for (auto const& n : in) {
      if (n.kind == incoming::what::opened) is_open = true, begin = clock::now();
    }
    packet p;
    p.from = to_node(1);
    p.to = to_node(0);
    p.channel = channel_id::model;
    p.number = iteration{number++};
    p.body = body;
    if (is_open) wires.send(channel_kind::state, std::move(p));
  }
}

auto measured(bool batches, double bytes_per_second, security const& key, std::chrono::duration<double> time)
    -> outcome {
  std::vector<transport::udp_socket> const doors{transport::open_udp_socket("127.0.0.1:0"),
                                                 transport::open_udp_socket("127.0.0.1:0")};
  auto const options = [&](std::size_t self) {
    transport::udp_options o;
    o.addresses = {doors[0].address, doors[1].address};
    o.socket = doors[self].descriptor;
    o.bytes_per_second = bytes_per_second;
    o.batches = batches;
    o.security = key;
    return o;
  };
  transport::udp receiver{identity_of(0), options(0)}, sender{identity_of(1), options(1)};
  std::atomic<bool> over = false;
  auto const before = processor_seconds();
  {
    auto const receiving = std::jthread{[&] { receive(receiver, over); }};
    send(sender, time);
    over = true;
  }
  auto const used = processor_seconds() - before;
  auto const arrived = sum_of(receiver.traffic_of(), &transport::traffic::delivered) +
                       sum_of(receiver.traffic_of(), &transport::traffic::skipped);
  return {arrived * 1024 / time.count(), arrived / sum_of(sender.traffic_of(), &transport::traffic::packets),
          1e6 * used / arrived};
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 9UL;
  auto const time = std::chrono::duration<double>{argc > 2 ? std::strtod(argv[2], nullptr) : 1.0};
  if (rounds == 0 || !(time.count() > 0)) {
    std::fprintf(stderr, "udp_goodput: rounds must be a number from 1 up, and the seconds positive\n");
    return 2;
  }
  struct row {
    char const* name;
    bool batches;
    double rate;
    security key{};
    std::vector<outcome> rounds{};
  };
  auto const usual = transport::udp_options{}.bytes_per_second;
  std::vector<row> rows{{"default rate, one by one", false, usual},
                        {"default rate, many a call", true, usual},
                        {"no limit, one by one", false, 1e12},
                        {"no limit, many a call", true, 1e12}};
#ifdef RUBATO_BENCH_OPENSSL
  rows.push_back({"the same under a key", true, 1e12, bench::fresh_key()});
  constexpr auto piece = wire::header_bytes + 1024;  // what a datagram holds
  std::vector<double> ciphers;  // bytes of bodies a second
#endif
  for (unsigned long r = 0; r < rounds; ++r) {
    for (auto& each : rows) each.rounds.push_back(measured(each.batches, each.rate, each.key, time));
#ifdef RUBATO_BENCH_OPENSSL
    ciphers.push_back(1e9 * 1024 / piece * bench::encryption_rate({64, 1UL << 20}, piece));
#endif
  }
  auto const of = [](row const& each, double outcome::* what) {
    std::vector<double> all;
    for (auto const& o : each.rounds) all.push_back(o.*what);
    return median(all);
  };
  std::printf("%zu floats, blocks of 256, one way over loopback, medians of %lu rounds in turn\n", values, rounds);
  std::printf("%-28s %12s %12s %26s\n", "", "MB/s came", "came, of all", "processor us a datagram");
  for (auto const& each : rows) {
    std::printf("%-28s %12.1f %12.4f %26.2f\n", each.name, 1e-6 * of(each, &outcome::goodput), of(each, &outcome::came),
                of(each, &outcome::microseconds));
  }
  for (std::size_t const at : {0U, 2U}) {
    std::vector<double> times;
    for (unsigned long r = 0; r < rounds; ++r)
      times.push_back(rows[at].rounds[r].microseconds / rows[at + 1].rounds[r].microseconds);
    std::printf("%s over many a call, processor time, median of neighbours: %.2f\n", rows[at].name, median(times));
  }
#ifdef RUBATO_BENCH_OPENSSL
  std::vector<double> of_both;
  for (unsigned long r = 0; r < rounds; ++r)
    of_both.push_back(rows[4].rounds[r].goodput * (1 / rows[3].rounds[r].goodput + 1 / ciphers[r]));
  std::printf("AES-128-GCM alone, pieces of %zu bytes: %.1f MB/s of bodies\n", piece, 1e-6 * median(ciphers));
  std::printf("under a key over 1 / (1 / plain + 1 / AES-128-GCM): median %.2f, quartile %.2f\n", median(of_both),
              bench::quantile(of_both, 0.25));
#endif
}
