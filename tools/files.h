/* Files of the host, for mullion-check. */
#pragma once

#include <stddef.h>

/* The contents, or as much as is seen to be more than `most` bytes; the caller frees them. NULL after a message on
 * standard error: the file cannot be read, or is none (a directory, a pipe, a device: its end may never come). */
char *file_read(const char *path, size_t most, size_t *length);

/* realloc, which ends the program when memory is out. */
void *file_grow(void *old, size_t bytes);
