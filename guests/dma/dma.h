/* Attempts to leave the partition through devices that it owns: QEMU's edu, which reads and writes any address by DMA
 * and sends a message when told to, and whatever else the file gives. See QEMU's documentation of edu.c for its
 * registers. Each try counts once: blocked, expected (what is its own works), or breach. */
#pragma once

#include "guests/lib/guest.h"
#include "guests/lib/noise.h"
#include "guests/lib/tally.h"

/* Each list ends with an empty entry. */
extern const struct attempt memory_attempts[], message_attempts[], bar_attempts[], config_attempts[],
    pending_attempts[];
/* A round of starts, each ended by a crash or a reset with DMA under way: how many there were is kept in a device. */
void run_restarts(void);

/* --- the bus: id is device << 3 | function, on bus 0 unless the upper bits say another */

#define ECAM_BASE   0xfe900000ull
#define WINDOW      0xc0000000ull /* where BARs may lie, to ECAM_BASE */
#define IOAPIC_PAGE 0xfec00000ull
#define LAPIC_PAGE  0xfee00000ull

#define REG_COMMAND 4u
#define REG_BAR0    0x10u
#define REG_ROM     0x30u
#define MEMORY      2u /* command register */
#define MASTER      4u

u32 config_read(u32 id, u32 reg, u32 size);
void config_write(u32 id, u32 reg, u32 size, u32 value);
u32 ecam_read(u32 id, u32 reg, u32 size);
void ecam_write(u32 id, u32 reg, u32 size, u32 value);
/* Offset of a capability, 0: none. */
u32 capability(u32 id, u32 kind);
#define CAP_PM   0x01u
#define CAP_MSI  0x05u
#define CAP_PCIE 0x10u
#define CAP_MSIX 0x11u

/* --- devices */

#define MAX_EDUS      24u
#define MAX_FUNCTIONS 31u

struct function {
    u32 id, ids;            /* ids: vendor, device */
    u64 home[6];            /* BARs as found */
    u32 rom;                /* as found */
    u32 command;            /* that it works with */
    volatile u8 *registers; /* BAR 0 */
};
extern struct function functions[MAX_FUNCTIONS];
extern u32 function_count;
/* The edus among them. */
extern struct function *edus[MAX_EDUS];
extern u32 edu_count;

#define EDU_IDS       0x11e81234u
#define EDU_ID        0x010000edu
#define EDU_FACT      0x08u /* n is written, n! is read as soon as the status says so */
#define EDU_STATUS    0x20u
#define EDU_COMPUTING 0x01u
#define EDU_RAISE     0x60u
#define EDU_ACK       0x64u

/* Looks through bus 0, switches everything on. */
void find_functions(void);
struct function *find_function(u32 ids);
/* As after find_functions: BARs at home, decoded, bus master, interrupts off. */
void repair(const struct function *f);
u32 edu_read(u32 e, u32 reg);
void edu_write(u32 e, u32 reg, u32 value);

/* --- DMA: each edu does one transfer at a time, of less than 4 KiB, in 100 ms */

#define TO_RAM   true
#define FROM_RAM false
/* offset: in the device's buffer; offset + bytes below 4096. */
void dma_start(u32 e, bool to_ram, u64 address, u32 offset, u32 bytes);
void dma_wait(void);
/* What its own memory is called by devices: guest-physical, or, with self= and nothing that translates, machine. */
u64 dma_address(const volatile void *at);
/* Writes POISON to each address, and reads it, as the flags say. Breaches: something came back. */
#define PROBE_WRITE 1u
#define PROBE_READ  2u
#define POISON      0xdeadd3adbadc0deull
void probe(const u64 *addresses, u32 count, u32 flags, const char *what);
/* All edus' buffers: POISON in the first 16 bytes, then what nobody has in his memory. */
void load_buffers(void);

/* --- interrupts: all vectors from 32 on and NMI are counted, on all CPUs */

extern volatile u32 arrived[256];
void count_interrupts(void);
/* Interrupts open until nothing comes any more. */
void drain(void);
/* Disables, then programs and enables the function's MSI. */
void msi_set(const struct function *f, u64 address, u32 data);
void msi_off(const struct function *f);
static inline u64 msi_address(u32 dest) { return LAPIC_PAGE | (u64)dest << 12; }

/* --- a second CPU that does something over and over, if there is one */
void helper_do(void (*work)(void));
void helper_stop(void);

u64 memory_bytes(void);
