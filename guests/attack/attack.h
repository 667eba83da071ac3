/* Attempts to break out of the partition or to disturb its neighbours. Each has a name and many
 * tries; each try has an expected answer and counts once: blocked (nothing happened, or only what a
 * machine without that thing would do), faulted (an expected exception), or breach. */
#pragma once

#include "guests/lib/guest.h"
#include "guests/lib/noise.h"
#include "guests/lib/tally.h"

/* Each list ends with an empty entry. Those here leave the program running. */
extern const struct attempt memory_attempts[], mmio_attempts[], port_attempts[], msr_attempts[], instruction_attempts[],
    state_attempts[], table_attempts[], user_attempts[], apic_attempts[], storm_attempts[];
/* These end the partition: a crash or a reset, and nothing else. */
extern const struct attempt deeds[];
/* How many of them make sense on this processor: the first ones. */
u32 deed_count(void);

#define FAULT(vector) BIT(vector)
/* What an instruction that the processor does not offer may raise. */
#define FAULTS_ANY (FAULT(VEC_UD) | FAULT(VEC_GP))

/* One try that must raise one of these exceptions. */
void must_fault(void (*run)(void *), void *argument, u64 vectors, const char *what, u64 which);
/* One try that may raise one of these, or nothing. */
void may_fault(void (*run)(void *), void *argument, u64 vectors, const char *what, u64 which);
/* Deeds only: complains of what the last run has left in the processor, and leaves something. */
void leftover_state(void);
/* Bytes of the partition's memory, by the option mem=. It begins at 0. */
u64 memory_bytes(void);
/* Option lenient: the processor below is QEMU's, which lets pass what hardware refuses by itself:
 * reserved LOCK prefixes, bits of CR0, CR3 and CR4. No hypervisor could see that. */
bool lenient(void);

/* First address that is nobody's memory, and of the hole below the devices. */
#define HOLE        0xb0000000ull
#define IOAPIC_PAGE 0xfec00000ull
#define LAPIC_PAGE  0xfee00000ull
/* The scratch page for the tries: identity-mapped memory that nothing else uses. */
extern u8 scratch[8192];
