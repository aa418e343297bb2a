// `deepwell sample`: writes a safetensors file like one layer of DeepSeek-V4-Flash, with generated values.
#include <CLI/CLI.hpp>

#include <chrono>
#include <memory>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "checkpoint/deepseek_v4.hpp"
#include "cli/commands.hpp"

namespace deepwell {

void add_sample_command(CLI::App& app) {
  struct Options {
    std::string out, experts = "one";
    V4SampleOptions sample;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("sample", "Write a checkpoint file like one layer of DeepSeek-V4-Flash");
  command->add_option("--out", options->out, "The file to write")->required();
  command->add_option("--experts", options->experts, "Routed experts: one or all (256)")
      ->check(CLI::IsMember({"one", "all"}));
  command->add_option("--layer", options->sample.layer, "0 to 42: which layer's tensors");
  command->add_option("--scale-down", options->sample.scale_down,
                      "1, 2, 4 or 8: divide the sizes of the linear layers");
  command->add_option("--seed", options->sample.seed, "Other values");
  command->callback([options] {
    auto const start = std::chrono::steady_clock::now();
    options->sample.all_experts = options->experts == "all";
    ThreadPool pool;
    std::int64_t const bytes = write_v4_sample(options->out, options->sample, pool);
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("{}: layer {}, {:.1f} MB, {:.1f} s\n", options->out, options->sample.layer,
               static_cast<double>(bytes) * 1e-6, seconds);
  });
}

}  // namespace deepwell
