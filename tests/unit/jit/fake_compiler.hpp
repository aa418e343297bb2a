// A compiler whose results follow from the request, and that counts its calls, over processes too.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <thread>

#include "jit/jit.hpp"
#include "unit/captured_log.hpp"

namespace deepwell::jit {

class FakeCompiler final : public Compiler {
 public:
  FakeCompiler() {
    info_ = {.kind = "fake",
             .path = "/nowhere",
             .found_in = "test",
             .version = {13, 0},
             .full_version = "13.0 test"};
  }
  CompilerInfo const& info() const override { return info_; }

  /// What a compile of `request` gives.
  static Compiled expected(CompileRequest const& request) {
    Compiled compiled;
    std::string const seed = request.source + request.target;
    for (std::size_t i = 0; i < 5000; ++i)
      compiled.cubin.push_back(static_cast<std::byte>(seed[i % seed.size()] + i / 7));
    compiled.ptx = "// PTX of " + seed;
    compiled.log = "log of " + request.name;
    return compiled;
  }

  Compiled compile(CompileRequest const& request) const override {
    ++calls;
    if (!tally.empty()) {
      int const fd = ::open(tally.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
      [[maybe_unused]] ssize_t const written = ::write(fd, "x", 1);
      ::close(fd);
    }
    std::this_thread::sleep_for(delay);
    if (fail) throw Error(ErrorCode::kToolchain, "the fake compiler was told to fail");
    return expected(request);
  }

  CompilerInfo info_;
  mutable std::atomic<int> calls{0};
  std::filesystem::path tally;  // a file that grows by one byte a call
  std::chrono::milliseconds delay{0};
  std::atomic<bool> fail{false};
};

inline CompileRequest sample_request(std::string name = "sample_t128") {
  CompileRequest request;
  request.name = std::move(name);
  request.source = "extern \"C\" __global__ void sample() {}\n";
  request.target = "sm_120a";
  request.entry = "sample";
  return request;
}

inline bool same_result(Compiled const& a, Compiled const& b) {
  return a.cubin == b.cubin && a.ptx == b.ptx && a.log == b.log;
}

}  // namespace deepwell::jit
