// SPDX-License-Identifier: MIT
// Local SGD: nodes make k steps each on their own, then go on at the mean of their models; node i of n.
// Source: Stich, arXiv 1805.09767. Three policies make a family of it: the outer step (algorithm/outer.hpp), the rhythm
// (algorithm/rhythm.hpp) and the codec of what is merged.
// shapes: x, g, D, s in R^d;   s = the model at which all nodes began, the same at all
//   (L.S)  x <- x - gamma g(x)                      local step, k of them
//   (L.D)  D_i = s - x_i                            what a node has done, given to the mean
//   (L.O)  s <- s - rate R(mean D)                  outer step; with outer::mean s = the mean of the models
//   (L.X)  x <- s + a (x - s)                       a = 0 unless the rhythm says otherwise
// A rhythm may merge fragments of the model in turn, in each of which (L.D) to (L.X) act on these values alone, and let
// nodes make steps between (L.D) and (L.O).
// The mean is that of detail/scatter_mean.hpp, formulas (C.*), in 2(n-1) messages of d/n values, or of
// detail/gather_mean.hpp (algorithm/merge.hpp).
// invariant: s is equal at all nodes bit for bit after a merge. With k = 1, outer::mean and plain steps this is SGD on
// the mean gradient.                                                            tests/unit/algorithm/local_sgd.cpp
// limit: the point where the work of k steps adds up to zero, sum_i D_i = 0: for quadratics f_i of curvature h_i and
// centre c_i it is  sum q_i c_i / sum q_i,  q_i = 1 - (1 - gamma h_i)^k  value by value. So with k > 1 it is off the
// optimum, by an amount of order gamma (k - 1), where curvatures differ; the outer step does not move it.
// A step rule keeps its state over merges.
// Passes, in vectors: a local step reads x, g and writes x; a merge reads s, x, writes D, has those of scatter_mean,
// and reads s, mean, writes s.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/algorithm/merge.hpp>
#include <rubato/algorithm/outer.hpp>
#include <rubato/algorithm/rhythm.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

namespace detail {

template<class Outer, class Rhythm, class Codec, class Step, class Merge>
struct local_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  Rhythm rhythm{};
  Outer outer{};
  Step step_rule{};
  Codec codec{};
  Merge merge{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("rhythm", self.rhythm, "when nodes merge");
    visit("outer", self.outer, "what is made of the mean local work");
    visit("step rule", self.step_rule, "how a local step is made of a direction");
    visit("codec", self.codec, "how messages are coded");
    visit("merge", self.merge, "how nodes come to the mean of their work");
  }
};

/// d <- s - x.
template<class T>
struct local_work_kernel {
  T const* s;
  T const* x;
  T* d;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(d, at.load(s) - at.load(x));  // (L.D)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// x_new <- s + a (x - s).
template<class T>
struct kept_share_kernel {
  T const* s;
  T const* x;
  T* x_new;
  T a;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const common = at.load(s);
    at.store(x_new, common + a * (at.load(x) - common));  // (L.X)
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

}  // namespace detail

/// Every node ends every merge with the same s. Needs lossless, ordered links; a slow node slows all. Memory in
/// vectors: x, s, g, what the rules need, and the mean under way.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Outer, class Rhythm, class Codec, class Step, class Merge>
class local_sgd : public detail::node_core<Backend, detail::local_options<Outer, Rhythm, Codec, Step, Merge>> {
  using core = detail::node_core<Backend, detail::local_options<Outer, Rhythm, Codec, Step, Merge>>;
  using merging = typename Merge::template of<Backend, Codec>;
  using outer_state = typename decltype(Outer::rule)::template state<Backend>;
  static_assert(outer::check_outer<Outer, Backend>() && rhythm::check_rhythm<Rhythm>());

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "local SGD"; }

