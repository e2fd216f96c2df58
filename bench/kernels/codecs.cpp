// SPDX-License-Identifier: MIT
// What compression costs: encoding and decoding of n values by every codec, with the bytes of the values and of their
// codes, and the kernels of error feedback. Those that say "on the host only" are not on devices, nor is fp16, which
// calls what only a host may.
#include <rubato/codec/adaptive_bits.hpp>
#include <rubato/codec/bf16.hpp>
#include <rubato/codec/block_top_k.hpp>
#include <rubato/codec/damped.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/fp16.hpp>
#include <rubato/codec/fp8.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/low_bits.hpp>
#include <rubato/codec/measured_bits.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/codec/natural.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/random_k.hpp>
#include <rubato/codec/referenced_bits.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/codec/top_k.hpp>

#include "kernels/family.hpp"

namespace {

namespace codec = rubato::codec;

/// encode and decode of a codec of single vectors.
template<class Codec, class B>
void both_ways(bench::family<B>& f, std::string const& name, Codec const& c = Codec{}) {
  using T = typename B::scalar;
  using code = typename Codec::template code<T>;
  using codes = rubato::writable_buffer<code>;
  auto const moved = [c](std::size_t n) {
    return static_cast<double>(n * sizeof(T) + c.template codes<T>(n) * sizeof(code));
  };
  auto const room = [c](auto& a) -> codes& {
    return a.template keep<codes>([&] { return a.backend().template allocate<code>(c.template codes<T>(a.n())); });
  };
  f.call(name + ":encode", [=](auto& a) -> bench::prepared {
    auto* const to = room(a).data();
    auto const* const x = a.in();
    return {[=, &a] { codec::encode_with(c, a.backend(), x, a.n(), to, rubato::random_stream{7}); }, moved(a.n())};
  });
  f.call(name + ":decode", [=](auto& a) -> bench::prepared {
    auto* const to = room(a).data();
    codec::encode_with(c, a.backend(), a.in(), a.n(), to, rubato::random_stream{7});
    auto* const x = a.out();
    return {[=, &a] { c.decode(a.backend(), static_cast<code const*>(to), a.n(), x); }, moved(a.n())};
  });
}

/// A sender with memory: it reads values and its own vector, writes that, and the codes of bf16.
template<class Policy, class B>
void sending(bench::family<B>& f, std::string const& name) {
  using sender = codec::sender<Policy, B>;
  f.call(name + ":encode", [](auto& a) -> bench::prepared {
    auto* const s = &a.template keep<sender>([] { return sender{}; });
    auto const* const x = a.in();
    return {[=, &a] { static_cast<void>(s->encode(Policy{}, a.backend(), x, a.n(), rubato::random_stream{7})); },
            static_cast<double>((3 * sizeof(typename B::scalar) + 2) * a.n())};
  });
}

/// Running sums in 16 bits, on any backend.
template<class B>
void low_bits(bench::family<B>& f) {
  using codes = rubato::writable_buffer<std::uint16_t>;
  auto const room = [](auto& a) -> codes& {
    return a.template keep<codes>([&] { return a.backend().template allocate<std::uint16_t>(a.n()); });
  };
  f.call("low_bits:encode", [=](auto& a) -> bench::prepared {
    auto* const to = room(a).data();
    auto const* const sums = a.template in<std::int32_t>();
    return {[=, &a] { codec::low_bits{}.encode(a.backend(), sums, a.n(), to); }, 6.0 * static_cast<double>(a.n())};
  });
  f.call("low_bits:decode", [=](auto& a) -> bench::prepared {
    auto* const to = room(a).data();
    auto const* const sums = a.template in<std::int32_t>();
    auto const* const known = a.template in<std::int32_t>();
    codec::low_bits{}.encode(a.backend(), sums, a.n(), to);
    auto* const out = a.template out<std::int32_t>();
    return {[=, &a] { static_cast<void>(codec::low_bits{}.decode(a.backend(), to, known, a.n(), out)); },
            10.0 * static_cast<double>(a.n())};
  });
}

/// Running sums by codecs that are host code: the widths of adaptive_bits, and of the differences that referenced_bits
/// and measured_bits send.
template<class B>
void few_bits_of_sums(bench::family<B>& f) {
  using bytes = std::vector<std::byte>;
  auto const adaptive = [&]<int Bits>(codec::adaptive_bits<Bits> c, std::string const& name) {
    f.call(name + ":encode", [=](auto& a) -> bench::prepared {
      auto* const to = a.template keep<bytes>([&] { return bytes(c.codes(a.n())); }).data();
      auto* const past = &a.template keep<codec::sum_motion>([] { return codec::sum_motion{}; });
      auto const* const before = a.template in<std::int32_t>();
      auto const* const sums = a.template in<std::int32_t>();
      return {[=, &a] { c.encode(a.backend(), before, sums, a.n(), *past, to); },
              static_cast<double>(8 * a.n() + c.codes(a.n()))};
    });
    f.call(name + ":decode", [=](auto& a) -> bench::prepared {
      auto* const to = a.template keep<bytes>([&] { return bytes(c.codes(a.n())); }).data();
      auto const* const known = a.template in<std::int32_t>();
      auto* const out = a.template out<std::int32_t>();
      return {[=, &a] { static_cast<void>(c.decode(a.backend(), to, known, a.n(), out)); },
              static_cast<double>(8 * a.n() + c.codes(a.n()))};
    });
  };
  adaptive(codec::adaptive_bits<8>{}, "adaptive_bits<8>");
  adaptive(codec::adaptive_bits<4>{}, "adaptive_bits<4>");
  auto const difference = [&]<int Bits>(std::integral_constant<int, Bits>, std::string const& name) {
    using coded = codec::detail::bits_of_difference<Bits>;
    f.call(name + ":encode", [](auto& a) -> bench::prepared {
      auto const size = coded::template bytes<std::int32_t>(a.n());
      auto* const to = a.template keep<bytes>([&] { return bytes(size); }).data();
      auto const* const sums = a.template in<std::int32_t>();
      auto const* const known = a.template in<std::int32_t>();
      return {[=, &a] { coded::encode(sums, known, a.n(), to); }, static_cast<double>(8 * a.n() + size)};
    });
  };
  difference(std::integral_constant<int, 8>{}, "referenced_bits<8>");
  difference(std::integral_constant<int, 2>{}, "measured_bits:2");
}

bench::added const codecs{
    "codecs", []<class B>(bench::family<B>& f) {
      using T = typename B::scalar;
      auto const half = T(0.5);
      both_ways<codec::identity>(f, "identity");
      both_ways<codec::bf16>(f, "bf16");
      both_ways<codec::minmax_u8>(f, "minmax_u8");
      both_ways<codec::bagua_u8>(f, "bagua_u8");
      sending<codec::error_feedback<codec::bf16>>(f, "error_feedback");
      sending<codec::ef21<codec::bf16>>(f, "ef21");
      low_bits(f);
      f.kernel("combine_kernel",
               [=](auto& a) { return codec::detail::combine_kernel<T>{a.in(), a.in(), a.out(), half, half}; });
      f.kernel("follow_kernel", [](auto& a) { return codec::detail::follow_kernel<T>{a.out(), a.out()}; });
      if constexpr (!rubato::backend::has_host_twin<B>) {
        both_ways<codec::fp16>(f, "fp16");
        both_ways<codec::fp8_e4m3>(f, "fp8:e4m3");
        both_ways<codec::fp8_e5m2>(f, "fp8:e5m2");
        both_ways<codec::qsgd>(f, "qsgd");
        both_ways<codec::natural>(f, "natural");
        both_ways<codec::sign_scale>(f, "sign_scale");
        both_ways<codec::top_k>(f, "top_k");
        both_ways<codec::random_k>(f, "random_k");
        both_ways<codec::scaled_random_k>(f, "scaled_random_k");
        both_ways<codec::block_top_k>(f, "block_top_k");
        both_ways<codec::damped<codec::qsgd>>(f, "damped");
        few_bits_of_sums(f);
      }
    }};

}  // namespace
