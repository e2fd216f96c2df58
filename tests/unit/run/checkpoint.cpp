// SPDX-License-Identifier: MIT
// A checkpoint is read back as it was written; one that is damaged, or from another run or build, is refused with a
// sentence and does no harm.
#include <rubato/run/checkpoint.hpp>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint_lock.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<float>;

auto run_of(double step = 0.1, std::size_t dimension = 10) -> assembly {
  return assemble<r_fast<space, step::momentum>>(topology::binary_tree(4), problem::quadratic::random(4, dimension, 1),
                                                 {.step = step});
}

/// Node 1 after it has tracked a gradient.
auto begun() -> assembly {
  auto a = run_of();
  outbox out;
  a.nodes[1].start({}, out);
  auto g = a.oracle.evaluate(*out.request);
  out.clear();
  a.nodes[1].on_gradient({}, std::move(g), out);
  return a;
}
auto checkpoint_of(assembly& a) -> checkpoint { return {a.agreed.text(), node_id{1}, 1, 0, take_snapshot(a.nodes[1])}; }

TEST_CASE("a checkpoint contains the whole state of a node, and each body once") {
  scratch_folder folder{"checkpoint"};
  auto a = begun();
  auto const saved = checkpoint_of(a);
  auto const path = folder.path() / "node-1.checkpoint";
  write_checkpoint(path, saved);
  auto const read = read_checkpoint(path);
  CHECK(read.state.words == saved.state.words);
  REQUIRE(read.state.bodies.size() == saved.state.bodies.size());
  for (std::size_t i = 0; i < read.state.bodies.size(); ++i) {
    auto const was = saved.state.bodies[i].bytes(), is = read.state.bodies[i].bytes();
    CHECK(std::vector(is.begin(), is.end()) == std::vector(was.begin(), was.end()));
  }
  CHECK(check_checkpoint(read, a.agreed.text(), node_id{1}).empty());
  auto b = run_of();
  REQUIRE(digest_of_state(b.nodes[1]) != digest_of_state(a.nodes[1]));
  restore(b.nodes[1], read.state, b.pool);
  CHECK(digest_of_state(b.nodes[1]) == digest_of_state(a.nodes[1]));
  CHECK(std::distance(std::filesystem::directory_iterator{folder.path()}, {}) == 1);
}

TEST_CASE("no byte of a checkpoint can be changed or missing without a sentence") {
  scratch_folder folder{"checkpoint"};
  auto a = begun();
  auto const path = folder.path() / "c";
  write_checkpoint(path, checkpoint_of(a));
  auto const whole = content_of(path);
  auto const refused = [&](std::string const& bytes) {
    std::ofstream{path, std::ios::binary} << bytes;
    return refusal([&] { static_cast<void>(read_checkpoint(path)); });
  };
  for (std::size_t n = 0; n < whole.size(); ++n) REQUIRE(!refused(whole.substr(0, n)).empty());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    auto changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
    REQUIRE(!refused(changed).empty());
  }
  CHECK(refused(whole + "x").find("follows its end") != std::string::npos);
  CHECK(refused(whole.substr(0, whole.size() - 1)).find("'" + path.string() + "' is damaged") != std::string::npos);
  CHECK(refusal([&] { static_cast<void>(read_checkpoint(folder.path() / "none")); }).find("cannot be read") !=
        std::string::npos);
}

TEST_CASE("a checkpoint of another run, node or format is refused, and one of another build warns") {
  auto a = begun();
  auto const saved = checkpoint_of(a);
  auto const why = [&](auto&& call) { return refusal(call); };
  auto const other = run_of(0.2);
  CHECK(why([&] {
          check_checkpoint(saved, other.agreed.text(), node_id{1});
        }).find("step 0.1, but this node has 0.2") != std::string::npos);
  CHECK(why([&] { check_checkpoint(saved, a.agreed.text(), node_id{2}); }).find("is of node 1, and this is node 2") !=
        std::string::npos);
  auto built_elsewhere = saved;
  built_elsewhere.build = "rubato 9.9.9, some compiler";
  CHECK(check_checkpoint(built_elsewhere, a.agreed.text(), node_id{1}).find("bits may differ") != std::string::npos);

  auto b = run_of();
  CHECK(why([&] { restore(b.nodes[2], saved.state, b.pool); }).find("\"node\" does not fit") != std::string::npos);
  auto c = run_of(0.1, 20);
  CHECK(why([&] { restore(c.nodes[1], saved.state, c.pool); }).find("\"values\" does not fit") != std::string::npos);
  auto plain = assemble<r_fast<space>>(topology::binary_tree(4), problem::quadratic::random(4, 10, 1), {});
  CHECK(why([&] { restore(plain.nodes[1], saved.state, plain.pool); }).find("does not fit") != std::string::npos);
}

