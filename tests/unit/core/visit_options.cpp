// SPDX-License-Identifier: MIT
#include <rubato/core/visit_options.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/rubato.hpp>

#include "../../../examples/support/catalogue.hpp"
#include "support/catch.hpp"
#include "support/refusal.hpp"

using namespace rubato;
using namespace rubato::test;
using space = backend::host<float>;

namespace {

/// The size that a type has if it consists of what its list visits, in that order.
struct layout {
  std::size_t size = 0, alignment = 1;
  template<class V>
  void operator()(std::string_view, V const&, std::string_view = {}) {
    size = (size + alignof(V) - 1) / alignof(V) * alignof(V) + sizeof(V);
    alignment = std::max(alignment, alignof(V));
    ++members;
  }
  [[nodiscard]] auto total() const -> std::size_t {
    return std::max<std::size_t>((size + alignment - 1) / alignment * alignment, 1);
  }
  std::size_t members = 0;
};

struct anything {
  template<class T>
  operator T() const;  // NOLINT: never defined; only its type matters
};
/// How many members an aggregate has: as many as it can be initialised from.
template<class T, class... Each>
constexpr auto members_of() -> std::size_t {
  if constexpr (requires { T{Each{}..., anything{}}; }) return members_of<T, Each..., anything>();
  else return sizeof...(Each);
}

/// Members that bases have beyond one each, since a base is initialised as one.
template<class P>
constexpr std::size_t inherited = 0;
template<class Work>
constexpr std::size_t inherited<server::with_grace<Work>> = members_of<Work>() - 1;

template<class P>
auto lists_every_member(P const& p) -> bool {
  if constexpr (lists_options<P>) {
    layout its;
    auto nested = true;
    P::visit_options(p, its);
    P::visit_options(p, [&](std::string_view, auto const& value, std::string_view = {}) {
      if constexpr (!requires { option_text(value); }) nested = nested && lists_every_member(value);
    });
    if constexpr (std::is_aggregate_v<P>) {
      if (its.members != members_of<P>() + inherited<P>) return false;
    }
    return nested && its.total() == sizeof(P);
  } else {
    return std::is_empty_v<P>;
  }
}

/// The options, also those of its policies, of which a list does not say what they mean.
template<class P>
auto unexplained(P const& p) -> std::string {
  std::string names;
  if constexpr (lists_options<P>) {
    P::visit_options(p, [&](std::string_view name, auto const& value, std::string_view meaning = {}) {
      if (meaning.empty()) names += std::string{name} + "; ";
      if constexpr (!requires { option_text(value); }) names += unexplained(value);
    });
  }
  return names;
}

struct forgets_one {
  double beta = 0.9;
  bool looks_ahead = false;
  static void visit_options(auto& self, auto&& visit) { visit("beta", self.beta); }
};
struct forgets_one_in_padding {
  double beta = 0.9;
  bool looks_ahead = false, warm = false;
  static void visit_options(auto& self, auto&& visit) {
    visit("beta", self.beta), visit("looks ahead", self.looks_ahead);
  }
};
struct lists_nothing {
  static constexpr bool can_cut = false, depends_on_age = true;
  double rate = 1;
  auto operator()(std::uint64_t) const -> double { return rate; }
};
struct has_nothing_to_list {
  static constexpr bool can_cut = false, depends_on_age = false;
  auto operator()(std::uint64_t) const -> double { return 1; }
};

template<class Node>
auto agreed(typename Node::options const& o, topology::digraph const& g = topology::binary_tree(4)) -> std::string {
  return assemble<Node>(g, problem::quadratic::random(4, 10, 1), o).agreed.text();
}
template<class Node>
auto refused(typename Node::options const& mine, typename Node::options const& theirs) -> std::string {
  return wire::difference(agreed<Node>(mine), agreed<Node>(theirs), "node 2");
}

/// Whose list leaves a member out, or does not say what one means.
template<class... Nodes>
auto incomplete_lists() -> std::string {
  std::string those;
  auto const look = [&]<class Options>(Options const& o, std::string const& name) {
    if (!lists_every_member(o)) those += name + " has unlisted options; ";
    if (auto const names = unexplained(o); !names.empty()) those += name + " does not explain " + names;
  };
  (look(typename Nodes::options{}, std::string{name_of_type<Nodes>()}), ...);
  return those;
}

}  // namespace

TEST_CASE("every option of every node type and policy is in a list, and is explained there") {
  using step::adam, step::momentum;
  namespace w = weighting;
  namespace v = server;
  CHECK(incomplete_lists<
            r_fast<space, adam, w::hinge>, r_fast<space, step::clipped_by_value<step::adamw>>,
            d_psgd<space, step::clipped_by_norm<momentum>>, r_fast<backend::host<double>, momentum, w::polynomial>,
            gradient_tracking<space, order::late_post, step::sgd, w::exponential, synchrony::bounded_staleness>,
            gradient_tracking<space, order::r_fast, step::sgd, w::drop_older_than>,
            ad_psgd<space, momentum, partner::round_robin>, ad_psgd<space, step::sgd, partner::by_speed>,
            scatter_allreduce_sgd<space, codec::bf16>, asgd<space, w::polynomial>, rescaled_asgd<space, v::known_times>,
            server_sgd<space, v::accept_all, w::constant, v::buffered>, prox_dgd<space, prox::l1>,
            prox_dgd<space, prox::box>>() == "");
  examples::for_each_algorithm<space>([]<class Node>(examples::catalogue_row<Node> const& row) {
    INFO(row.name << ": its options need a member step::schedule schedule, after block_values");
    CHECK(requires(typename Node::options o) { o.schedule; });
    CHECK(incomplete_lists<Node>() == "");
  });
}

