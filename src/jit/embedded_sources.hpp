// What cmake/embed_sources.py generates: the device sources as text.
#pragma once

#include <string_view>
#include <vector>

namespace deepwell::jit {

struct EmbeddedSource {
  std::string_view name;  // as kernels include it: "deepwell/common.h"
  std::string_view text;
};
std::vector<EmbeddedSource> embedded_sources();

}  // namespace deepwell::jit
