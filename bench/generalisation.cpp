// SPDX-License-Identifier: MIT
// Does delay help to generalise? Deng et al. (arXiv 2308.09430) bound the gap between test and training loss of delayed
// SGD, w <- w - eta g(w_{t - tau}; z_t), by a quantity that falls with the delay tau, for convex quadratics. Here asgd
// runs with tau + 1 workers of equal times, so each gradient is tau steps late, on N training samples drawn at random:
//   squares    least squares, 20 features, labels with noise of variance 1; test loss on 50,000 others
//   pictures   softmax on Fashion-MNIST, samples of its first 20,000; test loss on 2,000 pictures
// once with eta fixed and once with eta in proportion to 1 / (tau + 1). Given are medians (quartiles) over seeds of
//   gap        test minus training loss after T steps: less is fitted where training is slower, which alone lessens it
//   gap there  the same where the training loss first comes to a share of that at w = 0 (squares 0.6, pictures 0.3)
//   moved      |w - w'| after T steps, where w' was trained with one of the N samples exchanged: stability
// The claim is printed as it comes out: whether the median gap falls from each delay to the next.
//   bench_generalisation [SEEDS [DATA_FOLDER]]                 20 seeds, and a quarter of them for pictures
// Virtual time: load does not matter. First come the numbers of a scalar problem that was computed by hand.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/rubato.hpp>

#include "support/idx_files.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using space = backend::host<float>;

/// Rows of features with a number each: a label of some classes or, with one class, a value.
struct samples {
  std::size_t width = 0, classes = 1;
  std::vector<float> x, y;
  [[nodiscard]] auto size() const -> std::size_t { return y.size(); }

  /// The loss of one sample at w, and its gradient added to g with this weight, unless that is empty.
  template<class T>
  auto add(std::size_t i, std::span<T const> w, std::span<T> g, double weight) const -> double {
    auto const* const row = &x[i * width];
    std::vector<double> out(classes, 0.0);
    for (std::size_t c = 0; c < classes; ++c) {
      T sum = 0;
      for (std::size_t k = 0; k < width; ++k) sum += w[c * width + k] * static_cast<T>(row[k]);
      out[c] = static_cast<double>(sum);
    }
    auto const loss = classes == 1 ? squared(out, i) : cross_entropy(out, i);
    for (std::size_t c = 0; c < classes && !g.empty(); ++c)
      for (std::size_t k = 0; k < width; ++k)
        g[c * width + k] += static_cast<T>(weight * out[c]) * static_cast<T>(row[k]);
    return loss;
  }
  [[nodiscard]] auto mean_loss(std::span<float const> w) const -> double {
    double sum = 0;
    for (std::size_t i = 0; i < size(); ++i) sum += add<float>(i, w, {}, 0);
    return sum / static_cast<double>(size());
  }

 private:
  // out: outputs, which become the derivative of the loss by them
  [[nodiscard]] auto squared(std::vector<double>& out, std::size_t i) const -> double {
    out[0] -= static_cast<double>(y[i]);
    return 0.5 * out[0] * out[0];
  }
  [[nodiscard]] auto cross_entropy(std::vector<double>& out, std::size_t i) const -> double {
    auto const most = *std::max_element(out.begin(), out.end());
    double sum = 0;
    for (auto& o : out) sum += o = std::exp(o - most);
    for (auto& o : out) o /= sum;
    auto& right = out[static_cast<std::size_t>(y[i])];
    auto const loss = -std::log((std::max)(right, 1e-300));
    right -= 1;
    return loss;
  }
};

enum class order : std::uint8_t { cyclic, random };

/// Step k takes one sample, whoever computes it: the k-th in turn, or one drawn by seed and k.
struct fit {
  std::shared_ptr<samples const> train;
  std::size_t workers;
  order by = order::random;
  [[nodiscard]] auto dimension() const -> std::size_t { return train->width * train->classes; }
  template<class Backend, class T>
  auto gradient(Backend&, std::span<T const> w, sample_key key, std::span<T> g) const -> double {
    auto const k = key.draw * workers + to_index(key.node);
    auto const i = by == order::cyclic ? k % train->size() : random_stream{{key.seed, k}}.below(train->size());
    std::fill(g.begin(), g.end(), T{0});
    return train->add<T>(i, w, g, 1);
  }
  auto loss(space&, std::span<float const> w) const -> double { return train->mean_loss(w); }
};

