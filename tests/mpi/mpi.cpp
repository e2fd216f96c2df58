// SPDX-License-Identifier: MIT
// What is MPI's own: refusals, messages cut short, one that stops in the middle, and a long one that arrives in pieces,
// each of which is a sign of life.
#include <rubato/transport/mpi.hpp>

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/collective/all_reduce.hpp>

#include "mpi/worlds.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

TEST_CASE("a node whose id is not its rank, one without a rank, and a second thread are refused in one sentence") {
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto const refused = [](transport::identity me) { return refusal([&] { transport::mpi m{std::move(me), {}}; }); };
  auto const other = test_identity(rank + 1, 9);
  auto const self = std::to_string(rank), next = std::to_string(rank + 1);
  CHECK(says(refused(other), ("node " + next + " must be rank " + next + ", not rank " + self).c_str()));
  CHECK(says(refused(test_identity(rank, 9)), "has no rank: MPI runs "));
  std::string elsewhere;
  std::jthread{[&] { elsewhere = refused(test_identity(rank, 2)); }}.join();
  CHECK(says(elsewhere, "belongs to the thread that initialised MPI"));
}

/// A rank that speaks MPI by itself: what the transport would send, when the test says so.
class impostor {
 public:
  /// Collective, as a transport is.
  explicit impostor(MPI_Comm ranks) : space_{transport::detail::next_space(ranks)} {}
  void greet(transport::identity const& me) {
    say(wire::encode_hello({me.agreed.id(), node_id{1}, node_id{0}, 0, 0, 0, 0}, me.agreed.text()));
  }
  /// To rank 0, which must be polling if the bytes are many.
  void say(std::span<std::byte const> bytes) {
    MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, space_.tag, space_.comm);
  }
  /// Begins to, and does no more for it.
  void start_saying(std::span<std::byte const> bytes) {
    MPI_Request never_looked_at = MPI_REQUEST_NULL;
    MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, space_.tag, space_.comm, &never_looked_at);
    MPI_Request_free(&never_looked_at);
  }

 private:
  transport::detail::mpi_space space_;
};

/// Ranks 0 and 1; nothing for the others.
auto first_two() -> MPI_Comm {
  MPI_Comm two = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank_of(MPI_COMM_WORLD) < 2 ? 0 : MPI_UNDEFINED, 0, &two);
  return two;
}

/// Of two nodes, whose models have so many values, and travel without a checksum.
auto unsealed(std::size_t self, std::size_t values) -> transport::identity {
  auto me = test_identity(self, 2);
  me.blocks = block_partition{values};
  me.check = nullptr;
  return me;
}

/// From node 1 to node 0.
auto frame_of(transport::identity const& me, shared_buffer body) -> std::vector<std::byte> {
  auto const p = message(1, 0, channel_id::model, 1, std::move(body));
  std::vector<std::byte> frame;
  wire::encode(p, wire::uncut(p, me.blocks), frame, {me.agreed.id(), me.check});
  return frame;
}

TEST_CASE("messages to a transport that is gone reach neither its successor nor the program's own communicator") {
  auto two = first_two();
  if (two == MPI_COMM_NULL) return;
  auto const rank = rank_of(two);
  for (std::uint64_t session = 0; session < 3; ++session) {
    auto me = test_identity(rank, 2);
    me.agreed.add("session", session);
    transport::mpi{me, {}, two};  // its hello is on its way
    MPI_Barrier(two);
    me.agreed.add("next", true);
    seat<transport::mpi> next{std::make_unique<transport::mpi>(me, transport::mpi_options{}, two)};
    REQUIRE(poll_until<transport::mpi>({&next}, [&] { return !next.got.empty(); }));
    CHECK(next.got.front().kind == what::opened);
    MPI_Comm own = MPI_COMM_NULL;
    MPI_Comm_dup(two, &own);
    auto const said = static_cast<int>(rank);
    auto heard = -1;
    MPI_Status from;
    MPI_Sendrecv(&said, 1, MPI_INT, 1 - said, 1, &heard, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, own, &from);
    CHECK(heard == 1 - said);
    CHECK(from.MPI_TAG == 1);
    MPI_Comm_free(&own);
  }
  MPI_Comm_free(&two);
}

TEST_CASE("a group of ranks that has used all tags goes on with another communicator") {
  auto two = first_two();
  if (two == MPI_COMM_NULL) return;
  auto const first = transport::detail::next_space(two);
  auto now = first;
  for (auto tag = first.tag + 1; tag <= 32767; ++tag) {
    now = transport::detail::next_space(two);
    REQUIRE(now.tag == tag);
  }
  CHECK(now.comm == first.comm);
  now = transport::detail::next_space(two);
  CHECK(now.tag == 1);
  CHECK(now.comm != first.comm);
  MPI_Comm_free(&two);
}

