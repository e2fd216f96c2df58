# SPDX-License-Identifier: MIT
# Makes the imported target rubato_find::thrust: Thrust's headers for a plain C++ compiler, with what its host systems
# need. Used when rubato is built, and installed for those who ask for the component thrust.
#
#   RUBATO_THRUST_ROOT   empty: the distribution's Thrust (Debian: libthrust-dev); else a folder that holds thrust/, as
#                        it is, below include/ or below include/cccl (a CUDA toolkit's)
#   RUBATO_THRUST_OMP, RUBATO_THRUST_TBB    whether to look for OpenMP and for TBB
#
# One Thrust a build: the classes of two versions have the same names. nvcc always takes its own, so files that it
# compiles and files of a plain compiler may share no Thrust type.
include_guard()

set(RUBATO_THRUST_ROOT "" CACHE PATH "Folder of another Thrust than the distribution's, such as a CUDA toolkit's")
set(rubato_threads_are_understood ON)
if(CMAKE_CXX_FLAGS MATCHES "sanitize=thread") # knows neither libgomp's locks nor TBB's
  set(rubato_threads_are_understood OFF)
endif()
option(RUBATO_THRUST_OMP "Thrust may use OpenMP's threads" ${rubato_threads_are_understood})
option(RUBATO_THRUST_TBB "Thrust may use TBB's threads" ${rubato_threads_are_understood})

if(RUBATO_THRUST_ROOT)
  find_path(rubato_thrust_folder thrust/version.h NO_CACHE NO_DEFAULT_PATH
            PATHS "${RUBATO_THRUST_ROOT}/include/cccl" "${RUBATO_THRUST_ROOT}/include" "${RUBATO_THRUST_ROOT}")
else()
  # Not by PATH: where nvcc stands there, the toolkit's Thrust would be found first.
  find_path(rubato_thrust_folder thrust/version.h NO_CACHE NO_SYSTEM_ENVIRONMENT_PATH)
endif()

if(rubato_thrust_folder AND NOT TARGET rubato_find::thrust)
  add_library(rubato_find::thrust INTERFACE IMPORTED GLOBAL)
  target_include_directories(rubato_find::thrust SYSTEM INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${rubato_thrust_folder}>")
  target_compile_definitions(
    rubato_find::thrust INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:THRUST_HOST_SYSTEM=THRUST_HOST_SYSTEM_CPP>"
                                  "$<$<COMPILE_LANGUAGE:CXX>:THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP>")
  set(rubato_thrust_systems cpp)
  if(RUBATO_THRUST_OMP)
    find_package(OpenMP QUIET GLOBAL COMPONENTS CXX)
    if(TARGET OpenMP::OpenMP_CXX)
      target_link_libraries(rubato_find::thrust INTERFACE OpenMP::OpenMP_CXX)
      list(APPEND rubato_thrust_systems omp)
    endif()
  endif()
  if(RUBATO_THRUST_TBB)
    find_package(TBB QUIET CONFIG GLOBAL)
    if(TARGET TBB::tbb)
      target_link_libraries(rubato_find::thrust INTERFACE TBB::tbb)
      target_compile_definitions(rubato_find::thrust INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:RUBATO_THRUST_TBB>")
      list(APPEND rubato_thrust_systems tbb)
    endif()
  endif()
endif()