/// asgd with delay tau, for so many steps, or until that training loss.
template<class Backend>
auto trained(fit const& problem, double eta, std::uint64_t seed, until end) -> std::vector<float> {
  auto const n = problem.workers;
  using node = asgd<Backend>;
  auto s = environment::scenario{.compute = environment::fixed(1s)};
  s.measure_every = std::isfinite(end.target_loss)
                        ? std::chrono::nanoseconds{1s} * 200 / static_cast<int>((std::min)(n, std::size_t{200}))
                        : std::chrono::nanoseconds{1h} * 10000;
  auto const r = simulate(
      assemble<node>(topology::star(n), problem, {.step = eta, .scale = step_scale::raw, .seed = seed}), s, end);
  if (std::isfinite(end.target_loss) && !r.time_to_target) return {};
  auto const w = r.models[0].template view<typename Backend::scalar>();
  return {w.begin(), w.end()};
}

/// Training (1, 1.2) (0.5, 0.1) (-1, -0.7) (2, 2.3), test (1.5, 1.6) (-0.5, -0.4) (1, 1.1), eta 0.1, 40 steps in turn.
auto agrees_with_hand() -> bool {
  auto const train = std::make_shared<samples>(samples{1, 1, {1, 0.5, -1, 2}, {1.2F, 0.1F, -0.7F, 2.3F}});
  auto const test = samples{1, 1, {1.5, -0.5, 1}, {1.6F, -0.4F, 1.1F}};
  constexpr double right[][3] = {{0, 1.078696018540104, -0.043069910297033},
                                 {1, 1.052975050200069, -0.042613965862190},
                                 {3, 1.052437042642462, -0.042607224909028}};
  auto all = true;
  for (auto const& [tau, w_right, gap_right] : right) {
    auto const w = trained<space>({train, static_cast<std::size_t>(tau) + 1, order::cyclic}, 0.1, 1, {.gradients = 40});
    auto const gap = test.mean_loss(w) - train->mean_loss(w);
    auto const holds = std::abs(w[0] - w_right) < 1e-6 && std::abs(gap - gap_right) < 1e-6;
    std::printf("delay %.0f: w %.7f, gap %.7f, by hand %.7f and %.7f: %s\n", tau, w[0], gap, w_right, gap_right,
                holds ? "equal" : "DIFFER");
    all = all && holds;
  }
  return all;
}

struct quartiles {
  double low, median, high;
};
auto quartiles_of(std::vector<double> all) -> quartiles {
  std::sort(all.begin(), all.end());
  auto const at = [&](double share) {
    return all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))];
  };
  return {at(0.25), at(0.5), at(0.75)};
}
/// Of so many seeds; says how many have a value, unless all have.
auto text(std::vector<double> const& all, std::uint64_t seeds) -> std::string {
  if (all.empty()) return "not reached";
  auto const q = quartiles_of(all);
  char line[80];
  std::snprintf(line, sizeof line, "%.4f (%.4f, %.4f)", q.median, q.low, q.high);
  return all.size() == seeds ? std::string{line} : line + (" by " + std::to_string(all.size()));
}

/// Where samples come from: `draw` gives N of them by seed, and `other` one more that is not among them.
struct source {
  char const* name;
  samples (*draw)(samples const& pool, std::size_t n, std::uint64_t seed);
  samples pool, test;
  double fixed_eta, level;  // the training loss at which gaps are compared, as a share of that at 0
  std::uint64_t steps;
};

/// By seed; the last one is the one that is exchanged.
auto drawn_from(samples const& pool, std::size_t n, std::uint64_t seed) -> samples {
  auto s = samples{pool.width, pool.classes, {}, {}};
  auto draw = random_stream{{seed, 0x67656eULL}};
  for (std::size_t i = 0; i < n; ++i) {
    auto const from = draw.below(pool.size());
    s.x.insert(s.x.end(), &pool.x[from * pool.width], &pool.x[from * pool.width] + pool.width);
    s.y.push_back(pool.y[from]);
  }
  return s;
}
/// y = sum x / sqrt(20) + noise.
auto drawn_squares(samples const& pool, std::size_t n, std::uint64_t seed) -> samples {
  auto s = samples{pool.width, 1, {}, {}};
  auto draw = random_stream{{seed, 0x737172ULL}};
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t k = 0; k < s.width; ++k) {
      s.x.push_back(static_cast<float>(draw.normal() / std::sqrt(20.0)));
      sum += static_cast<double>(s.x.back());
    }
    s.y.push_back(static_cast<float>(sum + draw.normal()));
  }
  return s;
}

