/* Loaded into a server under test (LD_PRELOAD): makes calls on files fail or take long, as the file
 * that DISK_FAULTS names says. Each line of it: CALL ERRNO MILLISECONDS PATH-PART, where CALL is
 * write, fsync (fdatasync as well), rename or ftruncate, ERRNO 0 does not fail, and only files
 * whose path contains PATH-PART are meant. The file is read anew at each call: the test changes it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int fault(const char *call, const char *path) {
    const char *name = getenv("DISK_FAULTS");
    if (!name || !path[0]) return 0;
    char rules[4096];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t count = syscall(SYS_read, fd, rules, sizeof rules - 1);
    syscall(SYS_close, fd);
    if (count <= 0) return 0;
    rules[count] = 0;
    char *rest = NULL;
    for (char *line = strtok_r(rules, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char wanted[32], part[256];
        int code, wait;
        if (sscanf(line, "%31s %d %d %255s", wanted, &code, &wait, part) != 4) continue;
        if (strcmp(wanted, call) || !strstr(path, part)) continue;
        if (wait > 0) {
            struct timespec time = {wait / 1000, (wait % 1000) * 1000000L};
            nanosleep(&time, NULL);
        }
        return code;
    }
    return 0;
}

static int fault_of(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof path - 1);
    if (count <= 0 || path[0] != '/') return 0;
    path[count] = 0;
    return fault(call, path);
}

#define FAIL_IF(code) do { int failed = (code); if (failed) { errno = failed; return -1; } } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    FAIL_IF(fault_of("write", fd));
    return syscall(SYS_write, fd, bytes, count);
}

int fsync(int fd) {
    FAIL_IF(fault_of("fsync", fd));
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    FAIL_IF(fault_of("fsync", fd));
    return (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size) {
    FAIL_IF(fault_of("ftruncate", fd));
    return (int)syscall(SYS_ftruncate, fd, size);
}

int rename(const char *from, const char *to) {
    FAIL_IF(fault("rename", to));
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
