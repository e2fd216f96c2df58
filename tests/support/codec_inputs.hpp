// SPDX-License-Identifier: MIT
// Vectors of many kinds and sizes for tests of codecs, and what a codec makes of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/backend/eigen.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/random.hpp>

namespace rubato::test {

using host = backend::host<float>;
using vectors = backend::eigen<float>;
using floats = std::vector<float>;

/// decode(encode(x)), with the draws of a key if the codec draws.
template<class Codec, class Backend, class T = typename Backend::scalar>
auto through(Codec const& c, Backend backend, std::vector<T> const& x, std::uint64_t key = 1) -> std::vector<T> {
  auto in = backend.template allocate<T>(x.size());
  std::copy(x.begin(), x.end(), in.data());
  auto const body = codec::encoded(c, backend, in.data(), x.size(), random_stream{key});
  auto out = backend.template allocate<T>(x.size());
  codec::decode_body(c, backend, body, {0, x.size()}, out.data());
  return {out.view().begin(), out.view().end()};
}

template<class Codec, class Backend, class T = typename Backend::scalar>
auto bytes_of_codes(Codec const& c, Backend backend, std::vector<T> const& x, std::uint64_t key = 1)
    -> std::vector<std::byte> {
  auto in = backend.template allocate<T>(x.size());
  std::copy(x.begin(), x.end(), in.data());
  auto const body = codec::encoded(c, backend, in.data(), x.size(), random_stream{key});
  return {body.bytes().begin(), body.bytes().end()};
}

struct family {
  char const* name;
  double (*draw)(random_stream&, std::size_t);
};

/// Inputs of a codec: gradients of all sizes, weights with an offset, heavy tails, few values among zeros, extremes.
inline constexpr family families[] = {
    {"normal", [](random_stream& r, std::size_t) { return r.normal(); }},
    {"uniform", [](random_stream& r, std::size_t) { return 2 * r.uniform() - 1; }},
    {"heavy tails", [](random_stream& r, std::size_t) { return std::pow(r.normal(), 9.0); }},
    {"sparse", [](random_stream& r, std::size_t) { return r.chance(0.01) ? r.normal() : 0.0; }},
    {"constant", [](random_stream&, std::size_t) { return -7.25; }},
    {"zeros", [](random_stream&, std::size_t) { return 0.0; }},
    {"offset", [](random_stream& r, std::size_t) { return 1000 + 0.005 * r.normal(); }},
    {"small", [](random_stream& r, std::size_t) { return 1e-32 * r.normal(); }},
    {"large", [](random_stream& r, std::size_t) { return 1e37 * (2 * r.uniform() - 1); }},
    {"two ends and zeros",
     [](random_stream&, std::size_t i) { return i % 4096 == 0   ? 3.0
                                                : i % 4096 == 1 ? -3.0
                                                                : 0.0; }},
};
inline constexpr std::size_t sizes[] = {1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 4095, 4096, 4097, 10'001};

template<class T = float>
auto drawn(family const& f, std::size_t n, std::uint64_t seed = 1) -> std::vector<T> {
  random_stream r{0x636f6465ULL, seed, n};
  std::vector<T> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<T>(f.draw(r, i));
  return x;
}

/// |Q(x) - x|^2 / |x|^2, and 0 for zeros that stay zeros.
template<class T>
auto measured_error(std::vector<T> const& x, std::vector<T> const& q) -> double {
  double off = 0, all = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto const v = static_cast<double>(x[i]);
    auto const d = static_cast<double>(q[i]) - v;
    off += d * d;
    all += v * v;
  }
  return off == 0 ? 0 : off / all;
}

}  // namespace rubato::test
