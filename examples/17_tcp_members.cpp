// SPDX-License-Identifier: MIT
// A run whose members come and go, in processes over TCP on this machine: seven begin, three of them are killed (also
// the root of the trees), then two come back and one is new. Nobody coordinates them: each finds its place among those
// to which it has a connection, and who comes later begins with the model that a neighbour sends it.
//
// Real programs are started separately; this one forks its processes, and shares with them which nodes should be there
// and how far each is from the optimum of these nodes' sum.
// Expected output: expected/17_tcp_members.txt
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/rubato.hpp>
#include <rubato/topology/members.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

using namespace std::chrono_literals;
using node = rubato::r_fast<rubato::backend::eigen<float>>;
constexpr std::size_t most = 8;

struct board {
  std::atomic<unsigned> present{0};  // one bit a node; 0: all end
  std::atomic<unsigned> near{0};  // those within 1e-5 of the optimum of these
};

auto problem() { return rubato::problem::quadratic::random(most, 20, 1, {.spread = 1, .condition = 3}); }

auto distance(rubato::shared_buffer const& model, unsigned present) -> double {
  auto const q = problem();
  auto worst = 0.0;
  for (std::size_t k = 0; k < q.dimension(); ++k) {
    auto curvatures = 0.0, pulls = 0.0;
    for (std::size_t i = 0; i < most; ++i) {
      auto const counts = (present >> i & 1U) != 0 ? q.curvature(i, k) : 0.0;
      curvatures += counts;
      pulls += counts * q.centre(i, k);
    }
    worst = std::fmax(worst, std::abs(static_cast<double>(model.view<float>()[k]) - pulls / curvatures));
  }
  return worst;
}

auto start(std::size_t self, int restarts, board& shared, std::vector<std::string> const& addresses) -> pid_t {
  auto const child = fork();
  if (child != 0) return child;
  auto const trees = rubato::topology::member_graphs{most, rubato::topology::binary_tree};
  auto nodes = rubato::assemble<node>(trees, problem(), {.step = 0.1});
  auto const me = rubato::identity_of(nodes, rubato::to_node(self), &rubato::wire::xxh3_of);
  auto wires = rubato::transport::tcp{me, {.addresses = addresses, .arrival = 3s}};
  std::vector<rubato::node_id> first;  // all but node 7
  for (std::size_t i = 0; i + 1 < most; ++i) first.push_back(rubato::to_node(i));
  auto const look = [&](rubato::look const& l) {
    auto const present = shared.present.load();
    if (present == 0) return rubato::verdict::stop;
    auto const mine = 1U << self;
    if (distance(l.models[0], present) < 1e-5) shared.near |= mine;
    else shared.near &= ~mine;
    return rubato::verdict::go_on;
  };
  auto const end = rubato::until{.time = 200s};  // longer than all waits below
  rubato::run_peer(nodes, me, wires, end,
                   {.linger = 1s,
                    .look_every = 20ms,
                    .lost = rubato::when_lost::goes_on,
                    .first = std::move(first),
                    .entry = restarts < 0 ? rubato::entry::first : rubato::entry::later,
                    .restarts = static_cast<std::uint64_t>(std::max(restarts, 0)),
                    .compute = rubato::environment::fixed(1ms),
                    .watching = {look}});
  std::_Exit(0);
}

/// Whether all who should be there come near the optimum of their sum within a minute.
auto all_near(board& shared, unsigned present) -> bool {
  shared.near = 0;
  shared.present = present;
  auto const latest = std::chrono::steady_clock::now() + 60s;
  while (shared.near != present && std::chrono::steady_clock::now() < latest) std::this_thread::sleep_for(10ms);
  return shared.near == present;
}

int main() {
  auto* const memory = mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& shared = *new (memory) board;
  std::vector<std::string> addresses;
  for (std::size_t i = 0; i < most; ++i) {
    auto const bound = rubato::transport::open_tcp_socket("127.0.0.1:0");
    addresses.push_back(bound.address);
    close(bound.descriptor);
  }
  std::vector<pid_t> all(most, 0);
  shared.present = 0x7f;
  for (std::size_t i = 0; i < 7; ++i) all[i] = start(i, -1, shared, addresses);
  auto ok = all_near(shared, 0x7f);
  std::printf("nodes 0 to 6 begin: %s\n", ok ? "all at their optimum" : "not in time");
  for (std::size_t const i : {0U, 3U, 5U}) {
    kill(all[i], SIGKILL);
    waitpid(all[i], nullptr, 0);
  }
  ok = ok && all_near(shared, 0x56);
  std::printf("nodes 0, 3 and 5 die: %s\n", ok ? "the others at theirs" : "not in time");
  for (std::size_t const i : {0U, 5U, 7U}) all[i] = start(i, i == 7 ? 0 : 1, shared, addresses);
  ok = ok && all_near(shared, 0xf7);
  std::printf("0 and 5 are back, 7 is new: %s\n", ok ? "all at their optimum" : "not in time");
  shared.present = 0;
  auto ended = true;
  for (std::size_t i = 0; i < most; ++i) {
    auto status = 0;
    if (i != 3) ended = waitpid(all[i], &status, 0) == all[i] && status == 0 && ended;
  }
  std::printf("they end in order: %s\n", ended ? "yes" : "no");
  return ok && ended ? 0 : 1;
}
