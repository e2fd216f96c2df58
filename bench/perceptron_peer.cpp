// SPDX-License-Identifier: MIT
// One process a node, on this machine: a perceptron 784-128-10 learns Fashion-MNIST (d = 101,770, float). Models of
// node 0 are scored after the run, so that scoring disturbs nothing. bench/real_processes runs it beside PyTorch's
// DistributedDataParallel (bench/ddp_peer.py), which learns the same from the same data.
//   perceptron_peer ALGORITHM [NAME=VALUE...]      see `choice` for names
// Prints one line: ALGORITHM, transport, seconds until node 0's model is right on `target` of the test data, its
// accuracy at the end, samples a second of all nodes together, and its accuracy when these had taken `samples` samples;
// with goal=LOSS also seconds until its loss on the first 2,000 training pictures is no more than that, its loss at the
// end, and milliseconds of a local iteration; a dash where it did not come so far. What processes did goes to stderr.
// ALGORITHM `alone` is SGD in a plain loop, by one node; those of support/relaxations.hpp have their own networks.
// With peers=HOST:PORT,... this process is node `self` alone, for processes that are started one by one
// (bench/thin_links); then rates count its samples, and node 0 prints.
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/rubato.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/transport/udp.hpp>
#include <rubato/wire/xxhash.hpp>

#include "support/idx_files.hpp"
#include "support/race_text.hpp"
#include "support/relaxations.hpp"

namespace {

using namespace rubato;
using std::chrono::nanoseconds;
using backend_type = backend::eigen<float>;
using perceptron = problem::multilayer_perceptron<float>;

struct choice {
  std::string algorithm;
  std::string transport = "tcp";  ///< or udp, in blocks of 256 values, one a datagram
  std::string network = "binary-tree";
  std::string split = "iid";  ///< or by-label
  std::string data = examples::default_data_folder;
  double nodes = 8;
  double step = 0.1;  ///< over the network's gain
  double batch = 32;
  double compute = 0;  ///< least milliseconds of a gradient, lognormal, coefficient of variation 0.2
  double slow = 1;  ///< the last node's gradients take that many times as long
  double own = 0;  ///< weight that an r_fast node with neighbours gives itself; 0: equal weights
  double drop = 0;  ///< probability with which udp throws a datagram away
  double until = 10;  ///< seconds
  double look = 100;  ///< milliseconds between two models that are kept
  double pace = 4;  ///< see run/pace.hpp; 0: none
  double check = 1;  ///< whether frames carry a checksum
  double pin = 0;  ///< 1: each process has one core, in turn
  double seed = 1;
  double target = 0.8;
  double samples = 0;
  double goal = 0;  ///< loss of pictures that were trained with; 0: none
  std::string peers;  ///< addresses of all nodes, with a comma between them; empty: on this machine, started here
  double self = 0;

  static void visit_options(auto& self, auto&& visit) {
    visit("transport", self.transport), visit("network", self.network), visit("split", self.split);
    visit("data", self.data), visit("nodes", self.nodes), visit("step", self.step), visit("batch", self.batch);
    visit("compute", self.compute), visit("slow", self.slow), visit("own", self.own), visit("drop", self.drop),
        visit("until", self.until);
    visit("look", self.look), visit("pace", self.pace), visit("check", self.check), visit("pin", self.pin),
        visit("seed", self.seed);
    visit("target", self.target), visit("samples", self.samples), visit("goal", self.goal);
    visit("peers", self.peers), visit("self", self.self);
  }
  [[nodiscard]] auto count() const -> std::size_t { return static_cast<std::size_t>(nodes); }
};

void set(std::string& option, char const* text) { option = text; }
void set(double& option, char const* text) {
  auto* end = static_cast<char*>(nullptr);
  option = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(option >= 0))
    throw config_error{"'" + std::string{text} + "' is not a number of 0 or more"};
}

auto read_line(int argc, char** argv) -> choice {
  if (argc < 2) throw config_error{"usage: perceptron_peer ALGORITHM [NAME=VALUE...]"};
  choice c;
  c.algorithm = argv[1];
  for (auto i = 2; i < argc; ++i) {
    auto const word = std::string_view{argv[i]};
    auto const cut = word.find('=');
    auto found = false;
    choice::visit_options(c, [&](std::string_view name, auto& option) {
      if (cut == word.npos || word.substr(0, cut) != name) return;
      set(option, argv[i] + cut + 1);
      found = true;
    });
    if (!found) throw config_error{"there is no option '" + std::string{word} + "'"};
  }
  if (c.nodes < 1 || c.batch < 1) throw config_error{"nodes and batch are 1 at least"};
  return c;
}

/// What one process tells of its run; models of node 0 only.
struct report {
  std::vector<peer_look> looks;
  double seconds = 0;
  double gradients = 0;
};

