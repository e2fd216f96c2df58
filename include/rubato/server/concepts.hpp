// SPDX-License-Identifier: MIT
// What the policies of a server must provide: which gradients count, the weight of each, how many make a step, and
// which worker gets the new model. algorithm/server_sgd.hpp combines them.
#pragma once

#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>

namespace rubato::server {

/// Throws config_error unless the rate of an outer step is a positive number.
inline void check_outer_rate(double rate) {
  if (!(rate > 0) || !std::isfinite(rate))
    throw config_error{"the rate of an outer step must be a positive number, not " + shortest(rate)};
}
/// Throws config_error unless local steps have rate 1, for `server`, which tells what workers have done by steps of
/// gamma.
inline void check_local_rate(double rate, std::string_view server) {
  if (rate != 1)
    throw config_error{std::string{server} + " needs local steps of rate 1, not " + shortest(rate) +
                       "; change the step instead"};
}

/// One gradient, as the server sees it on arrival.
struct received_gradient {
  std::size_t worker = 0;
  std::uint64_t delay = 0;                ///< versions of the model since the one at which it was computed
  std::chrono::nanoseconds duration{};    ///< of its computation
  std::chrono::nanoseconds round_trip{};  ///< from the server's posting of the model: computation and both links
  instant at{};                           ///< time of arrival, on the run's clock
  // For an aggregation with a true `needs_given`, otherwise null; both live during the call.
  shared_buffer const* model = nullptr;  ///< the server's, now
  shared_buffer const* given = nullptr;  ///< the one at which the worker began
};

/// A factor of 0 or more on the step, and the part that a cap has cut off.
struct weight {
  double factor = 1;
  double capped = 0;
};

/// share * values, with values in the backend's memory.
template<class T>
struct direction {
  T const* values = nullptr;
  T share{1};
  shared_buffer from{};  ///< where the step begins; empty: at the model
  double step = 1;       ///< factor of gamma
};

/// Which gradients may move the model. If may_stop is true and stops() says so, running jobs whose delay is no longer
/// accepted are stopped. resolve_options() gets the number of workers before the run and may throw config_error. Not
/// checked, but required: if a delay is refused, all larger ones are. Optional: takes(worker), false for a worker that
/// gets no job after its first; by_shard, true if a server may decide alone about its values of a gradient, by the
/// versions of its values of the model. Models: accept_all, delay_threshold, current_only, fastest_workers.
template<class A>
concept acceptance_policy = std::copyable<A> && std::default_initializable<A> &&
                            requires(A& a, A const& c, std::uint64_t delay, std::size_t workers) {
                              a.resolve_options(workers);
                              { c.accepts(delay) } -> std::convertible_to<bool>;
                              { c.stops() } -> std::convertible_to<bool>;
                              { A::may_stop } -> std::convertible_to<bool>;
                            };

/// Settings, with a movable state at the server that is called once for each accepted gradient, in order of arrival.
/// The settings outlive the state and stay at the same address (likewise for aggregations). Models:
/// by_delay<weighting>, delay_adaptive, known_times, own_durations.
template<class W>
concept weight_policy = std::copyable<W> && std::default_initializable<W> && std::movable<typename W::state> &&
                        std::constructible_from<typename W::state, W const&, std::size_t> &&
                        requires(W& w, typename W::state& s, received_gradient const& a, std::size_t workers) {
                          w.resolve_options(workers);
                          { s(a) } -> std::same_as<weight>;
                        };

/// take() gets a gradient, its weight, its worker and its arrival time. When enough gradients have been added it
/// returns the direction of a step, which is used at once. A gradient that is not finite is one at once, so that it is
/// known whose it was. Optional: by_round, true if a step comes about once per gradient of each worker, so that the
/// gain is 1 and not their number; needs_given, see received_gradient; needs_plain_steps, true if only step::sgd is
/// right; workers_count_alike, true if all workers count the same in the limit, so that no limit weights are reported;
/// shares_are_its_own, likewise, if how much a worker counts does not follow from weights; leaves(worker) of the state,
/// called when a worker's edge closes; members(present), called where members come and go; needs_every_worker, true if
/// it makes no step without one that is gone for good; by_shard, true if it does to some values of a gradient the same
/// as to all, knowing no others; check_jobs(rate), which throws config_error if it cannot use local steps of that rate.
/// Models: apply_at_once, buffered, collected, mean_of_means, two_tables, newest_of_each, fresh_half, mixed_models,
/// delay_compensated, delayed_nesterov.
template<class G, class Backend>
concept aggregation_policy =
    std::copyable<G> && std::default_initializable<G> && std::movable<typename G::template state<Backend>> &&
    std::constructible_from<typename G::template state<Backend>, G const&, std::size_t> &&
    requires(G& c, typename G::template state<Backend>& s, Backend& b, shared_buffer const& g, double weight,
             received_gradient const& a, std::size_t workers) {
      c.resolve_options(workers);
      { s.take(b, g, weight, a) } -> std::same_as<std::optional<direction<typename Backend::scalar>>>;
    };

/// Which worker, of those without a job, gets the model after this worker's gradient arrived. Or, if it may name
/// workers that have one, so that jobs queue: resolve_options(workers), and a state, made of the policy, the
/// number of workers and the seed, whose call gives the workers of all jobs that are posted now. It may hold jobs back:
/// held() of them, whose workers give_held() gives when none is under way any more. Optional: local<Backend>, what a
/// worker does for a job that is more than one gradient; grace, see with_grace; resolve_options(workers). Models:
/// same_worker, local_steps; drawn_order.
template<class A>
concept queueing_assignment = std::movable<typename A::state> &&
                              std::constructible_from<typename A::state, A const&, std::size_t, std::uint64_t> &&
                              requires(A& a, typename A::state& s, std::size_t workers) {
                                a.resolve_options(workers);
                                { s(workers) } -> std::convertible_to<std::span<std::size_t const>>;
                                { s.held() } -> std::convertible_to<std::size_t>;
                                { s.give_held() } -> std::convertible_to<std::span<std::size_t const>>;
                              };
/// An assignment whose server says with each job how many steps it has: a state that is called as an assignment is, is
/// told the steps and the duration of each result that counts and who has left, and gives the steps of a worker's next
/// job, at least 1 and at most `count`, which the first job has. local<Backend> has begin(steps).
/// Models: steps_by_speed.
template<class A>
concept pacing_assignment =
    std::movable<typename A::state> && std::constructible_from<typename A::state, A const&, std::size_t> &&
    requires(A& a, typename A::state& s, std::size_t k, std::chrono::nanoseconds t) {
      a.resolve_options(k);
      { a.count } -> std::convertible_to<std::size_t>;
      { s(k) } -> std::convertible_to<std::size_t>;
      s.measured(k, k, t);
      s.leaves(k);
      { s.steps_of(k) } -> std::convertible_to<std::size_t>;
    };
template<class A>
concept assignment_policy = std::copyable<A> && std::default_initializable<A> &&
                            (queueing_assignment<A> || pacing_assignment<A> || requires(A& a, std::size_t arrived) {
                              { a(arrived) } -> std::convertible_to<std::size_t>;
                            });

namespace detail {
/// A job of one gradient.
struct no_local_work {
  explicit no_local_work(auto const&) {}
  void begin() {}
};
}  // namespace detail

/// A server's part of an assignment.
template<class A>
struct assignment_state {
  using type = A;
  static auto make(A const& a, std::size_t, std::uint64_t) -> type { return a; }
};
template<queueing_assignment A>
struct assignment_state<A> {
  using type = typename A::state;
  static auto make(A const& a, std::size_t workers, std::uint64_t seed) -> type { return {a, workers, seed}; }
};

template<pacing_assignment A>
struct assignment_state<A> {
  using type = typename A::state;
  static auto make(A const& a, std::size_t workers, std::uint64_t) -> type { return {a, workers}; }
};

/// A worker's part of an assignment.
template<class A, class Backend>
struct local_work {
  using type = detail::no_local_work;
};
template<class A, class Backend>
  requires requires { typename A::template local<Backend>; }
struct local_work<A, Backend> {
  using type = typename A::template local<Backend>;
};

/// Checked where policies are used by a server; each sentence needs no context.
template<class Acceptance, class Weight, class Aggregation, class Assignment, class Backend>
consteval auto check_policies() -> bool {
  static_assert(acceptance_policy<Acceptance>,
                "an acceptance has may_stop, resolve_options(workers), accepts(delay) and stops(), which say whether a "
                "gradient counts");
  static_assert(weight_policy<Weight>,
                "a weight is a weighting, or has resolve_options(workers) and a movable state whose call gives a "
                "weight");
  static_assert(
      aggregation_policy<Aggregation, Backend>,
      "an aggregation has resolve_options(workers) and a movable state<Backend> whose take(backend, gradient, "
      "weight, received_gradient) gives a direction or none");
  static_assert(assignment_policy<Assignment>,
                "an assignment is called with the worker whose gradient came and gives the worker that goes on");
  return true;
}

}  // namespace rubato::server
