#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# faults.sh CLUSTER PEER: what is done to one process of a run, and how all of them then end: in bounded time, and at the
# optimum or with the name of the node at fault. By itself a few cells of the matrix; with RUBATO_LONG all of it (into
# faults.md, a table; FAULTS_AT_ONCE says how many cells run side by side, FAULTS_ONLY which faults and moments, and then
# nothing else is done), 32 processes, and 200 restarts in one run.
set -uo pipefail

peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_pml=ob1
run=(--problem quadratic:50 --topology ring --step 0.1 --compute fixed:4ms --slow none --quiet)
run+=(--arrival 5s --checkpoint saved --every 250ms)
victim=1
rm -rf cells matrix faults.md
mkdir cells

# started TRANSPORT N OPTION...: the processes of a run, in this folder; sets pids, and `mpirun` under MPI.
# (A shell without job control starts background programs with SIGINT ignored; env sets it right.)
started() {
  local transport=$1 n=$2 i
  shift 2
  pids=() mpirun=
  if [[ $transport == mpi ]]; then
    env --default-signal=INT mpirun -n "$n" bash -c 'echo $$ >"pid.new.$OMPI_COMM_WORLD_RANK" && mv "pid.new.$OMPI_COMM_WORLD_RANK" "pid.$OMPI_COMM_WORLD_RANK"
      exec "$@"' rank "$peer" --transport mpi --nodes "$n" "${run[@]}" "$@" >said 2>&1 &
    mpirun=$!
    for ((i = 0; i < n; ++i)); do
      all_there "pid.$i"
      pids+=("$(cat "pid.$i")")
    done
    return
  fi
  for ((i = 0; i < n; ++i)); do
    env --default-signal=INT "$peer" --id $i --transport "$transport" --peers "$addresses" --nodes "$n" "${run[@]}" "$@" >said.$i 2>&1 &
    pids+=($!)
  done
}

# met N: waits until each node of a run in this folder has saved itself, so that all have met.
met() {
  local i files=()
  for ((i = 0; i < $1; ++i)); do files+=("saved/r_fast/node-$i.checkpoint"); done
  all_there "${files[@]}"
}

# done_to_it FAULT: to the victim, once it is a peer, and not this shell any more, which ignores interrupts.
done_to_it() {
  until [[ /proc/${pids[victim]}/exe -ef $peer ]] || ! kill -0 "${pids[victim]}"; do sleep 0.001; done
  case $1 in
    kill) kill -KILL "${pids[victim]}" ;;
    terminate) kill -TERM "${pids[victim]}" ;;
    interrupt) kill -INT "${pids[victim]}" ;;
    stop*) # the time is part of the cell
      kill -STOP "${pids[victim]}"
      sleep "${1#stop}"
      kill -CONT "${pids[victim]}"
      ;;
  esac 2>/dev/null
}

# allowed FAULT MOMENT TRANSPORT end|go-on: how such a cell may end. Whether a fault of the last moments is noticed is a
# matter of time, less than the silence that counts as death: the others may have ended in order by then, or all have.
# mpirun ends all ranks when one of them dies; a rank that is stopped in MPI_Init keeps the others there.
allowed() {
  case $1-$2-$3-$4 in
    *-end-*-*) echo "right goes-on named" ;;
    kill-*-mpi-* | kill-*-end) echo named ;;
    kill-*) echo goes-on ;;
    stop10-start-mpi-end) echo "right named" ;;
    stop10-*-end) echo named ;;
    stop*) echo right ;;
    terminate-*-mpi-go-on | interrupt-*-mpi-go-on) echo "named goes-on" ;; # mpirun ends with the status of any one rank
    terminate-*-end | interrupt-*-end) echo named ;;
    terminate-* | interrupt-*) echo goes-on ;;
    none-*) echo right ;;
  esac
}

# may_be STATUS NODE FAULT: whether a process may end with it; a crash is never right, whatever was said before.
may_be() {
  case $2-$3-$1 in
    *-0 | *-3 | *-4 | *-130) ;;
    $victim-kill-137 | $victim-terminate-143) ;;
    *) return 1 ;;
  esac
}

