// SPDX-License-Identifier: MIT
// libFuzzer's target for the reader of recordings. Digests keep a fuzzer out, and nobody who forges a recording: so
// each input changes a good recording and then gets the digests that make it pass. Whatever it holds, replay ends with
// its report or with one sentence; tests/fuzz/run.sh builds and runs it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/recorder.hpp>
#include <rubato/run/replay.hpp>
#include <rubato/topology/builders.hpp>

#include "../support/forged_recording.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using test::bytes, test::recorded_parts;

auto assembled() -> assembly {
  using node = r_fast<backend::host<float>>;
  return assemble<node>(topology::ring(3), problem::quadratic::random(3, 70, 1), {.step = 0.05, .block_values = 64});
}

/// Node 0's recording of a short run, in blocks, with messages that come late and twice.
auto good() -> recorded_parts {
  char folder[] = "/tmp/rubato_fuzz_XXXXXX";
  if (mkdtemp(folder) == nullptr) std::abort();
  {
    auto a = assembled();
    static_cast<void>(rubato::record(a, {folder, "it", "setup"}));
    environment::scenario weather;
    weather.link = {.latency = 3ms, .jitter = 5ms, .loss = 0.1, .duplication = 0.2};
    weather.split = environment::delivery::blocks;
    static_cast<void>(simulate(std::move(a), weather, {.gradients = 8}));
  }
  auto parts = test::taken_apart(test::bytes_of_file(std::filesystem::path{folder} / "it.node-0.log"));
  std::filesystem::remove_all(folder);
  return parts;
}

void change(bytes& at, std::span<std::uint8_t const, 4> how) {
  if (at.empty()) return;
  auto const place = (how[0] + 256U * how[1]) % at.size();
  if (how[3] == 255) at.resize(place);
  else if (how[3] == 254) at.insert(at.begin() + static_cast<std::ptrdiff_t>(place), how[2] % 16U, std::byte{how[2]});
  else if (how[3] > 246)
    wire::detail::put(at.data() + (place + 8 <= at.size() ? place : 0),
                      at.size() < 8 ? 0ULL : ~0ULL >> (how[3] - 247U) * 8U >> how[2] % 8U);
  else at[place] ^= std::byte{how[2]};
}

/// Six bytes a change: which record, what to do, and where.
auto changed(recorded_parts r, std::span<std::uint8_t const> how) -> bytes {
  auto raw = false;
  for (; how.size() >= 6; how = how.subspan(6)) {
    auto const which = how[0] % r.records.size();
    auto& its = r.records[which];
    if (how[1] < 200) change(its.input, how.subspan<2, 4>());
    else if (how[1] < 215) its.kind = how[2];
    else if (how[1] < 225)
      r.records.insert(r.records.begin() + static_cast<std::ptrdiff_t>(which), r.records[how[2] % r.records.size()]);
    else if (how[1] < 235 && r.records.size() > 1)
      r.records.erase(r.records.begin() + static_cast<std::ptrdiff_t>(which));
    else if (how[1] < 245) change(r.head, how.subspan<2, 4>());
    else raw = true;
  }
  auto all = test::sealed(r);
  if (raw && how.size() >= 4) change(all, how.first<4>());
  return all;
}

/// What replay needs of a run; its other nodes are never looked at.
auto fresh() -> assembly {
  static auto const once = assembled();
  assembly a;
  a.blocks = once.blocks;
  a.pool = once.pool;
  a.factory = once.factory;
  a.nodes.resize(once.nodes.size());
  a.nodes[0] = a.factory.make(0, {}, 0);
  return a;
}

void read(std::string const& path) {
  try {
    auto run = recorded_run{path};
    if (run.header().self == node_id{0}) static_cast<void>(run.replay(fresh()));
  } catch (config_error const& e) {
    if (std::string{e.what()}.find('\n') != std::string::npos) std::abort();
  } catch (run_error const&) {
  }
}

}  // namespace

extern "C" auto LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) -> int {
  static auto const whole = good();
  static auto const file = memfd_create("recording", 0);
  static auto const path = "/proc/self/fd/" + std::to_string(file);
  auto const all = changed(whole, {data, size});
  if (ftruncate(file, 0) != 0 || pwrite(file, all.data(), all.size(), 0) != static_cast<ssize_t>(all.size()))
    std::abort();
  read(path);
  return 0;
}
