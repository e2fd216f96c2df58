#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# failures.sh CLUSTER PEER: a process that dies, stops or never comes is named within its deadline, options that differ
# are named, what had ended is kept, and nothing is left running, whatever ends a cluster, not even what mpirun started.
set -uo pipefail

cluster=$1 peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
long=(--peer "$peer" --problem quadratic:50 --nodes 4 --step 0.1 --until 60s --quiet --out out)

# children PID: the peers of a cluster, once there are as many as it starts.
children() {
  local found=()
  while kill -0 "$1" 2>/dev/null; do
    mapfile -t found < <(pgrep -P "$1")
    ((${#found[@]} == 4)) && break
  done
  sleep 0.5 # not for correctness: so that they have met, and die in the middle of their run
  echo "${found[@]}"
}
gone() {
  local pid tries
  for pid in "$@"; do
    for ((tries = 0; tries < 200; ++tries)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    kill -0 "$pid" 2>/dev/null && fail "process $pid outlives its cluster"
  done
}
# no_memory_is_left: of any cluster, soon after it has ended; who watches over one that was killed needs a moment.
no_memory_is_left() {
  local tries
  for ((tries = 0; tries < 100; ++tries)); do
    compgen -G '/dev/shm/rubato-*-rubato-cluster-*' >/dev/null || return 0
    sleep 0.05
  done
  fail "shared memory is left: $(compgen -G '/dev/shm/rubato-*')"
}

"$cluster" "${long[@]}" >said 2>&1 &
started=$!
read -ra peers < <(children $started)
kill -KILL "${peers[2]}"
wait $started
(($? == 1)) || fail "a cluster with a dead process does not end with status 1"
cat said
grep -qxF 'cluster: the process of node 2 was ended by signal 9 (Killed)' said || # whoever ended first
  fail "the dead process is not named"
gone "${peers[@]}"
no_memory_is_left

"$cluster" "${long[@]}" --silence 800ms >said 2>&1 &
started=$!
read -ra peers < <(children $started)
kill -STOP "${peers[1]}"
wait $started
(($? == 1)) || fail "a cluster with a stopped process does not end with status 1"
cat said
grep -qE 'peer: node (1 is gone: it has been silent for 0.8 s|[023] has ended because node 1 is gone)$' said ||
  fail "the stopped process is not named"
gone "${peers[@]}"

"$cluster" "${long[@]}" >said 2>&1 &
started=$!
read -ra peers < <(children $started)
kill -KILL $started
wait $started 2>/dev/null
gone "${peers[@]}"
no_memory_is_left

# What had ended before an interrupt is written.
rm -rf out
"$cluster" "${long[@]/60s/300ms}" --algorithms r_fast,d_psgd >said 2>&1 &
started=$!
while kill -0 $started 2>/dev/null && ! pgrep -P $started -f -- '--algorithms d_psgd' >/dev/null; do sleep 0.01; done
kill -INT $started
wait $started
(($? == 130)) || fail "an interrupted cluster does not end with status 130: $(cat said)"
grep -q 'Interrupted: 1 of 2 algorithms have ended' said && grep -q '^r_fast  ' said || fail "it does not say how far it came: $(cat said)"
grep -q '^r_fast,' out/race.csv && ! grep -q d_psgd out/race.csv || fail "race.csv does not hold the run that had ended, and no other"

# What had ended before another run failed is told, and files of a former run stay.
former=$(sha256sum out/race.csv)
"$cluster" "${long[@]/60s/300ms}" --algorithms r_fast,d_psgd --set d_psgd.step=1e30 >said 2>&1
(($? == 1)) || fail "a cluster whose second algorithm diverges does not end with status 1: $(cat said)"
grep -q 'smaller step' said || fail "it does not say why: $(cat said)"
grep -q '^r_fast  ' said || fail "the run before the one that failed is not told of: $(cat said)"
[[ $(sha256sum out/race.csv) == "$former" ]] || fail "a run that failed replaced the files of a former one"

# A second algorithm that cannot be is refused before the first runs.
for cannot in "every message counts|--transport udp" "a batch consists of at least one|--set d_psgd.contribution-mini-batches=0"; do
  "$cluster" "${long[@]/60s/300ms}" ${cannot#*|} --algorithms r_fast,d_psgd,ring_allreduce_sgd >said 2>&1
  (($? == 2)) || fail "a cluster whose second algorithm is refused does not end with status 2: $(cat said)"
  grep -qE "^cluster: (d_psgd|ring_allreduce_sgd): .*${cannot%|*}" said && (($(wc -l <said) == 1)) || fail "it does not say why, or more: $(cat said)"
done

# One that ends because of what is its own alone is named, and not who only lost it.
"$cluster" "${long[@]/60s/20s}" --record log >said 2>&1 # which quadratics refuse
(($? == 2)) && grep -q 'status 2: peer: --record' said || fail "the one at fault is not named: $(cat said)"

# Who failed by itself is told from who ended because of another one by the status, whatever they say.
cat >liar <<'LIAR'
#!/usr/bin/env bash
[[ " $* " == *" --id 0 "* ]] || { echo "peer: all my own fault" >&2; exit 4; }
sleep 1
echo "peer: node 1 is gone: it keeps others waiting" >&2
exit 1
LIAR
chmod +x liar
said=$("$cluster" "${long[@]/$peer/./liar}" 2>&1)
(($? == 1)) && [[ $said == *"cluster: the process of node 0 ended with status 1: peer: node 1 is gone"* ]] ||
  fail "the cause is looked for in words: $said"

# told_once: what cluster has passed on and found itself, in `said`: no sentence twice, whoever says it and when, and of
# one loss of a node one line of all its neighbours.
told_once() {
  local sentences twice
  sentences=$(sed -nE 's/^cluster: (node [0-9]+|r_fast|asgd|m_synchronous_sgd): (after [0-9.]+ s: )?//p' said |
    sed -E 's/^(node [0-9]+)( at [^ ]+)? is gone.*/\1 is gone/')
  twice=$(sort <<<"$sentences" | uniq -d)
  [[ -z $twice ]] || fail "told twice: $twice: $(cat said)"
}

# With --go-on the others go on without a dead process, and what they found is written.
rm -rf out
"$cluster" "${long[@]/60s/6s}" --compute fixed:2ms --slow none --silence 1s --go-on >said 2>&1 &
started=$!
read -ra peers < <(children $started)
kill -KILL "${peers[2]}"
while kill -0 $started 2>/dev/null && ! grep -qE '^cluster: node [013]: after [0-9.]+ s: node 2.* is gone' said; do sleep 0.05; done
kill -0 $started 2>/dev/null || fail "what the others say of a dead process comes at the end, or not at all"
wait $started
(($? == 3)) || fail "a cluster that goes on without a process does not end with status 3: $(cat said)"
grep -qxF 'cluster: the process of node 2 was ended by signal 9 (Killed); the others go on' said && grep -q '^r_fast  ' said && [[ -s out/race.csv ]] ||
  fail "what goes on is not told: $(cat said)"
told_once
(($(grep -c 'node 2.* is gone' said) == 1 && $(grep -c 'signal 9' said) == 2)) || fail "one death is not told in three lines: $(cat said)"
grep -q '"warnings"' out/race.json && grep -q 'signal 9 (Killed).*its results are missing' out/race.json || fail "race.json does not say what is missing"

# But not without the server, whose model is the answer (asgd) or the way of all models (m_synchronous_sgd): that ends
# the run at once, in processes that were started by hand once it does not come back.
served=(--problem quadratic:50 --nodes 3 --step 0.1 --quiet --compute fixed:2ms --slow none --silence 1s --go-on)
for algorithm in asgd "m_synchronous_sgd --set m=2"; do
  "$cluster" --peer "$peer" "${served[@]}" --out out --until 60s --algorithms $algorithm >said 2>&1 &
  started=$!
  read -ra peers < <(children $started)
  kill -KILL "${peers[3]}"
  wait $started
  (($? == 1)) && grep -qF 'cluster: the process of node 3 was ended by signal 9 (Killed); it is the server, without which the others cannot go on' said &&
    (($(grep -cvE '^cluster: node [0-2]: after [0-9.]+ s: node 3.* is gone' said) == 1 && $(wc -l <said) <= 2)) ||
    fail "a run without its server: $(cat said)"
done
pids=()
free_addresses 4
rm -rf served
for i in 0 1 2 3; do
  "$peer" --id $i --peers "$addresses" "${served[@]}" --arrival 3s --until 60s --algorithms asgd --checkpoint served --every 100ms \
    >said.$i 2>&1 &
  pids+=($!)
done
all_there served/asgd/node-{0,1,2,3}.checkpoint # so they have met
kill -KILL "${pids[3]}"
for i in 0 1 2; do
  wait "${pids[i]}"
  (($? == 4)) && grep -qE "^peer: node 3 at .* is gone: .*, and has not come back within 3 s: it is the server, without which node $i cannot go on" said.$i ||
    fail "a worker without its server: $(cat said.$i)"
done

# A worker has no model, and so no distance; its server has both.
free_addresses 2
asgd=(--nodes 1 --algorithms asgd --problem quadratic:10 --step 0.1 --until 1s --slow none --compute fixed:1ms
  --peers "$addresses")
"$peer" --id 1 "${asgd[@]}" >server 2>&1 &
"$peer" --id 0 "${asgd[@]}" --within 1e-30 >worker 2>&1 || fail "a worker judges a model that it has not: $(cat worker)"
wait $!
grep -q 'which has the model' worker && grep -q 'no value of the model is farther' server || fail "$(cat worker server)"

# What mpirun starts ends with a cluster too, where mpirun ends it when told, and where it keeps it in its process group.
mkdir -p bin
for way in "setsid sleep 1000|kill \"\${ranks[@]}\"; exit 1" "sleep 1000|"; do
  cat >bin/mpirun <<MPIRUN
#!/usr/bin/env bash
trap '${way#*|}' TERM
for rank in 0 1 2 3; do ${way%|*} & ranks+=(\$!); done
echo "\${ranks[@]}" >ranks.tmp && mv ranks.tmp ranks
wait
MPIRUN
  chmod +x bin/mpirun
  rm -f ranks
  PATH=$PWD/bin:$PATH "$cluster" "${long[@]}" --transport mpi >said 2>&1 &
  started=$!
  while kill -0 $started && [[ ! -e ranks ]]; do sleep 0.05; done
  read -ra ranks <ranks
  ((${#ranks[@]} == 4)) && kill -0 "${ranks[@]}" || fail "there are no four ranks to be ended: ${ranks[*]}"
  kill -INT $started
  wait $started
  (($? == 130)) || fail "an interrupted cluster does not end with status 130: $(cat said)"
  gone "${ranks[@]}"
done

# refused STATUS 'WORDS|WORDS' PROGRAM OPTION...
refused() {
  local status=$1 words=$2 said got word
  shift 2
  said=$("$@" 2>&1 >/dev/null)
  got=$?
  ((got == status)) || fail "$*: status $got, not $status ($said)"
  (($(grep -c . <<<"$said") == 1)) || fail "$*: not one sentence: $said"
  while IFS= read -r -d '|' word; do
    [[ $said == *$word* ]] || fail "$*: '$said' does not say '$word'"
  done <<<"$words|"
  echo "$said"
}
two=(--nodes 2 --problem quadratic:10 --step 0.1 --until 1s --slow none)
refused 2 "--peers|2 processes" "$peer" "${two[@]}"
refused 2 "--nodes is missing" "$peer" "${two[@]:2}" --peers 127.0.0.1:1,127.0.0.1:2
refused 2 "nodes 0 and 1 are given the same address, 127.0.0.1:9" "$peer" "${two[@]}" --peers 127.0.0.1:9,127.0.0.1:9
refused 2 "--go-on is not possible|EXTRA" "$peer" "${two[@]}" --peers 127.0.0.1:0,127.0.0.1:9 --go-on --algorithms extra
refused 2 "cluster: extra: --go-on is not possible|EXTRA" "$cluster" --peer "$peer" "${two[@]}" --out out --go-on --algorithms r_fast,extra
for program in "$peer --peers 127.0.0.1:0,127.0.0.1:9" "$cluster --peer $peer --out out"; do
  refused 2 "'/proc/none" $program "${two[@]}" --checkpoint /proc/none
  said=$($program "${two[@]}" --checkpoint /proc/none 2>&1) || [[ $said != *"has room for"* ]] || fail "/proc is called a full disk: $said"
done
refused 2 "no node 2|0 to 1" "$peer" "${two[@]}" --id 2 --peers 127.0.0.1:1,127.0.0.1:2
refused 2 "host:port" "$peer" "${two[@]}" --peers here,there
refused 2 "192.0.2.1:7|insecure" "$peer" "${two[@]}" --id 0 --peers 127.0.0.1:0,192.0.2.1:7
refused 4 "node 1 at 127.0.0.1:9|has not come within 0.2 s" "$peer" "${two[@]}" --peers 127.0.0.1:0,127.0.0.1:9 --arrival 200ms
refused 4 "node 0 at 127.0.0.1:9|Connection refused" "$peer" "${two[@]}" --id 1 --peers 127.0.0.1:9,127.0.0.1:0 --arrival 200ms
refused 2 "--problem|quadratic:DIMENSION" "$peer" "${two[@]:0:2}" --problem cubic
refused 2 "--transport|tcp, shared_memory, udp or mpi" "$peer" "${two[@]}" --transport pigeon
refused 2 "--run is missing" "$peer" "${two[@]}" --transport shared_memory
refused 2 "'a/b' is no name of a run" "$peer" "${two[@]}" --transport shared_memory --run a/b
refused 2 "--peers has no effect over shared_memory" "$peer" "${two[@]}" --transport shared_memory --run a --peers 127.0.0.1:0,127.0.0.1:9
refused 2 "--run has no effect over tcp" "$peer" "${two[@]}" --run a --peers 127.0.0.1:0,127.0.0.1:9
refused 4 "node 0 has not come within 0.2 s" "$peer" "${two[@]}" --id 1 --transport shared_memory --run "failures-$$" --arrival 200ms
refused 2 "chunk every message counts|tcp" "$peer" "${two[@]}" --transport udp --algorithms ring_allreduce_sgd --peers 127.0.0.1:0,127.0.0.1:9
refused 2 "silence|1 ms at least" "$peer" "${two[@]}" --peers 127.0.0.1:0,127.0.0.1:9 --silence 1ns
refused 2 "--measure-every|measurements" "$peer" "${two[@]}" --peers 127.0.0.1:0,127.0.0.1:9 --measure-every 1ns
refused 2 "/proc/here" "$peer" "${two[@]}" --peers 127.0.0.1:0,127.0.0.1:9 --report /proc/here/report
refused 2 "not enough memory" "$peer" "${two[@]/quadratic:10/quadratic:99999999999999}" --peers 127.0.0.1:0,127.0.0.1:9
TMPDIR=$PWD/nowhere refused 2 "temporary|TMPDIR" "$cluster" --peer "$peer" "${two[@]}" --out out
refused 2 "one algorithm" "$peer" "${two[@]}" --algorithms r_fast,d_psgd
refused 2 "unknown option|peer --help" "$peer" --nonsense
refused 2 "--peer names no program" "$cluster" --peer nowhere
refused 2 "unknown option|only race|cluster --help" "$cluster" --driver sim

# What only race's made-up links and simulator heed, what another option makes idle, and what a peer refuses.
for idle in "--latency 2ms" "--bandwidth 1Gbit" "--loss 0.1" "--threads 2"; do
  refused 2 "unknown option '${idle% *}'|only race|cluster --help" "$cluster" --peer "$peer" $idle
  refused 2 "unknown option '${idle% *}'|only race|peer --help" "$peer" "${two[@]}" $idle
done
refused 2 "unknown option|only race and cluster" "$peer" "${two[@]}" --target-loss 0.5
refused 2 "unknown option|only race and cluster" "$peer" "${two[@]}" --out here
refused 2 "--batch|quadratic:10|no samples" "$cluster" --peer "$peer" "${two[@]}" --batch 8
refused 2 "--target-loss|quadratic:10|no samples" "$cluster" --peer "$peer" "${two[@]}" --target-loss 0.5
refused 2 "--drop|over shared_memory|--transport udp" "$cluster" --peer "$peer" "${two[@]}" --drop 0.1
refused 2 "--within|softmax|quadratic:DIMENSION" "$peer" "${two[@]:0:2}" --within 0.1
refused 2 "--peers|under MPI|rank" "$peer" "${two[@]}" --transport mpi --peers 127.0.0.1:0,127.0.0.1:9
refused 2 "--record|--restart" "$peer" "${two[@]}" --id 0 --peers 127.0.0.1:0,127.0.0.1:9 --restart 1 --go-on --record here
refused 2 "--restart|without --go-on" "$peer" "${two[@]}" --id 0 --peers 127.0.0.1:0,127.0.0.1:9 --restart 1
refused 2 "no node 2 to --restart|0 to 1" "$peer" "${two[@]}" --id 2 --peers 127.0.0.1:0,127.0.0.1:9 --restart 1 --go-on
refused 2 "r_fast: a round to go on from was given, 7" "$cluster" --peer "$peer" "${two[@]}" --out out --checkpoint unsaved --resume --round 7
refused 2 "cluster: ring_allreduce_sgd: |every message counts" "$cluster" --peer "$peer" "${two[@]}" --out out \
  --transport udp --algorithms ring_allreduce_sgd
mkdir -p taken/race.json
refused 2 "taken/race.json|plain file" "$cluster" --peer "$peer" "${two[@]}" --out taken
refused 2 "cluster: r_fast: |multiple of 64" "$cluster" --peer "$peer" "${two[@]}" --out out --set block-values=7
refused 2 "cluster: the process of node [01]|status 2|silence|1 ms at least" "$cluster" --peer "$peer" "${two[@]}" --out out --silence 1ns
refused 2 "r_fast has no option 'overlap'|step, step-scale" "$peer" "${two[@]}" --peers 127.0.0.1:0,127.0.0.1:9 --set overlap=2
refused 2 "none of these algorithms has an option 'm'|ad_psgd has" "$cluster" --peer "$peer" "${two[@]}" --out out --algorithms r_fast,ad_psgd --set m=1
refused 2 "cluster: the process of node [01]|status 2|--record needs" "$cluster" --peer "$peer" "${two[@]}" --out out --record out
finish
