# Toolchain file: zig as C++ compiler, for binaries that run wherever glibc is 2.28 or newer. libc++ is linked statically.
#   cmake -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake -DDEEPWELL_ZIG_ARCH=x86_64|aarch64
# zig comes from the Python package ziglang, of whichever Python has it, or from PATH.
set(DEEPWELL_ZIG_ARCH "" CACHE STRING "Processor that zig compiles for: x86_64 or aarch64; empty: this machine's")
set(DEEPWELL_ZIG_PYTHON "" CACHE FILEPATH "A Python that has the package ziglang")
set(DEEPWELL_ZIG ON)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DEEPWELL_ZIG_ARCH DEEPWELL_ZIG_PROGRAM DEEPWELL_ZIG_FOLDER)

if(NOT DEEPWELL_ZIG_ARCH)
  cmake_host_system_information(RESULT dw_host_arch QUERY OS_PLATFORM)
  set(DEEPWELL_ZIG_ARCH ${dw_host_arch} CACHE STRING "" FORCE)
endif()
if(NOT DEEPWELL_ZIG_ARCH MATCHES "^(x86_64|aarch64)$")
  message(FATAL_ERROR "DEEPWELL_ZIG_ARCH: expected x86_64 or aarch64, got '${DEEPWELL_ZIG_ARCH}'")
endif()

foreach(python "${DEEPWELL_ZIG_PYTHON}" "${Python3_EXECUTABLE}" "${Python_EXECUTABLE}" python3)
  if(python AND NOT DEEPWELL_ZIG_PROGRAM)
    execute_process(COMMAND ${python} -c "import os, ziglang; print(os.path.dirname(ziglang.__file__) + '/zig')"
                    OUTPUT_VARIABLE dw_zig OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(dw_zig AND EXISTS "${dw_zig}")
      set(DEEPWELL_ZIG_PROGRAM "${dw_zig}" CACHE FILEPATH "zig")
    endif()
  endif()
endforeach()
find_program(DEEPWELL_ZIG_PROGRAM zig)
if(NOT DEEPWELL_ZIG_PROGRAM)
  message(FATAL_ERROR "zig is missing: pip install ziglang, or -DDEEPWELL_ZIG_PYTHON=<a Python that has it>")
endif()

# The tools as programs of one word, in the build folder. What they say of zig's headers is by a name that stays when zig is somewhere
# else next time, as in pip's temporary environments: only then can ccache find its results again.
if(NOT DEEPWELL_ZIG_FOLDER)
  set(DEEPWELL_ZIG_FOLDER ${CMAKE_BINARY_DIR}/zig)
  get_filename_component(dw_zig_lib ${DEEPWELL_ZIG_PROGRAM} REALPATH)
  get_filename_component(dw_zig_lib ${dw_zig_lib} DIRECTORY)
  file(MAKE_DIRECTORY ${DEEPWELL_ZIG_FOLDER})
  file(CREATE_LINK ${dw_zig_lib}/lib ${DEEPWELL_ZIG_FOLDER}/lib SYMBOLIC)
  foreach(tool c++ ar ranlib)
    set(words ${tool})
    if(tool STREQUAL c++)
      set(words "c++ -target ${DEEPWELL_ZIG_ARCH}-linux-gnu.2.28")
    endif()
    file(WRITE ${DEEPWELL_ZIG_FOLDER}/${tool}
         "#!/bin/sh\nZIG_LIB_DIR='${DEEPWELL_ZIG_FOLDER}/lib' exec '${DEEPWELL_ZIG_PROGRAM}' ${words} \"$@\"\n")
    file(CHMOD ${DEEPWELL_ZIG_FOLDER}/${tool} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE)
  endforeach()
endif()
set(CMAKE_CXX_COMPILER ${DEEPWELL_ZIG_FOLDER}/c++)
set(CMAKE_AR ${DEEPWELL_ZIG_FOLDER}/ar)
set(CMAKE_RANLIB ${DEEPWELL_ZIG_FOLDER}/ranlib)

# ccache knows compilers by name and date, and these are scripts.
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  execute_process(COMMAND ${DEEPWELL_ZIG_PROGRAM} version OUTPUT_VARIABLE dw_zig_version OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_COMPILERTYPE=clang
      CCACHE_COMPILERCHECK=string:zig-${dw_zig_version}-${DEEPWELL_ZIG_ARCH}-2.28 ${CCACHE})
endif()

# Named, so that CMake counts this as cross-compiling, and nothing of this machine's own headers and libraries is found.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${DEEPWELL_ZIG_ARCH})
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY NEVER)
