// The command line: registers the subcommands and turns errors into messages and exit codes.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>

#include "base/error.hpp"
#include "cli/commands.hpp"

namespace {

constexpr int kFailed = 1;
constexpr int kBadInput = 2;

int exit_code_of(deepwell::ErrorCode code) {
  bool const callers = code == deepwell::ErrorCode::kBadArgument || code == deepwell::ErrorCode::kUnsupported;
  return callers ? kBadInput : kFailed;
}

void add_commands([[maybe_unused]] CLI::App& app) {
#ifdef DW_HAS_CHECK_COMMAND
  deepwell::add_check_command(app);
#endif
#ifdef DW_HAS_SAMPLE_COMMAND
  deepwell::add_sample_command(app);
#endif
#ifdef DW_HAS_EXPLAIN_COMMAND
  deepwell::add_explain_command(app);
#endif
#ifdef DW_HAS_EMULATE_COMMAND
  deepwell::add_emulate_command(app);
#endif
#ifdef DW_HAS_COMPILE_COMMAND
  deepwell::add_compile_command(app);
#endif
#ifdef DW_HAS_CACHE_COMMAND
  deepwell::add_cache_command(app);
#endif
#ifdef DW_HAS_ISA_COMMAND
  deepwell::add_isa_command(app);
#endif
#ifdef DW_HAS_DOCTOR_COMMAND
  deepwell::add_doctor_command(app);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Kernels for DeepSeek-V4-Flash on SM 12.0 and 12.1, and an emulator that runs them on the CPU.",
      "deepwell");
  app.set_version_flag("--version", "deepwell " DW_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  try {
    add_commands(app);
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0)
      throw deepwell::Error(deepwell::ErrorCode::kBadArgument, "stdout: cannot write the output");
    return 0;
  } catch (CLI::RuntimeError const& failed) {
    return failed.get_exit_code();
  } catch (CLI::Success const& asked_for_help) {
    return app.exit(asked_for_help);
  } catch (CLI::ParseError const& error) {
    fmt::print(stderr, "deepwell: {}\n(deepwell --help, deepwell COMMAND --help)\n", error.what());
    return kBadInput;
  } catch (deepwell::Error const& error) {
    std::fflush(stdout);
    fmt::print(stderr, "deepwell: {}\n", error.what());
    return exit_code_of(error.code());
  } catch (std::exception const& error) {
    std::fflush(stdout);
    fmt::print(stderr, "deepwell: {}\n", error.what());
    return kFailed;
  }
}
