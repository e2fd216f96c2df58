// SPDX-License-Identifier: MIT
// race with one process a node: starts a `peer` for each on this machine, over shared memory or on ports that the
// system chooses (or has mpirun start them, or ssh on the machines of a hosts file), and joins what they report into
// race's table and files. No peer outlives it, nor their time by more than half a minute and twice the silence in which
// others count as dead. Exit status: 0 done, 1 a run failed, 2 something that was asked for cannot be, here or at a
// peer, 3 done, but without some node (--go-on), 130 interrupted.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/report/access_token.hpp>
#include <rubato/report/nlohmann_json.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/transport/shared_memory.hpp>
#if RUBATO_EXAMPLES_HAVE_OPENSSL
#include <rubato/transport/tls.hpp>
#endif
#include <rubato/transport/tcp.hpp>
#include <rubato/transport/udp.hpp>
#include <rubato/wire/xxhash.hpp>

#include "support/checkpoint_folders.hpp"
#include "support/children.hpp"
#include "support/cluster_members.hpp"
#include "support/follower.hpp"
#include "support/listener.hpp"
#include "support/over_ssh.hpp"
#include "support/peer_problem.hpp"
#include "support/private_folder.hpp"
#include "support/race_report.hpp"
#include "support/reserved_ports.hpp"
#include "support/say.hpp"

namespace {

namespace examples = rubato::examples;
namespace status = rubato::examples::status;
namespace fs = std::filesystem;

/// Peers have a key where there is OpenSSL.
#if RUBATO_EXAMPLES_HAVE_OPENSSL
constexpr auto most_in_a_datagram = rubato::transport::udp::sealed_bytes;
#else
constexpr auto most_in_a_datagram = rubato::transport::udp::datagram_bytes;
#endif

struct choice : examples::peer_choice {
  std::string program;  // of a peer
  std::vector<std::string> passed_on;  // arguments that peers take as they are
  std::vector<std::string> status_addresses;  // of as many nodes as any run has
  std::vector<examples::host> machines;  // of --hosts; empty: all are on this one
};

/// Where the peers of a run write; of one run after the other.
class workplace : public examples::private_folder {
 public:
  workplace() : private_folder{"rubato-cluster", &remove_memory} {}
  [[nodiscard]] auto report(std::size_t i) const -> std::string { return path("node-" + std::to_string(i)); }
  [[nodiscard]] auto results(std::size_t i) const -> std::string { return report(i) + ".results"; }
  [[nodiscard]] auto output(std::size_t i) const -> std::string { return report(i) + ".output"; }
  [[nodiscard]] auto outputs(std::size_t n) const -> std::vector<std::string> {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < n; ++i) all.push_back(output(i));
    return all;
  }
  /// A secret of this run, which keeps other users out of it; empty where there is no OpenSSL.
  [[nodiscard]] auto key() const -> std::string {
#if RUBATO_EXAMPLES_HAVE_OPENSSL
    auto const file = path("run.key");
    if (!fs::exists(file)) rubato::transport::make_key(file);
    return file;
#else
    return {};
#endif
  }
  /// The name of a run in shared memory, as unique as the folder.
  [[nodiscard]] auto run() const -> std::string { return run_in(fs::path{path("x")}.parent_path()); }

 private:
  static auto run_in(fs::path const& folder) -> std::string { return folder.filename().string(); }
  /// Of peers that were killed.
  static void remove_memory(std::string const& folder) {
    rubato::transport::shared_memory::remove_left_overs(run_in(folder));
  }
};

