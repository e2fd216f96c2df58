// SPDX-License-Identifier: MIT
// From a node type, a network and a problem to the nodes of a run, with all that they must agree on. Every driver
// begins here, so that the simulator and real runs start from the same state.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/mixing/exchange_times.hpp>
#include <rubato/mixing/members.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/mixing/sides.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/options_by_node.hpp>
#include <rubato/run/result.hpp>
#include <rubato/topology/members.hpp>
#include <rubato/wire/agreement.hpp>

namespace rubato {

namespace detail {

class pacer;  // run/pace.hpp

/// Throws config_error unless these nodes can begin a run.
void refuse_used(std::span<any_node const> nodes, std::size_t peers);

/// The other ends of a node's edges, in either graph and direction; by id.
auto neighbours_of(mixing::neighbourhood const& n) -> std::vector<node_id>;

}  // namespace detail

/// Makes a node of a run anew, for a driver whose scenario restarts nodes.
/// **Thread safety:** const calls may come from several threads at once.
class node_factory {
 public:
  node_factory() = default;
  template<node Node>
  [[nodiscard]] static auto of(typename Node::backend_type const& backend, mixing::plan const& plan,
                               shared_buffer const& x0, std::vector<typename Node::options> const& table)
      -> node_factory {
    node_factory made;
    made.self_ = std::make_shared<model<Node>>(backend, plan, x0, table);
    return made;
  }
  explicit operator bool() const { return static_cast<bool>(self_); }

  /// Node i as at the beginning of the run, with `first` in place of the common first model unless it is empty.
  /// `restarts` says how often it began before: each time it draws other mini-batches (seed_of_restart).
  [[nodiscard]] auto make(std::size_t i, shared_buffer first, std::uint64_t session) const -> any_node {
    auto made = self_->make(i, std::move(first), session);
    auto const at = around_.find(i);
    return at == around_.end() ? std::move(made) : at->second(std::move(made));
  }
  /// Each node i that is made from now on is what `around` makes of it, as where a rule of admission guards it. Of
  /// several, the last is outermost. `around` may be called from several threads at once.
  void wrap(std::size_t i, std::function<any_node(any_node)> around) {
    auto& all = around_[i];
    if (!all) all = std::move(around);
    else all = [inner = std::move(all), outer = std::move(around)](any_node n) { return outer(inner(std::move(n))); };
  }
  /// The nodes whose messages node i needs: of models with a weight other than 0, and of pushed gradients.
  [[nodiscard]] auto senders(std::size_t i) const -> std::vector<node_id> { return self_->senders(i); }
  /// The other ends of node i's edges, in either graph and direction; by id.
  [[nodiscard]] auto neighbours(std::size_t i) const -> std::vector<node_id> { return self_->neighbours(i); }
  /// With what sentence node i would end the run if one of its edges closed; empty: it would go on. O(making a node).
  [[nodiscard]] auto end_by_closed_edge(std::size_t i) const -> std::string {
    auto probe = make(i, {}, 0);
    outbox out;
    for (auto const peer : neighbours(i)) {
      probe.on_neighbours({}, {peer, neighbour_change::edge::closes, {}, {}}, out);
      if (out.failure) return out.failure->sentence;
      out.clear();
    }
    return {};
  }

