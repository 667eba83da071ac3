/* The command interpreter behind the control device. See vcontrol.h. Owns struct vcontrol; called by the board only. */
#include "core/vdev/vcontrol.h"

#include "core/base/bits.h"
#include "core/base/fmt.h"
#include "core/base/string.h"

/* The words with which a line may begin. What answers begin with comes back from a terminal that echoes, and is
 * ignored: obeyed, that would never end. */
static const char *const words[] = {"list", "help",   "status",    "stop",  "start", "restart",
                                    "ok",   "error:", "partition", "ended", "vcpu",  "usage"};
enum command { LIST, HELP, STATUS, STOP, ECHOED = STOP + ORDER_RESTART };
/* What is being given: IDLE, or 1 + the command whose answer it is, or the rest of one. */
enum answer { IDLE, EXITS = STOP + 1, DONE };

/* The last line of an answer: `ok`, or what is wrong. */
static void finish(struct vcontrol *c, const char *wrong) {
    c->answer = DONE;
    fmt(c->text, sizeof(c->text), wrong ? "error: %s\n" : "ok\n", wrong);
}

/* more: how it ended as well. */
static void put_partition(struct vcontrol *c, const struct control_view *view, bool more) {
    static const char *const states[] = {"running", "stopped", "off", "crashed", "failed", "broken"};
    static const char *const orders[] = {"", "stopping", "starting", "restarting"};

    fmt(c->text, sizeof(c->text),
        more ? "partition %s %s vcpus %u restarts %u\nended %s\n" : "partition %s %s vcpus %u restarts %u\n",
        view->name, view->order ? orders[view->order] : states[view->state], view->vcpus, view->restarts, view->ended);
}

/* The next counter that is not 0, or the sum behind the last one. */
static void put_exits(struct vcontrol *c, const struct control_view *view) {
    for (; c->reason < EXIT_REASONS; c->reason++) {
        u64 count = __atomic_load_n(&view->exits[c->vcpu][c->reason], __ATOMIC_RELAXED);

        if (!count) continue;
        c->sum += count;
        fmt(c->text, sizeof(c->text), "vcpu %u %s %llu\n", c->vcpu, c->host->reason_name(c->reason++),
            (unsigned long long)count);
        return;
    }
    fmt(c->text, sizeof(c->text), "vcpu %u all %llu\n", c->vcpu++, (unsigned long long)c->sum);
    c->reason = 0;
    c->sum = 0;
}

/* Writes the next lines of the answer to text, or ends the answer. */
static void next_line(struct vcontrol *c) {
    struct control_view view;

    switch (c->answer) {
    case 1 + LIST:
        while (c->partition < c->host->partitions)
            if (c->host->look(c->host->ctx, c->partition++, &view)) {
                put_partition(c, &view, false);
                return;
            }
        break;
    case 1 + STATUS:
    case EXITS:
        if (!c->host->look(c->host->ctx, c->partition, &view) || (c->answer == EXITS && c->vcpu == view.vcpus)) break;
        if (c->answer == EXITS)
            put_exits(c, &view);
        else
            put_partition(c, &view, true);
        c->answer = EXITS;
        return;
    case 1 + HELP:
        c->answer = DONE;
        fmt(c->text, sizeof(c->text),
            "usage list\nusage status NAME\nusage stop NAME\nusage start NAME\n"
            "usage restart NAME\nusage help\nok\n");
        return;
    default: c->answer = IDLE; return;
    }
    finish(c, NULL);
}

/* False: there is none of that name that the guest may see. */
static bool find(struct vcontrol *c, const char *name) {
    struct control_view view;

    for (c->partition = 0; c->partition < c->host->partitions; c->partition++)
        if (c->host->look(c->host->ctx, c->partition, &view) && str_equal(view.name, name)) return true;
    return false;
}

/* Cuts the first word off; *rest: what follows it, without spaces in front. */
static char *cut_word(char *text, char **rest) {
    while (*text == ' ') text++;
    for (*rest = text; **rest && **rest != ' ';) (*rest)++;
    while (**rest == ' ') *(*rest)++ = 0;
    return text;
}

static void obey(struct vcontrol *c) {
    char *name, *more, *verb = cut_word(c->line, &name);
    bool named;
    u32 i = 0;

    (void)cut_word(name, &more);
    while (i < ARRAY_SIZE(words) && !str_equal(words[i], verb)) i++;
    if (!*verb || (i >= ECHOED && i < ARRAY_SIZE(words))) return;
    named = i >= STATUS;
    c->vcpu = c->reason = c->partition = 0;
    c->sum = 0;
    if (i == ARRAY_SIZE(words))
        finish(c, "unknown command; send help");
    else if (*more || named != (*name != 0))
        finish(c, named ? "one partition must be named; send help" : "nothing can follow this command; send help");
    else if (named && !find(c, name))
        finish(c, "there is no such partition to control; send list");
    else if (i >= STOP)
        finish(c, c->host->order(c->host->ctx, c->partition, ORDER_STOP + i - STOP));
    else
        c->answer = 1 + i;
}

/* A character of a command; what is no printable ASCII stands for itself and fits no word. */
static void take(struct vcontrol *c, u8 byte) {
    if (byte != '\n' && byte != '\r') {
        if (c->length < VCONTROL_LINE) c->line[c->length] = (char)(byte < ' ' || byte > '~' ? '?' : byte);
        c->length += c->length <= VCONTROL_LINE;
        return;
    }
    c->line[min_u64(c->length, VCONTROL_LINE)] = 0;
    if (c->length > VCONTROL_LINE)
        finish(c, "the line is longer than 63 characters; send help");
    else
        obey(c);
    c->length = 0;
}

/* As far as the rings let it. Each round makes one of them fuller or emptier. */
static void run(struct vcontrol *c) {
    u8 byte;

    for (;;) {
        for (; c->text[c->at]; c->at++)
            if (!ring_put(&c->out, (u8)c->text[c->at])) return;
        c->at = 0;
        c->text[0] = 0;
        if (c->answer)
            next_line(c);
        else if (ring_get(&c->in, &byte))
            take(c, byte);
        else
            return;
    }
}

void vcontrol_reset(struct vcontrol *c, const struct vcontrol_host *host) {
    *c = (struct vcontrol){.host = host};
    ring_init(&c->in, c->in_data, sizeof(c->in_data));
    ring_init(&c->out, c->out_data, sizeof(c->out_data));
    vuart_reset(&c->uart, &c->in, &c->out);
}

u8 vcontrol_read(struct vcontrol *c, u32 offset) {
    u8 value = vuart_read(&c->uart, offset);

    run(c);
    vuart_tick(&c->uart);
    return value;
}

void vcontrol_write(struct vcontrol *c, u32 offset, u8 value) {
    vuart_write(&c->uart, offset, value);
    run(c);
    vuart_tick(&c->uart);
}
