// SPDX-License-Identifier: MIT
// Nothing but an all-reduce: every process has a vector, and one call replaces it by the sum of all, with the same bits
// everywhere. No algorithm, no driver, no loss: for programs that have their own loop.
//
//      process 0 <---> process 1 <---> process 2 <---> process 0      each has x = 1, 2, 3 times (1, 1/2, 1/3, ...)
//
// Real programs are started separately and know their addresses; this one forks, and lets the system choose the ports.
// Which algorithm a call takes depends on its size and on what messages and bytes cost, which can be measured. A
// process that does not come is named in an error. Over MPI, or between threads, only the line of the wires differs.
// Expected output: expected/16_all_reduce.txt
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <rubato/collective/all_reduce.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

namespace collective = rubato::collective;

void live(std::size_t self, std::vector<rubato::transport::tcp_socket> const& doors) {
  std::vector<std::string> addresses;
  for (auto const& door : doors) addresses.push_back(door.address);
  auto const o = collective::options{};
  auto const me = collective::identity_of(rubato::to_node(self), doors.size(), &rubato::wire::xxh3_of, o);
  // Between two calls a process says nothing, so the wires must bear as much silence as the calls have patience.
  auto wires =
      rubato::transport::tcp{me, {.addresses = addresses, .listener = doors[self].descriptor, .silence = o.patience}};
  auto port = collective::port{me, wires, o};

  auto x = std::vector<double>(100'000);
  for (std::size_t k = 0; k < x.size(); ++k) x[k] = static_cast<double>(self + 1) / static_cast<double>(k + 1);
  collective::all_reduce(port, std::span{x});
  auto const sum = x[2];
  collective::measure_costs(port);  // from now on calls go by what links cost here
  collective::all_reduce(port, std::span{x}, {.result = collective::result::mean});
  if (self == 0) std::printf("sum of the third values: %g; the mean of that at all: %g\n", sum, x[2]);
}

int main() {
  std::vector<rubato::transport::tcp_socket> doors;
  for (auto i = 0; i < 3; ++i) doors.push_back(rubato::transport::open_tcp_socket("127.0.0.1:0"));
  auto self = std::size_t{0};
  for (std::size_t i = 1; i < doors.size() && self == 0; ++i) {
    if (fork() == 0) self = i;
  }
  for (std::size_t i = 0; i < doors.size(); ++i) {
    if (i != self) close(doors[i].descriptor);
  }
  live(self, doors);
  while (self == 0 && wait(nullptr) > 0) {
  }
}
