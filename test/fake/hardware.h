/* A machine for host tests: what core asks of the processor and of drivers/, without a machine. One thread plays all
 * cores, one at a time. Nothing here blocks: what would wait for ever comes back through machine_stop. */
#pragma once

#include <setjmp.h>

#include "core/base/types.h"

#define FAKE_RAM      MIB(64)
#define FAKE_TSC_HZ   1000000000ull
#define FAKE_LAPIC_PA 0xfee00000ull

/* Why the code under test came back: machine_stop's argument. */
enum stop {
    STOP_NONE,
    STOP_SCRIPT, /* the guest would run on: nothing is left to play */
    STOP_IDLE,   /* a vCPU sleeps and nothing will wake it */
    STOP_HALT,   /* a core halted for ever: refuse, panic, or the end of its partition */
    STOP_POWER_OFF,
    STOP_SPIN, /* a core waits for another one that does not come */
};

struct hardware {
    u64 tsc, tsc_step;  /* each rdtsc adds a step */
    u8 vectors[16][32]; /* ymm0 to ymm15 */
    u64 xcr0, cr0, cr3, cr4, dr6, dr[4];
    u64 timer;                 /* host local APIC timer, TSC or NEVER */
    u32 kicks, eois, nmis;     /* what lapic_* was asked to do */
    u32 kicked_apic;           /* last target of a kick */
    u32 nmis_taken, mcs_taken; /* by cpu_take_* */
    u32 lapic_id;
    char console[1 << 16]; /* all that went out to the UART */
    u32 console_length;
    const char *keys; /* what the UART has received */
    u32 routed_to;    /* local APIC id that gets the UART's interrupt */
    const char *mark; /* a text; once the console has it ... */
    u32 routed_then;  /* ... this is what routed_to was */
    bool uart_blocked;
    u32 pauses;                            /* since the last stop */
    u32 waits;                             /* pauses in all */
    void (*on_pause)(void);                /* a core that waits: lets others go on */
    bool (*vmread)(u64 field, u64 *value); /* of the current VMCS; NULL: there is none */
};
extern struct hardware fake_hw;

/* Where machine_stop goes; the caller has to set it up by setjmp. */
extern jmp_buf machine_out;
void machine_stop(enum stop why) noreturn_fn;

/* Maps the windows and clears everything. Once in a program. */
void hardware_make(void);
/* The console's text since hardware_forget_console, ended by NUL. */
const char *hardware_console(void);
void hardware_forget_console(void);
