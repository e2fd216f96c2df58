// SPDX-License-Identifier: MIT
// Any policy of weighting/ as a server's weight: its age is the gradient's delay. Slow workers have the large delays,
// so a weight that falls with age moves the limit even further towards the optimum of the fast workers.
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/weighting/concepts.hpp>

namespace rubato::server {

/// Policy, see weight_policy.
template<weighting::policy Weighting>
struct by_delay : Weighting {
  static constexpr auto name() -> std::string_view { return "by delay"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("weighting", weighting_of(self), "what a gradient counts by its delay, in steps of the server");
  }
  using Weighting::Weighting;
  by_delay() = default;
  by_delay(Weighting w) : Weighting{w} {}  // NOLINT: implicit, so that a weighting can be given as a weight

  void resolve_options(std::size_t) {}

  [[nodiscard]] static auto weighting_of(Weighting& w) -> Weighting& { return w; }
  [[nodiscard]] static auto weighting_of(Weighting const& w) -> Weighting const& { return w; }

  class state {
   public:
    static void visit_state(auto&, auto&&) {}
    state(by_delay const& w, std::size_t) : weighting_{w} {}
    auto operator()(received_gradient const& a) const -> weight {
      auto const factor = static_cast<double>(weighting_(a.delay));
      RUBATO_EXPECTS(factor >= 0 && factor <= 1, "a weighting gives a factor of 0 to 1 for every age");
      return {factor, 0};
    }

   private:
    Weighting weighting_;
  };
};

namespace detail {

template<class W>
struct as_weight {
  using type = W;
};
template<weighting::policy W>
struct as_weight<W> {
  using type = by_delay<W>;
};

}  // namespace detail

/// A weighting becomes the weight by delay; every other type stays as it is.
template<class W>
using as_weight = typename detail::as_weight<W>::type;

}  // namespace rubato::server
