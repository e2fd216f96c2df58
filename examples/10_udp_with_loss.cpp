// SPDX-License-Identifier: MIT
// Two processes over UDP; three in ten datagrams are dropped on purpose. A vector is cut into blocks, one per datagram
// (hence block_values: 128 doubles or 256 floats fit). A lost datagram makes only its own block older, and the next
// running sum replaces it. Nothing is sent again, and no node waits. (run_peer<node> over UDP does not compile for
// algorithms that need every message.)
//
//      process 0 <-- UDP, 30 % loss --> process 1      each knows its own data only
//
// Expected output: expected/10_udp_with_loss.txt
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/rubato.hpp>
#include <rubato/transport/udp.hpp>
#include <rubato/wire/xxhash.hpp>

using namespace std::chrono_literals;
using node = rubato::r_fast<rubato::backend::eigen<double>>;

auto distance_of(std::size_t self, int socket, std::vector<std::string> const& addresses) -> double {
  auto const problem = rubato::problem::quadratic::random(2, 1000, 1);
  auto nodes = rubato::assemble<node>(rubato::topology::line(2), problem, {.step = 0.1, .block_values = 128});
  auto const me = rubato::identity_of(nodes, rubato::to_node(self), &rubato::wire::xxh3_of);
  auto wires = rubato::transport::udp{me, {.addresses = addresses, .socket = socket, .loss = 0.3}};
  auto const mine =
      rubato::run_peer<node>(nodes, me, wires, {.time = 3s}, {.compute = rubato::environment::fixed(1ms)});

  auto worst = 0.0;
  for (std::size_t k = 0; k < problem.dimension(); ++k)
    worst = std::fmax(worst, std::abs(mine.result.models[0].view<double>()[k] - problem.optimum()[k]));
  return worst;
}

void say(int process, double distance) {
  std::printf("process %d: within 1e-6 of the optimum of both, for all the loss: %s\n", process,
              distance < 1e-6 ? "yes" : "no");
  std::fflush(stdout);
}

int main() {
  auto const first = rubato::transport::open_udp_socket("127.0.0.1:0"),
             second = rubato::transport::open_udp_socket("127.0.0.1:0");
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
