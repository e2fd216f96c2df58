// SPDX-License-Identifier: MIT
// The one gradient that a node may have requested, and a counter of all others.
#pragma once

#include <cstdint>
#include <utility>

#include <rubato/core/outbox.hpp>

namespace rubato::detail {

class pending_gradient {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("id", self.id_), visit("under way", self.under_way_), visit("dropped", self.dropped_);
  }

  /// Requests a gradient at `point`. *requires* that none is under way, or that it was cancelled in the same outbox.
  void ask(shared_buffer point, sample_key sample, outbox& out) {
    id_ = next(id_);
    out.request = gradient_request{id_, std::move(point), sample};
    under_way_ = true;
  }
  /// Cancels the gradient under way, if any.
  void cancel(outbox& out) {
    if (std::exchange(under_way_, false)) out.cancel = id_;
  }
  /// True if g is the requested gradient, which is then no longer under way. Any other is counted and must be ignored.
  [[nodiscard]] auto accept(gradient const& g) -> bool {
    auto const ours = under_way_ && g.id == id_;
    if (ours) under_way_ = false;
    else ++dropped_;
    return ours;
  }
  /// Whether it is a part of the requested gradient, which goes on.
  [[nodiscard]] auto awaits(gradient_part const& g) const -> bool { return under_way_ && g.id == id_; }
  [[nodiscard]] auto under_way() const -> bool { return under_way_; }
  [[nodiscard]] auto dropped() const -> std::uint64_t { return dropped_; }

 private:
  ticket id_{};
  bool under_way_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace rubato::detail
