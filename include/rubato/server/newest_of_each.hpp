// SPDX-License-Identifier: MIT
// A table of the newest gradient of each worker, and their mean, along which each arrival makes a step once all have
// sent one. The mean is kept up to date by differences; their rounding errors are removed by computing one of n parts
// of it anew with each arrival, so that a step never reads all n vectors.
// The step may follow the age of the oldest entry, so that the steps that any gradient overlaps sum to at most gamma:
//   none       gamma_k = gamma
//   remaining  gamma_k = alpha max(gamma - w_k, 0),  w_k = the steps since the oldest entry's model, alpha < 1
//   equal      gamma_k = gamma / (age + 1) if that is at most gamma - w_k, else 0
// Source: DuDe-ASGD, Wang et al., arXiv 2405.16966 (also as IA2SGD); the steps: Wu et al., arXiv 2202.08550.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/server/detail/sum_of_table.hpp>

namespace rubato::server {

enum class step_window : std::uint8_t { none, remaining, equal };
constexpr auto name_of(step_window by) -> std::string_view {
  return by == step_window::none ? "none" : by == step_window::remaining ? "remaining" : "equal";
}

namespace detail {

/// y <- y + share (w g - w_old old), with old = 0 if there is none.
template<class T>
struct replace_kernel {
  T const* g;
  T const* old;
  T* y;
  T share, old_share;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto sum = at.load(y) + share * at.load(g);
    if (old != nullptr) sum = sum - old_share * at.load(old);
    at.expect_finite(sum);
    at.store(y, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

/// The factors of gamma of the latest steps, as far back as a gradient that is still used.
class window_rule {
 public:
  static void visit_state(auto& self, auto&& visit) { visit("steps", self.steps_); }

  /// The factor of the next step, where the oldest gradient used is `age` steps old. Ages that occur rise by at most
  /// one a step; steps before those that are remembered count 0.
  [[nodiscard]] auto next(step_window by, double alpha, std::uint64_t age) -> double {
    auto const known = (std::min<std::uint64_t>)(age, steps_.size());
    steps_.erase(steps_.begin(), steps_.end() - static_cast<std::ptrdiff_t>(known));
    double before = 0;
    for (auto const s : steps_) before += s;
    auto const left = (std::max)(1 - before, 0.0);
    auto const part = 1 / (1 + static_cast<double>(age));
    auto const factor = by == step_window::remaining ? alpha * left : part <= left * (1 + 1e-12) ? part : 0.0;
    steps_.push_back(factor);
    return factor;
  }

 private:
  std::vector<double> steps_;
};

}  // namespace detail

/// Policy, see aggregation_policy. Keeps the n gradients that arrived, by reference, and one vector more. A gradient
/// reads 4 vectors and writes one and an n-th, whatever n is. Of a worker that leaves, the last gradient keeps
/// counting, unless members come and go: then it does not, and the next arrival makes the mean anew (n vectors more).
struct newest_of_each {
  static constexpr auto name() -> std::string_view { return "newest of each"; }
  static constexpr bool by_shard = true;
  static constexpr bool workers_count_alike = true;
  static void visit_options(auto& self, auto&& visit) {
    visit("window", self.window, "how a step follows the oldest gradient's age: not at all, or by one of two rules");
    visit("alpha", self.alpha, "of the rule \"remaining\": the share of what is left");
  }
  step_window window = step_window::none;
  double alpha = 0.9;

  /// Throws config_error.
  void check() const {
    if (!(alpha > 0 && alpha < 1))
      throw config_error{"the alpha of a step window must lie between 0 and 1, not " + shortest(alpha)};
  }
  void resolve_options(std::size_t) const { check(); }

  template<class Backend>
  class state {
   public:
    using scalar = typename Backend::scalar;
    state(newest_of_each const& its, std::size_t workers)
        : window_{its.window}, alpha_{its.alpha}, entries_(workers), missing_{workers} {}
    static void visit_state(auto& self, auto&& visit) {
      visit("entries", self.entries_), visit("missing", self.missing_), visit("version", self.version_);
      visit("rule", self.rule_), visit("mean", self.mean_), visit("renewed", self.renewed_);
      visit("some went", self.some_went_);
    }

