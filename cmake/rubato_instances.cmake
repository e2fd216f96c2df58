# SPDX-License-Identifier: MIT
# rubato::instances: a static library of the node types that include/rubato/instances.hpp names, and of all functions of
# the headers that are no templates. It is built where it is linked, with the flags of the build around it, which must be
# those of whoever links it.
include_guard()

function(rubato_add_instances)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/instances")
  set(units "${folder}/functions.cpp")
  file(CONFIGURE OUTPUT "${folder}/functions.cpp"
       CONTENT "#define RUBATO_COMPILE_INSTANCES 1\n#include <rubato/rubato.hpp>\n" @ONLY)
  set(backends host)
  if(TARGET rubato::eigen)
    list(APPEND backends eigen)
  endif()
  foreach(backend IN LISTS backends)
    foreach(scalar IN ITEMS float double)
      set(unit "${folder}/${backend}_${scalar}.cpp")
      set(includes "#include <rubato/instances.hpp>\n")
      set(types "RUBATO_NODE_INSTANCES(, backend::${backend}<${scalar}>);\n")
      if(backend STREQUAL "eigen")
        set(includes "#include <rubato/backend/eigen.hpp>\n#include <rubato/instances/eigen.hpp>\n")
        string(PREPEND types "template class backend::eigen<${scalar}>;\n")
      endif()
      file(CONFIGURE OUTPUT "${unit}" CONTENT "${includes}\nnamespace rubato {\n${types}}\n" @ONLY)
      list(APPEND units "${unit}")
    endforeach()
  endforeach()
  add_library(rubato_instances STATIC EXCLUDE_FROM_ALL ${units})
  add_library(rubato::instances ALIAS rubato_instances)
  target_compile_definitions(rubato_instances PUBLIC RUBATO_USE_INSTANCES=1)
  target_link_libraries(rubato_instances PUBLIC rubato::rubato)
  if(TARGET rubato::eigen)
    target_link_libraries(rubato_instances PUBLIC rubato::eigen)
  endif()
endfunction()

# rubato_link_instances(target): a program of this repository takes what the library has, also where a file includes
# rubato/backend/eigen.hpp.
function(rubato_link_instances target)
  target_link_libraries(${target} PRIVATE rubato::instances)
  if(TARGET rubato::eigen)
    target_compile_options(${target} PRIVATE "SHELL:-include rubato/instances/eigen.hpp")
  endif()
endfunction()