 private:
  struct base {
    virtual ~base() = default;
    [[nodiscard]] virtual auto make(std::size_t, shared_buffer, std::uint64_t) const -> any_node = 0;
    [[nodiscard]] virtual auto neighbours(std::size_t) const -> std::vector<node_id> = 0;
    [[nodiscard]] virtual auto senders(std::size_t) const -> std::vector<node_id> = 0;
  };
  template<class Node>
  struct model final : base {
    model(typename Node::backend_type const& b, mixing::plan const& p, shared_buffer const& x,
          std::vector<typename Node::options> const& t)
        : backend{b}, plan{p}, x0{x}, table{t} {}
    auto make(std::size_t i, shared_buffer first, std::uint64_t session) const -> any_node override {
      return Node{backend, plan, to_node(i), first ? std::move(first) : x0,
                  of_restart(table.size() == 1 ? table[0] : table[i], session)};
    }
    // Out of line: g++ sees that a copy leaves the byte of an empty policy as it is, and warns of it where that is
    // handed on.
    [[gnu::noinline]] static auto of_restart(typename Node::options o, std::uint64_t session) ->
        typename Node::options {
      o.seed = seed_of_restart(o.seed, session);
      return o;
    }
    auto neighbours(std::size_t i) const -> std::vector<node_id> override {
      return detail::neighbours_of(plan.nodes[i]);
    }
    auto senders(std::size_t i) const -> std::vector<node_id> override {
      std::vector<node_id> all = plan.nodes[i].push_from;
      for (auto const& e : plan.nodes[i].pull_from) {
        if (e.weight != 0) all.push_back(e.peer);
      }
      return all;
    }
    typename Node::backend_type backend;
    mixing::plan plan;
    shared_buffer x0;
    std::vector<typename Node::options> table;  // one entry a node, or one for all
  };
  std::shared_ptr<base const> self_;
  std::map<std::size_t, std::function<any_node(any_node)>> around_;
};

/// What a driver is given.
struct assembly : run_setup {
  std::vector<any_node> nodes;
  std::size_t peers = 0;  ///< the first `peers` nodes compute gradients; a server, if any, follows
  problem::any_oracle oracle;
  block_partition blocks;
  buffer_pool pool = buffer_pool{};  ///< of the nodes' backend: where bodies that arrive as bytes are put
  node_factory factory;  ///< for nodes that restart
  std::shared_ptr<mixing::member_plans const> members{};  ///< where members come and go; null: all nodes stay
  std::string remark{};  ///< the plan's and the oracle's, for the person who runs it; empty: none
  bool pulls_models = false;  ///< as Node::pulls_models
  range answer_nodes{};  ///< the node whose model is the run's result, if not all peers' models are; see measured()