    /// These workers are present from now on: a step needs a gradient of each of them, and of nobody else.
    void members(std::span<node_id const> present) {
      missing_ = present.size();
      for (std::size_t w = 0; w < entries_.size(); ++w) {
        auto& its = entries_[w];
        auto const is_there = std::binary_search(present.begin(), present.end(), to_node(w));
        if (is_there && its.gradient) --missing_;
        if (is_there || !its.gradient) continue;
        its = {};
        some_went_ = true;
      }
    }

    auto take(Backend& backend, shared_buffer const& g, double weight, received_gradient const& a)
        -> std::optional<direction<scalar>> {
      if (std::exchange(some_went_, false)) sum_up(backend, {0, mean_->size()});
      auto const finite = replace(backend, g, weight, a);
      if (finite && missing_ > 0) return std::nullopt;
      if (finite) renew_part(backend);
      auto factor = 1.0;
      if (window_ != step_window::none) factor = rule_.next(window_, alpha_, version_ - oldest());  // (Pi.W)
      ++version_;
      return direction<scalar>{mean_->data(), scalar{1}, {}, factor};  // (Du.X)
    }

   private:
    struct entry {
      shared_buffer gradient{};
      double weight = 0;
      std::uint64_t version = 0;  // of its model
      static void visit_state(auto& self, auto&& visit) {
        visit("gradient", self.gradient), visit("weight", self.weight), visit("version", self.version);
      }
    };

    [[nodiscard]] auto share(double weight) const -> scalar {
      return static_cast<scalar>(weight / static_cast<double>(entries_.size()));
    }

    [[nodiscard]] auto replace(Backend& backend, shared_buffer const& g, double weight, received_gradient const& a)
        -> bool {
      auto const all = range{0, g.size()};
      if (!mean_) {
        mean_ = backend.template allocate<scalar>(g.size());
        backend.sweep(all, backend::zero_kernel<scalar>{mean_->data()});
      }
      auto& its = entries_[a.worker];
      if (!its.gradient) --missing_;
      auto const* const old = its.gradient ? its.gradient.template view<scalar>().data() : nullptr;
      auto const raised =
          backend.sweep(all, detail::replace_kernel<scalar>{g.template view<scalar>().data(), old, mean_->data(),
                                                            share(weight), share(its.weight)});  // (Du.M)
      its = {g, weight, version_ - a.delay};
      return (raised & backend::not_finite) == 0;
    }

    /// One of n parts of the mean, from all entries: reads one vector in all and writes one n-th.
    void renew_part(Backend& backend) {
      auto const size = mean_->size(), parts = (std::min)(entries_.size(), size);
      if (parts == 0) return;
      auto const part = renewed_++ % parts;
      sum_up(backend, {size * part / parts, size * (part + 1) / parts});
    }
    /// These values of the mean, from all entries.
    void sum_up(Backend& backend, range these) {
      table_.clear();
      for (auto const& e : entries_)
        if (e.gradient) table_.push_back({e.gradient.template view<scalar>().data(), share(e.weight)});
      if (table_.empty()) return static_cast<void>(backend.sweep(these, backend::zero_kernel<scalar>{mean_->data()}));
      auto const entries = backend.table(table_.data(), table_.size());
      backend.sweep(these, detail::sum_of_table_kernel<scalar>{entries, mean_->data()});
    }

    [[nodiscard]] auto oldest() const -> std::uint64_t {
      auto first = version_;
      for (auto const& e : entries_)
        if (e.gradient) first = (std::min)(first, e.version);
      return first;
    }

    step_window window_;
    double alpha_;
    std::vector<entry> entries_;  // by worker
    std::vector<detail::table_entry<scalar>> table_;  // of the current pass
    std::size_t missing_;  // workers that have not sent a gradient
    std::uint64_t version_ = 0;
    detail::window_rule rule_;
    std::optional<writable_buffer<scalar>> mean_;  // made with the first gradient, because workers need none
    std::uint64_t renewed_ = 0;
    bool some_went_ = false;  // since the mean was made of all entries
  };
};

/// The same with the rule "remaining" by default, whose steps sum to about one gamma a round.
struct newest_in_window : newest_of_each {
  static constexpr auto name() -> std::string_view { return "newest in window"; }
  static constexpr bool by_round = true;
  newest_in_window() { window = step_window::remaining; }
};

}  // namespace rubato::server
