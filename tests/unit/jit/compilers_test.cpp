// NVRTC and NVCC: finding them, versions, four targets, in-memory headers, errors. NVRTC must be installed for these tests.
#include "jit/compilers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/arch.hpp"
#include "base/file.hpp"
#include "base/options.hpp"
#include "base/subprocess.hpp"
#include "unit/jit/fake_compiler.hpp"

namespace deepwell::jit {
namespace {
namespace fs = std::filesystem;

constexpr char const* kTargets[] = {"sm_90a", "sm_120a", "sm_121a", "sm_120f"};

std::string_view text_of(std::vector<std::byte> const& bytes) {
  return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

/// Block-scaled mma where the target has it, unscaled elsewhere; includes an embedded header and needs C++20.
CompileRequest mma_request(std::string const& target) {
  CompileRequest request;
  request.name = "probe";
  request.target = target;
  request.entry = "probe";
  request.source = R"(#include "deepwell/common.h"
template <deepwell::Bump kBump>
__device__ float scaled(float value) { return value * (kBump.used + deepwell::bits_of(deepwell::Dtype::kE2m1)); }
extern "C" __global__ void __launch_bounds__(32) probe(float* d, unsigned const* a, unsigned scale) {
  float sum[4] = {};
  unsigned const* const lane = a + threadIdx.x * 6;
#if __CUDA_ARCH__ >= 1200
  asm("mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32.e4m3.e2m1.f32.ue8m0 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, {%10}, {0,0}, {%10}, {0,0};"
#else
  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}; // %10"
#endif
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(lane[0]), "r"(lane[1]), "r"(lane[2]), "r"(lane[3]), "r"(lane[4]), "r"(lane[5]), "r"(scale));
  for (int i = 0; i < 4; ++i) d[threadIdx.x * 4 + i] = scaled<deepwell::Bump{3}>(sum[i]) * sum[i] + 1.0f;
}
)";
  return request;
}

void expect_good(Compiled const& compiled, std::string const& target) {
  EXPECT_TRUE(text_of(compiled.cubin)
                  .starts_with("\x7f"
                               "ELF"));
  EXPECT_NE(compiled.ptx.find(".target " + target), std::string::npos) << compiled.ptx.substr(0, 400);
  EXPECT_NE(compiled.ptx.find(".entry probe("), std::string::npos);
  EXPECT_EQ(compiled.ptx.back() == '\0', false);
  bool const scaled = arch_by_target(target).block_scaled_mma;
  EXPECT_EQ(compiled.ptx.find("block_scale") != std::string::npos, scaled);
  EXPECT_EQ(compiled.ptx.find("fma.rn.f32"), std::string::npos) << "products and sums were fused";
  EXPECT_NE(compiled.log.find("registers"), std::string::npos) << compiled.log;
  EXPECT_FALSE(compiled.from_cache);
  EXPECT_GT(compiled.seconds, 0);
}

TEST(Nvrtc, CompilesEveryTarget) {
  for (char const* target : kTargets) {
    SCOPED_TRACE(target);
    std::shared_ptr<Compiler> const compiler = make_compiler("nvrtc", target);
    EXPECT_EQ(compiler->info().kind, "nvrtc");
    EXPECT_EQ(reject_version(compiler->info().version, target), "");
    expect_good(compiler->compile(mma_request(target)), target);
  }
}

TEST(Nvrtc, NeedsNoEnvironmentAtAll) {
  SubprocessRequest request;
  request.argv = {fs::read_symlink("/proc/self/exe").string(), "--gtest_filter=Nvrtc.CompilesEveryTarget"};
  request.environment = std::vector<std::string>{};
  request.folder = "/";
  request.timeout = std::chrono::seconds(120);
  SubprocessResult const result = run_subprocess(request);
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("[  PASSED  ] 1 test"), std::string::npos) << result.out;
}