  /// All-to-all, whatever the network.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::all_to_all_plan(network.pull().nodes());
  }
  static void resolve_options(options& o, block_partition const& blocks, std::span<double const>, std::size_t) {
    o.rhythm.check();
    if (o.rhythm.fragments() > blocks.values()) {
      throw config_error{"a model of " + std::to_string(blocks.values()) + " values cannot be merged in " +
                         std::to_string(o.rhythm.fragments()) + " fragments; take as many as it has values at most"};
    }
    outer::check_rate(o.outer);
  }
  static constexpr std::array<std::string_view, 1> own_options{"step"};
  static constexpr std::array all_channels{merging::spec};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  local_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        mean_{self, plan.nodes[to_index(self)].nodes, core::size(), o.codec, o.seed, o.rhythm.fragments()} {
    auto const fragments = o.rhythm.fragments();
    for (std::size_t f = 0; f < fragments; ++f) {
      auto const r = mean_.fragment(f);
      outer_.emplace_back(core::options_->outer.rule, core::backend_, r.size());
      begun_at_.push_back(fragments == 1 ? core::x_
                                         : backend::copied(core::backend_, this->x() + r.begin, r.size()).publish());
    }
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if (!this->step_along(now, core::values_of(g.value))) {  // (L.S)
      out.failure = detail::blame{this->self_}.gradient(g.value).sentence();
      return;
    }
    ++this->iterations_;
    ++since_begin_;
    merge(now, out);
    if (!out.failure && !waits()) this->ask_gradient(out);
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (p.channel != channel_id::chunk || !mean_.accept(p, out)) return;
    auto const waited = waits();
    merge(now, out);
    if (waited && !waits() && !out.failure) this->ask_gradient(out);
  }

  /// A merge needs every node.
  void on_neighbours(instant, neighbour_change const& change, outbox& out) {
    if (change.what == neighbour_change::edge::resumes && !merges_) return mean_.resume(change);
    core::refuse_change(change, "the merging of local steps, which needs every node; use r_fast where nodes may leave",
                        out);
  }

  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    mean_.add_statistics(s);
    return s;
  }
  [[nodiscard]] auto common_round() const -> std::optional<round_state> {
    auto const& when = this->options_->rhythm;
    auto const begins = since_begin_ == (rounds_ == 0 ? 0 : when.overlap());
    return round_state{rounds_, begins && !merges_ && this->pending_.under_way(), 1, when.gradients()};
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("mean", self.mean_);
    for (auto& one : self.outer_) visit("outer", one);
    visit("begun at", self.begun_at_), visit("rounds", self.rounds_), visit("since begin", self.since_begin_);
    visit("merges", self.merges_), visit("is merged", self.is_merged_);
  }

 private:
  /// Whether the next step is of a model that is not there yet.
  [[nodiscard]] auto waits() const -> bool { return merges_ && since_begin_ == this->options_->rhythm.overlap(); }

  /// Begins, moves on and ends merges, as far as steps and messages allow. If the next step must wait for a message,
  /// sets out.wait.
  void merge(instant now, outbox& out) {
    auto const& when = this->options_->rhythm;
    if (!merges_ && since_begin_ == when.before(rounds_)) give(now, out);
    if (!merges_) return;
    if (!is_merged_) is_merged_ = mean_.advance(this->backend_, now, this->posting(channel_id::chunk, now, out), out);
    if (out.failure || since_begin_ < when.overlap()) return;
    if (is_merged_) take(out);
    else out.wait = mean_.missing();
  }

  void give(instant now, outbox& out) {
    auto const r = mean_.fragment(rounds_);
    auto work = this->backend_.template allocate<scalar>(r.size());
    this->backend_.sweep({0, r.size()}, detail::local_work_kernel<scalar>{core::values_of(begun_at_[turn()]),
                                                                          this->x() + r.begin, work.data()});
    mean_.begin(this->backend_, work.data(), now, this->posting(channel_id::chunk, now, out));
    merges_ = true;
    since_begin_ = 0;
  }

  void take(outbox& out) {
    auto const mean = mean_.take_mean();
    auto& s = begun_at_[turn()];
    if (!detail::step_on(this->backend_, s, outer_[turn()].next(this->options_->outer.rate), {mean.data()}))  // (L.O)
      out.failure = mean_.spoilt(this->backend_.pool().values(mean.data(), mean.size()));
    auto const a = this->options_->rhythm.kept();
    if (begun_at_.size() == 1 && a == 0) this->x_ = s;
    else put(core::values_of(s), mean_.fragment(rounds_), static_cast<scalar>(a));
    merges_ = is_merged_ = false;
    ++rounds_;
  }

  /// These values of x are those of s, mixed; the others stay.
  void put(scalar const* s, range r, scalar a) {
    auto fresh = this->backend_.template allocate<scalar>(this->size());
    for (auto const other : {range{0, r.begin}, range{r.end, this->size()}})
      this->backend_.sweep({0, other.size()},
                           backend::copy_kernel<scalar>{this->x() + other.begin, fresh.data() + other.begin});
    this->backend_.sweep({0, r.size()},
                         detail::kept_share_kernel<scalar>{s, this->x() + r.begin, fresh.data() + r.begin, a});
    this->x_ = std::move(fresh).publish();
  }
  [[nodiscard]] auto turn() const -> std::size_t { return rounds_ % begun_at_.size(); }

  merging mean_;
  std::vector<outer_state> outer_{};  // by fragment
  std::vector<shared_buffer> begun_at_{};  // s, by fragment
  std::uint64_t rounds_ = 0;  // merges whose result was taken
  std::uint64_t since_begin_ = 0;  // local steps, of a merge
  bool merges_ = false;  // from (L.D) to (L.O)
  bool is_merged_ = false;  // the mean is there
};

}  // namespace rubato
