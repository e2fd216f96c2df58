// SPDX-License-Identifier: MIT
#include <rubato/collective/choice.hpp>

#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <rubato/collective/detail/steps.hpp>

#include "support/catch.hpp"

namespace {

using namespace rubato;
using collective::algorithm;

constexpr auto costs = collective::link_costs{1e-5, 1e-9, 1e-10};

TEST_CASE("predicted times are those of the formulas, for numbers of nodes that are powers of two and others") {
  auto const seconds = [](algorithm a, std::size_t n) { return collective::predicted_seconds(a, n, 1000, costs); };
  // alpha = 10, beta b = 1, gamma b = 0.1 microseconds
  CHECK(seconds(algorithm::doubling, 8) == Approx(3 * 11.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::tree, 8) == Approx(3 * 22.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::halving_doubling, 8) == Approx(60e-6 + 7.0 / 8 * 2.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::ring, 8) == Approx(140e-6 + 7.0 / 8 * 2.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::doubling, 6) == Approx(2 * 11.1e-6 + 22.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::tree, 6) == Approx(3 * 22.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::halving_doubling, 6) == Approx(40e-6 + 3.0 / 4 * 2.1e-6 + 22.1e-6).epsilon(1e-12));
  CHECK(seconds(algorithm::ring, 6) == Approx(100e-6 + 5.0 / 6 * 2.1e-6).epsilon(1e-12));
  for (auto const a : collective::all_algorithms) CHECK(seconds(a, 1) == 0);
}

TEST_CASE("where nodes share processors their work counts: as many messages and additions as the steps have") {
  for (std::size_t n = 2; n <= 17; ++n) {
    for (auto const how : collective::all_algorithms) {
      INFO(n << " nodes, " << std::string{name_of(how)});
      constexpr std::size_t count = 16 * 9 * 5 * 7 * 11 * 13 * 17;  // whole parts only
      auto messages = 0.0, sent = 0.0, added = 0.0;
      for (std::size_t i = 0; i < n; ++i) {
        for (auto const& s : collective::detail::steps_of(how, i, n, count)) {
          messages += s.out.empty() ? 0 : 1;
          sent += static_cast<double>(s.out.size()) / count;
          added += s.adds ? static_cast<double>(s.in.size()) / count : 0;
        }
      }
      auto const seconds = [&](collective::link_costs const& c) { return collective::predicted_seconds(how, n, 1, c); };
      CHECK(seconds({1, 0, 0, 1}) == Approx(messages).epsilon(1e-12));
      CHECK(seconds({0, 1, 0, 1}) == Approx(sent).epsilon(1e-12));
      CHECK(seconds({0, 0, 1, 1}) == Approx(added).epsilon(1e-12));
      CHECK(seconds({1, 0, 0, n * n}) == seconds({1, 0, 0, 0}));  // then the path counts
    }
  }
}

TEST_CASE("small vectors are swapped whole, large ones in parts, and a ring serves where a power of two lacks much") {
  CHECK(collective::choose(8, 64, costs) == algorithm::doubling);
  CHECK(collective::choose(8, 1U << 20, costs) == algorithm::halving_doubling);
  CHECK(collective::choose(7, 1U << 24, costs) == algorithm::ring);
  CHECK(collective::choose(7, 64, costs) == algorithm::doubling);
  CHECK(collective::choose(7, 8000, {1e-5, 1e-10, 1e-9}) == algorithm::doubling);
  CHECK(collective::choose(8, 64, {1e-5, 1e-9, 1e-10, 2}) == algorithm::tree);  // which takes the fewest messages
  CHECK(collective::choose(2, 1U << 16, {1e-5, 1e-9, 0}) == algorithm::doubling);
  CHECK(collective::choose(2, 1U << 20, {1e-5, 1e-9, 0}) == algorithm::ring);  // which takes 1 % more
}

/// What a step sends or takes, as both ends must see it.
using ends = std::pair<std::size_t, std::size_t>;

TEST_CASE("what each node sends is what the other one takes, in the same order, and every value of all is added once") {
  for (std::size_t n = 1; n <= 17; ++n) {
    for (auto const how : collective::all_algorithms) {
      INFO(n << " nodes, " << std::string{name_of(how)});
      constexpr std::size_t count = 23;  // parts differ in size, and some of 17 nodes hold one value
      std::map<ends, std::vector<range>> out, in;
      std::vector<std::vector<collective::detail::step>> all;
      for (std::size_t i = 0; i < n; ++i) {
        all.push_back(collective::detail::steps_of(how, i, n, count));
        for (auto const& s : all.back()) {
          if (!s.out.empty()) out[{i, s.to}].push_back(s.out);
          if (!s.in.empty()) in[{s.from, i}].push_back(s.in);
        }
      }
      REQUIRE(out == in);

      // Each value holds the nodes that were added up in it; steps are made as soon as what they take was sent.
      auto held = std::vector(n, std::vector(count, std::multiset<std::size_t>{}));
      for (std::size_t i = 0; i < n; ++i) held[i].assign(count, {i});
      std::map<ends, std::vector<std::vector<std::multiset<std::size_t>>>> under_way;
      auto at = std::vector<std::size_t>(n), sent = at;
      for (auto moved = true; moved;) {
        moved = false;
        for (std::size_t i = 0; i < n; ++i) {
          if (at[i] == all[i].size()) continue;
          auto const& s = all[i][at[i]];
          if (sent[i] == at[i]) {
            ++sent[i], moved = true;
            auto const from = held[i].begin() + static_cast<std::ptrdiff_t>(s.out.begin);
            if (!s.out.empty())
              under_way[{i, s.to}].emplace_back(from, from + static_cast<std::ptrdiff_t>(s.out.size()));
          }
          auto& coming = under_way[{s.from, i}];
          if (!s.in.empty() && coming.empty()) continue;
          for (std::size_t k = 0; k < s.in.size(); ++k) {
            auto& mine = held[i][s.in.begin + k];
            if (s.adds) mine.insert(coming.front()[k].begin(), coming.front()[k].end());
            else mine = coming.front()[k];
          }
          if (!s.in.empty()) coming.erase(coming.begin());
          ++at[i], moved = true;
        }
      }
      std::multiset<std::size_t> everybody;
      for (std::size_t i = 0; i < n; ++i) everybody.insert(i);
      for (std::size_t i = 0; i < n; ++i) {
        REQUIRE(at[i] == all[i].size());
        for (auto const& value : held[i]) REQUIRE(value == everybody);
      }
    }
  }
}

}  // namespace
