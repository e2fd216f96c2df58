# SPDX-License-Identifier: MIT
# rubato::instances: a static library of the node types that include/rubato/instances.hpp names. It is built where it is
# linked, with the flags of the build around it, which must be those of whoever links it.
include_guard()

function(rubato_add_instances)
  set(backends host)
  if(TARGET rubato::eigen)
    list(APPEND backends eigen)
  endif()
  set(units "")
  foreach(backend IN LISTS backends)
    foreach(scalar IN ITEMS float double)
      set(unit "${CMAKE_CURRENT_BINARY_DIR}/instances/${backend}_${scalar}.cpp")
      file(CONFIGURE OUTPUT "${unit}" @ONLY
           CONTENT "#include <rubato/instances.hpp>\n\nnamespace rubato {\nRUBATO_NODE_INSTANCES(, backend::${backend}<${scalar}>);\n}\n")
      list(APPEND units "${unit}")
    endforeach()
  endforeach()
  add_library(rubato_instances STATIC EXCLUDE_FROM_ALL ${units})
  add_library(rubato::instances ALIAS rubato_instances)
  target_compile_definitions(rubato_instances PUBLIC RUBATO_USE_INSTANCES=1)
  target_link_libraries(rubato_instances PUBLIC rubato::rubato)
  if(TARGET rubato::eigen)
    target_compile_definitions(rubato_instances PUBLIC RUBATO_INSTANCES_HAVE_EIGEN=1)
    target_link_libraries(rubato_instances PUBLIC rubato::eigen)
  endif()
endfunction()
