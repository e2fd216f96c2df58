// SPDX-License-Identifier: MIT
// One node of a run in a process of its own: start it once for each node, on this machine or (with --key, or
// --certificates, or --insecure) on others.
//   peer --id 0 --peers 127.0.0.1:7000,127.0.0.1:7001 --nodes 2 --problem quadratic:100 --until 5s &
//   peer --id 1 --peers 127.0.0.1:7000,127.0.0.1:7001 --nodes 2 --problem quadratic:100 --until 5s
//   peer --id 0 --transport shared_memory --run mine --nodes 2 ... (and the same with --id 1)
//   mpirun -n 2 peer --transport mpi --nodes 2 --problem quadratic:100 --until 5s
//   srun -n 4 peer --launch auto --key run.key --problem quadratic:100 --until 5s
// Exit status: 0 done, 1 this node failed, 2 what was asked for cannot be, 3 done, but cut off from a peer, or another
// node was from one of its own (--go-on), 4 the run failed because of another node, 130 interrupted.
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/driver/peer.hpp>
#include <rubato/report/nlohmann_json.hpp>
#include <rubato/report/summary.hpp>
#include <rubato/run/recorder.hpp>
#include <rubato/run/status_watch.hpp>
#include <rubato/transport/shared_memory.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/transport/udp.hpp>
#include <rubato/wire/xxhash.hpp>

#if RUBATO_EXAMPLES_HAVE_MPI
#include <rubato/transport/mpi.hpp>
#endif

#include "support/attached.hpp"
#include "support/await_names.hpp"
#include "support/checkpoint_folders.hpp"
#include "support/doctor.hpp"
#include "support/key_files.hpp"
#include "support/peer_options.hpp"
#include "support/peer_problem.hpp"
#include "support/same_places.hpp"
#include "support/say.hpp"
#include "support/status_service.hpp"

