# SPDX-License-Identifier: MIT
# Install rules: one export file a module, so that find_package(rubato COMPONENTS ...) looks for no more than is asked.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(rubato_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/rubato")

# A file set's destination is taken below the prefix, so one that is given as an absolute path is named from there.
set(rubato_include_dir "${CMAKE_INSTALL_INCLUDEDIR}")
if(IS_ABSOLUTE "${rubato_include_dir}")
  cmake_path(RELATIVE_PATH rubato_include_dir BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}")
endif()

# Inside another project there are rules too, or that could not export a target which links rubato. They install only as
# the component `rubato`.
set(rubato_apart "")
if(NOT RUBATO_INSTALL)
  set(rubato_apart COMPONENT rubato EXCLUDE_FROM_ALL)
endif()

get_property(rubato_modules GLOBAL PROPERTY rubato_modules)
foreach(module IN LISTS rubato_modules)
  if(module STREQUAL "rubato")
    set(target rubato)
  else()
    set(target rubato_${module})
  endif()
  install(TARGETS ${target} EXPORT rubato-${module} FILE_SET HEADERS DESTINATION "${rubato_include_dir}" ${rubato_apart})
  install(EXPORT rubato-${module} NAMESPACE rubato:: FILE rubato-${module}-targets.cmake
          DESTINATION "${rubato_package_dir}" ${rubato_apart})
endforeach()

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/rubato-config.cmake.in"
                              "${PROJECT_BINARY_DIR}/rubato-config.cmake" INSTALL_DESTINATION "${rubato_package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/rubato-config-version.cmake" COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/rubato-config.cmake" "${PROJECT_BINARY_DIR}/rubato-config-version.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/rubato_find_thrust.cmake" "${CMAKE_CURRENT_LIST_DIR}/rubato_find_xxhash.cmake"
        DESTINATION "${rubato_package_dir}" ${rubato_apart})
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" ${rubato_apart})
