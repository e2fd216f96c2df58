#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# launch.sh CLUSTER PEER: peers take their places from what launchers say, in any order; cluster --hosts starts peers
# through ssh (a stand-in, which runs them here), and leaves none behind, however it ends; what cannot be is one sentence.
set -uo pipefail

cluster=$1 peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
run=(--problem quadratic:20 --step 0.1 --slow none)

# attached: the command lines of peers that ssh has started.
attached() { pgrep -f -a -- "--attached"; }

# The same three peers by each launcher's variables, the last one when the others wait already; asgd has a server.
slurm() { env SLURM_PROCID="$1" SLURM_NTASKS=3 SLURM_JOB_NODELIST=alone SLURM_LOCALID="$1" "${@:2}"; }
openmpi() {
  env OMPI_COMM_WORLD_RANK="$1" OMPI_COMM_WORLD_SIZE=3 OMPI_COMM_WORLD_LOCAL_RANK="$1" OMPI_COMM_WORLD_LOCAL_SIZE=3 "${@:2}"
}
torchrun() { env RANK="$1" WORLD_SIZE=3 LOCAL_RANK="$1" LOCAL_WORLD_SIZE=3 MASTER_ADDR=here MASTER_PORT=$((port - 1)) "${@:2}"; }
for way in "slurm r_fast" "openmpi asgd" "torchrun d_psgd"; do
  free_ports 3
  with=(--port "$port")
  [[ $way == torchrun* ]] && with=()
  pids=()
  for i in 2 0 1; do
    ${way% *} $i timeout -k 1 30 "$peer" --launch auto "${with[@]}" --algorithms "${way#* }" "${run[@]}" --until 300ms >said.$i 2>&1 &
    pids+=($!)
    ((i == 1)) || listened_on $((port + i)) $!
  done
  for p in "${pids[@]}"; do wait "$p" || fail "a peer of ${way% *} ended with $?: $(cat said.0 said.1 said.2)"; done
  cat said.0 said.1 said.2 >said
  (($(grep -c "from the optimum" said) == $([[ $way == *asgd ]] && echo 1 || echo 3))) || fail "peers of ${way% *} say: $(cat said)"
done

# bad 'WORDS|WORDS' COMMAND...: status 2 and one sentence with these words.
bad() {
  local words=$1 word status
  shift
  timeout -k 1 20 "$@" >said 2>&1
  status=$?
  ((status == 2)) || fail "$*: status $status, not 2 ($(cat said))"
  (($(wc -l <said) == 1)) || fail "$*: not one line: $(cat said)"
  while IFS= read -r -d '|' word; do
    grep -qF -- "$word" said || fail "$*: '$(cat said)' does not say '$word'"
  done <<<"$words|"
}
quick=("${run[@]}" --until 100ms)
printf 'node1\nnode2 slot=3\n' >wrong.hosts
printf '127.0.0.1 slots=2\n' >two.hosts
bad "--launch auto finds no launcher" "$peer" --launch auto "${quick[@]}"
bad "--launch must be auto, slurm, openmpi, torchrun or kubernetes" "$peer" --launch pbs "${quick[@]}"
bad "--id has no effect beside --launch" "$peer" --launch slurm --id 1 "${quick[@]}"
bad "--peers has no effect beside --hosts" "$peer" --hosts two.hosts --peers a:1,b:2 --nodes 2 "${quick[@]}"
bad "--port has no effect without --hosts or --launch" "$peer" --port 1 --nodes 2 "${quick[@]}"
bad "--port must be a port from 1 to 65535" "$peer" --port 65536 "${quick[@]}"
bad "has started 3 processes, and this run has 2" env SLURM_PROCID=0 SLURM_NTASKS=3 SLURM_JOB_NODELIST=alone "$peer" --launch slurm --nodes 2 "${quick[@]}"
bad "has 1 server, so the launcher must start more processes than 1" env SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_JOB_NODELIST=alone \
  "$peer" --launch slurm --algorithms asgd "${quick[@]}"
bad "192.0.2.7:7000 is not an address of this machine alone" env SLURM_PROCID=0 SLURM_NTASKS=2 SLURM_JOB_NODELIST='192.0.2.[7-8]' \
  SLURM_TASKS_PER_NODE='1(x2)' "$peer" --launch slurm "${quick[@]}"
for program in "$peer --id 0" "$cluster --peer $peer --out out"; do
  # shellcheck disable=SC2086
  bad "wrong.hosts:2: 'slot=3' is not understood" $program --hosts wrong.hosts --nodes 2 "${quick[@]}"
  # shellcheck disable=SC2086
  bad "the hosts of two.hosts have 2 slots, and this run has 3 processes" $program --hosts two.hosts --nodes 3 "${quick[@]}"
done
bad "--hosts has no effect over shared_memory" "$cluster" --peer "$peer" --hosts two.hosts --nodes 2 --transport shared_memory "${quick[@]}"
bad "--insecure has no effect without --hosts" "$cluster" --peer "$peer" --nodes 2 --insecure "${quick[@]}"

# A node twice: the second one finds its port taken.
free_ports 2
"$peer" --id 0 --hosts two.hosts --port "$port" --nodes 2 "${run[@]}" --until 1s --arrival 60s >said.0 2>&1 &
first=$!
listened_on "$port" $first
bad "Address already in use: another program has this port, or two processes are the same node" \
  "$peer" --id 0 --hosts two.hosts --port "$port" --nodes 2 "${quick[@]}"
