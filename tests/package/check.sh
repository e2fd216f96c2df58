#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check.sh WAY SOURCE BUILD CMAKE COMPILER: installs rubato aside and uses it as an outside project does.
# WAY: find_package or add_subdirectory build and run each program of consumer/; components asks for this and that.
set -uo pipefail

way=$1 source=$2 build=$3 cmake=$4 compiler=$5
consumer=$source/tests/package/consumer
work=$build/package_test/$way
prefix=$work/prefix

step() {
  echo "+ $*"
  "$@" || { echo "package test '$way': this failed: $*" >&2; exit 1; }
}

install_aside() {
  # From nothing, so that no file of an earlier install helps; file times are kept, so an unchanged consumer stays built.
  rm -rf "$prefix"
  step "$cmake" --install "$build" --prefix "$prefix" >/dev/null
}

build_and_run() {
  step "$cmake" -G Ninja -S "$consumer" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" "$@"
  step "$cmake" --build "$work/build"
  local program ran=0
  for program in "$consumer"/*.cpp; do
    step "$work/build/$(basename "$program" .cpp)"
    ran=$((ran + 1))
  done
  ((ran > 0)) || { echo "consumer/ holds no program" >&2; exit 1; }
}

# configure WANTED WHAT REQUEST [OPTION...]: whether find_package(rubato REQUEST REQUIRED) is satisfied.
configure() {
  local wanted=$1 what=$2 request=$3 got=yes
  shift 3
  rm -rf "$work/probe"
  mkdir -p "$work/probe"
  cat >"$work/probe/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
find_package(rubato $request REQUIRED)
if(TARGET rubato::eigen AND NOT "$request" MATCHES eigen)
  message(FATAL_ERROR "rubato::eigen is there though nobody asked")
endif()
get_target_property(standard rubato::rubato INTERFACE_COMPILE_FEATURES)
if(NOT standard STREQUAL cxx_std_20)
  message(FATAL_ERROR "rubato::rubato asks for \${standard}")
endif()
END
  "$cmake" -G Ninja -S "$work/probe" -B "$work/probe/build" -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_PREFIX_PATH="$prefix" "$@" >"$work/log" 2>&1 || got=no
  if [[ $got != "$wanted" ]]; then
    echo "package test: $what: satisfied: $got, wanted: $wanted"
    cat "$work/log"
    exit 1
  fi
  echo "as it should be: $what: $wanted"
}

mkdir -p "$work" || exit 1
case $way in
  find_package)
    install_aside
    build_and_run -DCMAKE_PREFIX_PATH="$prefix"
    ;;
  add_subdirectory)
    build_and_run -DRUBATO_SOURCE="$source"
    ;;
  components)
    install_aside
    configure yes "no component, and no Eigen on the machine" "0.1" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
    configure yes "component eigen" "0.1 COMPONENTS eigen"
    configure no "component eigen, and no Eigen on the machine" "0.1 COMPONENTS eigen" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
    configure yes "components eigen and nlohmann_json" "0.1 COMPONENTS eigen nlohmann_json"
    configure no "component nlohmann_json, and no such library on the machine" "0.1 COMPONENTS nlohmann_json" \
      -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
    if [[ -e $prefix/share/cmake/rubato/rubato-thrust-targets.cmake ]]; then
      configure yes "component thrust" "0.1 COMPONENTS thrust"
      configure no "component thrust, and no Thrust where it is said to be" "0.1 COMPONENTS thrust" -DRUBATO_THRUST_ROOT=/nowhere
    fi
    configure yes "components asio and zlib" "0.1 COMPONENTS asio zlib"
    configure no "component asio, and no Boost on the machine" "0.1 COMPONENTS asio" -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON
    configure no "component zlib, and no zlib on the machine" "0.1 COMPONENTS zlib" -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON
    configure no "a component that does not exist" "COMPONENTS abacus"
    configure no "a later major version" "99.0"
    ;;
  *)
    echo "unknown way '$way'" >&2
    exit 1
    ;;
esac
