# SPDX-License-Identifier: MIT
# Several test files in one unit of compilation: what they include, and what they instantiate alike, is compiled once.
# ./tests/run builds so. Other builds compile each file by itself, since one that is edited is then compiled alone.
include_guard()

option(RUBATO_TESTS_TOGETHER "Compile several files of tests in one unit: quicker from nothing, slower after an edit" OFF)
set(rubato_together_lines 700) # of a unit: about a minute and 2 GB of a compiler

# rubato_together(name result source...): sets `result` to the units that stand for the sources.
#
# A unit includes first what its files include, and then each file in a namespace of its own, so that equal names in two
# files do not meet. A file may therefore not define a macro and not specialise a template of another namespace; those
# that say `compiled by itself` in a comment, that include by a relative path, or that have options of their own or a
# main are left alone.
function(rubato_together name result)
  set(units "")
  set(number 0)
  set(lines 0)
  set(includes "")
  set(bodies "")
  foreach(source IN LISTS ARGN)
    file(STRINGS "${source}" text)
    set(unfit "compiled by itself|^#include \"[.][.]|^#if|^#define|^int main|^template <>|^namespace (Catch|std)")
    file(STRINGS "${source}" alone REGEX "${unfit}" LIMIT_COUNT 1)
    get_source_file_property(options "${source}" COMPILE_OPTIONS)
    if(alone OR options)
      list(APPEND units "${source}")
      continue()
    endif()
    file(STRINGS "${source}" wanted REGEX "^#include")
    list(APPEND includes ${wanted})
    cmake_path(GET source STEM stem)
    set(space "${stem}_${number}_${lines}")
    file(STRINGS "${source}" in_rubato REGEX "^namespace rubato::test {" LIMIT_COUNT 1)
    if(in_rubato)
      string(APPEND bodies "namespace rubato::test {}\nnamespace rubato::${space} {\nusing namespace rubato::test;\n}\n"
                           "#define test ${space}\n#include \"${source}\"\n#undef test\n")
    else()
      string(APPEND bodies "namespace ${space} {\n#include \"${source}\"\n}\n")
    endif()
    list(LENGTH text length)
    math(EXPR lines "${lines} + ${length}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}") # for its lines #include
    if(lines GREATER rubato_together_lines)
      rubato_write_unit()
    endif()
  endforeach()
  rubato_write_unit()
  set(${result} "${units}" PARENT_SCOPE)
endfunction()

macro(rubato_write_unit)
  if(bodies)
    list(REMOVE_DUPLICATES includes)
    list(JOIN includes "\n" includes)
    set(unit "${CMAKE_CURRENT_BINARY_DIR}/together/${name}_${number}.cpp")
    file(CONFIGURE OUTPUT "${unit}" CONTENT "${includes}\n${bodies}" @ONLY)
    list(APPEND units "${unit}")
    math(EXPR number "${number} + 1")
    set(lines 0)
    set(includes "")
    set(bodies "")
  endif()
endmacro()
