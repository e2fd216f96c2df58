// SPDX-License-Identifier: MIT
// Trains a problem of LibTorch by R-FAST on a ring, to a loss, in one of three ways: in virtual time, on threads, or
// with one process a node over TCP. What is printed to stdout is the same on every machine; stderr has the figures.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/eigen.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/torch.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/xxhash.hpp>

namespace rubato::examples {

struct torch_goal {
  std::size_t nodes;
  double step;
  double untrained;  ///< the common first model has a loss above this
  double loss;       ///< the run ends below this
  double right;      ///< and then more than this part of what was held out is right
};

namespace detail {

/// Of one node, or of all: the loss of its first model, and what was measured when it first had the loss of the goal.
struct torch_progress {
  std::atomic<double> first{std::numeric_limits<double>::quiet_NaN()};
  std::atomic<double> loss{std::numeric_limits<double>::quiet_NaN()}, right{0};
  std::atomic<bool> arrived{false};

  void saw(measurement const& seen, torch_goal const& goal) {
    if (std::isnan(first)) first = seen.loss;
    if (arrived || !(seen.loss < goal.loss)) return;
    loss = seen.loss;
    right = seen.accuracy;
    arrived = true;
  }
};

enum class torch_way { simulator, threads, tcp };

inline auto torch_way_of(int argc, char** argv) -> torch_way {
  auto const word = std::string_view{argc < 2 ? "simulator" : argv[1]};
  if (argc <= 2 && word == "simulator") return torch_way::simulator;
  if (argc <= 2 && word == "threads") return torch_way::threads;
  if (argc <= 2 && word == "tcp") return torch_way::tcp;
  throw config_error{"the only argument is simulator, threads or tcp: how the nodes are run"};
}

inline constexpr std::size_t torch_nodes_max = 8;
using torch_board = std::array<torch_progress, torch_nodes_max>;
using torch_node = r_fast<backend::eigen<float>, step::adam>;

template<class Problem>
auto assembled(Problem const& problem, torch_goal const& goal) -> assembly {
  torch_node::options o;
  o.step = goal.step;
  o.scale = step_scale::raw;  // Adam cancels the size of a gradient
  return assemble<torch_node>(topology::ring(goal.nodes), problem, o);
}

/// One process: the board tells it when all have arrived.
template<class Make>
void train_peer(std::size_t self, torch_board& board, std::vector<transport::tcp_socket> const& doors, Make const& make,
                torch_goal const& goal) {
  std::vector<std::string> addresses;
  for (std::size_t i = 0; i < doors.size(); ++i) {
    addresses.push_back(doors[i].address);
    if (i != self) close(doors[i].descriptor);
  }
  auto nodes = assembled(make(), goal);
  auto const me = identity_of(nodes, to_node(self), &wire::xxh3_of);
  auto wires = transport::tcp{me, {.addresses = addresses, .listener = doors[self].descriptor}};
  auto const sees = [&](rubato::look const& l) {
    board[self].saw(l.seen, goal);
    auto const all = std::all_of(board.begin(), board.begin() + static_cast<std::ptrdiff_t>(goal.nodes),
                                 [](auto const& node) { return node.arrived.load(); });
    return all ? verdict::stop : verdict::go_on;
  };
  run_peer(nodes, me, wires, {.time = std::chrono::minutes{4}},
           {.look_every = std::chrono::milliseconds{500},
            .compute = environment::fixed(std::chrono::milliseconds{5}),
            .watching = {sees},
            .measure_loss = true});
}

/// Processes that this one has forked. They end with it: where it fails, nobody would wait for them.
class forked {
 public:
  forked() = default;
  forked(forked const&) = delete;
  auto operator=(forked const&) -> forked& = delete;
  ~forked() {
    for (auto const child : all_) kill(child, SIGTERM), waitpid(child, nullptr, 0);
  }
  /// As fork(), whose errors it throws.
  auto one_more() -> pid_t {
    auto const child = fork();
    if (child < 0) throw std::system_error{errno, std::generic_category(), "cannot start a process for a node"};
    if (child > 0) all_.push_back(child);
    return child;
  }
  /// Waits for all; whether each ended in order.
  auto end_in_order() -> bool {
    auto in_order = true;
    for (auto const child : std::exchange(all_, {})) {
      auto status = 0;
      in_order = waitpid(child, &status, 0) == child && status == 0 && in_order;
    }
    return in_order;
  }

