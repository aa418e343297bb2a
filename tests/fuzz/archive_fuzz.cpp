// libFuzzer entry: any bytes are an archive of kernels or a reason why not, and what an entry names lies inside the file. The hash of
// the index is made right first, so that what is behind it is reached.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "base/hash.hpp"
#include "jit/archive.hpp"

using namespace deepwell::jit;

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string file(reinterpret_cast<char const*>(data), size);
  for (bool repaired : {false, true}) {
    if (repaired) {
      if (size < kArchiveHeaderBytes) return 0;
      std::uint64_t index = 0;
      for (int i = 0; i < 8; ++i) index |= static_cast<std::uint64_t>(data[24 + i]) << (8 * i);
      std::string_view const text = file;
      std::size_t const taken = std::min<std::uint64_t>(index, size - kArchiveHeaderBytes);
      file.replace(40, 32, deepwell::hash_hex({text.substr(0, 40), text.substr(kArchiveHeaderBytes, taken)}));
    }
    ArchiveIndex const found = parse_archive(std::as_bytes(std::span(file.data(), file.size())), size);
    if (!found.unusable.empty() && !found.entries.empty()) std::abort();
    for (ArchiveEntry const& entry : found.entries) {
      for (ArchivePart const& part : {entry.cubin, entry.ptx}) {
        if (part.offset > size || part.bytes > size - part.offset) std::abort();
      }
    }
  }
  return 0;
}
