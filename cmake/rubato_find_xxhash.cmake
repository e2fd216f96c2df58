# SPDX-License-Identifier: MIT
# Makes the imported target rubato_find::xxhash: the header of xxHash 0.8, of which wire/xxhash.hpp needs no more. Where
# the library is there too and chooses by the processor (x86-64), it is linked and taken. Used when rubato is built, and
# installed for those who ask for the component xxhash.
#
#   RUBATO_XXHASH_ROOT   empty: the distribution's xxHash (Debian: libxxhash-dev); else its prefix
include_guard()

set(RUBATO_XXHASH_ROOT "" CACHE PATH "Prefix of another xxHash than the distribution's")
set(rubato_xxhash_where "")
if(RUBATO_XXHASH_ROOT)
  set(rubato_xxhash_where NO_DEFAULT_PATH PATHS "${RUBATO_XXHASH_ROOT}" PATH_SUFFIXES include lib)
endif()
find_path(rubato_xxhash_folder xxhash.h NO_CACHE ${rubato_xxhash_where})
find_path(rubato_xxhash_dispatch_folder xxh_x86dispatch.h NO_CACHE ${rubato_xxhash_where})
find_library(rubato_xxhash_library xxhash NO_CACHE ${rubato_xxhash_where})

if(rubato_xxhash_folder AND NOT TARGET rubato_find::xxhash)
  add_library(rubato_find::xxhash INTERFACE IMPORTED GLOBAL)
  target_include_directories(rubato_find::xxhash SYSTEM INTERFACE "${rubato_xxhash_folder}")
  if(rubato_xxhash_dispatch_folder AND rubato_xxhash_library AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    target_link_libraries(rubato_find::xxhash INTERFACE "${rubato_xxhash_library}")
    target_compile_definitions(rubato_find::xxhash INTERFACE RUBATO_XXHASH_DISPATCH)
  endif()
endif()
