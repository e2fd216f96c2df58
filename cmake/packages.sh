# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: MIT
# Sourced by tests/run and examples/demo: which Debian packages rubato needs, how to install what is missing, and how a
# stage reports itself. `a|b` means: a, or b where the distribution has no a.

rubato_packages_build=(g++ cmake ninja-build libeigen3-dev ccache)
# Boost for rubato::asio: Debian 12 has 1.74 and 1.81, which exclude each other, Ubuntu 24.04 has 1.83.
# LibTorch for rubato::torch, where the distribution has it; else nothing more than is needed in any case.
rubato_packages_test=("libboost1.81-dev|libboost1.83-dev|libboost-dev" zlib1g-dev libxxhash-dev libssl-dev openssl libopenmpi-dev openmpi-bin libmpich-dev mpich catch2 libbenchmark-dev libthrust-dev libtbb-dev "libtorch-dev|libeigen3-dev" valgrind locales "clang-19|clang" "libclang-rt-19-dev|libclang-rt-18-dev|libclang-rt-dev" "libc++-19-dev|libc++-dev" "clang-format-19|clang-format")
# (Where Chromium is installed, tests/cluster/browser.sh looks at a page with it. It is too large to be asked for.)
rubato_packages_examples=(libcli11-dev nlohmann-json3-dev zlib1g-dev libxxhash-dev libssl-dev openssl gnuplot-nox dataset-fashion-mnist)

rubato_say() { printf '\n=== %s\n' "$*"; }

# True on Debian 12 or later and Ubuntu 24.04 or later.
rubato_system_is_known() {
  local ID='' VERSION_ID='' file=${RUBATO_OS_RELEASE:-/etc/os-release}
  # shellcheck disable=SC1090
  [[ -r $file ]] && . "$file"
  case $ID in
    debian) [[ -z $VERSION_ID ]] || ((${VERSION_ID%%.*} >= 12)) ;; # testing and unstable have no number
    ubuntu) ((${VERSION_ID%%.*} >= 24)) ;;
    *) return 1 ;;
  esac
}

rubato_system_is_debian_12() {
  # shellcheck disable=SC1090
  (. "${RUBATO_OS_RELEASE:-/etc/os-release}" && [[ $ID == debian && $VERSION_ID == 12* ]])
}

rubato_is_installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }
# (No pipe: grep -q ends before a writer that has more to say, which pipefail would take for a no.)
rubato_is_offered() { grep -q '^  Candidate: [^(]' <<<"$(apt-cache policy "$1" 2>/dev/null)"; }

# The package that stands for an entry: its first alternative that is installed or that the distribution offers.
rubato_choose() {
  local alternative alternatives
  IFS='|' read -ra alternatives <<<"$1"
  for alternative in "${alternatives[@]}"; do
    if rubato_is_installed "$alternative" || rubato_is_offered "$alternative"; then
      echo "$alternative"
      return
    fi
  done
  echo "${alternatives[0]}"
}

# Sets rubato_missing to the packages among the entries given that are not installed.
rubato_find_missing() {
  local entry package
  rubato_missing=()
  for entry in "$@"; do
    package=$(rubato_choose "$entry")
    rubato_is_installed "$package" || rubato_missing+=("$package")
  done
}

# rubato_install GROUP...: installs through apt what is missing of the groups build, test, examples; ends the program
# with a sentence where that cannot be done.
rubato_install() {
  local group as_root=() started=$SECONDS entries=() rubato_missing=()
  for group in "$@"; do
    local -n packages=rubato_packages_$group
    entries+=("${packages[@]}")
  done

  rubato_say "install: the packages of Debian or Ubuntu that are missing"
  if ! rubato_system_is_known; then
    echo "rubato: this system is neither Debian 12 or later nor Ubuntu 24.04 or later, so nothing is installed here." >&2
    echo "rubato: what is needed, by its Debian names: ${entries[*]%%|*}" >&2
    exit 1
  fi
  rubato_find_missing "${entries[@]}"
  if ((${#rubato_missing[@]} == 0)); then
    echo "nothing is missing ($((SECONDS - started)) s)"
    return
  fi
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "rubato: not root, and there is no sudo; as root: apt-get install ${rubato_missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update || echo "rubato: apt-get update failed; going on with the lists that are here" >&2
  rubato_find_missing "${entries[@]}" # an alternative may be offered only now
  echo "installing: ${rubato_missing[*]}"
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${rubato_missing[@]}"; then
    echo "rubato: apt-get could not install: ${rubato_missing[*]}" >&2
    exit 1
  fi
  echo "installed ${#rubato_missing[@]} packages ($((SECONDS - started)) s)"
}

# ccache needs a folder it can write to; without one it would fail every compilation.
rubato_prepare_ccache() {
  local folder=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/ccache}
  if ! { mkdir -p "$folder" && [[ -w $folder ]]; } 2>/dev/null; then
    export CCACHE_DISABLE=1
  fi
}