TEST(Nvrtc, SeesNoHeaderThatIsNotEmbedded) {
  std::shared_ptr<Compiler> const compiler = make_compiler("nvrtc", "sm_120a");
  TemporaryFolder const folder;
  write_new_file(folder.path() / "here.h", "", 0600, false);
  fs::path const before = fs::current_path();
  fs::current_path(folder.path());
  for (char const* header :
       {"\"here.h\"", "<cuda_fp8.h>", "<cuda/std/cstdint>", "\"deepwell/nothing.h\"", "\"common.h\""}) {
    CompileRequest request = mma_request("sm_120a");
    request.source = fmt::format("#include {}\n{}", header, request.source);
    EXPECT_THROW(compiler->compile(request), Error) << header;
  }
  fs::current_path(before);
}

TEST(Nvrtc, ErrorsCarryTheCompilersLog) {
  std::shared_ptr<Compiler> const compiler = make_compiler("nvrtc", "sm_120a");
  CompileRequest request = mma_request("sm_120a");
  request.source += "\nstatic_assert(sizeof(int) == 3, \"a plan that does not fit\");\n";
  try {
    compiler->compile(request);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_EQ(error.argument(), "probe");
    EXPECT_NE(error.got().find("a plan that does not fit"), std::string::npos) << error.got();
    EXPECT_NE(std::string(error.what()).find("sm_120a"), std::string::npos);
  }
  CompileRequest bad_ptx = mma_request("sm_120a");
  bad_ptx.source = "extern \"C\" __global__ void probe() { asm volatile(\"no.such.instruction;\"); }";
  EXPECT_THROW(compiler->compile(bad_ptx), Error);
  CompileRequest other_name = mma_request("sm_120a");
  other_name.entry = "prob";
  EXPECT_THROW(compiler->compile(other_name), Error);
}

TEST(Nvrtc, LineInformationNamesSourcesAndNoFolderOfThisMachine) {
  CompileRequest request = mma_request("sm_120a");
  std::shared_ptr<Compiler> const compiler = make_compiler("nvrtc", "sm_120a");
  EXPECT_EQ(compiler->compile(request).ptx.find(".loc"), std::string::npos);
  request.line_info = true;
  Compiled const compiled = compiler->compile(request);
  EXPECT_NE(compiled.ptx.find(".loc"), std::string::npos);
  EXPECT_NE(compiled.ptx.find("kernel.cu"), std::string::npos);
  EXPECT_EQ(compiled.ptx.find(fs::current_path().string()), std::string::npos) << compiled.ptx;
}

TEST(Nvrtc, ThreadsCompileAtOnceAndGetTheSameBytes) {
  std::shared_ptr<Compiler> const compiler = make_compiler("nvrtc", "sm_120a");
  Compiled const alone = compiler->compile(mma_request("sm_120a"));
  std::vector<Compiled> results(4);
  {
    std::vector<std::jthread> threads;
    for (Compiled& result : results) {
      threads.emplace_back([&] { result = compiler->compile(mma_request("sm_120a")); });
    }
  }
  for (Compiled const& result : results) {
    EXPECT_EQ(result.ptx, alone.ptx);
    EXPECT_EQ(result.cubin, alone.cubin);
  }
}

TEST(Nvrtc, ServesThroughTheCache) {
  TemporaryFolder const folder;
  std::shared_ptr<Compiler> const compiler = make_compiler("", "sm_120f");
  EXPECT_EQ(compiler->info().kind, "nvrtc");
  Compiled const cold = KernelCache(folder.path().string()).get(mma_request("sm_120f"), *compiler);
  Compiled const warm = KernelCache(folder.path().string()).get(mma_request("sm_120f"), *compiler);
  EXPECT_FALSE(cold.from_cache);
  EXPECT_TRUE(warm.from_cache);
  EXPECT_TRUE(same_result(cold, warm));
}

TEST(Nvcc, CompilesEveryTarget) {
  for (char const* target : kTargets) {
    SCOPED_TRACE(target);
    std::shared_ptr<Compiler> const compiler = make_compiler("nvcc", target);
    EXPECT_EQ(compiler->info().kind, "nvcc");
    EXPECT_FALSE(compiler->info().full_version.empty());
    expect_good(compiler->compile(mma_request(target)), target);
  }
}

TEST(Nvcc, ErrorsCarryTheCompilersLog) {
  std::shared_ptr<Compiler> const compiler = make_compiler("nvcc", "sm_120a");
  CompileRequest request = mma_request("sm_120a");
  request.source += "\nstatic_assert(sizeof(int) == 3, \"a plan that does not fit\");\n";
  try {
    compiler->compile(request);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_NE(error.got().find("a plan that does not fit"), std::string::npos) << error.got();
  }
}