kill $first
wait $first

# ssh: what it is given is one text for a shell, in a folder that is not this one. It has no input of its own.
mkdir -p bin home tmp "it's a \"folder\""
cat >bin/ssh <<'SSH'
#!/usr/bin/env bash
while [[ $1 == -* ]]; do [[ $1 == -o ]] && shift; shift; done
echo "$1" >>"$CALLED"
[[ $1 != 127.0.0.9 ]] || { echo "ssh: connect to host 127.0.0.9 port 22: No route to host" >&2; exit 255; }
shift
cd "$ASIDE" && exec sh -c "$*"
SSH
chmod +x bin/ssh
rm -f called # of an earlier run in this folder
export PATH=$PWD/bin:$PATH CALLED=$PWD/called ASIDE=$PWD/home TMPDIR=$PWD/tmp
# no_traces PORT: neither peers that use it nor their files are there after a while.
no_traces() {
  local tries
  for ((tries = 0; tries < 400; ++tries)); do
    attached | grep -q ":$1[, ]" || [[ -n $(ls tmp) ]] || return 0
    sleep 0.05
  done
  fail "left of a cluster: $(ls tmp; attached | grep ":$1[, ]")"
}
cd "it's a \"folder\"" || exit 1
printf '# three of them\n127.0.0.1 slots=2\n127.0.0.2\n' >my.hosts
printf '0 1\n1 2\n2 0\n' >"a 'ring' of \$three.txt"
free_ports 2
"$cluster" --peer "$peer" --hosts my.hosts --port "$port" --topology "file:a 'ring' of \$three.txt" "${run[@]}" \
  --until 1s --within 0.5 --out "what came" >said 2>&1 || fail "a cluster over ssh ended with $?: $(cat said)"
[[ $(sort ../called) == $'127.0.0.1\n127.0.0.1\n127.0.0.2' ]] || fail "ssh was called for $(cat ../called)"
grep -q "on the hosts of my.hosts" said && [[ -s what\ came/race.json ]] || fail "what a cluster over ssh says: $(cat said)"
cd ..
no_traces "$port"

# Each node serves its page on its own machine.
cd "it's a \"folder\"" || exit 1
free_ports 3
first=$port
free_ports 2
"$cluster" --peer "$peer" --hosts my.hosts --port "$port" --nodes 3 "${run[@]}" --until 60s --status "$first" --out out >said 2>&1 &
started=$!
at=127.0.0.1:$((first + 2)) tries=0
until ((++tries == 600)); do
  url=$(sed -n 's/^status of node 2, on 127.0.0.2: //p' said) token=${url##*=}
  [[ $url == "http://$at/?token="* ]] && get_page "$at" /network.json "$token" | grep -q '"phase":"running".*"phase":"running".*"phase":"running"' && break
  sleep 0.1
done
((tries < 600)) || fail "the page of a node on another machine: $(get_page "$at" /network.json "$token") $(cat said)"
attached | grep -qF "${token:-no token}" && fail "the token of a page is in the list of processes"
kill -INT $started
wait $started 2>/dev/null
cd ..
no_traces "$port"
bad "--status auto is for one machine" "$cluster" --peer "$peer" --hosts two.hosts --nodes 2 --status auto "${quick[@]}"
bad "--status 65535 leaves no port for each of 2 nodes" "$cluster" --peer "$peer" --hosts two.hosts --nodes 2 --status 65535 "${quick[@]}"

# One machine under two names of /etc/hosts, which hosts files do not show.
read -r one other < <(awk '$1 ~ /^(127[.]|::1$)/ { for (k = 2; k <= NF; ++k) if ($k != "localhost") names[$1] = names[$1] " " $k }
  END { for (a in names) if (split(names[a], n, " ") > 1 && n[1] != n[2]) { print n[1], n[2]; exit } }' /etc/hosts)
if [[ -n ${other:-} ]]; then
  printf '%s\n' "$one" "$other" >twice.hosts
  bad "nodes 0 and 1 are at one place: $one:7000 and $other:7000 are both |; name each machine once" \
    "$peer" --id 0 --hosts twice.hosts --nodes 2 "${quick[@]}"
fi

printf '127.0.0.1\n127.0.0.9\n' >far.hosts
"$cluster" --peer "$peer" --hosts far.hosts --port "$port" --nodes 2 "${run[@]}" --until 60s --out out >said 2>&1
(($? == 1)) && grep -qF "the process of node 1 on 127.0.0.9 ended with status 255: ssh: connect to host" said || fail "a host that is not there: $(cat said)"
no_traces "$port"

# Whatever ends a cluster, its peers end, and clear up; what it made for the run has no key in any list of processes.
for signal in KILL INT; do
  free_ports 2
  "$cluster" --peer "$peer" --hosts two.hosts --port "$port" --nodes 2 "${run[@]}" --until 60s --out out >said 2>&1 &
  started=$!
  until grep -qs . tmp/tmp.*/key && (($(attached | grep -c ":$port,.*--key") >= 2)); do # --until bounds it
    kill -0 $started 2>/dev/null || { fail "a cluster over ssh does not run: $(cat said)"; break; }
    sleep 0.05
  done
  attached | grep -qF "$(cat tmp/tmp.*/key | head -n 1)" && fail "the key of a run is in the list of processes"
  kill -$signal $started
  wait $started 2>/dev/null
  no_traces "$port"
done
finish