TEST_CASE("a checkpoint on another network says the names of both, which need not be the same for the same graph") {
  scratch_folder folder{"network"};
  auto const on = [](auto const& graph) {
    return assemble<r_fast<space>>(graph, problem::quadratic::random(4, 10, 1), {.step = 0.1});
  };
  auto ring = on(topology::ring(4)), line = on(topology::line(4)), renamed = on(topology::ring(4));
  renamed.network = "the same from a file";
  auto const o = checkpoint_options{.folder = folder.path(), .resume = true};
  auto host = detail::hosted_node{ring.nodes[1], 1};
  {
    auto to_save = o;
    to_save.resume = false;
    detail::checkpoint_writer writer;
    detail::node_checkpoints{to_save, ring, node_id{1}}.save(host, writer);
  }
  auto const why = [&](assembly& a) {
    auto its = detail::hosted_node{a.nodes[1], 1};
    return refusal([&] { static_cast<void>(detail::node_checkpoints{o, a, node_id{1}}.restore_into(its, a.pool)); });
  };
  CHECK(says(why(line), "has network 4 nodes, "));
  CHECK(says(why(line), "(its network is ring(4), "));
  CHECK(says(why(line), ", and this one "));
  CHECK(why(renamed).empty());
}

TEST_CASE("files of another run that lie in a folder are told of") {
  scratch_folder folder{"mixed"};
  auto const o = checkpoint_options{.folder = folder.path()};
  std::ofstream{o.file_of(node_id{1})} << "x";
  CHECK(ignored_checkpoints(o, 2, false).empty());
  CHECK(says(ignored_checkpoints(o, 1, false), "this run ignores 1 file of another one, such as 'node-1.checkpoint'"));
  std::ofstream{o.file_of(node_id{0}, 7)} << "x";
  std::ofstream{o.file_of(node_id{0}, 7).string() + ".aside"} << "x";
  CHECK(says(ignored_checkpoints(o, 2, false), "1 file of another one, such as 'node-0.round-7.checkpoint'"));
  CHECK(says(ignored_checkpoints(o, 2, true), "1 file of another one, such as 'node-1.checkpoint'"));
  CHECK(says(ignored_checkpoints(o, 0, true), "ignores 2 files"));
}

TEST_CASE("whether a node has a checkpoint can be asked, and a damaged one is one") {
  scratch_folder folder{"checkpoint"};
  auto const o = checkpoint_options{.folder = folder.path() / "saved"};
  CHECK_FALSE(has_checkpoint(o, node_id{1}));
  auto a = begun();
  write_checkpoint(o.file_of(node_id{1}), checkpoint_of(a));
  CHECK(has_checkpoint(o, node_id{1}));
  CHECK_FALSE(has_checkpoint(o, node_id{2}));
  std::ofstream{o.file_of(node_id{2})} << "x";
  CHECK(has_checkpoint(o, node_id{2}));
  std::filesystem::create_symlink(folder.path() / "loop", folder.path() / "loop");
  CHECK(has_checkpoint({.folder = folder.path() / "loop"}, node_id{1}));  // reading says why it cannot be read
}

