# One test executable per folder: tests/unit/<folder> -> unit_<folder>, tests/emu -> emu_tests, tests/kernel -> kernel_tests.
# The planted bugs of tests/emu/bugs have one of their own, emu_bugs.
option(DEEPWELL_TESTS "Build the tests" ON)
if(NOT DEEPWELL_TESTS)
  return()
endif()
enable_testing()
if(DEEPWELL_ZIG)
  # Built along, as any C++ library that zig's binaries use: from Debian's package of sources.
  set(DEEPWELL_GTEST /usr/src/googletest CACHE PATH "googletest's sources")
  foreach(name gtest gmock)
    string(REGEX REPLACE "^g" "${DEEPWELL_GTEST}/google" folder ${name})
    add_library(dw_${name} STATIC ${folder}/src/${name}-all.cc)
    target_include_directories(dw_${name} PRIVATE ${folder})
    target_include_directories(dw_${name} SYSTEM PUBLIC ${folder}/include)
  endforeach()
  add_library(dw_gtest_main STATIC ${DEEPWELL_GTEST}/googletest/src/gtest_main.cc)
  target_link_libraries(dw_gtest PUBLIC dw_flags)
  target_link_libraries(dw_gtest_main PUBLIC dw_gtest)
  target_link_libraries(dw_gmock PUBLIC dw_gtest)
  add_library(GTest::gtest ALIAS dw_gtest)
  add_library(GTest::gtest_main ALIAS dw_gtest_main)
  add_library(GTest::gmock ALIAS dw_gmock)
else()
  find_package(GTest REQUIRED)
endif()

