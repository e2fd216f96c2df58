// SPDX-License-Identifier: MIT
// Keyed random numbers: a stream is named by integers, so no generator object is shared and no draw depends on order.
// The generator is SplitMix64 (Steele, Lea, Flood 2014) started from a hash of the key; distributions are ours
// because those of the standard library differ between implementations.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>

#include <rubato/core/host_device.hpp>
#include <rubato/core/ids.hpp>

namespace rubato {

namespace detail {
__extension__ typedef unsigned __int128 uint128;  // of g++ and clang; ISO C++ has none, and -Wpedantic says so

/// The finaliser of SplitMix64: a bijection of words that spreads every bit over all others.
RUBATO_HOST_DEVICE constexpr auto mixed(std::uint64_t z) -> std::uint64_t {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}
inline constexpr std::uint64_t golden = 0x9e3779b97f4a7c15ULL;
}  // namespace detail

/// A stream of random numbers that is a pure function of its key.
/// **Thread safety:** distinct objects are independent. **Determinism:** same key, same bits, on every platform
/// for integers; uniform() is exact too, normal() is as exact as the platform's log, cos and sqrt.
class random_stream {
 public:
  explicit constexpr random_stream(std::initializer_list<std::uint64_t> key) {
    for (auto const word : key) *this = with(word);
  }
  explicit constexpr random_stream(sample_key const& key)
      : random_stream{key.seed, static_cast<std::uint64_t>(key.node), key.draw} {}

  /// Requires that nothing was drawn from this stream. Gives the stream whose key has this word appended.
  [[nodiscard]] constexpr auto with(std::uint64_t word) const -> random_stream {
    auto longer = *this;
    longer.state_ = detail::mixed(state_ + detail::golden + word);
    return longer;
  }

  static void visit_state(auto& self, auto&& visit) { visit("state", self.state_); }

  /// This stream after that many calls of bits(), without them; uniform() and below() are one call each, normal() two.
  RUBATO_HOST_DEVICE [[nodiscard]] constexpr auto ahead(std::uint64_t calls) const -> random_stream {
    auto later = *this;
    later.state_ += calls * detail::golden;
    return later;
  }

  RUBATO_HOST_DEVICE constexpr auto bits() -> std::uint64_t {
    state_ += detail::golden;
    return detail::mixed(state_);
  }
  /// Uniform in [0, 1), 53 bits.
  RUBATO_HOST_DEVICE constexpr auto uniform() -> double { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// Uniform in 0 .. bound-1, without a bias that 64-bit draws could show (multiply and shift); requires bound > 0.
  RUBATO_HOST_DEVICE constexpr auto below(std::uint64_t bound) -> std::uint64_t {
    return static_cast<std::uint64_t>((detail::uint128{bits()} * bound) >> 64);
  }
  /// Standard normal, Box-Muller, one draw of two uniforms each.
  RUBATO_HOST_DEVICE auto normal() -> double {
    auto const radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586476925286766559 * uniform());
  }
  auto chance(double probability) -> bool { return uniform() < probability; }

 private:
  std::uint64_t state_ = 0;
};

/// The seed of a node's draws after a number of restarts: the run's own seed after none, and another one after each
/// restart, so that a restarted node does not draw its first samples again.
constexpr auto seed_of_restart(std::uint64_t seed, std::uint64_t session) -> std::uint64_t {
  return session == 0 ? seed : random_stream{{0x6c696665ULL, seed, session}}.bits();
}

}  // namespace rubato
