// SPDX-License-Identifier: MIT
// The device backend against the reference: kernels index by index, sums, products, copies in and out, and whole runs
// of algorithms, codecs among them, in every way that packets are carried. Ends with 77 and `skipped: no device` where
// there is none to run on.
#include <rubato/backend/thrust.hpp>

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <rubato/algorithm/ad_psgd.hpp>
#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/m_synchronous_sgd.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/bf16.hpp>
#include <rubato/codec/fp16.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/core/random.hpp>
#include <rubato/core/text.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/driver/threads.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/builders.hpp>

#include "support/device_checks.hpp"

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using test::check;
template<class T>
using device = backend::thrust<T, backend::system::cuda>;
static_assert(backend::array_backend<device<float>> && backend::array_backend<device<double>>);
static_assert(backend::has_host_twin<device<float>> && !backend::has_host_twin<backend::host<float>>);

/// One of everything that lanes can do, with nothing that a compiler may contract; raises, or says that it never does.
template<bool Raises>
struct everything {
  static constexpr bool raises = Raises;
  float const* x;
  std::int32_t* units;
  float* y;
  double* wide;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    auto const v = at.load(x);
    auto const sum =
        backend::wrap_sub(backend::wrap_add(at.load(units), at.round(1000.0F * v)), at.broadcast(std::int32_t{7}));
    at.store(units, sum);
    at.stream(y, 0.75F * (v / at.broadcast(3.0F) - at.to_real(sum)));
    at.store(wide, at.template cast<double>(v) + at.template cast<double>(sum));
    if constexpr (raises) at.flag(backend::magnitude_bits(sum));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 24; }
};

template<class U>
auto random_values(std::size_t n, std::uint64_t seed) -> std::vector<U> {
  random_stream draw{seed};
  std::vector<U> v(n);
  for (auto& each : v) each = static_cast<U>(1000 * draw.normal()) / U(std::is_integral_v<U> ? 1 : 1000);
  return v;
}

template<class Backend, class U>
auto brought_in(Backend& b, std::vector<U> const& values) -> shared_buffer {
  auto here = b.pool().host_side().template allocate<U>(values.size());
  std::copy(values.begin(), values.end(), here.data());
  return b.pool().bring_in(std::move(here).publish());
}

/// Units, y, wide and the bits after one sweep over r; outputs begin poisoned.
template<bool Raises, class Backend>
auto swept(Backend b, std::size_t n, range r) -> std::vector<double> {
  auto const x = brought_in(b, random_values<float>(n, 3));
  auto const before = brought_in(b, random_values<std::int32_t>(n, 4));
  auto const poison = brought_in(b, std::vector<float>(n, -7.0F));
  auto const wide_poison = brought_in(b, std::vector<double>(n, -7.0));
  auto units = backend::copied(b, before.template view<std::int32_t>().data(), n);
  auto y = backend::copied(b, poison.template view<float>().data(), n);
  auto wide = backend::copied(b, wide_poison.template view<double>().data(), n);
  auto const bits =
      b.sweep(r, everything<Raises>{x.template view<float>().data(), units.data(), y.data(), wide.data()});
  std::vector<double> all{static_cast<double>(bits)};
  auto const append = [&](auto const& values) { all.insert(all.end(), values.begin(), values.end()); };
  append(b.pool().values(static_cast<std::int32_t const*>(units.data()), n));
  append(b.pool().values(static_cast<float const*>(y.data()), n));
  append(b.pool().values(static_cast<double const*>(wide.data()), n));
  return all;
}

void sweeps_agree() {
  for (auto const n : {std::size_t{1}, std::size_t{31}, std::size_t{203}, std::size_t{4099}, std::size_t{1'000'003}}) {
    for (auto const begin : {std::size_t{0}, std::size_t{17}}) {
      if (begin > n) continue;
      auto const where = ", n " + std::to_string(n) + " from " + std::to_string(begin);
      check(swept<true>(device<float>{}, n, {begin, n}) == swept<true>(backend::host<float>{}, n, {begin, n}),
            "a kernel that raises computes the same bits" + where);
      check(swept<false>(device<float>{}, n, {begin, n}) == swept<false>(backend::host<float>{}, n, {begin, n}),
            "a kernel that never raises computes the same bits" + where);
    }
  }
  device<float> b;
  check(b.sweep({5, 5}, backend::zero_kernel<float>{nullptr}) == 0, "a sweep over nothing does nothing");
}

template<class T>
struct rounding {
  T const* x;
  std::int32_t* y;
  template<class At>
  RUBATO_HOST_DEVICE void operator()(At& at) const {
    at.store(y, at.round(at.load(x)));
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 4 + sizeof(T); }
};

