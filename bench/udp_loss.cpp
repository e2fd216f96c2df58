// SPDX-License-Identifier: MIT
// What a loss of a tenth of all datagrams costs r_fast over UDP when vectors of 100,000 floats travel in blocks, one
// per datagram: root iterations and seconds until the root's model is within 1e-2 of the optimum (of its first
// distance), over those without loss. The negative control delivers a vector only when all its blocks have arrived; it
// must work without loss and must fail with it, or this shows nothing. All four take turns in one run. Four nodes of a
// binary tree in one process, each with a socket and threads of its own; a gradient takes 50 ms, asleep for most of it.
// Wrong if the machine is so busy that nodes do not reach their 20 gradients a second: the rate is in the table.
//   udp_loss [ROUNDS]      Status 1 if a figure is missed.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/rubato.hpp>
#include <rubato/transport/udp.hpp>

#include "support/quantile.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using node = r_fast<backend::eigen<float>>;
using bench::median;
using transport::incoming;

constexpr std::size_t nodes = 4;
constexpr std::size_t values = 100'000;
constexpr auto longest = 20s;  // of a run

/// UDP whose receiver keeps blocks back until it has all of one vector; a newer vector drops what was kept of an older.
class whole_vectors : public transport::udp {
 public:
  whole_vectors(transport::identity const& me, transport::udp_options o)
      : transport::udp{me, std::move(o)}, blocks_{me.blocks}, pool_{me.pool} {}

  void poll(transport::clock::time_point until, std::vector<incoming>& in) {
    pieces_.clear();
    transport::udp::poll(until, pieces_);
    for (auto& piece : pieces_) {
      if (piece.kind != incoming::what::message) in.push_back(std::move(piece));
      else if (auto whole = completed(piece)) in.push_back(std::move(*whole));
    }
  }

 private:
  struct gathered {
    iteration number{};
    wire::arriving_body body;
    std::vector<bool> has;
    std::size_t missing = 0;
  };

  auto completed(incoming& piece) -> std::optional<incoming> {
    auto& g = held_[{piece.peer, piece.p.channel}];
    if (piece.p.number < g.number) return std::nullopt;
    if (g.has.empty() || g.number < piece.p.number) {
      g = {piece.p.number,
           {piece.p.body.kind(), blocks_.values(), pool_},
           std::vector<bool>(blocks_.blocks()),
           blocks_.blocks()};
    }
    auto const value_bytes = bytes_of(piece.p.body.kind());
    auto const* from = piece.p.body.bytes().data();
    for (auto b = piece.blocks.begin; b < piece.blocks.end; ++b) {
      auto const part = blocks_.values_of({b, b + 1});
      std::copy_n(from, part.size() * value_bytes, g.body.bytes().data() + part.begin * value_bytes);
      from += part.size() * value_bytes;
      if (!g.has[b]) g.has[b] = true, --g.missing;
    }
    if (g.missing > 0) return std::nullopt;
    g.number = next(g.number);  // nothing more is wanted of this one
    g.has.clear();
    piece.p.body = std::move(g.body).publish();
    piece.blocks = {0, blocks_.blocks()};
    return std::move(piece);
  }

  block_partition blocks_;
  buffer_pool pool_;
  std::vector<incoming> pieces_;
  std::map<std::pair<node_id, channel_id>, gathered> held_;
};

struct outcome {
  std::optional<double> seconds;  ///< until the root is near enough
  double iterations = 0;  ///< of the root by then, or in all
  double rate = 0;  ///< root iterations a second
  double thrown_away = 0;  ///< datagrams, of those sent
};

auto distance(shared_buffer const& model, problem::quadratic const& problem) -> double {
  auto sum = 0.0;
  auto const x = model.view<float>();
  for (std::size_t k = 0; k < x.size(); ++k) sum += (x[k] - problem.optimum()[k]) * (x[k] - problem.optimum()[k]);
  return std::sqrt(sum);
}

auto judged(std::vector<peer_result> const& parts, problem::quadratic const& problem) -> outcome {
  outcome o;
  auto const& looks = parts.front().looks;
  auto const start = distance(looks.front().model, problem);
  auto const near = std::find_if(looks.begin(), looks.end(),
                                 [&](auto const& l) { return distance(l.model, problem) <= 1e-2 * start; });
  auto const& last = near == looks.end() ? looks.back() : *near;
  if (near != looks.end()) o.seconds = to_seconds(last.at);
  o.iterations = static_cast<double>(last.gradients);
  o.rate = o.iterations / to_seconds(last.at);
  auto sent = 0.0, lost = 0.0;
  for (auto const& p : parts) {
    for (auto const& e : p.result.edges)
      sent += static_cast<double>(e.packets_sent), lost += static_cast<double>(e.lost);
  }
  o.thrown_away = lost / sent;
  return o;
}

