// SPDX-License-Identifier: MIT
// Node types can be named before they are known, with the defaults that they have when they are.
#include <rubato/fwd.hpp>

#include <type_traits>

#include <rubato/backend/host.hpp>

namespace rubato::test {
namespace {

using in_float = backend::host<float>;
using in_double = backend::host<double>;

struct names_of_nodes {  // none of them is complete here
  r_fast<in_float>* tracks = nullptr;
  server_sgd<in_double>* serves = nullptr;
  gossip<in_double, void>* gossips = nullptr;
};
static_assert(std::is_same_v<r_fast<in_float>, r_fast<in_float, step::sgd, weighting::constant, ledger::fixed_point>>);
static_assert(std::is_same_v<push_pull<in_double>, push_pull<in_double, step::sgd, ledger::floating>>);

}  // namespace
}  // namespace rubato::test

#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/server_sgd.hpp>

namespace rubato::test {
namespace {

static_assert(node<r_fast<in_float>> && node<push_pull<in_double>> && node<server_sgd<in_double>>);
static_assert(std::is_default_constructible_v<names_of_nodes>);

}  // namespace
}  // namespace rubato::test
