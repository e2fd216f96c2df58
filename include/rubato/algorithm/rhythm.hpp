// SPDX-License-Identifier: MIT
// When nodes that make local steps merge, and which part of the model, by count of local steps:
//   steady         the whole model after every k steps
//   after_warm_up  the whole model: w times after 1 step, then after every k
//   in_fragments   one of P parts after every k / P steps, in turn, so each part after k; the result is taken o steps
//                  later, and mixed with the share a of what the node has by then
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::rhythm {

/// A value of settings, the same for all nodes. before(m) local steps, at least 1, lie between the beginnings of merges
/// m - 1 and m, counted from 0. fragments() parts take turns. The result of a merge is taken overlap() local steps
/// after its beginning, fewer than any before(m). kept() is the share of a node's own values in it. A round of all
/// nodes takes gradients() of each, or 0 if that is not always the same number. Models: steady, after_warm_up,
/// in_fragments.
template<class R>
concept policy = std::copyable<R> && std::default_initializable<R> && requires(R const& r, std::uint64_t m) {
  { r.before(m) } -> std::same_as<std::uint64_t>;
  { r.fragments() } -> std::same_as<std::size_t>;
  { r.overlap() } -> std::same_as<std::uint64_t>;
  { r.kept() } -> std::same_as<double>;
  { r.gradients() } -> std::same_as<std::uint64_t>;
  r.check();
};

/// Checked where a node uses it.
template<class R>
consteval auto check_rhythm() -> bool {
  static_assert(policy<R>,
                "a rhythm has before(m), fragments(), overlap(), kept(), gradients() and check(), as rhythm::steady");
  return true;
}

namespace detail {
inline void check_steps(std::uint64_t local_steps) {
  if (local_steps == 0) throw config_error{"nodes merge after 1 local step or more, not after 0"};
}
}  // namespace detail

/// Policy.
struct steady {
  static constexpr auto name() -> std::string_view { return "steady"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("local steps", self.local_steps, "k: local iterations between two merges");
  }
  std::uint64_t local_steps = 4;

  /// Throws config_error.
  void check() const { detail::check_steps(local_steps); }
  [[nodiscard]] auto before(std::uint64_t) const -> std::uint64_t { return local_steps; }
  [[nodiscard]] auto gradients() const -> std::uint64_t { return local_steps; }
  [[nodiscard]] static constexpr auto fragments() -> std::size_t { return 1; }
  [[nodiscard]] static constexpr auto overlap() -> std::uint64_t { return 0; }
  [[nodiscard]] static constexpr auto kept() -> double { return 0; }
};

/// Policy: so that models are close to each other while they move fast.
struct after_warm_up {
  static constexpr auto name() -> std::string_view { return "after warm-up"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("local steps", self.local_steps, "k: local iterations between two merges, after the warm-up");
    visit("warm-up", self.warm_up, "w: merges that follow on one local iteration each, at the beginning");
  }
  std::uint64_t local_steps = 4;
  std::uint64_t warm_up = 20;

  /// Throws config_error.
  void check() const { detail::check_steps(local_steps); }
  [[nodiscard]] auto before(std::uint64_t merge) const -> std::uint64_t { return merge < warm_up ? 1 : local_steps; }
  [[nodiscard]] auto gradients() const -> std::uint64_t { return warm_up == 0 || local_steps == 1 ? local_steps : 0; }
  [[nodiscard]] static constexpr auto fragments() -> std::size_t { return 1; }
  [[nodiscard]] static constexpr auto overlap() -> std::uint64_t { return 0; }
  [[nodiscard]] static constexpr auto kept() -> double { return 0; }
};

/// Policy: merges that are smaller, more frequent and need not be waited for, as in Streaming DiLoCo.
struct in_fragments {
  static constexpr auto name() -> std::string_view { return "in fragments"; }
  static void visit_options(auto& self, auto&& visit) {
    visit("local steps", self.local_steps, "k: local iterations between two merges of the same fragment");
    visit("parts", self.parts, "P: fragments, which are merged in turn; they divide k");
    visit("delay", self.delay, "o: local iterations that a node makes while a merge is under way; less than k / P");
    visit("share kept", self.share_kept, "a: share of a node's own values in what it goes on from after a merge");
  }
  std::uint64_t local_steps = 4;
  std::size_t parts = 2;
  std::uint64_t delay = 1;
  double share_kept = 0.5;

  /// Throws config_error.
  void check() const {
    detail::check_steps(local_steps);
    if (parts == 0) throw config_error{"a model has at least one fragment, not 0"};
    if (local_steps % parts != 0)
      throw config_error{"merges of " + std::to_string(parts) + " fragments do not divide " +
                         std::to_string(local_steps) + " local steps evenly; take a multiple"};
    if (delay >= local_steps / parts)
      throw config_error{"a merge is under way for fewer local steps than lie between two, " +
                         std::to_string(local_steps / parts) + ", and so not for " + std::to_string(delay)};
    if (!(share_kept >= 0 && share_kept < 1))
      throw config_error{"the share that a node keeps must lie in 0 (included) to 1 (excluded), not " +
                         shortest(share_kept)};
  }
  [[nodiscard]] auto before(std::uint64_t) const -> std::uint64_t { return local_steps / parts; }
  /// Each merge ends `delay` steps after its beginning, so the first takes more.
  [[nodiscard]] auto gradients() const -> std::uint64_t { return delay == 0 ? local_steps / parts : 0; }
  [[nodiscard]] auto fragments() const -> std::size_t { return parts; }
  [[nodiscard]] auto overlap() const -> std::uint64_t { return delay; }
  [[nodiscard]] auto kept() const -> double { return share_kept; }
};

}  // namespace rubato::rhythm
