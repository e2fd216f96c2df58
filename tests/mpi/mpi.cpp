// SPDX-License-Identifier: MIT
// What is MPI's own: refusals, and a long message that arrives in pieces, each of which is a sign of life.
#include <rubato/transport/mpi.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mpi/worlds.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

TEST_CASE("a node whose id is not its rank, one without a rank, and another thread are refused in one sentence") {
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
  explicit impostor(MPI_Comm ranks) { MPI_Comm_dup(ranks, &comm_); }
  impostor(impostor const&) = delete;
  auto operator=(impostor const&) -> impostor& = delete;
  ~impostor() { MPI_Comm_free(&comm_); }
  /// To rank 0, which must be polling if the bytes are many.
  void say(std::span<std::byte const> bytes) {
    MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, 1, comm_);
  }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
};

TEST_CASE("a message that takes longer than a peer may be silent is no death, as long as its pieces come") {
  constexpr auto silence = 600ms;
  constexpr std::size_t piece = std::size_t{1} << 20, pieces = 5, values = pieces * piece / sizeof(float);
  auto const rank = rank_of(MPI_COMM_WORLD);
  MPI_Comm two = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank < 2 ? 0 : MPI_UNDEFINED, 0, &two);
  if (rank >= 2) return;
  auto me = test_identity(rank, 2);
  me.blocks = block_partition{values};
  if (rank == 0) {
    seat<transport::mpi> here{std::make_unique<transport::mpi>(me, transport::mpi_options{.silence = silence}, two)};
    auto const begin = transport::clock::now();
    REQUIRE(poll_until<transport::mpi>({&here}, [&] { return here.count(what::message) + here.count(what::closed) > 0; }));
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
    auto const run = me.agreed.id();
    there.say(wire::encode_hello({run, node_id{1}, node_id{0}, 0, 0, 0, 0}, me.agreed.text()));
    auto const p = message(1, 0, channel::model, 1, counting(pool, 0, values));
    std::vector<std::byte> frame;
    wire::encode(p, wire::uncut(p, me.blocks), frame, {run, me.check});
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
