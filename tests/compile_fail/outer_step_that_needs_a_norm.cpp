// SPDX-License-Identifier: MIT
// An outer step moves fragments of the model one by one, so the norm of the whole is not known.
// illegal: step::clipped_by_norm<>
// legal:   step::momentum
// error:   an outer step has a rate and a rule, and the rule is a step policy that needs no norm of its direction
#include <rubato/algorithm/local_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/step/clipped_by_norm.hpp>
#include <rubato/step/momentum.hpp>

using namespace rubato;
struct own {
  static constexpr auto name() -> std::string_view { return "own"; }
  static void visit_options(auto&, auto&&) {}
  double rate = 1;
  SUBJECT rule{};
};
template class rubato::local_sgd<backend::host<float>, own>;