/// Sockets of all nodes, one each, and over UDP another one where keys are agreed on; closed here once every child has
/// its own.
struct doors {
  /// This process has `more` open by then.
  doors(std::size_t n, std::string const& transport, bool has_keys, std::size_t more) {
    auto const sockets = transport == "udp" && has_keys ? std::size_t{2} : std::size_t{1};
    auto const others = 32 + more;  // what this process has open beside them
    auto files = rlimit{};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < sockets * n + others)
      throw rubato::config_error{std::to_string(n) + " processes need " +
                                 (sockets == 1 ? "a socket" : std::to_string(sockets) + " sockets") +
                                 " each, and this system lets one process "
                                 "open " +
                                 std::to_string(files.rlim_cur) +
                                 " files: take fewer nodes, or raise "
                                 "ulimit -n"};
    constexpr auto here = "127.0.0.1:0";
    for (std::size_t i = 0; i < n; ++i) {
      if (sockets == 2) {
        auto const both = rubato::transport::open_udp_sockets(here);
        add(both.datagrams.address, {both.datagrams.descriptor, both.calls.descriptor});
      } else {
        auto const one =
            transport == "udp" ? rubato::transport::open_udp_socket(here) : rubato::transport::open_tcp_socket(here);
        add(one.address, {one.descriptor});
      }
    }
  }
  doors(doors const&) = delete;
  auto operator=(doors const&) -> doors& = delete;
  ~doors() {
    for (auto const d : all) close(d);
  }
  void add(std::string const& address, std::vector<int> descriptors) {
    addresses += (addresses.empty() ? "" : ",") + address;
    all.insert(all.end(), descriptors.begin(), descriptors.end());
    of_node.push_back(std::move(descriptors));
  }
  /// As --listener takes them.
  [[nodiscard]] auto listener(std::size_t i) const -> std::string {
    auto text = std::to_string(of_node[i].front());
    return of_node[i].size() == 1 ? text : text + "," + std::to_string(of_node[i].back());
  }
  std::vector<std::vector<int>> of_node;
  std::vector<int> all;
  std::string addresses;
};

/// What a peer said before it failed: its last sentence, or the first line of who is not of rubato (mpirun). Of ranks
/// that a signal ended mpirun knows more than those that it then ended too. One that crashed said why in its last line.
auto last_words(std::string const& file, bool has_crashed) -> std::string {
  auto first = std::string{}, sentence = std::string{};
  for (auto const& line : examples::follower{file}.next(true)) {
    if (line.starts_with("mpirun noticed that process rank") && line.find("on signal") != line.npos) return line;
    if (line.find_first_not_of("- ") == line.npos) continue;
    if (has_crashed || line.starts_with("peer: ")) sentence = line;
    if (first.empty()) first = line;
  }
  if (!sentence.empty()) return rubato::escaped(sentence, 1000);
  return first.empty() ? "it said nothing" : rubato::escaped(first, 1000);
}

auto was_given(choice const& c, std::string const& name) -> bool {
  return std::find(c.given.begin(), c.given.end(), name) != c.given.end();
}

/// What a peer of this algorithm, one of n, is told beside what is passed on as it came.
auto own_arguments(choice const& c, std::string const& algorithm, std::size_t n) -> std::vector<std::string> {
  std::vector<std::string> all{"--algorithms", algorithm, "--quiet"};
  if (auto const& served = c.status_addresses; !served.empty()) {
    auto list = served.front();
    for (std::size_t i = 1; i < n; ++i) list += "," + served.at(i);
    all.insert(all.end(), {"--status", list});
    if (c.machines.empty()) all.insert(all.end(), {"--status-token", c.status_token});  // ssh brings it elsewhere
  }
  if (!was_given(c, "--transport")) all.insert(all.end(), {"--transport", c.transport});
  if (!examples::was_given(c.race, "--nodes"))
    all.insert(all.end(), {"--nodes", std::to_string(c.members ? c.beginning : *c.race.nodes)});
  for (auto s : examples::settings_of(c.race, algorithm).set) {
    s.algorithm.clear();
    all.insert(all.end(), {"--set", s.written()});
  }
  all.insert(all.end(), c.passed_on.begin(), c.passed_on.end());
  return all;
}

/// mpirun starts the ranks, more of them than there are cores if need be. Returns how many children there are.
auto start_ranks(examples::children& peers, choice const& c, std::string const& algorithm, workplace const& place,
                 std::size_t n) -> std::size_t {
  setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
  setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 0);
  std::vector<std::string> command{"/usr/bin/env", "mpirun",          "-n", std::to_string(n), c.program,
                                   "--report",     place.path("node")};
  auto const rest = own_arguments(c, algorithm, n);
  command.insert(command.end(), rest.begin(), rest.end());
  peers.start({command, {}, {}, place.output(0), std::chrono::seconds{3}});  // a second of which it gives to its ranks
  return 1;
}

