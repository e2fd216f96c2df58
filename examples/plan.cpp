// SPDX-License-Identifier: MIT
// What a run will cost, before it runs: of every algorithm that the planner has a model of, how often it steps, what it
// sends, how old its gradients are, the largest stable step, the time to the target; how many workers are useful; and
// which algorithm to take, with the reason. With --json, the same for programs. With --probe, one process on each
// machine measures machines and links first.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <rubato/planner.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>

#include "support/probe.hpp"
#include "support/race_text.hpp"
#include "support/say.hpp"

namespace {

namespace planner = rubato::planner;
namespace report = rubato::report;
using rubato::config_error;
using rubato::examples::given;

struct asked {
  planner::situation about;
  std::vector<double> times;  ///< of --times, in seconds
  bool workers_given = false, compute_given = false, json = false;
  std::optional<double> variation;
  std::optional<rubato::examples::probe_choice> probe;
};

struct option_row {
  std::string_view name, value, help;
  void (*set)(asked&, given);
};

auto positive(given g) -> double { return rubato::examples::step_in(g); }
auto share(given g) -> double { return rubato::examples::number_in(g, 0, "a number of at least 0"); }
auto count(given g) -> std::size_t {
  return std::min<std::uint64_t>(rubato::examples::count_in(g, 1, "a whole number from 1 up"), 1ULL << 40);
}

auto probing(asked& a) -> rubato::examples::probe_choice& {
  if (!a.probe) a.probe.emplace();
  return *a.probe;
}

constexpr option_row rows[] = {
    {"--workers", "N", "machines that compute (default: 8, or as many as --times has)",
     [](asked& a, given g) { a.about.workers = count(g), a.workers_given = true; }},
    {"--compute", "MODEL", "the time of a gradient, as race has it (default: fixed:10ms)",
     [](asked& a, given g) { a.about.compute = rubato::examples::compute_in(g), a.compute_given = true; }},
    {"--times", "T,T,...", "instead: the mean time of a gradient of each machine, as measured",
     [](asked& a, given g) {
       a.times.clear();
       for (auto const& part : rubato::examples::list_in(g.text))
         a.times.push_back(1e-9 * static_cast<double>(rubato::examples::duration_in({g.option, part}).count()));
     }},
    {"--variation", "V", "with --times: the standard deviation of a machine's times over their mean (default: 0)",
     [](asked& a, given g) { a.variation = share(g); }},
    {"--slow", "N:F", "machine N is F times slower; may be repeated",
     [](asked& a, given g) {
       auto const [node, factor] = rubato::examples::slow_in(g);
       a.about.compute = a.about.compute.slow(node, factor);
     }},
    {"--latency", "TIME", "of a link, one way (default: 1ms)",
     [](asked& a, given g) { a.about.link.latency = rubato::examples::duration_in(g); }},
    {"--jitter", "TIME", "on top of it, at most (default: 0)",
     [](asked& a, given g) { a.about.link.jitter = rubato::examples::duration_in(g); }},
    {"--bandwidth", "RATE", "of a link, each way (default: 1Gbit)",
     [](asked& a, given g) { a.about.link.bits_per_second = rubato::examples::rate_in(g); }},
    {"--loss", "P", "the share of messages that are lost (default: 0)",
     [](asked& a, given g) { a.about.link.loss = share(g); }},
    {"--dimension", "D", "values of a model (default: 7850)", [](asked& a, given g) { a.about.dimension = count(g); }},
    {"--bytes", "B", "of a value, 4 or 8 (default: 4)", [](asked& a, given g) { a.about.value_bytes = count(g); }},
    {"--curvature", "L,L", "the least and the largest one (default: 0.1,1)",
     [](asked& a, given g) {
       auto const parts = rubato::examples::list_in(g.text);
       if (parts.size() != 2) rubato::examples::refuse(g, "two numbers, the least and the largest curvature");
       a.about.flattest = positive({g.option, parts[0]}), a.about.steepest = positive({g.option, parts[1]});
     }},
    {"--noise", "S", "of a gradient's value, standard deviation (default: 0.1)",
     [](asked& a, given g) { a.about.noise = share(g); }},
    {"--distance", "S", "of the first model from the optimum, root mean square a value (default: 1)",
     [](asked& a, given g) { a.about.distance = positive(g); }},
    {"--spread", "S", "of the machines' own optima around the common one, likewise (default: 0)",
     [](asked& a, given g) { a.about.spread = share(g); }},
    {"--curvature-spread", "V", "of the machines' curvatures around their mean, as a part of it (default: 0)",
     [](asked& a, given g) { a.about.curvature_spread = share(g); }},
    {"--target", "P", "the run ends at this part of the first loss above the minimum (default: 0.01)",
     [](asked& a, given g) { a.about.target = positive(g); }},
    {"--step", "S", "of every algorithm, as race's --set step (default: the best one of each)",
     [](asked& a, given g) { a.about.step = positive(g); }},
    {"--round", "M",
     "gradients of a round of rennala_sgd, and of m_synchronous_sgd up to one a machine (default: one a machine)",
     [](asked& a, given g) { a.about.round_size = count(g); }},
    {"--buffer", "K", "gradients of a step of fedbuff (default: as many as machines)",
     [](asked& a, given g) { a.about.buffer = count(g); }},
    {"--cap", "W", "the largest weight of rescaled_asgd (default: 10)",
     [](asked& a, given g) { a.about.weight_cap = positive(g); }},
    {"--probe", "I",
     "measure first: this is machine I of --peers, and the same is started on each of them within --arrival",
     [](asked& a, given g) { probing(a).id = rubato::examples::count_in(g, 0, "a whole number from 0 up"); }},
    {"--peers", "HOST:PORT,...", "with --probe: the addresses of all machines, by number",
     [](asked& a, given g) { probing(a).peers = rubato::examples::list_in(g.text); }},
    {"--key", "FILE",
     "with --probe: a secret of all machines (examples/keys), which encrypts what they say and keeps others out; made "
     "if it is not there and all are on this machine",
     [](asked& a, given g) { probing(a).key = rubato::examples::file_in(g); }},
    {"--arrival", "TIME", "with --probe: within which all must be there (default: 30s)",
     [](asked& a, given g) { probing(a).arrival = rubato::examples::duration_in(g); }},
    {"--batch", "B", "with --probe: samples of a gradient, of softmax regression with --dimension values (default: 32)",
     [](asked& a, given g) { probing(a).batch = std::min<std::size_t>(count(g), 1U << 20); }},
    {"--seed", "N", "of the times that are drawn (default: 1)",
     [](asked& a, given g) { a.about.seed = rubato::examples::count_in(g, 0, "a whole number"); }}};

auto usage() -> std::string {
  auto text = std::string{"usage: plan [OPTION...]\n"};
  for (auto const& r : rows) {
    auto line = "  " + std::string{r.name} + " " + std::string{r.value};
    line.resize((std::max)(line.size() + 1, std::size_t{25}), ' ');
    text += line + std::string{r.help} + "\n";
  }
  return text +
         "  --insecure             with --probe: addresses beyond this machine, where anyone may answer in a machine's "
         "place\n"
         "  --json                 print JSON\n";
}

/// Machines of measured times: the first one's is the mean of the model, and the others are so many times slower.
void take_times(asked& a) {
  auto const right = " with --times the machines are counted and their times known";
  if (a.compute_given) throw config_error{std::string{"--compute and --times exclude each other:"} + right};
  if (a.workers_given && a.about.workers != a.times.size())
    throw config_error{"--workers says " + std::to_string(a.about.workers) + " and --times has " +
                       std::to_string(a.times.size()) + " machines: make the two agree"};
  a.about.workers = a.times.size();
  for (auto i = std::size_t{0}; i < a.times.size(); ++i)
    if (!(a.times[i] > 0)) throw config_error{"machine " + std::to_string(i) + " of --times needs a time above 0"};
  auto const first = std::chrono::nanoseconds{std::llround(1e9 * a.times[0])};
  auto model = rubato::environment::lognormal(first, a.variation.value_or(0));
  for (auto i = std::size_t{1}; i < a.times.size(); ++i)
    model = model.slow(static_cast<std::uint32_t>(i), a.times[i] / a.times[0]);
  a.about.compute = model;
}

/// Of the links from the machines first to last - 1 to all n others, by [from n + to].
auto median(std::vector<double> const& links, std::size_t n, std::size_t first, std::size_t last) -> double {
  auto all = std::vector<double>{};
  for (auto i = first; i < last; ++i)
    for (auto j = std::size_t{0}; j < n; ++j)
      if (i != j) all.push_back(links[i * n + j]);  // a machine has no link to itself
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

/// What was measured, in the place of --times, --variation, --latency, --jitter and --bandwidth.
void take_probed(asked& a, rubato::examples::probed const& p) {
  a.times = p.gradient;
  auto variation = 0.0;
  for (std::size_t i = 0; i < a.times.size(); ++i)
    variation += p.deviation[i] / p.gradient[i] / static_cast<double>(a.times.size());
  a.variation = variation;
  take_times(a);
  auto const time = [](double seconds) { return std::chrono::nanoseconds{std::llround(1e9 * seconds)}; };
  auto& link = a.about.link;
  auto const n = a.times.size();
  auto const of = [n](std::vector<double> const& links) { return median(links, n, 0, n); };
  link.latency = time(of(p.latency)), link.jitter = time(of(p.jitter)), link.bits_per_second = of(p.rate);
}

auto text_of(rubato::examples::probed const& p) -> std::string {
  auto table = report::text_table{{{"machine", report::side::right},
                                   {"gradient in ms"},
                                   {"deviation in ms"},
                                   {"latency in ms"},
                                   {"jitter in ms"},
                                   {"Mbit/s out"}}};
  auto const n = p.gradient.size();
  for (std::size_t i = 0; i < n; ++i) {
    auto const of = [&](std::vector<double> const& links) { return median(links, n, i, i + 1); };
    auto const text = [](double x) { return rubato::with_digits(x, 3); };
    table.add_row({std::to_string(i), text(1e3 * p.gradient[i]), text(1e3 * p.deviation[i]), text(1e3 * of(p.latency)),
                   text(1e3 * of(p.jitter)), text(1e-6 * of(p.rate))});
  }
  return table.text() + "Links of a machine are medians over the others; the plan takes the median of all links.\n\n";
}

/// What a probe is to measure; what it measures cannot be given too.
void take_probe(asked& a, int argc, char** argv) {
  for (auto const* const name :
       {"--workers", "--compute", "--times", "--variation", "--slow", "--latency", "--jitter", "--bandwidth"})
    if (std::find(argv, argv + argc, std::string_view{name}) != argv + argc)
      throw config_error{std::string{name} + " and --probe exclude each other: a probe measures it"};
  if (std::find(argv, argv + argc, std::string_view{"--probe"}) == argv + argc)
    throw config_error{
        "--peers, --key, --arrival, --batch and --insecure belong to --probe I, which says which machine this is"};
  if (a.probe->peers.empty()) throw config_error{"--probe needs --peers, the addresses of all machines, by number"};
  a.about.workers = a.probe->peers.size();
  a.about.check();  // before anyone is waited for
  a.probe->dimension = a.about.dimension, a.probe->doubles = a.about.value_bytes == 8;
  auto const& s = a.about;
  a.probe->planned = {{"loss", s.link.mean_loss()},
                      {"least curvature", s.flattest},
                      {"largest curvature", s.steepest},
                      {"noise", s.noise},
                      {"distance", s.distance},
                      {"spread", s.spread},
                      {"curvature spread", s.curvature_spread},
                      {"target", s.target},
                      {"step", s.step},
                      {"round", static_cast<double>(s.round_size)},
                      {"buffer", static_cast<double>(s.buffer)},
                      {"cap", s.weight_cap},
                      {"seed", static_cast<double>(s.seed)}};
}

/// Throws config_error; nothing if help was asked for.
auto read_options(int argc, char** argv) -> std::optional<asked> {
  auto a = asked{};
  a.about.link = {.latency = std::chrono::milliseconds{1}, .bits_per_second = 1e9};
  a.about.dimension = 7850, a.about.noise = 0.1;
  auto slow = std::vector<given>{};
  for (auto k = 1; k < argc; ++k) {
    auto const word = std::string_view{argv[k]};
    if (word == "--help") return std::nullopt;
    if (word == "--insecure") {
      probing(a).insecure = true;
      continue;
    }
    if (word == "--json") {
      a.json = true;
      continue;
    }
    auto const row = std::find_if(std::begin(rows), std::end(rows), [&](auto const& r) { return r.name == word; });
    if (row == std::end(rows)) throw config_error{"unknown option '" + rubato::escaped(word) + "'; see plan --help"};
    if (k + 1 == argc) throw config_error{std::string{word} + " needs a value; see plan --help"};
    auto const value = given{word, argv[++k]};
    if (word == "--slow") slow.push_back(value);  // of whatever --compute says, in any order
    else row->set(a, value);
  }
  if (a.probe) {
    take_probe(a, argc, argv);
    return a;
  }
  if (!a.times.empty()) take_times(a);
  else if (a.variation) throw config_error{"--variation belongs to --times; --compute says how times spread by itself"};
  auto const& slower =
      *std::find_if(std::begin(rows), std::end(rows), [](auto const& r) { return r.name == "--slow"; });
  for (auto const& g : slow) slower.set(a, g);
  a.about.check();
  return a;
}

/// The standard deviation of all gradient times over their mean, as one worker of the mean speed would show it.
auto variation_of(planner::situation const& s) -> double {
  auto sum = 0.0, squares = 0.0;
  constexpr auto draws = std::uint64_t{2000};
  for (auto k = std::uint64_t{0}; k < draws; ++k) {
    auto const t = static_cast<double>(s.compute.duration(s.seed, rubato::node_id{0}, k).count());
    sum += t, squares += t * t;
  }
  return std::sqrt((std::max)(0.0, squares * static_cast<double>(draws) / (sum * sum) - 1));
}

/// Of asgd with a step: h = (the step of a gradient) x curvature.
auto useful_text(planner::situation const& s, double step) -> std::string {
  auto const gamma = step / static_cast<double>(s.workers);
  auto const variation = variation_of(s);
  auto const steep = planner::useful_workers(gamma * s.steepest, variation);
  auto const flat = planner::useful_workers(gamma * s.flattest, variation);
  auto seconds = std::vector<double>{};
  for (auto i = std::size_t{0}; i < s.workers; ++i) seconds.push_back(s.seconds(i));
  std::sort(seconds.begin(), seconds.end());
  auto const gradient = s.target * s.steepest * s.steepest * s.distance * s.distance;
  auto text = "useful workers of asgd, if a gradient's step stays " + rubato::with_digits(gamma, 3) + ": " +
              rubato::with_digits(steep.best, 3) + " for the largest curvature";
  text += std::isfinite(steep.diverges_near)
              ? ", and it diverges near " + rubato::with_digits(steep.diverges_near, 3) + "; "
              : ", and beyond that more neither help nor hurt; ";
  text += rubato::with_digits(flat.best, 3) + " for the least.\n";
  if (s.noise > 0)
    text += "useful workers for noise of that size at the target: " +
            std::to_string(planner::useful_workers_in_noise(seconds, s.noise * s.noise / gradient)) + " of " +
            std::to_string(s.workers) + ".\n";
  return text;
}

/// Whether no candidate is stable and makes a step.
auto is_hopeless(std::vector<planner::prediction> const& all) -> bool {
  return std::none_of(all.begin(), all.end(), [](auto const& p) { return std::isfinite(p.run.floor); });
}

auto finite(double x) -> std::string { return std::isfinite(x) ? rubato::with_digits(x, 3) : std::string{"-"}; }

auto text_of(planner::situation const& s, std::vector<planner::prediction> const& all, planner::choice const& taken)
    -> std::string {
  auto table = report::text_table{{{"algorithm", report::side::left},
                                   {"step in ms"},
                                   {"gradients/s"},
                                   {"bytes/s"},
                                   {"age in steps"},
                                   {"age in ms"},
                                   {"largest step"},
                                   {"step"},
                                   {"s to target"},
                                   {"floor"}}};
  for (auto const& p : all) {
    auto const stable = p.run.step < p.step_limit;
    table.add_row({title(p.of), finite(1e3 / p.moves.steps_per_second), finite(p.moves.gradients_per_second),
                   finite(p.moves.bytes_per_second), finite(p.moves.mean_age()), finite(1e3 * p.moves.age_seconds),
                   finite(p.step_limit), finite(p.run.step), stable ? finite(p.run.seconds) : "diverges",
                   finite(p.run.floor)});
  }
  auto const asgd = std::find_if(all.begin(), all.end(), [](auto const& p) { return p.of.algorithm == "asgd"; });
  auto const pick = is_hopeless(all) ? std::string{"take none of these"} : "take " + title(all[taken.place].of);
  return table.text() + "\n" + useful_text(s, asgd->run.step) + pick + ": " + taken.reason + ".\n";
}

auto json_of(std::vector<planner::prediction> const& all, planner::choice const& taken) -> std::string {
  auto const number = [](double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(nullptr); };
  auto predictions = nlohmann::json::array();
  for (auto const& p : all)
    predictions.push_back({{"algorithm", p.of.algorithm},
                           {"network", p.of.network},
                           {"steps_per_second", number(p.moves.steps_per_second)},
                           {"gradients_per_second", number(p.moves.gradients_per_second)},
                           {"bytes_per_second", number(p.moves.bytes_per_second)},
                           {"age_steps", number(p.moves.mean_age())},
                           {"age_seconds", number(p.moves.age_seconds)},
                           {"largest_step", number(p.step_limit)},
                           {"step", number(p.run.step)},
                           {"seconds", number(p.run.seconds)},
                           {"floor", number(p.run.floor)}});
  auto const& best = all[taken.place].of;
  auto const pick = is_hopeless(all) ? nlohmann::json(nullptr)
                                     : nlohmann::json{{"algorithm", best.algorithm}, {"network", best.network}};
  return nlohmann::json{{"predictions", predictions}, {"pick", pick}, {"reason", taken.reason}}.dump(2) + "\n";
}

}  // namespace

auto main(int argc, char** argv) -> int {
  return rubato::examples::run_program("plan", [&] {
    auto options = read_options(argc, argv);
    if (!options) {
      rubato::examples::say(usage());
      return 0;
    }
    if (options->probe) {
      auto const p = rubato::examples::probe(*options->probe);
      take_probed(*options, p);
      options->about.check();
      if (!options->json) rubato::examples::say(text_of(p));
    }
    auto const& s = options->about;
    auto const all = planner::predictions_of(s);
    auto const taken = planner::choose(all);
    rubato::examples::say(options->json ? json_of(all, taken) : text_of(s, all, taken));
    return is_hopeless(all) ? 1 : 0;
  });
}
