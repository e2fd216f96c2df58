// SPDX-License-Identifier: MIT
// Which models of its neighbours a node lets in. A neighbour that has a key of the run may send any numbers, and one
// huge model, pulled with weight w, moves its receiver by w times that. So an assembly can be given a rule that looks
// at each model before the node does. A model that it refuses is replaced by the receiver's own of that moment:
//   x <- w_ii v + sum_j w_ij v_j,  with x_i in place of v_j     the neighbour's weight stays with the node, as that of
//                                                               a closed edge does, and rows of W still sum to 1
// The message counts as arrived in all else: in rounds nobody waits for another one, and the checks of its number and
// shape are the node's (algorithm/detail/incoming.hpp). Since the node's own model follows the others, what stands in
// for a refused one does not hold it back, as long as the sender goes on: what stands for its last model is the
// receiver's own of that time, and where nodes wait for nobody it is pulled until the edge closes.
// Running sums pass as they are. A node's gradient is its own, so whoever has a key may add any function to the sum
// that all minimise, and a lie in its sums is no more than that; a bound on single sums would not limit what many add
// up to. The law of tracking holds whatever they say.
// Costs one pass over each model that comes, and nothing where no rule is asked for.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/text.hpp>
#include <rubato/run/assemble.hpp>

namespace rubato {
namespace admission {

/// Of values that a neighbour sent, the receiver's own of the same places, and the share of all values of a model that
/// they are (above 0, 1 for a whole model), says whether the first may come in. What it is given is finite or not. A
/// rule that has a check() throws config_error there if its settings are no rule.
template<class R>
concept rule =
    std::copyable<R> && requires(R const& r, std::span<float const> f, std::span<double const> d, double share) {
      { r(f, f, share) } -> std::same_as<bool>;
      { r(d, d, share) } -> std::same_as<bool>;
    };

/// All: nothing is looked at, and nothing is paid for.
struct any {
  template<class T>
  auto operator()(std::span<T const>, std::span<T const>, double) const -> bool {
    return true;
  }
};

/// Those whose Euclidean distance from the receiver's own model is at most `radius`, and which are finite. Where models
/// travel in blocks, radius^2 times its share is the most of each message, so that a model of blocks that come in is
/// within the radius too; one whose distance is all in a few blocks is not let in there. So a neighbour moves a node by
/// at most its weight times radius a local iteration. Nodes that are farther apart than that from each other do not
/// come together, and where they track, the one that is far keeps the others from the optimum of the sum: choose it
/// above the distances of sound nodes, which are of the size of their first steps. A node that refuses the newest
/// models of all its neighbours says so, and its result warns of it.
struct within {
  double radius = 0;

  void check() const {
    if (radius > 0 && radius < 1e150) return;  // its square is finite
    throw config_error{"models are let in within a radius above 0 and below 1e150, and this one is " +
                       shortest(radius)};
  }
  template<class T>
  auto operator()(std::span<T const> theirs, std::span<T const> own, double share) const -> bool {
    auto sum = 0.0;
    for (std::size_t k = 0; k < theirs.size(); ++k) {
      auto const apart = static_cast<double>(theirs[k]) - static_cast<double>(own[k]);
      sum += apart * apart;
    }
    return sum <= radius * radius * share;  // false if anything is NaN
  }
};

/// Is told, at once, of the first refusal of each neighbour's models, and once if a node refuses the newest models of
/// all its neighbours. Nodes call it on the threads that run them, so several may at once: with run_threads, and in a
/// simulator with several threads.
using speaker = std::function<void(std::string_view sentence)>;

}  // namespace admission

/// A node that gets its own model in place of a neighbour's that a rule refuses; see above.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as the node's.
template<admission::rule Rule, bool TakesMembers>
class admitting_node {
 public:
  /// `pool`: of the nodes' backend.
  admitting_node(any_node inner, Rule rule, node_id self, block_partition blocks, buffer_pool pool,
                 admission::speaker says)
      : inner_{std::move(inner)},
        rule_{std::move(rule)},
        self_{self},
        blocks_{blocks},
        pool_{std::move(pool)},
        says_{std::move(says)} {}

