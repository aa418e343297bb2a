// Files of the corpus to PTX: by NVRTC in this process, or by nvcc.
#pragma once

#include <string>
#include <vector>

namespace deepwell::corpus {

/// One way to compile.
struct Compiler {
  std::string name;  // "nvcc 13.0", "nvcc 13.0 -G", "nvrtc 12.9"
  std::string path;  // of libnvrtc or nvcc
  std::string include;
  bool is_nvrtc = false;
  std::vector<std::string> options;
};

/// NVRTC and the nvcc that can be found, without and with -G; those that are missing are not there. `nvrtc`: more of them, as
/// "libnvrtc.so.12=folder with its headers".
std::vector<Compiler> find_compilers(std::string const& target, std::vector<std::string> const& nvrtc);

/// PTX of tests/corpus/<name>.cu. Throws Error with the compiler's log.
std::string compile(Compiler const& compiler, std::string const& name, std::string const& target);

}  // namespace deepwell::corpus
