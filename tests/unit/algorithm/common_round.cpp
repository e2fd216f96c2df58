// SPDX-License-Identifier: MIT
// Nodes that go on together: whatever was under way when each of them was at the beginning of one round, all go on from
// there in new sessions. Where they go in lock-step they end with the bits of a run that was never cut, and elsewhere
// nothing is lost or counted twice.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/random.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"
#include "support/every_algorithm.hpp"

namespace rubato::test {
namespace {

constexpr std::size_t values = 7;
constexpr std::size_t nodes = 5;

auto noise(sample_key key) -> double {
  return static_cast<double>((key.draw * 2654435761U + to_index(key.node) * 40503U) % 1000) / 1000;
}

/// Pulls every value towards the number of the node, and each sample a little elsewhere, so that one that is drawn
/// twice or never is seen.
struct noisy_pull {
  [[nodiscard]] auto dimension() const -> std::size_t { return values; }
  template<class Backend>
  auto gradient(Backend&, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = x[k] - static_cast<double>(to_index(key.node)) - noise(key);
    return 0;
  }
};

/// Pushes, wherever the model is, by so many samples a node; then it lets go, and models can agree on where they are.
struct pushes {
  static constexpr std::uint64_t count = 6;
  [[nodiscard]] auto dimension() const -> std::size_t { return values; }
  template<class Backend>
  auto gradient(Backend&, std::span<double const> x, sample_key key, std::span<double> g) const -> double {
    for (std::size_t k = 0; k < x.size(); ++k) g[k] = key.draw < count ? noise(key) * static_cast<double>(k + 1) : 0;
    return 0;
  }
  /// The mean over nodes of all that they push, in the first value.
  [[nodiscard]] static auto mean() -> double {
    double sum = 0;
    for (std::size_t i = 0; i < nodes; ++i) {
      for (std::uint64_t draw = 0; draw < count; ++draw) sum += noise({0, to_node(i), draw});
    }
    return sum / static_cast<double>(nodes);
  }
};

/// The model and the state of each node at the beginning of one round.
struct moment {
  std::map<std::size_t, std::vector<double>> models;
  std::map<std::size_t, snapshot> states;
};

/// Nodes on links that keep the order of each edge and nothing else. What happens next is drawn.
class drawn_order {
  auto sender() {  // before its uses, so that its type is known
    return [this](packet p, instant) { links_[{p.from, p.to}].push_back(std::move(p)); };
  }

 public:
  static constexpr std::uint64_t every = 40;

  drawn_order(assembly a, std::uint64_t seed) : a_{std::move(a)}, draw_{{0x726f756eULL, seed}} {
    for (std::size_t i = 0; i < a_.nodes.size(); ++i) hosts_.emplace_back(a_.nodes[i], i);
  }
  void start() {
    for (auto& h : hosts_) h.start({}, sender());
  }
  /// What nodes send while edges resume is of the session that the other end resumes in.
  void resume(moment const& from) {
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      restore(hosts_[i], from.states.at(i), a_.pool);
      hosts_[i].resume({});
    }
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      for (auto const peer : a_.factory.neighbours(i)) {
        auto const mine = static_cast<std::uint32_t>(i + 7), theirs = static_cast<std::uint32_t>(to_index(peer) + 7);
        hosts_[i].change({}, {peer, neighbour_change::edge::resumes, {mine, theirs}, {theirs, mine}}, sender());
      }
    }
  }
  /// Until each node has been at the beginning of that round, and of `more` that are due
  /// after it; some go beyond it meanwhile.
  auto through(std::uint64_t round, std::size_t more) -> std::vector<moment> {
    std::vector<moment> all(more + 1);
    seen_ = &all;
    first_ = round;
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      a_.nodes[i].meet_at(round, every);
      note(i);
    }
    while (all.back().states.size() < hosts_.size()) {
      if (!step()) FAIL("nothing happens any more");
    }
    return all;
  }
  /// After each of so many events, by how many rounds a neighbour is behind a node, and by how many it may be.
  auto most_behind(std::size_t events) -> std::pair<std::uint64_t, std::uint64_t> {
    std::vector<moment> none;
    seen_ = &none;
    std::uint64_t most = 0, allowed = 0;
    for (auto const& n : a_.nodes) allowed = (std::max)(allowed, n.common_round()->behind);
    for (std::size_t k = 0; k < events && step(); ++k) {
      for (std::size_t i = 0; i < hosts_.size(); ++i) {
        for (auto const j : a_.factory.neighbours(i)) {
          auto const mine = a_.nodes[i].common_round()->done, theirs = a_.nodes[to_index(j)].common_round()->done;
          if (mine > theirs) most = (std::max)(most, mine - theirs);
        }
      }
    }
    return {most, allowed};
  }
  [[nodiscard]] auto raw_step() const -> double { return a_.raw_step; }

 private:
  void note(std::size_t i) {
    for (std::size_t m = 0; m < seen_->size(); ++m) {
      auto& now = (*seen_)[m];
      auto const at = a_.nodes[i].common_round();
      if (!at->begins || at->done != first_ + m * every) continue;
      if (now.states.contains(i) && draw_.below(2) == 0) continue;  // a later moment of the same beginning does as well
      auto const model = a_.nodes[i].estimate();
      auto const x = model.template view<double>();
      now.models[i] = {x.begin(), x.end()};
      now.states[i] = take_snapshot(hosts_[i]);
      a_.nodes[i].meet_at(at->done + every, every);
    }
  }
  auto step() -> bool {
    std::vector<std::function<void()>> possible;
    for (auto& [edge, queue] : links_) {
      if (!queue.empty()) possible.emplace_back([this, &link = queue] { deliver(link); });
    }
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (hosts_[i].wants_gradient()) possible.emplace_back([this, i] { compute(i); });
    }
    if (possible.empty()) return false;
    possible[draw_.below(possible.size())]();
    return true;
  }
  void deliver(std::deque<packet>& link) {
    auto const p = std::move(link.front());
    link.pop_front();
    auto const blocks = range{0, a_.blocks.blocks()};
    auto& to = hosts_[to_index(p.to)];
    to.deliver({},
               {p.from, p.to, p.channel, p.session, p.based_on, p.posted_at, blocks, {&p.number, 1}, p.body, p.extra},
               sender());
    note(to_index(p.to));
  }
  void compute(std::size_t i) {
    hosts_[i].finish({}, a_.oracle.evaluate(*hosts_[i].take_request()), sender());
    note(i);
  }

  assembly a_;
  random_stream draw_;
  std::vector<detail::hosted_node> hosts_;
  std::map<std::pair<node_id, node_id>, std::deque<packet>> links_;
  std::uint64_t first_ = 0;
  std::vector<moment>* seen_ = nullptr;
};

