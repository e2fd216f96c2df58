// SPDX-License-Identifier: MIT
// Whole local iterations through the API of nodes: r_fast with its buffers, tables and messages, in both ledgers.
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/ledger/floating.hpp>

#include "kernels/family.hpp"
#include "support/tree_node.hpp"

namespace {

template<class Ledger, class B>
void local_iteration(bench::family<B>& f, std::string const& name) {
  f.call(
      name,
      [](auto& a) -> bench::prepared {
        using node = bench::tree_node<B, Ledger>;
        auto const k = a.degree();
        auto const d = bench::degrees{k, k, k};
        auto& its = a.template keep<node>([&] { return node{a.backend(), d, a.n()}; });
        return {[&its] { static_cast<void>(its.step()); }, static_cast<double>(4 * d.vectors() * a.n())};
      },
      true);
}

bench::added const nodes{"nodes", []<class B>(bench::family<B>& f) {
                           if constexpr (sizeof(typename B::scalar) == 4) {
                             local_iteration<rubato::ledger::fixed_point>(f, "r_fast:fixed_point");
                             local_iteration<rubato::ledger::floating>(f, "r_fast:floating");
                           }
                         }};

}  // namespace
