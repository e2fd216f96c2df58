// SPDX-License-Identifier: MIT
// No compression: codes are the values themselves.
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>

namespace rubato::codec {

/// Policy, see codec/concepts.hpp. Copies; every bit pattern survives.
struct identity {
  static constexpr auto name() -> std::string_view { return "identity"; }
  template<class T>
  using code = T;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = false;

  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return n;
  }
  [[nodiscard]] auto relative_error(std::size_t) const -> double { return 0; }

  template<class Backend, class T>
  void encode(Backend& backend, T const* x, std::size_t n, T* codes) const {
    backend.sweep({0, n}, backend::copy_kernel<T>{x, codes});
  }
  template<class Backend, class T>
  void decode(Backend& backend, T const* codes, std::size_t n, T* x) const {
    backend.sweep({0, n}, backend::copy_kernel<T>{codes, x});
  }
};

}  // namespace rubato::codec
