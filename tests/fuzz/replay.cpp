// Runs a fuzzer's entry on the files of a folder, without libFuzzer: seeds, and inputs that once failed.
#include <cstdint>
#include <cstdio>
#include <filesystem>

#include "base/file.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    for (auto const& entry : std::filesystem::directory_iterator(argv[i])) {
      std::string const text = deepwell::read_text_file(entry.path());
      std::fprintf(stderr, "%s\n",
                   entry.path().c_str());  // the last one named is the one that ended the process
      LLVMFuzzerTestOneInput(reinterpret_cast<std::uint8_t const*>(text.data()), text.size());
      ++files;
    }
  }
  std::printf("%d files\n", files);
  return files == 0 ? 1 : 0;
}