  void start(instant now, outbox& out) { inner_.start(now, out); }
  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel != channel_id::model) return inner_.on_patch(now, p, out);
    if (is_admitted(p)) {
      if (auto* const of = refusals_of(p.from)) of->last = 0;
      return inner_.on_patch(now, p, out);
    }
    count(p.from);
    auto own = p;
    own.body = own_values(p);
    inner_.on_patch(now, own, out);
  }
  void on_gradient(instant now, gradient g, outbox& out) { inner_.on_gradient(now, std::move(g), out); }
  void on_gradient_part(instant now, gradient_part g, outbox& out) { inner_.on_gradient_part(now, std::move(g), out); }
  [[nodiscard]] auto takes_gradient_parts() const -> bool { return inner_.takes_gradient_parts(); }
  void on_wakeup(instant now, wakeup w, outbox& out) { inner_.on_wakeup(now, w, out); }
  void on_neighbours(instant now, neighbour_change const& c, outbox& out) { inner_.on_neighbours(now, c, out); }
  [[nodiscard]] auto estimate() const -> shared_buffer { return inner_.estimate(); }
  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = inner_.statistics();
    for (auto const& r : refused_) {
      for (auto& e : s.edges) {
        if (e.peer == r.from && e.channel == channel_id::model) e.refused = r.models, e.refused_last = r.last;
      }
    }
    return s;
  }
  void audit(tracking_audit& a) const { inner_.audit(a); }
  [[nodiscard]] auto channels() const -> std::span<channel_spec const> { return inner_.channels(); }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> { return inner_.common_round(); }
  void meet_at(std::uint64_t round, std::uint64_t every) { inner_.meet_at(round, every); }
  void on_members(std::span<node_id const> present)
    requires TakesMembers
  {
    inner_.on_members(present);
  }
  [[nodiscard]] auto closes_ended_edges() const -> bool { return inner_.closes_ended_edges(); }
  static void visit_state(auto& self, auto&& visit) {
    visit("inner", self.inner_), visit("refused", self.refused_), visit("told alone", self.told_alone_);
  }

 private:
  struct refusals {
    node_id from{};
    std::uint64_t models = 0;
    std::uint64_t last = 0;  // of them, since one was let in
    static void visit_state(auto& self, auto&& visit) {
      visit("from", self.from), visit("models", self.models), visit("last", self.last);
    }
  };

  /// What is not well formed is for the node to name.
  [[nodiscard]] auto is_admitted(patch const& p) const -> bool {
    auto const own = inner_.estimate();
    auto const fits = p.blocks.begin < p.blocks.end && p.blocks.end <= blocks_.blocks();
    if (!fits || p.body.kind() != own.kind() || own.size() != blocks_.values()) return true;
    if (p.body.size() != blocks_.values_of(p.blocks).size()) return true;
    return own.kind() == element::f32 ? is_admitted<float>(p, own) : is_admitted<double>(p, own);
  }
  template<class T>
  [[nodiscard]] auto is_admitted(patch const& p, shared_buffer const& own) const -> bool {
    auto const theirs = p.body.on_host(), mine = own.on_host();
    auto const place = blocks_.values_of(p.blocks);
    auto const share = static_cast<double>(place.size()) / static_cast<double>(own.size());
    return rule_(theirs.template view<T>(), mine.template view<T>().subspan(place.begin, place.size()), share);
  }

  [[nodiscard]] auto own_values(patch const& p) -> shared_buffer {
    auto own = inner_.estimate();
    if (p.body.size() == own.size()) return own;
    return own.kind() == element::f32 ? own_part<float>(p, own) : own_part<double>(p, own);
  }
  template<class T>
  [[nodiscard]] auto own_part(patch const& p, shared_buffer const& own) -> shared_buffer {
    auto const here = own.on_host();
    auto part = pool_.host_side().template allocate<T>(p.body.size());
    auto const from = here.template view<T>().subspan(blocks_.values_of(p.blocks).begin, p.body.size());
    std::copy(from.begin(), from.end(), part.data());
    return pool_.bring_in(std::move(part).publish());
  }

  [[nodiscard]] auto refusals_of(node_id from) -> refusals* {
    auto const at = std::find_if(refused_.begin(), refused_.end(), [&](auto const& r) { return r.from == from; });
    return at == refused_.end() ? nullptr : &*at;
  }
  void count(node_id from) {
    auto* of = refusals_of(from);
    if (of == nullptr) of = &refused_.emplace_back(refusals{from});
    if (++of->models == 1)
      say(" refuses a model of node " + std::to_string(to_index(from)) +
          " by its rule of admission, and takes its own in place of it; further ones are counted");
    if (++of->last == 1 && !told_alone_ && refuses_all()) {
      told_alone_ = true;
      say(" refuses the newest models of all its neighbours: its own is far from theirs, or its rule of admission lets "
          "too little in");
    }
  }
  /// The newest model of each neighbour, of which none is missing.
  [[nodiscard]] auto refuses_all() -> bool {
    auto const s = inner_.statistics();
    return std::all_of(s.edges.begin(), s.edges.end(), [&](auto const& e) {
      auto const* const of = refusals_of(e.peer);
      return e.channel != channel_id::model || (of != nullptr && of->last > 0);
    });
  }
  void say(std::string const& what) const {
    if (says_) says_("node " + std::to_string(to_index(self_)) + what);
  }

  any_node inner_;
  Rule rule_;
  node_id self_;
  block_partition blocks_;
  buffer_pool pool_;
  admission::speaker says_;
  std::vector<refusals> refused_;  // one a neighbour at most
  bool told_alone_ = false;
};