auto meets(std::string const& name) -> bool {
  return name == "osgp" || name == "async_model_average" || name == "non_blocking_allreduce";
}

using visitor = std::function<void(std::string const&, std::function<assembly()> const&)>;
template<class Problem>
void for_all_that_go_on_together(Problem const& p, visitor const& visit) {
  for_every_algorithm(topology::ring(nodes), p, [&](std::string const& name, auto const& make) {
    if (make().nodes[0].common_round()) visit(name, make);
  });
}

/// Cuts a run at that round, goes on from there, is cut again and goes on to the second meeting after the first.
auto cut_twice(std::function<assembly()> const& make, std::uint64_t round, std::uint64_t seed) -> moment {
  auto first = drawn_order{make(), seed};
  first.start();
  auto const cut = first.through(round, 1);
  auto second = drawn_order{make(), seed + 100};
  second.resume(cut.front());
  auto const again = second.through(round + drawn_order::every, 0);
  auto third = drawn_order{make(), seed + 200};
  third.resume(again.front());
  return third.through(round + 2 * drawn_order::every, 0).front();
}

TEST_CASE("all that go on together in lock-step end with the bits of a run that was never cut") {
  std::size_t tried = 0;
  for_all_that_go_on_together(noisy_pull{}, [&](std::string const& name, auto const& make) {
    if (meets(name)) return;
    ++tried;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      CAPTURE(name, seed);
      auto whole = drawn_order{make(), seed + 300};
      whole.start();
      REQUIRE(cut_twice(make, seed % 5, seed).models == whole.through(seed % 5, 2).back().models);
    }
  });
  CHECK(tried == 24);
}

// From this follows how far away a meeting is that nobody can have passed.
TEST_CASE("a neighbour is never further behind than a node says, and may be as far behind as that") {
  auto const most_of = [](std::function<assembly()> const& make) {
    std::pair<std::uint64_t, std::uint64_t> all{};
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      auto order = drawn_order{make(), seed};
      order.start();
      auto const [most, allowed] = order.most_behind(600);
      all = {(std::max)(all.first, most), allowed};
    }
    return all;
  };
  for_all_that_go_on_together(noisy_pull{}, [&](std::string const& name, auto const& make) {
    CAPTURE(name);
    auto const [most, allowed] = most_of(make);
    CHECK(allowed == (name == "osgp" ? 2 : 1));  // its overlap, and one
    CHECK(most == allowed);
  });
  auto const [most, allowed] = most_of([] {
    return assemble<osgp<backend::host<double>>>(topology::directed_ring(nodes), noisy_pull{}, {.step = 0.1});
  });
  CHECK(allowed == 2 * nodes);
  CHECK((most > 2 && most <= allowed));
}

TEST_CASE("nothing is lost or counted twice where all go on together, whatever was under way") {
  std::size_t tried = 0;
  for_all_that_go_on_together(pushes{}, [&](std::string const& name, auto const& make) {
    for (auto const* rounds : {"byte_grad", "qadam", "low_precision_d_psgd", "choco_sgd", "dcd_sgd", "deepsqueeze",
                               "lead", "beer", "c_gt"}) {
      if (name == rounds) return;
    }
    if (name == "slowmo" || name == "diloco" || name == "quorum_diloco" || name == "streaming_diloco")
      return;  // they go further
    ++tried;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      CAPTURE(name, seed);
      auto const end = cut_twice(make, seed % 5, seed);
      auto const expected = Approx(-make().raw_step * pushes::mean()).epsilon(1e-9);
      auto mean = 0.0;
      for (auto const& [node, x] : end.models) {
        mean += x[0] / nodes;
        if (name == "non_blocking_allreduce") REQUIRE(x == end.models.at(0));  // what counts how much depends on times
        else if (name != "extra") REQUIRE(x[0] == expected);
      }
      if (name == "extra") REQUIRE(mean == expected);  // its models take longer to agree
    }
  });
  CHECK(tried == 14);
}

}  // namespace
}  // namespace rubato::test
