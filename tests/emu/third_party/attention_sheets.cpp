// Launch sheets: sparse attention decode.
#include "launch_sheets.hpp"

namespace deepwell::third_party {

std::vector<Sheet> attention_sheets() { return {}; }

}  // namespace deepwell::third_party
