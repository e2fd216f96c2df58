// SPDX-License-Identifier: MIT
// Kernels of algorithms that average models: pulls, pairs, pushed sums, references, local work and all-reduces.
#include <rubato/algorithm/a2cid2.hpp>
#include <rubato/algorithm/async_dgd_atc.hpp>
#include <rubato/algorithm/async_model_average.hpp>
#include <rubato/algorithm/choco_sgd.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/deepsqueeze.hpp>
#include <rubato/algorithm/detail/approach.hpp>
#include <rubato/algorithm/detail/batch.hpp>
#include <rubato/algorithm/detail/compressed_tracking.hpp>
#include <rubato/algorithm/detail/mean_step.hpp>
#include <rubato/algorithm/detail/pairwise_core.hpp>
#include <rubato/algorithm/detail/replica_core.hpp>
#include <rubato/algorithm/extra.hpp>
#include <rubato/algorithm/lead.hpp>
#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/algorithm/low_precision_d_psgd.hpp>
#include <rubato/algorithm/noloco.hpp>
#include <rubato/algorithm/osgp.hpp>
#include <rubato/algorithm/prox_dgd.hpp>
#include <rubato/algorithm/qadam.hpp>
#include <rubato/algorithm/rasgp.hpp>
#include <rubato/ledger/floating.hpp>

#include "kernels/family.hpp"