# verdict N FAULT: of the statuses: right, goes-on or named, or else what is wrong. Whoever ends early says why, and at
# least one node names the victim.
verdict() {
  local i word=right names=no
  [[ ! -e ended-by-force ]] || { echo "not all have ended: ${statuses[*]}"; return; }
  for ((i = 0; i < $1; ++i)); do
    may_be "${statuses[i]}" $i "$2" || { echo "node $i ends with ${statuses[i]}"; return; }
    ((i != victim && statuses[i] != 0)) || continue
    grep -q "away from the optimum" "said.$i" && { echo "node $i is $(grep -o '[0-9.]* away' "said.$i") from the optimum"; return; }
    grep -qE "node [0-9]+|interrupted" "said.$i" || { echo "node $i ends with ${statuses[i]} and no reason"; return; }
    grep -qE "node $victim([^0-9]|$)" "said.$i" && names=yes
    if ((statuses[i] != 3)); then word=named; elif [[ $word == right ]]; then word=goes-on; fi
  done
  [[ $word == right || $names == yes ]] || word="nobody names node $victim"
  [[ $word != right || ${statuses[victim]} == 0 ]] || word=goes-on
  echo "$word"
}

# cell FAULT MOMENT TRANSPORT end|go-on N: in a folder of its own; leaves `verdict seconds` in its file `end`.
cell() {
  local fault=$1 moment=$2 transport=$3 how=$4 n=$5 lasts=6 statuses=() begun=$SECONDS options i word watch
  mkdir "cells/$1-$2-$3-$4-$5" && cd "cells/$1-$2-$3-$4-$5" || exit 1
  [[ $fault == stop10 && $how == go-on ]] && lasts=20 # so that it can come back
  options=(--until "${lasts}s")
  # A run without one of its nodes ends 0.8 away, at another optimum.
  [[ $how == end || $fault == stop* ]] && options+=(--within 0.4)
  [[ $how == go-on ]] && options+=(--go-on)
  # A busy machine may stop it for longer than a second.
  if [[ $fault == stop1 ]]; then options+=(--silence 30s); else options+=(--silence 2500ms); fi
  started "$transport" "$n" "${options[@]}"
  # In place of a clock for each wait. A stopped process has to be woken to be ended.
  (sleep 120; touch ended-by-force; kill -KILL "${pids[@]}" $mpirun) >/dev/null 2>&1 &
  watch=$!
  if [[ $moment != start ]]; then met "$n"; fi
  if [[ $moment == end ]]; then sleep $((lasts - 1)).6; fi # until a moment before it
  done_to_it "$fault"
  if [[ $transport == mpi ]]; then
    wait "$mpirun"
    statuses=($?)
    word="mpirun ends with ${statuses[0]} and no name: $(tail -n 3 said)"
    ((statuses[0] == 0)) && word=right
    ((statuses[0] == 3)) && grep -qE "node $victim[^0-9]" said && word=goes-on
    # Open MPI's mpirun was seen to stay for ever where a rank had died before MPI_Init, after it had said which.
    ((statuses[0] != 0 && statuses[0] != 3)) && [[ ! -e ended-by-force || $moment == start ]] &&
      grep -qE "node $victim[^0-9]|rank $victim |interrupted|on signal (2|9|15) " said && word=named
  else
    for ((i = 0; i < n; ++i)); do
      wait "${pids[i]}"
      statuses+=($?)
    done
    word=$(verdict "$n" "$fault")
  fi
  kill $watch 2>/dev/null
  echo "$word" >word
  echo "$((SECONDS - begun)) ${statuses[*]}" >end
}