namespace detail {

/// Throws config_error unless the nodes pull models that their own may stand for.
inline void refuse_without_pulls(assembly const& a) {
  auto const is_plain = [](channel_spec const& c) {
    return c.channel == channel_id::model && c.body == body_form::whole &&
           (c.values == element::f32 || c.values == element::f64);
  };
  for (auto const& n : a.nodes) {
    auto const all = n.channels();
    if (!a.pulls_models || std::none_of(all.begin(), all.end(), is_plain))
      throw config_error{
          "a rule of admission is for nodes that weigh whole models of their neighbours, as r_fast, "
          "push_pull and d_psgd do; what nodes of " +
          a.algorithm + " send each other is something else"};
  }
}

}  // namespace detail

/// From now on node `self` of `a` lets models of its neighbours in by `r`: a matter of its own, in which nodes may
/// differ. So does each node that `a.factory` makes in its place, after a restart or to join later, and it counts and
/// tells its refusals anew. One that joins trusts the node whose model it begins with: it has none of its own yet to
/// compare that with. Who records a run records what the node was given if record() comes before this. Throws
/// config_error if the rule is none, or the algorithm exchanges no whole models.
template<admission::rule Rule>
void admit(assembly& a, node_id self, Rule const& r, admission::speaker says = {}) {
  if constexpr (std::same_as<Rule, admission::any>) return;
  if constexpr (requires { r.check(); }) r.check();
  detail::refuse_without_pulls(a);
  auto const guard = [=, blocks = a.blocks, pool = a.pool](any_node n) {
    if (n.takes_members()) return any_node{admitting_node<Rule, true>{std::move(n), r, self, blocks, pool, says}};
    return any_node{admitting_node<Rule, false>{std::move(n), r, self, blocks, pool, says}};
  };
  auto& n = a.nodes.at(to_index(self));
  n = guard(std::move(n));
  a.factory.wrap(to_index(self), guard);
}
/// The same for all nodes.
template<admission::rule Rule>
void admit(assembly& a, Rule const& r, admission::speaker const& says = {}) {
  for (std::size_t i = 0; i < a.nodes.size(); ++i) admit(a, to_node(i), r, says);
}

}  // namespace rubato
