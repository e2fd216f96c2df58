#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# names_have_files.sh ROOT: each name in the first column of README's table of algorithms has a header of its name, which
# declares it, and which rubato/rubato.hpp includes; the table's names are those of the catalogue; and each of them is
# compiled once for all tests, in tests/support/catalogue_instances.hpp or rubato/instances.hpp.
set -uo pipefail

headers=$1/include/rubato
mapfile -t names < <(awk '/^## / { inside = $2 == "Algorithms" } inside && /^\| `/ { split($0, cell, "|"); print cell[2] }' "$1/README.md" |
  grep -o '`[a-z0-9_]*`' | tr -d '`')
((${#names[@]} > 0)) || { echo "README.md has no table of algorithms"; exit 1; }
broken=0
complain() { echo "$1"; broken=$((broken + 1)); }
for name in "${names[@]}"; do
  file=$headers/algorithm/$name.hpp
  if [[ ! -f $file ]]; then complain "$name, of README's table, has no include/rubato/algorithm/$name.hpp"
  elif ! grep -qE "^(class|using) $name( |\$)" "$file"; then complain "$file does not declare $name"
  elif ! grep -qx "#include <rubato/algorithm/$name.hpp>" "$headers/rubato.hpp"; then complain "rubato.hpp does not include $name.hpp"
  fi
done
catalogue=$1/examples/support/catalogue.hpp
differ=$(diff <(printf '%s\n' "${names[@]}" | sort) \
  <(sed -nE 's/^ *catalogue_row<([a-z0-9_]+)<B>>\{"([a-z0-9_]+)".*/\1 \2/p' "$catalogue" | awk '{ print $1 == $2 ? $1 : $1 " under the name " $2 }' | sort) |
  sed -n "s/^</only README's table has/p; s/^>/only the catalogue has/p")
[[ -z $differ ]] || complain "$differ"
odd=$(grep -E '^ *catalogue_row<' "$catalogue" | grep -vE '^ *catalogue_row<[a-z0-9_]+<B>>\{"[a-z0-9_]+"')
[[ -z $odd ]] || complain "the catalogue has a row in a form that this law cannot read:$odd"
odd=$(awk '/^## / { inside = $2 == "Algorithms" } inside && /^\|/ && !/^\| (name|---) / && !/^\| `[a-z0-9_]+`(, `[a-z0-9_]+`)* \|/' "$1/README.md")
[[ -z $odd ]] || complain "README's table has a row in a form that this law cannot read: $odd"
instances=$(sed -nE 's/^ *RUBATO_NODE_INSTANCE\(HOW, ([a-z0-9_]+)<(backend::host<double>|BACKEND)>\).*/\1/p' \
  "$1/tests/support/catalogue_instances.hpp" "$headers/instances.hpp" | sort)
differ=$(diff <(printf '%s\n' "${names[@]}" | sort) <(echo "$instances") |
  sed -n "s/^</no instance for tests has/p; s/^>/only the instances for tests have/p")
[[ -z $differ ]] || complain "$differ"
((broken == 0)) || exit 1
echo "${#names[@]} algorithms of README's table have a file and a row of the catalogue each"