TEST_CASE("a list that leaves a member out is found, also one that hides in padding") {
  CHECK_FALSE(lists_every_member(forgets_one{}));
  CHECK_FALSE(lists_every_member(forgets_one_in_padding{}));
  CHECK_FALSE(lists_every_member(lists_nothing{}));
  CHECK(lists_every_member(has_nothing_to_list{}));
  CHECK(unexplained(forgets_one{}) == "beta; ");
}

TEST_CASE("what nodes agree on is the same text under every compiler and backend") {
  auto const text = agreed<r_fast<space, step::momentum>>({.step = 0.25});
  CHECK(text.substr(0, text.find("network=")) ==
        "nodes=4\ndimension=10\nblock values=10\nchannel model=float32, newest counts\nchannel tracker=int32, newest "
        "counts\n"
        "algorithm=R-FAST\n"
        "step=0.25\nstep scale=per gain\nseed=0\n"
        "step schedule=schedule\nstep schedule unit=iterations\nstep schedule warmup=0\nstep schedule drops at=\n"
        "step schedule drop=0.1\nstep schedule curve=constant\nstep schedule length=1000\nstep schedule floor=0\n"
        "step schedule begin=after warmup\nstep by delay=power law\nstep by delay exponent=0\n"
        "step by delay reference=1\n"
        "step rule=momentum\nstep rule beta=0.9\nstep rule form=heavy ball\n"
        "weighting=constant\nsynchrony=free\nledger=fixed point\nledger exponents=23\nledger margin=8\nsum "
        "codec=identity\n");
  CHECK(text == agreed<r_fast<backend::checked<space>, step::momentum>>({.step = 0.25}));
  auto const array = agreed<gradient_tracking<space, order::late_post>>({});
  CHECK(says(array, "algorithm=gossip: descend, write model, pull, gradient, track, consume, push, send model\n"));
}

TEST_CASE("nodes that differ in one option of a policy are told which, with both values") {
  using ring = ring_allreduce_sgd<space, step::momentum>;
  CHECK(refused<ring>({.step_rule = step::momentum{0.9}}, {.step_rule = step::momentum{0.5}}) ==
        "node 2 has step rule beta 0.5, but this node has 0.9");
  CHECK(refused<ring>({}, {.step_rule = step::momentum{0.9, step::momentum_form::nesterov}}) ==
        "node 2 has step rule form nesterov, but this node has heavy ball");
  using hinged = r_fast<space, step::sgd, weighting::hinge>;
  CHECK(refused<hinged>({}, {.weighting = weighting::hinge{1, 5}}) ==
        "node 2 has weighting grace 5, but this node has 4");
  using ringmaster = ringmaster_asgd<space>;
  CHECK(refused<ringmaster>({}, {.acceptance = {.late = server::late_jobs::stop}}) ==
        "node 2 has acceptance late jobs stop, but this node has finish");
  CHECK(refused<rescaled_asgd<space>>({}, {.weight = {.cap = 3}}) == "node 2 has weight cap 3, but this node has 10");
  CHECK(wire::difference(agreed<r_fast<space>>({}), agreed<r_fast<space, step::adam>>({}), "node 2") ==
        "node 2 has step rule adam, but this node has sgd");
}

TEST_CASE("equal graphs agree whatever their names, and different weights do not") {
  auto const read = [](std::string const& text, std::string const& file) {
    return agreed<r_fast<space>>({}, topology::parse_edge_list(text, file));
  };
  auto const path = std::string{"0 1\n1 0\n1 2\n2 1\n2 3\n3 2\n"},
             other = std::string{"1 0\n0 1\n0 2\n2 0\n2 3\n3 2\n"};
  CHECK(read(path, "a/g.txt") == read(path, "b/g.txt"));
  CHECK(says(wire::difference(read(path, "g"), read(other, "g"), "node 2"), "node 2 has network 4 nodes, "));
}

TEST_CASE("a policy that lists none of its settings is refused between processes, and runs in one") {
  using hidden = r_fast<space, step::sgd, lists_nothing>;
  auto const a = assemble<hidden>(topology::ring(4), problem::quadratic::random(4, 10, 1), {});
  CHECK(a.unlisted == "weighting");
  CHECK(says(refusal([&] { static_cast<void>(identity_of(a, node_id{0})); }),
             "cannot compare the settings of weighting"));
  using empty = r_fast<space, step::sgd, has_nothing_to_list>;
  CHECK(assemble<empty>(topology::ring(4), problem::quadratic::random(4, 10, 1), {}).unlisted.empty());
}

TEST_CASE("an assembled run and its result list all options of the algorithm and its policies by name") {
  using node = r_fast<space, step::momentum>;
  auto const run = assemble<node>(topology::binary_tree(4), problem::quadratic::random(4, 10, 1),
                                  {.step = 0.05, .step_rule = step::momentum{0.5}});
  auto const has = [&](std::pair<std::string, std::string> const& line) {
    return std::count(run.options.begin(), run.options.end(), line) == 1;
  };
  CHECK(has({"step", "0.05"}));
  CHECK(has({"step rule", "momentum"}));
  CHECK(has({"step rule beta", "0.5"}));
  CHECK(has({"weighting", "constant"}));
  run_result result;
  static_cast<run_setup&>(result) = run;
  CHECK(result.options == run.options);
}
