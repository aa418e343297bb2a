# Device sources (plan/ and kernels/) are embedded in the library: run-time compilation needs no include path.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(dw_embed_arguments "")
set(dw_embed_files "")
foreach(tree plan kernels)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${tree}/deepwell/*.h
       ${CMAKE_SOURCE_DIR}/${tree}/deepwell/*.cuh)
  foreach(file ${files})
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR}/${tree} ${file})
    list(APPEND dw_embed_arguments ${name}=${file})
    list(APPEND dw_embed_files ${file})
  endforeach()
endforeach()

# The list goes through a file that changes only with it, so that a removed file also rebuilds the embedding.
set(dw_embedded ${CMAKE_BINARY_DIR}/generated/embedded_sources.cpp)
string(REPLACE ";" "\n" dw_embed_list "${dw_embed_arguments}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/embedded_sources.txt CONTENT "${dw_embed_list}\n" @ONLY)
add_custom_command(
  OUTPUT ${dw_embedded}
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/cmake/embed_sources.py ${dw_embedded} ${dw_embed_arguments}
  DEPENDS ${dw_embed_files} ${CMAKE_BINARY_DIR}/generated/embedded_sources.txt ${CMAKE_SOURCE_DIR}/cmake/embed_sources.py
  COMMENT "Embedding device sources"
  VERBATIM)
target_sources(dw_jit PRIVATE ${dw_embedded})