void write(std::FILE* to, report const& r, bool with_models) {
  auto const put = [to](auto const& value) { std::fwrite(&value, sizeof value, 1, to); };
  put(r.seconds), put(r.gradients), put(r.looks.size());
  for (auto const& l : r.looks) {
    put(l.at), put(l.gradients);
    if (with_models) std::fwrite(l.model.bytes().data(), 1, l.model.size_bytes(), to);
  }
  if (std::fflush(to) != 0) throw run_error{"what a process learnt cannot be kept: the disk is full"};
}

auto read_report(std::FILE* from, bool with_models, std::size_t dimension) -> report {
  auto const get = [from](auto& value) {
    if (std::fread(&value, sizeof value, 1, from) != 1) throw run_error{"a process ended without a result"};
  };
  report r;
  auto count = std::size_t{};
  std::rewind(from);
  get(r.seconds), get(r.gradients), get(count);
  backend_type b;
  for (std::size_t k = 0; k < count; ++k) {
    auto& l = r.looks.emplace_back();
    get(l.at), get(l.gradients);
    if (!with_models) continue;
    auto model = b.allocate<float>(dimension);
    if (std::fread(model.data(), sizeof(float), dimension, from) != dimension)
      throw run_error{"a process ended without its models"};
    l.model = std::move(model).publish();
  }
  return r;
}

void pin_to_core(std::size_t which) {
  cpu_set_t core;
  CPU_ZERO(&core);
  CPU_SET(which % std::max(1U, std::thread::hardware_concurrency()), &core);
  if (sched_setaffinity(0, sizeof core, &core) != 0) throw config_error{"a process cannot be bound to a core here"};
}

// --- the life of one process

auto as_duration(double milliseconds) -> nanoseconds { return nanoseconds{std::llround(milliseconds * 1e6)}; }

auto compute_of(choice const& c) -> environment::compute_model {
  if (c.compute <= 0) return environment::fixed({});
  return environment::lognormal(as_duration(c.compute), 0.2).slow(static_cast<std::uint32_t>(c.count() - 1), c.slow);
}

/// Equal weights, but for what a node with neighbours gives itself: rows of who pulls, columns of who pushes.
auto weights(topology::digraph const& graph, double own, mixing::stochasticity sums) -> mixing::matrix {
  auto const pulls = sums == mixing::stochasticity::row;
  std::vector<mixing::entry> all;
  for (std::size_t i = 0; i < graph.nodes(); ++i) {
    auto const id = to_node(i);
    auto const others = pulls ? graph.into(id) : graph.out_of(id);
    all.push_back({id, id, others.empty() ? 1.0 : own});
    for (auto const j : others) {
      auto const share = (1 - own) / static_cast<double>(others.size());
      all.push_back(pulls ? mixing::entry{id, j, share} : mixing::entry{j, id, share});
    }
  }
  return mixing::from_entries(graph.nodes(), std::move(all), sums);
}

template<class Node>
auto plan_of(choice const& c) -> mixing::plan {
  auto const network = topology::pair{topology::by_name(c.network, c.count())};
  if (c.own <= 0 || c.algorithm != "r_fast") return Node::make_plan(network);
  return mixing::tracking_plan(network, weights(network.pull(), c.own, mixing::stochasticity::row),
                               weights(network.push(), c.own, mixing::stochasticity::column));
}

auto run_node(choice const& c, assembly nodes, std::size_t self, int door, std::vector<std::string> const& addresses)
    -> report {
  auto const seed = static_cast<std::uint64_t>(c.seed);
  auto const me = identity_of(nodes, to_node(self), c.check > 0 ? &wire::xxh3_of : nullptr);
  peer_options how;
  how.look_every = as_duration(c.look);
  how.look_bytes = std::size_t{1} << 30;
  how.compute = compute_of(c);
  how.compute_seed = seed;
  how.pace.ahead = static_cast<std::uint32_t>(c.pace);
  auto end = until{};
  end.time = as_duration(c.until * 1e3);
  auto const live = [&](auto& wires) {
    auto mine = run_peer(nodes, me, wires, end, how);
    for (auto const& e : mine.result.edges) {
      std::fprintf(stderr, "node %zu: %zu -> %zu %s: %llu sent, %llu replaced before, %llu arrived\n", self,
                   to_index(e.from), to_index(e.to), std::string{name_of(e.channel)}.c_str(),
                   static_cast<unsigned long long>(e.packets_sent), static_cast<unsigned long long>(e.conflated),
                   static_cast<unsigned long long>(e.delivered));
    }
    return report{std::move(mine.looks), to_seconds(mine.result.ended),
                  static_cast<double>(mine.result.nodes.back().gradients)};
  };
  if (c.transport == "udp") {
    transport::udp_options u;
    u.addresses = addresses, u.socket = door, u.loss = c.drop, u.loss_seed = seed;
    auto wires = transport::udp{me, u};
    return live(wires);
  }
  transport::tcp_options t;
  t.addresses = addresses;
  if (door >= 0) t.listener = door;
  else t.insecure = true;  // between the namespaces of bench/thin_links
  auto wires = transport::tcp{me, t};
  return live(wires);
}

