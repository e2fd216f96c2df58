#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# dialects.sh ROOT WORK COMPILER [FLAG...]: every header of ROOT/include/rubato, and what dialects.cpp instantiates,
# compiles as a part of somebody else's program: with plain -I, under warnings that are errors, by each compiler that is
# here, with each standard library, as C++20, gnu++20 and C++23, without RTTI, and after other people's macros. Older
# C++ is told so in one sentence.
set -uo pipefail

root=$1 work=$2 compiler=$3
shift 3
here=$root/tests/package
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wold-style-cast -Werror)
folders=("-I$root/include")
while (($# > 0)); do # of the flags only where third parties are; the language is chosen below
  case $1 in
    -isystem) folders+=(-isystem "$2"); shift ;;
    -D*) folders+=("$1") ;;
  esac
  shift
done
rm -rf "$work"
mkdir -p "$work" || exit 1
failures=0 rows=0

# Which library a header needs is the name of its file (CMakeLists.txt).
declare -A needs=([eigen]=Eigen/Core [nlohmann_json]=nlohmann/json.hpp [zlib]=zlib.h [xxhash]=xxhash.h [asio]=boost/asio.hpp [tcp]=boost/asio.hpp
                  [udp]=boost/asio.hpp [shared_memory]=boost/interprocess/mapped_region.hpp [security]=boost/asio.hpp [tls]=openssl/ssl.h [http]=boost/beast.hpp [mpi]=mpi.h [torch]=torch/torch.h [thrust]=thrust/version.h)
declare -A not_with=([thrust/version.h]=' && !defined(_LIBCPP_VERSION)') # which Thrust of old does not know
headers() { (cd "$root/include" && find rubato -name '*.hpp' | LC_ALL=C sort); }
own_headers() {
  local header
  headers | while read -r header; do
    [[ -n ${needs[$(basename "$header" .hpp)]:-} ]] || echo "#include <$header>"
  done
}
all_headers() {
  local header library
  headers | while read -r header; do
    library=${needs[$(basename "$header" .hpp)]:-}
    if [[ -z $library ]]; then echo "#include <$header>"
    else printf '#if __has_include(<%s>)%s\n#include <%s>\n#endif\n' "$library" "${not_with[$library]:-}" "$header"; fi
  done
}
standard_headers() { grep -rhoE '^#include <[a-z_]+>' "$root/include/rubato" | LC_ALL=C sort -u; }

[[ -n $(headers) ]] || { echo "there are no headers"; exit 1; }
program=$(<"$here/dialects.cpp")
{ all_headers; echo "$program"; } >"$work/all.cpp"
{ standard_headers; echo '#include "foreign_macros.hpp"'; own_headers; echo "$program"; } >"$work/after_macros.cpp"
{
  standard_headers
  for other in complex.h sys/sysmacros.h QtCore/QObject QtCore/QVector curses.h X11/Xlib.h X11/Xutil.h X11/Intrinsic.h; do
    printf '#if __has_include(<%s>)\n#include <%s>\n#endif\n' "$other" "$other"
  done
  own_headers
  echo "$program"
} >"$work/after_others.cpp"
for qt in /usr/include/*/qt5 /usr/include/qt5; do
  [[ ! -d $qt ]] || folders+=(-isystem "$qt" -isystem "$qt/QtCore")
done

# row WHAT COMPILER FLAG...: not one line of complaint.
row() {
  local what=$1
  shift
  rows=$((rows + 1))
  if ! "$@" "${folders[@]}" "-I$here" "${warnings[@]}" -fPIC >"$work/log" 2>&1 || [[ -s $work/log ]]; then
    echo "$what: this should say nothing: $* ..."
    grep -E -m 20 'error|warning|note: the ABI' "$work/log" || head -n 20 "$work/log"
    failures=$((failures + 1))
  else
    echo "clean: $what"
  fi
}
# The library of g++ 12 and of clang 19 have only been asked for what both say they know.
gxx() { row "$1" "${@:2}" -Wuseless-cast; }

is_gxx() { ! "$1" --version 2>/dev/null | grep -qi clang; }
if is_gxx "$compiler"; then # translated to the end, since g++ remarks on the ABI of vectors only then
  gxx "g++, C++20, no RTTI" "$compiler" -std=c++20 -fno-rtti -O0 -S -o "$work/all.s" "$work/all.cpp"
  gxx "g++, C++23, after other people's macros" "$compiler" -std=c++23 -fsyntax-only "$work/after_macros.cpp"
  gxx "g++, gnu++20, after other people's headers" "$compiler" -std=gnu++20 -fsyntax-only "$work/after_others.cpp"
fi
for newer in g++-15 g++-14 g++-13; do
  if command -v "$newer" >/dev/null && ! cmp -s "$(command -v "$newer")" "$(command -v "$compiler")"; then
    gxx "$newer, C++23" "$newer" -std=c++23 -fsyntax-only "$work/all.cpp"
    break
  fi
done
if command -v clang++-19 >/dev/null; then
  row "clang 19, libstdc++, gnu++20" clang++-19 -std=gnu++20 -fsyntax-only "$work/all.cpp"
  if echo '#include <vector>' | clang++-19 -stdlib=libc++ -x c++ -fsyntax-only - 2>/dev/null; then
    row "clang 19, libc++, C++23, no RTTI" clang++-19 -std=c++23 -stdlib=libc++ -fno-rtti -fsyntax-only "$work/all.cpp"
  else
    echo "left out: libc++ (Debian: libc++-19-dev)"
  fi
else
  echo "left out: clang 19 (Debian: clang-19)"
fi

# C++17: what a header includes first is in the end core/language.hpp, whose sentence is the only one.
for header in $(headers); do
  case $header in rubato/version.hpp | rubato/core/language.hpp) continue ;; esac
  if ! grep -q '^#include <rubato/' "$root/include/$header"; then
    echo "$header includes nothing of rubato, not even <rubato/core/language.hpp>"
    failures=$((failures + 1))
  fi
done
echo '#include <rubato/rubato.hpp>' >"$work/old.cpp"
if "$compiler" -std=c++17 -fsyntax-only "${folders[@]}" "$work/old.cpp" >"$work/log" 2>&1 || ! grep -q 'rubato needs C++20' "$work/log" ||
  (($(grep -c 'error:' "$work/log") != 2)); then # #error, and the end
  echo "C++17 is not told so in one sentence:"
  head -n 20 "$work/log"
  failures=$((failures + 1))
else
  echo "refused in one sentence: C++17"
fi

((rows > 0)) || { echo "no compiler was asked"; exit 1; }
((failures == 0))
