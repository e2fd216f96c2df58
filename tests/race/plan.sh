#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# plan.sh RACE: plan, beside race, predicts and picks, and refuses what cannot be in one sentence with a non-zero status.
set -uo pipefail

plan=$(dirname "$1")/plan
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"

got=$("$plan" --times 10ms,10ms,10ms,1s --latency 1ms) || fail "plan: status $?"
grep -q '^asgd ' <<<"$got" || fail "plan: no row of asgd in: $got"
grep -q '^useful workers of asgd' <<<"$got" || fail "plan: no useful workers in: $got"
grep -Eq '^take [a-z_]+.*: .* comes to the target in [0-9.]+ s' <<<"$got" || fail "plan: no pick in: $got"
got=$("$plan" --json --workers 4) || fail "plan --json: status $?"
[[ $(grep -c '"largest_step": [0-9.]*,$' <<<"$got") == 15 ]] || fail "plan --json: not 15 predictions in: $got"
pick=$(sed -n '/"pick": {/,/}/s/.*"algorithm": "\(.*\)",/\1/p' <<<"$got")
[[ -n $pick ]] || fail "plan --json: no pick in: $got"
grep -q '"reason": "'"$pick"'.* comes to the target in' <<<"$got" || fail "plan --json: no reason for '$pick' in: $got"
got=$("$plan" --latency 60s --workers 4) || fail "plan --latency 60s: status $?"
if grep -Eq '^ad_psgd .* 0\.[0-9]+ +[0-9.e-]+$' <<<"$got"; then fail "plan: models that never met, in time: $got"; fi
[[ $("$plan" --workers 2) != *"d_psgd on complete"* ]] || fail "plan: one network of two nodes, by two names"
[[ $("$plan" --help | head -1) == "usage: plan [OPTION...]" ]] || fail "plan --help"

# Where all diverge there is no pick, and programs see it in the status.
got=$("$plan" --step 1e9) && fail "plan --step 1e9: status 0"
[[ $got == *"take none of these: none comes to the target"*"all diverge"* ]] || fail "plan --step 1e9: $got"
got=$("$plan" --json --step 1e9) && fail "plan --json --step 1e9: status 0"
grep -q '"pick": null' <<<"$got" || fail "plan --json --step 1e9: a pick in: $got"
got=$("$plan" --workers 99999999999999999999 2>&1) && fail "plan --workers of 20 digits: status 0"
[[ $got == "plan: --workers must be less than 2^64, not '99999999999999999999'" ]] || fail "plan, 20 digits: $got"

# Where there is neither Boost nor xxHash, plan is built without probes, and says so.
probes=yes
[[ $("$plan" --probe 0 --peers 127.0.0.1:1,127.0.0.1:2 --arrival 1ms 2>&1) != *"built without Boost and xxHash"* ]] || probes=no
echo "probes: $probes"
free_addresses 3
if [[ $probes == yes ]]; then
  # Three machines, which are processes here, measure each other; all come to the same plan, and each says what it saw.
  # Where there is no OpenSSL there are no keys.
  key=()
  [[ $("$plan" --probe 0 --peers 127.0.0.1:1,127.0.0.1:2 --arrival 1ms --key run.key 2>&1) == *"built without OpenSSL"* ]] || key=(--key run.key)
  for i in 0 1 2; do "$plan" --probe $i --peers "$addresses" --arrival 60s "${key[@]}" >probe.$i 2>&1 & done
  for i in 0 1 2; do wait -n || fail "plan --probe: $(cat probe.?)"; done
  for i in 1 2; do cmp -s probe.0 probe.$i || fail "plan --probe: machine $i has another plan: $(cat probe.?)"; done
  [[ $(grep -cE '^ +[012] +[0-9.e-]+ +[0-9.e-]+ +[0-9.e-]+ +[0-9.e-]+ +[0-9.e+]+$' probe.0) == 3 ]] ||
    fail "plan --probe: not three machines in: $(cat probe.0)"
  grep -q '^take ' probe.0 || fail "plan --probe: no pick in: $(cat probe.0)"

  # Two that would measure different things, or plan for different ones, do not meet.
  for other in "batch 16" "noise 0.2"; do
    "$plan" --probe 1 --peers "${addresses%,*}" --arrival 3s --${other% *} "${other#* }" >probe.1 2>&1 &
    if "$plan" --probe 0 --peers "${addresses%,*}" --arrival 3s >probe.0 2>&1; then fail "plan --probe: one has $other"; fi
    wait
    grep -qE "has ${other% *} [0-9.]+, but this node has" probe.0 probe.1 || fail "plan --probe, $other: $(cat probe.0 probe.1)"
  done
fi

# refused 'PART OF THE SENTENCE' OPTION...
refused() {
  local part=$1 said status
  shift
  said=$("$plan" "$@" 2>&1 >/dev/null)
  status=$?
  ((status != 0)) || fail "plan $*: status 0"
  [[ $said == *"$part"* && $(wc -l <<<"$said") == 1 ]] || fail "plan $*: said '$said', not one sentence with '$part'"
}
refused 'must be a time of 0 or more' --times 10ms,-3ms
refused 'at least two workers' --workers 1
refused 'at most 512 of them' --workers 1000000
refused 'at most 0.99 of them' --loss 0.995
refused 'a message takes as long as 2.24e+05 gradients' --dimension 7000000000 --bandwidth 100Mbit
refused 'a gradient of the slowest worker takes as long as' --times 1us,10000s
refused 'must be at least 1e-04' --step 1e-12
refused 'at least 1, which is the mean weight' --cap 0.5
refused 'make the two agree' --times 10ms,20ms --workers 3
refused 'exclude each other' --times 10ms --compute fixed:1ms
refused '--variation belongs to --times' --variation 0.5
refused 'at least the least one' --curvature 2,1
refused 'above 0 and below 1' --target 2
refused 'at most 1e30, not 1e+300' --spread 1e300
refused "a factor above 0 (as 7:4), not '7:0'" --slow 7:0
refused 'belong to --probe' --peers 127.0.0.1:1,127.0.0.1:2
refused 'needs --peers' --probe 0
refused '--latency and --probe exclude each other' --probe 0 --peers 127.0.0.1:1,127.0.0.1:2 --latency 1ms
refused "unknown option '--speed'" --speed 3
if [[ $probes == yes ]]; then
  refused 'is none of the 2 machines' --probe 2 --peers 127.0.0.1:1,127.0.0.1:2
  refused 'take a smaller --batch' --probe 0 --peers 127.0.0.1:1,127.0.0.1:2 --dimension 10000000 --batch 1000
  [[ ${#key[@]} == 0 ]] || refused 'is not a file' --probe 0 --peers 127.0.0.1:1,127.0.0.1:2 --key /dev/null
  refused 'node 1 at 127.0.0.1' --probe 0 --peers "${addresses%,*}" --arrival 300ms
fi
finish
