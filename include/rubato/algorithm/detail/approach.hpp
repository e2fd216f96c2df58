// SPDX-License-Identifier: MIT
// Two nodes come closer: each moves by a share of one difference, of which both know the two sides.
#pragma once

#include <cstddef>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::detail {

/// x_new <- x + share (theirs - mine): reads 3n, writes n.
template<class T>
struct approach_kernel {
  static constexpr bool raises = false;
  T const* x;
  T const* theirs;
  T const* mine;
  T* x_new;
  T share;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const fresh = at.load(x) + share * (at.load(theirs) - at.load(mine));
    at.expect_finite(fresh);
    at.store(x_new, fresh);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

/// x <- x + share (theirs - mine), published; the other end moves by the opposite, to the bit. One pass. False if x is
/// not finite; a backend that does not wait for these bits returns true.
template<class Backend>
[[nodiscard]] auto approach(Backend& backend, shared_buffer& x, shared_buffer const& theirs, shared_buffer const& mine,
                            typename Backend::scalar share) -> bool {
  using scalar = typename Backend::scalar;
  auto const values = [](shared_buffer const& b) { return b.template view<scalar>().data(); };
  auto fresh = backend.template allocate<scalar>(x.size());
  auto const kernel = approach_kernel<scalar>{values(x), values(theirs), values(mine), fresh.data(), share};
  auto const raised = backend.sweep({0, x.size()}, kernel);
  x = std::move(fresh).publish();
  return (raised & backend::not_finite) == 0;
}

}  // namespace rubato::detail