/// Where the n processes of a run are, on other machines. Throws config_error if there is not room for so many.
auto seats_of(choice const& c, std::size_t n) -> std::vector<examples::seat> {
  return examples::seats_on(c.machines, c.hosts.file, c.hosts.port.value_or(examples::usual_port), n);
}

/// ssh starts the peers. Without --insecure each gets the key of the run through it.
void start_over_ssh(examples::children& peers, choice const& c, std::string const& algorithm, workplace const& place,
                    std::size_t n) {
  auto key = std::string{};
  if (!c.insecure && c.transport != "shared_memory") {
    std::ifstream file{place.key()};  // of no name where there is no OpenSSL
    std::getline(file, key);
  }
  auto const seats = seats_of(c, n);
  auto const addresses = examples::peers_text(examples::addresses_of(seats));
  auto const rest = own_arguments(c, algorithm, n);
  auto const token = c.status_addresses.empty() ? std::string{} : rubato::report::token_in(c.status_token);
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<std::string> peer{c.program, "--id", std::to_string(i), "--peers", addresses};
    peer.insert(peer.end(), rest.begin(), rest.end());
    peers.start({.command = examples::ssh_command(seats[i].host, fs::current_path(), peer),
                 .output = place.output(i),
                 .grace = std::chrono::seconds{3},
                 .results = place.results(i),
                 .input = key + "\n" + token + "\n"});
  }
}

auto start_all(examples::children& peers, choice const& c, std::string const& algorithm, workplace const& place,
               std::size_t n) -> std::size_t {
  if (c.transport == "mpi") return start_ranks(peers, c, algorithm, place, n);
  if (!c.machines.empty()) {
    start_over_ssh(peers, c, algorithm, place, n);
    return n;
  }
  auto const by_memory = c.transport == "shared_memory";
  auto const key = by_memory ? std::string{} : place.key();
  doors const ports{by_memory ? 0 : c.members.value_or(n), c.transport, !key.empty(), c.status_addresses.size()};
  auto const rest = own_arguments(c, algorithm, c.members.value_or(n));
  if (c.members) {
    auto where = by_memory ? std::vector<std::string>{"--run", place.run()}
                           : std::vector{std::string{"--peers"}, ports.addresses};
    if (!key.empty()) where.insert(where.end(), {"--key", key});
    where.insert(where.end(), rest.begin(), rest.end());
    if (!c.race.quiet) examples::say(examples::words_of_room(c.program, std::move(where), n, *c.members));
  }
  auto const to_save =
      c.checkpoint.folder.empty() ? std::chrono::seconds{} : std::chrono::seconds{10};  // their last state
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<std::string> command{c.program, "--id", std::to_string(i), "--report", place.report(i)};
    auto kept = std::vector<int>{};
    if (by_memory) {
      command.insert(command.end(), {"--run", place.run()});
    } else {
      kept = ports.of_node[i];
      command.insert(command.end(), {"--peers", ports.addresses, "--listener", ports.listener(i)});
      if (!key.empty()) command.insert(command.end(), {"--key", key});
    }
    command.insert(command.end(), rest.begin(), rest.end());
    peers.start({command, kept, ports.all, place.output(i), to_save});
  }
  return n;
}

/// How near a peer's end is to the cause of all: that of one that a signal ended, that was asked for what cannot be or
/// that failed by itself. The others then end because of it, with a status of their own.
auto explains(examples::child_ending const& end) -> int {
  if (end.signal != 0) return 4;
  if (end.status == status::done) return 0;
  if (end.status == status::bad_input) return 3;
  return end.status == status::failed_elsewhere ? 1 : 2;
}

auto sentence_of(examples::child_ending const& end, choice const& c, workplace const& place) -> std::string {
  auto who = c.transport == "mpi" ? "mpirun" : "the process of node " + std::to_string(end.which);
  if (!c.machines.empty()) who += " on " + seats_of(c, end.which + 1).back().host;
  who += " " + examples::words_of(end);
  if (end.signal != 0 && !examples::has_crashed(end)) return who;  // which is the reason, whatever it said before
  return who + ": " + last_words(place.output(end.which), end.signal != 0);
}

