#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check.sh WAY SOURCE BUILD CMAKE COMPILER: installs rubato aside and uses it as an outside project does.
# WAY: find_package or add_subdirectory build and run each program of consumer/; components asks for this and that;
# absolute_includedir installs headers outside the prefix; exported_by_parent is a project that holds rubato and exports a
# library of its own that links it. Whatever CMake warns of is a failure.
set -uo pipefail

way=$1 source=$2 build=$3 cmake=$4 compiler=$5
consumer=$source/tests/package/consumer
work=$build/package_test/$way
prefix=$work/prefix

step() {
  echo "+ $*"
  "$@" || { echo "package test '$way': this failed: $*" >&2; exit 1; }
}

# quiet_configure CMAKE_ARGUMENT...: without a warning.
quiet_configure() {
  step "$cmake" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" "$@" 2>&1 | tee "$work/configure_log"
  local status=${PIPESTATUS[0]}
  if ((status != 0)) || grep -q 'CMake .*Warning' "$work/configure_log"; then
    echo "package test '$way': this failed, or CMake warns: $cmake $*" >&2
    exit 1
  fi
}

# compiles PREFIX PACKAGE TARGET: a program that finds this package includes a header of rubato through that target.
compiles() {
  rm -rf "$work/user"
  mkdir -p "$work/user"
  echo '#include <rubato/core/ids.hpp>
int main() { return static_cast<int>(rubato::to_index(rubato::to_node(0))); }' >"$work/user/main.cpp"
  cat >"$work/user/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES CXX)
find_package($2 REQUIRED)
add_executable(main main.cpp)
target_link_libraries(main PRIVATE $3)
END
  quiet_configure -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$1"
  step "$cmake" --build "$work/user/build"
}

install_aside() {
  # From nothing, so that no file of an earlier install helps; file times are kept, so an unchanged consumer stays built.
  rm -rf "$prefix"
  step "$cmake" --install "$build" --prefix "$prefix" >/dev/null
}

build_and_run() {
  quiet_configure -S "$consumer" -B "$work/build" -DCMAKE_BUILD_TYPE=Release "$@"
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
  "$cmake" --no-warn-unused-cli -G Ninja -S "$work/probe" -B "$work/probe/build" -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_PREFIX_PATH="$prefix" "$@" >"$work/log" 2>&1 || got=no
  if [[ $got != "$wanted" ]] || { [[ $wanted == yes ]] && grep -q 'CMake .*Warning' "$work/log"; }; then
    echo "package test: $what: satisfied: $got, wanted: $wanted, without a warning"
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
    configure yes "no component, and no Eigen on the machine" "0.2" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
    configure yes "component eigen" "0.2 COMPONENTS eigen"
    configure no "component eigen, and no Eigen on the machine" "0.2 COMPONENTS eigen" -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
    configure yes "components eigen and nlohmann_json" "0.2 COMPONENTS eigen nlohmann_json"
    configure no "component nlohmann_json, and no such library on the machine" "0.2 COMPONENTS nlohmann_json" \
      -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON
    if [[ -e $prefix/share/cmake/rubato/rubato-thrust-targets.cmake ]]; then
      configure yes "component thrust" "0.2 COMPONENTS thrust"
      configure no "component thrust, and no Thrust where it is said to be" "0.2 COMPONENTS thrust" -DRUBATO_THRUST_ROOT=/nowhere
    fi
    if [[ -e $prefix/share/cmake/rubato/rubato-torch-targets.cmake ]]; then
      configure yes "component torch" "0.2 COMPONENTS torch"
      configure no "component torch, and no LibTorch on the machine" "0.2 COMPONENTS torch" -DCMAKE_DISABLE_FIND_PACKAGE_Torch=ON
    fi
    configure yes "components asio, xxhash and zlib" "0.2 COMPONENTS asio xxhash zlib"
    configure yes "component openssl" "0.2 COMPONENTS openssl"
    configure no "component openssl, and no OpenSSL on the machine" "0.2 COMPONENTS openssl" -DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON
    configure no "component asio, and no Boost on the machine" "0.2 COMPONENTS asio" -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON
    configure no "component zlib, and no zlib on the machine" "0.2 COMPONENTS zlib" -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON
    configure no "component xxhash, and no xxHash where it is looked for" "0.2 COMPONENTS xxhash" -DRUBATO_XXHASH_ROOT=/nowhere
    configure no "a component that does not exist" "COMPONENTS abacus"
    configure no "a later major version" "99.0"
    configure no "an earlier minor version, whose names are others" "0.1"
    ;;
  absolute_includedir)
    rm -rf "$work/rubato" "$work/prefix" "$work/elsewhere"
    quiet_configure -S "$source" -B "$work/rubato" -DRUBATO_BUILD_TESTS=OFF -DRUBATO_BUILD_EXAMPLES=OFF -DRUBATO_BUILD_BENCH=OFF \
      -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_INCLUDEDIR="$work/elsewhere/include"
    step "$cmake" --install "$work/rubato" >/dev/null
    [[ -e $work/elsewhere/include/rubato/rubato.hpp ]] || { echo "the headers are not where they were asked for" >&2; exit 1; }
    compiles "$prefix" "rubato COMPONENTS eigen" rubato::eigen
    ;;
  exported_by_parent)
    rm -rf "$work/parent" "$prefix"
    mkdir -p "$work/parent"
    cat >"$work/parent/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(fleet LANGUAGES CXX)
add_subdirectory("$source" rubato)
add_library(fleet INTERFACE)
target_link_libraries(fleet INTERFACE rubato::rubato)
install(TARGETS fleet EXPORT fleet)
install(EXPORT fleet NAMESPACE fleet:: DESTINATION share/cmake/fleet FILE fleet-targets.cmake)
file(WRITE "\${PROJECT_BINARY_DIR}/fleet-config.cmake" "include(CMakeFindDependencyMacro)
find_dependency(rubato)
include(\\\${CMAKE_CURRENT_LIST_DIR}/fleet-targets.cmake)
")
install(FILES "\${PROJECT_BINARY_DIR}/fleet-config.cmake" DESTINATION share/cmake/fleet)
END
    quiet_configure -S "$work/parent" -B "$work/parent/build"
    step "$cmake" --install "$work/parent/build" --prefix "$prefix" >/dev/null
    [[ ! -e $prefix/include/rubato ]] || { echo "rubato is installed though nobody asked" >&2; exit 1; }
    step "$cmake" --install "$work/parent/build" --prefix "$prefix" --component rubato >/dev/null
    compiles "$prefix" fleet fleet::fleet
    ;;
  *)
    echo "unknown way '$way'" >&2
    exit 1
    ;;
esac
