// SPDX-License-Identifier: MIT
#include <rubato/contribution/concepts.hpp>
#include <rubato/ledger/concepts.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/synchrony/concepts.hpp>
#include <rubato/weighting/concepts.hpp>

#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/contribution/finished.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/free.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/weighting/constant.hpp>
#include <rubato/weighting/polynomial.hpp>

namespace {

using namespace rubato;
using host = backend::host<float>;

// What the library calls a policy is one.
static_assert(step::policy<step::sgd, host> && step::policy<step::sgd, backend::eigen<double>>);
static_assert(synchrony::policy<synchrony::free> && synchrony::policy<synchrony::rounds>);
static_assert(weighting::policy<weighting::constant> && weighting::policy<weighting::polynomial>);
static_assert(contribution::policy<contribution::all> && contribution::policy<contribution::finished>);
static_assert(ledger::policy<ledger::fixed_point, float> && ledger::policy<ledger::fixed_point, double>);
static_assert(ledger::policy<ledger::floating, float> && ledger::policy<ledger::floating, double>);

// Each lacks one thing or has it wrong.
struct with_silent_next : step::sgd {
  template<class Backend>
  struct state : step::sgd::state<Backend> {
    using step::sgd::state<Backend>::state;
    void next(double) const {}
  };
};
struct without_size : step::sgd {
  template<class Backend>
  struct state : step::sgd::state<Backend> {
    explicit state(without_size const&) : step::sgd::state<Backend>{{}, *static_cast<Backend*>(nullptr), 0} {}
  };
};
struct without_direction {
  template<class Backend>
  struct state {
    struct rule {
      template<class At, class V>
      auto operator()(At&, V x) const -> V;
      static auto bytes_per_value() -> std::size_t;
    };
    state(without_direction const&, Backend&, std::size_t);
    auto next(double) const -> rule;
  };
};
struct without_bytes {
  template<class Backend>
  struct state {
    struct rule {
      template<class At, class V>
      auto operator()(At&, V x, V direction) const -> V;
    };
    state(without_bytes const&, Backend&, std::size_t);
    auto next(double) const -> rule;
  };
};
static_assert(step::gives_rules<without_bytes, host> && !step::rule_moves_x<without_bytes, host>);
static_assert(step::has_state<with_silent_next, host> && !step::gives_rules<with_silent_next, host>);
static_assert(!step::has_state<without_size, host> && !step::policy<int, host>);
static_assert(step::gives_rules<without_direction, host> && !step::rule_moves_x<without_direction, host>);

struct without_waits {
  static constexpr channel_kind delivery = channel_kind::state;
  [[nodiscard]] auto ready(iteration, iteration) const -> bool;
};
struct with_changing_ready : without_waits {
  static constexpr bool waits = true;
  auto ready(iteration, iteration) -> bool;
};
struct with_named_delivery : synchrony::rounds {
  static constexpr char const* delivery = "event";
};
static_assert(!synchrony::policy<without_waits> && !synchrony::policy<with_changing_ready>);
static_assert(!synchrony::policy<with_named_delivery>);

struct without_minibatches {
  static constexpr bool follows_the_fastest = true;
  [[nodiscard]] auto counted(std::size_t) const -> std::size_t;
};
struct without_an_end {
  std::size_t minibatches = 1;
  [[nodiscard]] auto counted(std::size_t) const -> std::size_t;
};
struct with_changing_count : contribution::all {
  auto counted(std::size_t) -> std::size_t;
};
static_assert(!contribution::sizes_a_batch<without_minibatches> && !contribution::says_who_ends_a_batch<without_an_end>);
static_assert(contribution::sizes_a_batch<with_changing_count> && !contribution::policy<with_changing_count>);

struct without_sentence : ledger::floating {
  void range_sentence() const;
};
struct without_values : ledger::floating {
  template<class>
  struct value {};
};
struct without_calibration : ledger::floating {
  void calibrate();
};
struct with_changing_arithmetic : ledger::floating {
  template<class T>
  auto arithmetic_for(std::size_t) -> arithmetic<T>;
};
struct without_share : ledger::floating {
  struct poor : ledger::floating::arithmetic<float> {
    void share();
  };
  template<class>
  auto arithmetic_for(std::size_t) const -> poor;
};
static_assert(!ledger::policy<without_sentence, float> && !ledger::policy<without_values, float>);
static_assert(!ledger::policy<without_calibration, float> && !ledger::policy<with_changing_arithmetic, float>);
static_assert(ledger::can_be_agreed_on<without_share, float> && !ledger::policy<without_share, float>);

}  // namespace
