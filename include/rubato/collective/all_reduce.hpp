// SPDX-License-Identifier: MIT
// all_reduce: a plain call that replaces a vector by the sum, or the mean, of the vectors of all nodes of a group, for
// users who want nothing else of rubato. All nodes call it equally often, in the same order, with as many values; all
// then hold the same bits.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/collective/choice.hpp>
#include <rubato/collective/detail/steps.hpp>
#include <rubato/collective/port.hpp>

namespace rubato::collective {

enum class result : std::uint8_t { sum, mean };

/// What a caller may set of one call, at all nodes alike.
struct call_options {
  collective::result result = result::sum;
  std::optional<collective::algorithm> by{};  ///< instead of what choose() says
};

namespace detail {

/// The two do not overlap. That is said of the parameters, and rows have a fixed length, so that compilers take whole
/// vectors at -O2 too.
template<class T>
void add(T const* __restrict from, T* __restrict to, std::size_t n) {
  constexpr std::size_t width = 64 / sizeof(T);
  std::size_t i = 0;
  for (; i + width <= n; i += width) {
    for (std::size_t k = 0; k < width; ++k) to[i + k] += from[i + k];
  }
  for (; i < n; ++i) to[i] += from[i];
}

/// However a call ends: nothing reads the caller's vector after it.
template<class Port>
class last_read {
 public:
  explicit last_read(Port& p) : port_{&p} {}
  last_read(last_read const&) = delete;
  auto operator=(last_read const&) -> last_read& = delete;
  ~last_read() {
    if (port_ != nullptr) port_->abandon();
  }
  void has_ended() { port_ = nullptr; }

 private:
  Port* port_;
};

/// One call at one node. Steps are cut into pieces. A piece goes out as soon as all that was to come into its range in
/// earlier steps has come; one that came goes into the vector as soon as what was to go out of its range has gone. So
/// pieces of several steps are under way at once, each summed up, copied and sent while it is in the cache.
template<class Port, class T>
class all_reduce_call {
 public:
  all_reduce_call(Port& p, std::span<T> values, algorithm how)
      : port_{p}, values_{values}, how_{how}, steps_{steps_of(how, p.self(), p.nodes(), values.size())} {
    skip(sent_, &step::out);
    skip(come_, &step::in);
  }

  /// Reads and writes each value at most twice as often as its messages are sent and received.
  void run() {
    while (sent_.step < steps_.size() || come_.step < steps_.size()) {
      auto moved = false;
      while (send_piece()) moved = true;
      while (take_piece()) moved = true;
      if (!moved) port_.wait(awaited(), sent_.step < steps_.size() && !port_.may_send());
    }
  }

 private:
  static constexpr auto channel = element_of<T> == element::f32 ? channel_id::chunk : channel_id::gradient;
  struct place {
    std::size_t step = 0;
    std::size_t done = 0;  // values of its range
  };

  /// Past steps in which nothing goes this way.
  void skip(place& at, range step::* way) const {
    while (at.step < steps_.size() && at.done == (steps_[at.step].*way).size()) at = {at.step + 1, 0};
  }
  [[nodiscard]] auto next(place const& at, range step::* way) const -> range {
    auto const whole = steps_[at.step].*way;
    auto const begin = whole.begin + at.done;
    return {begin, begin + (std::min)(whole.end - begin, port_.piece_values())};
  }
  /// Whether in steps before `limit` anything is still to go this way through that range.
  [[nodiscard]] auto touches(place const& at, range step::* way, std::size_t limit, range piece) const -> bool {
    for (auto s = at.step; s < limit; ++s) {
      auto left = steps_[s].*way;
      if (s == at.step) left.begin += at.done;
      if ((std::max)(left.begin, piece.begin) < (std::min)(left.end, piece.end)) return true;
    }
    return false;
  }

  auto send_piece() -> bool {
    if (sent_.step == steps_.size()) return false;
    auto const piece = next(sent_, &step::out);
    if (touches(come_, &step::in, sent_.step, piece) || !port_.may_send()) return false;
    auto const& now = steps_[sent_.step];
    auto const values = std::span<T const>{values_}.subspan(piece.begin, piece.size());
    // What a node sends is overwritten by a sum that holds it, so after it has arrived; but where whole vectors are
    // swapped, by what the other one had.
    auto body = now.in.empty() || now.in.end <= now.out.begin || now.out.end <= now.in.begin ? port_.body_of(values)
                                                                                             : port_.copy_of(values);
    port_.send(now.to, channel, std::move(body),
               values_.size() | static_cast<std::uint64_t>(how_) << Port::length_bits);
    sent_.done += piece.size();
    skip(sent_, &step::out);
    return true;
  }

