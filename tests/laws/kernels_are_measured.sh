#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# kernels_are_measured.sh ROOT: the list of bench_update_kernels is complete. bench/kernels/ includes every header of
# algorithm/, server/, problem/ and backend/concepts.hpp that has a kernel (a struct that takes lanes and says its bytes)
# and names the kernel; it includes and names every codec, and every step that has a rule.
set -uo pipefail

headers=$1/include/rubato
measured=$(cat "$1"/bench/kernels/*.cpp "$1"/bench/kernels/*.hpp 2>/dev/null | sed 's#//.*##')
[[ -n $measured ]] || { echo "bench/kernels/ has nothing to measure"; exit 1; }
found=0
broken=0
require() { # require HEADER NAME: both are in bench/kernels/
  local header=${1#"$headers/"}
  found=$((found + 1))
  if ! grep -qxF "#include <rubato/$header>" <<<"$measured"; then
    echo "bench/kernels/ does not include $header, which has $2 to measure"
  elif ! grep -qE "(^|[^A-Za-z0-9_])$2([^A-Za-z0-9_]|\$)" < <(grep -v '^#include' <<<"$measured"); then
    echo "bench/kernels/ does not measure $2, of $header"
  else
    return
  fi
  broken=$((broken + 1))
}
kernels_of() {
  awk '/^struct [a-z0-9_]+ *\{/ { name = $2; lanes = 0; bytes = 0 }
    /operator\(\)\([A-Za-z]+& at\) const/ { lanes = 1 }
    /bytes_per_value\(\) const/ { bytes = 1 }
    /^\};/ { if (name != "" && lanes && bytes) print name; name = "" }' "$1"
}
while IFS= read -r file; do
  for kernel in $(kernels_of "$file"); do require "$file" "$kernel"; done
done < <(find "$headers/algorithm" "$headers/server" "$headers/problem" "$headers/backend/concepts.hpp" -name '*.hpp' 2>/dev/null | sort)
while IFS= read -r file; do require "$file" "$(basename "$file" .hpp)"; done < <(
  grep -lE '(auto|void) encode\(|struct rule( |$)' "$headers"/codec/*.hpp "$headers"/step/*.hpp 2>/dev/null | grep -v '/concepts\.hpp$'
)
((broken == 0)) || exit 1
((found > 0)) || { echo "there is no kernel in include/rubato"; exit 1; }
echo "$found kernels, codecs and steps are measured by bench_update_kernels"
