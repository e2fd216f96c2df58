// SPDX-License-Identifier: MIT
// The round at which all nodes end, as one of them sees it: whose end names which round, and how long it is waited for.
#include <rubato/driver/detail/last_meeting.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/refusal.hpp"
#include "support/scratch_folder.hpp"

using namespace std::chrono_literals;

namespace rubato::test {
namespace {

using node = low_precision_d_psgd<backend::host<double>>;
using transport::peer_status;
constexpr auto running = peer_status{peer_status::phase::running, 0, {}, 0};

auto at(std::chrono::nanoseconds since_start) -> instant { return instant{since_start}; }
auto met_at(std::uint64_t round, bool interrupted) -> peer_status {
  return peer_status::meets_at(round, interrupted, 0);
}

/// Node 0 of a ring, which has begun and is saved at round 0; nobody is more than one round ahead of it.
struct one_node {
  explicit one_node(std::size_t nodes)
      : a{assemble<node>(topology::ring(nodes), problem::quadratic::random(nodes, 2, 1), {.step = 0.1})} {
    saves.reach(nodes > 1 ? 1 : 0, nodes);
    host.start({}, drop);
    REQUIRE(saves.save_round_if_due(host, writer));
  }
  /// Of a node alone: one round more. False if it ends there.
  auto round() -> bool {
    REQUIRE(writer.finish() == "");
    host.finish({}, a.oracle.evaluate(host.take_request().value()), drop);
    return saves.save_round_if_due(host, writer);
  }

  static constexpr auto drop = [](packet const&, instant) {};
  scratch_folder folder{"meeting"};
  assembly a;
  detail::hosted_node host{a.nodes[0], 0};
  detail::node_checkpoints saves{{.folder = folder.path(), .every_rounds = 1000}, a, node_id{0}};
  detail::checkpoint_writer writer{};
  detail::last_meeting meeting{saves, host, 300ms};
};

TEST_CASE("who comes to its end names the earliest round that no node can have begun, and waits for it for linger") {
  one_node here{3};
  auto& m = here.meeting;
  m.hurry(at(1s));  // waits for nothing yet
  CHECK_FALSE((m.is_named() || m.is_awaited({}) || m.was_held()));
  CHECK(m.status_after(running) == running);
  m.name_earliest(false, at(1s));
  CHECK(m.is_named());
  CHECK_FALSE(m.is_interrupted());
  CHECK(m.status_after(running) ==
        met_at(2, false));  // round 1 may be under way, and one neighbour may be ahead by one
  m.name_earliest(false, at(2s));  // the first time counts
  CHECK(m.is_awaited(at(1300ms)));
  CHECK_FALSE(m.is_awaited(at(1301ms)));
  m.give_up();
  CHECK_FALSE(m.is_awaited(at(1s)));
  CHECK(says(m.words_of_none(), "the last round at which all were saved, round 0 or an earlier one"));
}

TEST_CASE("a node that hears of a meeting goes on to the earlier round, and waits longer only if one was interrupted") {
  one_node here{3};
  auto& m = here.meeting;
  m.hear(running, {});
  CHECK_FALSE(m.is_named());
  m.hear(met_at(9, false), at(1s));
  CHECK(m.status_after(running) == met_at(9, false));
  CHECK_FALSE(m.is_awaited(at(1s)));  // its own end ends it
  m.hear(met_at(5, true), at(2s));
  m.hear(met_at(7, false), at(3s));
  CHECK(m.is_interrupted());
  CHECK(m.status_after(running) == met_at(5, true));
  CHECK(m.is_awaited(at(2300ms)));
  CHECK_FALSE(m.is_awaited(at(2301ms)));
  m.hurry(at(2200ms));  // interrupted after its own end
  m.hurry(at(9s));  // which shortens, and never lengthens
  CHECK(m.is_awaited(at(2200ms)));
  CHECK_FALSE(m.is_awaited(at(2201ms)));
  auto const later = peer_status{peer_status::phase::left, 0, {}, 0};
  CHECK(m.status_after(later) == later);
}

TEST_CASE("a number of gradients names its round once nobody can have begun that round, and none names nothing") {
  one_node endless{3}, soon{3}, far{3};
  endless.meeting.foresee((std::numeric_limits<std::uint64_t>::max)());
  endless.meeting.foresee(2);
  CHECK(endless.meeting.is_named());  // the number that is no number was not the one foreseen
  soon.meeting.foresee(2);
  CHECK((soon.meeting.is_named() && soon.meeting.status_after(running) == met_at(2, false)));
  far.meeting.foresee(3);
  CHECK_FALSE(far.meeting.is_named());
}

TEST_CASE("a node that was saved at the round that was named has met the others there") {
  one_node alone{1};
  alone.meeting.foresee(3);
  CHECK(alone.round());
  CHECK(alone.round());
  CHECK_FALSE(alone.meeting.was_held());
  alone.meeting.foresee(3);
  CHECK(alone.meeting.is_named());
  CHECK_FALSE(alone.round());
  CHECK(alone.meeting.was_held());
  CHECK(says(alone.meeting.words_of_all(), "all were saved at round 3"));
}

}  // namespace
}  // namespace rubato::test