  /// The nodes that are looked at and whose models a result holds.
  [[nodiscard]] auto measured() const -> range { return answer_nodes.empty() ? range{0, peers} : answer_nodes; }
  /// Whether that node is the server: without it none of the others can go on.
  [[nodiscard]] auto is_server(node_id node) const -> bool { return to_index(node) >= peers; }
  wire::agreement agreed{};  ///< what processes that run these nodes must have in common
  std::string unlisted;  ///< a policy, or the algorithm, whose options nobody can compare, or empty
  std::vector<std::shared_ptr<detail::pacer>> paces{};  ///< by node, where some keep a pace
};

namespace detail {

/// What initial() gave, rounded where it is of the other precision: one problem serves backends of both.
template<class T, class Values>
auto in_scalars(Values&& given) -> std::vector<T> {
  if constexpr (std::convertible_to<Values, std::vector<T>>) {
    return std::forward<Values>(given);
  } else {
    using other = std::conditional_t<std::same_as<T, float>, double, float>;
    static_assert(std::convertible_to<Values, std::vector<other>>,
                  "a problem's initial() gives a std::vector of float or of double");
    std::vector<other> const values = std::forward<Values>(given);
    std::vector<T> rounded(values.size());
    std::transform(values.begin(), values.end(), rounded.begin(), [](other v) { return static_cast<T>(v); });
    return rounded;
  }
}

/// The common first model: problem.initial() where there is one, zeros otherwise.
template<class Backend, class Problem>
auto first_model(Backend& backend, Problem const& problem) -> shared_buffer {
  using scalar = typename Backend::scalar;
  if constexpr (requires { problem.initial(); }) {
    auto x = backend.pool().host_side().template allocate<scalar>(problem.dimension());
    std::vector<scalar> const values = in_scalars<scalar>(problem.initial());
    if (values.size() != x.size()) {
      throw config_error{"the problem's initial model has " + std::to_string(values.size()) +
                         " values, its dimension is " + std::to_string(x.size())};
    }
    if (auto const at = first_not_finite(values); at < values.size()) {
      throw config_error{"the problem's initial model is not finite at value " + std::to_string(at)};
    }
    std::copy(values.begin(), values.end(), x.data());
    return backend.pool().bring_in(std::move(x).publish());
  } else {
    auto x = backend.template allocate<scalar>(problem.dimension());
    backend.sweep({0, x.size()}, backend::zero_kernel<scalar>{x.data()});
    return std::move(x).publish();
  }
}

/// The largest |g_i(x0)| of each block over all nodes, with the very samples that the nodes will draw first.
template<class T>
auto largest_first_gradients(problem::any_oracle const& oracle, shared_buffer const& x0, block_partition const& blocks,
                             std::pair<std::size_t, std::uint64_t> peers_and_seed) -> std::vector<double> {
  auto const [peers, seed] = peers_and_seed;
  std::vector<double> largest(blocks.blocks(), 0.0);
  for (std::size_t i = 0; i < peers; ++i) {
    auto const g = oracle.evaluate({ticket{}, x0, {seed, to_node(i), 0}});
    auto const body = g.value.on_host();
    auto const values = body.template view<T>();
    for (std::size_t b = 0; b < blocks.blocks(); ++b) {
      auto const r = blocks.values_of({b, b + 1});
      for (auto const v : values.subspan(r.begin, r.size())) {
        if (!std::isfinite(v)) {
          throw config_error{"the gradient of node " + std::to_string(i) + " at the first model is not finite"};
        }
        largest[b] = (std::max)(largest[b], std::abs(static_cast<double>(v)));
      }
    }
  }
  return largest;
}

/// Throws config_error if the graph changes from round to round; `algorithm` needs one that stays.
void refuse_changing_graph(mixing::schedule const* rounds, std::string_view algorithm);
/// Throws config_error if the graph changes by time; `algorithm` takes one that changes by iteration.
void refuse_graph_by_time(mixing::schedule const* rounds, std::string_view algorithm);

/// Throws config_error, naming the first entry of W or A that is negative; `algorithm` takes none.
void refuse_negative_weights(mixing::plan const& plan, std::string_view algorithm);

auto hexadecimal(std::uint64_t v) -> std::string;
auto to_text(element e) -> std::string_view;

/// Throws config_error unless nodes go on when members leave, and find their place among others.
void refuse_fixed_members(assembly const& a);

/// Text that tells whether two are the same, of bounded length.
auto short_text(std::string text, std::size_t most = 200) -> std::string;

/// The graph and its weights as a hash of all edges of the plan, whatever file or builder they came from.
auto network_text(mixing::plan const& plan) -> std::string;

/// Adds these options to the setup, and to what processes must agree on, there in at most 64 lines each.
void add_options(assembly& a, wire::agreement& all, std::vector<option_of_nodes> const& options,
                 std::string_view algorithm);

/// Everything that the processes of a run must agree on: the algorithm with its policies by name, each of their
/// options, the network, and where the run begins. Backends and compilers may differ.
template<class Node>
auto agreement_of(assembly& a, mixing::plan const& plan, std::vector<typename Node::options> const& table,
                  shared_buffer const& x0) -> wire::agreement {
  wire::agreement all;
  all.add("nodes", plan.nodes.size()).add("dimension", x0.size()).add("block values", a.blocks.block_values());
  for (auto const& c : Node::channels()) {
    all.add(
        "channel " + std::string{name_of(c.channel)},
        std::string{to_text(c.values)} + (c.kind == channel_kind::event ? ", every one counts" : ", newest counts"));
  }
  all.add("algorithm", name_of_type<Node>());
  add_options(a, all, options_of<Node>(table), name_of_type<Node>());
  all.add("network", network_text(plan)).add("raw step", option_text(a.raw_step));
  all.add("first model (hash)", hexadecimal(wire::hash_of(x0.on_host().bytes())));
  return all;
}

/// The nodes of a run, from what `a` holds of it already, and what they agree on. All that is compiled for a node type
/// and for no problem, so that it can be compiled once (rubato/instances.hpp). `table` has one entry a node or one for
/// all; `largest`: see Node::resolve_options().
template<class Node>
void add_nodes(assembly& a, mixing::plan const& plan, std::vector<typename Node::options>& table,
               typename Node::backend_type const& backend, shared_buffer const& x0, std::span<double const> largest) {
  if (table.size() > 1)
    static_cast<void>(options_of<Node>(table));  // before resolve_options() derives others from them
  for (auto& options : table) Node::resolve_options(options, a.blocks, largest, a.peers);
  a.algorithm = name_of_type<Node>();
  a.agreed = agreement_of<Node>(a, plan, table, x0);
  a.nodes.reserve(plan.nodes.size());
  a.factory = node_factory::of<Node>(backend, plan, x0, table);
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) a.nodes.push_back(a.factory.make(i, {}, 0));
}

/// The largest of the nodes' steps, with its gamma. Throws config_error if one is not a positive number.
template<class Options>
void set_step(assembly& a, std::vector<Options> const& table) {
  for (auto const& o : table) {
    auto const gamma = rubato::raw_step(o, a.gain);
    if (!(gamma > a.raw_step)) continue;
    a.step = o.step;
    a.raw_step = gamma;
  }
}

template<class Node, class Problem>
auto assembled(mixing::plan const& plan, Problem const& problem, std::vector<typename Node::options> table,
               typename Node::backend_type backend) -> assembly {
  static_assert(problem::check_problem<Problem, typename Node::backend_type>());
  if constexpr (requires { requires decltype(std::declval<typename Node::options>().step_rule)::moves_alone; })
    static_assert(
        requires { requires Node::moves_by_steps_alone; },
        "this step rule makes x of the sum of its steps, and this algorithm also moves x otherwise: what it "
        "averages would be lost");
  if (plan.nodes.empty()) throw config_error{"a run needs at least one node"};
  // Optional member: an algorithm that has it is right for such weights (mixing::gossip_plan).
  if constexpr (!requires { requires Node::takes_negative_weights; })
    refuse_negative_weights(plan, name_of_type<Node>());
  // Optional member: an algorithm that has it asks plan.rounds for the weights of each round.
  if constexpr (!requires { requires Node::takes_changing_graphs; })
    refuse_changing_graph(plan.rounds.get(), name_of_type<Node>());
  // Optional member: in such an algorithm who sends a message decides to which round it belongs.
  if constexpr (!requires { requires Node::takes_graphs_by_time; })
    refuse_graph_by_time(plan.rounds.get(), name_of_type<Node>());
  if (problem.dimension() == 0) throw config_error{"the problem's models have no values: its dimension is 0"};
  assembly a;
  a.peers = plan.nodes.front().nodes;
  if constexpr (requires { requires Node::server_has_the_model; }) {  // optional member: workers hold older ones
    a.answer_nodes = {a.peers, plan.nodes.size()};
  }
  a.pulls_models = requires { requires Node::pulls_models; };  // optional member
  a.oracle = problem::any_oracle{backend, problem};
  a.pool = backend.pool();
  a.network = plan.summary;
  a.remark = plan.remark;
  if (a.oracle.is_staged()) {
    a.remark += (a.remark.empty() ? "" : "; ") +
                std::string{
                    "gradients are computed on the host: each model is copied "
                    "there from "} +
                std::string{Node::backend_type::name()} + ", and each gradient back";
  }
  a.gain = plan.gain;
  set_step(a, table);
  if constexpr (requires {
                  { problem.nodes() } -> std::convertible_to<std::size_t>;
                }) {
    if (problem.nodes() != a.peers) {
      throw config_error{"the problem is split over " + std::to_string(problem.nodes()) + " nodes, the network has " +
                         std::to_string(a.peers)};
    }
  }
  auto const x0 = first_model(backend, problem);
  a.blocks = partition_of(table.front(), x0.size());
  std::vector<double> largest;
  if constexpr (requires {
                  requires Node::needs_first_gradients;
                }) {  // optional member: resolve_options() wants the first gradients
    largest = largest_first_gradients<typename Node::scalar>(a.oracle, x0, a.blocks, {a.peers, table.front().seed});
  }
  add_nodes<Node>(a, plan, table, backend, x0, largest);
  a.members = plan.members;
  if (a.members) refuse_fixed_members(a);
  return a;
}

/// What make_plan() of the algorithm makes of a network, and of node 0's options if it asks for them.
template<class Node, class O>
auto plan_of(topology::pair const& network, O const& options) -> mixing::plan {
  using one = typename Node::options;
  if constexpr (!requires(one const& o) { Node::make_plan(network, o); }) return Node::make_plan(network);
  else if constexpr (std::convertible_to<O const&, one>) return Node::make_plan(network, options);
  else if constexpr (!std::convertible_to<O const&, std::vector<one> const&>)
    return Node::make_plan(network, options(node_id{0}));
  else return options.empty() ? Node::make_plan(network) : Node::make_plan(network, options.front());
}
template<class Node, class O>
auto plan_of(topology::member_graphs const& graphs, O const& options) -> mixing::plan {
  std::vector<mixing::plan> by_count;
  for (std::size_t k = 1; k <= graphs.most(); ++k) by_count.push_back(plan_of<Node>(graphs.of(k), options));
  return mixing::member_plan(std::move(by_count));
}
template<class Node, class O>
auto plan_of(mixing::schedule const& rounds, O const&) -> mixing::plan {
  if constexpr (requires { Node::make_plan(rounds); }) {
    return Node::make_plan(rounds);
  } else {
    refuse_changing_graph(&rounds, name_of_type<Node>());
    return {};
  }
}

}  // namespace detail

