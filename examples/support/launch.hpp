// SPDX-License-Identifier: MIT
// Which node this process is and where all are, by what its launcher has put into the environment: Slurm (srun), Open
// MPI (mpirun), torchrun, or a stateful set of Kubernetes. Where a launcher does not tell all hosts, a hosts file does.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

#include "hosts.hpp"  // not "support/...", so that a test may include this

namespace rubato::examples {

/// The value of an environment variable; empty: it is not set. Tests have their own.
using variables = std::function<std::string(std::string const& name)>;

[[nodiscard]] inline auto own_variables(std::string const& name) -> std::string {
  auto const* const value = std::getenv(name.c_str());
  if (value != nullptr || name != "HOSTNAME") return value == nullptr ? "" : value;
  std::array<char, 256> host{};
  return gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "";
}

enum class launcher : std::uint8_t { slurm, openmpi, torchrun, kubernetes };

/// What is said of addresses beside the launcher's variables.
struct hosts_choice {
  std::string file{};  ///< empty: none
  std::optional<std::uint16_t> port{};  ///< base port; unset: 7000, or the one after torchrun's
};

/// This process among those of its run.
struct placement {
  launcher by{};
  std::size_t id = 0;
  std::vector<std::string> addresses{};  ///< of all processes, by id
};

inline constexpr std::uint16_t usual_port = 7000;

namespace detail {

/// Splits at commas that are not in brackets.
inline auto split_outside_brackets(std::string_view text, std::string const& whole) -> std::vector<std::string> {
  std::vector<std::string> parts{{}};
  auto depth = 0;
  for (auto const c : text) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (depth < 0 || depth > 1) break;
    if (c == ',' && depth == 0) parts.emplace_back();
    else parts.back() += c;
  }
  if (depth != 0) throw config_error{"the list of nodes '" + escaped(whole, 200) + "' has a bracket without another"};
  return parts;
}

/// The numbers of "1-3,07" as text, with their leading zeros.
inline auto numbers_of(std::string_view ranges, std::string const& whole) -> std::vector<std::string> {
  std::vector<std::string> all;
  for (auto const& range : split_outside_brackets(ranges, whole)) {
    auto const dash = range.find('-');
    auto const from = range.substr(0, dash);
    auto first = std::uint64_t{0}, last = std::uint64_t{0};
    auto const good = is_number(from, first) && is_number(dash == range.npos ? from : range.substr(dash + 1), last);
    if (good && last >= first && last - first >= most_processes)
      throw config_error{"the list of nodes '" + escaped(whole, 200) + "' has the range '" + escaped(range, 100) +
                         "' of more than 65536 nodes"};
    if (!good || last < first)
      throw config_error{"the list of nodes '" + escaped(whole, 200) + "' has a range that is none: '" +
                         escaped(range, 100) + "'"};
    for (auto k = first; k <= last; ++k) {
      auto const digits = std::to_string(k);
      all.push_back(std::string(from.size() - (std::min)(from.size(), digits.size()), '0') + digits);
    }
  }
  return all;
}

/// All names of one element, such as rack[1-2]node[01-16].
inline void expand_into(std::vector<std::string>& all, std::string const& begun, std::string_view rest,
                        std::string const& whole) {
  if (all.size() > most_processes) throw config_error{"the list of nodes has more than 65536 names"};
  auto const open = rest.find('[');
  if (open == rest.npos) {
    all.push_back(begun + std::string{rest});
    return;
  }
  auto const close = rest.find(']', open);
  for (auto const& number : numbers_of(rest.substr(open + 1, close - open - 1), whole))
    expand_into(all, begun + std::string{rest.substr(0, open)} + number, rest.substr(close + 1), whole);
}

}  // namespace detail

/// Slurm's lists of nodes, as node[1-3,07],other. Throws config_error.
[[nodiscard]] inline auto slurm_hosts(std::string const& list) -> std::vector<std::string> {
  std::vector<std::string> all;
  for (auto const& part : detail::split_outside_brackets(list, list)) detail::expand_into(all, {}, part, list);
  for (auto const& name : all) {
    if (!detail::is_host_name(name))
      throw config_error{"the list of nodes '" + escaped(list, 200) + "' has '" + escaped(name, 100) +
                         "', which is no name of a host"};
  }
  return all;
}

/// Slurm's tasks of each node, as 2(x3),1. Throws config_error.
[[nodiscard]] inline auto slurm_counts(std::string const& list) -> std::vector<std::size_t> {
  std::vector<std::size_t> all;
  for (auto const& part : detail::split_outside_brackets(list, list)) {
    auto const open = part.find("(x");
    auto count = std::size_t{0}, times = std::size_t{1};
    auto good = detail::is_number(part.substr(0, open), count) && count > 0 && count <= most_processes;
    if (open != part.npos)
      good = good && part.ends_with(')') && detail::is_number(part.substr(open + 2, part.size() - open - 3), times);
    if (!good || times == 0 || all.size() + times > most_processes)
      throw config_error{"the tasks of each node '" + escaped(list, 200) + "' are not understood: they are as 2(x3),1"};
    all.insert(all.end(), times, count);
  }
  return all;
}

