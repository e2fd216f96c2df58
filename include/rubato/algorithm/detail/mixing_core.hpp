// SPDX-License-Identifier: MIT
// Common base of the nodes that average models with symmetric, doubly stochastic weights and send nothing else: the
// models, and the sweep over them. A subclass supplies the kernels and decides when each runs.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <utility>

#include <rubato/algorithm/detail/model_exchange.hpp>
#include <rubato/algorithm/detail/node_core.hpp>
#include <rubato/mixing/members.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato::detail {

template<class Backend, class Synchrony, class Options>
class mixing_core : public node_core<Backend, Options> {
  using core = node_core<Backend, Options>;
  using exchange = model_exchange<Backend, weighting::constant, Synchrony>;

 public:
  using typename core::options, typename core::scalar;

  /// Metropolis-Hastings weights on the network, taken as undirected.
  [[nodiscard]] static auto make_plan(topology::pair const& network) -> mixing::plan {
    return mixing::gossip_plan(network);
  }
  /// *requires* a plan whose members come and go.
  void on_members(std::span<node_id const> present) { models_.take_place(members_->place(present, this->self_)); }
  static constexpr std::array all_channels{exchange::spec};
  static constexpr auto channels() -> std::span<channel_spec const> { return all_channels; }

  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("models", self.models_);
  }
  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    models_.count_into(s);
    return s;
  }

 protected:
  mixing_core(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o,
              named_rounds rounds = named_rounds::no)
      : core{std::move(b), self, std::move(x0), o, plan.gain},
        models_{core::backend_, plan.nodes[to_index(self)], core::blocks_, {}, {}, core::x_, rounds},
        members_{plan.members} {
    if (members_) models_.await_place();
  }

  /// x <- kernel_of(x, what is pulled), one pass over memory. False, with out.failure set, if the result is not finite.
  /// `g`: the gradients used, if any.
  template<class KernelOf>
  [[nodiscard]] auto sweep(shared_buffer const& g, outbox& out, KernelOf const& kernel_of) -> bool {
    auto x_new = this->backend_.template allocate<scalar>(this->size());
    auto all = this->blocks_.blocks();
    auto const kernel = kernel_of(x_new.data(), models_.terms(this->backend_, this->requests_, 0, all));
    auto const raised = this->backend_.sweep({0, this->size()}, kernel);
    this->x_ = std::move(x_new).publish();
    if ((raised & backend::not_finite) == 0) return true;
    auto suspects = blame{this->self_};
    if (g) suspects.gradient(g);
    models_.accuse(suspects);
    out.failure = suspects.sentence();
    return false;
  }

  exchange models_;

 private:
  std::shared_ptr<mixing::member_plans const> members_;  // null: all nodes stay
};

}  // namespace rubato::detail
