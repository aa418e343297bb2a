// Child processes through posix_spawn, which is safe in programs with many threads.
#include "base/subprocess.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/error.hpp"
#include "base/file.hpp"

extern char** environ;

namespace deepwell {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  FileDescriptor read_end, write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  DW_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0, kToolchain, "pipe: {}", std::strerror(errno));
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

std::vector<char*> pointers(std::vector<std::string> const& texts) {
  std::vector<char*> result;
  for (std::string const& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

struct SpawnSettings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

pid_t spawn(SubprocessRequest const& request, Pipe const& in, Pipe const& out, Pipe const& err) {
  SpawnSettings settings;
  posix_spawn_file_actions_adddup2(&settings.actions, in.read_end.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&settings.actions, out.write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&settings.actions, err.write_end.get(), STDERR_FILENO);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &defaults);
  posix_spawnattr_setpgroup(&settings.attributes, 0);
  posix_spawnattr_setflags(&settings.attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> words = request.argv;
  if (!request.folder.empty()) {
    // posix_spawn itself changes folders from glibc 2.29 on only.
    words.insert(words.begin(), {"/bin/sh", "-c", "cd -- \"$0\" && exec \"$@\"", request.folder.string()});
  }
  std::vector<char*> const argv = pointers(words);
  std::vector<char*> given;
  if (request.environment) given = pointers(*request.environment);
  pid_t pid = -1;
  int const reason = posix_spawnp(&pid, argv[0], &settings.actions, &settings.attributes, argv.data(),
                                  request.environment ? given.data() : environ);
  DW_CHECK(reason == 0, kToolchain, "cannot run {}: {}", request.argv[0], std::strerror(reason));
  return pid;
}

// Moves what is there from `fd` to `text`; closes `fd` at its end.
void drain(FileDescriptor& fd, std::string& text) {
  std::array<char, 65536> buffer;
  ssize_t const got = ::read(fd.get(), buffer.data(), buffer.size());
  if (got > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    fd.reset();
  }
}

// A program that stops reading must not end this process: the write that would raise SIGPIPE runs with it blocked.
void feed(FileDescriptor& fd, std::string const& text, std::size_t& at) {
  sigset_t pipe_signal, before, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  bool const was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  ssize_t const written = ::write(fd.get(), text.data() + at, text.size() - at);
  int const reason = errno;
  if (written < 0 && reason == EPIPE && !was_pending) {
    timespec const now{};
    while (sigtimedwait(&pipe_signal, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (written >= 0) {
    at += static_cast<std::size_t>(written);
  } else if (reason != EINTR && reason != EAGAIN) {
    at = text.size();
  }
  if (at == text.size()) fd.reset();
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 255;
}

}  // namespace

SubprocessResult run_subprocess(SubprocessRequest const& request) {
  DW_CHECK(!request.argv.empty(), kInternal, "run_subprocess needs a program");
  Pipe in = make_pipe(), out = make_pipe(), err = make_pipe();
  pid_t const pid = spawn(request, in, out, err);
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  for (FileDescriptor const* fd : {&in.write_end, &out.read_end, &err.read_end}) {
    ::fcntl(fd->get(), F_SETFL, ::fcntl(fd->get(), F_GETFL) | O_NONBLOCK);
  }

  SubprocessResult result;
  std::size_t fed = 0;
  if (request.input.empty()) in.write_end.reset();
  auto const deadline = Clock::now() + request.timeout;
  bool const limited = request.timeout.count() > 0;
  int status = 0;
  bool ended = false;
  while (true) {
    if (!ended) {
      pid_t const reaped = ::waitpid(pid, &status, WNOHANG);
      // Someone else collecting our child (SIGCHLD ignored) leaves no status: report failure rather than success.
      if (reaped < 0 && errno == ECHILD) status = 255 << 8;
      ended = reaped == pid || (reaped < 0 && errno == ECHILD);
    }
    bool const open = out.read_end || err.read_end;
    if (ended && !open) break;
    if (limited && Clock::now() >= deadline) {
      result.timed_out = true;
      ::kill(-pid, SIGKILL);
      if (!ended) ::waitpid(pid, &status, 0);
      break;
    }
    if (!open) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    std::array<pollfd, 3> files{{{out.read_end.get(), POLLIN, 0},
                                 {err.read_end.get(), POLLIN, 0},
                                 {in.write_end.get(), POLLOUT, 0}}};  // poll skips negative descriptors
    ::poll(files.data(), files.size(), 50);
    bool moved = false;
    if (files[0].revents) drain(out.read_end, result.out), moved = true;
    if (files[1].revents) drain(err.read_end, result.err), moved = true;
    if (files[2].revents) feed(in.write_end, request.input, fed), moved = true;
    // A grandchild that keeps the pipes open does not keep us once the program has ended and they are silent.
    if (ended && !moved) break;
  }
  result.exit_code = exit_code_of(status);
  return result;
}

}  // namespace deepwell
