// SPDX-License-Identifier: MIT
#include "../../../examples/support/node_options.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/step/momentum.hpp>

#include "../../../examples/support/catalogue.hpp"
#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {

using namespace rubato;
using namespace rubato::examples;
using namespace std::chrono_literals;
using rubato::test::refusal;
using rubato::test::says;

struct of_all_kinds {
  bool looks_ahead = false;
  std::uint8_t small = 3;
  int shift = -1;
  std::uint64_t count = 5;
  double rate = 0.5;
  std::chrono::nanoseconds pause = 2ms;
  step_scale scale = step_scale::raw;
  std::vector<int> exponents{};
  step::momentum rule{};
  step::sgd none{};
  static void visit_options(auto& self, auto&& visit) {
    visit("looks ahead", self.looks_ahead), visit("small", self.small), visit("shift", self.shift);
    visit("count", self.count), visit("rate", self.rate, "a share"), visit("pause", self.pause),
        visit("scale", self.scale);
    visit("exponents", self.exponents), visit("step rule", self.rule), visit("none", self.none);
  }
};

auto set(of_all_kinds& o, std::string_view text) { set_option(o, "it", setting_in({"--set", text})); }
auto refused(std::string_view text) -> std::string {
  return refusal([&] {
    of_all_kinds o;
    set(o, text);
  });
}

}  // namespace

TEST_CASE("an option of every kind is listed with its value, and accepts a written value") {
  of_all_kinds o;
  std::string text;
  for (auto const& each : listed(o)) text += each.name + "=" + each.value + "\n";
  CHECK(text ==
        "looks-ahead=no\nsmall=3\nshift=-1\ncount=5\nrate=0.5\npause=0.002s\nscale=raw\nexponents=\n"
        "step-rule=momentum\nstep-rule-beta=0.9\nstep-rule-form=heavy-ball\nnone=sgd\n");
  for (auto const* const each : {"looks-ahead=yes", "small=255", "shift=-7", "count=18446744073709551615", "rate=1e-3",
                                 "pause=1.5ms", "scale=per-gain", "exponents=20,-3", "step_rule_form=nesterov"}) {
    set(o, each);
  }
  CHECK((o.looks_ahead && o.small == 255 && o.shift == -7 && o.count == ~std::uint64_t{0} && o.rate == 1e-3));
  CHECK((o.pause == 1500us && o.scale == step_scale::per_gain && o.exponents == std::vector{20, -3}));
  CHECK(listed(o)[10].value == "nesterov");
  CHECK((listed(o)[4].meaning == "a share" && listed(o)[5].meaning.empty()));
  set(o, "exponents=");
  CHECK(o.exponents.empty());
}

TEST_CASE("the listed value of an option can be written back") {
  of_all_kinds o;
  set(o, "exponents=1,-2");
  auto const before = listed(o);
  for (auto const& each : before) {
    if (!each.right.empty()) set(o, each.name + "=" + each.value);
  }
  auto const after = listed(o);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(before[i].value == after[i].value);
}

TEST_CASE("an invalid value is refused with the option, the value and the values allowed") {
  CHECK(refused("looks-ahead=1") == "the option looks-ahead of it must be yes or no, not '1'");
  CHECK(refused("small=256") == "the option small of it must be a whole number from 0 to 255, not '256'");
  CHECK(says(refused("shift=1.5"), "shift of it must be a whole number from -2147483648 to 2147483647, not '1.5'"));
  CHECK(refused("count=-1") == "the option count of it must be a whole number from 0 up, not '-1'");
  CHECK(refused("rate=inf") == "the option rate of it must be a number, not 'inf'");
  CHECK(refused("rate=") == "the option rate of it must be a number, not ''");
  CHECK(says(refused("pause=3"), "pause of it must be a time"));
  CHECK(refused("scale=rough") == "the option scale of it must be per-gain or raw, not 'rough'");
  CHECK(says(refused("exponents=1,,2"), "exponents of it must be a whole number"));
  CHECK(says(refused("step-rule-beta=1"),
             "the option step-rule-beta of it cannot be '1': the beta of momentum must lie"));
  CHECK(says(refused("step-rule=adam"), "the option step-rule of it is momentum, which is chosen where"));
  CHECK(says(refused("momentum=1"), "it has no option 'momentum' (set to '1'); it has looks-ahead, small, "));
  CHECK(says(refused("rate"), "--set must be NAME=VALUE"));
}

/// A number other than `present` that the option takes; options have limits of their own.
template<class Set>
auto number_taken(std::string const& present, Set const& set) -> std::string {
  for (auto const* text : {"1", "2", "0.5", "0.25", "64"}) {
    if (text == present) continue;
    try {
      set(text);
      return text;
    } catch (config_error const&) {
    }
  }
  FAIL("no number of those tried is right");
  return {};
}

TEST_CASE("every option of a node type in the catalogue can be set by its name, and is reported with that value") {
  for_each_algorithm<backend::host<float>>([]<class Node>(catalogue_row<Node> const& row) {
    INFO(row.name);
    typename Node::options o;
    auto const names_of_lines = [&] {
      std::string names;
      each_option(o, [&](std::string const& name, std::string const&) { names += with_dashes(name) + "\n"; });
      return names;
    };
    std::string names;
    auto const all = listed(o);
    for (auto const& each : all) names += each.name + "\n";
    CHECK(names == names_of_lines());
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].right.empty()) continue;
      INFO(all[i].name);
      auto const other = all[i].right.find(" or ");
      auto const is_number = all[i].right.find("number") != std::string::npos;
      auto text = all[i].right.substr(0, other);
      if (all[i].right.starts_with("a time")) text = all[i].value == "2s" ? "3s" : "2s";
      else if (is_number)
        text = number_taken(all[i].value, [&](std::string const& t) {
          auto copy = o;
          set_option(copy, row.name, {{}, all[i].name, t});
        });
      if (text == all[i].value) text = all[i].right.substr(other + 4, all[i].right.find(" or ", other + 4) - other - 4);
      set_option(o, row.name, {{}, all[i].name, text});
      CHECK(listed(o)[i].value == text);
    }
  });
}
