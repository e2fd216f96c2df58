// SPDX-License-Identifier: MIT
// The rule keeps the sum of the steps and makes x of it: averages of models would be dropped without a word.
// illegal: lazily_projected
// legal:   sgd
// error:   this algorithm also moves x otherwise
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/step/lazily_projected.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/builders.hpp>

using namespace rubato;
auto nodes() -> assembly {
  return assemble<d_psgd<backend::host<double>, step::SUBJECT>>(topology::ring(3), problem::quadratic::random(3, 2, 1),
                                                                {});
}
