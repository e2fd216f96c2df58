// SPDX-License-Identifier: MIT
// What a graph is like before anything runs on it: its size, how fast it mixes, what an iteration costs, whether R-FAST
// may run on it; and pictures of it, as SVG and for Graphviz. Of rounds of graphs that change: how near they come to
// the mean, and who takes them; the picture is of all their edges.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/mixing.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/topology.hpp>

#include "support/race_network.hpp"
#include "support/race_text.hpp"
#include "support/say.hpp"

namespace {
namespace mixing = rubato::mixing;
namespace topology = rubato::topology;
using rubato::config_error;
using rubato::node_id;

struct asked {
  std::string name;
  std::optional<std::size_t> nodes;
  std::optional<node_id> root;
  bool best_root = false;
  std::size_t dimension = 7850;
  std::size_t bytes = 4;
  std::filesystem::path out = "topology-results";
};

auto usage() -> std::string {
  return "usage: topology NAME [OPTION...]\n"
         "  NAME           " +
         rubato::examples::known_networks() +
         "\n"
         "  --nodes N      how many nodes (default: 8, or what the file or the form says)\n"
         "  --root R       trees for R-FAST from this node; 'best': from the one with the shortest paths\n"
         "  --dimension D  values of a model (default: 7850, softmax regression on Fashion-MNIST)\n"
         "  --bytes B      bytes of a value (default: 4)\n"
         "  --out FOLDER   where topology.svg and topology.dot go (default: topology-results)\n";
}

/// Throws config_error; nothing if help was asked for.
auto read_options(int argc, char** argv) -> std::optional<asked> {
  auto options = asked{};
  for (auto k = 1; k < argc; ++k) {
    auto const word = std::string_view{argv[k]};
    if (word == "--help") return std::nullopt;
    if (!word.starts_with("--")) {
      if (!options.name.empty())
        throw config_error{"one NAME is drawn at a time, and '" + rubato::escaped(word) +
                           "' is a second one; see topology --help"};
      options.name = word;
      continue;
    }
    constexpr std::string_view known[] = {"--nodes", "--root", "--dimension", "--bytes", "--out"};
    if (std::find(std::begin(known), std::end(known), word) == std::end(known))
      throw config_error{"unknown option '" + rubato::escaped(word) + "'; see topology --help"};
    if (k + 1 == argc) throw config_error{std::string{word} + " needs a value; see topology --help"};
    auto const given = rubato::examples::given{word, argv[++k]};
    auto const count = [&](std::uint64_t least, char const* right) {
      return static_cast<std::size_t>(std::min<std::uint64_t>(count_in(given, least, right), 1ULL << 48));
    };
    constexpr auto positive = "a whole number from 1 up";
    if (word == "--nodes") options.nodes = count(1, positive);
    if (word == "--dimension") options.dimension = count(1, positive);
    if (word == "--bytes") options.bytes = count(1, positive);
    if (word == "--out") options.out = given.text;
    if (word == "--root" && given.text == "best") options.best_root = true;
    else if (word == "--root") options.root = rubato::to_node(count(0, "a node, as a whole number, or 'best'"));
  }
  if (options.name.empty()) throw config_error{"a NAME is needed: " + rubato::examples::known_networks()};
  return options;
}

/// "3", or "2 to 5".
auto range_of(std::vector<std::size_t> const& values) -> std::string {
  auto const [low, high] = std::minmax_element(values.begin(), values.end());
  return *low == *high ? std::to_string(*low) : std::to_string(*low) + " to " + std::to_string(*high);
}

auto list_of(std::vector<node_id> const& ids, std::size_t n) -> std::string {
  if (ids.size() == n) return "all nodes";
  auto text = std::string{};
  for (auto k = std::size_t{0}; k < ids.size() && k < 12; ++k)
    text += (k == 0 ? "" : ", ") + std::to_string(to_index(ids[k]));
  return ids.size() > 12 ? text + ", ... (" + std::to_string(ids.size()) + ")" : text;
}

/// What `value` computes, or the sentence that says why it cannot.
template<class Value>
auto or_reason(Value const& value) -> std::string {
  try {
    return value();
  } catch (config_error const& e) {
    return std::string{"unknown: "} + e.what();
  }
}

auto row(std::string_view what, std::string const& value) -> std::string {
  auto line = std::string{what};
  line.resize((std::max)(line.size() + 1, std::size_t{16}), ' ');
  return line + value + '\n';
}

/// Bytes that the busiest node sends in a local iteration, and all nodes together.
auto bytes_of(mixing::plan const& plan, asked const& o) -> std::string {
  auto most = 0.0, sum = 0.0;
  for (auto const& node : plan.nodes) {
    auto const sends = static_cast<double>(node.pull_to.size() + node.push_to.size()) *
                       static_cast<double>(o.dimension) * static_cast<double>(o.bytes);
    most = (std::max)(most, sends);
    sum += sends;
  }
  return rubato::with_digits(most, 15) + " at the busiest node, " + rubato::with_digits(sum, 15) + " in all";
}

/// The gap 1 - rho of gossip, with these weights and with the fastest ones where these are quickly found.
auto gap_of(topology::digraph const& graph) -> std::string {
  auto const both = graph.with_both_directions();
  if (!topology::search_from(both, node_id{0}).reaches_all()) return "0, since the graph is not connected";
  auto const digits = [](mixing::matrix const& weights) {
    return rubato::with_digits(mixing::spectral_gap(weights), 5);
  };
  auto text = digits(mixing::metropolis_hastings(both)) + " with Metropolis-Hastings weights";
  if (graph.nodes() <= 100 && both.edge_count() <= 300)
    text += ", " + digits(mixing::fastest_mixing(both, mixing::signs::any)) + " with the fastest";
  return text;
}

/// The sentence with which these rounds are refused, or "yes: WHO".
template<class Plan>
auto taken_by(char const* who, Plan const& plan) -> std::string {
  try {
    static_cast<void>(plan());
    return std::string{"yes: "} + who;
  } catch (config_error const& e) {
    return std::string{"no: "} + e.what();
  }
}

/// After how many rounds all are exactly at the mean, or what a whole cycle leaves of their disagreement. (No round
/// makes that larger.)
auto consensus_of(std::vector<mixing::matrix> const& rounds) -> std::string {
  auto const left_after = [&](std::ptrdiff_t some) {
    return mixing::residual({rounds.begin(), rounds.begin() + some});
  };
  auto const is_exact = [](double left) { return left < 1e-12; };
  auto most = std::ssize(rounds);
  if (auto const left = left_after(most); !is_exact(left))
    return "not exact: all rounds leave " + rubato::with_digits(left, 5) + " of the disagreement, a gap of " +
           rubato::with_digits(1 - left, 5);
  for (auto least = std::ptrdiff_t{1}; least < most;) {
    auto const middle = least + (most - least) / 2;
    if (is_exact(left_after(middle))) most = middle;
    else least = middle + 1;
  }
  return "exact after " + std::to_string(most) + " rounds";
}

auto report_of(mixing::schedule const& rounds, asked const& o) -> std::string {
  auto out = std::vector<std::size_t>{}, in = std::vector<std::size_t>{};
  auto all = std::size_t{0};
  for (auto const& m : rounds.parts()) {
    auto const graph = mixing::support(m);
    all += graph.edge_count();
    for (auto i = std::size_t{0}; i < graph.nodes(); ++i) {
      out.push_back(graph.out_of(rubato::to_node(i)).size());
      in.push_back(graph.into(rubato::to_node(i)).size());
    }
  }
  auto const size = static_cast<double>(o.dimension * o.bytes);
  auto const most = static_cast<double>(*std::max_element(out.begin(), out.end())) * size;
  auto const mean = static_cast<double>(all) / static_cast<double>(rounds.parts().size()) * size;
  return row("graph", rubato::escaped(rounds.name())) + row("nodes", std::to_string(rounds.nodes())) +
         row("rounds", std::to_string(rounds.parts().size()) + ", then again") +
         row("degrees", "in a round: out " + range_of(out) + ", in " + range_of(in)) +
         row("consensus", or_reason([&] { return consensus_of(rounds.parts()); })) +
         row("gossip",
             taken_by("d_psgd, d_psgd_atc, non_blocking_d_psgd, noloco, ad_psgd, bipartite_ad_psgd if there is no "
                      "cycle of odd length",
                      [&] { return mixing::gossip_plan(rounds); })) +
         row("push-sum", taken_by("sgp, osgp", [&] { return mixing::push_sum_plan(rounds); })) +
         row("R-FAST", "no: it needs a graph that stays the same") +
         row("bytes", "an iteration: " + rubato::with_digits(most, 15) + " at most at a node, " +
                          rubato::with_digits(mean, 15) + " in all on average");
}

struct study {
  topology::digraph graph;
  std::optional<topology::pair> tracking;
  std::string reason;  ///< why R-FAST may not run
  std::shared_ptr<mixing::schedule const> rounds{};  ///< where the graph changes; `graph` has all their edges
};

auto studied(asked const& o) -> study {
  auto named = rubato::examples::graph_named(o.name, o.nodes);
  auto made = study{std::move(named.edges), std::nullopt, {}, std::move(named.rounds)};
  if (made.rounds) {
    if (o.root || o.best_root)
      throw config_error{"--root makes trees for R-FAST, which needs a graph that stays the same"};
    return made;
  }
  if (o.root && to_index(*o.root) >= made.graph.nodes())
    throw config_error{"--root " + std::to_string(to_index(*o.root)) + " is no node: nodes are 0 to " +
                       std::to_string(made.graph.nodes() - 1)};
  try {
    if (o.best_root) made.tracking = topology::spanning_trees(made.graph, topology::best_root);
    else if (o.root) made.tracking = topology::spanning_trees(made.graph, *o.root);
    else made.tracking = topology::pair{made.graph};
  } catch (config_error const& e) {
    made.reason = e.what();
  }
  return made;
}

auto report_of(study const& s, asked const& o) -> std::string {
  if (s.rounds) return report_of(*s.rounds, o);
  auto const& g = s.graph;
  auto out = std::vector<std::size_t>{}, in = std::vector<std::size_t>{};
  for (auto i = std::size_t{0}; i < g.nodes(); ++i) {
    out.push_back(g.out_of(rubato::to_node(i)).size());
    in.push_back(g.into(rubato::to_node(i)).size());
  }
  auto const undirected = g.is_undirected();
  auto const across = topology::diameter(g);
  auto text = row("graph", rubato::escaped(g.name())) + row("nodes", std::to_string(g.nodes()));
  text += undirected ? row("edges", std::to_string(g.edge_count() / 2) + ", both ways") + row("degrees", range_of(out))
                     : row("edges", std::to_string(g.edge_count()) + ", directed") +
                           row("degrees", "out " + range_of(out) + ", in " + range_of(in));
  text += row("diameter", across ? std::to_string(*across) : "none: not every node reaches every other");
  text += row("spectral gap", or_reason([&] { return gap_of(g); }) + (undirected ? "" : ", edges used both ways"));
  if (!s.tracking) return text + row("R-FAST", "no: " + s.reason);
  auto const plan = mixing::tracking_plan(*s.tracking);
  text += row("roots", list_of(s.tracking->common_roots(), g.nodes()));
  text += row("gain", rubato::with_digits(plan.gain, 6));
  text += row("R-FAST", "yes, on " + rubato::escaped(s.tracking->name()));
  text += row("bytes", "of R-FAST an iteration: " + bytes_of(plan, o));
  return text + row("", "of gossip an iteration: " + bytes_of(mixing::gossip_plan(g), o));
}

auto picture_of(study const& s, asked const& o) -> std::string {
  auto const& g = s.graph;
  auto options = topology::svg_options{};
  options.captions.push_back(std::to_string(g.nodes()) + " nodes, " +
                             (g.is_undirected() ? std::to_string(g.edge_count() / 2) + " edges"
                                                : std::to_string(g.edge_count()) + " directed edges"));
  if (s.rounds) {
    options.captions.push_back("all edges of " + std::to_string(s.rounds->parts().size()) + " rounds; consensus " +
                               or_reason([&] { return consensus_of(s.rounds->parts()); }));
    return to_svg(g, topology::places_of(g), options);
  }
  options.captions.push_back("spectral gap " + or_reason([&] { return gap_of(g); }));
  if (!s.tracking) options.captions.push_back("R-FAST may not run here: no common root");
  if (s.tracking && s.tracking->is_tree_pair() && g.nodes() > 1) {
    options.root = s.tracking->root();
    options.strong = s.tracking->pull().edges();
    options.captions.push_back("blue: models flow from root " + std::to_string(to_index(s.tracking->root())) +
                               ", gradients flow back to it");
  }
  auto const tree = options.root && is_undirected_tree(g);
  return to_svg(g, tree ? topology::tree_places(g, *options.root) : topology::places_by_name(o.name, g), options);
}

}  // namespace

auto main(int argc, char** argv) -> int {
  return rubato::examples::run_program("topology", [&] {
    auto const options = read_options(argc, argv);
    if (!options) {
      rubato::examples::say(usage());
      return 0;
    }
    auto const s = studied(*options);
    auto const svg = options->out / "topology.svg", dot = options->out / "topology.dot";
    rubato::ensure_writable_folder(options->out);
    rubato::ensure_replaceable(svg);
    rubato::ensure_replaceable(dot);
    auto const text = report_of(s, *options);
    rubato::write_file(svg, picture_of(s, *options));
    rubato::write_file(dot, s.tracking && s.tracking->is_tree_pair() ? to_dot(*s.tracking) : to_dot(s.graph));
    rubato::examples::say(text + row("pictures", rubato::escaped(svg.string()) + ", " + rubato::escaped(dot.string())));
    return 0;
  });
}