TEST(Compilers, NoneIsAChoice) {
  ScopedOption const none(Option::kCompiler, "none");
  EXPECT_TRUE(find_compilers("none", "sm_120a").empty());
  try {
    make_compiler("", "sm_120a");
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_NE(std::string(error.what()).find("DEEPWELL_COMPILER is none"), std::string::npos);
  }
}

TEST(Compilers, VersionsAreCheckedAgainstTheTarget) {
  EXPECT_EQ(reject_version({12, 8}, "sm_120a"), "");
  EXPECT_NE(reject_version({12, 6}, "sm_120a"), "");
  EXPECT_NE(reject_version({12, 8}, "sm_121a"), "");
  EXPECT_NE(reject_version({12, 8}, "sm_120f"), "");
  EXPECT_EQ(reject_version({12, 9}, "sm_121a"), "");
  EXPECT_EQ(reject_version({13, 5}, "sm_120f"), "");
  EXPECT_EQ(reject_version({12, 0}, "sm_90a"), "");
  EXPECT_NE(reject_version({11, 8}, "sm_90a"), "");
  EXPECT_THROW(reject_version({13, 0}, "sm_75"), Error);
  EXPECT_THROW(make_compiler("nvrtc", "sm_75"), Error);
  EXPECT_THROW(make_compiler("gcc", "sm_120a"), Error);
}

/// A library with NVRTC's interface that tells a version and nothing more, made by the machine's C compiler.
fs::path make_fake_nvrtc(fs::path const& folder, int major, int minor, bool with_builtins) {
  make_private_folders(folder);
  std::string source = fmt::format(
      "int nvrtcVersion(int* a, int* b) {{ *a = {}; *b = {}; return 0; }}\n"
      "int nvrtcGetNumSupportedArchs(int* n) {{ *n = 2; return 0; }}\n"
      "int nvrtcGetSupportedArchs(int* n) {{ n[0] = 90; n[1] = 120; return 0; }}\n"
      "const char* nvrtcGetErrorString(int n) {{ return n ? \"bad\" : \"good\"; }}\n",
      major, minor);
  for (char const* name : {"CreateProgram", "DestroyProgram", "CompileProgram", "GetProgramLogSize",
                           "GetProgramLog", "GetPTXSize", "GetPTX", "GetCUBINSize", "GetCUBIN"}) {
    source += fmt::format("int nvrtc{}() {{ return 5; }}\n", name);
  }
  write_new_file(folder / "fake.c", source, 0600, false);
  auto const link = [&](std::string const& from, std::string const& to) {
    SubprocessRequest request;
    request.argv = {"cc", "-shared", "-fPIC", "-x", "c", "-w", from, "-o", to};
    request.folder = folder;
    SubprocessResult const result = run_subprocess(request);
    EXPECT_EQ(result.exit_code, 0) << result.err;
  };
  link("fake.c", "libnvrtc.so." + std::to_string(major));
  if (with_builtins) link("/dev/null", fmt::format("libnvrtc-builtins.so.{}.{}", major, minor));
  return folder / ("libnvrtc.so." + std::to_string(major));
}