namespace {

using namespace rubato::detail;
using namespace rubato::order;

template<class B>
using sgd = typename rubato::step::sgd::state<B>::rule;

template<class B>
void pulls(bench::family<B>& f) {
  using T = typename B::scalar;
  using enum action;
  f.tables("d_psgd_kernel",
           [](auto& a) { return d_psgd_kernel<T, sgd<B>>{a.in(), a.out(), a.pull(), a.in(), T(1), a.rule()}; });
  f.kernel("d_psgd_atc_descent",
           [](auto& a) { return d_psgd_atc_descent<T, sgd<B>>{a.in(), a.out(), a.in(), T(1), a.rule()}; });
  f.tables("d_psgd_atc_mixing", [](auto& a) { return d_psgd_atc_mixing<T>{a.in(), a.out(), a.pull()}; });
  f.tables("async_dgd_atc_kernel", [](auto& a) {
    return async_dgd_atc_kernel<T, sgd<B>>{a.in(), a.in(), a.out(), a.out(), a.pull(), a.rule()};
  });
  f.tables("gossip_kernel", [](auto& a) {
    return bench::combination<rubato::step::sgd, rubato::ledger::floating, write_model, pull, descend>(a);
  });
  f.tables("noloco_kernel",
           [](auto& a) { return noloco_kernel<T, sgd<B>>{a.in(), a.in(), a.out(), a.pull(), a.rule()}; });
  f.tables("extra_kernel",
           [](auto& a) { return extra_kernel<T, sgd<B>>{a.in(), a.out(), a.pull(), a.out(), a.in(), a.rule()}; });
  f.tables("prox_dgd_kernel", [](auto& a) {
    auto const map = rubato::prox::l1{0.01}.template with<T>(0.01);
    return prox_dgd_kernel<T, sgd<B>, std::remove_const_t<decltype(map)>>{a.in(), a.out(),  a.pull(),
                                                                          a.in(), a.rule(), map};
  });
}

template<class B>
void pairs_and_sums(bench::family<B>& f) {
  using T = typename B::scalar;
  auto const half = T(0.5);
  f.kernel("finite_kernel", [](auto& a) { return finite_kernel<T>{a.in()}; });
  f.kernel("approach_kernel", [=](auto& a) { return approach_kernel<T>{a.in(), a.in(), a.in(), a.out(), half}; });
  f.kernel("mix_and_descend_kernel", [=](auto& a) {
    return mix_and_descend_kernel<T, sgd<B>>{a.in(), a.out(), a.out(), a.in(), half, a.rule()};
  });
  f.kernel("mix_and_approach_kernel",
           [=](auto& a) { return mix_and_approach_kernel<T>{a.in(), a.out(), a.out(), a.in(), a.in(), half, half}; });
  f.kernel("descend_and_share_kernel", [=](auto& a) {
    return descend_and_share_kernel<T, sgd<B>>{a.out(), a.in(), a.out(), half, T(1), a.rule()};
  });
  f.kernel("share_more_kernel", [=](auto& a) { return share_more_kernel<T>{a.out(), a.in(), a.out(), half, T(1)}; });
  f.tables("merge_kernel", [=](auto& a) {
    std::vector<T const*> came;
    for (std::size_t j = 0; j < a.degree(); ++j) came.push_back(a.in());
    return merge_kernel<T>{a.out(), a.out(), half, a.table(came)};
  });
  f.tables("push_sums_kernel", [=](auto& a) {
    std::vector<sum_source<double>> came;
    for (std::size_t j = 0; j < a.degree(); ++j) came.push_back({a.template in<double>(), a.template in<double>()});
    return push_sums_kernel<T, sgd<B>>{a.out(), a.in(),  a.template in<double>(), a.template out<double>(),
                                       half,    T(1),    a.table(came),           half,
                                       a.out(), a.rule()};
  });
}

template<class B>
void references(bench::family<B>& f) {
  using T = typename B::scalar;
  auto const half = T(0.5);
  f.tables("reference_mix_kernel",
           [=](auto& a) { return reference_mix_kernel<T>{a.in(), a.in(), a.out(), a.models(half)}; });
  f.tables("difference_kernel", [=](auto& a) {
    return rubato::detail::difference_kernel<T, sgd<B>>{a.in(), a.in(), a.out(), half, a.models(half), a.rule()};
  });
  f.kernel("squeezed_step_kernel",
           [](auto& a) { return squeezed_step_kernel<T, sgd<B>>{a.in(), a.in(), a.in(), a.out(), a.out(), a.rule()}; });
  f.kernel("lead_step_kernel", [](auto& a) {
    return lead_step_kernel<T, sgd<B>>{a.in(), a.in(), a.in(), a.in(), a.out(), a.out(), a.rule()};
  });
  f.kernel("lead_mix_kernel",
           [=](auto& a) { return lead_mix_kernel<T>{a.in(), a.in(), a.out(), a.out(), half, half}; });
  f.kernel("said_kernel", [=](auto& a) { return said_kernel<T>{a.in(), a.out(), a.out(), half}; });
  f.kernel("heard_kernel", [=](auto& a) { return heard_kernel<T>{a.in(), a.out(), a.in(), a.out(), half, half}; });
  f.kernel("towards_kernel", [=](auto& a) { return towards_kernel<T>{a.in(), a.in(), a.out(), half}; });
  f.kernel("from_reference_kernel", [](auto& a) { return from_reference_kernel<T>{a.in(), a.in(), a.out()}; });
  f.kernel("compressed_tracking_kernel", [=](auto& a) {
    return compressed_tracking_kernel<T, sgd<B>>{a.in(), a.out(), a.in(),  a.in(),  a.in(), a.in(), a.in(),
                                                 a.in(), a.out(), a.out(), a.out(), half,   T(1),   a.rule()};
  });
}

template<class B>
void local_work_and_means(bench::family<B>& f) {
  using T = typename B::scalar;
  auto const half = T(0.5);
  f.kernel("correction_kernel", [](auto& a) { return correction_kernel<T>{a.in(), a.in(), a.in(), a.out()}; });
  f.kernel("local_work_kernel", [](auto& a) { return local_work_kernel<T>{a.in(), a.in(), a.out()}; });
  f.kernel("kept_share_kernel", [=](auto& a) { return kept_share_kernel<T>{a.in(), a.in(), a.out(), half}; });
  f.kernel("own_momentum_kernel", [=](auto& a) { return own_momentum_kernel<T>{a.in(), a.in(), a.out(), half, half}; });
  f.kernel("mean_step_kernel",
           [=](auto& a) { return mean_step_kernel<T, sgd<B>>{a.in(), a.in(), a.out(), half, a.rule()}; });
  f.kernel("sum_kernel", [](auto& a) { return sum_kernel<T>{a.in(), a.in(), a.out()}; });
}

bench::added const averaging{"averaging", [](auto& f) {
                               pulls(f);
                               pairs_and_sums(f);
                               references(f);
                               local_work_and_means(f);
                             }};

}  // namespace
