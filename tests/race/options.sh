#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# options.sh RACE: race, peer and cluster offer every option that an algorithm of the catalogue lists, with the default
# that is used; each can be set, and race.json tells it; what no algorithm has, or takes, is refused before anything runs.
set -uo pipefail

race=$1 folder=$(dirname "$1")
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data out fresh && tiny_data data
mapfile -t algorithms < <("$race" --help | grep -oE 'what races: [a-z0-9_, ]+' | sed 's/what races: //; s/, */\n/g; s/ //g' | grep .)
((${#algorithms[@]} >= 18)) || fail "--help names ${#algorithms[@]} algorithms only"

# run OPTION...: a short race whose files are in out/
run() { "$race" --data data --out out --quiet --until 50ms --nodes 3 "$@" 2>&1 >/dev/null; }
# told NAME: the value of that option, '-' between words, of the one result of race.json
told() { sed -n '/"results"/,$p' out/race.json | sed -n '/"options"/,/}/p' | tr ' ' '-' | sed -nE "s/^-*\"$1\":-\"(.*)\",?$/\1/p"; }

for algorithm in "${algorithms[@]}"; do
  "$race" --help "$algorithm" >help || fail "--help $algorithm: status $?"
  for program in peer cluster; do
    [[ ! -x $folder/$program ]] && continue
    "$folder/$program" --help "$algorithm" | cmp -s - help || fail "$program --help $algorithm says something else than race"
  done
  said=$(run --algorithms "$algorithm") || fail "$algorithm: status $?: $said"
  # Those of the run are those of --help, and so are their values, but for what a run makes of "nothing" and 0.
  offered=$(grep '^  [^ ]' help | awk '{ print $1 }')
  ran=$(sed -n '/"results"/,$p' out/race.json | sed -n '/"options"/,/}/p' | grep -oE '^ *"[^"]+": "' | grep -oE '"[^"]+"' |
    tr -d '"' | tr ' ' '-' | grep -v '^$')
  [[ $offered == "$ran" ]] || fail "$algorithm: --help and race.json have other options: $(diff <(echo "$offered") <(echo "$ran"))"
  unsaid=$(awk '/^  [^ ]/ { if (name) print name; name = $1 } /^      [^ ]/ { name = "" } END { if (name) print name }' help)
  [[ -z $unsaid ]] || fail "--help $algorithm does not say what these mean:" $unsaid
  settings=() wanted=()
  while read -r name default choice; do
    value=$(told "$name")
    [[ $value == "$default" || $default == 0 || $default == nothing ]] || fail "$algorithm: $name is $value, and --help says $default"
    case $algorithm.$name in
      r_fast_referenced.block-values) value=8192 ;;        # all of it: differences from references travel whole
      *.block-values) value=64 ;;
      *.ledger-exponents) value=18 ;;
      *.step-schedule-floor) value=0.5 ;;
      naive_optimal_asgd.acceptance-times) value=2,2,2 ;;  # one a worker
      asgrad.servers | dasa.servers | malenia_sgd.servers | rennala_sgd.servers | ringleader_asgd.servers | \
        clipped_asgd.servers) value=1 ;;  # these have one
      mindflayer.trials-deadlines | mindflayer.trials-counts) value=2,2,2 ;;
      mindflayer.trials-chances) value=0.5,0.5,0.5 ;;
      fedasync.assignment-rate) value=1 ;;                 # it mixes models, and takes no other
      quorum_diloco.work-rate | async_diloco.assignment-rate) value=1 ;;  # nor with an outer step
      async_diloco.aggregation-early) value=0.25 ;;        # at most 1/N
      streaming_diloco.rhythm-local-steps) value=8 ;;      # more than it delays
      ringmaster_asgd.servers) value=1 ;;                  # where late jobs are stopped
      power_sgd.shapes) value=4,5 ;;                       # rows and columns; the rest travels whole
      *.codec-decay) value=0.5 ;;
      *)
        if [[ $choice == "a time"* ]]; then value=2s
        elif [[ $choice == *number* ]]; then value=$(awk -v d="$default" 'BEGIN { print d == 0 ? 2 : d / 2 }')
        else value=${choice%% or *}; [[ $value != "$default" ]] || { value=${choice#* or }; value=${value%% or *}; }; fi
        [[ $default != 1 ]] || value=2 ;;
    esac
    settings+=(--set "$name=$value") wanted+=("$name ${value//,/-}")
  done < <(sed -nE 's/^  ([a-z0-9-]+) +(.*) \(default: (.*)\)$/\1 \3 \2/p' help)
  ((${#wanted[@]} >= 4)) || fail "$algorithm has ${#wanted[@]} options only"
  said=$(run --algorithms "$algorithm" "${settings[@]}") || fail "$algorithm ${settings[*]}: status $?: $said"
  for each in "${wanted[@]}"; do
    [[ $(told "${each% *}") == "${each#* }" ]] || fail "$algorithm: ${each% *} is set to ${each#* } and told as $(told "${each% *}")"
  done
done

# Of several algorithms those are told that have the option, and one alone where it is named.
run --algorithms r_fast,osgp --set overlap=3 --set r_fast.step=0.001 --step 0.002 || fail "an option that one of two has: status $?"
for line in '"overlap": "3"' '"step": "0.001"' '"step": "0.002"'; do
  (($(grep -c "$line" out/race.json) == 1)) || fail "race.json does not have $line once"
done

# refused 'WORDS|WORDS' OPTION...: status 2, one sentence with all words, and no file is written.
refused() {
  local words=$1 said status word
  shift
  said=$("$race" --data data --out fresh --quiet --until 50ms "$@" 2>&1 >/dev/null)
  status=$?
  ((status == 2)) && [[ $said == "race: "* && $(wc -l <<<"$said") == 1 ]] || fail "race $*: status $status, '$said'"
  while IFS= read -r -d '|' word; do [[ $said == *"$word"* ]] || fail "race $*: '$said' does not say '$word'"; done <<<"$words|"
  [[ ! -e fresh/race.csv ]] || fail "race $* wrote results"
  echo "$said"
}
refused "r_fast has no option 'momentum'|'0.9'|step, step-scale, seed, block-values, step-schedule-unit, |, ledger-exponents, ledger-margin" \
  --algorithms r_fast --set momentum=0.9
refused "none of these algorithms has an option 'overlap'|'2'|r_fast has step|d_psgd has step" --algorithms r_fast,d_psgd --set overlap=2
refused "osgp|whole number|'two'" --algorithms r_fast,osgp --set overlap=two
refused "does not run here|osgp.overlap=2|r_fast, d_psgd" --algorithms r_fast,d_psgd --set osgp.overlap=2
refused "no algorithm 'osgd'|osgp" --set osgd.overlap=2
refused "step|twice|'1'|'2'" --step 1 --set step=2
refused "step-scale|per-gain or raw|'rough'" --set step-scale=rough
refused "step|positive|'-1'" --set step=-1
refused "sum-codec-shift|'17'|0 to 16" --algorithms r_fast,r_fast_low_bits --set r_fast_low_bits.sum-codec-shift=17
refused "ledger|fixed point|compiled|'floating'" --algorithms r_fast --set ledger=floating
refused "d_psgd|multiple of 64|7" --algorithms r_fast,d_psgd --set d_psgd.block-values=7
refused "unknown option '--overlap'|osgp|--set overlap=VALUE" --overlap 2
refused "no algorithm 'osgd'|osgp" --help osgd
finish