namespace detail {

/// The variables of one launcher.
struct launched_by {
  variables const& get;
  std::string who;  // for sentences

  [[nodiscard]] auto text(std::string const& name) const -> std::string {
    auto value = get(name);
    if (value.empty()) throw config_error{who + " has not set " + name + ": was this process started by it?"};
    return value;
  }
  [[nodiscard]] auto number(std::string const& name) const -> std::size_t {
    auto const value = text(name);
    auto n = std::size_t{0};
    if (!is_number(value, n) || n > most_processes)
      throw config_error{name + " must be a whole number up to 65536, not '" + escaped(value, 100) + "'"};
    return n;
  }
  /// The first of these that is set.
  [[nodiscard]] auto first_of(std::string const& name, std::string const& otherwise) const -> std::string {
    return get(name).empty() ? otherwise : name;
  }
};

/// What a launcher says of its ranks.
struct ranks {
  std::size_t id = 0, all = 0;
  std::optional<std::size_t> local{}, all_local{};
};

inline void check_rank(launched_by const& l, ranks const& r) {
  if (r.id >= r.all)
    throw config_error{l.who + " calls this process number " + std::to_string(r.id) + " of " + std::to_string(r.all) +
                       " processes, which are numbered from 0"};
}

inline auto on_one_host(std::uint16_t base, std::size_t processes) -> std::vector<seat> {
  if (base + processes > 65536)
    throw config_error{"there are no " + std::to_string(processes) + " ports from " + std::to_string(base) + " on"};
  return seats_on({host{.name = "127.0.0.1", .slots = processes}}, "this machine", base, processes);
}

/// Throws config_error where the launcher has another order of nodes than the list of hosts.
inline void check_seat(launched_by const& l, ranks const& r, seat const& s, std::string const& list) {
  if (!r.local || *r.local == s.local) return;
  throw config_error{l.who + " has made process " + std::to_string(r.id) + " number " + std::to_string(*r.local) +
                     " of its host, and by " + list + " it is number " + std::to_string(s.local) + " of " + s.host +
                     ": list the hosts in the launcher's order, and fill one after the other"};
}

/// Of launchers that do not tell where the others are.
inline auto placed_by_ranks(launched_by const& l, ranks const& r, hosts_choice const& h, std::uint16_t base)
    -> std::vector<std::string> {
  check_rank(l, r);
  if (!h.file.empty()) {
    auto const seats = seats_on(read_hosts(h.file), h.file, base, r.all);
    check_seat(l, r, seats[r.id], h.file);
    return addresses_of(seats);
  }
  if (r.all_local == r.all) return addresses_of(on_one_host(base, r.all));
  throw config_error{l.who +
                     " does not tell on which hosts its processes are: give all of them the same --hosts FILE, "
                     "one host a line in the launcher's order, as node1 slots=2"};
}

inline auto by_slurm(variables const& get, hosts_choice const& h) -> placement {
  auto const l = launched_by{get, "Slurm"};
  auto const base = h.port.value_or(usual_port);
  auto r = ranks{l.number("SLURM_PROCID"), l.number(l.first_of("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"))};
  if (!get("SLURM_LOCALID").empty()) r.local = l.number("SLURM_LOCALID");
  if (!h.file.empty()) return {launcher::slurm, r.id, placed_by_ranks(l, r, h, base)};
  check_rank(l, r);
  auto const list = l.first_of("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST");
  auto const names = slurm_hosts(l.text(list));
  auto const tasks = l.first_of("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE");
  auto const one_host = names.size() == 1;
  auto const counts = one_host && get(tasks).empty() ? slurm_counts("1") : slurm_counts(l.text(tasks));
  if (one_host) return {launcher::slurm, r.id, addresses_of(on_one_host(base, r.all))};
  if (names.size() != counts.size())
    throw config_error{list + " has " + std::to_string(names.size()) + " nodes, and " + tasks + " says the tasks of " +
                       std::to_string(counts.size())};
  auto hosts = std::vector<host>{};
  for (std::size_t i = 0; i < names.size(); ++i) hosts.push_back({.name = names[i], .slots = counts[i], .line = i + 1});
  auto const seats = seats_on(hosts, list, base, r.all);
  check_seat(l, r, seats[r.id], list);
  if (!get("SLURM_NODEID").empty()) {
    auto const node = l.number("SLURM_NODEID");
    if (node >= names.size() || names[node] != seats[r.id].host)
      throw config_error{"Slurm has put process " + std::to_string(r.id) + " on node " + std::to_string(node) + " of " +
                         list + ", and in blocks it would be on " + seats[r.id].host +
                         ": start it with srun --distribution=block"};
  }
  return {launcher::slurm, r.id, addresses_of(seats)};
}

inline auto by_openmpi(variables const& get, hosts_choice const& h) -> placement {
  auto const l = launched_by{get, "Open MPI"};
  auto r =
      ranks{l.number("OMPI_COMM_WORLD_RANK"), l.number("OMPI_COMM_WORLD_SIZE"), l.number("OMPI_COMM_WORLD_LOCAL_RANK")};
  if (!get("OMPI_COMM_WORLD_LOCAL_SIZE").empty()) r.all_local = l.number("OMPI_COMM_WORLD_LOCAL_SIZE");
  return {launcher::openmpi, r.id, placed_by_ranks(l, r, h, h.port.value_or(usual_port))};
}

/// torchrun's own store listens on MASTER_PORT, so nodes have the ports after it.
inline auto by_torchrun(variables const& get, hosts_choice const& h) -> placement {
  auto const l = launched_by{get, "torchrun"};
  auto r = ranks{l.number("RANK"), l.number("WORLD_SIZE"), l.number("LOCAL_RANK")};
  if (!get("LOCAL_WORLD_SIZE").empty()) r.all_local = l.number("LOCAL_WORLD_SIZE");
  auto base = h.port.value_or(usual_port);
  if (auto const text = get("MASTER_PORT"); !h.port && !text.empty()) {
    auto master = std::uint16_t{0};
    if (!is_number(text, master) || master == 0 || master == 65535)
      throw config_error{"MASTER_PORT must be a port from 1 to 65534, after which nodes have theirs, not '" +
                         escaped(text, 100) + "'"};
    base = static_cast<std::uint16_t>(master + 1);
  }
  return {launcher::torchrun, r.id, placed_by_ranks(l, r, h, base)};
}

/// Pod NAME-2 of a stateful set is node 2, and is found as NAME-2.SERVICE by a headless service.
inline auto by_kubernetes(variables const& get, hosts_choice const& h) -> placement {
  auto const l = launched_by{get, "this container"};
  auto const pod = l.text("HOSTNAME");
  auto r = ranks{0, l.number("RUBATO_NODES")};
  auto const dash = pod.rfind('-');
  if (dash == pod.npos || dash == 0 || !is_number(std::string_view{pod}.substr(dash + 1), r.id))
    throw config_error{"the host name '" + escaped(pod, 100) +
                       "' is not that of a pod of a stateful set, which ends in a dash and its number, as rubato-2"};
  if (r.id >= r.all)
    throw config_error{"this is pod " + std::to_string(r.id) + " of its set, and RUBATO_NODES says that there are " +
                       std::to_string(r.all) + ", numbered from 0: make it the number of replicas"};
  auto const base = h.port.value_or(usual_port);
  if (!h.file.empty()) return {launcher::kubernetes, r.id, placed_by_ranks(l, r, h, base)};
  auto const service = l.text("RUBATO_SERVICE");
  auto all = std::vector<std::string>{};
  for (std::size_t i = 0; i < r.all; ++i)
    all.push_back(pod.substr(0, dash + 1) + std::to_string(i) + "." + service + ":" + std::to_string(base));
  return {launcher::kubernetes, r.id, std::move(all)};
}

}  // namespace detail