/// Builds all nodes of a run from a plan, for weights of one's own (mixing::tracking_plan, gossip_plan, push_sum_plan
/// and others make plans). Throws config_error if plan, options and problem do not fit together.
///
/// Beside the node concept a node type may have these static members; without one, the stricter reading holds:
///   make_plan(network), make_plan(network, options), make_plan(rounds)   the weights that it chooses itself
///   resolve_options(options, blocks, largest, nodes)   checks options and fills in what depends on the run; `largest`
///                                     are the largest first gradients, by block, with a true needs_first_gradients
///   own_options                       names of options that may differ from node to node
///   takes_negative_weights, takes_changing_graphs, takes_graphs_by_time   plans that it is right for
///   server_has_the_model              the answer is the model of the last node, a server, or of
///                                     several that share it
///   pulls_models                      it weighs models of neighbours, for each of which its own may stand
///   moves_by_steps_alone              its model is the sum of its steps: for steps that `moves_alone`
template<node Node, class Problem>
auto assemble(mixing::plan const& plan, Problem const& problem, typename Node::options options,
              typename Node::backend_type backend = {}) -> assembly {
  return detail::assembled<Node>(plan, problem, std::vector{std::move(options)}, std::move(backend));
}

/// The same with options of each node's own: `options` is a function of the node's id, or a vector with one entry a
/// node. Steps, batches and weightings may differ (Node::own_options says what); processes compare the whole table.
/// Throws config_error, naming option and node, where one differs that must be the same for all.
template<node Node, class Problem, options_by_node<typename Node::options> O>
auto assemble(mixing::plan const& plan, Problem const& problem, O const& options,
              typename Node::backend_type backend = {}) -> assembly {
  return detail::assembled<Node>(plan, problem, detail::table_of<typename Node::options>(options, plan.nodes.size()),
                                 std::move(backend));
}