TEST_CASE("of two that save the same node in one folder the second is refused, until the first has ended") {
  scratch_folder folder{"lock"};
  auto const o = checkpoint_options{.folder = folder.path()};
  auto const refused = [&](range nodes) {
    return refusal([&] { static_cast<void>(checkpoint_lock{}.take(o, nodes)); });
  };
  {
    checkpoint_lock first;
    CHECK(first.take(o, {2, 4}));
    CHECK(first.remark().empty());
    auto const me = "process " + std::to_string(::getpid()) + " on ";
    CHECK(says(refused({0, 8}), ("saves into '" + folder.path().string() + "' (node 2: " + me).c_str()));
    CHECK(says(refused({3, 4}), ("(node 3: " + me).c_str()));
    CHECK(says(checkpoint_lock::holder(o, {0, 4}), ("node 2: " + me).c_str()));
    CHECK(checkpoint_lock::holder(o, {0, 2}).empty());
    CHECK(refused({0, 2}).empty());
    CHECK(refused({4, 5}).empty());
    CHECK(checkpoint_lock{}.take_run(o));
    CHECK(checkpoint_lock::holder_of_run(o).empty());
  }
  CHECK(refused({0, 8}).empty());
  checkpoint_lock missing, unopened;
  CHECK((missing.take({.folder = folder.path() / "missing"}, {0, 1}) && missing.remark().empty()));
  std::filesystem::create_directory(folder.path() / "planted");
  std::filesystem::create_symlink(folder.path() / "lock", folder.path() / "planted" / "lock");
  CHECK(unopened.take({.folder = folder.path() / "planted"}, {0, 1}));
  CHECK(says(unopened.remark(), "planted' cannot be locked ("));
  std::filesystem::create_directory(folder.path() / "pipe");
  REQUIRE(::mkfifo((folder.path() / "pipe" / "lock").c_str(), 0600) == 0);
  CHECK(checkpoint_lock::holder({.folder = folder.path() / "pipe"}, {0, 1}).empty());  // it does not wait for a writer
  CHECK(says(refusal([&] { checkpoint_options{.wait = -1ns}.check(); }), "cannot be below 0"));
}

TEST_CASE("a run that resumes waits for a process that still saves its nodes, and a killed one holds nothing") {
  scratch_folder folder{"lock"};
  auto o = checkpoint_options{.folder = folder.path(), .resume = true, .wait = 50ms};
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  auto const child = ::fork();
  if (child == 0) {
    checkpoint_lock held;
    if (held.take(o, {0, 1}) && ::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  checkpoint_lock mine, other;
  CHECK(says(refusal([&] { static_cast<void>(other.take(o, {0, 1})); }),
             ("(node 0: process " + std::to_string(child) + " on ").c_str()));
  stop_source source;
  source.request_stop();
  o.wait = 1min;
  CHECK_FALSE(checkpoint_lock{}.take(o, {0, 1}, source.get_token()));
  REQUIRE(::kill(child, SIGKILL) == 0);
  CHECK(mine.take(o, {0, 1}));
  CHECK(::waitpid(child, nullptr, 0) == child);
  ::close(ready[0]), ::close(ready[1]);
}

TEST_CASE("a failed write over a checkpoint leaves the earlier one") {
  scratch_folder folder{"checkpoint"};
  auto a = begun();
  auto const path = folder.path() / "c";
  write_checkpoint(path, checkpoint_of(a));
  auto const before = content_of(path);
  detail::checkpoint_writer nowhere;
  nowhere.write(path / "below a file", checkpoint_of(a));
  CHECK(nowhere.finish().find(path.string()) != std::string::npos);
  nowhere.write(folder.path() / "another", checkpoint_of(a));  // that one is written hides nothing
  CHECK(nowhere.finish().find(path.string()) != std::string::npos);
  CHECK(content_of(path) == before);
}

/// sgd that counts, and does not say so.
struct counting_step {
  template<class Backend>
  struct state : step::sgd::state<Backend> {
    using rule = typename step::sgd::state<Backend>::rule;
    state(counting_step const&, Backend& b, std::size_t n) : step::sgd::state<Backend>{{}, b, n} {}
    auto next(double gamma) -> rule { return ++steps, step::sgd::state<Backend>::next(gamma); }
    std::uint64_t steps = 0;
  };
};

TEST_CASE("a policy that lists no state runs, and cannot be saved") {
  auto a = assemble<r_fast<space, counting_step>>(topology::binary_tree(4), problem::quadratic::random(4, 10, 1), {});
  CHECK(refusal([&] { static_cast<void>(take_snapshot(a.nodes[1])); }).find("its part \"step\"") != std::string::npos);
}

}  // namespace
}  // namespace rubato::test