  auto take_piece() -> bool {
    if (come_.step == steps_.size()) return false;
    auto const& now = steps_[come_.step];
    auto const piece = next(come_, &step::in);
    if (touches(sent_, &step::out, come_.step + 1, piece)) return false;
    auto const p = port_.receive(now.from);
    if (!p) return false;
    check(*p, piece);
    auto const* const from = p->body.template view<T>().data();
    if (now.adds) add(from, values_.data() + piece.begin, piece.size());
    else std::copy_n(from, piece.size(), values_.data() + piece.begin);
    come_.done += piece.size();
    skip(come_, &step::in);
    return true;
  }

  void check(packet const& p, range piece) const {
    auto const said = p.extra.count(scalar_slot::sample_count).value_or(0);
    auto const by = said >> Port::length_bits;
    auto const length = said & ((std::uint64_t{1} << Port::length_bits) - 1);
    auto const is_alike = by == static_cast<std::uint64_t>(how_) && length == values_.size();
    if (p.channel == channel && is_alike && to_count(p.number) == port_.call() && p.body.size() == piece.size()) return;
    auto const words = [&](std::uint64_t values, channel_id of, std::uint64_t algorithm) {
      auto text = std::to_string(values) + (of == channel_id::chunk ? " floats" : " doubles");
      if (by == static_cast<std::uint64_t>(how_)) return text;
      return text + " by " +
             (algorithm < all_algorithms.size() ? std::string{name_of(all_algorithms[algorithm])} : "?");
    };
    port_.refuse("in call " + std::to_string(port_.call()) + " node " + std::to_string(to_index(p.from)) + " gave " +
                 words(length, p.channel, by) + ", but this node " +
                 words(values_.size(), channel, static_cast<std::uint64_t>(how_)));
  }

  [[nodiscard]] auto awaited() const -> std::size_t {
    return come_.step < steps_.size() ? steps_[come_.step].from : steps_[sent_.step].to;
  }

  Port& port_;
  std::span<T> values_;
  algorithm how_;
  std::vector<step> steps_;
  place sent_, come_;
};

}  // namespace detail

/// Replaces `values` by the sum, or the mean, of those of all nodes, each rounded once an addition. Returns when this
/// node's part is done and sent; the others may not have all of it yet. With no values nothing is sent or waited for.
/// Over TCP values are sent from where they lie, but where whole vectors are swapped. Throws run_error, with a sentence
/// that names the node at fault, if one does not come, dies, or gives another number of values. `values` then holds
/// anything.
template<class Transport, class T>
  requires std::same_as<T, float> || std::same_as<T, double>
void all_reduce(port<Transport>& p, std::span<T> values, call_options const& how = {}) {
  p.begin_call(values.size());
  auto const by = how.by.value_or(choose(p.nodes(), values.size_bytes(), p.costs()));
  auto lent = detail::last_read{p};
  try {
    detail::all_reduce_call<port<Transport>, T>{p, values, by}.run();
    p.end_call();
  } catch (std::bad_alloc const&) {
    p.refuse("there is no memory left for the messages of an all-reduce");
  }
  lent.has_ended();
  if (how.result == result::sum) return;
  auto const n = static_cast<T>(p.nodes());
  for (auto& v : values) v /= n;
}

/// Measures what links cost, by which all_reduce() chooses from then on. All nodes call it together, and all then know
/// the same: means over the nodes. It takes a few dozen small all-reduces and a few of 1 MiB.
template<class Transport>
auto measure_costs(port<Transport>& p) -> link_costs {
  using clock = std::chrono::steady_clock;
  auto const n = p.nodes();
  if (n < 2) return p.costs();
  std::vector<float> values(std::size_t{1} << 18, 1.0F), copy(values);
  auto const seconds = [&](std::span<float> part, int calls) {  // of one all-reduce
    auto best = 1e300;
    for (auto k = 0; k < calls; ++k) {
      auto const begin = clock::now();
      all_reduce(p, part, {.by = algorithm::ring});
      best = (std::min)(best, std::chrono::duration<double>(clock::now() - begin).count());
    }
    return best;
  };
  auto const begin = clock::now();
  for (auto k = 0; k < 4; ++k) detail::add(copy.data(), values.data(), values.size());
  auto const added = std::chrono::duration<double>(clock::now() - begin).count() / 4;
  auto const per = detail::efforts_of(algorithm::ring, n);
  auto const times =
      p.costs().at_once == 0 ? 1.0 : (std::max)(1.0, static_cast<double>(n) / static_cast<double>(p.costs().at_once));
  auto const short_one = seconds(std::span{values}.first(n), 20);
  auto const long_one = seconds(std::span{values}, 5);
  auto const bytes = static_cast<double>(values.size() * sizeof(float));
  auto const rest = (std::max)(long_one - short_one - times * per.path.added * added, 0.0);
  double costs[] = {short_one / (times * per.path.messages), rest / (times * per.path.sent * bytes), added / bytes};
  all_reduce(p, std::span<double>{costs}, {.result = result::mean, .by = algorithm::tree});
  p.set_costs({costs[0], costs[1], costs[2], p.costs().at_once});
  return p.costs();
}

}  // namespace rubato::collective
