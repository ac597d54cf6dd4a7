// Calls that only the server's shell needs: file locks, backtraces, the process's own restart.
// Header only; every function is static inline.
#ifndef MARTLET_CLINUX_SERVER_H
#define MARTLET_CLINUX_SERVER_H
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

// Takes an exclusive lock on the file without waiting; -1 with EWOULDBLOCK when another holds it.
static inline int clinux_lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB); }

// Writes the addresses of the calling stack to `fd`; usable in a signal handler once called before.
static inline void clinux_write_backtrace(int fd) {
    void *frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), fd);
}

// Loads what `backtrace` needs, so that a signal handler need not.
static inline void clinux_prepare_backtrace(void) {
    void *frames[1];
    (void)backtrace(frames, 1);
}

// Gives back the pages of the program's code: what runs comes back from the file's cache, and what
// only the start needed stays away. Nothing below the end of the code is ever written.
extern const char __executable_start[] __attribute__((weak));
extern const char etext[] __attribute__((weak));
static inline void clinux_release_startup_code(void) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
    uintptr_t end = (uintptr_t)etext & ~(page - 1);
    if (start != 0 && end > start) (void)madvise((void *)start, end - start, MADV_DONTNEED);
}

// The address that a SIGSEGV or SIGBUS was about, and who sent a signal.
static inline uintptr_t clinux_fault_address(const siginfo_t *_Nonnull info) {
    return (uintptr_t)info->si_addr;
}
static inline int clinux_sender(const siginfo_t *_Nonnull info) {
    return info->si_code == SI_USER ? (int)info->si_pid : -1;
}

// A stream socket that neither blocks nor survives exec.
static inline int clinux_socket(int family) {
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}
// The socket for one-way messages to the supervisor.
static inline int clinux_datagram_socket(void) {
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

// A descriptor that delivers SIGTERM and SIGINT as data; both are blocked in every thread.
static inline int clinux_signal_descriptor(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}
// The number of the next signal that waits, 0 for none.
static inline int clinux_next_signal(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

// Calls `handler` once for a signal of our own making, on a stack of its own.
static inline void clinux_on_crash(
    int number, void (*_Nonnull handler)(int, siginfo_t *_Nullable, void *_Nullable)
) {
    struct sigaction action = {0};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESETHAND;
    action.sa_sigaction = handler;
    sigaction(number, &action, NULL);
}
static inline void clinux_use_crash_stack(void *_Nonnull base, size_t size) {
    stack_t stack = {.ss_sp = base, .ss_size = size, .ss_flags = 0};
    sigaltstack(&stack, NULL);
}

// Drops what the process inherited of blocked signals before it becomes another program.
static inline void clinux_unblock_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}
// The environment as it lies behind the arguments.
static inline char *_Nullable *_Nullable clinux_environment(void) { return __environ; }
#endif