template<class T>
void rounding_agrees() {
  std::vector<T> values;
  for (auto const v : {0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 1e20, -1e20, 7.0, std::nan("")})
    values.push_back(static_cast<T>(v));
  constexpr auto least = std::numeric_limits<std::int32_t>::min();
  device<T> b;
  auto const x = brought_in(b, values);
  auto y = b.template allocate<std::int32_t>(values.size());
  b.sweep({0, values.size()}, rounding<T>{x.template view<T>().data(), y.data()});
  check(b.pool().values(static_cast<std::int32_t const*>(y.data()), values.size()) ==
            std::vector<std::int32_t>{0, 2, 2, 0, -2, 0, least, least, 7, least},
        "rounding goes to the nearest, ties to even, and what is no 32-bit integer to the least one");
}

void sums_and_products_agree() {
  device<double> b;
  backend::host<double> reference;
  auto const x = random_values<double>(100'003, 5), y = random_values<double>(100'003, 6);
  auto const there = brought_in(b, x), other = brought_in(b, y);
  auto const* p = there.view<double>().data();
  auto const* q = other.view<double>().data();
  auto const wanted = reference.dot(x.data(), y.data(), x.size());
  check(std::abs(b.dot(p, q, x.size()) - wanted) < 1e-9 * static_cast<double>(x.size()), "a dot product agrees");
  check(b.dot(p, q, x.size()) == b.dot(p, q, x.size()), "a dot product has the same bits each time");
  check(b.dot(p, q, 0) == 0.0, "a dot product of nothing is zero");
  for (auto const ta : {backend::transposed::no, backend::transposed::yes}) {
    for (auto const tb : {backend::transposed::no, backend::transposed::yes}) {
      backend::product_shape const shape{67, 35, 270, ta, tb};
      auto expected = std::vector<double>(67 * 35, 1.0);
      auto const ones = brought_in(b, expected);
      auto c = backend::copied(b, ones.view<double>().data(), expected.size());
      reference.multiply(shape, 1.5, x.data(), y.data(), -0.5, expected.data());
      b.multiply(shape, 1.5, p, q, -0.5, c.data());
      auto const found = b.pool().values(static_cast<double const*>(c.data()), expected.size());
      auto worst = 0.0;
      for (std::size_t k = 0; k < found.size(); ++k) worst = std::fmax(worst, std::abs(found[k] - expected[k]));
      check(worst < 1e-10, "a matrix product agrees");
    }
  }
}

void bodies_go_and_come() {
  device<float> b;
  auto const values = random_values<float>(5003, 8);
  auto const there = brought_in(b, values);
  check(!there.is_on_host() && there.on_host().is_on_host(), "a body of the device is no body of the host");
  auto const back = there.on_host();
  check(std::memcmp(back.bytes().data(), values.data(), back.size_bytes()) == 0, "a body comes back as it went");
  check(b.pool().bring_in(there) == there, "what is on the device stays where it is");
}

void a_device_that_is_not_there_is_named() {
  try {
    device<float> const b{1000};
    check(false, "a device that is not there is refused");
  } catch (config_error const& e) {
    check(std::string{e.what()}.find("1000") != std::string::npos, "the refusal names the device");
  }
}

template<class Node>
auto finish(environment::scenario const& scenario, double& residual) -> std::vector<double> {
  typename Node::options options{};
  options.step = 0.1;
  options.block_values = 64;
  auto const q = problem::quadratic::random(5, 203, 12, {.spread = 1, .condition = 5, .noise = 0});
  auto const result = simulate(assemble<Node>(topology::exponential(5), q, options), scenario, {.time = 500ms});
  std::vector<double> all, one;
  for (auto const& model : result.models) {
    rubato::detail::widen(model, one);
    all.insert(all.end(), one.begin(), one.end());
  }
  residual = result.history.back().tracking_residual;
  return all;
}

/// The bytes of the codes of n values and what they decode to, both as numbers.
template<class Codec, class Backend>
auto coded(Backend b, Codec const& codec, std::size_t n) -> std::vector<double> {
  using code = typename Codec::template code<float>;
  auto const x = brought_in(b, random_values<float>(n, 9));
  auto codes = b.template allocate<code>(codec.template codes<float>(n));
  codec.encode(b, x.template view<float>().data(), n, codes.data());
  auto back = b.template allocate<float>(n);
  codec.decode(b, codes.data(), n, back.data());
  std::vector<double> all;
  auto const bytes = b.pool().values(reinterpret_cast<std::uint8_t const*>(codes.data()), codes.size() * sizeof(code));
  all.insert(all.end(), bytes.begin(), bytes.end());
  for (auto const v : b.pool().values(static_cast<float const*>(back.data()), n)) all.push_back(v);
  return all;
}

