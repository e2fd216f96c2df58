#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# resume.sh CLUSTER PEER: processes save themselves while they run. One that is killed goes on from its file while the
# others --go-on; all that were killed go on together, over TCP, UDP, shared memory and (where there is mpirun) MPI; and they end at the
# optimum. A file that is damaged or of another run is refused with one sentence, and stays as it is. Algorithms that need
# every node go on together from the newest round that all have.
set -uo pipefail

cluster=$1
peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
run=(--problem quadratic:50 --compute fixed:2ms --slow none --nodes 3 --topology ring --quiet)
save=(--checkpoint saved --every 200ms)

# where: sets `at`, what peers over $transport are told of each other.
where() {
  at=(--peers "$addresses")
  [[ $transport != shared_memory ]] || at=(--run "resume-$$")
}
# begin OPTION...: three peers over $transport, whose process ids are in pids.
begin() {
  pids=()
  where
  for i in 0 1 2; do
    "$peer" --id $i --transport "$transport" "${at[@]}" "${run[@]}" "$@" >said.$i 2>&1 &
    pids+=($!)
  done
}
new_addresses() { free_addresses 3; }
# await_files ALGORITHM: each node was saved.
await_files() {
  for i in 0 1 2; do
    for ((n = 0; n < 400; ++n)); do
      [[ -e saved/$1/node-$i.checkpoint ]] && break
      sleep 0.05
    done
    [[ -e saved/$1/node-$i.checkpoint ]] || fail "node $i was not saved over $transport: $(cat said.$i)"
  done
}
all_end_well() {
  for i in 0 1 2; do wait "${pids[i]}" || fail "node $i over $transport, $1, does not end with status 0: $(cat said.$i)"; done
}

# kill_one TRANSPORT: in a folder of its own, so that those of all transports run at a time.
kill_one() {
  transport=$1
  rm -rf "$1" # of a run before
  mkdir "$1" && cd "$1" || exit 1
  begin --step 0.1 "${save[@]}" --go-on --silence 800ms --until 20s --within 1e-5
  await_files r_fast
  sleep 1 # not for correctness: so that node 1 is killed in the middle of its run
  kill -KILL "${pids[1]}"
  wait "${pids[1]}" 2>/dev/null
  "$peer" --id 1 --transport $transport "${at[@]}" "${run[@]}" --step 0.1 "${save[@]}" --go-on --silence 800ms --until 8s \
    --within 1e-5 --resume >said.1 2>&1 &
  pids[1]=$!
  all_end_well "one resumed"
  [[ $1 != shared_memory ]] || [[ -z $(compgen -G "/dev/shm/rubato-*-resume-$$:*") ]] || fail "shared memory is left"
  exit $((failures > 0))
}
all=()
for transport in tcp udp shared_memory; do
  new_addresses
  (kill_one $transport) &
  all+=($!)
done
for each in "${all[@]}"; do wait "$each" || failures=$((failures + 1)); done

# All are killed and go on together: $1 is the algorithm, over $transport; $3 is said at both times, as by a script.
kill_and_resume_all() {
  rm -rf saved said*
  new_addresses
  begin --step 0.1 "${save[@]}" --algorithms "$1" --until 60s ${3:+"$3"}
  await_files "$1"
  kill -KILL "${pids[@]}" 2>/dev/null # one may have ended already, because of another
  wait "${pids[@]}" 2>/dev/null
  new_addresses
  begin --step 0.1 "${save[@]}" --algorithms "$1" --until 8s "${3:---resume}" --within "$2"
  all_end_well "all resumed, $1"
}
transport=tcp
kill_and_resume_all r_fast 1e-5
transport=udp
kill_and_resume_all r_fast 1e-5 --resume-if-there

# descendants PID: its children, theirs (ranks are those of mpirun), and so on.
descendants() {
  local child
  for child in $(pgrep -P "$1"); do
    echo "$child"
    descendants "$child"
  done
}
# begin_together ALGORITHM OPTION...: a cluster, whose processes are killed once each node has been saved at a third round.
begin_together() {
  local algorithm=$1 i n
  shift
  rm -rf saved said*
  touch said.{0,1,2}
  "$cluster" --peer "$peer" "${run[@]}" --step 0.4 --algorithms "$algorithm" --checkpoint saved --every-rounds 50 --until 60s "$@" >said.0 2>&1 &
  started=$!
  for i in 0 1 2; do
    for ((n = 0; n < 400; ++n)); do
      compgen -G "saved/$algorithm/node-$i.round-[0-9][0-9][0-9]*" >/dev/null && break
      sleep 0.05
    done
    compgen -G "saved/$algorithm/node-$i.round-[0-9][0-9][0-9]*" >/dev/null || fail "$algorithm: node $i was not saved at round 100: $(cat said.0)"
  done
  mapfile -t pids < <(descendants $started)
  kill -KILL "${pids[@]}" 2>/dev/null
  wait $started && fail "$algorithm: processes that were killed end with status 0"
}
# go_on_together ALGORITHM OPTION...
go_on_together() {
  local algorithm=$1
  shift
  timeout 120 "$cluster" --peer "$peer" "${run[@]}" --step 0.4 --algorithms "$algorithm" --checkpoint saved --every-rounds 50 --until 6s \
    --within 1e-5 --resume "$@" >said.0 2>&1 || fail "$algorithm, all resumed together: $(cat said.0)"
}
begin_together ring_allreduce_sgd
newest=$(ls -v saved/ring_allreduce_sgd/node-1.round-*.checkpoint | tail -n 1)
printf 'x' | dd of="$newest" bs=1 seek=500 conv=notrunc status=none
go_on_together ring_allreduce_sgd
[[ $(<said.0) == *"cluster: of round "*": going on from round "* ]] || fail "a damaged newest file: $(cat said.0)"
begin_together m_synchronous_sgd
go_on_together m_synchronous_sgd

