// Preloaded into the released server by failing_sync.rs: while there is a file NAME in the directory that
// FAILING_SYNC names, whatever syncs a file or directory NAME, or one below it, fails with EIO. Each is
// told on the standard error output, so that a test knows that it was met.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_there(const char *name) {
    char path[PATH_MAX];
    const char *directory = getenv("FAILING_SYNC");
    if (directory == NULL) return 0;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static int fails(int file) {
    char link[64], path[PATH_MAX], line[PATH_MAX + 32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    int written = snprintf(line, sizeof line, "failed to sync: %s\n", path);
    char *rest = path, *name;
    while ((name = strsep(&rest, "/")) != NULL) {
        if (*name == 0 || !is_there(name)) continue;
        if (write(2, line, (size_t)written) < 0) return 0;
        errno = EIO;
        return 1;
    }
    return 0;
}

int fsync(int file) {
    return fails(file) ? -1 : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    return fails(file) ? -1 : (int)syscall(SYS_fdatasync, file);
}

int sync_file_range(int file, off64_t offset, off64_t bytes, unsigned int flags) {
    return fails(file) ? -1 : (int)syscall(SYS_sync_file_range, file, offset, bytes, flags);
}
