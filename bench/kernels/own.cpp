// SPDX-License-Identifier: MIT
// A combination of your own in ten lines: any actions, step and ledger, or any kernel, on all backends and sizes.
//   bench_update_kernels --benchmark_filter=^own/
#include <rubato/ledger/floating.hpp>
#include <rubato/step/adam.hpp>

#include "kernels/family.hpp"

static bench::added const own{"own", [](auto& f) {
                                using enum rubato::order::action;
                                f.tables("adam_after_the_pull", [](auto& a) {
                                  return bench::combination<rubato::step::adam, rubato::ledger::floating, track,
                                                            consume, push, pull, descend, write_model>(a);
                                });
                              }};
