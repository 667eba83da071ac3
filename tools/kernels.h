/* Loads images on the host with the sources that the hypervisor loads them with, to learn whether it would. */
#pragma once

#include "core/config/config.h"

/* A module. path: its file, NULL if only the name is known. */
struct module_file {
    char *name, *path;
};

/* Loads each partition's kernel and modules, as far as their files are known, into memory of this program that is laid
 * out as the partition's will be. Returns 0; -E_INVAL with the first mistake in *error; -E_NOENT (a file cannot be
 * read) or -E_NOMEM after a message on standard error. */
int kernels_check(const struct config *config, const struct module_file *files, size_t count,
                  struct config_error *error) must_check;

/* Whether this file is what a Multiboot2 loader starts. Returns 0, -E_NOENT or -E_NOMEM as above, or -E_INVAL after a
 * message on standard error. */
int kernels_check_hypervisor(const char *path) must_check;
