// SPDX-License-Identifier: MIT
// A step along the mean of several gradients, given their sum.
#pragma once

#include <cstddef>
#include <utility>

#include <rubato/backend/concepts.hpp>
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
    auto const fresh = rule(at, at.load(x), share * at.load(sum));
    at.expect_finite(fresh);
    at.store(x_new, fresh);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T) + Rule::bytes_per_value(); }
};

/// The direction of a step: share * sum, a vector of x's size.
template<class T>
struct direction {
  T const* sum;
  T share = 1;
};

/// x <- the model after one step from x, published. One pass, see the kernel. False if it is not finite; a backend that
/// does not wait for these bits returns true.
template<class Backend, class Rule>
[[nodiscard]] auto step_on(Backend& backend, shared_buffer& x, Rule const& rule,
                           direction<typename Backend::scalar> along) -> bool {
  using scalar = typename Backend::scalar;
  auto fresh = backend.template allocate<scalar>(x.size());
  auto const raised = backend.sweep(
      {0, x.size()},
      mean_step_kernel<scalar, Rule>{x.template view<scalar>().data(), along.sum, fresh.data(), along.share, rule});
  x = std::move(fresh).publish();
  return (raised & backend::not_finite) == 0;
}

}  // namespace rubato::detail