/// SGD without a driver: what one core can do.
auto run_alone(choice const& c, perceptron const& problem) -> report {
  backend_type b;
  auto const start = problem.initial();
  auto const size = start.size();
  auto x = b.allocate<float>(size), g = b.allocate<float>(size);
  std::copy(start.begin(), start.end(), x.data());
  report r;
  auto const begin = std::chrono::steady_clock::now();
  auto next = nanoseconds{};
  for (std::uint64_t k = 0;; ++k) {
    auto const now = nanoseconds{std::chrono::steady_clock::now() - begin};
    auto const ends = to_seconds(now) >= c.until;
    if (now >= next || ends) {
      auto kept = b.allocate<float>(size);
      std::copy_n(x.data(), size, kept.data());
      r.looks.push_back({.at = now, .model = std::move(kept).publish(), .gradients = k});
      next = now + as_duration(c.look);
    }
    r.seconds = to_seconds(now), r.gradients = static_cast<double>(k);
    if (ends) return r;
    static_cast<void>(problem.gradient(b, x.view(), {static_cast<std::uint64_t>(c.seed), to_node(0), k}, g.view()));
    auto const gamma = static_cast<float>(c.step);
    for (std::size_t i = 0; i < size; ++i) x.data()[i] -= gamma * g.data()[i];
  }
}

template<class Node>
auto made(choice const& c, perceptron const& problem) -> assembly {
  auto o = typename Node::options{};
  o.step = c.step;
  o.seed = static_cast<std::uint64_t>(c.seed);
  o.block_values = c.transport == "udp" ? 256 : 0;
  return assemble<Node>(plan_of<Node>(c), problem, o);
}

auto nodes_of(choice const& c, perceptron const& problem) -> assembly {
  if (c.algorithm == "r_fast") return made<r_fast<backend_type>>(c, problem);
  if (c.algorithm == "ad_psgd") return made<ad_psgd<backend_type>>(c, problem);
  std::optional<assembly> found;
  std::string names;
  auto const look = [&](auto const& row) {
    names += ", " + std::string{row.name};
    if (row.name == c.algorithm) found = row.assembled(problem, c.count(), c.step, static_cast<std::uint64_t>(c.seed));
  };
  std::apply([&](auto const&... row) { (look(row), ...); }, bench::relaxations<backend_type>());
  if (!found) throw config_error{"there is no algorithm '" + c.algorithm + "' here: alone, r_fast, ad_psgd" + names};
  return *std::move(found);
}

auto report_of(choice const& c, perceptron const& problem, std::size_t self, int door,
               std::vector<std::string> const& addresses) -> report {
  if (c.algorithm == "alone") return run_alone(c, problem);
  return run_node(c, nodes_of(c, problem), self, door, addresses);
}

// --- all processes

void say_usage(std::size_t self) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  auto const seconds = [](timeval const& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  std::fprintf(stderr,
               "node %zu: %.2f s of processor time, %.2f s of the system's; gave way %ld times, was made to %ld\n",
               self, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_nvcsw, used.ru_nivcsw);
}

auto run_all(choice const& c, perceptron const& problem) -> std::vector<report> {
  std::vector<int> doors;
  std::vector<std::string> addresses;
  for (std::size_t i = 0; i < c.count(); ++i) {
    auto const door =
        c.transport == "udp" ? transport::open_udp_socket("127.0.0.1:0") : transport::open_tcp_socket("127.0.0.1:0");
    doors.push_back(door.descriptor);
    addresses.push_back(door.address);
  }
  std::vector<std::unique_ptr<std::FILE, int (*)(std::FILE*)>> told;
  std::vector<pid_t> ids;
  for (std::size_t i = 0; i < c.count(); ++i) {
    told.emplace_back(std::tmpfile(), &std::fclose);
    if (!told.back()) throw run_error{"no temporary file can be made"};
    auto const id = fork();
    if (id < 0) throw run_error{"no process can be started"};
    ids.push_back(id);
    if (id > 0) continue;
    try {
      if (c.pin > 0) pin_to_core(i);
      for (auto const d : doors) {
        if (d != doors[i]) close(d);
      }
      write(told[i].get(), report_of(c, problem, i, doors[i], addresses), i == 0);
      say_usage(i);
      std::_Exit(0);
    } catch (std::exception const& e) {
      std::fprintf(stderr, "perceptron_peer: node %zu: %s\n", i, e.what());
      std::_Exit(1);
    }
  }
  for (auto const d : doors) close(d);
  auto failed = false;
  for (auto const id : ids) {
    auto status = 0;
    waitpid(id, &status, 0);
    failed = failed || status != 0;
  }
  if (failed) throw run_error{"a process failed"};
  std::vector<report> all;
  for (std::size_t i = 0; i < c.count(); ++i) all.push_back(read_report(told[i].get(), i == 0, problem.dimension()));
  return all;
}

