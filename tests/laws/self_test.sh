#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# self_test.sh ROOT COMPILER [FLAG...]: each law passes a small lawful tree, and fails once a violation is planted in it.
set -uo pipefail

root=$1
shift
laws=$root/tests/laws
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failures=0

write() { # write FILE: standard input, in the tree under test
  mkdir -p "$(dirname "$folder/tree/$1")"
  cat >"$folder/tree/$1"
}

lawful_tree() {
  rm -rf "$folder/tree"
  echo '#define RUBATO_VERSION_MAJOR 0' | write include/rubato/version.hpp
  printf '// no <thread> in this comment\n#include <vector>\n' | write include/rubato/core/ids.hpp
  printf '#include <atomic>\n#include <mutex>\n' | write include/rubato/core/shared_buffer.hpp
  printf '#include <Eigen/Core>\n#include <rubato/core/ids.hpp>\n' | write include/rubato/backend/eigen.hpp
  printf '#include <thread>\n#include <rubato/algorithm/a.hpp>\n' | write include/rubato/driver/threads.hpp
  printf '#include <rubato/run/metrics.hpp>\n' | write include/rubato/report/csv.hpp
  printf '//   (A.S1) x <- x - g\n#pragma once\n#include <rubato/version.hpp>\nint f(); // (A.S1)\nclass a {};\n' | write include/rubato/algorithm/a.hpp
  printf 'TEST_CASE("(A.S1) descends") {}\n' | write tests/unit/a.cpp
  printf '#pragma once\n#include <rubato/version.hpp>\n#include <rubato/core/ids.hpp>\n#include <rubato/algorithm/a.hpp>\n' | write include/rubato/rubato.hpp
  printf '    catalogue_row<a<B>>{"a", 0.1},\n' | write examples/support/catalogue.hpp
  printf '  RUBATO_NODE_INSTANCE(HOW, a<backend::host<double>>)\n' | write tests/support/catalogue_instances.hpp
  echo | write include/rubato/instances.hpp
  printf '## Algorithms\n\n| name |\n| --- |\n| `a` | `no_name` |\n\n## Words\n\n| `no_algorithm` |\n\n[page](include/rubato/A.md#some-words)\n' | write README.md
  printf 'struct k_kernel {\n  void operator()(At& at) const;\n  auto bytes_per_value() const -> int;\n};\n' | write include/rubato/server/k.hpp
  printf '#include <rubato/server/k.hpp>\nk_kernel all;\n' | write bench/kernels/k.cpp
  printf '# Some words\n\n[back](../../README.md#algorithms) [there](https://example.org)\n' | write include/rubato/A.md
}

# expect WANTED WHAT COMMAND...: WANTED is pass or fail.
expect() {
  local wanted=$1 what=$2 got=pass
  shift 2
  "$@" >"$folder/log" 2>&1 || got=fail
  if [[ $got == "$wanted" ]]; then
    echo "as it should be: $what: $got"
  else
    echo "WRONG: $what: $got, not $wanted"
    cat "$folder/log"
    failures=$((failures + 1))
  fi
}