TEST(Compilers, CandidatesThatDoNotFitAreNamedAndTheNextIsTaken) {
  TemporaryFolder const folder;
  struct Case {
    fs::path path;
    char const* target;
    char const* reason;
  };
  write_new_file(folder.path() / "libnvrtc.so.13", "no library", 0600, false);
  fs::create_directory(folder.path() / "empty");
  std::vector<Case> const cases = {
      {make_fake_nvrtc(folder.path() / "128", 12, 8, true), "sm_121a", "CUDA 12.8 does not know sm_121a"},
      {make_fake_nvrtc(folder.path() / "126", 12, 6, true), "sm_120a", "CUDA 12.6 does not know sm_120a"},
      {make_fake_nvrtc(folder.path() / "139", 13, 9, true), "sm_121a", "does not list sm_121a"},
      {make_fake_nvrtc(folder.path() / "137", 13, 7, false), "sm_120a", "libnvrtc-builtins.so.13.7"},
      {folder.path() / "libnvrtc.so.13", "sm_120a", "cannot be loaded"},
      {folder.path() / "absent", "sm_120a", "No such file"},
      {folder.path() / "empty", "sm_120a", "no libnvrtc.so"},
  };
  for (Case const& one : cases) {
    SCOPED_TRACE(one.path.string() + " " + one.target);
    ScopedOption const option(Option::kNvrtc, one.path.string());
    std::vector<Candidate> const candidates = find_compilers("nvrtc", one.target);
    ASSERT_GE(candidates.size(), 2u) << "NVRTC is missing: pip install nvidia-cuda-nvrtc==13.0.88";
    EXPECT_EQ(candidates[0].info.found_in, "option");
    EXPECT_NE(candidates[0].rejected.find(one.reason), std::string::npos) << candidates[0].rejected;
    CapturedLog const log;
    std::shared_ptr<Compiler> const chosen = make_compiler("nvrtc", one.target);
    EXPECT_NE(chosen->info().found_in, "option");
    EXPECT_EQ(log.count("the compiler that was named is not used"), 1u);
  }
  // Inside its own limits the named library comes first; a folder works as well as the file.
  for (fs::path const& path : {folder.path() / "128", folder.path() / "128" / "libnvrtc.so.12"}) {
    ScopedOption const option(Option::kNvrtc, path.string());
    std::shared_ptr<Compiler> const chosen = make_compiler("nvrtc", "sm_120a");
    EXPECT_EQ(chosen->info().version, std::pair(12, 8));
    EXPECT_EQ(chosen->info().found_in, "option");
    EXPECT_THROW(chosen->compile(mma_request("sm_120a")), Error);
  }
}

TEST(Compilers, WheelsAreFoundWhereTheOptionSays) {
  TemporaryFolder const folder;
  fs::path const lib = folder.path() / "nvidia" / "cuda_nvrtc" / "lib";
  make_fake_nvrtc(lib, 12, 9, true);
  ScopedOption const option(Option::kWheelPaths,
                            (folder.path() / "absent").string() + ":" + folder.path().string());
  bool found = false;
  for (Candidate const& candidate : find_compilers("nvrtc", "sm_120a")) {
    if (!candidate.info.path.starts_with(fs::canonical(lib).string())) continue;
    found = true;
    EXPECT_EQ(candidate.rejected, "");
    EXPECT_EQ(candidate.info.version, std::pair(12, 9));
    EXPECT_EQ(candidate.info.found_in, "wheel nvidia-cuda-nvrtc");
  }
  EXPECT_TRUE(found);
}

TEST(Compilers, ToolkitsComeBeforeWheels) {
  TemporaryFolder const folder;
  make_fake_nvrtc(folder.path() / "lib64", 12, 9, true);
  ScopedOption const option(Option::kCudaHome, folder.path().string());
  std::vector<Candidate> const candidates = find_compilers("nvrtc", "sm_120a");
  ASSERT_FALSE(candidates.empty());
  EXPECT_EQ(candidates[0].info.version, std::pair(12, 9));
  EXPECT_TRUE(candidates[0].info.found_in.starts_with("toolkit")) << candidates[0].info.found_in;
}

TEST(Compilers, WithoutAnyTheErrorSaysWhatToInstall) {
  // A copy of this program far from the tree, without an environment, finds an NVRTC only where a toolkit brings one.
  TemporaryFolder const folder;
  fs::copy_file("/proc/self/exe", folder.path() / "tests");
  SubprocessRequest request;
  request.argv = {(folder.path() / "tests").string(), "--gtest_filter=Nvrtc.CompilesEveryTarget"};
  request.environment = std::vector<std::string>{};
  request.folder = "/";
  request.timeout = std::chrono::seconds(120);
  SubprocessResult const result = run_subprocess(request);
  if (result.exit_code != 0) {
    EXPECT_NE(result.out.find("pip install nvidia-cuda-nvrtc"), std::string::npos) << result.out;
  } else {
    EXPECT_NE(result.out.find("[  PASSED  ] 1 test"), std::string::npos) << result.out;
  }
}