transport=tcp
# refused WORDS OPTION...: status 2, one sentence, and the file is as it was.
refused() {
  local words=$1 said
  shift
  said=$(timeout 20 "$peer" --id 1 --peers "$addresses" "${run[@]}" "${save[@]}" "${resume:---resume}" --until 1s --step "${step:-0.1}" "$@" 2>&1)
  (($? == 2)) && [[ $said == *"$words"* && $(grep -c . <<<"$said") == 1 ]] || fail "$*: $said"
  [[ $(cksum <saved/r_fast/node-1.checkpoint) == "$before" ]] || fail "$*: the checkpoint was changed"
}
kill_and_resume_all r_fast 1e-5
before=$(cksum <saved/r_fast/node-1.checkpoint)
# Of several algorithms every state is looked at before any runs.
several=("$cluster" --peer "$peer" --step 0.1 "${run[@]}" --checkpoint several --algorithms r_fast,push_pull)
rm -rf several race.csv
"${several[@]}" --until 300ms >said.0 2>&1 || fail "two algorithms that are saved: $(cat said.0)"
printf 'x' | dd of=several/push_pull/node-2.checkpoint bs=1 seek=1000 conv=notrunc status=none
rm -f race.csv
said=$("${several[@]}" --resume --until 1s 2>&1)
(($? == 2)) && [[ $said == "cluster: push_pull: "*"push_pull/node-2.checkpoint' is damaged"* && ! -e race.csv && $(wc -l <<<"$said") == 1 ]] ||
  fail "a damaged state of the second algorithm: $said"
# What each of them is about to do is said in a line; if one cannot go on, none is run.
mv several/push_pull several/aside
said=$("${several[@]}" --resume --until 1s 2>&1)
(($? == 2)) && [[ $said == "cluster: push_pull: no node has a checkpoint in 'several/push_pull', so none of these algorithms is run: "* && $(wc -l <<<"$said") == 1 ]] ||
  fail "several algorithms of which one was never saved: $said"
rm several/r_fast/node-1.checkpoint
"${several[@]}" --resume-if-there --until 300ms >said.0 2>&1 || fail "several algorithms of which one begins anew: $(cat said.0)"
grep -qx "cluster: going on: r_fast; beginning anew: push_pull" said.0 &&
  (($(grep -c "there is no checkpoint of node 1 in 'several/r_fast', so it begins anew" said.0) == 1)) &&
  grep -q '^Times, gradients and bytes count from the checkpoint' said.0 || fail "what several algorithms do is not said: $(cat said.0)"
# Where the network is another one, both are named.
said=$("${several[@]/ring/line}" --resume --until 1s 2>&1)
(($? == 2)) && [[ $said == *"(its network is ring(3), "*", and this one "*"line(3), "* && $(wc -l <<<"$said") == 1 ]] || fail "another network: $said"
refused "--resume and --resume-if-there exclude each other" --resume-if-there
step=0.2 refused "the checkpoint has step 0.1, but this node has 0.2: it is of another run"
refused "the checkpoint has pace kept, but this node has none" --pace 0
refused "cannot be read" --algorithms push_pull
refused "--record and --resume exclude each other" --record somewhere
printf 'x' | dd of=saved/r_fast/node-1.checkpoint bs=1 seek=1000 conv=notrunc status=none
before=$(cksum <saved/r_fast/node-1.checkpoint)
refused "saved/r_fast/node-1.checkpoint' is damaged"
resume=--resume-if-there refused "saved/r_fast/node-1.checkpoint' is damaged"

# Who is interrupted, or ends because of another, saves where it has come to.
transport=tcp
rm -rf saved said*
touch said.{0,1,2}
"$cluster" --peer "$peer" --step 0.1 "${run[@]}" --checkpoint saved --every 60min --until 60s >said.0 2>&1 &
started=$!
await_files r_fast
before=$(cksum <saved/r_fast/node-1.checkpoint)
sleep 1 # not for correctness: so that there is more to save
kill -TERM $started
wait $started
[[ $(cksum <saved/r_fast/node-1.checkpoint) != "$before" ]] || fail "an interrupted cluster saves nothing: $(cat said.0)"
# Nodes that go on together meet once more, so that no round is done again.
rm -rf saved said*
"$cluster" --peer "$peer" --step 0.1 "${run[@]}" --algorithms ring_allreduce_sgd --checkpoint saved --every-rounds 1000000 --until 60s >said.0 2>&1 &
started=$!
until [[ -e saved/ring_allreduce_sgd/node-2.round-0.checkpoint ]] || ! kill -0 $started; do sleep 0.05; done
sleep 1 # as above
kill -INT $started
wait $started
(($? == 130 && $(find saved -name '*.checkpoint' ! -name '*round-0.*' | sed 's/.*round-//' | sort -u | wc -l) == 1 &&
  $(find saved -name '*.checkpoint' ! -name '*round-0.*' | wc -l) == 3)) || fail "an interrupted run in rounds: $(ls saved/* && cat said.0)"