# plant LAW WHAT FILE TEXT [FILE TEXT...]: the law fails when each TEXT is added to its FILE of the lawful tree.
plant() {
  local law=$1 what=$2
  shift 2
  lawful_tree
  while (($# > 0)); do
    mkdir -p "$(dirname "$folder/tree/$1")"
    printf '%b\n' "$2" >>"$folder/tree/$1"
    shift 2
  done
  expect fail "$what" bash "$laws/$law.sh" "$folder/tree" "${arguments[@]}"
}

arguments=()
lawful_tree
for law in include_graph formula_labels file_size names_have_files options_have_meanings page_links kernels_are_measured; do
  expect pass "a lawful tree under $law" bash "$laws/$law.sh" "$folder/tree"
done
printf '// (A.S1) is what\n// this shows\nTEST_CASE("descends") {}\n' >"$folder/tree/tests/unit/a.cpp"
expect pass "a label in the comment directly above a test" bash "$laws/formula_labels.sh" "$folder/tree"
plant include_graph "the maths includes <thread>" include/rubato/step/sgd.hpp '#include <thread>'
plant include_graph "the maths includes <atomic>, spelt with blanks" include/rubato/step/sgd.hpp ' #  include  <atomic>'
plant include_graph "the maths reads a clock" include/rubato/core/ids.hpp 'auto t = std::chrono::steady_clock::now();'
plant include_graph "the maths reads a random device" include/rubato/problem/q.hpp 'std::random_device entropy;'
plant include_graph "the maths includes the simulator" include/rubato/algorithm/b.hpp '#include <rubato/driver/simulator.hpp>'
plant include_graph "an internal header outside of detail" include/rubato/topology/ring.hpp 'namespace rubato::detail {'
plant include_graph "a public name in detail" include/rubato/topology/detail/ring.hpp 'namespace rubato {'
plant include_graph "a topology includes an algorithm" include/rubato/topology/ring.hpp '#include <rubato/algorithm/a.hpp>'
plant include_graph "a report includes the threads driver" include/rubato/report/csv.hpp '#include <rubato/driver/threads.hpp>'
plant include_graph "the maths includes the whole" include/rubato/step/sgd.hpp '#include <rubato/rubato.hpp>'
plant include_graph "Eigen in a file of another name" include/rubato/backend/host.hpp '#include <Eigen/Dense>'
plant include_graph "the whole includes the Eigen backend" include/rubato/rubato.hpp '#include <rubato/backend/eigen.hpp>'
plant include_graph "a JSON library in a file of another name" include/rubato/report/csv.hpp '#include <nlohmann/json.hpp>'
plant include_graph "a header of Asio in a header without" include/rubato/run/x.hpp '#include <rubato/transport/tcp.hpp>'
plant include_graph "zlib in a file of another name" include/rubato/wire/frame.hpp '#include <zlib.h>'
plant include_graph "xxHash in a file of another name" include/rubato/wire/frame.hpp '#include <xxhash.h>'
plant include_graph "a transport includes a driver" include/rubato/transport/tcp.hpp '#include <rubato/run/result.hpp>'
plant include_graph "a run includes a driver" include/rubato/run/x.hpp '#include <rubato/driver/threads.hpp>'
plant include_graph "an environment includes a run" include/rubato/environment/x.hpp '#include <rubato/run/result.hpp>'
plant include_graph "an unknown library" include/rubato/run/x.hpp '#include <fmt/format.h>'
plant include_graph "an include in quotes" include/rubato/run/x.hpp '#include "threads.hpp"'
plant include_graph "a folder nobody listed" include/rubato/misc/x.hpp 'int x();'
plant formula_labels "a formula without code" include/rubato/algorithm/b.hpp '// (B.S1) x <- y\nint g();'
plant formula_labels "a formula without a test" include/rubato/algorithm/b.hpp '// (B.S1) x <- y\nint g(); // (B.S1)'
plant formula_labels "a formula that a test file speaks of, and no test" tests/unit/b.cpp '// (B.S1) and no TEST_CASE\n\nTEST_CASE("b") {\n  f(); // (B.S1)\n}\n// (B.S1)' include/rubato/algorithm/b.hpp '// (B.S1) x <- y\nint g(); // (B.S1)'
plant formula_labels "code that names no formula" include/rubato/algorithm/b.hpp '// b\nint g(); // (A.S9)'
row_of_b=(examples/support/catalogue.hpp '    catalogue_row<b<B>>{"b", 0.1},')
instance_of_b=(tests/support/catalogue_instances.hpp '  RUBATO_NODE_INSTANCE(HOW, b<backend::host<double>>)')
all_of_b=(README.md '## Algorithms\n| `b` |' include/rubato/algorithm/b.hpp 'class b {};' include/rubato/rubato.hpp '#include <rubato/algorithm/b.hpp>' "${row_of_b[@]}")
plant names_have_files "a name without a file" README.md '## Algorithms\n| `b` |' "${row_of_b[@]}"
plant names_have_files "a file that does not declare its name" README.md '## Algorithms\n| `a`, `b` |' include/rubato/algorithm/b.hpp '// b' include/rubato/rubato.hpp '#include <rubato/algorithm/b.hpp>' "${row_of_b[@]}"
plant names_have_files "an algorithm that README's table lacks" "${row_of_b[@]}"
plant names_have_files "an algorithm under another's name" examples/support/catalogue.hpp '    catalogue_row<b<B>>{"a", 0.1},'
plant names_have_files "an algorithm that has no instance for tests" "${all_of_b[@]}"
plant names_have_files "an instance that the catalogue lacks" "${instance_of_b[@]}"
plant names_have_files "an instance that is there twice" "${all_of_b[@]}" "${instance_of_b[@]}" "${instance_of_b[@]}"
plant names_have_files "a row of the catalogue in another form" examples/support/catalogue.hpp '    catalogue_row<b<B, int>>{"b", 0.1},'
plant names_have_files "a row of README's table in another form" README.md '## Algorithms\n| b |'
plant names_have_files "a name that rubato.hpp does not include" README.md '## Algorithms\n| `b` |' include/rubato/algorithm/b.hpp 'using b = a;' "${row_of_b[@]}"
meaning='static void visit_options(auto& self, auto&& visit) { visit("beta", self.beta_, "a share");'
plant options_have_meanings "an option without a meaning" include/rubato/step/b.hpp "$meaning visit(\"form\", self.form_); }"
plant options_have_meanings "a policy without a meaning, after one that has it" include/rubato/step/b.hpp "$meaning\n visit(\"rule\", of(self)); }"
plant options_have_meanings "an option in a form that the law cannot read" include/rubato/step/b.hpp "$meaning visit(name_of(self), self.form_, \"x\"); }"
plant options_have_meanings "an option whose value is computed" include/rubato/step/b.hpp "$meaning visit(\"form\", self.forms_[0], \"x\"); }"
plant options_have_meanings "a list of options in another form" include/rubato/step/b.hpp 'template<class V> static void visit_options(V const& v) { v("form", 1); }'
plant page_links "a link to no file" include/rubato/A.md '[x](B.md)'
plant page_links "a link to no heading" include/rubato/A.md '[x](../../README.md#numbers)'
plant page_links "a page that README does not link" examples/B.md 'words'
plant page_links "a page with a line of 121 columns" include/rubato/A.md "$(printf 'x%.0s' {1..121})"
kernel='  void operator()(Lanes& at) const;\n  auto bytes_per_value() const -> int;\n};'
plant kernels_are_measured "a kernel that is not measured" include/rubato/server/k.hpp "struct b_kernel {\n$kernel"
plant kernels_are_measured "a kernel that only a comment names" include/rubato/server/k.hpp "struct b_kernel {\n$kernel" bench/kernels/k.cpp '// b_kernel'
plant kernels_are_measured "a kernel of a file that is not included" include/rubato/algorithm/b.hpp "struct b_kernel {\n$kernel" bench/kernels/k.cpp 'b_kernel b;'
plant kernels_are_measured "a codec that is not measured" include/rubato/codec/b.hpp 'void encode(int);'
plant file_size "a file of 701 lines" include/rubato/core/long.hpp "$(printf '//\\n%.0s' {1..701})"

# Where there is no clang-format 19 only the length of lines is looked at, and the law ends with 77.
rm -rf "$folder/tree"
mkdir -p "$folder/tree" && cp "$root/.clang-format" "$folder/tree/"
printf '#pragma once\nint f(int a);\n' | write include/rubato/core/ids.hpp
bash "$laws/format.sh" "$folder/tree" >"$folder/log" 2>&1
status=$?
((status == 77)) || expect pass "a formatted tree under format" test "$status" -eq 0
printf '#pragma once\n// %0130d\n' 0 | write include/rubato/core/ids.hpp
expect fail "a line of 133 columns" bash "$laws/format.sh" "$folder/tree"
if ((status != 77)); then
  printf '#pragma once\nint f( int a );\n' | write include/rubato/core/ids.hpp
  expect fail "a file that is not formatted" bash "$laws/format.sh" "$folder/tree"
fi

arguments=("$@")
lawful_tree
rm -r "$folder/tree/include/rubato/backend" "$folder/tree/include/rubato/report"
expect pass "a lawful tree under macros" bash "$laws/macros.sh" "$folder/tree" "$@"
printf '#define RUBATO_A 1\n#define HELPER 1\n#undef HELPER\n' | write include/rubato/core/ids.hpp
expect pass "a macro that is taken back, under macros" bash "$laws/macros.sh" "$folder/tree" "$@"
printf '#define HELPER(x) x\n' | write include/rubato/core/ids.hpp
expect fail "a macro that leaks" bash "$laws/macros.sh" "$folder/tree" "$@"

lawful_tree
with_tree=("$1" "-I$folder/tree/include" "${@:2}")
expect pass "a small header under preprocessed_size" bash "$laws/preprocessed_size.sh" "$folder/tree" "${with_tree[@]}"
for ((k = 0; k < 40000; ++k)); do echo "int padding_of_the_umbrella_header_${k}(int, int, int);"; done >>"$folder/tree/include/rubato/rubato.hpp"
expect fail "a header with 40,000 lines of its own" bash "$laws/preprocessed_size.sh" "$folder/tree" "${with_tree[@]}"

# The commands refuse a system they do not know, and say what is needed.
printf 'ID=plan9\nVERSION_ID="4"\n' >"$folder/os-release"
for command in tests/run examples/demo; do
  expect fail "$command on an unknown system" env RUBATO_OS_RELEASE="$folder/os-release" bash "$root/$command"
  if ! grep -q libeigen3-dev "$folder/log"; then
    echo "WRONG: $command does not say what is needed"
    failures=$((failures + 1))
  fi
done
((failures == 0))
