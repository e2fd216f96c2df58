// SPDX-License-Identifier: MIT
// A step along the mean of several gradients, given their sum.
#pragma once

#include <cstddef>
#include <utility>

#include <rubato/core/host_device.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::detail {

/// x_new <- rule(x, share * sum): reads 2n, writes n, besides what the rule reads.
template<class T, class Rule>
struct mean_step_kernel {
  T const* x;
  T const* sum;
  T* x_new;
  T share;
  Rule rule;
  static constexpr bool raises = false;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(x_new, rule(at, at.load(x), share * at.load(sum)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T) + Rule::bytes_per_value(); }
};

/// What to step along: share * sum, a vector of x's size.
template<class T>
struct step_along {
  T const* sum;
  T share = 1;
};

/// The model after one step from x, published: one pass, as the kernel says.
template<class Backend, class Rule>
[[nodiscard]] auto stepped(Backend& backend, shared_buffer const& x, Rule const& rule,
                           step_along<typename Backend::scalar> along) -> shared_buffer {
  using scalar = typename Backend::scalar;
  auto fresh = backend.template allocate<scalar>(x.size());
  backend.sweep({0, x.size()}, mean_step_kernel<scalar, Rule>{x.template view<scalar>().data(), along.sum, fresh.data(), along.share, rule});
  return std::move(fresh).publish();
}

}  // namespace rubato::detail
