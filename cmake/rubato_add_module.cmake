# SPDX-License-Identifier: MIT
include_guard()

# rubato_add_module(NAME name HEADERS file... DEPENDS target...)
#
# Adds the INTERFACE library rubato::<name> with its own header set, so that its headers are installed with it and each
# is compiled alone by the target all_verify_interface_header_sets. A new module is one call here, and one
# find_dependency in rubato-config.cmake.in if it needs a package.
function(rubato_add_module)
  cmake_parse_arguments(PARSE_ARGV 0 module "" "NAME" "HEADERS;DEPENDS")
  if(module_NAME STREQUAL "rubato")
    set(target rubato)
  else()
    set(target rubato_${module_NAME})
  endif()

  add_library(${target} INTERFACE)
  add_library(rubato::${module_NAME} ALIAS ${target})
  target_sources(
    ${target}
    INTERFACE FILE_SET HEADERS
              BASE_DIRS "${PROJECT_SOURCE_DIR}/include"
              FILES ${module_HEADERS})
  target_compile_features(${target} INTERFACE cxx_std_20)
  target_link_libraries(${target} INTERFACE ${module_DEPENDS})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${module_NAME} VERIFY_INTERFACE_HEADER_SETS
                                                                        ${PROJECT_IS_TOP_LEVEL})
  set_property(GLOBAL APPEND PROPERTY rubato_modules ${module_NAME})
endfunction()
