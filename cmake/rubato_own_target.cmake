# SPDX-License-Identifier: MIT
# Flags of our own tests, examples and benchmarks. Nothing here reaches a consumer of rubato::rubato.
include_guard()

add_library(rubato_warnings INTERFACE)
target_compile_options(
  rubato_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion $<$<BOOL:${RUBATO_WERROR}>:-Werror>
                            $<$<BOOL:${RUBATO_NATIVE}>:-march=native>
                            # g++ 12 sees uninitialised values in Eigen's and its own AVX-512 code that are none
                            $<$<AND:$<BOOL:${RUBATO_NATIVE}>,$<CXX_COMPILER_ID:GNU>>:-Wno-maybe-uninitialized>)

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_CXX_EXTENSIONS OFF)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release)
  endif()
  find_program(RUBATO_CCACHE ccache)
  if(RUBATO_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${RUBATO_CCACHE}")
  endif()
endif()

# rubato_own_executable(target source...) : a program of this repository, linked with every module there is but three, which
# who wants them links by name: rubato::thrust switches OpenMP on, and so Eigen's own threads; rubato::mpi and
# rubato::torch load a library.
function(rubato_own_executable target)
  add_executable(${target} ${ARGN})
  rubato_link_own(${target})
endfunction()

# rubato_own_objects(target source...): the same, compiled and not linked.
function(rubato_own_objects target)
  add_library(${target} OBJECT ${ARGN})
  rubato_link_own(${target})
endfunction()

function(rubato_link_own target)
  target_link_libraries(${target} PRIVATE rubato_warnings)
  get_property(modules GLOBAL PROPERTY rubato_modules)
  list(REMOVE_ITEM modules thrust mpi torch)
  foreach(module IN LISTS modules)
    target_link_libraries(${target} PRIVATE rubato::${module})
  endforeach()
endfunction()