TEST(Compilers, AnNvccThatIsNoneIsNamed) {
  TemporaryFolder const folder;
  ScopedOption const nvcc(Option::kNvcc, (folder.path() / "nvcc").string());
  std::vector<Candidate> const candidates = find_compilers("nvcc", "sm_120a");
  ASSERT_FALSE(candidates.empty());
  EXPECT_EQ(candidates[0].info.found_in, "option");
  EXPECT_NE(candidates[0].rejected, "");
  write_new_file(folder.path() / "nvcc", "#!/bin/sh\necho something else\n", 0600, false);
  EXPECT_EQ(find_compilers("nvcc", "sm_120a")[0].rejected, "not an executable file");
  fs::permissions(folder.path() / "nvcc", fs::perms(0700));
  EXPECT_NE(find_compilers("nvcc", "sm_120a")[0].rejected.find("does not answer like nvcc"),
            std::string::npos);
}

TEST(Compilers, TheOptionChoosesTheKind) {
  ScopedOption const option(Option::kCompiler, "nvcc");
  EXPECT_EQ(make_compiler("", "sm_120a")->info().kind, "nvcc");
  EXPECT_EQ(make_compiler("nvrtc", "sm_120a")->info().kind, "nvrtc");
  ScopedOption const wrong(Option::kCompiler, "clang");
  EXPECT_THROW(make_compiler("", "sm_120a"), Error);
}

TEST(Compilers, FlagsHoldNoPathAndTheTarget) {
  for (char const* kind : {"nvrtc", "nvcc"}) {
    CompilerInfo info;
    info.kind = kind;
    info.version = {13, 0};
    info.path = "/some/where/" + info.kind;
    CompileRequest request = mma_request("sm_121a");
    std::vector<std::string> const plain = compile_flags(info, request);
    request.line_info = true;
    std::vector<std::string> const lines = compile_flags(info, request);
    EXPECT_EQ(plain.size() + 1, lines.size());
    std::string all;
    for (std::string const& flag : lines) all += flag + " ";
    EXPECT_EQ(all.find('/'), std::string::npos) << all;
    EXPECT_NE(all.find("sm_121a"), std::string::npos) << all;
    EXPECT_NE(all.find("--fmad=false"), std::string::npos) << all;
  }
}

TEST(DeviceSources, AreTheFilesOfTheTree) {
  std::size_t files = 0;
  for (char const* tree : {"plan", "kernels"}) {
    fs::path const root = fs::path(DW_SOURCE_DIR) / tree;
    for (fs::directory_entry const& file : fs::recursive_directory_iterator(root / "deepwell")) {
      if (file.path().extension() != ".h" && file.path().extension() != ".cuh") continue;
      ++files;
      std::string const name = file.path().lexically_relative(root).generic_string();
      auto const& sources = device_sources();
      auto const found = std::find_if(sources.begin(), sources.end(),
                                      [&](auto const& source) { return source.first == name; });
      ASSERT_NE(found, sources.end()) << name;
      EXPECT_EQ(found->second, read_text_file(file.path())) << name;
    }
  }
  EXPECT_EQ(device_sources().size(), files);
  EXPECT_EQ(device_source_digest().size(), 32u);
}

TEST(DeviceSources, ACheckoutGivesTheSameDigestAndChangesCount) {
  std::string const embedded = device_source_digest();
  {
    ScopedOption const option(Option::kDeviceDir, DW_SOURCE_DIR);
    EXPECT_EQ(device_source_digest(), embedded);
  }
  TemporaryFolder const folder;
  for (char const* tree : {"plan", "kernels"}) {
    fs::copy(fs::path(DW_SOURCE_DIR) / tree, folder.path() / tree, fs::copy_options::recursive);
  }
  write_new_file(folder.path() / "kernels" / "deepwell" / "extra.cuh", "#pragma once\n", 0600, false);
  ScopedOption const option(Option::kDeviceDir, folder.path().string());
  EXPECT_NE(device_source_digest(), embedded);
  ScopedOption const wrong(Option::kDeviceDir, "/usr");
  EXPECT_THROW(device_sources(), Error);
}

}  // namespace
}  // namespace deepwell::jit
