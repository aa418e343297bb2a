// What the two compilers share: flags, checks of targets and results, and the places where they are looked for.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jit/jit.hpp"

namespace deepwell::jit {

/// The flags a compile gets; part of the cache key, so no absolute path is among them.
std::vector<std::string> compile_flags(CompilerInfo const& compiler, CompileRequest const& request);

/// Why a compiler of this CUDA version does not know `target`; empty when it does. Throws Error kUnsupported for a target
/// that is not in base/arch.hpp.
std::string reject_version(std::pair<int, int> version, std::string_view target);

/// Throws Error kToolchain when the result has no cubin, or its PTX no kernel of the requested name.
void check_compiled(CompileRequest const& request, Compiled const& compiled);

/// The error of a failed compile; carries the compiler's log.
Error compile_error(CompilerInfo const& compiler, CompileRequest const& request, std::string_view reason,
                    std::string_view log);

/// A place to look in. `found_in` is what Candidate reports.
struct SearchPlace {
  std::filesystem::path path;
  std::string found_in;
};

/// CUDA toolkits: CUDA_HOME or CUDA_PATH, then /usr/local/cuda and /usr/local/cuda-*, newest first.
std::vector<SearchPlace> toolkit_roots();

/// Folders <site-packages>/nvidia/<part>: of DEEPWELL_WHEEL_PATHS, of a .venv beside the executable or one of the folders
/// above it, of a .venv in the current folder, and of VIRTUAL_ENV.
std::vector<SearchPlace> wheel_roots();

/// One compiler that was found and can be used when the candidate is not rejected.
struct FoundCompiler {
  Candidate candidate;
  std::function<std::shared_ptr<Compiler>()> make;
};

/// Called with each candidate in order; returns false to stop the search.
using CandidateVisitor = std::function<bool(FoundCompiler const&)>;
void visit_nvrtc(std::string_view target, CandidateVisitor const& visit);
void visit_nvcc(std::string_view target, CandidateVisitor const& visit);

}  // namespace deepwell::jit
