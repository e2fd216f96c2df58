// SPDX-License-Identifier: MIT
// How a unit of bench/kernels/ names its kernels. One of your own takes ten lines: bench/kernels/own.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include <rubato/algorithm/detail/gossip_kernel.hpp>

#include "kernels/arena.hpp"
#include "kernels/backends.hpp"
#include "kernels/list.hpp"

namespace bench {

/// All streams of a gossip kernel: any run of actions, step and ledger, with `degree` neighbours in each direction.
template<class Step, class Ledger, rubato::order::action... Actions, class Arena>
auto combination(Arena& a, Step const& step = Step{}) {
  using T = typename Arena::scalar;
  using U = typename Ledger::template value<T>;
  constexpr auto tracks = ((Actions == rubato::order::action::track) || ...);
  rubato::detail::gossip_streams<T, U> s;
  s.x = a.in();
  s.x_new = a.out();
  if (!rubato::order::actions_of<Actions...>::model_is_x()) s.model = a.out();
  s.w = a.pull();
  if constexpr (tracks) s.t = a.template track<U>();
  else s.g = a.in();
  auto const rule = a.rule(step);
  auto const ledger = a.template arithmetic<Ledger>();
  using rule_type = std::remove_const_t<decltype(rule)>;
  using arithmetic = std::remove_const_t<decltype(ledger)>;
  return rubato::detail::gossip_kernel<T, U, arithmetic, rule_type, tracks, Actions...>{s, ledger, rule};
}

/// The kernels of one family on backend B; names are family/kernel.
template<class B>
class family {
 public:
  using T = typename B::scalar;

  explicit family(std::string name) : name_{std::move(name)} {}

  /// A kernel: make(arena) gives it, with its pointers. On the host it is made once, on a device for each call, since
  /// tables travel with a call there, as they do in nodes.
  template<class Make>
  void kernel(std::string const& name, Make make) {
    add(name, false, std::move(make));
  }
  /// One whose tables have an entry a neighbour.
  template<class Make>
  void tables(std::string const& name, Make make) {
    add(name, true, std::move(make));
  }
  /// Anything else: prepare(arena) gives what a call does.
  template<class Prepare>
  void call(std::string const& name, Prepare prepare, bool takes_degree = false) {
    auto& e = all_entries().emplace_back();
    e.name = name_ + "/" + name + "/" + std::string{B::name()} + (sizeof(T) == 4 ? "/float" : "/double");
    e.family = name_;
    e.backend = B::name();
    e.takes_degree = takes_degree;
    e.prepare = [prepare = std::move(prepare)](std::size_t n, std::size_t degree) {
      auto& a = arena_of<B>(n);
      a.begin(degree);
      return prepare(a);
    };
    if constexpr (requires(B& b) { b.wait(); }) {
      e.wait = [] { last_backend().wait(); };
      e.copy = [](double bytes) { return copy_speed(bytes); };
    }
  }

 private:
  static auto last_backend() -> B& { return static_cast<arena<B>*>(detail::last.it.get())->backend(); }

  template<class Make>
  void add(std::string const& name, bool takes_degree, Make make) {
    call(
        name,
        [make = std::move(make)](arena<B>& a) -> prepared {
          a.count_on_host(true);
          auto const first = make(a);
          auto const bytes = static_cast<double>(a.n() * first.bytes_per_value());
          a.count_on_host(false);
          auto const all = rubato::range{0, a.n()};
          if constexpr (rubato::backend::has_host_twin<B>) {
            return {[&a, make, all] {
                      a.rewind();
                      auto const now = make(a);
                      a.backend().sweep(all, now);
                    },
                    bytes};
          } else {
            return {[&a, first, all] {
                      auto const now = first;  // as in a node, where no store can change the kernel
                      a.backend().sweep(all, now);
                    },
                    bytes};
          }
        },
        takes_degree);
  }

  /// On a device: a copy by a sweep, ten calls that are waited for together.
  static auto copy_speed(double bytes) -> double {
    B b;
    auto const n = static_cast<std::size_t>(bytes / (2 * sizeof(T))) + 1;
    auto x = rubato::backend::zeros<T>(b, n), y = rubato::backend::zeros<T>(b, n);
    double best = 0;
    for (int round = 0; round < 5; ++round) {
      auto const begin = std::chrono::steady_clock::now();
      for (int k = 0; k < 10; ++k) b.sweep({0, n}, rubato::backend::copy_kernel<T>{std::as_const(x).data(), y.data()});
      if constexpr (requires { b.wait(); }) b.wait();
      auto const took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / 10;
      auto const speed = static_cast<double>(2 * sizeof(T) * n) / took;
      if (speed > best) best = speed;
    }
    return best;
  }

  std::string name_;
};

/// Adds a family for the backend of this unit, in float and in double: fill(family<B>&).
struct added {
  template<class Fill>
  added(std::string const& name, Fill const& fill) {
    auto of_floats = family<chosen<float>>{name};
    auto of_doubles = family<chosen<double>>{name};
    fill(of_floats);
    fill(of_doubles);
  }
};

}  // namespace bench
