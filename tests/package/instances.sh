#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# instances.sh LIBRARY COMPILER [FLAG...]: a program that uses rubato::instances compiles, optimised, nothing again that
# the LIBRARY holds of a node type, of the simulator and of graphs; it does not read Eigen; it links, and runs.
set -uo pipefail

library=$1
shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
compile=("$@" -O2 -DRUBATO_USE_INSTANCES=1)

cat >"$work/program.cpp" <<'END'
#include <cstdio>

#include <rubato/instances/eigen.hpp>
#include <rubato/rubato.hpp>

using namespace std::chrono_literals;

template<class Backend>
auto last_loss() -> double {
  auto const problem = rubato::problem::quadratic::random(4, 10, 1);
  auto const result = rubato::simulate<rubato::r_fast<Backend>>(
      rubato::topology::ring(4), problem, {.step = 0.05}, {.link = {.latency = 1ms, .loss = 0.2}}, {.time = 1s});
  return result.history.back().loss;
}

int main() {
  std::printf("%a %a\n", last_loss<rubato::backend::host<double>>(), last_loss<rubato::backend::eigen<double>>());
}
END

"${compile[@]}" -H -c "$work/program.cpp" -o "$work/program.o" 2>"$work/read" || { grep -v '^[.]' "$work/read"; exit 1; }
"${compile[@]}" "$work/program.o" "$library" -o "$work/program" || exit 1

# Functions of a node type and what it stands on, of the simulator, and of graphs and weights.
compiled() {
  local what
  for what in 'any_node::model<rubato::r_fast<rubato::backend::(host|eigen)<double>, [^()]*>::(start|on_patch|on_gradient)' \
    'detail::tracker<rubato::backend::(host|eigen)<double>, [^()]*, rubato::synchrony::free>::(take|change|terms|audit)' \
    'simulator::[a-z_]*' '(topology|mixing)::([a-z_]+|detail::[a-z_]+::[a-z_]+)'; do
    nm -C "$1" | grep -cE " [TW] (unsigned int |void )?rubato::$what\\("
  done
}
mapfile -t of_library < <(compiled "$library")
mapfile -t of_program < <(compiled "$work/program.o")
echo "of r_fast, its tracker, the simulator and graphs the library holds ${of_library[*]} functions, the program ${of_program[*]}"
((of_library[0] >= 4 && of_library[1] >= 2 && of_library[2] >= 10 && of_library[3] >= 10)) || exit 1
[[ ${of_program[*]} == "0 0 0 0" ]] || exit 1
if grep -q '/Eigen/' "$work/read"; then
  echo "rubato/instances/eigen.hpp reads Eigen, which the library needs alone"
  exit 1
fi
"$work/program"
