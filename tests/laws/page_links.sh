#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# page_links.sh ROOT: each relative link of README.md, and of the pages under examples/, include/ and bench/, leads to a
# file of the tree, and its #anchor to a heading there; README.md links every page; the lines of pages have at most 120
# columns, except in tables and code, and where a link makes them longer.
set -uo pipefail

cd "$1" || exit 1
mapfile -t pages < <({ echo README.md; find examples include bench -name '*.md' 2>/dev/null; } | LC_ALL=C sort)
[[ -f README.md ]] || { echo "there is no README.md"; exit 1; }
broken=0
complain() { echo "$1"; broken=$((broken + 1)); }

anchors() { # as GitHub makes them of headings
  awk '/^```/ { code = !code } !code && /^#+ / { sub(/^#+ +/, ""); print tolower($0) }' "$1" | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'
}

linked=" "
for page in "${pages[@]}"; do
  folder=$(dirname "$page")
  while IFS= read -r link; do
    path=${link%%#*} anchor=
    [[ $link != *'#'* ]] || anchor=${link#*#}
    target=$page
    [[ -z $path ]] || target=$(realpath -m --relative-to=. "$folder/$path")
    [[ $page != README.md ]] || linked+="$target "
    if [[ ! -e $target ]]; then complain "$page: ($link) leads nowhere"
    elif [[ -n $anchor ]] && ! anchors "$target" | grep -qxF -e "$anchor"; then complain "$page: ($link): no such heading"
    fi
  done < <(awk '/^ *```/ { code = !code } !code' "$page" | grep -oE '\]\([^)]+\)' | sed -E 's/^\]\((.*)\)$/\1/' | grep -vE '^[a-z]+:')
  long=$(awk '/^ *```/ { code = !code } !code && !/^[|!]/ && !/\]\(/ && length > 120 { print FILENAME ":" FNR }' "$page")
  [[ -z $long || $page == bench/* ]] || complain "longer than 120 columns: $long"
done
for page in "${pages[@]}"; do
  case $page in README.md | bench/*) continue ;; esac
  [[ $linked == *" $page "* ]] || complain "README.md has no link to $page"
done
((broken == 0)) || exit 1
echo "the links of ${#pages[@]} pages lead somewhere"
