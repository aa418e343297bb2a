// The subcommands of `deepwell`: each has a file src/cli/<name>.cpp that adds itself to the command line.
#pragma once

namespace CLI {
class App;
}

namespace deepwell {

// A command's callback prints to stdout (with --json one JSON object a line), throws deepwell::Error for bad input or what is
// not served, and throws CLI::RuntimeError(1) when it ran and its answer is "failed". main() turns these into exit codes:
// 0 done, 1 failed, 2 usage or bad input.
void add_check_command(CLI::App& app);
void add_sample_command(CLI::App& app);
void add_explain_command(CLI::App& app);
void add_emulate_command(CLI::App& app);
void add_compile_command(CLI::App& app);
void add_cache_command(CLI::App& app);
void add_isa_command(CLI::App& app);
void add_doctor_command(CLI::App& app);

}  // namespace deepwell
