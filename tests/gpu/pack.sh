#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# pack.sh ROOT: what bench/gpu --pack DIR builds, and how DIR/run behaves, with stand-ins for nvcc and g++ that "compile"
# a script. Run in a folder of its own.
set -uo pipefail

root=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
broken=0
complain() { echo "$1"; broken=$((broken + 1)); }
# refused STATUS WORDS ARGUMENT...: with that status and one sentence on stderr that holds these words
refused() {
  local status=$1 words=$2 got
  shift 2
  bash "$root/bench/gpu" "$@" >out 2>err
  got=$?
  ((got == status)) || complain "bench/gpu $*: status $got, not $status"
  grep -q -- "$words" err || complain "bench/gpu $*: no '$words' in: $(cat err)"
  (($(wc -l <err) == 1)) || complain "bench/gpu $*: not one sentence but: $(cat err)"
}

# What is "compiled" says its name and arguments, and ends with the status in the file `status` beside it, if there is one.
mkdir -p tools/bin tools/include
cat >tools/bin/nvcc <<'TOOL'
#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$RUBATO_TEST_LOG"
[[ -z ${RUBATO_TEST_FAILS:-} || $* != *$RUBATO_TEST_FAILS* ]] || exit 1
while (($# > 0)); do
  [[ $1 != -o ]] || output=$2
  shift
done
printf '#!/usr/bin/env bash\necho "ran $(basename "$0") $*"\n[[ ! -e status ]] || exit "$(cat status)"\n' >"$output"
head -c "${RUBATO_TEST_BYTES:-10}" /dev/zero | sed 's/^/#/' >>"$output"
chmod +x "$output"
TOOL
chmod +x tools/bin/nvcc
cp tools/bin/nvcc tools/bin/plain_compiler
touch tools/include/cublas_v2.h
export PATH=$work/tools/bin:$PATH CXX=plain_compiler RUBATO_TEST_LOG=$work/log

refused 2 "needs the folder to pack into" --pack
refused 2 "needs the folder to pack into" --pack --architectures
refused 2 "not '8.0'" --pack there --architectures 8.0
refused 2 "is for --pack" --architectures 90
refused 2 "where the programs run" --pack there figures.json
refused 2 "both 'a' and 'b'" a b
refused 2 "unknown option '--packed'" --packed
mkdir full && touch full/file
refused 2 "full is there already, and no empty folder" --pack full
[[ ! -e log && ! -e there ]] || complain "something was compiled or made for input that is refused"
RUBATO_TEST_FAILS=gpu_kernels refused 1 "gpu_kernels could not be built for 80,90" --pack failing
RUBATO_TEST_BYTES=9000000 refused 1 "MB, and 40 are allowed: give fewer architectures" --pack large
RUBATO_TEST_FAILS=eigen3 bash "$root/bench/gpu" --pack alone >out 2>err || complain "without Eigen nothing is packed: $(cat err)"

rm log
bash "$root/bench/gpu" --pack there --architectures 80,90 >out 2>err || complain "packing failed: $(cat out err)"
grep -q "^6 programs in 1 MB; copy there " out || complain "it ends with: $(tail -n 1 out)"
lines=$(grep -c "^nvcc " log)
for word in "arch=compute_80,code=sm_80" "arch=compute_90,code=sm_90" "arch=compute_90,code=compute_90" "-cudart static"; do
  (($(grep "^nvcc " log | grep -c -- "$word") == lines)) || complain "not all of $lines programs are compiled with $word"
done
(($(grep -c -- "-lcublas" log) == 1)) || complain "one program takes cuBLAS from the machine on which it runs"

mv there elsewhere
elsewhere/run >out 2>err || complain "run: status $?: $(cat out err)"
for program in test_thrust test_gradients gpu_kernels gpu_gradients gpu_gradients_by_cublas; do
  grep -q "^ran $program" out || complain "$program did not run"
done
echo 77 >elsewhere/status
elsewhere/run >out 2>err
[[ $? == 77 && $(grep -c "^ran" out) == 1 ]] || complain "without a device it ends with 77 after the first program: $(cat out)"
echo 3 >elsewhere/status
elsewhere/run >out 2>err
[[ $? == 1 ]] || complain "a program that fails is not seen in the status"
grep -q "^test_gradients: status 3" out || complain "the status of a program that fails is not said"
# A library that this machine lacks: a real program that wants one.
if echo 'int nothing() { return 0; }' | cc -x c -shared -fPIC - -o libnowhere_to_be_found.so 2>/dev/null &&
  echo 'int nothing(); int main() { return nothing(); }' | cc -x c - -o elsewhere/gpu_kernels -L. -lnowhere_to_be_found; then
  rm elsewhere/status
  elsewhere/run >out 2>err || complain "a program that lacks a library fails the run"
  grep -q "^left out: this machine lacks libnowhere_to_be_found.so" out || complain "the library is not named: $(cat out)"
else
  complain "there is no cc to make a program with"
fi
((broken == 0)) && echo "bench/gpu --pack is right"
exit $((broken > 0))
