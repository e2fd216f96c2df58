// SPDX-License-Identifier: MIT
#include "../../../examples/support/launch.hpp"

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/refusal.hpp"

namespace {

using namespace rubato;
using namespace rubato::examples;
using namespace rubato::test;
using names = std::vector<std::string>;
using settings = std::map<std::string, std::string>;

auto hosts_of(std::string const& text) -> std::vector<host> {
  std::istringstream in{text};
  return hosts_in(in, "my.hosts");
}
auto seated(std::string const& text, std::size_t processes) -> std::string {
  return peers_text(addresses_of(seats_on(hosts_of(text), "my.hosts", 7000, processes)));
}
auto variables_of(settings const& all) -> variables {
  return [all](std::string const& name) { return all.contains(name) ? all.at(name) : std::string{}; };
}
auto with(settings all, settings const& more) -> settings {
  for (auto const& [name, value] : more) all[name] = value;
  return all;
}
auto placed(settings const& all, hosts_choice const& h = {}) -> std::string {
  auto const get = variables_of(all);
  auto const here = launched(launcher_of(get), get, h);
  return std::to_string(here.id) + " of " + peers_text(here.addresses);
}

settings const slurm{{"SLURM_PROCID", "3"},
                     {"SLURM_NTASKS", "5"},
                     {"SLURM_JOB_NODELIST", "node[1-2],other"},
                     {"SLURM_TASKS_PER_NODE", "2(x2),1"},
                     {"SLURM_NODEID", "1"},
                     {"SLURM_LOCALID", "1"}};
settings const openmpi{{"OMPI_COMM_WORLD_RANK", "1"},
                       {"OMPI_COMM_WORLD_SIZE", "2"},
                       {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
settings const torchrun{{"RANK", "2"},           {"WORLD_SIZE", "3"},      {"LOCAL_RANK", "2"},
                        {"MASTER_ADDR", "head"}, {"MASTER_PORT", "29500"}, {"LOCAL_WORLD_SIZE", "3"}};
settings const kubernetes{{"HOSTNAME", "rubato-1"}, {"RUBATO_NODES", "2"}, {"RUBATO_SERVICE", "nodes"}};

TEST_CASE("a hosts file says where the nodes are, one host after the other") {
  CHECK(seated("# all of them\nnode1 slots=2 # the large one\n\n  node2:7100\n[::1] slots=3\n", 5) ==
        "node1:7000,node1:7001,node2:7100,[::1]:7000,[::1]:7001");
  CHECK(seated("here\nhere slots=2\r\n", 3) == "here:7000,here:7001,here:7002");
  CHECK(seated("here:9000 slots=2", 2) == "here:9000,here:9001");
}

TEST_CASE("a line of a hosts file that is at fault is named") {
  auto const refused = [](std::string const& text, char const* words) {
    INFO(words);
    CHECK(says(refusal([&] { static_cast<void>(seated(text, 2)); }), words));
  };
  refused("a\n-oProxyCommand=x\n", "my.hosts:2: '-oProxyCommand=x' is no name of a host");
  refused("a\nuser@b\n", "my.hosts:2: 'user@b' is no name");
  refused("a\n::1\n", "my.hosts:2:");
  refused("a:0\n", "my.hosts:1: '0' is no port");
  refused("a:70000\n", "my.hosts:1: '70000' is no port");
  refused("a slots=1 slots=2\n", "my.hosts:1: slots is given twice");
  refused("localhost:7100\n127.0.0.1:7100\n", "my.hosts:2: 127.0.0.1:7100 is taken by line 1");
  refused("Node1:7100\nnode1:7100\n", "my.hosts:2: node1:7100 is taken by line 1");
  refused("[::1]:7100\n[0:0::1]:7100\n", "my.hosts:2: [0:0::1]:7100 is taken by line 1");
  refused("a slots=0\n", "my.hosts:1: slots must be a whole number from 1 to 65536, not '0'");
  refused("\na slot=2\n", "my.hosts:2: 'slot=2' is not understood");
  refused("a:65535 slots=2\n", "my.hosts:1: process 1 of a would have port 65536");
  refused("a:7001\na:7001\n", "my.hosts:2: a:7001 is taken by line 1");
  refused("# none\n", "my.hosts names no host");
  refused("a\n", "the hosts of my.hosts have 1 slot, and this run has 2 processes");
  CHECK(says(refusal([] { static_cast<void>(read_hosts("/nowhere/at/all")); }), "No such file"));
  CHECK(says(refusal([] { static_cast<void>(read_hosts("/")); }), "Is a directory"));
  CHECK(says(refusal([] { static_cast<void>(read_hosts("/dev/zero")); }), "/dev/zero:1: it is longer than 1000"));
  CHECK(seated("\xEF\xBB\xBF"
               "a slots=2\n",
               2) == "a:7000,a:7001");
  CHECK(seated("a\n\nb", 2) == seated("a\nb\n", 2));
}

TEST_CASE("lists of Slurm are written out") {
  CHECK(slurm_hosts("node[1-3,07],other") == names{"node1", "node2", "node3", "node07", "other"});
  CHECK(slurm_hosts("r[1-2]n[08-10]-ib") ==
        names{"r1n08-ib", "r1n09-ib", "r1n10-ib", "r2n08-ib", "r2n09-ib", "r2n10-ib"});
  CHECK(slurm_hosts("alone") == names{"alone"});
  CHECK(slurm_counts("2(x3),1") == std::vector<std::size_t>{2, 2, 2, 1});
  for (auto const* const bad :
       {"", "a,,b", "n[1-", "n]1[", "n[[1]]", "n[2-1]", "n[a-b]", "n[1-99999999]", "-x", "a[1-50000]b[1-9]"})
    CHECK_THROWS_AS(slurm_hosts(bad), config_error);
  CHECK(
      says(refusal([] { static_cast<void>(slurm_hosts("n[1-99999999]")); }), "'1-99999999' of more than 65536 nodes"));
  for (auto const* const bad : {"", "0", "2(x0)", "2(3)", "2(x3", "x", "1,", "1(x99999999)"})
    CHECK_THROWS_AS(slurm_counts(bad), config_error);
}

TEST_CASE("a process takes its place from the launcher that started it") {
  CHECK(placed(slurm) == "3 of node1:7000,node1:7001,node2:7000,node2:7001,other:7000");
  CHECK(placed(with(slurm, {{"SLURM_STEP_NUM_TASKS", "4"},
                            {"SLURM_STEP_NODELIST", "node[1-2]"},
                            {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"}}),
               {.port = std::uint16_t{9000}}) == "3 of node1:9000,node1:9001,node2:9000,node2:9001");
  CHECK(placed(with(slurm, {{"SLURM_JOB_NODELIST", "alone"}, {"SLURM_NTASKS", "4"}})) ==
        "3 of 127.0.0.1:7000,127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003");
  CHECK(placed(openmpi) == "1 of 127.0.0.1:7000,127.0.0.1:7001");
  CHECK(placed(torchrun) == "2 of 127.0.0.1:29501,127.0.0.1:29502,127.0.0.1:29503");
  CHECK(placed(kubernetes) == "1 of rubato-0.nodes:7000,rubato-1.nodes:7000");
  CHECK(placed(with(slurm, openmpi)) == placed(openmpi));  // mpirun in a job of Slurm
  CHECK(placed(with(slurm, torchrun)) == placed(torchrun));
}

TEST_CASE("what a launcher says and cannot be is refused") {
  auto const refused = [](settings const& all, char const* words) {
    INFO(words);
    CHECK(says(refusal([&] { static_cast<void>(placed(all)); }), words));
  };
  refused({}, "--launch auto finds no launcher");
  for (auto const* const port : {"0", "65535", "99999", "x"})
    refused(with(torchrun, {{"MASTER_PORT", port}}), "MASTER_PORT must be a port from 1 to 65534");
  refused(with(slurm, {{"SLURM_NTASKS", ""}}), "Slurm has not set SLURM_NTASKS");
  refused(with(slurm, {{"SLURM_NTASKS", "3"}}), "Slurm calls this process number 3 of 3");
  refused(with(slurm, {{"SLURM_PROCID", "x"}}), "SLURM_PROCID must be a whole number");
  refused(with(slurm, {{"SLURM_TASKS_PER_NODE", "2,3"}}), "SLURM_JOB_NODELIST has 3 nodes");
  refused(with(slurm, {{"SLURM_TASKS_PER_NODE", "1(x3)"}}), "SLURM_JOB_NODELIST have 3 slots, and this run has 5");
  refused(with(slurm, {{"SLURM_JOB_NODELIST", "alone"}, {"SLURM_TASKS_PER_NODE", "0"}}), "'0' are not understood");
  refused(with(slurm, {{"SLURM_NODEID", "0"}}), "srun --distribution=block");
  refused(with(slurm, {{"SLURM_LOCALID", "0"}}), "number 0 of its host");
  refused(with(openmpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}}), "Open MPI does not tell on which hosts");
  refused(with(torchrun, {{"LOCAL_WORLD_SIZE", "1"}}), "torchrun does not tell on which hosts");
  refused(with(kubernetes, {{"RUBATO_SERVICE", ""}}), "this container has not set RUBATO_SERVICE");
  refused(with(kubernetes, {{"HOSTNAME", "rubato"}}), "not that of a pod of a stateful set");
  refused(with(kubernetes, {{"HOSTNAME", "rubato-2"}}), "pod 2 of its set, and RUBATO_NODES says that there are 2");
}

}  // namespace
