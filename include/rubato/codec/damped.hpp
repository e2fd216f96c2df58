// SPDX-License-Identifier: MIT
// An unbiased codec made contractive:   C(v) = Q(v) / (1 + omega)
#pragma once

#include <cstddef>
#include <string_view>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/random.hpp>

namespace rubato::codec {

/// Policy, see codec/concepts.hpp. Contractive with delta = 1 / (1 + omega); on the wire as Q is. For methods and error
/// feedback that need a contractive codec. Passes: those of Q; decode reads and writes x once more.
template<class Q>
struct damped {
  static_assert(Q::error == error_class::unbiased, "codec::damped is for an unbiased codec");
  static constexpr auto name() -> std::string_view { return "damped"; }
  static void visit_options(auto& self, auto&& visit) { visit("of", self.of, "the codec inside"); }
  template<class T>
  using code = typename Q::template code<T>;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = Q::needs_lossless_links;
  static constexpr bool coarse = true;  // it shrinks what it sends

  Q of{};

  void check(std::size_t n) const { check_size(of, n); }
  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return of.template codes<T>(n);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double { return 1 - 1 / (1 + of.relative_error(n)); }

  template<class Backend, class Code>
  void encode(Backend& backend, typename Backend::scalar const* x, std::size_t n, Code* codes,
              random_stream draw) const {
    encode_with(of, backend, x, n, codes, draw);
  }
  template<class Backend, class Code>
  void decode(Backend& backend, Code const* codes, std::size_t n, typename Backend::scalar* x) const {
    using T = typename Backend::scalar;
    of.decode(backend, codes, n, x);
    backend.sweep({0, n}, backend::scale_kernel<T>{x, x, static_cast<T>(1 / (1 + of.relative_error(n)))});
  }
};

}  // namespace rubato::codec
