#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# topology.sh RACE: topology, beside race, says what a graph is like, draws it, and refuses what is wrong in one sentence
# with a non-zero status, leaving former pictures as they were.
set -uo pipefail

topology=$(dirname "$1")/topology
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf out more

# says NAME 'LINE|LINE' OPTION...: the report has each line, blanks counted as one.
says() {
  local name=$1 lines=$2 got line
  shift 2
  got=$("$topology" "$name" --out out "$@" | tr -s ' ') || fail "topology $name $*: status $?"
  while IFS= read -r -d '|' line; do
    grep -qxF -e "$line" <<<"$got" || fail "topology $name $*: no line '$line' in: $got"
  done <<<"$lines|"
  [[ -s out/topology.svg && -s out/topology.dot ]] || fail "topology $name $*: no pictures"
  [[ $(head -c 4 out/topology.svg) == "<svg" && $(tail -c 7 out/topology.svg) == "</svg>" ]] || fail "topology $name $*: no SVG"
}

says hypercube 'graph hypercube(8)|nodes 8|edges 12, both ways|degrees 3|diameter 3|roots all nodes|R-FAST yes, on hypercube(8)'
says torus:4x5 'nodes 20|degrees 4|diameter 4|gain 0.238095'
says binary-tree 'nodes 7|gain 7|roots 0|R-FAST yes, on spanning trees of binary_tree(7), root 0' --nodes 7
grep -q 'peripheries=2' out/topology.dot || fail "the root of a pair of trees is not marked"
says ring 'roots 0|gain 6|bytes of R-FAST an iteration: 1600 at the busiest node, 8000 in all' \
  --nodes 6 --root best --dimension 100 --bytes 8
says line 'spectral gap 1 with Metropolis-Hastings weights, 1 with the fastest' --nodes 1
printf 'nodes 3\n0 1\n0 2\n' >rootless.txt
says file:rootless.txt 'edges 2, directed|degrees out 0 to 2, in 0 to 1|diameter none: not every node reaches every other'
"$topology" file:rootless.txt --out out | grep -q '^R-FAST *no: no node can be reached by every other node' ||
  fail "it does not say why R-FAST may not run"
printf 'nodes 3\n0 1\n1 0\n' >apart.txt
"$topology" file:apart.txt --out out | grep -q '^spectral gap *0, since the graph is not connected' || fail "a graph in two parts has a gap"
"$topology" geometric --nodes 30 --out more/folder >first && cp more/folder/topology.svg first.svg
"$topology" geometric --nodes 30 --out more/folder >second
cmp -s first second && cmp -s first.svg more/folder/topology.svg || fail "equal graphs give different output"

says one-peer-exponential 'nodes 8|rounds 3, then again|degrees in a round: out 1, in 1|consensus exact after 3 rounds|push-sum yes: sgp, osgp|bytes an iteration: 31400 at most at a node, 251200 in all on average'
"$topology" one-peer-exponential --out out | grep -q '^gossip *no: gossip needs symmetric weights' || fail "gossip on one-peer exponential graphs"
says one-peer-exponential 'consensus not exact: all rounds leave 0.21651 of the disagreement, a gap of 0.78349' --nodes 6
says base_k:2 'consensus exact after 2 rounds|degrees in a round: out 2, in 2|push-sum yes: sgp, osgp' --nodes 9
says one-peer-equitopo 'rounds 20, then again|degrees in a round: out 0 to 1, in 0 to 1' --nodes 5

"$topology" --help | grep -q 'small-world:DEGREE:REWIRED' || fail "--help does not list the names"

before=$(sha256sum out/* && ls -A out)
# refused 'WORDS|WORDS' OPTION...: status 2, and one sentence with all words.
refused() {
  local words=$1 said got word
  shift
  said=$("$topology" --out out "$@" 2>&1 >/dev/null)
  got=$?
  ((got == 2)) || fail "topology $*: status $got, not 2 ($said)"
  [[ $(grep -c . <<<"$said") == 1 && $said == "topology: "* ]] || fail "topology $*: not one sentence: $said"
  while IFS= read -r -d '|' word; do
    [[ $said == *"$word"* ]] || fail "topology $*: '$said' does not say '$word'"
  done <<<"$words|"
  [[ $(sha256sum out/* && ls -A out) == "$before" ]] || fail "topology $*: changed former pictures"
}
refused "a NAME is needed|binary-tree"
refused "no topology|moebius|torus:ROWSxCOLUMNS|or graphs that change: one-peer-exponential" moebius
refused "power of two" hypercube --nodes 6
refused "20 nodes, and 8" torus:4x5 --nodes 8
refused "nothere.txt|cannot be opened" file:nothere.txt
refused "second one" ring star
refused "--root|stays the same" base-k --root 0
refused "no topology|base-k:two" base-k:two
refused "unknown option|--colour|--help" ring --colour red
refused "--nodes|needs a value" ring --nodes
refused "--nodes|from 1 up|eight" ring --nodes eight
refused "--dimension|from 1 up|'0'" ring --dimension 0
refused "--root|best|worst" ring --root worst
refused "--root 9|0 to 7" ring --root 9
refused "not connected in 1000 draws" erdos-renyi:0.01
refused "cannot have 9 groups" hierarchical:9
mkdir -p taken/topology.svg
"$topology" ring --out taken 2>said >/dev/null
(($? == 2)) && grep -q "taken/topology.svg.*plain file" said || fail "a folder in the way of a picture: $(cat said)"
"$topology" ring --out out >/dev/full 2>/dev/null && fail "a full disk ends with status 0"
finish
