#include "tools/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *file_grow(void *old, size_t bytes) {
    void *memory = realloc(old, bytes);

    if (!memory) {
        fputs("mullion-check: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

/* Without waiting for a pipe's other end. NULL with the reason. */
static FILE *open_regular(const char *path, const char **why) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    FILE *f = NULL;

    if (fd < 0 || fstat(fd, &status))
        *why = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        *why = S_ISDIR(status.st_mode) ? strerror(EISDIR) : "this is no regular file; copy it to one first";
    else if (!(f = fdopen(fd, "rb")))
        *why = strerror(errno);
    if (!f && fd >= 0) close(fd);
    return f;
}

char *file_read(const char *path, size_t most, size_t *length) {
    const char *why = NULL;
    FILE *f = open_regular(path, &why);
    size_t room = 65536;
    char *text = NULL;

    *length = 0;
    while (f) {
        text = file_grow(text, room);
        *length += fread(text + *length, 1, room - *length, f);
        if (*length < room || *length > most) break;
        room *= 2;
    }
    if (f && ferror(f)) why = strerror(errno);
    if (f) fclose(f);
    if (!why) return text;
    fprintf(stderr, "mullion-check: %s: %s\n", path, why);
    free(text);
    return NULL;
}
