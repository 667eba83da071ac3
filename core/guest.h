/* The guest's own view of its instructions and memory: fetch, decode, emulate. The vCPU's core. */
#pragma once

#include "core/image/image.h"
#include "core/vcpu.h"

/* Length of the instruction at the guest's rip that made this exit, for processors that do not tell. 0: it cannot be
 * fetched or decoded; the guest's fault is raised, or its partition ended. */
u32 guest_instruction_length(struct vcpu *v, const struct vm_exit *exit);
/* Carries out the instruction at rip on behalf of the guest: device memory, string I/O. Raises its faults. */
void guest_emulate(struct vcpu *v, const struct vm_exit *exit);
/* Decodes a MOV to or from a control register or CLTS where the exit did not. Returns false if a fault was raised, or
 * if there is no such instruction any more. */
bool guest_decode_cr(struct vcpu *v, struct vm_exit *exit);
/* Loads the PDPTEs from the table that cr3 names, for PAE paging. False if one has reserved bits, or there is no table:
 * that is #GP(0), and nothing was loaded. SDM Vol 3A, PDPTE Registers. */
bool guest_load_pdptes(struct vcpu *v, u64 cr3) must_check;
/* A task switch that the processor has left to us; raises what faults on the way. */
void guest_task_switch(struct vcpu *v, const struct vm_exit *exit);
/* Up to 15 instruction bytes at rip as hexadecimal text, "unreadable" if they cannot be fetched; raises nothing. */
void guest_instruction_text(struct vcpu *v, char *out, size_t size);
/* The state in which an image asks to be started. */
void guest_set_start_state(struct vcpu *v, const struct start_state *start);
/* Clears x87, SSE and all other extended state of this core and sets XCR0 to its reset value. */
void guest_reset_extended_state(void);

/* The breakpoints of the guest's DR0 to DR3, which are in the processor, that an access to [at, at + bytes) meets, as
 * bits of DR6. kinds: bit n, what R/Wn = n asks for; on ports only with CR4.DE. They are traps: REG_BREAKPOINTS, behind
 * the skip. Source: SDM Vol 3B, Debug Address Registers, Debug Control Register. */
#define BREAK_ON_WRITE ((u32)(BIT(1) | BIT(3)))
#define BREAK_ON_READ  ((u32)BIT(3))
#define BREAK_ON_IO    ((u32)BIT(2))
u64 guest_breakpoints(struct vcpu *v, u64 dr7, u64 at, u64 bytes, u32 kinds);
