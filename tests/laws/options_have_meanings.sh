#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# options_have_meanings.sh ROOT: each option that a header lists in visit_options has a third argument, the few words
# that --help shows.
set -uo pipefail

[[ -d $1/include/rubato ]] || { echo "there is no $1/include/rubato"; exit 1; }
cd "$1" || exit 1
find include/rubato -name '*.hpp' | LC_ALL=C sort | xargs perl -0777 -ne '
  s{^\s*//.*$}{}mg;  # an example in a comment is none of ours
  while (/visit_(?:common_)?options\(auto& self, auto&& visit\) (\{(?:[^{}]|(?1))*\})/g) {
    my $body = $1;
    while ($body =~ /\bvisit\("([^"]*)",\s*[\w.]+(?:\(\w*\))?\s*(.)/g) {
      ++$count;
      next if $2 eq ",";
      print "$ARGV lists the option \"$1\" and does not say what it means\n";
      ++$broken;
    }
  }
  END {
    exit 1 if $broken;
    print "", ($count // 0), " options, all with a meaning\n";
  }'
