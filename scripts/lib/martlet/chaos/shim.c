// Preloaded into a server under test: its wall clock can be moved and its disk slowed down while it
// runs. Both are read from a small shared file, so a fault begins and ends with one write to that.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t clock_offset_us;
    volatile int64_t sync_delay_us;
};

static struct control nothing;
static struct control *control = &nothing;

__attribute__((constructor)) static void open_control(void) {
    const char *path = getenv("CHAOS_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) control = shared;
    close(file);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static __typeof__(&clock_gettime) next;
    if (!next) next = NEXT(clock_gettime);
    int result = next(clock, time);
    if (result == 0 && is_wall(clock)) {
        int64_t us = control->clock_offset_us;
        int64_t ns = time->tv_nsec + us % 1000000 * 1000;
        time->tv_sec += us / 1000000;
        if (ns < 0) { ns += 1000000000; time->tv_sec--; }
        if (ns >= 1000000000) { ns -= 1000000000; time->tv_sec++; }
        time->tv_nsec = ns;
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

static void wait_for_disk(void) {
    int64_t us = control->sync_delay_us;
    if (us > 0) {
        struct timespec pause = {us / 1000000, us % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
}

int fsync(int file) {
    static __typeof__(&fsync) next;
    if (!next) next = NEXT(fsync);
    wait_for_disk();
    return next(file);
}

int fdatasync(int file) {
    static __typeof__(&fdatasync) next;
    if (!next) next = NEXT(fdatasync);
    wait_for_disk();
    return next(file);
}
