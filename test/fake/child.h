/* Runs a boot of the fake machine in a process of its own, since it never returns. Included by one source of a test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "test/fake/boot.h"

void __gcov_dump(void) __attribute__((weak)); /* in a build that counts */

/* What a boot came to: its last stop; and its console. A program that crashes fails the test. */
static enum stop outcome;
static char console[16384];

/* The end of the child: hands its console over. */
static inline noreturn_fn void child_end(int out, enum stop why) {
    if (write(out, hardware_console(), strlen(hardware_console())) < 0) abort();
    if (__gcov_dump) __gcov_dump();
    _exit((int)why);
}

/* run: in the child; ends with child_end(out, ...). */
static inline void child_run(void (*run)(const void *what, int out), const void *what) {
    int ends[2], status;
    ssize_t got;
    size_t at = 0;
    pid_t child;

    assert_int_equal(0, pipe(ends));
    fflush(NULL);
    child = fork();
    if (child == 0) run(what, ends[1]);
    close(ends[1]);
    while ((got = read(ends[0], console + at, sizeof(console) - 1 - at)) > 0) at += (size_t)got;
    console[at] = 0;
    close(ends[0]);
    assert_int_equal(child, waitpid(child, &status, 0));
    if (!WIFEXITED(status) || WEXITSTATUS(status) > STOP_SPIN)
        fail_msg("the program ended with %x: %s", status, console);
    outcome = WEXITSTATUS(status);
}