struct row {
  std::vector<double> gap, there, moved;
};
void measure(source const& from, std::size_t n, std::size_t tau, double eta, std::uint64_t seeds, row& out) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    auto all = from.draw(from.pool, n + 1, seed);
    auto const train = std::make_shared<samples>(all);
    train->x.resize(n * all.width), train->y.resize(n);
    auto const exchanged = std::make_shared<samples>(*train);
    std::copy_n(&all.x[n * all.width], all.width, exchanged->x.begin()), exchanged->y[0] = all.y[n];
    auto const test_of = [&](std::vector<float> const& w) { return from.test.mean_loss(w); };
    auto const w = trained<space>({train, tau + 1}, eta, seed, {.gradients = from.steps});
    out.gap.push_back(test_of(w) - train->mean_loss(w));
    auto const other = trained<space>({exchanged, tau + 1}, eta, seed, {.gradients = from.steps});
    double square = 0;
    for (std::size_t k = 0; k < w.size(); ++k)
      square += std::pow(static_cast<double>(w[k]) - static_cast<double>(other[k]), 2);
    out.moved.push_back(std::sqrt(square));
    auto const level = from.level * train->mean_loss(std::vector<float>(w.size(), 0.0F));
    auto const near = trained<space>({train, tau + 1}, eta, seed, {.target_loss = level, .gradients = 60 * from.steps});
    if (!near.empty()) out.there.push_back(test_of(near) - train->mean_loss(near));
  }
}

void tell(source const& from, std::size_t n, bool is_fixed, std::uint64_t seeds) {
  std::printf("\n%s, N = %zu, T = %llu, eta %g%s\n", from.name, n, static_cast<unsigned long long>(from.steps),
              from.fixed_eta, is_fixed ? "" : " / (tau + 1)");
  std::printf("tau  gap                        gap there                  moved\n");
  std::vector<double> gaps, there, moved;
  for (std::size_t const tau : {std::size_t{0}, std::size_t{1}, std::size_t{4}, std::size_t{16}, std::size_t{64}}) {
    row r;
    measure(from, n, tau, from.fixed_eta / (is_fixed ? 1.0 : static_cast<double>(tau + 1)), seeds, r);
    std::printf("%3zu  %-26s %-26s %s\n", tau, text(r.gap, seeds).c_str(), text(r.there, seeds).c_str(),
                text(r.moved, seeds).c_str());
    std::fflush(stdout);
    gaps.push_back(quartiles_of(r.gap).median), moved.push_back(quartiles_of(r.moved).median);
    if (!r.there.empty()) there.push_back(quartiles_of(r.there).median);
  }
  auto const falls = [](std::vector<double> const& v) {
    return v.size() == 5 && std::is_sorted(v.rbegin(), v.rend()) ? "falls with every delay"
                                                                 : "does not fall with every delay";
  };
  std::printf("the gap %s, there it %s, and what one sample moves %s\n", falls(gaps), falls(there), falls(moved));
}

auto pictures_of(problem::dataset const& d, std::size_t most) -> samples {
  auto s = samples{d.width() + 1, d.classes(), {}, {}};
  auto const n = (std::min)(most, d.samples());
  for (std::size_t i = 0; i < n; ++i) {
    for (auto const v : d.row(i)) s.x.push_back(v / 28);  // so that a row has a length of about 1
    s.x.push_back(1);
    s.y.push_back(static_cast<float>(d.labels()[i]));
  }
  return s;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    auto const seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20;
    if (seeds == 0) throw config_error{"give at least 1 seed"};
    if (!agrees_with_hand()) return 1;
    auto const pool = samples{20, 1, {}, {}};
    auto const squares = source{"squares", &drawn_squares, pool, drawn_squares(pool, 50000, 999), 0.2, 0.6, 2000};
    auto const raw = examples::read_idx_folder(argc > 2 ? argv[2] : examples::default_data_folder);
    auto const data = problem::standardise(raw.train, raw.test);
    auto const pictures =
        source{"pictures", &drawn_from, pictures_of(data.train, 20000), pictures_of(data.test, 2000), 0.1, 0.3, 2000};
    for (auto const is_fixed : {true, false})
      for (auto const n : {std::size_t{100}, std::size_t{1000}}) tell(squares, n, is_fixed, seeds);
    for (auto const is_fixed : {true, false})
      for (auto const n : {std::size_t{100}, std::size_t{1000}}) tell(pictures, n, is_fixed, (seeds + 3) / 4);
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_generalisation: %s\n", e.what());
    return 2;
  }
}
