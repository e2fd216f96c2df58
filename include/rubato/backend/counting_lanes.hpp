// SPDX-License-Identifier: MIT
// Lanes that touch no memory and count what a kernel reads and writes, so that no kernel has to state it.
#pragma once

#include <cstddef>
#include <cstdint>

#include <rubato/core/host_device.hpp>

namespace rubato::backend {

/// Used in place of scalar_lanes. Every load gives zero; a kernel's loops over its tables run as usual.
template<class T>
class counting_lanes {
 public:
  template<class U> RUBATO_HOST_DEVICE auto load(U const*) -> U { return bytes_ += sizeof(U), U{}; }
  template<class U> RUBATO_HOST_DEVICE void store(U*, U) { bytes_ += sizeof(U); }
  template<class U> RUBATO_HOST_DEVICE void stream(U*, U) { bytes_ += sizeof(U); }
  template<class U> RUBATO_HOST_DEVICE auto broadcast(U v) const -> U { return v; }
  template<class To, class U> RUBATO_HOST_DEVICE auto cast(U v) const -> To { return static_cast<To>(v); }
  RUBATO_HOST_DEVICE auto round(T) const -> std::int32_t { return 0; }
  RUBATO_HOST_DEVICE auto to_real(std::int32_t) const -> T { return T{}; }
  RUBATO_HOST_DEVICE auto sqrt(T) const -> T { return T{}; }
  RUBATO_HOST_DEVICE auto clamp(T, T) const -> T { return T{}; }
  RUBATO_HOST_DEVICE void flag(std::int32_t) const {}
  RUBATO_HOST_DEVICE void expect_finite(T) const {}
  [[nodiscard]] RUBATO_HOST_DEVICE auto bytes() const -> std::size_t { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

/// What `kernel` reads and writes per index, in bytes. Its tables must be readable by the host.
template<class T, class Kernel>
[[nodiscard]] auto counted_bytes(Kernel const& kernel) -> std::size_t {
  counting_lanes<T> at;
  kernel(at);
  return at.bytes();
}

}  // namespace rubato::backend
