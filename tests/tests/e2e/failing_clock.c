// Preloaded into the released server by memory_panics.rs: when the file that FAILING_CLOCK names is
// there, it is removed, and the call of clock_gettime for wall time whose number it holds fails.
// Rust's standard library panics then, wherever the server stands.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_int left;

int clock_gettime(clockid_t clock, struct timespec *now) {
    const char *path = getenv("FAILING_CLOCK");
    if (clock == CLOCK_REALTIME && path != NULL) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            char digit = 0;
            if (read(file, &digit, 1) == 1 && unlink(path) == 0) {
                atomic_store(&left, digit - '0');
            }
            close(file);
        }
        if (atomic_load(&left) > 0 && atomic_fetch_sub(&left, 1) == 1) {
            errno = EINVAL;
            return -1;
        }
    }
    return (int)syscall(SYS_clock_gettime, clock, now);
}
