#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# options_have_meanings.sh ROOT: each option that a header lists in visit_options has a third argument, the few words
# that --help shows. A list in a form that it cannot read fails, since an option may hide in it.
set -uo pipefail

[[ -d $1/include/rubato ]] || { echo "there is no $1/include/rubato"; exit 1; }
cd "$1" || exit 1
find include/rubato -name '*.hpp' | LC_ALL=C sort | xargs perl -0777 -ne '
  s{^\s*//.*$}{}mg;  # an example in a comment is none of ours
  my $lists = 0;
  ++$lists while /\bvoid visit_(?:common_)?options\(/g;
  while (/\bvoid visit_(?:common_)?options\(auto& self, auto&& visit\) (\{(?:[^{}]|(?1))*\})/g) {
    my $body = $1;
    --$lists;
    while ($body =~ /\bvisit\(/g) {
      ++$count;
      if ($body !~ /\G\s*"([^"]*)",\s*[\w.]+(?:\(\w*\))?\s*(.)/gc) {
        my ($form) = $body =~ /\G([^;]*)/;
        print "$ARGV lists an option in a form that this law cannot read: visit($form\n";
      } elsif ($2 ne ",") {
        print "$ARGV lists the option \"$1\" and does not say what it means\n";
      } else {
        next;
      }
      ++$broken;
    }
  }
  if ($lists > 0) {
    print "$ARGV lists options in a visit_options that this law cannot read; write (auto& self, auto&& visit) {\n";
    ++$broken;
  }
  END {
    exit 1 if $broken;
    print "", ($count // 0), " options, all with a meaning\n";
  }'
