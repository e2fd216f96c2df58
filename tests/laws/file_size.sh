#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# file_size.sh ROOT: no source file is longer than 700 lines.
set -uo pipefail

limit=700 count=0 broken=0
for folder in include tests bench examples; do
  [[ -d $1/$folder ]] || continue
  while IFS= read -r file; do
    lines=$(wc -l <"$file")
    count=$((count + 1))
    if ((lines > limit)); then
      echo "$file has $lines lines; $limit are the limit"
      broken=$((broken + 1))
    fi
  done < <(find "$1/$folder" -name '*.[hc]pp' -o -name '*.cu' -o -name '*.cuh' | LC_ALL=C sort)
done
((count > 0)) || { echo "no source files under $1"; exit 1; }
echo "$count source files, $broken longer than $limit lines"
((broken == 0))
