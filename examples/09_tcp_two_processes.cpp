// SPDX-License-Identifier: MIT
// Two processes, one node each, over TCP on this machine. Every process assembles the whole run, so that all agree on
// everything, and runs its own node. A peer with other options is refused with a sentence.
//
//      process 0 <----- TCP -----> process 1      each knows its own data only
//
// Real programs are started separately and know their addresses; this one forks its second process and lets the system
// choose the ports. On a transport that loses messages nothing else changes: see 10_udp_with_loss.cpp.
// Expected output: expected/09_tcp_two_processes.txt
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/rubato.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

using namespace std::chrono_literals;
using node = rubato::r_fast<rubato::backend::eigen<double>>;

auto distance_of(std::size_t self, int listener, std::vector<std::string> const& addresses) -> double {
  auto const problem = rubato::problem::quadratic::random(2, 100, 1);
  auto nodes = rubato::assemble<node>(rubato::topology::line(2), problem, {.step = 0.1});
  auto const me = rubato::identity_of(nodes, rubato::to_node(self), &rubato::wire::xxh3_of);
  auto wires = rubato::transport::tcp{me, {.addresses = addresses, .listener = listener}};
  auto const mine = rubato::run_peer(nodes, me, wires, {.time = 3s}, {.compute = rubato::environment::fixed(1ms)});

  auto worst = 0.0;
  for (std::size_t k = 0; k < problem.dimension(); ++k)
    worst = std::fmax(worst, std::abs(mine.result.models[0].view<double>()[k] - problem.optimum()[k]));
  return worst;
}

void say(int process, double distance) {
  std::printf("process %d: within 1e-6 of the optimum of both processes' data: %s\n", process,
              distance < 1e-6 ? "yes" : "no");
  std::fflush(stdout);
}

int main() {
  auto const first = rubato::transport::open_tcp_socket("127.0.0.1:0"),
             second = rubato::transport::open_tcp_socket("127.0.0.1:0");
  auto const addresses = std::vector{first.address, second.address};
  auto const child = fork();
  if (child == 0) {
    close(second.descriptor);
    say(0, distance_of(0, first.descriptor, addresses));
    return 0;
  }
  close(first.descriptor);
  auto const distance = distance_of(1, second.descriptor, addresses);
  auto status = 0;
  waitpid(child, &status, 0);
  say(1, distance);
  return status == 0 ? 0 : 1;
}