/// Throws what ended the run: run_error, or config_error where a peer refused what it was given. The first to end need
/// not be the one at fault, so the others get three seconds to end too, and the one is named that explains most.
[[noreturn]] void report_failure(examples::children& peers, examples::child_ending first, choice const& c,
                                 workplace const& place, std::size_t others) {
  auto const latest = std::chrono::steady_clock::now() + std::chrono::seconds{3};
  auto most = explains(first);
  for (; others > 0 && most < 4 && !examples::interrupted(); --others) {
    auto const other = peers.next_end(latest);
    if (!other) break;
    if (explains(*other) <= most) continue;
    first = *other;
    most = explains(first);
  }
  auto const sentence = sentence_of(first, c, place);
  if (first.signal == 0 && first.status == status::bad_input) throw rubato::config_error{sentence};
  throw rubato::run_error{sentence};
}

/// With --go-on, where the process of the server has ended.
[[noreturn]] void throw_without_server(examples::child_ending const& end, choice const& c, workplace const& place) {
  throw rubato::run_error{sentence_of(end, c, place) + "; it is the server, without which the others cannot go on"};
}

/// How the peers of a run ended that did not fail as a whole.
struct endings {
  std::set<std::size_t> lost;  // nodes without which the others went on
  std::vector<std::string> sentences;  // about each of them
  bool parted = false;  // some node was without another one at its end
};

/// Whether the others can go on without the process that ended so.
auto may_go_on_without(examples::child_ending const& end, choice const& c) -> bool {
  return c.goes_on && c.transport != "mpi" && (end.signal != 0 || end.status != status::bad_input);
}

void tell(std::string const& sentence) { std::fprintf(stderr, "cluster: %s\n", sentence.c_str()); }

/// Until all have ended; throws what report_failure throws, or run_error if they do not end. Where nodes go on, what
/// they say is passed on as it comes, and those that do not end are ended and count as lost.
auto await_all(examples::children& peers, choice const& c, workplace const& place, std::size_t n, std::size_t computing,
               examples::listener& heard) -> endings {
  auto latest = rubato::transport::later(c.race.until + c.arrival + 2 * c.silence + std::chrono::seconds{30});
  auto may_end_them = c.goes_on && c.transport != "mpi";
  endings all;
  for (std::size_t ended = 0; ended < n;) {
    if (examples::interrupted()) return all;
    auto const end = peers.next_end(std::chrono::steady_clock::now() + std::chrono::milliseconds{50});
    if (c.goes_on) heard.pass_on(tell);
    if (std::chrono::steady_clock::now() > latest && std::exchange(may_end_them, false)) {
      for (auto const i : peers.end_rest())
        tell("node " + std::to_string(i) + " has not ended with the others, and is ended");
      latest = rubato::transport::later(std::chrono::seconds{10});
    }
    if (std::chrono::steady_clock::now() > latest) {
      throw rubato::run_error{"of " + std::to_string(n) + " peers only " + std::to_string(ended) +
                              " ended in time; the others were ended by signal " + std::to_string(SIGKILL) + " (" +
                              strsignal(SIGKILL) + ")"};
    }
    if (!end) continue;
    ++ended;
    auto const is_cut_off = end->signal == 0 && end->status == status::cut_off && c.goes_on;
    all.parted = all.parted || is_cut_off;
    if (is_cut_off || (end->status == status::done && end->signal == 0)) continue;
    if (may_go_on_without(*end, c) && end->which >= computing) throw_without_server(*end, c, place);
    if (!may_go_on_without(*end, c) || all.lost.size() + 1 == n) report_failure(peers, *end, c, place, n - ended);
    all.lost.insert(end->which);
    all.sentences.push_back(sentence_of(*end, c, place) + "; its results are missing");
    tell(sentence_of(*end, c, place) + "; the others go on");
  }
  return all;
}

/// An algorithm, and the processes that it needs: a server is one too.
struct competitor {
  std::string algorithm;
  std::size_t processes;  // those that begin
  std::size_t computing;  // of these; a server follows
  std::vector<std::string> arguments;  // what its peers are told of the round from which they go on together
  examples::held_folder saved;
  std::vector<std::string> told{};  // what peers need not say of their checkpoints, too
};