 private:
  std::vector<pid_t> all_;
};

/// This process is node 0, and forks the others before LibTorch has threads.
template<class Make>
auto train_over_tcp(torch_board& board, Make const& make, torch_goal const& goal) -> bool {
  std::vector<transport::tcp_socket> doors;
  for (std::size_t i = 0; i < goal.nodes; ++i) doors.push_back(transport::open_tcp_socket("127.0.0.1:0"));
  forked others;
  for (std::size_t i = 1; i < goal.nodes; ++i) {
    if (others.one_more() != 0) continue;
    try {
      train_peer(i, board, doors, make, goal);
      std::_Exit(0);
    } catch (std::exception const& e) {
      std::fprintf(stderr, "process %zu: %s\n", i, e.what());
      std::_Exit(1);
    }
  }
  train_peer(0, board, doors, make, goal);
  return others.end_in_order();
}

/// In one process: in virtual time or on threads, to the loss of the mean model.
template<class Make>
void train_here(torch_way way, torch_progress& progress, Make const& make, torch_goal const& goal) {
  auto const threads = way == torch_way::threads;
  // A tenth of all messages is lost, and one node takes four times as long as the others.
  auto const scenario = environment::scenario{
      .compute = environment::fixed(std::chrono::milliseconds{5}).slow(static_cast<std::uint32_t>(goal.nodes - 1), 4.0),
      .link = {.latency = std::chrono::milliseconds{1}, .loss = 0.1},
      .measure_every = std::chrono::milliseconds{threads ? 500 : 200}};
  auto const end = until{.time = std::chrono::minutes{threads ? 4 : 1}, .target_loss = goal.loss};
  auto const result =
      threads ? run_threads(assembled(make(), goal), scenario, end) : simulate(assembled(make(), goal), scenario, end);
  for (auto const& seen : result.history) progress.saw(seen, goal);
}

}  // namespace detail

/// The whole of main: make() returns the problem, and is called once a process. The argument says in which way it is
/// trained: `simulator` (the default), `threads` or `tcp`.
template<class Make>
auto train(int argc, char** argv, torch_goal const& goal, Make const& make) -> int try {
  auto const way = detail::torch_way_of(argc, argv);
  RUBATO_EXPECTS(goal.nodes > 1 && goal.nodes <= detail::torch_nodes_max, "the board has a place for each node");
  at::set_num_threads(1);  // of each gradient: there is a thread or a process a node
  auto* const memory =
      mmap(nullptr, sizeof(detail::torch_board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc{};
  auto& board = *new (memory) detail::torch_board;
  auto in_order = true;
  if (way == detail::torch_way::tcp) in_order = detail::train_over_tcp(board, make, goal);
  else detail::train_here(way, board[0], make, goal);

  auto begun = true, arrived = true, right = true;
  for (std::size_t i = 0; i < (way == detail::torch_way::tcp ? goal.nodes : 1); ++i) {
    auto const& seen = board[i];
    std::fprintf(stderr, "loss %.2f, then %.2f; %.1f %% of what was held out is right\n", seen.first.load(),
                 seen.loss.load(), 100 * seen.right.load());
    begun = begun && seen.first > goal.untrained;
    arrived = arrived && seen.arrived;
    right = right && seen.right > goal.right && seen.right <= 1;
  }
  auto const yes_or_no = [](bool is) { return is ? "yes" : "no"; };
  std::printf("loss of the untrained module above %g: %s\n", goal.untrained, yes_or_no(begun));
  std::printf("loss after training below %g: %s\n", goal.loss, yes_or_no(arrived));
  std::printf("more than %g %% of what was held out is right: %s\n", 100 * goal.right, yes_or_no(right));
  return in_order && begun && arrived && right ? 0 : 1;
} catch (std::exception const& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

}  // namespace rubato::examples