/// The innermost one: torchrun and mpirun also run inside of Slurm's jobs. Throws config_error if there is none.
[[nodiscard]] inline auto launcher_of(variables const& get) -> launcher {
  auto const has = [&](char const* name) { return !get(name).empty(); };
  if (has("RANK") && has("WORLD_SIZE") && has("LOCAL_RANK")) return launcher::torchrun;
  if (has("OMPI_COMM_WORLD_RANK")) return launcher::openmpi;
  if (has("SLURM_PROCID")) return launcher::slurm;
  if (has("RUBATO_NODES")) return launcher::kubernetes;
  throw config_error{
      "--launch auto finds no launcher: none of SLURM_PROCID, OMPI_COMM_WORLD_RANK, RANK with WORLD_SIZE and "
      "LOCAL_RANK, "
      "and RUBATO_NODES is set; give --id and --peers, or --id and --hosts"};
}

/// Throws config_error with a sentence that names the variable or the line at fault.
[[nodiscard]] inline auto launched(launcher by, variables const& get, hosts_choice const& h) -> placement {
  if (by == launcher::slurm) return detail::by_slurm(get, h);
  if (by == launcher::openmpi) return detail::by_openmpi(get, h);
  if (by == launcher::torchrun) return detail::by_torchrun(get, h);
  return detail::by_kubernetes(get, h);
}

}  // namespace rubato::examples