/// The same from a network, with the weights that the algorithm chooses for it.
template<node Node, class Problem>
auto assemble(topology::pair const& network, Problem const& problem, typename Node::options options,
              typename Node::backend_type backend = {}) -> assembly {
  auto const plan = detail::plan_of<Node>(network, options);
  return assemble<Node>(plan, problem, std::move(options), std::move(backend));
}
/// The same from rounds whose graphs change, for an algorithm that takes them; config_error for any other.
template<node Node, class Problem>
auto assemble(mixing::schedule const& rounds, Problem const& problem, typename Node::options options,
              typename Node::backend_type backend = {}) -> assembly {
  auto const plan = detail::plan_of<Node>(rounds, options);
  return assemble<Node>(plan, problem, std::move(options), std::move(backend));
}
/// The same from graphs for each number of members, for an algorithm whose nodes may come and go; config_error for any
/// other. The problem has a part for each of the largest number of members. Who is present is a matter of the driver
/// (environment/members.hpp); it begins with all of them.
template<node Node, class Problem>
auto assemble(topology::member_graphs const& graphs, Problem const& problem, typename Node::options options,
              typename Node::backend_type backend = {}) -> assembly {
  auto const plan = detail::plan_of<Node>(graphs, options);
  return assemble<Node>(plan, problem, std::move(options), std::move(backend));
}
template<node Node, class Problem, options_by_node<typename Node::options> O>
auto assemble(topology::pair const& network, Problem const& problem, O const& options,
              typename Node::backend_type backend = {}) -> assembly {
  return assemble<Node>(detail::plan_of<Node>(network, options), problem, options, std::move(backend));
}

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE void refuse_used(std::span<any_node const> nodes, std::size_t peers) {
  if (nodes.empty() || peers == 0 || nodes.size() < peers ||
      !std::all_of(nodes.begin(), nodes.end(), [](auto const& n) { return static_cast<bool>(n); })) {
    throw config_error{
        "this assembly has no nodes to run: it is empty, or was moved into a run before; assemble one for each run"};
  }
  if (std::any_of(nodes.begin(), nodes.end(), [](auto const& n) { return n.has_started(); })) {
    throw config_error{"the nodes of this assembly have run before; assemble new ones for each run"};
  }
}

