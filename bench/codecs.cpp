// SPDX-License-Identifier: MIT
// Shows what compression costs a node: encode plus decode of d floats on one thread, against a memcpy of the same d
// floats, in interleaved rounds. Prints medians and quartiles of the ratios round by round. Required: minmax_u8 at the
// large size takes at most 3 times the memcpy (exit status 1 if not). Aimed at there: minmax_u8 1.5, qsgd 3, top_k with
// k = d/100 6.
//   bench_codecs [--rounds N, 41] [--large L, 24: the large size is 2^L] [--only NAME]
// Wrong if other programs use the memory meanwhile (the quartiles show it), or if buffers are not in huge pages.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/codec/bf16.hpp>
#include <rubato/codec/block_top_k.hpp>
#include <rubato/codec/fp16.hpp>
#include <rubato/codec/fp8.hpp>
#include <rubato/codec/identity.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/codec/natural.hpp>
#include <rubato/codec/qsgd.hpp>
#include <rubato/codec/random_k.hpp>
#include <rubato/codec/sign_scale.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/core/random.hpp>

#include "support/huge_pages.hpp"
#include "support/quantile.hpp"

namespace {

using bench::quantile;
using backend_type = rubato::backend::eigen<float>;

auto seconds() -> double {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct timing {
  std::vector<double> copy, encode, decode;  // seconds, one a round
  [[nodiscard]] auto ratio(double q) const -> double {
    std::vector<double> r;
    for (std::size_t i = 0; i < copy.size(); ++i) r.push_back((encode[i] + decode[i]) / copy[i]);
    return quantile(r, q);
  }
};

template<class Codec>
auto measure(std::size_t n, int rounds) -> timing {
  auto const pool =
      rubato::buffer_pool{std::make_shared<bench::huge_pages>(4 * (4 * n + 8192) + (std::size_t{1} << 22))};
  auto backend = backend_type{pool};
  auto const codec = Codec{};
  using code = typename Codec::template code<float>;
  auto x = backend.allocate<float>(n);
  auto copy = backend.allocate<float>(n);
  auto back = backend.allocate<float>(n);
  auto codes = backend.allocate<code>(codec.template codes<float>(n));
  rubato::random_stream draw{1};
  for (auto& v : x.view()) v = static_cast<float>(draw.normal());
  auto const repetitions = n >= (std::size_t{1} << 20) ? 1 : static_cast<int>((std::size_t{1} << 20) / n);
  auto const take = [&](std::vector<double>& into, auto&& work) {
    auto const begin = seconds();
    for (int i = 0; i < repetitions; ++i) work();
    into.push_back((seconds() - begin) / repetitions);
  };
  timing t;
  for (int round = -2; round < rounds; ++round) {  // two to warm up
    take(t.copy, [&] { std::memcpy(copy.data(), x.data(), n * sizeof(float)); });
    auto const key = rubato::random_stream{static_cast<std::uint64_t>(round + 2)};
    take(t.encode, [&] { rubato::codec::encode_with(codec, backend, x.data(), n, codes.data(), key); });
    take(t.decode, [&] { codec.decode(backend, codes.data(), n, back.data()); });
  }
  for (auto* list : {&t.copy, &t.encode, &t.decode}) list->erase(list->begin(), list->begin() + 2);
  double off = 0, all = 0;
  for (std::size_t i = 0; i < n; ++i) {
    auto const v = static_cast<double>(x.data()[i]), d = static_cast<double>(back.data()[i]) - v;
    off += d * d, all += v * v;
  }
  if (!(off <= (1.1 * codec.relative_error(n) + 1e-12) * all)) std::exit(2);  // measured something else
  return t;
}

template<class Codec>
auto report(std::string_view only, char const* name, std::size_t n, int rounds) -> double {
  if (!only.empty() && only != name) return 0;
  auto const t = measure<Codec>(n, rounds);
  auto const gb = [n](std::vector<double> const& v) { return 4e-9 * static_cast<double>(n) / quantile(v, 0.5); };
  std::printf(
      "%-12s d = %9zu: memcpy %6.2f GB/s, encode %6.2f, decode %6.2f (GB of floats); encode + decode over memcpy: "
      "median %.2f, quartiles %.2f %.2f\n",
      name, n, gb(t.copy), gb(t.encode), gb(t.decode), t.ratio(0.5), t.ratio(0.25), t.ratio(0.75));
  return t.ratio(0.5);
}

bool all_met = true;

void check(char const* name, double ratio, double limit) {
  if (ratio == 0) return;  // not measured
  std::printf("%s: %s takes %.2f times a memcpy, %.1f are allowed\n", ratio <= limit ? "met" : "MISSED", name, ratio,
              limit);
  all_met = all_met && ratio <= limit;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  int rounds = 41, large = 24;
  auto only = std::string_view{};
  for (int i = 1; i + 1 < argc; i += 2) {
    auto const name = std::string_view{argv[i]};
    if (name == "--rounds") rounds = std::max(1, std::atoi(argv[i + 1]));
    else if (name == "--large") large = std::clamp(std::atoi(argv[i + 1]), 16, 26);
    else if (name == "--only") only = argv[i + 1];
    else return std::fprintf(stderr, "unknown option %s: there are --rounds, --large and --only\n", argv[i]), 2;
  }
  auto const n = std::size_t{1} << large;
  for (auto const size : {std::size_t{1} << 16, n}) {
    namespace codec = rubato::codec;
    report<codec::identity>(only, "identity", size, rounds);
    report<codec::bf16>(only, "bf16", size, rounds);
    report<codec::fp16>(only, "fp16", size, rounds);
    report<codec::fp8_e4m3>(only, "fp8_e4m3", size, rounds);
    auto const qsgd = report<codec::qsgd>(only, "qsgd", size, rounds);
    report<codec::natural>(only, "natural", size, rounds);
    report<codec::sign_scale>(only, "sign_scale", size, rounds);
    auto const top_k = report<codec::top_k>(only, "top_k", size, rounds);
    report<codec::random_k>(only, "random_k", size, rounds);
    report<codec::block_top_k>(only, "block_top_k", size, rounds);
    auto const minmax_u8 = report<codec::minmax_u8>(only, "minmax_u8", size, rounds);
    if (size == n) {  // times a memcpy, as asked
      check("minmax_u8", minmax_u8, 1.5);
      check("qsgd", qsgd, 3);
      check("top_k", top_k, 6);
    }
  }
  return all_met ? 0 : 1;
}
