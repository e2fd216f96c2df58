// SPDX-License-Identifier: MIT
// Error feedback: what a codec drops is kept and sent later. For codecs that are contractive with any delta > 0.
//   error_feedback (EF14; Seide et al. 2014, Karimireddy et al., arXiv 1901.09847), for vectors whose sums count:
//     (E.P)  p = beta e + v;   send C(p)          beta = 1; below 1 old errors decay (SparseLoCo)
//     (E.R)  e <- p - C(p)                        the receiver takes C(p)
//   ef21 (Richtarik et al., arXiv 2106.05203), for vectors that settle:
//     (E.D)  send C(v - h);   h <- h + C(v - h)   the same h at both ends; the receiver takes h
// invariants: with beta = 1 what was sent and e sum to what was given; h is equal at both ends, bit for bit
//                                                                               tests/unit/codec/error_feedback.cpp
#pragma once

#include <cmath>
#include <cstddef>
#include <string_view>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>

namespace rubato::codec {

namespace detail {

/// z <- a x + b y. Reads x, y, writes z, which may be one of them.
template<class T>
struct combine_kernel {
  static constexpr bool raises = false;
  T const* x;
  T const* y;
  T* z;
  T a;
  T b;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(z, a * at.load(x) + b * at.load(y));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
};

/// h <- h + x;  x <- h. Reads both, writes both.
template<class T>
struct follow_kernel {
  static constexpr bool raises = false;
  T* h;
  T* x;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const sum = at.load(h) + at.load(x);
    at.store(h, sum);
    at.store(x, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 * sizeof(T); }
};

template<class C>
consteval auto check_feedback() -> bool {
  static_assert(C::error == error_class::contractive,
                "error feedback needs a contractive codec: with an unbiased one its errors grow without bound; use "
                "codec::damped round an unbiased codec, or random_k in place of scaled_random_k");
  static_assert(
      !requires { requires C::overflows; },
      "error feedback keeps what a codec leaves out, and this one makes infinity of large values; use bf16");
  return true;
}

}  // namespace detail

/// EF14 round a contractive codec, for gradients and other vectors of which only the sum over time counts. A policy of
/// algorithms that keep its state (codec::sender, receiver), one vector at the sender; needs lossless links. Passes
/// besides those of C: reads v and e, writes e; decodes what it sent; reads both, writes e.
template<class C>
struct error_feedback {
  static_assert(detail::check_feedback<C>());
  using inner = C;
  template<class T>
  using code = typename C::template code<T>;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = true;  // a lost message loses what no later one sends
  static constexpr auto name() -> std::string_view { return "error feedback"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("of", self.of, "the codec inside");
    visit("decay", self.decay, "what is kept of old errors from message to message; 1: all");
  }
  static constexpr bool for_sums = true;

  C of{};
  double decay = 1;

  /// Throws config_error.
  void check(std::size_t n) const {
    check_size(of, n);
    if (!(decay >= 0 && decay <= 1)) {
      throw config_error{"error feedback keeps 0 to 1 of old errors, not " + shortest(decay)};
    }
  }
  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return of.template codes<T>(n);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double { return of.relative_error(n); }

  template<class Backend>
  struct sender {
    using scalar = typename Backend::scalar;
    static void visit_state(auto& self, auto&& visit) { visit("error", self.error); }

    [[nodiscard]] auto encode(error_feedback const& c, Backend& b, scalar const* v, std::size_t n,
                              random_stream const& draw) -> shared_buffer {
      auto const all = range{0, n};
      if (error.size() != n) error = backend::zeros<scalar>(b, n);
      auto* const e = error.data();
      b.sweep(all, detail::combine_kernel<scalar>{e, v, e, static_cast<scalar>(c.decay), scalar{1}});  // (E.P)
      auto body = encoded(c.of, b, e, n, draw);
      auto sent = b.template allocate<scalar>(n);
      decode_body(c.of, b, body, all, sent.data());
      b.sweep(all, detail::combine_kernel<scalar>{e, sent.data(), e, scalar{1}, scalar{-1}});  // (E.R)
      return body;
    }
    writable_buffer<scalar> error{};  // e; empty before the first message
  };
  template<class Backend>
  struct receiver {
    static void visit_state(auto&, auto&&) {}
    void decode(error_feedback const& c, Backend& b, shared_buffer const& body, range values,
                typename Backend::scalar* x) {
      decode_body(c.of, b, body, values, x);
    }
  };
};

/// EF21 round a contractive codec, for gradients or models. A policy of algorithms that keep its state, one vector at
/// each end; needs lossless links. Passes besides those of C: the sender reads v and h, writes the difference, decodes
/// what it sent of it, reads that and h, writes h; the receiver decodes, reads that and h, writes h and its copy.
template<class C>
struct ef21 {
  static_assert(detail::check_feedback<C>());
  using inner = C;
  template<class T>
  using code = typename C::template code<T>;
  static constexpr auto error = error_class::contractive;
  static constexpr bool needs_lossless_links = true;  // a lost message loses what no later one sends
  static constexpr auto name() -> std::string_view { return "ef21"; }
  static void visit_options(auto& self, auto&& visit) { visit("of", self.of, "the codec inside"); }

  C of{};

  void check(std::size_t n) const { check_size(of, n); }
  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return of.template codes<T>(n);
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double { return of.relative_error(n); }

  /// h, which both ends move by the same operations.
  template<class Backend>
  struct reference {
    using scalar = typename Backend::scalar;
    static void visit_state(auto& self, auto&& visit) { visit("known", self.known); }

    auto of_size(Backend& b, std::size_t n) -> scalar* {
      if (known.size() != n) known = backend::zeros<scalar>(b, n);
      return known.data();
    }
    writable_buffer<scalar> known{};  // empty before the first message
  };
  template<class Backend>
  struct sender : reference<Backend> {
    using typename reference<Backend>::scalar;
    [[nodiscard]] auto encode(ef21 const& c, Backend& b, scalar const* v, std::size_t n, random_stream const& draw)
        -> shared_buffer {
      auto* const h = this->of_size(b, n);
      auto difference = b.template allocate<scalar>(n);
      b.sweep({0, n}, detail::combine_kernel<scalar>{v, h, difference.data(), scalar{1}, scalar{-1}});
      auto body = encoded(c.of, b, difference.data(), n, draw);
      decode_body(c.of, b, body, {0, n}, difference.data());
      b.sweep({0, n}, detail::combine_kernel<scalar>{h, difference.data(), h, scalar{1}, scalar{1}});  // (E.D)
      return body;
    }
  };
  template<class Backend>
  struct receiver : reference<Backend> {
    using typename reference<Backend>::scalar;
    void decode(ef21 const& c, Backend& b, shared_buffer const& body, range values, scalar* x) {
      auto* const h = this->of_size(b, values.size());
      decode_body(c.of, b, body, values, x);
      b.sweep({0, values.size()}, detail::follow_kernel<scalar>{h, x + values.begin});  // (E.D)
    }
  };
};

}  // namespace rubato::codec
