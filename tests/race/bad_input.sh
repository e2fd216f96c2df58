#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bad_input.sh RACE: whatever is wrong with what race is given, it says so in one sentence on stderr that names the thing
# at fault and what would be right, ends with a non-zero status, and leaves the files of a former run as they were.
set -uo pipefail

race=$1
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data out broken && mkdir broken && tiny_data data

# A former run, whose files must outlive every failure below.
"$race" --data data --out out --quiet --until 300ms >/dev/null || fail "a race with nothing wrong ended with status $?"
for file in out/race.csv out/race.json; do [[ -s $file ]] || fail "there is no $file"; done
before=$(cd out && ls -a && cat race.csv race.json | sha256sum)

# refused STATUS 'WORDS|WORDS' OPTION...: race with these options ends with this status; its one sentence has all words.
refused() {
  local status=$1 words=$2 said got word lines
  shift 2
  # Tiny data, the folder of the former run and a short time, unless they are what is tried.
  local given=" $* " all=("$@")
  [[ $given == *" --data "* ]] || all+=(--data data)
  [[ $given == *" --out "* ]] || all+=(--out out)
  [[ $given == *" --until "* ]] || all+=(--until 300ms)
  said=$("$race" --quiet "${all[@]}" 2>&1 >/dev/null)
  got=$?
  ((got == status)) || fail "race $*: status $got, not $status ($said)"
  lines=$(grep -c . <<<"$said")
  ((lines == 1)) || fail "race $*: $lines lines on stderr, not 1: $said"
  [[ $said == "race: "* ]] || fail "race $*: the sentence does not begin with 'race: ': $said"
  while IFS= read -r -d '|' word; do
    [[ $said == *"$word"* ]] || fail "race $*: '$said' does not say '$word'"
  done <<<"$words|"
  [[ $(cd out && ls -a && cat race.csv race.json | sha256sum) == "$before" ]] || fail "race $*: changed the result files"
  echo "$said"
}

refused 2 "unknown option|--nonsense|--help" --nonsense
refused 2 "unknown option|stray|--help" stray
refused 2 "--batch" --batch
refused 2 "no algorithm|r_fats|r_fast, r_fast_low_bits, r_fast_referenced, asy_sonata, push_pull" --algorithms r_fats
refused 2 "--algorithms|names" --algorithms r_fast,,d_psgd
refused 2 "r_fast|twice" --algorithms r_fast,r_fast
refused 2 "--batch|multiple of 16|non_blocking_d_psgd|30" --algorithms non_blocking_d_psgd --batch 30
refused 2 "no algorithm|r_fats" --set r_fats.step=0.1
refused 2 "--seed|once" --seed 1 --seed 2
refused 2 "--picture-by|time, gradients or bytes|loss" --picture-by loss

refused 2 "train-images-idx3-ubyte|nowhere|dataset-fashion-mnist" --data nowhere
mkdir -p taken/race.json
refused 2 "taken/race.json|plain file" --out taken
# broken_data FILE COMMAND...: a folder like data/ in which FILE is what COMMAND makes of it.
broken_data() {
  local file=$1
  shift
  rm -rf broken && cp -r data broken
  "$@" <"data/$file" >"broken/$file"
}
broken_data train-images-idx3-ubyte head -c 1000
refused 2 "train-images-idx3-ubyte|1000 of 3216 bytes" --data broken
broken_data t10k-labels-idx1-ubyte head -c 20
refused 2 "t10k-labels-idx1-ubyte|20 of 58 bytes" --data broken
broken_data t10k-images-idx3-ubyte head -c 0
refused 2 "t10k-images-idx3-ubyte|0 of 16 bytes" --data broken
broken_data train-labels-idx1-ubyte sed '1s/^\(..\)./\1\x07/'
refused 2 "train-labels-idx1-ubyte|magic|0x00000801" --data broken
compressed_in_part() { gzip -c | head -c 300; }
broken_data train-images-idx3-ubyte true
rm broken/train-images-idx3-ubyte && compressed_in_part <data/train-images-idx3-ubyte >broken/train-images-idx3-ubyte.gz
refused 2 "train-images-idx3-ubyte.gz|3216 bytes" --data broken

