// SPDX-License-Identifier: MIT
#include <rubato/algorithm/firing.hpp>
#include <rubato/algorithm/partner.hpp>
#include <rubato/algorithm/prox.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/contribution/concepts.hpp>
#include <rubato/ledger/concepts.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/synchrony/concepts.hpp>
#include <rubato/weighting/concepts.hpp>

#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/adaptive_bits.hpp>
#include <rubato/codec/bf16.hpp>
#include <rubato/codec/block_top_k.hpp>
#include <rubato/codec/damped.hpp>
#include <rubato/codec/fp16.hpp>
#include <rubato/codec/fp8.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/codec/natural.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/random_k.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/contribution/all.hpp>
#include <rubato/contribution/finished.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/clipped_by_norm.hpp>
#include <rubato/step/clipped_by_value.hpp>
#include <rubato/step/decayed.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>
#include <rubato/synchrony/free.hpp>
#include <rubato/synchrony/rounds.hpp>
#include <rubato/weighting/constant.hpp>
#include <rubato/weighting/drop_older_than.hpp>
#include <rubato/weighting/exponential.hpp>
#include <rubato/weighting/hinge.hpp>
#include <rubato/weighting/polynomial.hpp>

#include <cstddef>
#include <span>

namespace {

using namespace rubato;
using host = backend::host<float>;

// What the library calls a policy is one.
static_assert(step::policy<step::sgd, host> && step::policy<step::sgd, backend::eigen<double>>);
static_assert(step::policy<step::momentum, host> && step::policy<step::adam, backend::eigen<double>>);
static_assert(step::policy<step::adamw, host> && step::policy<step::clipped_by_value<step::adamw>, host>);
static_assert(step::policy<step::clipped_by_norm<>, host> && step::needs_norm<step::clipped_by_norm<>, host>);
static_assert(step::policy<step::decayed<step::clipped_by_norm<>>, host> && !step::needs_norm<step::adamw, host>);
static_assert(!step::policy<step::clipped_by_value<step::clipped_by_norm<>>, host>);
static_assert(step::linear<step::momentum> && !step::linear<step::decayed<step::sgd>>);
static_assert(synchrony::policy<synchrony::free> && synchrony::policy<synchrony::rounds>);
static_assert(synchrony::policy<synchrony::bounded_staleness> &&
              !synchrony::in_lock_step<synchrony::bounded_staleness>());
static_assert(synchrony::in_lock_step<synchrony::rounds>() && !synchrony::in_lock_step<synchrony::free>());
static_assert(weighting::policy<weighting::constant> && weighting::policy<weighting::polynomial>);
static_assert(weighting::policy<weighting::exponential> && weighting::policy<weighting::hinge>);
static_assert(weighting::policy<weighting::drop_older_than> && weighting::drop_older_than::can_cut);
static_assert(contribution::policy<contribution::all> && contribution::policy<contribution::finished>);
static_assert(ledger::policy<ledger::fixed_point, float> && ledger::policy<ledger::fixed_point, double>);
static_assert(ledger::policy<ledger::floating, float> && ledger::policy<ledger::floating, double>);
static_assert(codec::policy<codec::identity, host> && codec::policy<codec::bf16, backend::eigen<double>>);
static_assert(codec::policy<codec::minmax_u8, host> && codec::policy<codec::bagua_u8, host>);
static_assert(codec::policy<codec::fp16, host> && codec::policy<codec::fp8_e4m3, host>);
static_assert(codec::policy<codec::qsgd, host> && codec::draws<codec::qsgd, host>);
static_assert(codec::policy<codec::natural, backend::eigen<double>> && codec::draws<codec::random_k, host>);
static_assert(codec::policy<codec::top_k, host> && !codec::draws<codec::top_k, host> && codec::is_coarse<codec::top_k>);
static_assert(codec::policy<codec::block_top_k, host> && codec::policy<codec::sign_scale, host>);
static_assert(codec::policy<codec::damped<codec::qsgd>, host> && !codec::is_coarse<codec::minmax_u8>);
static_assert(codec::sum_policy<codec::low_bits, host, std::int32_t>);
static_assert(codec::adaptive_sum_policy<codec::adaptive_bits<>, host, std::int32_t>);

static_assert(partner::policy<partner::uniform> && partner::policy<partner::round_robin>);
static_assert(partner::policy<partner::by_speed> && partner::policy<partner::fixed>);

// Each lacks one thing or has it wrong.
struct without_a_choice {
  struct state {
    state(without_a_choice const&, node_id);
    void operator()(std::span<node_id const>, random_stream&);
  };
};
struct without_a_start : without_a_choice {
  struct state {
    auto operator()(std::span<node_id const>, random_stream&) -> std::size_t;
  };
};
static_assert(firing::policy<firing::poisson> && !firing::policy<prox::none> && !firing::policy<int>);
static_assert(prox::policy<prox::none, float> && prox::policy<prox::l1, float> && prox::policy<prox::box, double>);
struct without_a_map {
  template<class T>
  auto with(double) const -> T;
};
static_assert(!prox::policy<without_a_map, float> && !prox::policy<int, float>);
static_assert(!partner::policy<without_a_choice> && !partner::policy<without_a_start> && !partner::policy<int>);
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
struct without_parts {
  template<class Backend>
  struct state {
    struct rule {
      template<class At, class V>
      auto operator()(At&, V x, V direction) const -> V;
      static auto bytes_per_value() -> std::size_t;
    };
    state(without_parts const&, Backend&, std::size_t);
    auto next(double) const -> rule;
  };
};
static_assert(step::rule_moves_x<without_parts, host> && !step::policy<without_parts, host>);
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
struct with_endless_queue {
  static constexpr bool waits = true;
  static constexpr channel_kind delivery = channel_kind::event;
  [[nodiscard]] auto ready(iteration, iteration) const -> bool;
};
static_assert(synchrony::judges_iterations<with_endless_queue> && !synchrony::policy<with_endless_queue>);

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
static_assert(!contribution::sizes_a_batch<without_minibatches> &&
              !contribution::says_who_ends_a_batch<without_an_end>);
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

struct without_error : codec::bf16 {
  void relative_error(std::size_t) const;
};
struct without_decoding : codec::bf16 {
  void decode();
};
struct with_codes_of_no_body : codec::bf16 {
  template<class>
  using code = long double;
};
struct with_silent_decoding : codec::low_bits {
  template<class Backend>
  void decode(Backend&, std::uint16_t const*, std::int32_t const*, std::size_t, std::int32_t*) const;
};
struct with_hidden_motion : codec::adaptive_bits<> {
  struct motion : codec::sum_motion {
    static void visit_state() {}
  };
};
struct with_silent_motion : codec::adaptive_bits<> {
  template<class Backend>
  void encode(Backend&, std::int32_t const*, std::size_t, std::byte*) const;
};
static_assert(!codec::adaptive_sum_policy<with_hidden_motion, host, std::int32_t>);
static_assert(!codec::adaptive_sum_policy<with_silent_motion, host, std::int32_t>);
static_assert(!codec::adaptive_sum_policy<codec::low_bits, host, std::int32_t>);
static_assert(codec::has_codes<without_error, float> && !codec::states_its_error<without_error>);
static_assert(!codec::encodes_and_decodes<without_decoding, host> && !codec::policy<without_decoding, host>);
static_assert(!codec::has_codes<with_codes_of_no_body, float>);
static_assert(!codec::sum_policy<with_silent_decoding, host, std::int32_t>);
static_assert(!codec::sum_policy<codec::low_bits, host, float>);  // sums of a floating ledger
static_assert(codec::check_links<codec::bf16>(channel_kind::state));

}  // namespace
