// SPDX-License-Identifier: MIT
// The base of beer and c_gt: gradient tracking whose models and trackers are both sent as compressed differences from
// references. The formulas are at the head of c_gt.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/replica_rounds.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/mixing/plan.hpp>

namespace rubato::detail {

/// One round at one index. Reads x, y, both gradients, both mixes and both references, writes x, y and both
/// differences.
template<class T, class Rule>
struct compressed_tracking_kernel {
  T const* x;
  T* y;
  T const* g_old;  // null in the first round, where y is the gradient
  T const* g;
  T const* mix_x;
  T const* mix_y;
  T const* known_x;
  T const* known_y;
  T* x_new;
  T* z_x;
  T* z_y;
  T consensus;
  T announced;  // 1, or 0 where the tracker is not sent yet
  Rule rule;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto tracker = at.load(g);
    if (g_old != nullptr) {
      auto const before = at.load(y) + consensus * at.load(mix_y);
      tracker = (before - at.load(g_old)) + tracker;  // (CG.Y)
    }
    auto const fresh = rule(at, at.load(x) + consensus * at.load(mix_x), tracker);  // (CG.X)
    auto const moved = fresh - at.load(known_x), turned = tracker - at.load(known_y);
    at.expect_finite(moved);
    at.expect_finite(turned);
    at.store(y, tracker);
    at.store(x_new, fresh);
    at.store(z_x, moved);
    at.store(z_y, announced * turned);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 12 * sizeof(T) + Rule::bytes_per_value(); }
};

/// `Self` has share(), by which references move, and a constant announces_first_tracker.
template<class Self, class Backend, class Options>
class compressed_tracking : public overlapped_rounds<Self, Backend, Options, 2> {
  using core = overlapped_rounds<Self, Backend, Options, 2>;
  friend core;

 public:
  using typename core::scalar;

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("tracker", self.y_), visit("last gradient", self.g_old_), visit("own", self.own_);
  }

  /// y_i, and what is known of x_i and of y_i; for tests.
  [[nodiscard]] auto tracker() const -> std::span<scalar const> { return y_.view(); }
  [[nodiscard]] auto known(std::size_t stream) const -> std::span<scalar const> { return own_[stream].known.view(); }

 protected:
  compressed_tracking(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, Options const& o)
      : core{std::move(b), plan.nodes[to_index(self)], self, std::move(x0), o, plan.gain},
        y_{backend::zeros<scalar>(this->backend_, this->size())},
        own_{this->first_published(0), this->first_published(1)} {}

 private:
  /// The differences of the new model and tracker; empty while messages are missing.
  auto advance(instant now, shared_buffer const& g, outbox& out) -> shared_buffer {
    auto const share = static_cast<Self const&>(*this).share();
    std::array<writable_buffer<scalar>, 2> mix;
    if (!this->hear(this->iterations_, {&own_[0], &own_[1]}, mix, share, now, out)) return {};
    auto const fill = [&] { return this->backend_.template allocate<scalar>(this->size()); };
    auto fresh = fill(), z_x = fill(), z_y = fill();
    auto const rule = this->next_rule(now);
    auto const kernel = compressed_tracking_kernel<scalar, std::remove_const_t<decltype(rule)>>{
        this->x(),
        y_.data(),
        core::values_of(g_old_),
        core::values_of(g),
        std::as_const(mix[0]).data(),
        std::as_const(mix[1]).data(),
        std::as_const(own_[0].known).data(),
        std::as_const(own_[1].known).data(),
        fresh.data(),
        z_x.data(),
        z_y.data(),
        static_cast<scalar>(this->options_->consensus),
        Self::announces_first_tracker || g_old_ ? scalar{1} : scalar{0},
        rule};
    auto const raised = this->backend_.sweep({0, fresh.size()}, kernel);
    auto body = this->encoded({z_x.data(), z_y.data()});  // (CG.Q)
    auto const said = this->say(body, 0, own_[0], share) && this->say(body, 1, own_[1], share);  // (CG.H)
    if (!said || (raised & backend::not_finite) != 0) out.failure = blame{this->self_}.gradient(g).sentence();
    this->x_ = std::move(fresh).publish();
    g_old_ = g;
    return body;
  }

  writable_buffer<scalar> y_;  // the tracker
  shared_buffer g_old_;  // the gradient that it holds
  std::array<published_vector<scalar>, 2> own_;  // of x and of y
};

}  // namespace rubato::detail
