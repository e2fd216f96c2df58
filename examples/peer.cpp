// SPDX-License-Identifier: MIT
// One node of a run in a process of its own: start it once for each node, on this machine or (with --insecure) on others.
//   peer --id 0 --peers 127.0.0.1:7000,127.0.0.1:7001 --nodes 2 --problem quadratic:100 --until 5s &
//   peer --id 1 --peers 127.0.0.1:7000,127.0.0.1:7001 --nodes 2 --problem quadratic:100 --until 5s
// Exit status: 0 done, 1 the run failed (a peer was lost, a node failed), 2 what was asked for cannot be, 130 interrupted.
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include <rubato/report/summary.hpp>
#include <rubato/run/peer.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/wire/zlib.hpp>

#include "support/peer_options.hpp"
#include "support/peer_problem.hpp"
#include "support/peer_report.hpp"

namespace {

namespace examples = rubato::examples;

auto over_tcp(rubato::assembly& a, examples::peer_choice const& c, rubato::until const& end, rubato::peer_options const& o)
    -> rubato::peer_result {
  auto const self = rubato::to_node(static_cast<std::size_t>(c.id));
  auto me = rubato::identity_of(a, self, &rubato::wire::crc32_of);
  examples::add_options(me.agreed, c);
  rubato::transport::tcp_options wires;
  wires.addresses = examples::list_in(c.peers);
  if (c.peers.empty() || wires.addresses.size() != a.nodes.size()) {
    throw rubato::config_error{"--peers must name an address for each of the " + std::to_string(a.nodes.size()) +
                               " processes of this run (a server is one of them), in the order of their ids"};
  }
  wires.listener = c.listener;
  wires.insecure = c.insecure;
  wires.arrival = c.arrival;
  wires.silence = c.silence;
  rubato::transport::tcp tcp{me, std::move(wires)};
  return rubato::run_peer(a, me, tcp, end, o);
}

auto live(examples::peer_choice const& c) -> int {
  auto const plan = examples::planned(c.race);
  examples::catch_interrupt();
  auto a = examples::assembled(plan, c);
  auto end = rubato::until{};
  end.time = plan.options.until;
  rubato::peer_options o;
  o.look_every = plan.options.measure_every;
  o.lost = c.goes_on ? rubato::when_lost::goes_on : rubato::when_lost::ends;
  o.interrupted = &examples::interrupted;
  auto result = over_tcp(a, c, end, o);
  result.result.algorithm = plan.options.algorithms.front();
  for (auto const& sentence : result.lost) std::fprintf(stderr, "peer: %s\n", sentence.c_str());
  if (!c.report.empty()) examples::write_peer_report(c.report, result);
  if (!plan.options.quiet) std::fputs(rubato::report::node_table(result.result).c_str(), stdout);
  return examples::interrupted() ? 130 : 0;
}

auto complain(std::exception const& e, int status) -> int {
  std::fprintf(stderr, "peer: %s\n", e.what());
  return status;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const choice = examples::read_peer_line(argc, argv);
    return choice ? live(*choice) : 0;
  } catch (rubato::config_error const& e) {
    return complain(e, 2);
  } catch (std::exception const& e) {
    return complain(e, 1);
  }
}
