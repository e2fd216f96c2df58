// SPDX-License-Identifier: MIT
// Common base of prox_dgd and async_dgd_atc: nodes that send one vector with each local iteration, mix it with the
// newest of each neighbour, and wait for nobody.
#pragma once

#include <utility>

#include <rubato/algorithm/detail/mixing_core.hpp>
#include <rubato/synchrony/free.hpp>

namespace rubato::detail {

/// A neighbour whose edge closes leaves its weight to this node, until its first message over an edge that opens.
template<class Backend, class Options>
class delay_free_core : public mixing_core<Backend, synchrony::free, Options> {
  using core = mixing_core<Backend, synchrony::free, Options>;

 public:
  void on_patch(instant, patch const& p, outbox& out) {
    if (p.channel == channel_id::model) this->models_.take(p, this->requests_, iteration{this->iterations_}, out);
  }
  void on_neighbours(instant, neighbour_change const& change, outbox&) { this->models_.change(change, {}); }

 protected:
  using core::core;

  /// The end of a local iteration, in which v is what neighbours mix.
  void post_and_go_on(shared_buffer const& v, instant now, outbox& out) {
    this->models_.record_ages(now);
    this->models_.post(v, this->posting(channel_id::model, now, out));
    ++this->iterations_;
    this->ask_gradient(out);
  }
};

}  // namespace rubato::detail
