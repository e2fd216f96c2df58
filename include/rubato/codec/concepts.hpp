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
#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>
#include <rubato/core/visit_state.hpp>

namespace rubato::codec {

/// What a codec promises of Q(x) = decode(encode(x)), for every x of n values that its own comment does not except
/// (fp16 has a range, others lose denormal values); E is over its draws, if it draws.
enum class error_class : std::uint8_t {
  unbiased,  ///< E Q(x) = x and E |Q(x) - x|^2 <= omega |x|^2; relative_error(n) is omega
  contractive,  ///< E |Q(x) - x|^2 <= (1 - delta) |x|^2; relative_error(n) is 1 - delta, at least 1 where nothing is
  ///< promised
};

/// omega of an unbiased codec, for n values.
template<class C>
  requires(C::error == error_class::unbiased)
[[nodiscard]] auto omega(C const& c, std::size_t n) -> double {
  return c.relative_error(n);
}
/// delta of a contractive codec, for n values; 0 or less where nothing is promised.
template<class C>
  requires(C::error == error_class::contractive)
[[nodiscard]] auto delta(C const& c, std::size_t n) -> double {
  return 1 - c.relative_error(n);
}

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

/// Whether encode() draws: it takes a stream of keyed random numbers as its last argument.
template<class C, class Backend>
concept draws = requires(C const& c, Backend& b, typename Backend::scalar const* y, std::size_t n,
                         typename C::template code<typename Backend::scalar>* codes,
                         random_stream r) { c.encode(b, y, n, codes, r); };

template<class C, class Backend>
concept encodes_and_decodes =
    requires(C const& c, Backend& b, typename Backend::scalar* x, typename Backend::scalar const* y, std::size_t n,
             typename C::template code<typename Backend::scalar>* codes,
             typename C::template code<typename Backend::scalar> const* received) {
      requires draws<C, Backend> || requires { c.encode(b, y, n, codes); };
      c.decode(b, received, n, x);
    };

/// Whether a codec leaves out so much that what it leaves out must be sent later: used alone, it moves the limit of a
/// method, or the method diverges. Such a codec has a constant `coarse` that is true. An unbiased one may stand alone
/// where sums are sent: later messages make up for what one leaves out, on average, and the price is noise.
template<class C>
inline constexpr bool is_coarse = requires { requires C::coarse; };

/// A codec of whole vectors. Not checked, but required: equal values and draws give equal codes, and equal codes equal
/// values, bit for bit, so that nodes that decode one body hold equal vectors; any bytes can be decoded (they may come
/// from anywhere) without touching other memory, and what the codec sees to be no encoder's decodes to NaN. A codec
/// that not every number of values suits has check(n), which throws config_error. Models: identity, bf16, fp16,
/// basic_fp8, minmax_u8, bagua_u8, qsgd, natural, sign_scale, top_k, random_k, scaled_random_k, block_top_k, damped.
template<class C, class Backend>
concept policy = has_codes<C, typename Backend::scalar> && states_its_error<C> && says_what_links_it_needs<C> &&
                 encodes_and_decodes<C, Backend>;

/// Whether a policy keeps state between messages, at the sender and at each receiver (codec/error_feedback.hpp). It
/// has no encode() and decode() of its own, but types sender<Backend> and receiver<Backend> that do; `inner` is the
/// codec of single vectors in it.
template<class C>
inline constexpr bool has_memory = requires { typename C::inner; };

/// What the messages of an algorithm say, and so which codecs keep it right.
enum class use : std::uint8_t {
  sums,  ///< gradients: their sum over time counts
  models,  ///< whole models
  differences,  ///< of a model from its replicas, which become the model that is used (DCD-PSGD)
  references,  ///< of a model from its replicas, towards which the model moves a little (CHOCO-SGD)
  damped_references,  ///< the same where replicas move by a part of each difference (C-GT)
};

/// Whether a policy for this use keeps the method right; the sentences are in check_codec().
template<class C>
constexpr bool is_complete_for(use u) {
  return u == use::references || u == use::damped_references || !is_coarse<C> ||
         (u == use::sums && C::error == error_class::unbiased);
}
template<class C>
constexpr bool feeds_back_as(use u) {
  constexpr auto for_sums = requires { requires C::for_sums; };
  return !has_memory<C> || u == use::sums || (u == use::models && !for_sums);
}

/// Checked where a channel carries a codec's codes.
template<class C>
consteval auto check_links(channel_kind kind) -> bool {
  return !C::needs_lossless_links || kind == channel_kind::event;
}

namespace detail {
template<class C>
struct innermost {
  using type = C;
};
template<class C>
  requires has_memory<C>
struct innermost<C> {
  using type = typename C::inner;
};
}  // namespace detail
/// The codec of single vectors in a policy.
template<class C>
using innermost = typename detail::innermost<C>::type;

/// Checked where a node uses a codec; each sentence needs no context.
template<class C, class Backend, channel_kind Kind, use Use>
consteval auto check_codec() -> bool {
  static_assert(
      has_codes<C, typename Backend::scalar>,
      "a codec is copyable, has a type of codes code<T> that bodies can hold, and codes<T>(n) of them for n values");
  static_assert(states_its_error<C>,
                "a codec states its error: a constant of codec::error_class, error, and the bound relative_error(n)");
  static_assert(says_what_links_it_needs<C>,
                "a codec says in a constant, needs_lossless_links, whether its messages build on each other");
  static_assert(is_complete_for<C>(Use),
                "a codec that drops most of a vector diverges or moves the limit if nothing sends the rest later: wrap "
                "it in codec::error_feedback or codec::ef21, or use choco_sgd");
  static_assert(feeds_back_as<C>(Use),
                "error_feedback is for gradients, whose sum counts: use ef21 for models, and a bare codec where "
                "differences from replicas are sent");
  static_assert(Use != use::references || C::error == error_class::contractive,
                "references need a contractive codec: use codec::damped round an unbiased one");
  if constexpr (has_codes<C, typename Backend::scalar> && says_what_links_it_needs<C>) {
    static_assert(encodes_and_decodes<innermost<C>, Backend>,
                  "a codec has encode(backend, values, n, codes), with a random_stream at the end if it draws, and "
                  "decode(backend, codes, n, values)");
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

/// A codec of running sums whose sender remembers how they moved: encode() is told the sums of the message before
/// (null: zeros) and the edge's `motion`, a part of the sender's state, and a message is codes(n) codes, which travel
/// whole. decode() returns whether they can be a sender's. Models: adaptive_bits.
template<class C>
inline constexpr bool adapts = requires { typename C::motion; };
template<class C, class Backend, class U>
concept adaptive_sum_policy =
    std::copyable<C> && std::default_initializable<C> && says_what_links_it_needs<C> && adapts<C> &&
    std::copyable<typename C::motion> && std::default_initializable<typename C::motion> &&
    requires(C const& c, Backend& b, U const* sums, U* out, std::size_t n, typename C::template code<U>* codes,
             typename C::template code<U> const* received, block_partition const& blocks, typename C::motion& past,
             state_visitor& visitor) {
      rubato::detail::element_traits<typename C::template code<U>>::value;
      C::motion::visit_state(past, visitor);
      c.check(blocks);
      { c.codes(n) } -> std::same_as<std::size_t>;
      c.encode(b, sums, sums, n, past, codes);
      { c.decode(b, received, sums, n, out) } -> std::same_as<bool>;
    };

/// Whether a policy of sums sends sums and models as differences from references that receivers confirm, so that a node
/// holds both ends of each edge (algorithm/detail/confirmed_references.hpp). Models: referenced_bits.
template<class C>
inline constexpr bool confirms = requires { requires C::confirms; };

/// Checked where a node uses a codec of sums; each sentence needs no context.
template<class C, class Backend, class U, channel_kind Kind>
consteval auto check_sum_codec() -> bool {
  static_assert(!confirms<C>,
                "differences from references that are confirmed are for r_fast and asy_sonata: use adaptive_bits here");
  static_assert(confirms<C> || adapts<C> || sum_policy<C, Backend, U>,
                "a codec of sums has needs_lossless_links, code<U>, check(), encode(backend, sums, n, codes), "
                "decode(backend, codes, known, n, sums) and range_sentence(block), for the ledger's type of sums");
  static_assert(!adapts<C> || adaptive_sum_policy<C, Backend, U>,
                "a codec of sums with a type `motion`, which lists its state, has needs_lossless_links, code<U>, "
                "check(blocks), codes(n), encode(backend, before, sums, n, motion, codes) and decode(backend, codes, "
                "known, n, sums), for the ledger's type of sums");
  if constexpr (says_what_links_it_needs<C>) {
    static_assert(check_links<C>(Kind),
                  "a codec whose messages build on each other needs lossless, ordered links: an event channel");
  }
  return true;
}

/// Bytes of a message of n values, without its header.
template<class T, class C>
[[nodiscard]] auto bytes_on_wire(C const& c, std::size_t n) -> std::size_t {
  using code = typename C::template code<T>;
  return c.template codes<T>(n) * sizeof(code);
}

/// Throws config_error unless references that move by `share` of each coded difference come nearer to what they follow:
/// (1 - a)^2 + a^2 omega < 1 for an unbiased codec. With a contractive one they do for any share of at most 1.
template<class C>
void check_share_of_references(C const& c, std::size_t n, double share) {
  if constexpr (C::error == error_class::unbiased) {
    if (share * (1 + omega(c, n)) < 2) return;
    throw config_error{"with a codec whose omega is " + shortest(omega(c, n)) +
                       " references move by less than 2 / (1 + omega) = " + shortest(2 / (1 + omega(c, n))) +
                       " of a difference, not by " + shortest(share)};
  }
}

/// Throws config_error if the codec cannot take n values.
template<class C>
void check_size(C const& c, std::size_t n) {
  if constexpr (requires { c.check(n); }) c.check(n);
}

/// Encodes x[0 .. n) into codes, with draws if the codec draws.
template<class C, class Backend, class Code>
void encode_with(C const& c, Backend& backend, typename Backend::scalar const* x, std::size_t n, Code* codes,
                 random_stream const& draw) {
  if constexpr (draws<C, Backend>) c.encode(backend, x, n, codes, draw);
  else c.encode(backend, x, n, codes);
}

/// Encodes x[0 .. n) into a body. A codec that draws needs a key of its own for each message.
template<class C, class Backend>
[[nodiscard]] auto encoded(C const& c, Backend& backend, typename Backend::scalar const* x, std::size_t n,
                           random_stream const& draw) -> shared_buffer {
  using scalar = typename Backend::scalar;
  auto codes = backend.template allocate<typename C::template code<scalar>>(c.template codes<scalar>(n));
  encode_with(c, backend, x, n, codes.data(), draw);
  return std::move(codes).publish();
}
template<class C, class Backend>
  requires(!draws<C, Backend>)
[[nodiscard]] auto encoded(C const& c, Backend& backend, typename Backend::scalar const* x, std::size_t n)
    -> shared_buffer {
  return encoded(c, backend, x, n, random_stream{0});
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

/// The sending end of a codec without memory, and a receiving one.
template<class C, class Backend>
struct plain_sender {
  static void visit_state(auto&, auto&&) {}
  [[nodiscard]] auto encode(C const& c, Backend& backend, typename Backend::scalar const* x, std::size_t n,
                            random_stream const& draw) -> shared_buffer {
    return encoded(c, backend, x, n, draw);
  }
};
template<class C, class Backend>
struct plain_receiver {
  static void visit_state(auto&, auto&&) {}
  void decode(C const& c, Backend& backend, shared_buffer const& body, range values, typename Backend::scalar* x) {
    decode_body(c, backend, body, values, x);
  }
};

namespace detail {
template<class C, class Backend>
struct ends {
  using sender = plain_sender<C, Backend>;
  using receiver = plain_receiver<C, Backend>;
};
template<class C, class Backend>
  requires has_memory<C>
struct ends<C, Backend> {
  using sender = typename C::template sender<Backend>;
  using receiver = typename C::template receiver<Backend>;
};
}  // namespace detail
/// What an algorithm keeps for each stream of messages that it sends, and for each that it receives.
template<class C, class Backend>
using sender = typename detail::ends<C, Backend>::sender;
template<class C, class Backend>
using receiver = typename detail::ends<C, Backend>::receiver;

}  // namespace rubato::codec