RUBATO_INLINE auto neighbours_of(mixing::neighbourhood const& n) -> std::vector<node_id> {
  std::vector<node_id> all{n.pull_to};
  all.insert(all.end(), n.push_from.begin(), n.push_from.end());
  for (auto const& e : n.pull_from) all.push_back(e.peer);
  for (auto const& e : n.push_to) all.push_back(e.peer);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

/// Which algorithms take these rounds, as the end of a sentence.
RUBATO_INLINE auto takers_of(mixing::schedule const& rounds) -> std::string {
  auto const fits = [](auto const& make_plan) {
    try {
      static_cast<void>(make_plan());
      return true;
    } catch (config_error const&) {
      return false;
    }
  };
  std::vector<std::string> names;
  if (fits([&] { return mixing::gossip_plan(rounds); })) {
    if (!rounds.is_by_time()) names = {"d_psgd", "d_psgd_atc", "non_blocking_d_psgd", "noloco"};
    names.emplace_back("ad_psgd");
    if (fits([&] { return mixing::with_sides(mixing::gossip_plan(rounds)); })) names.emplace_back("bipartite_ad_psgd");
  }
  if (!rounds.is_by_time() && fits([&] { return mixing::push_sum_plan(rounds); }))
    names.insert(names.end(), {"sgp", "osgp"});
  if (names.empty()) return "";
  auto text = "; " + names.front();
  for (std::size_t i = 1; i < names.size(); ++i) text += (i + 1 < names.size() ? ", " : " and ") + names[i];
  return text + (names.size() == 1 ? " takes them" : " take them");
}

RUBATO_INLINE void refuse_changing_graph(mixing::schedule const* rounds, std::string_view algorithm) {
  if (rounds == nullptr) return;
  throw config_error{std::string{algorithm} + " needs a graph that stays the same, and the " + rounds->name() +
                     " change from round to round" + takers_of(*rounds)};
}

RUBATO_INLINE void refuse_graph_by_time(mixing::schedule const* rounds, std::string_view algorithm) {
  if (rounds == nullptr || !rounds->is_by_time()) return;
  throw config_error{std::string{algorithm} +
                     " waits for the messages of a round, and nodes have no common clock by which to know the round "
                     "of a message; the " +
                     rounds->name() + " by time are for ad_psgd, where who asks decides"};
}

RUBATO_INLINE void refuse_fixed_members(assembly const& a) {
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    if (auto const why = a.factory.end_by_closed_edge(i); !why.empty())
      throw config_error{
          a.algorithm +
          " needs all its nodes, so members cannot come and go; if one went, the run would end with: " + why};
    if (!a.nodes[i].takes_members())
      throw config_error{"members cannot come and go under " + a.algorithm +
                         ": its nodes do not take another place in the network, or cannot do without any of them"};
  }
}

