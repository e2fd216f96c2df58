// SPDX-License-Identifier: MIT
// A codec whose codes are of the model's own type and not as many as its values: transports go by what the channel
// declares, and guess nothing.
#include <rubato/driver/peer.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <vector>

#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/problem/quadratic.hpp>

#include "support/catch.hpp"
#include "transport/peers.hpp"

namespace rubato::test {
namespace {

/// The larger three quarters of the values by size, each with its place, as 2k numbers of the model's type.
struct sparse {
  static constexpr auto name() -> std::string_view { return "sparse"; }
  static constexpr bool needs_lossless_links = true;
  static constexpr auto error = codec::error_class::contractive;
  template<class T>
  using code = T;
  [[nodiscard]] static auto kept(std::size_t n) -> std::size_t { return n - n / 4; }
  template<class T>
  [[nodiscard]] static auto codes(std::size_t n) -> std::size_t {
    return 2 * kept(n);
  }
  [[nodiscard]] static auto relative_error(std::size_t) -> double { return 0.25; }

  template<class Backend, class T>
  void encode(Backend&, T const* x, std::size_t n, T* out) const {
    std::vector<std::size_t> places(n);
    std::iota(places.begin(), places.end(), std::size_t{0});
    std::sort(places.begin(), places.end(), [x](auto a, auto b) {
      return std::abs(x[a]) != std::abs(x[b]) ? std::abs(x[a]) > std::abs(x[b]) : a < b;
    });
    for (std::size_t k = 0; k < kept(n); ++k) {
      out[2 * k] = static_cast<T>(places[k]);
      out[2 * k + 1] = x[places[k]];
    }
  }
  template<class Backend, class T>
  void decode(Backend&, T const* in, std::size_t n, T* x) const {
    std::fill(x, x + n, T{0});
    for (std::size_t k = 0; k < kept(n); ++k) x[static_cast<std::size_t>(in[2 * k])] = in[2 * k + 1];
  }
};

TEST_CASE("a sparse codec on the model channel runs over TCP to where it runs in one process") {
  using node = low_precision_d_psgd<space, sparse>;
  auto const p = quadratic::random(3, 12, 1);
  auto const network = topology::both(topology::ring(3));
  tcp_doors doors{3};
  auto const make = [&](std::size_t) { return assemble<node>(network, p, {.step = 0.02}); };
  auto const fates = run_all(3, make, over_tcp(doors), {rounds(400), {}});
  auto const here = simulate(make(0), {.compute = environment::fixed(std::chrono::milliseconds{1})}, rounds(3 * 400));
  REQUIRE(here.models.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    INFO(fates[i].sentence);
    REQUIRE(fates[i].sentence.empty());
    CHECK(fates[i].result.rejected.total() == 0);
    auto const there = fates[i].result.result.models[0].view<double>();
    auto const same = here.models[i].view<double>();
    for (std::size_t c = 0; c < there.size(); ++c)
      CHECK(there[c] == same[c]);  // methods in rounds do not depend on time
  }
}

}  // namespace
}  // namespace rubato::test