/// The newest round of which all files are here and whole, where nodes go on together.
auto round_of_all(choice const& c, std::string const& algorithm, std::size_t n) -> std::optional<std::uint64_t> {
  if (!examples::resumes(c) || c.checkpoint.round) return c.checkpoint.round;
  auto o = c.checkpoint;
  o.folder /= algorithm;
  std::vector<rubato::node_id> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(rubato::to_node(i));
  auto const newest = rubato::newest_common_round(o, all);
  if (!newest) return {};
  if (!newest->remark.empty()) std::fprintf(stderr, "cluster: %s\n", newest->remark.c_str());
  return newest->done;
}

/// Throws config_error where that node's process would: assembles it and, where it goes on, reads its state, as that
/// process will. Returns the bytes that its checkpoints take.
auto refuse_as_a_peer(rubato::assembly& a, rubato::node_id node, choice c, std::optional<std::uint64_t> round)
    -> std::uint64_t {
  examples::refuse_going_on(c, a, node);
  auto const me = rubato::identity_of(a, node, &rubato::wire::xxh3_of);
  if (c.transport == "udp") rubato::transport::udp::refuse_unfit(me, most_in_a_datagram);
  examples::admit_as_asked(a, node, c);
  auto saves = examples::checkpoints_of(c, c.race.algorithms.front(), node);
  if (saves.folder.empty()) return 0;
  saves.round = round;
  saves.subject = examples::setting_of(c);
  static_cast<void>(rubato::detail::pace_one(a, node, c.pace));
  auto checkpoints = rubato::detail::node_checkpoints{saves, a, node};
  auto host = rubato::detail::hosted_node{a.nodes[rubato::to_index(node)], rubato::to_index(node)};
  if (saves.resume) static_cast<void>(checkpoints.restore_into(host, a.pool));
  return checkpoints.least_bytes(host);
}

/// Says what of a folder is ignored or missing where a run goes on.
void tell_of_folder(choice const& c, competitor& it, rubato::assembly const& a) {
  if (!examples::resumes(c)) return;
  auto o = c.checkpoint;
  o.folder /= it.algorithm;
  it.told = {rubato::ignored_checkpoints(o, a.nodes.size(), a.nodes[0].common_round().has_value()),
             examples::who_begins_anew(c, it.algorithm, {0, a.nodes.size()})};
  for (std::size_t i = 0; i < a.nodes.size(); ++i)  // each says it of itself
    it.told.push_back(examples::who_begins_anew(c, it.algorithm, {i, i + 1}));
  for (std::size_t i = 0; i < 2; ++i) {
    if (!it.told[i].empty()) std::fprintf(stderr, "cluster: %s: %s\n", it.algorithm.c_str(), it.told[i].c_str());
  }
  std::erase(it.told, "");
}

/// Links between two nodes each.
auto count_of_links(rubato::assembly const& a) -> std::size_t {
  auto ends = std::size_t{0};
  for (std::size_t i = 0; i < a.nodes.size(); ++i) ends += a.factory.neighbours(i).size();
  return ends / 2;
}

/// Where shared memory is too small for so many links, TCP takes its place, unless it was asked for (config_error).
void settle_transport(choice& c, std::size_t links) {
  auto const little = c.transport == "shared_memory" ? examples::words_of_little_memory(links) : std::string{};
  if (little.empty()) return;
  if (was_given(c, "--transport")) throw rubato::config_error{"the " + little + examples::cure_of_little_memory};
  std::fprintf(stderr, "cluster: the %s, so they go over TCP\n", little.c_str());
  c.transport = "tcp";
}