template<class Wires>
auto run(problem::quadratic const& problem, double loss, std::uint64_t seed) -> outcome {
  std::vector<transport::udp_socket> doors;
  std::vector<std::string> addresses;
  for (std::size_t i = 0; i < nodes; ++i) {
    doors.push_back(transport::open_udp_socket("127.0.0.1:0"));
    addresses.push_back(doors.back().address);
  }
  std::vector<peer_result> parts(nodes);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < nodes; ++i) {
      threads.emplace_back([&, i] {
        auto mine = assemble<node>(topology::binary_tree(nodes), problem, {.step = 0.1F, .block_values = 256});
        auto const me = identity_of(mine, to_node(i));
        transport::udp_options o;
        o.addresses = addresses;
        o.socket = doors[i].descriptor;
        o.loss = loss;
        o.loss_seed = seed;
        auto wires = Wires{me, o};
        parts[i] = run_peer<node>(mine, me, wires, {.time = longest},
                                  {.look_every = 50ms, .compute = environment::fixed(50ms)});
      });
    }
  }
  return judged(parts, problem);
}

}  // namespace

auto main(int argc, char** argv) -> int {
  auto const rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 5UL;
  if (rounds == 0) return std::fprintf(stderr, "udp_loss: rounds must be a number from 1 up\n"), 2;
  auto const problem = problem::quadratic::random(nodes, values, 1);
  struct row {
    char const* name;
    outcome (*of)(problem::quadratic const&, double, std::uint64_t);
    double loss;
    std::vector<outcome> rounds{};
  };
  row rows[] = {{"blocks, no loss", &run<transport::udp>, 0},
                {"blocks, 10 % lost", &run<transport::udp>, 0.1},
                {"whole vectors, no loss", &run<whole_vectors>, 0},
                {"whole vectors, 10 % lost", &run<whole_vectors>, 0.1}};
  for (unsigned long r = 0; r < rounds; ++r) {
    for (auto& each : rows) each.rounds.push_back(each.of(problem, each.loss, r + 1));
  }
  std::printf("%zu floats, %zu nodes, %lu rounds in turn; medians until the root is within 1e-2, of at most %.0f s\n",
              values, nodes, rounds, to_seconds(longest));
  std::printf("%-26s %12s %12s %16s %12s %12s\n", "", "came there", "seconds", "root iterations", "a second",
              "thrown away");
  auto const of = [](row const& each, auto const& value) {
    std::vector<double> all;
    for (auto const& o : each.rounds) all.push_back(value(o));
    return median(all);
  };
  auto const seconds = [](outcome const& o) { return o.seconds.value_or(std::numeric_limits<double>::infinity()); };
  auto const iterations = [](outcome const& o) { return o.iterations; };
  auto const there = [](row const& each) {
    return static_cast<std::size_t>(
        std::count_if(each.rounds.begin(), each.rounds.end(), [](auto const& o) { return o.seconds.has_value(); }));
  };
  for (auto const& each : rows) {
    std::printf("%-26s %5zu of %3lu %12.2f %16.0f %12.1f %12.3f\n", each.name, there(each), rounds, of(each, seconds),
                of(each, iterations), of(each, [](outcome const& o) { return o.rate; }),
                of(each, [](outcome const& o) { return o.thrown_away; }));
  }
  std::vector<double> times, counts;
  for (unsigned long r = 0; r < rounds; ++r) {
    times.push_back(seconds(rows[1].rounds[r]) / seconds(rows[0].rounds[r]));
    counts.push_back(iterations(rows[1].rounds[r]) / iterations(rows[0].rounds[r]));
  }
  auto const controls = there(rows[2]) == rounds && there(rows[3]) == 0;
  auto const holds = there(rows[1]) == rounds && median(counts) <= 1.2 && median(times) <= 1.3 && controls;
  std::printf(
      "with loss over without, medians of neighbours: %.3f root iterations (wanted: at most 1.2), %.3f seconds (at "
      "most 1.3); "
      "the control %s: %s\n",
      median(counts), median(times), controls ? "works without loss and never with it" : "shows nothing",
      holds ? "holds" : "MISSED");
  return holds ? 0 : 1;
}
