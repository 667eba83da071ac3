/* Common to the tests of core/config: text to a table or to the expected mistake. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/config/config.h"

static u8 *memory;
static struct config_error error;

static inline int parse_bytes(const char *text, size_t length, struct config **config) {
    struct arena arena = {.size = CONFIG_ARENA_BYTES(length)};
    char *copy = malloc(length ? length : 1);
    int rc;

    free(memory);
    arena.base = memory = malloc(arena.size);
    memset(&error, 0, sizeof(error));
    memcpy(copy, text, length);
    rc = config_parse(&arena, copy, length, config, &error);
    free(copy); /* nothing in the table may point into the text */
    return rc;
}

static inline struct config *parse(const char *text) {
    struct config *config = NULL;

    if (parse_bytes(text, strlen(text), &config))
        fail_msg("%u:%u: %s, in: %s", error.line, error.column, error.what, text);
    return config;
}

static inline int free_memory(void **state) {
    (void)state;
    free(memory);
    memory = NULL;
    return 0;
}

/* The example of the design document. */
static const char example[] = "[machine]\n"
                              "console = \"com1\"\n"
                              "\n"
                              "[partition.linux]\n"
                              "cpus    = [0, 1]\n"
                              "memory  = \"512M\"\n"
                              "kernel  = \"vmlinuz\"                 # the name of a GRUB module\n"
                              "initrd  = \"initrd\"\n"
                              "cmdline = \"console=ttyS0\"\n"
                              "pci     = [\"00:03.0\"]               # passed straight through\n"
                              "restart = { on = \"crash\", limit = 3 }\n"
                              "\n"
                              "[partition.control-loop]\n"
                              "cpus   = [2]\n"
                              "memory = \"16M\"\n"
                              "kernel = \"loop.elf\"\n";

static inline void expect(const char *text, u32 line, u32 column, const char *what, const char *remedy) {
    struct config *config;
    int rc = parse_bytes(text, strlen(text), &config);

    if (rc != -E_INVAL) fail_msg("%d, not refused: %s", rc, text);
    if (error.line != line || error.column != column || !strstr(error.what, what) || !strstr(error.remedy, remedy))
        fail_msg("%u:%u: %s; %s, not %u:%u: %s; %s, in: %s", error.line, error.column, error.what, error.remedy, line,
                 column, what, remedy, text);
    assert_true(strlen(error.what) + 1 < sizeof(error.what));
    assert_true(strlen(error.remedy) > 0);
}