/// Those of the plan. Throws config_error, before any of them runs, where peers would refuse one, and where the disk
/// has no room for its files. May change the transport.
auto competitors(examples::race_plan const& plan, choice& c) -> std::vector<competitor> {
  std::vector<competitor> all;
  auto saved = std::uint64_t{0},
       models = std::uint64_t{0};  // bytes: of all checkpoints, and of one algorithm's results
  auto links = std::size_t{0};
  std::vector<examples::resumption> on;
  auto const problem = examples::objective_of(c.race);
  for (std::size_t i = 0; i < plan.algorithms.size(); ++i) {
    auto const& name = plan.algorithms[i].told.name;
    auto a = examples::assembled(plan, i, problem).nodes;
    auto alone = c;
    alone.race.algorithms = {name};
    try {
      if (c.members && a.nodes.size() != a.peers)
        throw rubato::config_error{"with a server --members is for peers that are started by hand"};
      auto const begins = c.members ? c.beginning : a.nodes.size();
      all.push_back({name, begins, c.members ? begins : a.peers, {}, {c, name, a.nodes.size()}});
      if (examples::interrupted()) return all;
      if (!c.machines.empty()) static_cast<void>(seats_of(c, a.nodes.size()));
      examples::refuse_unsaved(c, name, a.nodes.size());
      tell_of_folder(c, all.back(), a);
      auto const round = round_of_all(c, name, a.nodes.size());
      on.push_back({name, round, examples::any_is_saved(c, name, a.nodes.size())});
      if (round && !c.checkpoint.round) all.back().arguments = {"--round", std::to_string(*round)};
      for (std::size_t node = 0; node < a.nodes.size(); ++node)
        saved += refuse_as_a_peer(a, rubato::to_node(node), alone, round);
    } catch (rubato::config_error const& e) {
      throw rubato::config_error{name + ": " + e.what()};
    }
    links = std::max(links, count_of_links(a));
    models = std::max(models, std::uint64_t{a.nodes.size() * a.blocks.values() * sizeof(float)});
  }
  if (examples::resumes(c) && on.size() > 1) std::fprintf(stderr, "cluster: %s\n", examples::words_of(on).c_str());
  if (saved > 0) {
    rubato::ensure_writable_folder(c.checkpoint.folder);
    rubato::ensure_space(c.checkpoint.folder, saved);
    for (auto& each : all) each.saved.take();
  }
  auto none = std::error_code{};
  if (auto const here = fs::temp_directory_path(none); !none) rubato::ensure_space(here, models);
  settle_transport(c, links);
  return all;
}

struct outcome : examples::race_outcome {
  bool parted = false;  // some node was without another one at the end of a run
  std::vector<std::vector<std::string>> untold{};  // by result: its warnings that were not passed on as they came
};

/// Adds what comes of it to `all`; nothing where interrupted.
void run_one(choice c, competitor const& who, workplace const& place, rubato::problem::any_oracle const& oracle,
             outcome& all) {
  examples::children peers;
  auto const& [algorithm, n, computing, more, folder, its_folder_told] = who;
  c.passed_on.insert(c.passed_on.end(), more.begin(), more.end());
  auto heard = c.transport == "mpi"
                   ? examples::listener{place.outputs(1), examples::speakers::unknown, its_folder_told}
                   : examples::listener{place.outputs(n), examples::speakers::one_a_file, its_folder_told};
  auto const ends = await_all(peers, c, place, start_all(peers, c, algorithm, place, n), computing, heard);
  if (examples::interrupted()) return;
  std::vector<rubato::peer_result> parts;
  for (std::size_t i = 0; i < n; ++i) {
    if (ends.lost.contains(i)) continue;
    if (!c.machines.empty()) examples::unpack_results(place.results(i), place.report(i));
    if (!fs::exists(place.report(i)))
      throw rubato::config_error{"the process of node " + std::to_string(i) + " ended without a result: is '" +
                                 rubato::escaped(c.program) + "' a peer of this version?"};
    parts.push_back(rubato::report::read_peer_result(place.report(i)));
    if (all.unwritten.empty()) all.unwritten = parts.back().unwritten;
  }
  if (c.members) examples::leave_out_absent(parts);
  for (auto const& p : parts) heard.add_told(p.result.warnings);
  auto const gaps = ends.lost.empty() && !c.members ? rubato::gaps::refused : rubato::gaps::left_out;
  auto merged = rubato::merged(std::move(parts), oracle, gaps);
  if (merged.models.empty()) throw rubato::run_error{"no node that has a model is left: " + ends.sentences.front()};
  auto& result = all.results.emplace_back(std::move(merged));
  result.algorithm = algorithm;
  heard.add_told(result.warnings);
  heard.pass_on(tell, true);
  auto& untold = all.untold.emplace_back(result.warnings);
  std::erase_if(untold, [&](auto const& sentence) { return heard.has_passed_on(sentence); });
  untold.insert(untold.end(), ends.sentences.begin(), ends.sentences.end());
  result.warnings.insert(result.warnings.end(), ends.sentences.begin(), ends.sentences.end());
  all.parted = all.parted || ends.parted || !ends.lost.empty();
  examples::judge_last(all, c.race);
}