/// Values differ in their last bits where a compiler contracts a product and a sum, and codes at what is then a tie.
template<class Codec>
void codes_agree(std::string const& name, Codec const& codec) {
  constexpr std::size_t n = 10'007;
  auto const expected = coded(backend::host<float>{}, codec, n), found = coded(device<float>{}, codec, n);
  auto const first = expected.size() - n;
  auto other = 0, far = 0;
  for (std::size_t k = 0; k < expected.size(); ++k) {
    auto const off = std::abs(found[k] - expected[k]);
    if (k < first) other += off > 0 ? 1 : 0;
    else far += off > 1e-6 * (1 + std::abs(expected[k])) ? 1 : 0;
  }
  check(found.size() == expected.size() && other <= 8 && far <= 8, name + " codes as on the host (" +
                                                                       std::to_string(other) + " bytes and " +
                                                                       std::to_string(far) + " values do not)");
}

template<template<class> class Node, class T>
void runs_agree(std::string const& name, double tolerance, std::optional<double> leak = {}) {
  for (auto const carried : {environment::frames::by_reference, environment::frames::encoded}) {
    for (auto const split : {environment::delivery::whole, environment::delivery::blocks}) {
      environment::scenario const scenario{.compute = environment::fixed(10ms).slow(2, 2.0),
                                           .link = {.latency = 1ms, .loss = 0.1},
                                           .carried = carried,
                                           .split = split,
                                           .seed = 4};
      auto expected_residual = 0.0, residual = 0.0;
      auto const expected = finish<Node<backend::host<T>>>(scenario, expected_residual);
      auto const found = finish<Node<device<T>>>(scenario, residual);
      auto worst = 0.0, moved = 0.0;
      for (std::size_t k = 0; k < found.size(); ++k) {
        worst = std::fmax(worst, std::abs(found[k] - expected[k]));
        moved = std::fmax(moved, std::abs(expected[k]));  // the run began at zeros
      }
      check(found.size() == expected.size() && moved > 1e-3 && worst < tolerance,
            name + " ends where the reference does (" + shortest(worst) + " away, with values up to " +
                shortest(moved) + ")");
      if (leak) check(residual <= *leak, name + ": what is tracked is conserved");
    }
  }
}

template<class B> using tracking = r_fast<B>;
template<class B> using ring = ring_allreduce_sgd<B>;
template<class B> using with_server = m_synchronous_sgd<B>;
template<class B> using in_low_bits = r_fast_low_bits<B>;
template<class B> using in_bytes = byte_grad<B>;
template<class B> using pushing = osgp<B>;
template<class B> using in_pairs = ad_psgd<B>;

void threads_share_a_device() {
  using node = r_fast<device<float>>;
  auto const q = problem::quadratic::random(4, 1000, 11);
  auto const result = run_threads(assemble<node>(topology::directed_ring(4), q, {.step = 0.1}),
                                  {.compute = environment::fixed(200us), .link = {.loss = 0.1}},
                                  {.time = 60s, .target_loss = q.minimum() + 1e-4});
  check(result.history.back().loss <= q.minimum() + 1e-4, "nodes on threads of their own come to the target");
  check(result.history.back().tracking_residual == 0.0, "and conserve exactly");
}

}  // namespace

int main() {
  return test::run_on_device<device<float>>([] {
    sweeps_agree();
    rounding_agrees<float>();
    rounding_agrees<double>();
    sums_and_products_agree();
    bodies_go_and_come();
    a_device_that_is_not_there_is_named();
    runs_agree<tracking, float>("r_fast", 1e-4, 0.0);
    runs_agree<tracking, double>("r_fast in double", 1e-11, 1e-12);
    codes_agree("bf16", codec::bf16{});
    codes_agree("fp16", codec::fp16{});
    codes_agree("minmax_u8", codec::minmax_u8{});
    codes_agree("bagua_u8", codec::bagua_u8{});
    runs_agree<in_low_bits, double>("r_fast_low_bits", 1e-9, 0.0);
    runs_agree<in_bytes, double>("byte_grad", 1e-9);
    runs_agree<pushing, double>("osgp", 1e-11);
    runs_agree<in_pairs, double>("ad_psgd", 1e-11);
    runs_agree<ring, double>("ring_allreduce_sgd", 1e-11);
    runs_agree<with_server, double>("m_synchronous_sgd", 1e-11);
    threads_share_a_device();
  });
}
