# SPDX-License-Identifier: MIT
# What race, replay, peer, cluster and the benchmarks that race have in common: its algorithms, compiled once.
include_guard(GLOBAL)

function(rubato_add_race_support)
  set(folder "${PROJECT_SOURCE_DIR}/examples")
  add_library(rubato_race_support STATIC EXCLUDE_FROM_ALL "${folder}/support/race_even.cpp" "${folder}/support/race_odd.cpp"
                                         "${folder}/support/race_run.cpp" "${folder}/support/race_live.cpp")
  if(RUBATO_BUILD_TESTS AND CMAKE_BUILD_TYPE STREQUAL "Release")
    rubato_link_instances(rubato_race_support)
  endif()
  target_include_directories(rubato_race_support PUBLIC "${folder}")
  target_link_libraries(rubato_race_support PRIVATE rubato_warnings PUBLIC rubato::rubato rubato::eigen ZLIB::ZLIB)
  if(TARGET rubato::asio AND TARGET rubato::nlohmann_json)
    target_link_libraries(rubato_race_support PRIVATE rubato::asio rubato::nlohmann_json)
    set_source_files_properties("${folder}/support/race_live.cpp" TARGET_DIRECTORY rubato_race_support
                                PROPERTIES COMPILE_DEFINITIONS RUBATO_EXAMPLES_HAVE_ASIO=1)
  endif()
endfunction()

if(TARGET rubato::eigen AND TARGET ZLIB::ZLIB)
  rubato_add_race_support()
endif()
