// The device sources a compile sees: embedded in the library, or read from a checkout. Thread-safe.
#include <algorithm>
#include <map>
#include <mutex>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "base/options.hpp"
#include "jit/embedded_sources.hpp"
#include "jit/jit.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

using Sources = std::vector<std::pair<std::string, std::string>>;

struct Set {
  Sources sources;
  std::string digest;
};

Sources read_embedded() {
  Sources sources;
  for (EmbeddedSource const& source : embedded_sources()) {
    sources.emplace_back(std::string(source.name), std::string(source.text));
  }
  return sources;
}

Sources read_checkout(fs::path const& checkout) {
  Sources sources;
  for (char const* tree : {"plan", "kernels"}) {
    fs::path const root = checkout / tree;
    if (!fs::is_directory(root / "deepwell")) {
      throw bad_argument(std::string(option_row(Option::kDeviceDir).name), checkout.string(),
                         "a checkout with plan/deepwell and kernels/deepwell");
    }
    for (fs::directory_entry const& file : fs::recursive_directory_iterator(root / "deepwell")) {
      fs::path const extension = file.path().extension();
      if (!file.is_regular_file() || (extension != ".h" && extension != ".cuh")) continue;
      sources.emplace_back(file.path().lexically_relative(root).generic_string(),
                           read_text_file(file.path()));
    }
  }
  return sources;
}

// Read once for each value of the option: every kernel of a process is compiled from the same text.
Set const& current_set() {
  static std::mutex mutex;
  static std::map<std::string, Set> sets;
  std::string const checkout = option_text(Option::kDeviceDir);
  std::lock_guard lock(mutex);
  auto const [at, is_new] = sets.try_emplace(checkout);
  if (is_new) {
    try {
      Sources sources = checkout.empty() ? read_embedded() : read_checkout(checkout);
      std::sort(sources.begin(), sources.end());
      Hasher hasher;
      for (auto const& [name, text] : sources) hasher.add(name).add(text);
      at->second = {.sources = std::move(sources), .digest = hasher.hex()};
    } catch (...) {
      sets.erase(at);
      throw;
    }
  }
  return at->second;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> const& device_sources() { return current_set().sources; }
std::string device_source_digest() { return current_set().digest; }

}  // namespace deepwell::jit
