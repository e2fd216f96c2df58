// SPDX-License-Identifier: MIT
// Kernels of algorithms that track gradients, in both ledgers, and what a ledger owes when edges close.
#include <rubato/algorithm/detail/debt.hpp>
#include <rubato/algorithm/detail/wide_total.hpp>
#include <rubato/algorithm/dsgt.hpp>
#include <rubato/algorithm/push_diging.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>

#include "kernels/family.hpp"

namespace {

using namespace rubato::detail;
using namespace rubato::order;

template<class Ledger, class B>
void in_ledger(bench::family<B>& f) {
  using T = typename B::scalar;
  using U = typename Ledger::template value<T>;
  using arithmetic = typename Ledger::template arithmetic<T>;
  using rule = typename rubato::step::sgd::state<B>::rule;
  using enum action;
  auto const named = [](std::string const& kernel) { return kernel + (Ledger::exact ? ":fixed_point" : ":floating"); };
  auto const in = [](auto& a) { return a.template arithmetic<Ledger>(); };
  f.tables(named("r_fast_kernel"), [=](auto& a) {
    return r_fast_kernel<T, U, arithmetic, rule>{a.in(), a.out(), a.out(), a.pull(), a.template track<U>(),
                                                 in(a),  a.rule()};
  });
  f.tables(named("gossip_kernel"), [](auto& a) {
    return bench::combination<rubato::step::sgd, Ledger, track, consume, push, descend, write_model, pull>(a);
  });
  f.tables(named("dsgt_descent"), [=](auto& a) {
    return dsgt_descent<T, U, arithmetic, rule>{a.in(), a.out(), a.template track<U>(), in(a), a.rule()};
  });
  f.tables(named("dsgt_mixing"), [=](auto& a) {
    return dsgt_mixing<T, U, arithmetic>{a.in(), a.out(), a.pull(), a.template track<U>(), in(a)};
  });
  f.tables(named("push_diging_mixing"), [=](auto& a) {
    return push_diging_mixing<T, U, arithmetic>{a.in(), a.out(), a.out(), T(0.5), a.pull(), a.template track<U>(),
                                                in(a)};
  });
  f.tables(named("push_pull_descent"), [=](auto& a) {
    return push_pull_descent<T, U, arithmetic, rule>{a.in(), a.out(), a.template track<U>(), in(a), a.rule()};
  });
  f.tables(named("push_pull_tracking"),
           [=](auto& a) { return push_pull_tracking<T, U, arithmetic>{a.template track<U>(), in(a)}; });
  f.tables(named("s_ab_move"), [=](auto& a) {
    return s_ab_move<T, U, arithmetic, rule>{a.in(), a.out(), a.pull(), a.template track<U>(), in(a), a.rule()};
  });
  f.tables(named("s_ab_tracking"),
           [=](auto& a) { return s_ab_tracking<T, U, arithmetic>{a.template track<U>(), in(a)}; });
  f.kernel(named("release_debt_kernel"),
           [](auto& a) { return release_debt_kernel<U>{a.template out<double>(), a.template out<U>(), 1e-3, 100}; });
}

bench::added const tracking{
    "tracking", []<class B>(bench::family<B>& f) {
      using T = typename B::scalar;
      in_ledger<rubato::ledger::fixed_point>(f);
      in_ledger<rubato::ledger::floating>(f);
      f.tables("push_pull_mixing", [](auto& a) { return push_pull_mixing<T>{a.in(), a.out(), a.pull()}; });
      using word = std::int32_t;
      f.kernel("refresh_high_kernel",
               [](auto& a) { return refresh_high_kernel{a.template in<word>(), a.template out<word>()}; });
      f.kernel("settle_total_kernel", [](auto& a) {
        return settle_total_kernel{a.template in<word>(), a.template in<word>(), a.template out<double>(), 1};
      });
      f.kernel("settle_plain_kernel",
               [](auto& a) { return settle_plain_kernel<T>{a.in(), a.template out<double>(), 1}; });
    }};

}  // namespace