namespace {

namespace examples = rubato::examples;
namespace status = rubato::examples::status;

/// The plan of a run. Where a launcher says how many processes there are, those that are no servers are its nodes.
auto plan_of(examples::peer_choice& c) -> examples::race_plan {
  auto plan = examples::planned(c.race);
  if (c.launched == 0 || examples::was_given(c.race, "--nodes")) return plan;
  auto const a = examples::assembled(plan, 0, examples::objective_of(plan.options)).nodes;
  auto const servers = a.nodes.size() - a.peers;
  if (servers >= c.launched)
    throw rubato::config_error{c.race.algorithms.front() + " has " + std::to_string(servers) +
                               (servers == 1 ? " server" : " servers") +
                               ", so the launcher must start more processes than " + std::to_string(c.launched)};
  c.race.nodes = c.launched - servers;
  c.race.arguments.insert(c.race.arguments.end(), {"--nodes", std::to_string(*c.race.nodes)});
  return servers == 0 ? plan : examples::planned(c.race);
}

/// Takes the addresses of a hosts file, if there is one, and waits until pods have their names.
void settle_places(examples::peer_choice& c, std::size_t processes) {
  if (!c.launch && !c.hosts.file.empty()) {
    auto const seats = examples::seats_on(examples::read_hosts(c.hosts.file), c.hosts.file,
                                          c.hosts.port.value_or(examples::usual_port), processes);
    c.peers = examples::peers_text(examples::addresses_of(seats));
  }
  if (c.launched > 0 && c.launched != processes)
    throw rubato::config_error{"the launcher has started " + std::to_string(c.launched) +
                               " processes, and this run has " + std::to_string(processes) +
                               " (a server is one of them)"};
  if (c.launch == examples::launcher::kubernetes && c.hosts.file.empty())
    examples::await_names(examples::list_in(c.peers), c.arrival);
}

/// Addresses of all processes; throws config_error.
auto addresses_of(rubato::assembly const& a, examples::peer_choice const& c) -> std::vector<std::string> {
  auto all = examples::list_in(c.peers);
  if (!c.peers.empty() && all.size() == a.nodes.size()) return all;
  throw rubato::config_error{"--peers must name an address for each of the " + std::to_string(a.nodes.size()) +
                             " processes of this run (a server is one of them), in the order of their ids"};
}

void say_aloud(std::string_view sentence) {
  std::fprintf(stderr, "peer: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
}

/// What tcp and udp are told alike.
template<class Options>
auto options_of(rubato::assembly const& a, examples::peer_choice const& c) -> Options {
  Options o;
  o.addresses = addresses_of(a, c);
  std::vector<std::optional<rubato::transport::address>> where;
  for (auto const& text : o.addresses)
    where.emplace_back(rubato::transport::address_in(text, c.insecure || c.keys.are_asked_for()));
  if (auto const words = examples::words_of_same_place(o.addresses, where); !words.empty())
    throw rubato::config_error{words};
  for (std::size_t i = 0; i < where.size() && !c.race.quiet; ++i) {
    if (!where[i]->name.empty()) std::printf("node %zu is at %s\n", i, where[i]->text().c_str());
  }
  o.security = examples::security_of(c.keys, static_cast<std::size_t>(c.id), o.addresses, !c.race.quiet);
  o.insecure = c.insecure;
  o.arrival = c.arrival;
  o.silence = c.silence;
  o.says = &say_aloud;
  return o;
}

/// What all nodes of the run must have in common.
void add_agreed(rubato::wire::agreement& agreed, examples::peer_choice const& c) {
  examples::add_setting(agreed, c);
  examples::add_end(agreed, c);
}

/// Instead of a run: whether one would fail between the nodes.
auto examine(rubato::assembly const& a, examples::peer_choice const& c) -> int {
  auto const self = static_cast<std::size_t>(c.id);
  auto const addresses = addresses_of(a, c);
  if (self >= addresses.size())
    throw rubato::config_error{"there is no node " + std::to_string(self) + ": the run has nodes 0 to " +
                               std::to_string(addresses.size() - 1)};
  auto me = rubato::identity_of(a, rubato::to_node(self), &rubato::wire::xxh3_of);
  add_agreed(me.agreed, c);
  auto const over_udp = c.transport == "udp", has_keys = c.keys.are_asked_for();
  if (over_udp)
    rubato::transport::udp::refuse_unfit(
        me, has_keys ? rubato::transport::udp::sealed_bytes : rubato::transport::udp::datagram_bytes);
  auto doctor = examples::doctor{{.self = self,
                                  .addresses = addresses,
                                  .goes_far = c.insecure || has_keys,
                                  .listener = over_udp ? c.key_listener : c.listener,
                                  .over_udp = over_udp,
                                  .datagrams = over_udp ? c.listener : std::nullopt,
                                  .arrival = c.arrival,
                                  .silence = c.silence,
                                  .agreed = me.agreed}};
  auto const all = doctor.examine([&] { return examples::security_of(c.keys, self, addresses, !c.race.quiet); });
  auto const fails = std::any_of(all.begin(), all.end(), [](auto const& f) { return f.fails; });
  if (fails || !c.race.quiet) examples::say(examples::text_of(all));
  return fails ? status::failed : status::done;
}

auto run(rubato::assembly& a, examples::peer_choice const& c, rubato::until const& end, rubato::peer_options const& how)
    -> rubato::peer_result {
  auto me = rubato::identity_of(a, rubato::to_node(static_cast<std::size_t>(c.id)), &rubato::wire::xxh3_of,
                                how.checkpoint, how.stop);
  add_agreed(me.agreed, c);
  if (c.transport == "udp") {
    auto o = options_of<rubato::transport::udp_options>(a, c);
    o.socket = c.listener;
    o.listener = c.key_listener;
    o.loss = c.drop;
    o.loss_seed = c.race.seed;
    rubato::transport::udp udp{me, std::move(o)};
    return rubato::run_peer(a, me, udp, end, how);
  }
  if (c.transport == "shared_memory") {
    if (c.run.empty())
      throw rubato::config_error{
          "--run is missing: give this run a name, the same at each of its nodes and of no other run of this machine"};
    auto const calls = std::count_if(me.peers.begin(), me.peers.end(), [&](auto id) { return id < me.self; });
    if (auto const little = examples::words_of_little_memory(static_cast<std::size_t>(calls)); !little.empty())
      throw rubato::config_error{"this node's " + little + examples::cure_of_little_memory};
    rubato::transport::shared_memory memory{
        me, {.run = c.run, .arrival = c.arrival, .silence = c.silence, .says = &say_aloud}};
    return rubato::run_peer(a, me, memory, end, how);
  }
#if RUBATO_EXAMPLES_HAVE_MPI
  if (c.transport == "mpi") {
    rubato::transport::mpi mpi{me, {.arrival = c.arrival, .silence = c.silence}};
    return rubato::run_peer(a, me, mpi, end, how);
  }
#endif
  auto o = options_of<rubato::transport::tcp_options>(a, c);
  o.listener = c.listener;
  rubato::transport::tcp tcp{me, std::move(o)};
  return rubato::run_peer(a, me, tcp, end, how);
}

/// Serves this node's status, if it was asked for, while what is returned lives.
auto shown(examples::peer_choice const& c, rubato::assembly const& a, rubato::peer_options& o)
    -> std::unique_ptr<examples::status_service> {
  auto service = examples::status_asked_for(c.status, c.status_token, c.id, a.nodes.size());
  if (!service) return nullptr;
  o.status = service->board();
  o.watching.push_back(rubato::status_watch{service->board(), a.oracle});
  auto const& server = service->server();
  auto where = server.url();
  if (!c.status_token.empty()) where = server.address() + ", with the token in " + c.status_token;  // not into a log
  else if (where.empty()) where = server.address() + ", with the token " + server.token();
  if (!c.race.quiet) examples::say("status: " + where + "\n");
  return service;
}

/// What a node on quadratics says of itself; of a worker whose model is its server's there is nothing to say. Who was
/// interrupted need not have come near.
void tell_distance(rubato::run_result const& r, examples::peer_choice const& c, examples::race_options const& o,
                   bool interrupted) {
  if (r.models.empty()) {
    if (!o.quiet) examples::say("this node computes gradients for a server, which has the model\n");
    return;
  }
  auto const q = examples::quadratic_of(*o.quadratic, o);
  if (r.absent.size() == q.nodes()) {
    if (!o.quiet) examples::say("all workers have ended or left before this server\n");
    return;
  }
  auto const best = examples::optimum_without(q, r.absent);
  auto const worst = examples::distance(r, best);
  if (!o.quiet)
    examples::say("no value of the model is farther than " + rubato::report::readable(worst) + " from the optimum" +
                  (r.absent.empty() ? "\n" : " of those who are there\n"));
  if (!interrupted) examples::require_near(worst, c);
}

/// Of peers that were gone when the run ended, its own and those of others; returns the exit status.
auto tell_of_the_lost(rubato::peer_result const& r, bool members_come_and_go) -> int {
  auto const words = examples::words_of_the_lost(r, members_come_and_go);
  if (!words.empty()) say_aloud(words);
  return words.empty() ? status::done : status::cut_off;
}

/// How this node takes part, where members come and go.
void settle_membership(examples::peer_choice const& c, rubato::peer_options& o, rubato::until& end) {
  if (!c.members) return;
  for (std::size_t i = 0; i < c.beginning; ++i) o.first.push_back(rubato::to_node(i));
  if (c.joins) o.entry = rubato::entry::later;
  o.restarts = c.restart;
  if (c.leave_after.count() == 0) return;
  o.farewell = rubato::farewell::leaves;
  end.time = c.leave_after;
}

auto live(examples::peer_choice c) -> int {
  auto const plan = plan_of(c);
  if (!c.report.empty()) rubato::report::ensure_peer_result_writable(c.report);
  examples::signals();  // listens from now on
  auto input = std::optional<examples::attached>{};
  if (c.attached) input.emplace();
  auto a = examples::assembled(plan, 0, examples::objective_of(plan.options)).nodes;
  if (!a.remark.empty()) std::fprintf(stderr, "peer: %s\n", a.remark.c_str());
  settle_places(c, a.nodes.size());
  examples::refuse_going_on(c, a, rubato::to_node(static_cast<std::size_t>(c.id)));
  if (c.doctor) return examine(a, c);
  if (c.restart > 0 && !c.members) {
    if (c.id >= a.nodes.size())
      throw rubato::config_error{"there is no node " + std::to_string(c.id) + " to --restart: the run has nodes 0 to " +
                                 std::to_string(a.nodes.size() - 1)};
    a.nodes[c.id] = a.factory.make(c.id, {}, c.restart);
  }
  auto log = rubato::recording{};
  if (auto const& o = plan.options; !o.record.empty()) {
    log = rubato::record(a, rubato::to_node(static_cast<std::size_t>(c.id)),
                         {o.record, o.algorithms.front(), examples::setup_of(c)});
  }
  auto end = rubato::until{};
  end.time = plan.options.until;
  rubato::peer_options o;
  o.look_every = plan.options.measure_every;
  o.linger = c.silence + std::chrono::seconds{1};
  o.come_back = c.arrival;
  o.lost = c.goes_on ? rubato::when_lost::goes_on : rubato::when_lost::ends;
  o.compute = examples::compute_of(plan, plan.algorithms.front().minibatches);
  o.compute_seed = plan.scenario.seed;
  o.pace = c.pace;
  settle_membership(c, o, end);
  if (!examples::await_former_life("peer", c, plan.options.algorithms.front(), {c.id, c.id + 1}))
    return status::interrupted;
  if (auto const anew = examples::who_begins_anew(c, plan.options.algorithms.front(), {c.id, c.id + 1}); !anew.empty())
    say_aloud(anew);
  o.checkpoint =
      examples::checkpoints_of(c, plan.options.algorithms.front(), rubato::to_node(static_cast<std::size_t>(c.id)));
  o.checkpoint.subject = examples::setting_of(c);
  o.says = &say_aloud;
  o.least_said = c.log;
  o.stop = examples::signals().token();
  auto const service = shown(c, a, o);
  examples::admit_as_asked(a, rubato::to_node(static_cast<std::size_t>(c.id)), c, [board = o.status](auto sentence) {
    say_aloud(sentence);
    if (board) board->say(std::string{sentence});
  });
  auto result = run(a, c, end, o);
  result.result.algorithm = plan.options.algorithms.front();
  a.nodes.clear();  // with which recordings end
  for (auto const& file : log.statuses()) {
    if (!file.cut_short.empty()) std::fprintf(stderr, "peer: the recording is cut short: %s\n", file.cut_short.c_str());
  }
  if (auto why = log.failure(); !why.empty()) result.unwritten = std::move(why);
  if (!c.report.empty()) rubato::report::write_peer_result(c.report, result);
  if (!plan.options.quiet) examples::say(rubato::report::node_table(result.result));
  auto const interrupted =  // here, or at another node
      examples::interrupted() || result.result.stopped == rubato::stop_reason::interrupted;
  if (c.race.quadratic) tell_distance(result.result, c, plan.options, interrupted);
  if (!result.unwritten.empty() && c.report.empty()) throw rubato::run_error{result.unwritten};  // else its reader does
  if (result.left) {
    if (!plan.options.quiet) examples::say("this node has left the others\n");
    return tell_of_the_lost(result, true);
  }
  if (interrupted) std::fprintf(stderr, "peer: interrupted\n");
  return interrupted ? status::interrupted : tell_of_the_lost(result, c.members.has_value());
}

#if RUBATO_EXAMPLES_HAVE_MPI
/// Whether all ranks have come to their end within half a minute of this one's: finalising would wait for ever.
auto all_have_ended() -> bool {
  auto request = MPI_REQUEST_NULL;
  auto all = 0;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  for (auto const latest = std::chrono::steady_clock::now() + std::chrono::seconds{30};; poll(nullptr, 0, 1)) {
    MPI_Test(&request, &all, MPI_STATUS_IGNORE);
    if (all != 0 || std::chrono::steady_clock::now() > latest) return all != 0;
  }
}

/// Until mpirun has read what was said here, 100 ms at most: where ranks abort, MPICH's may lose what it has not read.
void await_reader() {
  auto const latest = std::chrono::steady_clock::now() + std::chrono::milliseconds{100};
  for (auto unread = 0; ioctl(STDERR_FILENO, FIONREAD, &unread) == 0 && unread > 0;) {
    if (std::chrono::steady_clock::now() > latest) return;
    poll(nullptr, 0, 1);
  }
}
#endif

/// MPI for the life of the program, where it is asked for: the rank is the node's id.
class mpi_session {
 public:
  mpi_session(examples::peer_choice& c, int& argc, char**& argv) : used_{c.transport == "mpi"} {
    if (!used_) return;
#if RUBATO_EXAMPLES_HAVE_MPI
    auto level = 0, rank = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    c.id = static_cast<std::uint64_t>(rank);
    if (!c.report.empty()) c.report += "-" + std::to_string(rank);
#else
    static_cast<void>(argc), static_cast<void>(argv);
    throw rubato::config_error{"this peer was built without MPI (Debian: libopenmpi-dev); take --transport tcp"};
#endif
  }
  mpi_session(mpi_session const&) = delete;
  auto operator=(mpi_session const&) -> mpi_session& = delete;
  /// What a failed rank leaves behind is ended with it: finalising would wait for the others.
  void end(int its_status) const {
    if (!used_) return;
#if RUBATO_EXAMPLES_HAVE_MPI
    // the others may be writing what they know
    auto const waits = its_status == status::done || its_status == status::cut_off || its_status == status::interrupted;
    auto const late = waits && !all_have_ended();
    if (late)
      std::fprintf(stderr, "peer: not all ranks have ended within 30 s of this one, so the others are ended with it\n");
    if (late || !waits) {
      std::fflush(stdout);
      await_reader();
      MPI_Abort(MPI_COMM_WORLD, late && its_status == status::done ? status::failed : its_status);
    }
    MPI_Finalize();
#else
    static_cast<void>(its_status);
#endif
  }

 private:
  bool used_;
};

auto guarded(examples::peer_choice const& choice) -> int {
  try {
    return live(choice);
  } catch (...) {
    if (choice.doctor && examples::interrupted()) return status::interrupted;
    return examples::complain("peer");
  }
}

}  // namespace

auto main(int argc, char** argv) -> int {
  return examples::run_program("peer", [&] {
    auto choice = examples::read_peer_line(argc, argv);
    if (!choice) return 0;
    mpi_session const session{*choice, argc, argv};
    auto const its_status = guarded(*choice);
    session.end(its_status);
    return its_status;
  });
}
