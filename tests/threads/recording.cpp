// SPDX-License-Identifier: MIT
// Recordings: another program's node repeats what one driver did, to the last bit; changes are detected.
#include <rubato/run/replay.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/recorder.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/forged_recording.hpp"
#include "support/full_disk.hpp"
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

template<class Node>
auto assembled(setting const& s) -> assembly {
  typename Node::options o;
  o.step = s.step;
  o.block_values = 64;
  return assemble<Node>(topology::binary_tree(s.nodes), quadratic::random(s.nodes, s.dimension, 5, {.noise = 0.1}), o);
}

/// The events of all nodes of a recorded run, each replayed by a node of its own.
template<class Node>
auto replayed_events(fs::path const& folder, setting const& s) -> std::uint64_t {
  std::uint64_t events = 0;
  for (std::size_t i = 0; i < assembled<Node>(s).nodes.size(); ++i) {
    recorded_run run{folder / ("it.node-" + std::to_string(i) + ".log")};
    CHECK(run.header().self == to_node(i));
    CHECK(run.header().setup == "how it was made");
    auto const report = run.replay(assembled<Node>(s));
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

template<class Node>
auto threads_replay(fs::path const& folder) -> std::uint64_t {
  auto a = assembled<Node>({});
  auto const rec = record(a, {folder, "it", "how it was made"});
  auto const weather = environment::scenario{.compute = environment::fixed(50us).slow(2, 5.0),
                                             .link = {.latency = 20us, .jitter = 50us, .loss = 0.2, .overtaking = 0.2}};
  static_cast<void>(run_threads(std::move(a), weather, {.time = 5min, .gradients = 300}));
  auto const events = recorded_events(rec);
  CHECK(events >=
        300);  // the gradients at least; how many messages are merged before they are read is the load's to say
  CHECK(replayed_events<Node>(folder, {}) == events);
  return events;
}

TEST_CASE("a run on threads replays to identical bits, with loss and overtaking, cancelled gradients and a server") {
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
  environment::scenario weather;
  weather.link = {.latency = 3ms, .jitter = 5ms, .loss = 0.1, .duplication = 0.2};
  weather.split = environment::delivery::blocks;
  static_cast<void>(simulate(std::move(a), weather, {.gradients = 4 * s.nodes}));
  return rec.statuses()[0].file;
}

TEST_CASE("a simulated run with single blocks replays to identical bits") {
  scratch_folder const folder{"recording"};
  simulated(folder.path(), {});
  CHECK(replayed_events<r_fast<space>>(folder.path(), {}) > 20);
}

auto replay_of(fs::path const& file, setting const& s) -> replay_report {
  return recorded_run{file}.replay(assembled<r_fast<space>>(s));
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

TEST_CASE("every flipped bit and every truncation of a recording is detected") {
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
    if (!is_noticed(changed, whole.substr(0, size), tiny))
      FAIL("only " << size << " bytes were left, and nobody noticed");
  }
  CHECK(is_noticed(changed, whole + "x", tiny));
}

/// What replay says of node 0's recording, its digests right, once `change` has been at the first input of that kind.
template<class Change>
auto forged(fs::path const& folder, logged kind, Change const& change) -> std::string {
  auto parts = taken_apart(bytes_of_file(simulated(folder, {})));
  for (auto& r : parts.records) {
    if (r.kind != static_cast<std::uint8_t>(kind)) continue;
    change(r);
    break;
  }
  auto const all = sealed(parts);
  write_bytes(folder / "forged.log", {reinterpret_cast<char const*>(all.data()), all.size()});
  auto sentence = std::string{};
  sentence =
      refusal([&] { sentence = failure([&] { static_cast<void>(replay_of(folder / "forged.log", {})); }); }) + sentence;
  return sentence;
}

TEST_CASE("a forged recording is refused by event and byte before any field of it is used") {
  scratch_folder const folder{"recording"};
  auto const patch = [&](std::size_t at, auto value) {
    return forged(folder.path(), logged::patch,
                  [&](recorded_event& r) { wire::detail::put(r.input.data() + at, value); });
  };
  constexpr auto every = ~std::uint64_t{0};
  // Where the fields of a message lie: see put_patch().
  CHECK(says(patch(0, std::uint64_t{1} << 63), "that no run can reach"));
  CHECK(says(patch(0, std::uint64_t{0} - 5), "a time before the run"));
  CHECK(says(patch(8, std::uint32_t{7}), "node 7, which is no neighbour"));
  CHECK(says(patch(12, std::uint32_t{1}), "could not have been sent"));
  CHECK(says(patch(16, std::uint8_t{200}), "channel 200"));
  CHECK(says(patch(16, std::uint8_t{2}), "a chunk message"));
  CHECK(says(patch(33, every / 2), "that no run can reach"));
  CHECK(says(patch(41, every), "could not have been sent"));
  CHECK(says(patch(49, every), "could not have been sent"));
  CHECK(says(patch(57, every), "it ends in the middle"));
  CHECK(says(patch(57, std::uint64_t{2}), "2 iteration numbers for blocks"));
  auto const without_numbers = forged(folder.path(), logged::patch, [](recorded_event& r) {
    for (auto const at : {41U, 49U, 57U}) wire::detail::put(r.input.data() + at, std::uint64_t{0});
    r.input.erase(r.input.begin() + 65, r.input.begin() + 73);
  });
  CHECK(says(without_numbers, "0 iteration numbers for blocks 0 to 0"));
  CHECK(says(patch(65, std::uint64_t{0}), "could not have been sent"));
  CHECK(says(patch(73, std::uint8_t{255}), "could not have been sent"));
  CHECK(says(patch(106, std::uint8_t{77}), "no known type"));
  CHECK(says(patch(106, std::uint8_t{1}), "could not have been sent"));
  CHECK(says(patch(107, every), "it ends in the middle"));
  auto const where = patch(16, std::uint8_t{200});
  INFO(where);
  CHECK(says(where, "forged.log' is damaged at event "));
  CHECK(says(where, ", byte "));

  auto const gradient = [&](auto const& change) { return forged(folder.path(), logged::gradient, change); };
  auto const shorter = gradient([](recorded_event& r) {
    r.input.resize(r.input.size() - 4);
    wire::detail::put(r.input.data() + 33, number_at(r.input, 33) - 4);
  });
  CHECK(says(shorter, "a gradient of 129 values, and the run's have 130"));
  CHECK(
      says(gradient([](recorded_event& r) { wire::detail::put(r.input.data() + 24, every); }), "a negative duration"));
  CHECK(says(gradient([](recorded_event& r) { r.input.resize(200'000); }), "200000 bytes, more than the run can need"));
  CHECK(says(gradient([](recorded_event& r) { r.kind = 9; }), "no known kind"));
  CHECK(says(gradient([](recorded_event& r) { r.kind = 0, r.input.resize(8); }), "a node is started once"));
  CHECK(says(forged(folder.path(), logged::start, [](recorded_event& r) { r.kind = 3, r.input.resize(20); }),
             "a node is started once"));
}

TEST_CASE("a recording with an endless text, an unknown node or that is no file is refused") {
  scratch_folder const folder{"recording"};
  auto parts = taken_apart(bytes_of_file(simulated(folder.path(), {})));
  auto const file = folder.path() / "forged.log";
  auto const said = [&] {
    auto const all = sealed(parts);
    write_bytes(file, {reinterpret_cast<char const*>(all.data()), all.size()});
    fs::resize_file(file, std::uintmax_t{1} << 40);  // a hole, which takes no disk
    return refusal([&] { static_cast<void>(replay_of(file, {})); });
  };
  parts.head[parts.head.size() - 4] = std::byte{9};
  CHECK(says(said(), "is of node 9, and its run has nodes 0 to 2"));
  wire::detail::put(parts.head.data() + 12, std::uint64_t{1} << 39);
  CHECK(says(said(), "in its header: it announces a text of 549755813888 bytes"));
  CHECK(says(refusal([&] { recorded_run const r{folder.path()}; }), "is not a recording"));
}

TEST_CASE("a recording replaces a link in its place, not the file that the link points to") {
  scratch_folder const folder{"recording"};
  write_bytes(folder.path() / "precious", "keep me");
  fs::create_directories(folder.path() / "logs");
  fs::create_symlink(folder.path() / "precious", folder.path() / "logs" / "it.node-0.log");
  simulated(folder.path() / "logs", {});
  CHECK(content_of(folder.path() / "precious") == "keep me");
  CHECK(fs::is_regular_file(fs::symlink_status(folder.path() / "logs" / "it.node-0.log")));
}

TEST_CASE("a recording that cannot be written ends with its reason") {
  scratch_folder const folder{"recording"};
  auto a = assembled<r_fast<space>>({});
  auto const rec = record(a, {folder.path(), "it", ""});
  {
    full_disk const full{9000};
    static_cast<void>(simulate(std::move(a), {}, {.gradients = 60}));
  }
  CHECK(says(rec.failure(), "it.node-0.log' failed after "));
  CHECK(rec.statuses()[0].end == recording_status::ending::failed);
}

TEST_CASE("a recording stays within its size limit, and its contents replay") {
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
  CHECK(says(refusal([&] { recorded_run const r{folder.path() / "letter.log"}; }), "letter.log' is not a recording"));
  CHECK(says(refusal([&] { recorded_run const r{folder.path() / "nowhere.log"}; }), "nowhere.log' cannot be opened"));
}

}  // namespace
}  // namespace rubato::test
