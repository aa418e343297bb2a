# What is installed: libdeepwell.so with its header (component runtime), the command line (cli), the Python package (python). The
# emulator as a library is component emulator.
#
# The build folder holds the whole Python package too, with links to its sources: PYTHONPATH=<build>/python. In a wheel the same
# folder is what is installed; elsewhere libraries and programs go where the system keeps them.
include(GNUInstallDirs)
set(dw_package ${CMAKE_BINARY_DIR}/python/deepwell)

# --- the C interface as a shared library ------------------------------------------------------------------------------
set(dw_exports ${CMAKE_SOURCE_DIR}/cmake/library.exports)
add_library(deepwell_library SHARED $<TARGET_OBJECTS:dw_capi>)
target_link_libraries(deepwell_library PRIVATE dw_ops)
target_link_options(deepwell_library PRIVATE -Wl,--version-script=${dw_exports} -Wl,-z,defs)
set_target_properties(deepwell_library PROPERTIES OUTPUT_NAME deepwell LIBRARY_OUTPUT_DIRECTORY ${dw_package}/lib
                      LINK_DEPENDS ${dw_exports})
if(COMMAND dw_load_emulator)
  dw_load_emulator(deepwell_library)
endif()

# --- the Python extension module, on the C interface and Python's limited interface of 3.10 -----------------------------
execute_process(
  COMMAND ${Python3_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('include'))"
  OUTPUT_VARIABLE dw_python_include OUTPUT_STRIP_TRAILING_WHITESPACE)
file(GLOB dw_native_sources CONFIGURE_DEPENDS python/native/*.cpp)
if(EXISTS ${dw_python_include}/Python.h)
  if(DEEPWELL_ZIG)
    dw_link_python_headers(${dw_python_include} dw_python_include)
  endif()
  add_library(deepwell_native MODULE ${dw_native_sources})
  target_include_directories(deepwell_native PRIVATE include)
  target_include_directories(deepwell_native SYSTEM PRIVATE ${dw_python_include})
  target_link_libraries(deepwell_native PRIVATE dw_flags deepwell_library)
  set(dw_module_exports ${CMAKE_SOURCE_DIR}/cmake/module.exports)
  target_link_options(deepwell_native PRIVATE -Wl,--version-script=${dw_module_exports})
  set_target_properties(deepwell_native PROPERTIES LINK_DEPENDS ${dw_module_exports})
  set_target_properties(deepwell_native PROPERTIES
    PREFIX "" OUTPUT_NAME _native SUFFIX .abi3.so LIBRARY_OUTPUT_DIRECTORY ${dw_package} CXX_VISIBILITY_PRESET hidden
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN/lib")
elseif(SKBUILD)
  message(FATAL_ERROR "${dw_python_include}/Python.h is missing: run tools/setup.sh wheel")
else()
  message(STATUS "${dw_python_include}/Python.h is missing: no Python module (tools/setup.sh test installs what it needs)")
endif()

# --- the package in the build folder ----------------------------------------------------------------------------------
file(MAKE_DIRECTORY ${dw_package}/bin ${dw_package}/include/deepwell)
file(GLOB dw_entries CONFIGURE_DEPENDS python/deepwell/*)
list(FILTER dw_entries EXCLUDE REGEX "/__pycache__$")
foreach(entry ${dw_entries})
  get_filename_component(name ${entry} NAME)
  file(CREATE_LINK ${entry} ${dw_package}/${name} SYMBOLIC)
endforeach()
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/include/deepwell/deepwell.h ${dw_package}/include/deepwell/deepwell.h SYMBOLIC)
if(TARGET deepwell)
  file(CREATE_LINK ../../../deepwell ${dw_package}/bin/deepwell SYMBOLIC)
endif()
if(DEEPWELL_EMULATOR_LIBRARY)
  file(MAKE_DIRECTORY ${dw_package}/lib)
  file(CREATE_LINK ../../../libdeepwell_emulator.so ${dw_package}/lib/libdeepwell_emulator.so SYMBOLIC)
endif()
add_custom_target(python_package ALL DEPENDS deepwell_library)
foreach(part deepwell_native deepwell_emulator deepwell)
  if(TARGET ${part})
    add_dependencies(python_package ${part})
  endif()
endforeach()

# --- installation -----------------------------------------------------------------------------------------------------
install(TARGETS deepwell_library LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime)
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT runtime)
if(TARGET deepwell)
  install(TARGETS deepwell RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT cli)
endif()
if(SKBUILD)
  # The prefix is the package; its Python files are the build backend's business.
  install(TARGETS deepwell_native LIBRARY DESTINATION . COMPONENT python)
  install(FILES python/deepwell_deep_gemm.pth DESTINATION ${SKBUILD_PLATLIB_DIR} COMPONENT python)
elseif(TARGET deepwell_native)
  set(dw_python_dir ${CMAKE_INSTALL_LIBDIR}/python CACHE STRING "Where the Python package is installed")
  file(RELATIVE_PATH up /${dw_python_dir}/deepwell /${CMAKE_INSTALL_LIBDIR})
  set_target_properties(deepwell_native PROPERTIES INSTALL_RPATH "$ORIGIN/lib:$ORIGIN/${up}")
  install(TARGETS deepwell_native LIBRARY DESTINATION ${dw_python_dir}/deepwell COMPONENT python)
  install(DIRECTORY python/deepwell DESTINATION ${dw_python_dir} COMPONENT python PATTERN __pycache__ EXCLUDE)
  install(FILES python/deepwell_deep_gemm.pth DESTINATION ${dw_python_dir} COMPONENT python)
endif()

# The licences of what is linked statically, header-only libraries included.
foreach(notice ${DEEPWELL_NOTICES})
  string(REPLACE "=" ";" notice ${notice})
  list(GET notice 0 name)
  list(GET notice 1 file)
  install(FILES ${file} DESTINATION share/licenses/deepwell RENAME ${name}.txt COMPONENT runtime)
endforeach()
