/* The machine's console: lines from the log and from every partition's UART, each with its name in front; keystrokes to
 * the partition in focus. Output is moved by the cores of the partition that produced it, without waiting; another's
 * core moves it only where it stands before its own. */
#pragma once

#include "core/base/ring.h"
#include "core/base/types.h"

#define CONSOLE_LINE 160 /* of an unfinished line, how much is shown again after an interruption */

/* One who writes to the console. */
struct console_source {
    const char *name;
    struct ring *ring; /* what it wrote; console reads */
    char line[CONSOLE_LINE];
    u32 line_length;
    bool carriage; /* a CR came and its LF has not */
};

/* Boot core. port: the first of the UART's, or 0 for none. */
void console_setup(u32 port);

/* Moves what the UART takes without waiting. Returns true if something of this source is left. Any core; gives up at
 * once if another core is at it. */
bool console_pump(struct console_source *source);
/* Writes all that it holds now, waiting for the UART, whatever others write meanwhile: their output waits. */
void console_flush(struct console_source *source);

/* A partition that can have the keyboard. In memory that every core sees; what `source`, `ring` and `ctx` point to is
 * seen by the partition's own cores only, and touched there only. */
struct console_input {
    struct console_input *next;
    struct console_source *source;
    struct ring *ring;                        /* console writes */
    void (*received)(struct console_input *); /* bytes were added; called on the core that took the interrupt */
    void *ctx;
    u32 apic_id; /* core that takes the UART's interrupt while this one has focus */
    bool gone;
};
/* Boot core: in the order of the file. */
void console_add_input(struct console_input *input);
void console_set_focus(struct console_input *input);
/* The core of the focus, from the UART's interrupt. Ctrl-] moves the focus to the next partition. */
void console_receive(void);
/* True if nobody knows the UART's interrupt line: vCPU 0 of each partition calls console_receive from time to time. */
bool console_is_polled(void);
/* A partition ended: the focus moves on. Or it was started again: the focus can reach it, and has it if nobody else is
 * there. */
void console_input_gone(struct console_input *input, bool gone);