# They do so as well at the end of their time, and a run that goes on from there does not go back.
rm -rf saved said*
for resume in '' --resume; do
  "$cluster" --peer "$peer" --step 0.1 "${run[@]}" --algorithms ring_allreduce_sgd --checkpoint saved --every-rounds 1000000 --until 1s $resume >said.0 2>&1 ||
    fail "a run in rounds that ends at a time: $(cat said.0)"
  grep -qE 'going on from|at one more round' said.0 && fail "a run in rounds that ends at a time loses some: $(cat said.0)"
done
(($(find saved -name '*.checkpoint' | sed 's/.*round-//' | sort -u | wc -l) == 3 && $(find saved -name '*.checkpoint' | wc -l) == 9)) ||
  fail "a run in rounds that ends at a time and goes on: $(ls saved/* && cat said.0)"
# One node has a newer round than the others, as after a loss of power: it is said how far they go back, and nothing is removed.
rm saved/ring_allreduce_sgd/node-1.round-$(ls saved/ring_allreduce_sgd | sed 's/.*round-//; s/\..*//' | sort -n | tail -n 1).checkpoint
"$cluster" --peer "$peer" --step 0.1 "${run[@]}" --algorithms ring_allreduce_sgd --checkpoint saved --every-rounds 1000000 --until 1s --resume >said.0 2>&1 ||
  fail "a run that goes back to a round that all have: $(cat said.0)"
(($(grep -cE 'has no checkpoint: going on from round [0-9]+, which loses the [0-9]+ rounds after it' said.0) == 1 && $(find saved -name '*.aside' | wc -l) == 2)) ||
  fail "a run that goes back to a round that all have: $(ls saved/* && cat said.0)"
rm -rf saved said*
new_addresses
begin --step 0.1 --checkpoint saved --every 60min --until 60s
await_files r_fast
before=$(cksum <saved/r_fast/node-1.checkpoint)
sleep 1 # as above
kill -KILL "${pids[2]}"
wait "${pids[@]}" 2>/dev/null
[[ $(cksum <saved/r_fast/node-1.checkpoint) != "$before" ]] || fail "who ends because of another saves nothing: $(cat said.1)"

# A disk that takes no state is no good end: results are whole, and the status says so.
mkdir -p full
rm -rf saved said*
if mount -t tmpfs -o size=256k none full 2>/dev/null; then
  "$cluster" --peer "$peer" --step 0.1 "${run[@]}" --checkpoint full --every 200ms --until 3s >said.0 2>&1 &
  started=$!
  until [[ -e full/r_fast/node-0.checkpoint && -e full/r_fast/node-1.checkpoint && -e full/r_fast/node-2.checkpoint ]] ||
    ! kill -0 $started; do sleep 0.05; done
  dd if=/dev/zero of=full/rest bs=1k count=256 2>/dev/null
  wait $started
  (($? == 1)) && grep -q "was not saved" said.0 && [[ -s race.csv ]] || fail "a full disk: $(cat said.0)"
  umount -l full # a process of the run may not have left it yet
  # What is known to have no room is refused before anything runs.
  mount -t tmpfs -o size=16k none full
  said=$("$cluster" --peer "$peer" --step 0.1 "${run[@]}" --checkpoint full --until 2s 2>&1)
  (($? == 2)) && [[ $said == *"the disk of 'full' has room for 16384 bytes, and the files of this run need at least "* && $(wc -l <<<"$said") == 1 ]] ||
    fail "a disk that is too small: $said"
  umount -l full # a process of the run may not have left it yet
else
  echo "left out: a full disk, which needs the right to mount"
fi

if command -v mpirun >/dev/null && [[ $(ldd "$peer") == *libmpi* ]]; then
  rm -rf saved said*
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  mpi=("$cluster" --peer "$peer" --transport mpi --step 0.1 "${run[@]}" "${save[@]}")
  transport=mpi
  "${mpi[@]}" --until 60s >said.0 2>&1 &
  started=$!
  touch said.1 said.2
  await_files r_fast
  pkill -KILL -P $started
  wait $started && fail "a run whose ranks were killed ends with status 0"
  timeout 120 "${mpi[@]}" --until 12s --within 1e-5 --resume >said.0 2>&1 || fail "ranks that go on from their files: $(cat said.0)"
  begin_together ring_allreduce_sgd --transport mpi
  go_on_together ring_allreduce_sgd --transport mpi
else
  echo "left out: MPI, for there is no mpirun or peer was built without it"
fi
finish