at_once=${FAULTS_AT_ONCE:-6}
# begin CELL...: as soon as there is room for it. Ranks of MPI look for messages all the time, and so take what there is.
begin() {
  local most=$at_once
  [[ $3 != mpi ]] || most=$(((at_once + 3) / 4))
  while (($(jobs -rp | wc -l) >= most)); do wait -n; done
  free_addresses "$5"
  cell "$@" 2>/dev/null &
}
# All that was begun: each ends as it may.
all_end() {
  local folder fault moment transport how
  wait
  for folder in cells/*; do
    [[ -s $folder/word ]] || { fail "$folder has no end"; continue; }
    IFS=- read -r fault moment transport how <<<"${folder#cells/}"
    [[ " $(allowed "$fault" "$moment" "$transport" "${how%-*}") " == *" $(cat "$folder/word") "* ]] ||
      fail "$folder: $(cat "$folder/word"): $(cat "$folder/end")"
  done
}

transports=(tcp udp)
if command -v mpirun >/dev/null && [[ $(ldd "$peer") == *libmpi* ]]; then transports+=(mpi); fi

if [[ -z ${RUBATO_LONG:-} ]]; then
  for how in end go-on; do
    for fault in kill stop1 terminate; do
      for transport in tcp udp; do begin $fault middle $transport $how 4; done
    done
  done
  all_end
  # Who is told to end was not asked to have come near the optimum.
  [[ $(cut -d' ' -f$((victim + 2)) cells/terminate-middle-{tcp,udp}-{end,go-on}-4/end | sort -u) == 130 ]] ||
    fail "a process that was terminated does not end with status 130"
  finish
fi

faults=(kill stop1 stop10 terminate interrupt)
for n in 4 8; do
  for transport in "${transports[@]}"; do
    for how in end go-on; do
      for moment in start middle end; do
        for fault in "${faults[@]}"; do
          # shellcheck disable=SC2053 # a pattern
          [[ $fault-$moment != ${FAULTS_ONLY:-*} ]] || begin $fault $moment "$transport" $how $n
        done
      done
    done
  done
done
all_end
if [[ -n ${FAULTS_ONLY:-} ]]; then
  for folder in cells/*; do echo "${folder#cells/}: $(cat "$folder/word") $(cut -d' ' -f1 "$folder/end")"; done
  finish
fi
{
  head="| what is done to node $victim | when |" line="| --- | --- |"
  for n in 4 8; do
    for transport in "${transports[@]}"; do
      for how in end go-on; do head+=" $transport $how $n |" line+=" --- |"; done
    done
  done
  printf '%s\n%s\n' "$head" "$line"
  for fault in "${faults[@]}"; do
    for moment in start middle end; do
      row="| $fault | $moment |"
      for n in 4 8; do
        for transport in "${transports[@]}"; do
          for how in end go-on; do
            folder=cells/$fault-$moment-$transport-$how-$n
            row+=" $(cat "$folder/word") $(cut -d' ' -f1 "$folder/end") |"
          done
        done
      done
      echo "$row"
    done
  done
} >faults.md
cat faults.md
mv cells matrix
mkdir cells

# 32 processes, undisturbed, and without one of them.
free_addresses 32
(cell none middle tcp end 32) 2>/dev/null
free_addresses 32
(cell kill middle tcp go-on 32) 2>/dev/null
all_end

# 200 restarts in one run, in which the others take no more memory and no more files.
mkdir cells/restarts && cd cells/restarts || exit 1
free_addresses 3
started tcp 3 --until 20min --go-on --silence 2500ms --log warnings
trap 'kill -KILL "${pids[@]}"' EXIT
met 3
held() { # its resident memory in kB, and its open files
  sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/${pids[0]}/status"
  ls "/proc/${pids[0]}/fd" | wc -l
}
for ((life = 1; life <= 200; ++life)); do
  kill -KILL "${pids[victim]}"
  wait "${pids[victim]}" 2>/dev/null
  rm "saved/r_fast/node-$victim.checkpoint"
  "$peer" --id $victim --restart $life --transport tcp --peers "$addresses" --nodes 3 "${run[@]}" --until 20min --silence 2500ms --go-on >said.1 2>&1 &
  pids[victim]=$!
  all_there "saved/r_fast/node-$victim.checkpoint" # so it is back
  ((life != 20)) || mapfile -t early < <(held)
done
mapfile -t late < <(held)
echo "memory of node 0 after 20 restarts ${early[0]} kB, after 200 ${late[0]} kB; open files ${early[1]} and ${late[1]}"
((late[0] < early[0] + early[0] / 10 + 1024)) || fail "memory grows with restarts"
((late[1] <= early[1] + 1)) || fail "open files grow with restarts"
kill -INT "${pids[@]}"
for pid in "${pids[@]}"; do wait "$pid"; done
trap - EXIT
finish