refused 2 "--nodes|from 1 up" --nodes 0
refused 2 "--nodes|from 1 up|-3" --nodes -3
refused 2 "--nodes|from 1 up|eight" --nodes eight
refused 2 "cannot be split|200|201" --nodes 201
refused 2 "no topology|moebius|binary-tree" --topology moebius
refused 2 "nothere.txt|cannot be opened" --topology file:nothere.txt
printf 'nodes 4\nundirected\n0 1\n2 3\n' >disconnected.txt
refused 2 "disconnected.txt|node" --topology file:disconnected.txt
printf 'nodes 3\n0 1\n0 2\n' >rootless.txt
refused 2 "rootless.txt|node" --topology file:rootless.txt
printf 'nodes 3\n0 7\n' >outside.txt
refused 2 "outside.txt|line 2|node 7" --topology file:outside.txt
refused 2 "disconnected.txt|4 nodes|8" --topology file:disconnected.txt --nodes 8

refused 2 "--step|positive|-0.1" --step -0.1
refused 2 "--step|positive|'0'" --step 0
refused 2 "--step|positive|nan" --step nan
refused 2 "--step|positive|inf" --step inf
refused 2 "r_fast|positive|-1" --set r_fast.step=-1
refused 2 "--set|NAME=VALUE|ALGORITHM.NAME=VALUE" --set 0.1
refused 2 "--loss|from 0|to 1|1.5" --loss 1.5
refused 2 "--loss|from 0|to 1" --loss 1
refused 2 "--loss|from 0|to 1|-0.1" --loss -0.1
refused 2 "--loss|from 0|nan" --loss nan
refused 2 "node 8|0 to 7" --slow 8:4
refused 2 "--slow|NODE:FACTOR" --slow 7
refused 2 "--slow|above 0" --slow 7:0
refused 2 "--compute|no model|'foo'|lognormal:MEAN|two_regime:MEAN" --compute foo:3
refused 2 "--compute|no model|'gamma'|half_normal:MEAN" --compute gamma:10ms
refused 2 "--compute|lognormal:MEAN,COEFFICIENT_OF_VARIATION" --compute lognormal:10ms
refused 2 "--compute|two_regime:MEAN,PROBABILITY,FACTOR" --compute two_regime:10ms,0.1
refused 2 "shifted exponential|at most 1" --compute shifted_exponential:10ms,1.5
refused 2 "--compute|random_slow:MEAN,PROBABILITY,LEAST" --compute random_slow:10ms,0.25,3
refused 2 "greatest factor|at least 3|2" --compute random_slow:10ms,0.25,3,2
refused 2 "probability of the second regime|1.5" --compute two_regime:10ms,1.5,10
refused 2 "--compute|time|3" --compute fixed:3
refused 2 "--compute|above 0|--driver sim|fixed:0s" --compute fixed:0s
refused 2 "--threads|no effect with --driver threads|only race --driver sim" --driver threads --threads 1
refused 2 "unknown option|--transport|race --help" --transport udp
"$race" --data data --out zero --quiet --driver threads --compute fixed:0ms --until 100ms --algorithms r_fast >/dev/null ||
  fail "gradients that take no time of their own cannot run on threads: status $?"
refused 2 "--latency|ms" --latency 5
refused 2 "--latency|ms|-1ms" --latency -1ms
refused 2 "--bandwidth|1Gbit" --bandwidth 1Gbyte
refused 2 "--until|above 0" --until 0s
refused 2 "--until|unit" --until soon
refused 2 "--driver|sim or threads" --driver mpi
refused 2 "--split|iid or by-label" --split random
refused 2 "contribution-weigh-by|samples or nodes|labels" --algorithms non_blocking_d_psgd --set contribution-weigh-by=labels
refused 2 "--batch|from 1 up" --batch 0
refused 2 "--threads|1 to 256" --threads 0
refused 2 "--target-loss|number" --target-loss low
refused 2 "m in 1 to 8|9" --set m=9

: >file
refused 2 "file|folder" --out file
refused 2 "folder|/proc/rubato" --out /proc/rubato

refused 1 "r_fast|step 1e+30|diverges|smaller step" --algorithms r_fast --step 1e30
refused 1 "d_psgd|step 1e+30|diverges|smaller step" --algorithms d_psgd --step 1e30
refused 1 "ring_allreduce_sgd|step 1e+30|diverges" --algorithms r_fast,ring_allreduce_sgd --set ring_allreduce_sgd.step=1e30
# Regularised out of all bounds, the gradient itself grows, and leaves the ledger before anyone looks at the loss.
refused 1 "r_fast|ledger's range|block 0|smaller step" --algorithms r_fast --l2 1000 --step 1 --measure-every 300ms
refused 1 "r_fast|step 1e+38|diverges|smaller step" --algorithms r_fast --step 1e38 --driver threads
finish
