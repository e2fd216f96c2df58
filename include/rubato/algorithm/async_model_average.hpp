// SPDX-License-Identifier: MIT
// Local SGD with an averaging of models that nobody waits for, node i of n.   Source: BAGUA's asynchronous model
// average, arXiv 2107.01499 and its public code. Formulas (C.*) of the averaging: scatter_mean.hpp.
//   (V.L)  x <- x - gamma g(x at the request)                              local step, whatever else goes on
//   (V.S)  s <- x, given to the averaging, when the last one is complete, `local_steps` steps were made since its
//          beginning, and `interval` has passed since then
//   (V.C)  x <- mean(s_1 .. s_n) + (x - s)                                 keeps the steps made in the meantime
// invariant: without steps in the meantime all models become equal, bit for bit; the corrections mean - s sum to zero
// up to the rounding of sums and the codec                            tests/unit/algorithm/async_model_average.cpp
// differs from [BAGUA]: an average may begin by count too; with local_steps = 0 it begins by time alone, as in [BAGUA],
// whose interval is 500 ms. The correction does not wait for a gradient under way.
// Passes, in vectors: a local step reads x, g and writes x; an average has those of scatter_mean, and reads x, s, mean
// and writes x.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/detail/scatter_mean.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

template<class Codec, class Step>
struct async_model_average_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::uint64_t local_steps = 1;  ///< at least this many between two snapshots
  std::chrono::nanoseconds interval{0};  ///< at least this long from one snapshot to the next
  Step step_rule{};
  Codec codec{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("local steps", self.local_steps, "least number of local iterations between two averages");
    visit("interval", self.interval, "least time from the beginning of one average to that of the next");
    visit("step rule", self.step_rule, "how a step is made of a direction");
    visit("codec", self.codec, "how messages are coded");
  }
};

/// x_new <- mean + (x - s): exactly the mean where x is s. Reads 3n, writes n.
template<class T>
struct correction_kernel {
  T const* x;
  T const* s;
  T const* mean;
  T* x_new;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const fresh = at.load(mean) + (at.load(x) - at.load(s));
    at.expect_finite(fresh);
    at.store(x_new, fresh);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

}  // namespace detail

/// Never waits: a slow node delays averages, not the steps of others. It makes fewer steps, so its data count less: if
/// data differ from node to node, the models end off the optimum. Needs lossless, ordered links.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Codec, class Step>
class async_model_average : public detail::node_core<Backend, detail::async_model_average_options<Codec, Step>> {
  using core = detail::node_core<Backend, detail::async_model_average_options<Codec, Step>>;

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "asynchronous model average"; }

  /// All-to-all, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static void resolve_options(options& o, block_partition const&, std::span<double const>, std::size_t) {
    if (o.interval.count() < 0)
      throw config_error{"two averages lie 0 s apart or more, not " + shortest(to_seconds(o.interval)) + " s"};
    if (o.local_steps == 0 && o.interval.count() == 0)
      throw config_error{"a model is averaged after 1 local step or more, not after 0, unless an interval says when"};
  }
  static constexpr std::array<std::string_view, 2> own_options{"step", "local steps"};
  static constexpr std::array all_channels{detail::scatter_mean<Backend, Codec, codec::use::models>::spec};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  async_model_average(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        mean_{self, plan.nodes[to_index(self)].nodes, core::size(), o.codec, o.seed} {}

  void start(instant now, outbox& out) {
    await_time(now, out);
    this->ask_gradient(out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if (!this->step_along(now, core::values_of(g.value))) {  // (V.L)
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();
      return;
    }
    ++this->iterations_;
    ++since_snapshot_;
    average(now, out);
    this->ask_gradient(out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel == channel_id::chunk && mean_.accept(p, out)) average(now, out);
  }

  void on_wakeup(instant now, wakeup, outbox& out) {
    is_time_ = true;
    average(now, out);
  }

  /// Without one of its nodes no average is ever complete.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && !mean_.under_way()) return mean_.resume(change);
    core::refuse_change(change, "the averaging of models, which needs every node; use r_fast where nodes may leave",
                        out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    mean_.add_statistics(s);
    return s;
  }
  /// A round is an average: between two of them all that a node has is its own.
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    return round_state{mean_.rounds_done(), !mean_.under_way()};
  }
  void meet_at(std::uint64_t round, std::uint64_t) { meets_at_ = round; }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("meets at", self.meets_at_);
    visit("mean", self.mean_), visit("snapshot", self.snapshot_), visit("since snapshot", self.since_snapshot_);
    visit("is time", self.is_time_);
  }

 private:
  /// Begins averages and corrects the model, as far as steps and messages allow.
  void average(instant now, outbox& out) {
    auto const post = this->posting(channel_id::chunk, now, out);
    while (true) {
      if (!mean_.under_way()) {
        if (!is_time_ || since_snapshot_ < this->options_->local_steps || mean_.rounds_done() == meets_at_) return;
        since_snapshot_ = 0;
        await_time(now, out);
        snapshot_ = this->x_;  // (V.S)
        mean_.begin(this->backend_, core::values_of(snapshot_), now, post);
      }
      if (!mean_.advance(this->backend_, now, post, out)) return;
      if (!correct(mean_.take_mean(), out)) return;
      snapshot_ = {};
    }
  }

  /// The next average begins an interval from now, or later.
  void await_time(instant now, outbox& out) {
    is_time_ = this->options_->interval.count() == 0;
    if (!is_time_) out.wakeups.push_back({0, later_by(now, this->options_->interval)});
  }

  auto correct(writable_buffer<scalar> const& mean, outbox& out) -> bool {
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    auto const kernel =
        detail::correction_kernel<scalar>{this->x(), core::values_of(snapshot_), mean.data(), fresh.data()};  // (V.C)
    if ((this->backend_.sweep({0, this->size()}, kernel) & backend::not_finite) != 0) {
      out.failure = mean_.spoilt(this->backend_.pool().values(mean.data(), mean.size()));
      return false;
    }
    this->x_ = std::move(fresh).publish();
    return true;
  }

  static constexpr auto no_meeting = (std::numeric_limits<std::uint64_t>::max)();
  detail::scatter_mean<Backend, Codec, codec::use::models> mean_;
  shared_buffer snapshot_;  // s, while an average is under way
  std::uint64_t since_snapshot_ = 0;
  bool is_time_ = true;  // the interval since the last snapshot has passed
  std::uint64_t meets_at_ = no_meeting;  // averages, after which the next one waits until the node was saved
};

}  // namespace rubato
