// SPDX-License-Identifier: MIT
// Kernels of servers and of what is done to gradients before they are sent.
#include <rubato/problem/clipped.hpp>
#include <rubato/server/delay_compensated.hpp>
#include <rubato/server/delayed_nesterov.hpp>
#include <rubato/server/detail/sum_of_table.hpp>
#include <rubato/server/detail/worker_means.hpp>
#include <rubato/server/fresh_half.hpp>
#include <rubato/server/local_steps.hpp>
#include <rubato/server/mixed_models.hpp>
#include <rubato/server/newest_of_each.hpp>

#include "kernels/family.hpp"

namespace {

using namespace rubato::server::detail;

bench::added const servers{
    "servers", []<class B>(bench::family<B>& f) {
      using T = typename B::scalar;
      auto const half = T(0.5);
      f.kernel("fold_kernel",
               [=](auto& a) { return fold_kernel<T>{a.in(), a.out(), a.out(), T(1), half, half, false}; });
      f.tables("sum_of_table_kernel", [=](auto& a) {
        std::vector<table_entry<T>> entries;
        for (std::size_t j = 0; j < a.degree(); ++j) entries.push_back({a.in(), half});
        return sum_of_table_kernel<T>{a.table(entries), a.out()};
      });
      f.kernel("mix_kernel", [=](auto& a) { return mix_kernel<T>{a.in(), a.in(), a.out(), half}; });
      f.kernel("difference_kernel",
               [](auto& a) { return rubato::server::detail::difference_kernel<T>{a.in(), a.in(), a.out()}; });
      f.kernel("replace_kernel", [=](auto& a) { return replace_kernel<T>{a.in(), a.in(), a.out(), half, half}; });
      f.kernel("local_step_kernel",
               [=](auto& a) { return local_step_kernel<T>{a.in(), a.in(), a.out(), a.out(), half, half, false}; });
      f.kernel("compensate_kernel", [=](auto& a) {
        return compensate_kernel<T>{a.in(), a.in(), a.in(), a.out(), nullptr, half, half, half};
      });
      f.kernel("compensate_kernel:adaptive", [=](auto& a) {
        return compensate_kernel<T>{a.in(), a.in(), a.in(), a.out(), a.out(), half, half, half};
      });
      f.kernel("delayed_nesterov_kernel", [=](auto& a) {
        return delayed_nesterov_kernel<T>{a.in(), a.out(), a.out(), a.out(), half, half, half, half, true};
      });
      f.kernel("clamp_kernel", [=](auto& a) { return rubato::problem::detail::clamp_kernel<T>{a.out(), half}; });
    }};

}  // namespace