TEST_CASE("ranks add up vectors by each algorithm, and all hold the same sum") {
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  auto const n = static_cast<std::size_t>(ranks);
  auto const me = collective::identity_of(to_node(rank), n, &wire::xxh3_of, {.piece_values = 1000});
  transport::mpi wires{me, {}};
  collective::port port{me, wires, {.piece_values = 1000}};
  for (auto const by : collective::all_algorithms) {
    std::vector<float> values(10'007);
    for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(k % 97 * (rank + 1));
    collective::all_reduce(port, std::span{values}, {.by = by});
    auto right = true;
    for (std::size_t k = 0; k < values.size(); ++k)
      right = right && values[k] == static_cast<float>(k % 97 * (n * (n + 1) / 2));
    CHECK(right);
  }
}

TEST_CASE("a rank that does not begin is reported by the others within the deadline") {
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto two = first_two();
  if (two == MPI_COMM_NULL) return;
  auto word = 0;
  if (rank == 0) {
    auto const said = refusal([&] { static_cast<void>(transport::detail::duplicate_of(two, 50ms)); });
    CHECK(says(said, "not all ranks of MPI have begun this run within 0.05 s"));
    MPI_Send(&word, 1, MPI_INT, 1, 0, two);
  } else {
    MPI_Recv(&word, 1, MPI_INT, 0, 0, two, MPI_STATUS_IGNORE);
    auto late = transport::detail::duplicate_of(two, 30s);
    CHECK(late != MPI_COMM_NULL);
  }
  MPI_Barrier(two);  // nothing stands in its way
}

TEST_CASE("a truncated header or body is not accepted as a frame, even without a checksum") {
  constexpr std::size_t values = 300;
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto two = first_two();
  if (two == MPI_COMM_NULL) return;
  auto const me = unsealed(rank, values);
  for (auto const header_bytes : {wire::header_bytes - 1, wire::header_bytes}) {
    if (rank == 0) {
      seat<transport::mpi> here{std::make_unique<transport::mpi>(me, transport::mpi_options{}, two)};
      REQUIRE(poll_until<transport::mpi>({&here}, [&] { return here.count(what::closed) == 1; }));
      CHECK(says(here.newest(what::closed)->why, "node 1 is gone: it sent something that is not a frame of this run"));
      CHECK(here.count(what::message) == 1);  // the one before
      CHECK(here.end->rejected().frames == 1);
    } else {
      impostor there{two};
      buffer_pool pool;
      there.greet(me);
      auto const frame = frame_of(me, counting(pool, 1, values));
      auto const whole = std::span<std::byte const>{frame};
      there.say(whole.first(wire::header_bytes));
      there.say(whole.subspan(wire::header_bytes));
      there.say(whole.first(header_bytes));
      there.say(whole.subspan(wire::header_bytes, 4));
    }
  }
  MPI_Comm_free(&two);
}

TEST_CASE("a transport can be destroyed although its peer stopped in the middle of a body") {
  constexpr std::size_t piece = std::size_t{1} << 20, values = 2 * piece / sizeof(float);
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto two = first_two();
  if (two == MPI_COMM_NULL) return;
  // Rank 1 may not enter MPI before rank 0 is through, so it is told by a file.
  auto folder = (std::filesystem::temp_directory_path() / "rubato-mpi-XXXXXX").string();
  if (rank == 0) REQUIRE(mkdtemp(folder.data()) != nullptr);
  MPI_Bcast(folder.data(), static_cast<int>(folder.size()), MPI_CHAR, 0, two);
  auto const word = std::filesystem::path{folder} / "word";
  auto const me = unsealed(rank, values);
  static std::vector<std::byte> frame;  // MPI may read it until the end
  if (rank == 0) {
    seat<transport::mpi> here{std::make_unique<transport::mpi>(me, transport::mpi_options{.silence = 300ms}, two)};
    REQUIRE(poll_until<transport::mpi>({&here}, [&] { return here.count(what::closed) == 1; }));
    CHECK(says(here.newest(what::closed)->why, "node 1 is gone: it has been silent for 0.3 s"));
    here.end.reset();
    std::ofstream{word} << "through";
  } else {
    impostor there{two};
    buffer_pool pool;
    frame = frame_of(me, counting(pool, 0, values));
    there.greet(me);
    there.say(std::span{frame}.first(wire::header_bytes));
    there.start_saying(std::span{frame}.subspan(wire::header_bytes, piece));
    auto const latest = transport::clock::now() + 30s;
    while (!std::filesystem::exists(word) && transport::clock::now() < latest) std::this_thread::yield();
    CHECK(std::filesystem::remove_all(folder) == 2);
  }
  MPI_Comm_free(&two);
}

TEST_CASE("a message that takes longer than the silence is no loss of the peer while its pieces arrive") {
  constexpr auto silence = 600ms;
  constexpr std::size_t piece = std::size_t{1} << 20, pieces = 5, values = pieces * piece / sizeof(float);
  auto const rank = rank_of(MPI_COMM_WORLD);
  auto two = first_two();
  if (two == MPI_COMM_NULL) return;
  auto const me = unsealed(rank, values);
  if (rank == 0) {
    seat<transport::mpi> here{std::make_unique<transport::mpi>(me, transport::mpi_options{.silence = silence}, two)};
    auto const begin = transport::clock::now();
    REQUIRE(
        poll_until<transport::mpi>({&here}, [&] { return here.count(what::message) + here.count(what::closed) > 0; }));
    CHECK(transport::clock::now() - begin > silence);
    CHECK(here.count(what::closed) == 0);
    REQUIRE(here.count(what::message) == 1);
    auto const body = here.newest(what::message)->p.body.view<float>();
    REQUIRE(body.size() == values);
    for (std::size_t i = 0; i < values; i += 1009) REQUIRE(body[i] == static_cast<float>(i));
    // Then nothing comes any more.
    REQUIRE(poll_until<transport::mpi>({&here}, [&] { return here.count(what::closed) == 1; }));
    CHECK(says(here.newest(what::closed)->why, "node 1 is gone: it has been silent for 0.6 s"));
  } else {
    impostor there{two};
    buffer_pool pool;
    there.greet(me);
    auto const frame = frame_of(me, counting(pool, 0, values));
    auto rest = std::span<std::byte const>{frame};
    there.say(rest.first(wire::header_bytes));
    rest = rest.subspan(wire::header_bytes);
    for (std::size_t k = 0; k < pieces; ++k) {
      auto const due = transport::clock::now() + silence / 3;
      while (transport::clock::now() < due) std::this_thread::yield();
      there.say(rest.subspan(k * piece, piece));
    }
  }
  MPI_Comm_free(&two);
}

}  // namespace
}  // namespace rubato::test