/// Gradients of all nodes up to that time, as far as they looked.
auto taken_by(std::vector<report> const& all, nanoseconds at) -> double {
  auto sum = 0.0;
  for (auto const& r : all) sum += static_cast<double>(rubato::detail::newest_at(r.looks, at).gradients);
  return sum;
}

/// The problem that knows the first 2,000 training pictures only.
auto of_some(problem::train_and_test const& data, problem::perceptron_options const& options) -> perceptron {
  split::shards first(1, std::vector<std::uint32_t>(2000));
  std::iota(first[0].begin(), first[0].end(), 0U);
  return {data, first, options};
}

auto or_dash(bool is_there, double value, char const* how) -> std::string {
  char text[32];
  std::snprintf(text, sizeof text, is_there ? how : "-", value);
  return text;
}

/// The fields of `goal`.
auto towards(double goal, perceptron const& seen, report const& of) -> std::string {
  backend_type b;
  auto const loss_of = [&](peer_look const& l) { return seen.loss(b, l.model.view<float>()); };
  auto const there = std::find_if(of.looks.begin(), of.looks.end(), [&](auto const& l) { return loss_of(l) <= goal; });
  auto const reached = there != of.looks.end();
  return "\t" + or_dash(reached, reached ? to_seconds(there->at) : 0, "%.2f") + "\t" +
         or_dash(true, loss_of(of.looks.back()), "%.4f") + "\t" +
         or_dash(true, 1e3 * of.seconds / of.gradients, "%.2f");
}

auto line_of(choice const& c, perceptron const& problem, std::vector<report> const& all) -> std::string {
  auto const right = [&, b = backend_type{}](peer_look const& l) mutable {
    return problem.accuracy(b, l.model.view<float>());
  };
  auto score = right;
  auto const& looks = all.front().looks;
  auto const there = std::find_if(looks.begin(), looks.end(), [&](auto const& l) { return score(l) >= c.target; });
  auto const full = std::find_if(looks.begin(), looks.end(), [&](auto const& l) {
    return c.samples > 0 && taken_by(all, l.at) * c.batch >= c.samples;
  });
  auto rate = 0.0;
  for (auto const& r : all) rate += r.gradients * c.batch / r.seconds;
  return c.algorithm + "\t" + (c.algorithm == "alone" ? "-" : c.transport) + "\t" +
         or_dash(there != looks.end(), there != looks.end() ? to_seconds(there->at) : 0, "%.2f") + "\t" +
         or_dash(true, score(looks.back()), "%.4f") + "\t" + or_dash(true, rate, "%.0f") + "\t" +
         or_dash(full != looks.end(), full != looks.end() ? score(*full) : 0, "%.4f");
}

/// What one of the processes that are started one by one learnt, or all that are started here.
auto run_here(choice const& c, perceptron const& problem) -> std::vector<report> {
  if (c.peers.empty()) return run_all(c, problem);
  auto const addresses = examples::list_in(c.peers);
  auto const self = static_cast<std::size_t>(c.self);
  if (addresses.size() != c.count() || self >= c.count())
    throw config_error{"peers= needs the address of each node, and self= is one of them"};
  return {report_of(c, problem, self, -1, addresses)};
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto c = read_line(argc, argv);
    if (c.algorithm == "alone") c.nodes = 1;
    auto const raw = examples::read_idx_folder(c.data);
    auto const data = problem::standardise(raw.train, raw.test);
    auto const seed = static_cast<std::uint64_t>(c.seed);
    auto const shards =
        c.split == "by-label" ? split::by_label(data.train, c.count(), seed) : split::iid(data.train, c.count(), seed);
    auto options = problem::perceptron_options{};
    options.batch = static_cast<std::size_t>(c.batch);
    options.seed = seed;
    auto const problem = perceptron{data, shards, options};
    auto const all = run_here(c, problem);
    if (c.self > 0) return 0;
    auto line = line_of(c, problem, all);
    if (c.goal > 0) line += towards(c.goal, of_some(data, options), all.front());
    std::printf("%s\n", line.c_str());
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "perceptron_peer: %s\n", e.what());
    return 1;
  }
}
