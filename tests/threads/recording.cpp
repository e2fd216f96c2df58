// SPDX-License-Identifier: MIT
// Recordings: what one driver did, another program's node does again to the last bit; what was changed is noticed.
#include <rubato/run/replay.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <rubato/algorithm/aliases.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/recorder.hpp>
#include <rubato/run/threads.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/sim/simulate.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using space = backend::host<float>;
using problem::quadratic;
namespace fs = std::filesystem;

struct setting {
  std::size_t nodes = 3;
  std::size_t dimension = 130;
  double step = 0.05;
};

template <class Node>
auto assembled(setting const& s) -> assembly {
  typename Node::options o;
  o.step = s.step;
  o.block_values = 64;
  return assemble<Node>(topology::binary_tree(s.nodes), quadratic::random(s.nodes, s.dimension, 5, {.noise = 0.1}), o);
}

/// The events of all nodes of a recorded run, each replayed by a node of its own.
template <class Node>
auto replayed_events(fs::path const& folder, setting const& s) -> std::uint64_t {
  auto a = assembled<Node>(s);
  std::uint64_t events = 0;
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    recorded_run run{folder / ("it.node-" + std::to_string(i) + ".log")};
    CHECK(run.header().self == to_node(i));
    CHECK(run.header().setup == "how it was made");
    auto const report = run.replay(std::move(a.nodes[i]), a.pool);
    CHECK_FALSE(report.cut_short);
    events += report.events;
  }
  return events;
}

auto recorded_events(recording const& r) -> std::uint64_t {
  std::uint64_t events = 0;
  for (auto const& s : r.statuses()) {
    CHECK(s.cut_short.empty());
    CHECK(fs::file_size(s.file) == s.bytes);
    events += s.events;
  }
  return events;
}

template <class Node>
auto threads_replay(fs::path const& folder) -> std::uint64_t {
  auto a = assembled<Node>({});
  auto const rec = record(a, {folder, "it", "how it was made"});
  auto const weather = sim::scenario{.compute = sim::fixed(50us).slow(2, 5.0),
                                     .link = {.latency = 20us, .jitter = 50us, .loss = 0.2, .overtaking = 0.2}};
  static_cast<void>(run_threads(std::move(a), weather, {.time = 5min, .gradients = 300}));
  auto const events = recorded_events(rec);
  CHECK(events >= 300);  // the gradients at least; how many messages are merged before they are read is the load's to say
  CHECK(replayed_events<Node>(folder, {}) == events);
  return events;
}

TEST_CASE("what threads did replays to identical bits, with loss and overtaking, cancelled gradients and a server") {
  scratch_folder const folder{"recording"};
  threads_replay<r_fast<space>>(folder.path());
  threads_replay<m_synchronous_sgd<space>>(folder.path());
  threads_replay<r_fast_low_bits<space>>(folder.path());
  // Between two steps its server hands on one model again and again.
  threads_replay<server_sgd<space, server::accept_all, weighting::constant, server::buffered>>(folder.path());
}

/// A short simulated run whose datagrams carry one block; returns node 0's file.
auto simulated(fs::path const& folder, setting const& s, std::uint64_t bytes_max = 1 << 20) -> fs::path {
  auto a = assembled<r_fast<space>>(s);
  auto const rec = record(a, {folder, "it", "how it was made", bytes_max});
  sim::scenario weather;
  weather.link = {.latency = 3ms, .jitter = 5ms, .loss = 0.1, .duplication = 0.2};
  weather.split = sim::delivery::blocks;
  static_cast<void>(simulate(std::move(a), weather, {.gradients = 4 * s.nodes}));
  return rec.statuses()[0].file;
}

TEST_CASE("what the simulator did in single blocks replays to identical bits") {
  scratch_folder const folder{"recording"};
  simulated(folder.path(), {});
  CHECK(replayed_events<r_fast<space>>(folder.path(), {}) > 20);
}

auto replay_of(fs::path const& file, setting const& s) -> replay_report {
  auto a = assembled<r_fast<space>>(s);
  return recorded_run{file}.replay(std::move(a.nodes[0]), a.pool);
}

TEST_CASE("a node of another step does not replay, and the sentence names the event") {
  scratch_folder const folder{"recording"};
  auto const file = simulated(folder.path(), {});
  auto other = setting{};
  other.step = 0.050001;
  auto const sentence = failure([&] { static_cast<void>(replay_of(file, other)); });
  CHECK(says(sentence, "node 0 does not replay: after event "));
  CHECK(says(sentence, "it.node-0.log"));
}

void write_bytes(fs::path const& file, std::string const& bytes) {
  std::ofstream{file, std::ios::binary}.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Whether the replay of these bytes as a file ends with a sentence about it.
auto is_noticed(fs::path const& file, std::string const& bytes, setting const& s) -> bool {
  write_bytes(file, bytes);
  auto sentence = std::string{};
  sentence = refusal([&] { sentence = failure([&] { static_cast<void>(replay_of(file, s)); }); }) + sentence;
  return says(sentence, file.filename().c_str());
}

TEST_CASE("every flipped bit of a recording and every cut of it is noticed") {
  scratch_folder const folder{"recording"};
  auto const tiny = setting{2, 1, 0.05};
  auto const whole = content_of(simulated(folder.path(), tiny));
  REQUIRE(whole.size() > 500);
  auto const changed = folder.path() / "changed.log";
  REQUIRE_FALSE(is_noticed(changed, whole, tiny));
  for (std::size_t bit = 0; bit < 8 * whole.size(); bit += 3) {  // 3 is prime to 8: every place in a byte comes
    auto bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    if (!is_noticed(changed, bytes, tiny)) FAIL("bit " << bit << " was flipped, and nobody noticed");
  }
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    if (!is_noticed(changed, whole.substr(0, size), tiny)) FAIL("only " << size << " bytes were left, and nobody noticed");
  }
  CHECK(is_noticed(changed, whole + "x", tiny));
}

TEST_CASE("a recording stays within its limit, and what it holds replays") {
  scratch_folder const folder{"recording"};
  auto const file = simulated(folder.path(), {}, 5000);
  CHECK(fs::file_size(file) <= 5000);
  auto const report = replay_of(file, {});
  CHECK(report.cut_short);
  CHECK(report.events > 2);
}

TEST_CASE("a recording of another build is refused with both builds named") {
  scratch_folder const folder{"recording"};
  auto bytes = content_of(simulated(folder.path(), {}));
  auto const at = bytes.find("rubato ");
  bytes[at] = 'R';
  auto const header_end = bytes.find("how it was made") + 15 + 4;
  auto const head = std::string_view{bytes}.substr(0, header_end);
  auto const sum = digest{}.add(std::as_bytes(std::span{head})).value();
  for (std::size_t i = 0; i < 8; ++i) bytes[header_end + i] = static_cast<char>(sum >> (8 * i));
  auto const file = folder.path() / "other.log";
  write_bytes(file, bytes);
  auto const sentence = refusal([&] { static_cast<void>(replay_of(file, {})); });
  CHECK(says(sentence, "was made by 'Rubato 0."));
  CHECK(says(sentence, build_text().c_str()));
}

TEST_CASE("a file that is no recording is refused by name") {
  scratch_folder const folder{"recording"};
  write_bytes(folder.path() / "letter.log", "Dear reader, this is a letter.");
  CHECK(says(refusal([&] { recorded_run const r{folder.path() / "letter.log"}; }), "letter.log' is no recording"));
  CHECK(says(refusal([&] { recorded_run const r{folder.path() / "nowhere.log"}; }), "nowhere.log' cannot be opened"));
}

}  // namespace
}  // namespace rubato::test