/// The links, beside race's options.
auto links_of(choice const& c) -> nlohmann::ordered_json {
  nlohmann::ordered_json links{{"transport", c.transport}};
  if (c.transport == "udp") links["drop"] = c.drop;
  return links;
}

auto run_all(choice const& c, std::vector<competitor> const& who, workplace const& place,
             rubato::problem::any_oracle const& oracle) -> outcome {
  outcome all;
  for (auto const& each : who) {
    try {
      place.clear();
      run_one(c, each, place, oracle, all);
      if (examples::interrupted()) break;
    } catch (std::exception const&) {
      if (all.results.empty()) throw;
      all.failed = std::current_exception();
      break;
    }
  }
  return all;
}

/// Nodes serve how they stand on ports from the one that was named, or on free ones; they are kept for them, and for
/// those of the next runs, while what is returned lives. Makes their token, and says where the page is.
auto serve_status(choice& c, examples::private_folder const& place, std::size_t nodes)
    -> std::unique_ptr<examples::reserved_ports> {
  auto const first = c.status == "auto" ? 0 : std::stoul(c.status);
  auto ports = std::make_unique<examples::reserved_ports>(nodes, static_cast<std::uint16_t>(first));
  c.status_addresses = ports->addresses();
  c.status_token = place.path("status.token");
  examples::say("status: http://" + c.status_addresses.front() + "/?token=" + rubato::report::token_in(c.status_token) +
                "\n");
  return ports;
}

/// The same on other machines: node I's page is on port PORT + I of loopback there, and says which of the others that
/// machine reaches.
void serve_status_elsewhere(choice& c, examples::private_folder const& place, std::size_t nodes) {
  auto const first = std::stoul(c.status);
  if (first + nodes > 65536)
    throw rubato::config_error{"--status " + c.status + " leaves no port for each of " + std::to_string(nodes) +
                               " nodes: the last one is 65535"};
  for (std::size_t i = 0; i < nodes; ++i) c.status_addresses.push_back("127.0.0.1:" + std::to_string(first + i));
  c.status_token = place.path("status.token");
  auto const query = "/?token=" + rubato::report::token_in(c.status_token);
  auto const seats = seats_of(c, nodes);
  auto words = std::string{};
  for (std::size_t i = 0; i < nodes; ++i)
    words += "status of node " + std::to_string(i) + ", on " + seats[i].host + ": http://" + c.status_addresses[i] +
             query + "\n";
  auto const port = std::to_string(first);
  examples::say(words + "from here: ssh -L " + port + ":127.0.0.1:" + port + " " + seats[0].host + "\n");
}

auto cluster(choice c) -> int {
  auto const plan = examples::planned(c.race);
  c.race = plan.options;
  rubato::ensure_writable_folder(c.race.out);
  for (auto const* const name : examples::result_files) rubato::ensure_replaceable(fs::path{c.race.out} / name);
  workplace const place;  // before signals() starts a thread, as a private_folder asks
  auto status_place = std::optional<examples::private_folder>{};
  if (!c.status.empty()) status_place.emplace("rubato-status");
  examples::signals();  // listens from now on
  auto const who = competitors(plan, c);
  if (examples::interrupted()) return status::interrupted;
  auto kept = std::unique_ptr<examples::reserved_ports>{};
  if (status_place) {
    auto most = std::size_t{0};
    for (auto const& each : who) most = std::max(most, c.members.value_or(each.processes));
    if (c.machines.empty()) kept = serve_status(c, *status_place, most);
    else serve_status_elsewhere(c, *status_place, most);
  }
  auto const oracle = rubato::problem::any_oracle{examples::race_backend{}, examples::objective_of(c.race)};
  if (!c.race.quiet) {
    auto const where = c.machines.empty() ? "this machine" : "the hosts of " + c.hosts.file;
    examples::say("One process a node over " + c.transport + " on " + where + ": " + c.race.problem_text + ", " +
                  examples::network_text(plan) + ", " + std::to_string(c.members ? c.beginning : *c.race.nodes) +
                  " nodes, " + examples::detail::duration_text(c.race.until) + " each, in real time.\n\n");
  }
  auto const all = run_all(c, who, place, oracle);
  auto const& results = all.results;
  auto words = std::string{};
  if (examples::interrupted()) {
    words = "Interrupted: " + std::to_string(results.size()) + " of " + std::to_string(c.race.algorithms.size()) +
            " algorithms have ended.\n";
    if (results.empty()) {
      examples::say(words);
      return status::interrupted;
    }
  }
  words += examples::result_table(c.race, all) + "\n";
  for (std::size_t i = 0; i < results.size(); ++i)
    examples::tell_warnings("cluster", results[i].algorithm, all.untold[i]);
  for (auto const& r : results) {
    if (!c.race.quiet) words += r.algorithm + ", what its links did:\n\n" + rubato::report::edge_table(r) + "\n";
  }
  auto more = examples::more_of(c.race, all);
  more.options = links_of(c);
  examples::tell(all, words, [&] { return examples::write_results(plan, results, more); });
  for (auto const each : all.away) examples::require_near(each, c);
  if (examples::interrupted()) return status::interrupted;
  return all.parted ? status::cut_off : status::done;
}

