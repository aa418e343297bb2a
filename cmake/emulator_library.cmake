# Emulated devices in the two forms that a program can have them in: the emulator linked in (programs, tests), or a library of its
# own that is loaded when an emulated device is asked for (what is installed: libdeepwell_emulator.so).
include(GNUInstallDirs)

option(DEEPWELL_EMULATOR_LIBRARY "Install the emulator as a library; dw_load_emulator() makes targets load it" OFF)

# The rules of tensor maps, which the CUDA backend explains refusals with.
add_library(dw_tensor_map STATIC src/emu/mem/tensor_map.cpp)
target_link_libraries(dw_tensor_map PUBLIC dw_num)
target_link_libraries(dw_emu PUBLIC dw_tensor_map)
target_link_libraries(dw_backend PUBLIC dw_tensor_map)

# The two forms. Every program or shared library that links dw_backend, directly or not, gets one of them: the second if its
# property DW_LOADS_EMULATOR is on.
set(dw_emu_folder src/backend/emu)
add_library(dw_backend_emu STATIC ${dw_emu_folder}/emu_backend.cpp ${dw_emu_folder}/launches.cpp)
target_link_libraries(dw_backend_emu PUBLIC dw_backend dw_emu)
add_library(dw_emulator_linked STATIC ${dw_emu_folder}/emulator_linked.cpp)
target_link_libraries(dw_emulator_linked PUBLIC dw_backend_emu)
add_library(dw_emulator_loaded STATIC ${dw_emu_folder}/emulator_loaded.cpp ${dw_emu_folder}/library_backend.cpp)
target_link_libraries(dw_emulator_loaded PUBLIC dw_backend ${CMAKE_DL_LIBS})
target_link_libraries(dw_backend PUBLIC
  $<IF:$<BOOL:$<TARGET_PROPERTY:DW_LOADS_EMULATOR>>,dw_emulator_loaded,dw_emulator_linked>)

# dw_load_emulator(<target>): the runtime library loads the emulator where that is installed as a library.
function(dw_load_emulator target)
  if(DEEPWELL_EMULATOR_LIBRARY)
    set_target_properties(${target} PROPERTIES DW_LOADS_EMULATOR ON)
  endif()
endfunction()

# The library. One symbol leaves it, so that it can share a process with another copy of anything that it contains.
add_library(deepwell_emulator SHARED ${dw_emu_folder}/emulator_library.cpp)
set(dw_emu_exports ${CMAKE_CURRENT_LIST_DIR}/emulator_library.exports)
set_target_properties(deepwell_emulator PROPERTIES LINK_DEPENDS ${dw_emu_exports})
target_link_options(deepwell_emulator PRIVATE -Wl,--version-script=${dw_emu_exports} -Wl,-z,defs)
target_link_libraries(deepwell_emulator PRIVATE dw_backend_emu)
if(DEEPWELL_EMULATOR_LIBRARY)
  install(TARGETS deepwell_emulator LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT emulator)
endif()
