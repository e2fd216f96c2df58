#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# launch_scripts.sh CLUSTER PEER: examples/launch/slurm.sbatch under a stand-in for srun, and the container of
# examples/launch/kubernetes.yaml in stand-ins for pods, whose names are known one after the other: all nodes meet over
# addresses of their own, with a key, and leave results and checkpoints.
set -uo pipefail

peer=$2 examples=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../examples" && pwd)
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"

if "$peer" --id 0 --peers 127.0.0.1:1,127.0.0.1:2 --nodes 2 --problem quadratic:2 --arrival 1ms --key unused.key 2>&1 | grep -q "built without OpenSSL"; then
  echo "this peer was built without OpenSSL"
  exit 77
fi
run=(--problem quadratic:20 --step 0.1 --slow none --until 500ms --within 1)
rm -rf bin job pods unused.key
mkdir -p bin

# srun: two tasks on each of two nodes, the last one first.
cat >bin/srun <<'SRUN'
#!/usr/bin/env bash
[[ $1 == --kill-on-bad-exit=1 ]] || exit 9
shift
for rank in 3 2 1 0; do
  SLURM_PROCID=$rank SLURM_LOCALID=$((rank % 2)) SLURM_NODEID=$((rank / 2)) "$@" >"log.$rank" 2>&1 &
  tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit; done
SRUN
chmod +x bin/srun
free_ports 2
job=(env PATH="$PWD/bin:$PATH" SLURM_SUBMIT_DIR="$PWD" SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_JOB_NODELIST='127.0.0.[1-2]'
  SLURM_TASKS_PER_NODE='2(x2)' PEER="$peer" FOLDER="$PWD/job")
# What makes the key fails in the middle of it: the job that is requeued makes one.
printf '#!/bin/sh\nprintf 0123; exit 1\n' >bin/openssl && chmod +x bin/openssl
timeout -k 1 60 "${job[@]}" bash "$examples/launch/slurm.sbatch" --port "$port" "${run[@]}" >said 2>&1 && fail "a job without a key has run"
rm bin/openssl
for life in first second; do # the second one is a job that was requeued
  timeout -k 1 60 "${job[@]}" bash "$examples/launch/slurm.sbatch" --port "$port" "${run[@]}" >said 2>&1 ||
    fail "the $life job of Slurm ended with $?: $(cat said log.*)"
done
all_there job/result-{0,1,2,3} job/checkpoints/r_fast/node-{0,1,2,3}.checkpoint
[[ $(stat -c %a job/run.key) == 600 ]] || fail "others can read the key of a job"
grep -q '"iterations_before": *[1-9]' job/result-3 || fail "a job that was requeued began anew"

# What the container of the yaml file runs, and its environment.
yaml=$examples/launch/kubernetes.yaml
script=$(awk '/^ *- \|$/ { inside = 1; match($0, /^ */); least = RLENGTH + 2; next }
  inside { match($0, /^ */); if (RLENGTH < least) exit; print substr($0, least + 1) }' "$yaml")
mapfile -t variables < <(awk '$1 == "-" && $2 == "name:" { name = $3 } $1 == "value:" { sub(/^ *value: /, ""); gsub(/"/, ""); print name "=" $0 }' "$yaml")
replicas=$(awk '$1 == "replicas:" { print $2 }' "$yaml")
service=$(awk '$1 == "serviceName:" { print $2 }' "$yaml")
[[ $script == *peer*--launch*sleep* ]] || fail "the container runs '$script'"
[[ " ${variables[*]} " == *" RUBATO_NODES=$replicas RUBATO_SERVICE=$service "* ]] || fail "the container's environment is '${variables[*]}'"
grep -qF 'command: ["/bin/sh", "-c"]' "$yaml" || fail "the container's command is no shell"
if ! unshare -rm true 2>/dev/null; then
  echo "there are no namespaces here, so the pods are left out"
  finish
fi

# pod I: in the namespace; its key and state are below /run.
cat >bin/sleep <<'SLEEP'
#!/bin/sh
echo "$@" >>/run/rubato/state/slept
SLEEP
chmod +x bin/sleep
ln -s "$(realpath "$peer")" bin/peer
declare -p variables >pods
cat >>pods <<'PODS'
set -uo pipefail
mount -t tmpfs none /run && mkdir -p /run/rubato/key /run/rubato/state && cp run.key /run/rubato/key && chmod 400 /run/rubato/key/run.key
: >hosts && mount --bind hosts /etc/hosts && echo "hosts: files" >nss && mount --bind nss /etc/nsswitch.conf || exit
for ((i = 0; i < replicas; ++i)); do
  env -i PATH="$PWD/bin:/usr/bin:/bin" HOSTNAME="rubato-$i" "${variables[@]}" RUBATO_RUN="$RUBATO_RUN" \
    timeout -k 1 60 /bin/sh -c "$script" >"log.$i" 2>&1 &
  all+=($!)
done
for ((i = replicas - 1; i >= 0; --i)); do # names come one after the other
  for ((tries = 0; tries < 20; ++tries)); do kill -0 "${all[@]}" || exit 5; /bin/sleep 0.01; done
  echo "127.0.1.$((i + 1)) rubato-$i.$service" >>hosts
done
for each in "${all[@]}"; do wait "$each" || exit; done
ls /run/rubato/state /run/rubato/state/checkpoints/r_fast
cat /run/rubato/state/slept
PODS
"$examples/keys" made >said && cp made/run.key run.key && rm -rf made
free_addresses 1
replicas=$replicas service=$service script=$script RUBATO_RUN="--port ${addresses##*:} ${run[*]}" timeout -k 1 100 unshare -rm bash pods >said 2>&1 ||
  fail "the pods ended with $?: $(cat said log.*)"
for ((i = 0; i < replicas; ++i)); do
  grep -qx "result-$i" said && grep -qx "node-$i.checkpoint" said || fail "of pod $i there is no result, or no checkpoint: $(cat said)"
  grep -qF "node $i is at rubato-$i.$service:${addresses##*:} (127.0.1.$((i + 1)))" log.0 || fail "pod 0 says: $(cat log.0)"
done
(($(grep -cx infinity said) == replicas)) || fail "not every pod sleeps after it has done its part: $(cat said)"
finish
