# SPDX-License-Identifier: MIT
# What the tests of race share. Each runs in a folder of its own; sourced by tests/race/*.sh.
failures=0

fail() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}
finish() {
  ((failures == 0)) && echo "ok" || echo "$failures failed"
  exit $((failures > 0))
}

# free_addresses N: sets addresses to so many of this machine, joined by commas, each with a port that nobody uses and that
# it has given to nobody else. (Systems choose ports from 32768 on.)
last_port=$((20000 + RANDOM % 10000))
free_addresses() {
  local n=0
  addresses=
  while ((n < $1)); do
    ((last_port = last_port < 32000 ? last_port + 1 : 20000))
    grep -qis ":$(printf %04x $last_port) " /proc/net/{tcp,udp}{,6} && continue
    addresses+=${addresses:+,}127.0.0.1:$last_port
    n=$((n + 1))
  done
}

# free_ports N: sets port to the first of so many that follow each other and that nobody uses.
free_ports() {
  local all
  for (( ; ; )); do
    free_addresses "$1"
    IFS=, read -ra all <<<"$addresses"
    port=${all[0]##*:}
    ((${all[-1]##*:} == port + $1 - 1)) && return
  done
}

# listened_on PORT PID: waits until somebody listens there, or that process is no more.
listened_on() {
  local at
  at=$(printf %04x "$1")
  until grep -qisE ":$at [0-9a-f]+:0000 0a " /proc/net/tcp{,6}; do
    kill -0 "$2" 2>/dev/null || return
    sleep 0.02
  done
}

# get_page HOST:PORT PATH TOKEN: what a server of this machine answers, its headers included.
get_page() {
  { timeout 10 bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0##*:}" || exit 1
    cat >&3
    cat <&3' "$1" < <(printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n' "$2" "$3"); } 2>/dev/null
}

# all_there FILE...: waits until they are, a minute at most.
all_there() {
  local file tries=0
  for file in "$@"; do
    while [[ ! -e $file ]] && ((++tries < 1200)); do sleep 0.05; done
    [[ -e $file ]] || fail "there is no $file"
  done
}

# big_endian NUMBER...: each as 4 bytes.
big_endian() {
  local n
  for n in "$@"; do printf "\\x$(printf %02x $((n >> 24 & 255)))\\x$(printf %02x $((n >> 16 & 255)))\\x$(printf %02x $((n >> 8 & 255)))\\x$(printf %02x $((n & 255)))"; done
}

# in_one_sentence WORDS COMMAND...: it is refused with status 2, in one line with these words, which is left in `said`.
in_one_sentence() {
  local words=$1 status
  shift
  timeout -k 1 20 "$@" >said 2>&1
  status=$?
  ((status == 2)) || fail "$*: status $status, not 2"
  (($(wc -l <said) == 1)) || fail "$*: not one line: $(cat said)"
  grep -qF -- "$words" said || fail "$*: '$(cat said)' does not say '$words'"
}

# pixels SAMPLES SHIFT: 4 x 4 images; label k % 10 lights pixel k % 10, the others are noise from a small generator.
pixels() {
  local text
  text=$(awk -v samples="$1" -v state="$2" 'BEGIN {
    for (k = 0; k < samples; ++k) for (p = 0; p < 16; ++p) {
      state = (state * 1103515 + 12345) % 2147483; v = state % 190; if (p == k % 10) v += 60; printf "\\0%o", v
    } }')
  printf '%b' "$text"
}
labels() {
  local text
  text=$(awk -v samples="$1" 'BEGIN { for (k = 0; k < samples; ++k) printf "\\0%o", k % 10 }')
  printf '%b' "$text"
}

# tiny_data FOLDER: the four files, 200 training and 50 test samples.
tiny_data() {
  mkdir -p "$1"
  { big_endian 0x803 200 4 4; pixels 200 1; } >"$1/train-images-idx3-ubyte"
  { big_endian 0x801 200; labels 200; } >"$1/train-labels-idx1-ubyte"
  { big_endian 0x803 50 4 4; pixels 50 7; } >"$1/t10k-images-idx3-ubyte"
  { big_endian 0x801 50; labels 50; } >"$1/t10k-labels-idx1-ubyte"
}