function(dw_test name folder)
  file(GLOB sources CONFIGURE_DEPENDS tests/${folder}/*.cpp)
  if(name STREQUAL emu_bugs)
    list(FILTER sources INCLUDE REGEX "/(bugs_test|bug_runner|case_runner)\\.cpp$")
  elseif(name STREQUAL emu_tests)
    list(FILTER sources EXCLUDE REGEX "/(bugs_test|bug_runner)\\.cpp$")
  endif()
  if(sources)
    add_executable(${name} ${sources})
    target_include_directories(${name} PRIVATE tests src)
    target_compile_definitions(${name} PRIVATE DW_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    target_link_libraries(${name} PRIVATE ${ARGN} GTest::gtest GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endif()
endfunction()

dw_test(unit_base unit/base dw_base)
dw_test(unit_num unit/num dw_num)
dw_test(unit_tensor unit/tensor dw_tensor)
dw_test(unit_plan unit/plan dw_base dw_plan)
dw_test(unit_checkpoint unit/checkpoint dw_checkpoint)
dw_test(unit_emu unit/emu dw_emu)
dw_test(unit_jit unit/jit dw_jit)
dw_test(unit_backend unit/backend dw_backend)
add_subdirectory(tests/unit/backend/mock_cuda)
dw_test(unit_emulator_library unit/backend/emulator_library dw_backend dw_backend_emu GTest::gmock)
add_subdirectory(tests/unit/backend/mock_emulator)
dw_test(unit_ref unit/ref dw_ref)
dw_test(unit_check unit/check dw_check)
dw_test(unit_ops unit/ops dw_ops dw_ref)
dw_test(unit_capi unit/capi dw_capi)
target_compile_definitions(unit_capi PRIVATE DW_MOCK_CUDA="$<TARGET_FILE:mock_cuda>")
add_dependencies(unit_capi mock_cuda)
# The same cases with the emulator in its library.
add_executable(unit_capi_loading $<TARGET_OBJECTS:unit_capi>)
target_link_libraries(unit_capi_loading PRIVATE dw_capi GTest::gtest GTest::gtest_main)
set_target_properties(unit_capi_loading unit_emulator_library PROPERTIES DW_LOADS_EMULATOR ON)
add_dependencies(unit_capi_loading deepwell_emulator mock_cuda)
add_test(NAME unit_capi_loading COMMAND unit_capi_loading WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
dw_test(emu_tests emu dw_backend)
dw_test(emu_bugs emu dw_backend)
dw_test(compile_tests compile dw_ops)
# The corpus: a device compiler sees the kernels of tests/corpus/*.cu when the test runs, the host compiler now their results.
dw_test(corpus_tests corpus dw_emu)
file(GLOB dw_corpus CONFIGURE_DEPENDS tests/corpus/*.cu)
set_source_files_properties(${dw_corpus} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++;-O1")
target_sources(corpus_tests PRIVATE ${dw_corpus})
target_include_directories(corpus_tests PRIVATE tests/corpus)
target_link_libraries(corpus_tests PRIVATE dw_jit)
dw_test(kernel_tests kernel dw_check)
dw_test(kernel_mutations kernel_mutations dw_check)
if(TARGET dw_cli)
  dw_test(unit_cli unit/cli dw_cli GTest::gmock)
endif()

# The emulator against a GPU: tests/silicon/main.cpp says how it is used. Its programs are tested without one.
add_library(dw_silicon STATIC tests/silicon/generate.cpp tests/silicon/templates.cpp tests/silicon/data.cpp
            tests/silicon/coverage.cpp)
target_include_directories(dw_silicon PUBLIC tests src)
target_link_libraries(dw_silicon PUBLIC dw_backend)
add_executable(silicon tests/silicon/main.cpp)
target_link_libraries(silicon PRIVATE dw_silicon)
add_executable(silicon_tests tests/silicon/coverage_test.cpp tests/emu/case_runner.cpp)
target_compile_definitions(silicon_tests PRIVATE DW_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
target_link_libraries(silicon_tests PRIVATE dw_silicon GTest::gtest GTest::gtest_main)
add_test(NAME silicon_tests COMMAND silicon_tests WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})

# What only a GPU can show: tools/gpu/run_checks.sh runs it, ctest has no device for it.
add_executable(gpu_tests tests/gpu/device_test.cpp)
target_include_directories(gpu_tests PRIVATE tests src)
target_link_libraries(gpu_tests PRIVATE dw_ops GTest::gtest GTest::gtest_main)

# Checks of the tree itself, and the tests of those checks.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME layers COMMAND ${Python3_EXECUTABLE} tools/check_layers.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME docs COMMAND ${Python3_EXECUTABLE} tools/check_docs.py WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME tools COMMAND ${Python3_EXECUTABLE} -m unittest discover -s tests/tools WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})

find_program(PTXAS ptxas HINTS /usr/local/cuda/bin)
if(PTXAS)
  add_test(NAME emu_cases_assemble COMMAND ${Python3_EXECUTABLE} tests/emu/assemble_cases.py --ptxas=${PTXAS}
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  add_test(NAME emu_forms COMMAND ${Python3_EXECUTABLE} tests/emu/compare_forms.py --ptxas=${PTXAS}
                                  --emulator=$<TARGET_FILE:emu_tests> WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  add_test(NAME emu_bugs_assemble COMMAND ${Python3_EXECUTABLE} tests/emu/assemble_cases.py --ptxas=${PTXAS}
           --cases=tests/emu/bugs --targets=sm_90a,sm_120a,sm_121a WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endif()

# The fuzzers' entries on their seeds, by any compiler.
function(dw_fuzz_seeds name corpus)
  add_executable(fuzz_seeds_${name} tests/fuzz/${name}_fuzz.cpp tests/fuzz/replay.cpp)
  target_link_libraries(fuzz_seeds_${name} PRIVATE dw_emu)
  add_test(NAME fuzz_seeds_${name} COMMAND fuzz_seeds_${name} tests/fuzz/corpus/${corpus} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endfunction()
dw_fuzz_seeds(ptx_parse ptx)
dw_fuzz_seeds(ptx_run ptx)
dw_fuzz_seeds(launch_file launch_file)

# libFuzzer targets, built with clang, everything instrumented: docs/fuzzing.md.
if(DEEPWELL_FUZZ)
  function(dw_fuzz name library)
    add_executable(fuzz_${name} tests/fuzz/${name}_fuzz.cpp)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE ${library})
  endfunction()
  dw_fuzz(safetensors dw_checkpoint)
  dw_fuzz(archive dw_jit)
  dw_fuzz(ptx_parse dw_emu)
  dw_fuzz(ptx_run dw_emu)
  dw_fuzz(launch_file dw_emu)
endif()
if(TARGET deepwell)
  # The same program with the emulator in its library, for what it says when that is missing.
  add_executable(deepwell_loading $<TARGET_OBJECTS:deepwell>)
  target_link_libraries(deepwell_loading PRIVATE dw_cli)
  set_target_properties(deepwell_loading PROPERTIES DW_LOADS_EMULATOR ON)
  add_dependencies(deepwell_loading deepwell_emulator)
  add_test(NAME cli COMMAND ${CMAKE_COMMAND} -E env DEEPWELL_BINARY=$<TARGET_FILE:deepwell>
                            DEEPWELL_LOADING_BINARY=$<TARGET_FILE:deepwell_loading>
                            DEEPWELL_PYTHON=${CMAKE_SOURCE_DIR}/.venv/bin/python PYTHONPATH=${CMAKE_BINARY_DIR}/python
                            ${Python3_EXECUTABLE} -m unittest discover -s tests/cli WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endif()

# The Python package of the build folder, on emulated devices, by the Python of .venv (tools/requirements-python.txt).
if(TARGET deepwell_native AND NOT DEEPWELL_ZIG)
  add_test(NAME python
    COMMAND ${CMAKE_COMMAND} -E env PYTHONPATH=${CMAKE_BINARY_DIR}/python ${CMAKE_SOURCE_DIR}/.venv/bin/python -m pytest -q
            -p no:cacheprovider --ignore=tests/python/gpu tests/python
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
elseif(NOT DEEPWELL_ZIG)
  add_test(NAME python COMMAND ${CMAKE_COMMAND} -E cat "the Python module was not built: Python.h is missing")
endif()
