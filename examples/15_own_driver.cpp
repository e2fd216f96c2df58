// SPDX-License-Identifier: MIT
// A driver of your own: any program with a clock, links and a way to compute gradients can run nodes. This one delivers
// each message whole, after a random number of turns, and computes a gradient of a random node in each turn.
//
// What a driver does:
//  1. It calls `start` of each node once, before anything else. The nodes come from `assemble`, with one first model.
//  2. After each call of a handler it does what the outbox asks for, in this order, and then clears the outbox:
//       failure   The run cannot go on. The sentence says why, and nothing else in the outbox counts.
//       packets   Each is to be carried to p.to. On a channel of kind state the newest replaces all before it, and any
//                 may be lost, duplicated or overtaken. On one of kind event each must arrive once, in numerical order.
//       cancel    The gradient under way is no longer wanted: its result is discarded.
//       request   One gradient at `point`, on the samples of `sample`. At most one per node is under way.
//       wakeups   on_wakeup is to be called at that time or later.
//       wait      The node does nothing until that message arrives. A driver may stop waiting and end the run.
//  3. It delivers messages as patches: a range of blocks, with the number that the sender gave them. A packet is all
//     blocks with one number. `numbers` is read during the call only. The body is kept by
//     reference and must not be written again.
//  4. Times only go forward, on the driver's own clock. Nodes compare them and use no other clock.
//  5. If a peer dies or returns, on_neighbours says so at both ends, each at its own time, in a session that both
//     know. Packets of an earlier session are not delivered (nodes would drop them).
//  6. One thread at a time calls a node. Handlers throw only what memory or a backend throws.
// Expected output: expected/15_own_driver.txt
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/core/random.hpp>
#include <rubato/rubato.hpp>

using node = rubato::r_fast<rubato::backend::eigen<double>>;

class driver {
 public:
  explicit driver(rubato::assembly run) : run_{std::move(run)}, asked_(run_.nodes.size()) {}

  void live(int turns) {
    for (std::size_t i = 0; i < run_.nodes.size(); ++i) {
      run_.nodes[i].start(now(), out_);
      drain(i);
    }
    for (; turn_ < turns; ++turn_) {
      deliver_what_is_due();
      auto const i = draw_.below(run_.nodes.size());
      if (auto const request = std::exchange(asked_[i], std::nullopt)) {
        run_.nodes[i].on_gradient(now(), run_.oracle.evaluate(*request), out_);
        drain(i);
      }
    }
  }
  [[nodiscard]] auto model(std::size_t i) const -> rubato::shared_buffer { return run_.nodes[i].estimate(); }

 private:
  struct under_way {
    rubato::packet p;
    int due;
  };

  [[nodiscard]] auto now() const -> rubato::instant { return {std::chrono::milliseconds{turn_}}; }

  /// Requests are kept until this node's turn. R-FAST cancels no gradient, requests no wake-ups and never waits.
  void drain(std::size_t i) {
    if (out_.failure) throw rubato::run_error{out_.failure->sentence};
    for (auto& p : out_.packets) {
      auto const is_lost = draw_.chance(0.1);  // its channels are of kind state
      if (!is_lost) links_.push_back({std::move(p), turn_ + 1 + static_cast<int>(draw_.below(5))});
    }
    if (out_.request) asked_[i] = std::move(out_.request);
    out_.clear();
  }

  void deliver_what_is_due() {
    auto const all = std::exchange(links_, {});
    for (auto const& [p, due] : all) {
      if (due > turn_) {
        links_.push_back({p, due});
        continue;
      }
      auto const came = patch_of(p, {0, run_.blocks.blocks()});
      auto const to = rubato::to_index(p.to);
      run_.nodes[to].on_patch(now(), came, out_);
      drain(to);
    }
  }

  rubato::assembly run_;
  std::vector<std::optional<rubato::gradient_request>> asked_;
  std::vector<under_way> links_;
  rubato::outbox out_;
  rubato::random_stream draw_{{1, 0}};
  int turn_ = 0;
};

int main() {
  auto const problem = rubato::problem::quadratic::random(5, 20, 7);
  auto by_hand = driver{rubato::assemble<node>(rubato::topology::binary_tree(5), problem, {.step = 0.02})};
  by_hand.live(40000);
  auto worst = 0.0;
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t k = 0; k < problem.dimension(); ++k) {
      worst = std::fmax(worst, std::abs(by_hand.model(i).view<double>()[k] - problem.optimum()[k]));
    }
  }
  std::printf("every value of every model within 1e-9 of the optimum: %s\n", worst < 1e-9 ? "yes" : "no");
}