RUBATO_INLINE void refuse_negative_weights(mixing::plan const& plan, std::string_view algorithm) {
  auto const look = [&](node_id row, node_id column, double weight, char const* whose) {
    if (weight >= 0) return;
    throw config_error{"entry (" + std::to_string(to_index(row)) + ", " + std::to_string(to_index(column)) +
                       ") of the " + whose + " weights is " + shortest(weight) + ", and " + std::string{algorithm} +
                       " needs weights that are not negative; D-PSGD in rounds takes others"};
  };
  for (auto const& n : plan.nodes) {
    look(n.self, n.self, n.pull_self, "pull");
    for (auto const& e : n.pull_from) look(n.self, e.peer, e.weight, "pull");
    look(n.self, n.self, n.push_self, "push");
    for (auto const& e : n.push_to) look(e.peer, n.self, e.weight, "push");
  }
}

RUBATO_INLINE auto hexadecimal(std::uint64_t v) -> std::string {
  std::string text(16, '0');
  for (auto at = text.size(); at-- > 0; v >>= 4) text[at] = "0123456789abcdef"[v & 15];
  return text;
}

RUBATO_INLINE auto to_text(element e) -> std::string_view {
  switch (e) {
    case element::f32:
      return "float32";
    case element::f64:
      return "float64";
    case element::i32:
      return "int32";
    case element::i64:
      return "int64";
    case element::u16:
      return "uint16";
    case element::u8:
      return "bytes";
    case element::none:
      break;
  }
  return "nothing";
}

RUBATO_INLINE auto short_text(std::string text, std::size_t most) -> std::string {
  return text.size() <= most ? std::move(text) : "hash " + hexadecimal(wire::hash_of(text));
}

RUBATO_INLINE void add_options(assembly& a, wire::agreement& all, std::vector<option_of_nodes> const& options,
                               std::string_view algorithm) {
  for (auto const& o : options) {
    for (auto& line : lines_of_nodes(o, o.values.size())) a.options.push_back(std::move(line));
    if (o.values.front() == unlisted_options) {
      a.unlisted = o.name.empty() ? "the options of " + std::string{algorithm} : o.name;
    } else if (o.name != "block values") {
      for (auto& [name, text] : lines_of_nodes(o, 64))
        all.add(name, short_text(std::move(text), o.values.size() > 64 ? 30 : 200));
    }
  }
}

RUBATO_INLINE auto network_text(mixing::plan const& plan) -> std::string {
  auto hash = wire::hash_of("");
  std::size_t edges = 0;
  auto const add = [&](auto const& list, std::string const& kind) {
    for (auto const& e : list)
      hash = wire::hash_of(std::to_string(to_index(e.peer)) + kind + option_text(e.weight), hash);
    edges += list.size();
  };
  for (auto const& n : plan.nodes) {
    add(n.pull_from, "<");
    add(n.push_to, ">");
    hash = wire::hash_of("|", hash);
  }
  for (std::size_t k = 1; plan.members && k <= plan.members->most(); ++k)
    hash = wire::hash_of(network_text(plan.members->of(k)), hash);
  if (plan.rounds) hash = wire::hash_of(plan.rounds->text(), hash);
  if (plan.exchanges) hash = wire::hash_of(plan.exchanges->text(), hash);
  if (plan.momentum)
    hash = wire::hash_of(with_digits(plan.momentum->rate, 9) + " " + with_digits(plan.momentum->share, 9), hash);
  return std::to_string(plan.nodes.size()) + " nodes, " + std::to_string(edges) + " weights, hash " + hexadecimal(hash);
}

}  // namespace detail
#endif  // RUBATO_BODIES

}  // namespace rubato
