#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# instances.sh UNIT COMPILER [FLAG...]: a program that uses rubato::instances does not compile again what the library's
# UNIT holds of a node type, links with it, and runs.
set -uo pipefail

unit=$1
shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
compile=("$@" -O0)

cat >"$work/program.cpp" <<'END'
#include <cstdio>

#include <rubato/rubato.hpp>

using namespace std::chrono_literals;

int main() {
  auto const problem = rubato::problem::quadratic::random(4, 10, 1);
  auto const result = rubato::simulate<rubato::r_fast<rubato::backend::host<double>>>(
      rubato::topology::ring(4), problem, {.step = 0.05}, {.link = {.latency = 1ms, .loss = 0.2}}, {.time = 1s});
  std::printf("%a\n", result.history.back().loss);
}
END

"${compile[@]}" -DRUBATO_USE_INSTANCES=1 -c "$work/program.cpp" -o "$work/program.o" &&
  "${compile[@]}" -DRUBATO_USE_INSTANCES=1 -c "$unit" -o "$work/unit.o" &&
  "${compile[@]}" "$work/program.o" "$work/unit.o" -o "$work/program" || exit 1

# Members of the node type and of what it stands on.
compiled() {
  nm -C "$1" | grep -cE ' [TW] rubato::r_fast<rubato::backend::host<double>, [^()]*>::(on_patch|on_gradient|iterate)\('
  nm -C "$1" | grep -cE ' [TW] rubato::detail::tracker<rubato::backend::host<double>, [^()]*, rubato::synchrony::free>::(take|change|terms|audit)\('
}
read -r -d '' node tracker < <(compiled "$work/unit.o")
program_has=$(compiled "$work/program.o" | paste -sd ' ')
echo "of r_fast and its tracker the library's unit holds $node and $tracker functions (3 and 4 at least), the program $program_has"
((node >= 3 && tracker >= 4)) && [[ $program_has == "0 0" ]] || exit 1
"$work/program"
