#include "core/console.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/panic.h"
#include "core/base/spinlock.h"
#include "drivers/ioapic.h"
#include "drivers/lapic.h"
#include "drivers/screen.h"
#include "drivers/uart.h"

#define ESCAPE_KEY     0x1d /* Ctrl-] */
#define STAGE_BYTES    512
#define PAINT_CELLS    32 /* characters of the screen at a time: some 100 us of uncached writes */
#define FLUSH_DRAWINGS (SCREEN_ROWS * SCREEN_COLUMNS / PAINT_CELLS) /* which is all of it */

static struct spinlock lock;       /* everything below */
static struct spinlock panic_lock; /* of one that panics: whoever has the other may be stopped by then */
static u8 stage[STAGE_BYTES];      /* what goes to the UART next: any core may send it on */
static u32 stage_at, stage_count;
static const struct console_source *staged; /* whose bytes the stage holds, or held last */
static u32 flushing;                        /* cores in console_flush: meanwhile nobody else refills the stage */
static struct console_source *line_owner;   /* whose unfinished line the screen shows, or NULL */

static struct console_input *inputs; /* a list in the order of the file */
static struct console_input *focus;

void console_setup(u32 port) { (void)uart_init((u16)port, NULL); }

/* The ISA line of the UART, or 0: only of the four usual ports is it known. */
static u32 irq_line(void) {
    switch (uart_port()) {
    case 0x3f8:
    case 0x3e8: return UART_IRQ_COM13;
    case 0x2f8:
    case 0x2e8: return UART_IRQ_COM24;
    default: return 0;
    }
}

bool console_is_polled(void) { return uart_present() && !irq_line(); }

static void stage_byte(u8 byte) {
    if (stage_count < STAGE_BYTES) stage[stage_count++] = byte;
}

static void stage_text(const char *text) {
    for (; *text; text++) stage_byte((u8)*text);
}

/* The name in front, and what the line already had before another one came between. */
static void start_line(struct console_source *s) {
    if (line_owner) stage_text("\r\n");
    stage_byte('[');
    stage_text(s->name);
    stage_text("] ");
    for (u32 i = 0; i < s->line_length; i++) stage_byte((u8)s->line[i]);
    line_owner = s;
}

static void end_line(struct console_source *s) {
    stage_text("\r\n");
    s->line_length = 0;
    s->carriage = false;
    line_owner = NULL;
}

static void take_byte(struct console_source *s, u8 byte) {
    if (byte == '\n') {
        if (line_owner != s) start_line(s);
        end_line(s);
        return;
    }
    if (s->carriage) { /* a CR alone: the line is written over */
        s->carriage = false;
        s->line_length = 0;
        if (line_owner == s) {
            stage_byte('\r');
            line_owner = NULL;
        }
    }
    if (byte == '\r') {
        s->carriage = true;
        return;
    }
    if (line_owner != s) start_line(s);
    stage_byte(byte);
    if (byte == '\b')
        s->line_length -= s->line_length > 0;
    else if (s->line_length < CONSOLE_LINE)
        s->line[s->line_length++] = (char)byte;
}

/* Does the ring hold the end of a line? Only then may a source without focus come between. */
static bool has_line(const struct ring *r) {
    u32 used = ring_used(r);

    if (used > r->size / 2) return true;
    for (u32 i = 0; i < used; i++)
        if (r->data[(r->tail + i) & (r->size - 1)] == '\n') return true;
    return false;
}

/* Refills the empty stage from a source, at most to the end of a line. */
static void refill(struct console_source *s, bool all) {
    u8 byte;

    stage_at = stage_count = 0;
    if (line_owner && line_owner != s && !all && !(focus && focus->source == s) && !has_line(s->ring)) return;
    /* Room for a whole prefix and shown-again line stays free. */
    while (stage_count < STAGE_BYTES - CONSOLE_LINE - 64 && ring_get(s->ring, &byte)) {
        take_byte(s, byte);
        if (byte == '\n') break;
    }
    if (stage_count) staged = s;
}

/* Sends what the UART takes at once. Returns true if the stage is empty. */
static bool send(void) {
    u32 room = stage_at < stage_count ? uart_room() : 0;

    for (; room && stage_at < stage_count; room--) {
        screen_put(stage[stage_at]);
        uart_put(stage[stage_at++]);
    }
    return stage_at == stage_count;
}

static bool is_staged(const struct console_source *s) { return staged == s && stage_at < stage_count; }

bool console_pump(struct console_source *source) {
    bool left;

    if (!spin_try(&lock)) return true;
    /* A few rounds at most: a fast UART (an emulator's) would let one core pump for long. */
    for (u32 i = 0; i < 8 && send() && !flushing; i++) {
        refill(source, false);
        if (stage_count == 0) break;
    }
    /* The screen is drawn by the cores of the one who wrote last. */
    left = (screen_paint(PAINT_CELLS) && staged == source) || is_staged(source) || ring_used(source->ring);
    spin_unlock(&lock);
    return left;
}

/* The lock is given up between what the UART takes at once, so that nobody else waits for a slow line. It comes to an
 * end whatever others write: only what stood in the ring is waited for, and to draw all of the screen once. */
void console_flush(struct console_source *source) {
    u32 target = __atomic_load_n(&source->ring->head, __ATOMIC_ACQUIRE), drawings = FLUSH_DRAWINGS, mine = 1;
    struct spinlock *taken = panic_is_here() ? &panic_lock : &lock;
    bool left;

    do {
        spin_lock(taken);
        flushing += mine;
        mine = 0;
        if (send()) refill(source, true);
        left = (s32)(target - source->ring->tail) > 0 || is_staged(source);
        if (screen_paint(PAINT_CELLS) && !left && staged == source && drawings) {
            left = true;
            drawings--;
        }
        flushing -= !left;
        spin_unlock(taken);
        if (left) cpu_pause();
    } while (left);
}

void console_add_input(struct console_input *input) {
    struct console_input **end = &inputs;

    while (*end) end = &(*end)->next;
    *end = input;
}

static void route(void) {
    if (!focus || !irq_line()) return;
    if (ioapic_route_isa(irq_line(), VECTOR_UART, focus->apic_id) == 0) uart_receive_interrupt(true);
}

void console_set_focus(struct console_input *input) {
    spin_lock(&lock);
    focus = input;
    route();
    spin_unlock(&lock);
}

/* The next input after `from` that is still there, round the list; NULL if none is. */
static struct console_input *next_input(struct console_input *from) {
    struct console_input *i = from;

    do {
        i = i->next ? i->next : inputs;
        if (!i->gone) return i;
    } while (i != from);
    return NULL;
}

/* Under the lock. */
static void move_focus(void) {
    focus = next_input(focus);
    route();
}

void console_receive(void) {
    struct console_input *mine;
    bool received = false;
    u8 byte;

    spin_lock(&lock);
    mine = focus;
    /* Bytes behind the escape key belong to the next focus: its core gets an interrupt of its own for them. */
    while (mine && focus == mine && mine->apic_id == lapic_id() && uart_get(&byte)) {
        if (byte == ESCAPE_KEY) {
            move_focus();
            break;
        }
        received |= ring_put(mine->ring, byte);
    }
    spin_unlock(&lock);
    if (received) mine->received(mine);
}

void console_input_gone(struct console_input *input, bool gone) {
    spin_lock(&lock);
    input->gone = gone;
    if (!focus) focus = input;
    if (focus == input) move_focus(); /* to itself, if it is the only one */
    spin_unlock(&lock);
}
