// SPDX-License-Identifier: MIT
// Every step rule, in the kernel that moves x along a mean: what a rule costs beside sgd is what it reads and writes.
#include <rubato/algorithm/detail/mean_step.hpp>
#include <rubato/algorithm/detail/shared_step.hpp>
#include <rubato/algorithm/prox.hpp>
#include <rubato/step/adam.hpp>
#include <rubato/step/clipped_by_norm.hpp>
#include <rubato/step/clipped_by_value.hpp>
#include <rubato/step/decayed.hpp>
#include <rubato/step/lazily_projected.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/step/proximal.hpp>
#include <rubato/step/sgd.hpp>

#include "kernels/family.hpp"

namespace {

namespace step = rubato::step;

template<class Step, class B>
void moved_by(bench::family<B>& f, std::string const& name, Step const& of = Step{}) {
  using T = typename B::scalar;
  f.kernel(name, [=](auto& a) {
    auto const rule = a.rule(of);
    return rubato::detail::mean_step_kernel<T, std::remove_const_t<decltype(rule)>>{a.in(), a.in(), a.out(), T(0.5),
                                                                                    rule};
  });
}

bench::added const steps{"steps", []<class B>(bench::family<B>& f) {
                           using T = typename B::scalar;
                           moved_by<step::sgd>(f, "sgd");
                           moved_by<step::momentum>(f, "momentum");
                           moved_by(f, "momentum:nesterov", step::momentum{0.9, step::momentum_form::nesterov});
                           moved_by<step::adam>(f, "adam");
                           moved_by<step::decayed<step::sgd>>(f, "decayed");
                           moved_by<step::clipped_by_value<step::sgd>>(f, "clipped_by_value");
                           moved_by<step::clipped_by_norm<step::sgd>>(f, "clipped_by_norm");
                           moved_by<step::lazily_projected>(f, "lazily_projected");
                           moved_by<step::proximal<rubato::prox::l1>>(f, "proximal");
                           f.kernel("shared_rule:adam", [](auto& a) {
                             auto const rule = a.rule(step::adam{});
                             using scaled = rubato::detail::shared_rule<std::remove_const_t<decltype(rule)>, T>;
                             return rubato::detail::mean_step_kernel<T, scaled>{
                                 a.in(), a.in(), a.out(), T(0.5), {rule, T(2)}};
                           });
                         }};

}  // namespace
