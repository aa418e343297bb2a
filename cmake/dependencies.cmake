# The header-only libraries that the host code is made of, as targets dw_fmt and CLI11::CLI11.
#
# zig brings the C library's headers of the oldest system that it compiles for and must not see /usr/include, whose headers are this
# machine's: it gets a folder of links to those that are wanted.
if(NOT DEEPWELL_ZIG)
  find_package(fmt REQUIRED)
  find_package(CLI11 REQUIRED)
  if(DEEPWELL_STATIC)
    add_library(dw_fmt ALIAS fmt::fmt-header-only)
  else()
    add_library(dw_fmt ALIAS fmt::fmt)
  endif()
  return()
endif()

set(DEEPWELL_HEADERS /usr/include CACHE PATH "Folder with the headers of fmt, CLI11, nlohmann-json and xxHash")
set(dw_headers ${CMAKE_BINARY_DIR}/headers)
file(MAKE_DIRECTORY ${dw_headers})
foreach(name fmt CLI nlohmann xxhash.h)
  if(NOT EXISTS ${DEEPWELL_HEADERS}/${name})
    message(FATAL_ERROR "${DEEPWELL_HEADERS}/${name} is missing: run tools/setup.sh wheel")
  endif()
  file(CREATE_LINK ${DEEPWELL_HEADERS}/${name} ${dw_headers}/${name} SYMBOLIC)
endforeach()

add_library(dw_fmt INTERFACE)
target_compile_definitions(dw_fmt INTERFACE FMT_HEADER_ONLY=1)
target_include_directories(dw_fmt SYSTEM INTERFACE ${dw_headers})
add_library(CLI11::CLI11 INTERFACE IMPORTED)
target_include_directories(CLI11::CLI11 SYSTEM INTERFACE ${dw_headers})

# dw_link_python_headers(<folder with Python.h> <variable>): a folder with links to these headers alone.
#
# Debian's pyconfig.h includes one of the processor's own, as <x86_64-linux-gnu/python3.11/pyconfig.h>. What it says of the sizes of
# types holds for every 64-bit Linux that is little-endian, and the limited interface needs no more: it serves each target's name.
function(dw_link_python_headers from variable)
  set(folder ${CMAKE_BINARY_DIR}/python_headers)
  file(MAKE_DIRECTORY ${folder})
  get_filename_component(name ${from} NAME)
  get_filename_component(above ${from} DIRECTORY)
  file(CREATE_LINK ${from} ${folder}/${name} SYMBOLIC)
  file(GLOB own ${above}/*-linux-gnu/${name})
  foreach(one ${own})
    foreach(arch x86_64 aarch64)
      file(MAKE_DIRECTORY ${folder}/${arch}-linux-gnu)
      file(CREATE_LINK ${one} ${folder}/${arch}-linux-gnu/${name} SYMBOLIC)
    endforeach()
  endforeach()
  set(${variable} ${folder}/${name} ${folder} PARENT_SCOPE)
endfunction()

# Licences of what ends up in the binaries: name=file.
set(DEEPWELL_NOTICES "")
get_filename_component(dw_zig_folder ${DEEPWELL_ZIG_PROGRAM} DIRECTORY)
foreach(notice fmt=/usr/share/doc/libfmt-dev/copyright CLI11=/usr/share/doc/libcli11-dev/copyright
        nlohmann-json=/usr/share/doc/nlohmann-json3-dev/copyright xxHash=/usr/share/doc/libxxhash-dev/copyright
        libcxx=${dw_zig_folder}/lib/libcxx/LICENSE.TXT libcxxabi=${dw_zig_folder}/lib/libcxxabi/LICENSE.TXT
        libunwind=${dw_zig_folder}/lib/libunwind/LICENSE.TXT)
  string(REGEX REPLACE "^[^=]*=" "" file ${notice})
  if(EXISTS ${file})
    list(APPEND DEEPWELL_NOTICES ${notice})
  else()
    message(WARNING "${file} is missing: the wheel will not contain this licence")
  endif()
endforeach()
