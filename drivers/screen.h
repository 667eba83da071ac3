/* The machine's screen as a console: the boot loader's framebuffer or text memory. Never reads from it. Any core that
 * has its memory mapped; the caller serialises. */
#pragma once

#include "core/base/types.h"

/* What is beyond is left black. */
#define SCREEN_COLUMNS 160u
#define SCREEN_ROWS    64u

struct screen_mode {
    void *memory;      /* where it is mapped */
    u32 width, height; /* pixels, or characters */
    u32 pitch;         /* bytes from one row to the next */
    bool text;         /* the text memory of a VGA; else 32 bits for each pixel */
    u32 ink;           /* what a pixel of a character is written with; the others get 0 */
};

/* Boot core. Clears the screen. */
void screen_open(const struct screen_mode *mode);
/* From now on its memory is not touched. */
void screen_close(void);
/* Takes one byte of text into the copy of the screen. Lines that are too long go on in the next; at the bottom it
 * scrolls. Terminal escapes are taken out, and what is not ASCII becomes a question mark. */
void screen_put(u8 byte);
/* Draws at most so many characters of those that have changed. True if some are left. */
bool screen_paint(u32 most) must_check;