/// All but what is this program's own goes to the peers as it came.
auto passed_on(int argc, char const* const* argv) -> std::vector<std::string> {
  static constexpr char const* own[] = {"--algorithms",  "--out",   "--peer", "--within",
                                        "--target-loss", "--set",   "--step", "--picture-by",
                                        "--status",      "--hosts", "--port"};
  std::vector<std::string> rest;
  for (auto i = 1; i < argc; ++i) {
    auto const text = std::string{argv[i]};
    auto mine = text == "--quiet";
    for (auto const* const name : own) {
      if (text == name) ++i, mine = true;  // and its value
      if (text.starts_with(std::string{name} + "=")) mine = true;
    }
    if (!mine) rest.push_back(text);
  }
  return rest;
}

auto read_line(int argc, char const* const* argv) -> std::optional<choice> {
  choice c;
  c.race.driver = examples::race_driver::processes;
  c.race.algorithms = {"r_fast"};
  c.program = (fs::read_symlink("/proc/self/exe").parent_path() / "peer").string();
  c.passed_on = passed_on(argc, argv);
  CLI::App app{"Races algorithms with one process a node, on this machine or on those of --hosts.", "cluster"};
  app.set_help_flag("--help,-h", examples::detail::help_text);
  for (auto row : examples::shared_rows()) {
    if (std::string_view{row.name} == "--transport") row.initial = "shared_memory";
    examples::detail::add_peer_row(app, row, c);
  }
  examples::detail::add_peer_row(
      app,
      examples::peer_row{"--status", "PORT|auto", "",
                         "serve how the nodes stand: a page for a browser, whose address is printed, and node I's on "
                         "port PORT + I of its machine",
                         [](examples::peer_choice& o, examples::given g) { o.status = examples::page_port_in(g); }},
      c);
  for (auto const& row : examples::hosts_rows()) examples::detail::add_peer_row(app, row, c);
  for (auto const& row : examples::rows_heeded(examples::by_cluster)) examples::detail::add_row(app, row, c.race);
  examples::add_shared_flags(app, c);
  examples::add_insecure(app, c);
  app.add_option("--peer", c.program,
                 "the program that runs one node, by its path on each machine (default: peer beside this one)");
  app.add_flag("--quiet", c.race.quiet, "neither the header nor the tables of links");
  if (!examples::detail::parsed(app, argc, argv, c.race, [&] { examples::settle(c); })) return std::nullopt;
  if (c.members && !c.hosts.file.empty())
    throw rubato::config_error{
        "--members and --hosts exclude each other at cluster: start the peers by hand, who take both"};
  if (!c.hosts.file.empty()) {
    c.machines = examples::read_hosts(c.hosts.file);
    if (!was_given(c, "--transport")) c.transport = "tcp";
    if (c.status == "auto")
      throw rubato::config_error{"--status auto is for one machine: beside --hosts name a port that is free on all"};
  } else if (c.insecure) {
    throw rubato::config_error{"--insecure has no effect without --hosts: all nodes are on this machine"};
  }
  examples::settle(c);
  examples::refuse_idle(c);
  if (c.machines.empty() && access(c.program.c_str(), X_OK) != 0)
    throw rubato::config_error{"--peer names no program: " + c.program};
  return c;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  return examples::run_program("cluster", [&] {
    auto const c = read_line(argc, argv);
    return c ? cluster(*c) : 0;
  });
}
