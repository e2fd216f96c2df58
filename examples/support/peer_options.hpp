// SPDX-License-Identifier: MIT
// The options of peer and cluster beyond those of race, and the problems that they know.
#pragma once

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/run/checkpoint.hpp>
#include <rubato/run/pace.hpp>

#include "support/hosts.hpp"
#include "support/key_files.hpp"
#include "support/launch.hpp"
#include "support/race_command_line.hpp"
#include "support/race_run.hpp"

namespace rubato::examples {

struct peer_choice {
  race_options race = default_options();
  std::string transport;
  std::string run;  ///< its name in shared memory
  std::uint64_t id = 0;
  std::uint64_t restart = 0;
  std::string peers;
  std::optional<launcher> launch;
  bool launch_auto = false;
  hosts_choice hosts{};
  std::size_t launched = 0;  ///< processes of the run, where a launcher says how many
  std::optional<int> listener;
  std::optional<int> key_listener;  ///< over udp with a key
  std::string report;
  std::chrono::nanoseconds arrival{};
  std::chrono::nanoseconds silence{};
  pace_options pace{};
  checkpoint_options checkpoint{};
  bool resume_if_there = false;  ///< a node without a checkpoint begins anew
  double drop = 0;
  double within = 0;
  std::optional<std::size_t> members;  ///< the largest number of them; unset: nodes stay
  std::size_t beginning = 0;  ///< of these, how many begin
  bool joins = false;
  std::chrono::nanoseconds leave_after{};  ///< 0: at --until with the others
  double admit = 0;  ///< the radius within which models are let in; 0: all are
  bool goes_on = false;
  bool insecure = false;
  bool attached = false;
  bool doctor = false;
  key_files keys{};
  log_level log = log_level::news;
  std::string status;  ///< where this node, or all, serve how they stand
  std::string status_token;  ///< a file
  std::vector<std::string> given;  ///< names of given options that race does not have, as written
};

/// An option that race does not have.
struct peer_row {
  char const* name;
  char const* value;
  std::string initial;
  char const* help;
  void (*set)(peer_choice&, given);
};

namespace detail {

inline void set_transport(peer_choice& c, given g) {
  if (g.text != "tcp" && g.text != "shared_memory" && g.text != "udp" && g.text != "mpi")
    refuse(g, "tcp, shared_memory, udp or mpi");
  c.transport = g.text;
}

inline void set_log(peer_choice& c, given g) {
  if (g.text != "news" && g.text != "warnings") refuse(g, "news or warnings");
  c.log = g.text == "news" ? log_level::news : log_level::warnings;
}

inline void set_launch(peer_choice& c, given g) {
  constexpr std::pair<std::string_view, launcher> all[] = {{"slurm", launcher::slurm},
                                                           {"openmpi", launcher::openmpi},
                                                           {"torchrun", launcher::torchrun},
                                                           {"kubernetes", launcher::kubernetes}};
  c.launch_auto = g.text == "auto";
  for (auto const& [name, by] : all) {
    if (g.text == name) c.launch = by;
  }
  if (!c.launch_auto && !c.launch) refuse(g, "auto, slurm, openmpi, torchrun or kubernetes");
}

inline void set_port(peer_choice& c, given g) {
  constexpr auto right = std::string_view{"a port from 1 to 65535"};
  auto const port = count_in(g, 1, right);
  if (port > 65535) refuse(g, right);
  c.hosts.port = static_cast<std::uint16_t>(port);
}

inline void set_drop(peer_choice& c, given g) {
  constexpr auto right = std::string_view{"a probability from 0 (included) to 1 (excluded)"};
  c.drop = number_in(g, 0, right);
  if (c.drop >= 1) refuse(g, right);
}

inline void set_listener(peer_choice& c, given g) {
  auto const parts = list_in(g.text);
  if (parts.empty() || parts.size() > 2) refuse(g, "a descriptor, or two");
  auto const number = [&](std::string const& text) {
    return static_cast<int>(count_in({g.option, text}, 3, "a descriptor from 3 up"));
  };
  c.listener = number(parts[0]);
  if (parts.size() == 2) c.key_listener = number(parts[1]);
}

/// How long others are waited for.
inline auto wait_in(given g) -> std::chrono::nanoseconds {
  auto const time = duration_in(g);
  if (time < std::chrono::milliseconds{1}) refuse(g, "a time of 1ms or more");
  return time;
}

template<class Row, class Choice>
void add_peer_row(CLI::App& app, Row const& row, Choice& choice) {
  auto const set = [&choice, row](std::vector<std::string> const& texts) {
    if (texts.size() != 1) throw config_error{std::string{row.name} + " is given several times; give it once"};
    row.set(choice, {row.name, texts.front()});
    choice.given.emplace_back(row.name);
    return true;
  };
  auto const help = row.initial.empty() ? std::string{row.help} : row.help + (" (default: " + row.initial) + ")";
  app.add_option(
         row.name, [set](CLI::results_t const& texts) { return set(texts); }, help)
      ->type_name(row.value)
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  if (!row.initial.empty()) row.set(choice, {row.name, row.initial});
}

}  // namespace detail

/// The options of race that this program uses. Where each node is a process, one algorithm runs unless more are named.
[[nodiscard]] inline auto rows_heeded(heeder by) -> std::vector<option_row> {
  auto rows = option_rows();
  std::erase_if(rows, [by](option_row const& row) { return (row.heeded & by) == 0; });
  for (auto& row : rows) {
    if (std::string_view{row.name} == "--algorithms") row.initial = "r_fast";
    if (by == by_peer && std::string_view{row.name} == "--nodes")
      row.help = "nodes that compute gradients; to be given, unless --topology names a file";
  }
  return rows;
}

/// Where processes are, for peer and cluster.
[[nodiscard]] inline auto hosts_rows() -> std::vector<peer_row> {
  return {{"--hosts", "FILE", "",
           "where the nodes are: one host a line, as node1 slots=2 or node2:7100; # begins a comment",
           [](peer_choice& c, given g) { c.hosts.file = file_in(g); }},
          {"--port", "P", "",
           "port of a host's first node; the next ones take the ports after it (default: 7000, or the one after "
           "torchrun's)",
           detail::set_port}};
}

/// Options that cluster also takes and passes on to its peers.
[[nodiscard]] inline auto shared_rows() -> std::vector<peer_row> {
  return {
      {"--transport", "tcp|shared_memory|udp|mpi", "tcp",
       "transport of the messages; shared_memory is for processes of one machine; mpi needs mpirun, and takes the rank "
       "as --id",
       detail::set_transport},
      {"--drop", "P", "0", "probability with which udp drops a datagram before sending it", detail::set_drop},
      {"--within", "D", "0",
       "fail unless models end within this distance of the optimum of a quadratic; 0: do not check",
       [](peer_choice& c, given g) { c.within = number_in(g, 0, "a number of 0 or more"); }},
      {"--arrival", "T", "10s", "time within which all peers must connect, and a lost server must come back (--go-on)",
       [](peer_choice& c, given g) { c.arrival = detail::wait_in(g); }},
      {"--silence", "T", "5s", "time after which a silent peer counts as dead",
       [](peer_choice& c, given g) { c.silence = duration_in(g); }},
      {"--admit", "RADIUS", "0",
       "let a neighbour's model in only if it is within this distance of the node's own, which else stands in for it; "
       "0: let all in",
       [](peer_choice& c, given g) { c.admit = number_in(g, 0, "a number of 0 or more"); }},
      {"--checkpoint", "DIR", "",
       "folder in which nodes are saved from time to time, as DIR/ALGORITHM/node-I.checkpoint, or, where all go on "
       "together, as node-I.round-K.checkpoint",
       [](peer_choice& c, given g) { c.checkpoint.folder = folder_in(g); }},
      {"--every", "T", "30s", "time between two checkpoints of a node",
       [](peer_choice& c, given g) { c.checkpoint.every = duration_in(g); }},
      {"--every-rounds", "N", "1000",
       "rounds between two checkpoints of algorithms that need every node, and go on together from one round",
       [](peer_choice& c, given g) { c.checkpoint.every_rounds = count_in(g, 1, "a whole number from 1 up"); }},
      {"--round", "K", "", "round from which these are to --resume (default: the newest that all have)",
       [](peer_choice& c, given g) { c.checkpoint.round = count_in(g, 0, "a whole number from 0 up"); }},
      {"--members", "N", "",
       "let nodes come and go: there is room for N, of which --nodes begin; each needs links with all others",
       [](peer_choice& c, given g) {
         constexpr auto right = std::string_view{"a whole number from 1 to 1024, since each needs links with all"};
         if (count_in(g, 1, right) > 1024) refuse(g, right);
         c.members = count_in(g, 1, right);
       }},
      {"--log", "news|warnings", "news", "what nodes say while they run: all news, or only what may spoil the result",
       detail::set_log},
      {"--pace", "K", "4",
       "gradients that a node which waits for nobody begins at full speed after each neighbour's newest message; "
       "0: no pace",
       [](peer_choice& c, given g) {
         constexpr auto most = std::uint64_t{1'000'000'000};
         c.pace.ahead = static_cast<std::uint32_t>(std::min(count_in(g, 0, "a whole number from 0 up"), most));
       }}};
}

[[nodiscard]] inline auto peer_rows() -> std::vector<peer_row> {
  auto rows = shared_rows();
  rows.push_back({"--id", "I", "0", "which node of the run this process is",
                  [](peer_choice& c, given g) { c.id = count_in(g, 0, "a whole number from 0 up"); }});
  rows.push_back({"--restart", "K", "0",
                  "how often this node was started before, if the others --go-on: it then draws other samples",
                  [](peer_choice& c, given g) { c.restart = count_in(g, 0, "a whole number from 0 up"); }});
  rows.push_back({"--leave-after", "T", "",
                  "of a run with --members: leave the others in order after this time, as after Ctrl-C or SIGTERM",
                  [](peer_choice& c, given g) { c.leave_after = detail::wait_in(g); }});
  rows.push_back({"--run", "NAME", "",
                  "name of the run, over shared_memory: the same at each node, and of no other run of this machine",
                  [](peer_choice& c, given g) { c.run = g.text; }});
  rows.push_back({"--peers", "HOST:PORT,...", "", "addresses of all nodes, by id",
                  [](peer_choice& c, given g) { c.peers = g.text; }});
  rows.push_back({"--launch", "auto|slurm|openmpi|torchrun|kubernetes", "",
                  "take --id, --peers and, if it is not given, --nodes from what srun, mpirun, torchrun or a stateful "
                  "set has put into the environment; --hosts says where hosts are that it does not tell",
                  detail::set_launch});
  for (auto& row : hosts_rows()) rows.push_back(std::move(row));
  rows.push_back(
      {"--listener", "FD[,FD]", "",
       "a descriptor that is already bound to this node's address; over udp with a key, another one that listens on "
       "TCP at the same port",
       detail::set_listener});
  rows.push_back(
      {"--key", "FILE", "",
       "secret of the run, over tcp and udp, in a file that nobody else can read: what is said is encrypted, and "
       "who has no key is turned away; made if it is not there and all nodes are on this machine",
       [](peer_choice& c, given g) { c.keys.key = file_in(g); }});
  rows.push_back({"--certificates", "DIR", "",
                  "the same, with DIR/authority.pem and this node's DIR/node-I.pem and DIR/node-I.key (examples/keys "
                  "makes them), so that each node can speak as itself alone",
                  [](peer_choice& c, given g) { c.keys.certificates = folder_in(g); }});
  rows.push_back({"--status", "ADDRESS,...", "",
                  "where nodes serve how they stand (/metrics, /status.json, and / for a browser): one address a node, "
                  "by id, or one for this node alone, as 127.0.0.1:8000 or unix:PATH",
                  [](peer_choice& c, given g) {
                    if (g.text.empty()) refuse(g, "an address, as 127.0.0.1:8000 or unix:PATH");
                    c.status = g.text;
                  }});
  rows.push_back({"--status-token", "FILE", "",
                  "the token that readers of a status must show, in a file that nobody else can read; made if it is "
                  "not there (default: a new one, printed with the page's address)",
                  [](peer_choice& c, given g) { c.status_token = file_in(g); }});
  rows.push_back({"--report", "FILE", "",
                  "file for the results of this process; FILE.models gets its models; where --launch or MPI gives "
                  "the id, it is FILE-I",
                  [](peer_choice& c, given g) { c.report = file_in(g); }});
  return rows;
}

/// Throws config_error unless members can come and go with these options, or if they are for such runs alone.
inline void refuse_members(peer_choice const& c) {
  auto const is_given = [&](std::string const& name) {
    return was_given(c.race, name) || std::find(c.given.begin(), c.given.end(), name) != c.given.end();
  };
  if (!c.members) {
    if (c.joins || is_given("--leave-after"))
      throw config_error{std::string{c.joins ? "--join" : "--leave-after"} +
                         " has no effect without --members, with which nodes come and go"};
    return;
  }
  if (c.transport != "tcp" && c.transport != "shared_memory")
    throw config_error{"--members is for --transport tcp and shared_memory, not " + c.transport +
                       (c.transport == "udp" ? ", which may lose the last message to a node"
                                             : ", whose processes all start together")};
  if (c.beginning > *c.members)
    throw config_error{"--nodes " + std::to_string(c.beginning) + " cannot begin where --members leaves room for " +
                       std::to_string(*c.members)};
  constexpr std::pair<char const*, char const*> excluded[] = {
      {"--pace", "a node would wait for others that send nothing at present"},
      {"--checkpoint", "who comes back begins with a neighbour's model"},
      {"--record", "a replay knows nothing of who came and went"},
      {"--launch", "a launcher starts all nodes; give --id and --peers, or --hosts"},
      {"--doctor", "it meets all nodes of a run, and these need not all be there"}};
  for (auto const& [name, why] : excluded)
    if (is_given(name)) throw config_error{std::string{name} + " and --members exclude each other: " + why};
  auto const is_server = c.id >= *c.members;
  if (is_server && (c.joins || is_given("--leave-after")))
    throw config_error{"node " + std::to_string(c.id) +
                       " is the server of this run, and no member of it: it takes no " +
                       (c.joins ? "--join" : "--leave-after")};
  if (c.restart > 0 && !c.joins && !is_server)
    throw config_error{"--restart of a member needs --join: it comes back to a run that goes on"};
  if (!c.joins && !is_server && c.id >= c.beginning)
    throw config_error{"node " + std::to_string(c.id) + " is none of the " + std::to_string(c.beginning) +
                       " --nodes that begin: it can --join once they have begun"};
  if (is_given("--leave-after") && c.leave_after >= c.race.until)
    throw config_error{"--leave-after has no effect from --until on, where the run ends"};
}

/// Throws config_error for a given option that has no effect because of the others.
inline void refuse_idle(peer_choice const& c) {
  auto const refuse_if = [&](bool idle, std::string const& name, std::string const& why) {
    if (idle && std::find(c.given.begin(), c.given.end(), name) != c.given.end()) {
      throw config_error{name + " has no effect " + why};
    }
  };
  refuse_members(c);
  refuse_if(c.transport != "udp", "--drop",
            "over " + c.transport + ", which loses no message: it is for --transport udp");
  refuse_if(!c.race.quadratic, "--within",
            "on --problem softmax, whose optimum is not known: it is for --problem quadratic:DIMENSION");
  for (auto const* const name : {"--id", "--peers", "--launch", "--hosts", "--port", "--listener", "--insecure"}) {
    refuse_if(c.transport == "mpi", name,
              "under MPI, where the rank of a process is its id and mpirun knows where all are");
  }
  for (auto const* const name : {"--peers", "--launch", "--hosts", "--port", "--listener", "--insecure"}) {
    refuse_if(c.transport == "shared_memory", name,
              "over shared_memory, where all nodes are on this machine and find each other by the name of their --run");
  }
  auto const is_launched = c.launch || c.launch_auto;
  for (auto const* const name : {"--id", "--peers"})
    refuse_if(is_launched, name, "beside --launch, which takes it from the launcher");
  refuse_if(!c.hosts.file.empty(), "--peers", "beside --hosts, which says where the nodes are");
  refuse_if(c.hosts.file.empty() && !is_launched, "--port", "without --hosts or --launch");
  for (auto const* const name : {"--key", "--certificates"})
    refuse_if(c.transport != "tcp" && c.transport != "udp", name,
              "over " + c.transport + ": it is for --transport tcp and udp");
  if (c.key_listener && !(c.transport == "udp" && c.keys.are_asked_for()))
    throw config_error{"--listener takes two descriptors over udp with a key alone"};
  if (!c.keys.key.empty() && !c.keys.certificates.empty())
    throw config_error{"--key and --certificates exclude each other: a node shows that it belongs to the run by one"};
  refuse_if(
      c.keys.are_asked_for(), "--insecure",
      "beside " + std::string{c.keys.key.empty() ? "--certificates" : "--key"} + ", with which nothing is in plain");
  if (c.doctor && c.transport != "tcp" && c.transport != "udp")
    throw config_error{"--doctor has no effect over " + c.transport + ": it is for --transport tcp and udp"};
  refuse_if(c.transport != "shared_memory", "--run", "over " + c.transport + ": it is for --transport shared_memory");
  refuse_if(c.status.empty(), "--status-token", "without --status");
  auto const none = std::string{"without a --checkpoint, the folder of the files"};
  refuse_if(c.checkpoint.folder.empty(), "--every", none);
  refuse_if(c.checkpoint.folder.empty(), "--every-rounds", none);
  for (auto const* const name : {"--resume", "--resume-if-there"}) refuse_if(c.checkpoint.folder.empty(), name, none);
  if (c.checkpoint.resume && c.resume_if_there) {
    throw config_error{
        "--resume and --resume-if-there exclude each other: the first refuses a node that has no file, and the second "
        "lets it begin anew"};
  }
  auto const resumes = c.checkpoint.resume || c.resume_if_there;
  refuse_if(!resumes, "--round", "without --resume");
  refuse_if(!c.goes_on, "--restart",
            "without --go-on: all nodes of such a run end with the one that dies, and begin together");
  refuse_if(resumes, "--restart", "on a node that goes on from its checkpoint, which includes its draws");
  if (resumes && !c.race.record.empty()) {
    throw config_error{"--record and --resume exclude each other: replay begins with a node's first event"};
  }
  if (c.restart > 0 && !c.race.record.empty()) {
    throw config_error{"--record and --restart exclude each other: replay begins with the first start of a node"};
  }
  refuse_without_samples(c.race);
}

/// Sets options that follow from the others: over udp a block must fit a datagram, and 256 floats do; nodes go on
/// without members that go, and the run is of as many nodes as there may be members.
inline void settle(peer_choice& c) {
  c.race.block_values = c.transport == "udp" ? 256 : 0;
  if (!c.members || c.race.members_come_and_go) return;
  c.goes_on = true;
  c.beginning = c.race.nodes.value_or(*c.members);
  c.race.nodes = std::max(*c.members, c.beginning);
  c.race.members_come_and_go = true;
}

/// Flags of peer and cluster.
inline void add_shared_flags(CLI::App& app, peer_choice& choice) {
  auto const set = [&choice](std::int64_t) {
    choice.checkpoint.resume = true;
    choice.given.emplace_back("--resume");
  };
  app.add_flag_function("--resume", set, "go on from the files of --checkpoint; --until counts from then on");
  auto const set_if_there = [&choice](std::int64_t) {
    choice.resume_if_there = true;
    choice.given.emplace_back("--resume-if-there");
  };
  app.add_flag_function("--resume-if-there", set_if_there, "the same, but a node that has no file yet begins anew");
  app.add_flag("--go-on", choice.goes_on, "go on without peers that are lost, instead of ending with a sentence");
}

inline void add_insecure(CLI::App& app, peer_choice& choice) {
  auto const set = [&choice](std::int64_t) {
    choice.insecure = true;
    choice.given.emplace_back("--insecure");
  };
  app.add_flag_function("--insecure", set, "allow addresses beyond this machine, unencrypted");
}

/// What is saved where, of one node of this algorithm.
[[nodiscard]] inline auto checkpoints_of(peer_choice const& c, std::string const& algorithm, node_id self)
    -> checkpoint_options {
  auto o = c.checkpoint;
  if (o.folder.empty()) return o;
  o.folder /= algorithm;
  if (c.resume_if_there && has_checkpoint(o, self)) o.resume = true;
  return o;
}

/// Takes the place that a launcher has given this process. Throws config_error.
inline void take_place(peer_choice& c) {
  if (c.launch_auto) c.launch = launcher_of(&own_variables);
  if (!c.launch) return;
  auto const here = examples::launched(*c.launch, &own_variables, c.hosts);
  c.id = here.id;
  c.launched = here.addresses.size();
  c.peers = peers_text(here.addresses);
  if (!c.report.empty()) c.report += "-" + std::to_string(c.id);  // all are told the same
  if (was_given(c.race, "--nodes")) return;
  c.race.nodes = c.launched;  // of which peer takes servers away
}

/// Empty after --help. Throws config_error with one sentence.
[[nodiscard]] inline auto read_peer_line(int argc, char const* const* argv) -> std::optional<peer_choice> {
  peer_choice choice;
  CLI::App app{"Runs one node of a decentralised run; start one such process for each node.", "peer"};
  app.set_help_flag("--help,-h", detail::help_text);
  for (auto const& row : peer_rows()) detail::add_peer_row(app, row, choice);
  for (auto const& row : rows_heeded(by_peer)) detail::add_row(app, row, choice.race);
  add_shared_flags(app, choice);
  add_insecure(app, choice);
  app.add_flag("--join", choice.joins,
               "come to a run with --members that goes on, or back to it (with --restart): begin with the model of one "
               "who is there");
  app.add_flag("--attached", choice.attached, "end when standard input does, as cluster --hosts has its peers do");
  auto const set_doctor = [&choice](std::int64_t) {
    choice.doctor = true;
    choice.given.emplace_back("--doctor");
  };
  app.add_flag_function(
      "--doctor", set_doctor,
      "run nothing: started at all nodes, meet them all, and print what would go wrong, over tcp and udp");
  app.add_flag("--quiet", choice.race.quiet, "print nothing when all goes well");
  choice.race.algorithms = {"r_fast"};
  if (!detail::parsed(app, argc, argv, choice.race, [&] { settle(choice); })) return std::nullopt;
  settle(choice);
  refuse_idle(choice);
  if (choice.race.quiet && !choice.status.empty() && choice.status_token.empty())
    throw config_error{"--status with --quiet needs a --status-token: who reads the page must know its token"};
  if (choice.race.algorithms.size() != 1) throw config_error{"a peer runs one algorithm; give --algorithms one name"};
  take_place(choice);
  if (choice.launched == 0 && !was_given(choice.race, "--nodes") && !choice.race.topology.starts_with("file:"))
    throw config_error{"--nodes is missing: say how many nodes of this run compute gradients, the same at each peer"};
  return choice;
}

}  // namespace rubato::examples
