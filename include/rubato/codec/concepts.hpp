// SPDX-License-Identifier: MIT
// What a lossy codec must offer: the type of its codes, a bound on its error, and two passes over memory. Codecs
// are part of the maths: a node encodes before it posts, so a body holds values or codes, and links carry either.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::codec {

/// What a codec promises of Q(x) = decode(encode(x)), for every x of n finite values.
enum class error_class : std::uint8_t {
  unbiased,     ///< E Q(x) = x and E |Q(x) - x|^2 <= omega |x|^2; relative_error(n) is omega
  contractive,  ///< |Q(x) - x|^2 <= (1 - delta) |x|^2; relative_error(n) is 1 - delta, at least 1 where nothing is
                ///< promised
};

/// code<T>: what n values of T become, codes<T>(n) of them; on the wire a code is bytes_of(element_of<code<T>>) bytes.
template<class C, class T>
concept has_codes = std::copyable<C> && std::default_initializable<C> && requires(C const& c, std::size_t n) {
  rubato::detail::element_traits<typename C::template code<T>>::value;
  { c.template codes<T>(n) } -> std::same_as<std::size_t>;
};

template<class C>
concept states_its_error = requires(C const& c, std::size_t n) {
  { C::error } -> std::convertible_to<error_class>;
  { c.relative_error(n) } -> std::convertible_to<double>;
};

/// Whether every message builds on the one before it, so that one lost or reordered message spoils all that follow.
template<class C>
concept says_what_links_it_needs = requires {
  { C::needs_lossless_links } -> std::convertible_to<bool>;
};

template<class C, class Backend>
concept encodes_and_decodes =
    requires(C const& c, Backend& b, typename Backend::scalar* x, typename Backend::scalar const* y, std::size_t n,
             typename C::template code<typename Backend::scalar>* codes,
             typename C::template code<typename Backend::scalar> const* received) {
      c.encode(b, y, n, codes);
      c.decode(b, received, n, x);
    };

/// A codec of whole vectors. Not checked, but required: equal values give equal codes and equal codes equal values, bit
/// for bit, so that nodes that decode one body hold equal vectors.
/// Models: identity, bf16, minmax_u8, bagua_u8.
template<class C, class Backend>
concept policy = has_codes<C, typename Backend::scalar> && states_its_error<C> && says_what_links_it_needs<C> &&
                 encodes_and_decodes<C, Backend>;

/// Checked where a channel carries a codec's codes.
template<class C>
consteval auto check_links(channel_kind kind) -> bool {
  return !C::needs_lossless_links || kind == channel_kind::event;
}

/// Checked where a node uses a codec; each sentence needs no context.
template<class C, class Backend, channel_kind Kind>
consteval auto check_codec() -> bool {
  static_assert(
      has_codes<C, typename Backend::scalar>,
      "a codec is copyable, has a type of codes code<T> that bodies can hold, and codes<T>(n) of them for n values");
  static_assert(states_its_error<C>,
                "a codec states its error: a constant of codec::error_class, error, and the bound relative_error(n)");
  static_assert(says_what_links_it_needs<C>,
                "a codec says in a constant, needs_lossless_links, whether its messages build on each other");
  if constexpr (has_codes<C, typename Backend::scalar> && says_what_links_it_needs<C>) {
    static_assert(encodes_and_decodes<C, Backend>,
                  "a codec has encode(backend, values, n, codes) and decode(backend, codes, n, values)");
    static_assert(check_links<C>(Kind),
                  "a codec whose messages build on each other needs lossless, ordered links: an event channel");
  }
  return true;
}

/// A codec of running sums, which a receiver can restore from a part of their bits because it knows earlier ones.
/// decode() reads `known`, the newest sums that the receiver has (null: zeros), and returns whether all were in reach.
/// Models: low_bits.
template<class C, class Backend, class U>
concept sum_policy = std::copyable<C> && std::default_initializable<C> && says_what_links_it_needs<C> &&
                     requires(C const& c, Backend& b, U const* sums, U* out, std::size_t n,
                              typename C::template code<U>* codes, typename C::template code<U> const* received) {
                       rubato::detail::element_traits<typename C::template code<U>>::value;
                       c.check();
                       c.encode(b, sums, n, codes);
                       { c.decode(b, received, sums, n, out) } -> std::same_as<bool>;
                       { c.range_sentence(n) } -> std::convertible_to<std::string>;
                     };

/// Checked where a node uses a codec of sums; each sentence needs no context.
template<class C, class Backend, class U, channel_kind Kind>
consteval auto check_sum_codec() -> bool {
  static_assert(sum_policy<C, Backend, U>,
                "a codec of sums has needs_lossless_links, code<U>, check(), encode(backend, sums, n, codes), "
                "decode(backend, codes, known, n, sums) and range_sentence(block), for the ledger's type of sums");
  if constexpr (says_what_links_it_needs<C>) {
    static_assert(check_links<C>(Kind),
                  "a codec whose messages build on each other needs lossless, ordered links: an event channel");
  }
  return true;
}

/// Encodes x[0 .. n) into a body.
template<class C, class Backend>
[[nodiscard]] auto encoded(C const& c, Backend& backend, typename Backend::scalar const* x, std::size_t n)
    -> shared_buffer {
  using scalar = typename Backend::scalar;
  auto codes = backend.template allocate<typename C::template code<scalar>>(c.template codes<scalar>(n));
  c.encode(backend, x, n, codes.data());
  return std::move(codes).publish();
}

/// Decodes a body into x[0 .. n).
template<class C, class Backend>
void decode_body(C const& c, Backend& backend, shared_buffer const& body, range values, typename Backend::scalar* x) {
  using scalar = typename Backend::scalar;
  auto const codes = body.template view<typename C::template code<scalar>>();
  RUBATO_EXPECTS(codes.size() == c.template codes<scalar>(values.size()),
                 "a body holds the codes of as many values as are decoded");
  c.decode(backend, codes.data(), values.size(), x + values.begin);
}

}  // namespace rubato::codec
