// What Swift cannot say itself: compiler intrinsics, variadic C functions, long double, and the
// Linux calls that the Glibc module leaves out. Header only; every function is static inline.
#ifndef MARTLET_CLINUX_SHIM_H
#define MARTLET_CLINUX_SHIM_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/signalfd.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>

// Asks the processor to load the cache line of `address`; never faults.
static inline __attribute__((always_inline)) void clinux_prefetch(const void *_Nonnull address) {
    __builtin_prefetch(address, 0, 3);
}

// A cheap monotonic counter (TSC on x86-64, the virtual counter on arm64), in unspecified units.
static inline __attribute__((always_inline)) uint64_t clinux_cycles(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

// Formats a double with printf's `%.*g`. Returns the length written.
static inline int clinux_format_double(
    char *_Nonnull out, size_t size, int precision, double value
) {
    return snprintf(out, size, "%.*g", precision, value);
}

// Formats a double with printf's `%.*f`. Returns the length written.
static inline int clinux_format_fixed(
    char *_Nonnull out, size_t size, int precision, double value
) {
    return snprintf(out, size, "%.*f", precision, value);
}

// Parses all of `text` (zero terminated) as a double; returns 1 on success.
static inline int clinux_parse_double(
    const char *_Nonnull text, size_t length, double *_Nonnull out
) {
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    int is_out_of_range = errno == ERANGE && (*out > 1e300 || *out < -1e300 || *out == 0);
    return end == text + length && !is_out_of_range;
}

// `left + right` in long double (80 bits on x86-64, 128 on arm64), as INCRBYFLOAT is defined, and
// formatted with `%.17Lf`. Returns the length, -1 when the sum is NaN or infinite, -2 when `left`
// and -3 when `right` is not a number.
static inline int clinux_add_long_double(
    const char *_Nonnull left, size_t left_length, const char *_Nonnull right, size_t right_length,
    char *_Nonnull out, size_t size
) {
    char *end = NULL;
    errno = 0;
    long double a = strtold(left, &end);
    if (left_length == 0 || end != left + left_length || a != a || errno == ERANGE) return -2;
    errno = 0;
    long double b = strtold(right, &end);
    if (right_length == 0 || end != right + right_length || b != b || errno == ERANGE) return -3;
    long double sum = a + b;
    if (sum != sum || sum > __LDBL_MAX__ || sum < -__LDBL_MAX__) return -1;
    return snprintf(out, size, "%.17Lf", sum);
}

// Sets one errno-like result for the calls that return -1.
static inline int clinux_errno(void) { return errno; }

static inline int clinux_epoll_add(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event e = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}
static inline int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event e = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e);
}
static inline int clinux_epoll_remove(int epoll, int fd) {
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
}
// Declared here because <sys/socket.h> shows it only with _GNU_SOURCE, which would make this module
// disagree with the Glibc module about shared structs.
extern int accept4(int, struct sockaddr *_Nullable, socklen_t *_Nullable, int);
static inline int clinux_accept(
    int listener, struct sockaddr *_Nullable address, socklen_t *_Nullable size
) {
    return accept4(listener, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
// Bytes that are allocated and not freed, as the C library counts them: what budget tests compare.
static inline size_t clinux_live_heap(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}
static inline void clinux_print_error(const char *_Nonnull text) { fputs(text, stderr); }
static inline int clinux_open(const char *_Nonnull path, int flags, unsigned mode) {
    return open(path, flags | O_CLOEXEC, mode);
}
static inline int clinux_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL, 0);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}
#endif
