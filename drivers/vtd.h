/* Registers and memory structures of a VT-d unit. Source: VT-d 4.1, Register Descriptions; Translation Structure
 * Formats; Invalidation of Translation Caches; Interrupt Remapping. */
#pragma once

#include "core/base/bits.h"
#include "core/base/types.h"

/* Registers that are used. */
enum { VTD_VER = 0x00, VTD_CAP = 0x08, VTD_ECAP = 0x10, VTD_GCMD = 0x18, VTD_GSTS = 0x1c, VTD_RTADDR = 0x20 };
enum { VTD_FSTS = 0x34, VTD_PMEN = 0x64, VTD_IQT = 0x88, VTD_IQA = 0x90, VTD_IRTA = 0xb8 };

/* Capability and Extended Capability Registers. */
#define CAP_DOMAINS(cap)       BIT(4 + 2 * ((cap)&7)) /* how many, 0 included */
#define CAP_RWBF               BIT(4)
#define CAP_PROTECTED          (BIT(5) | BIT(6)) /* PLMR, PHMR: protected memory regions */
#define CAP_LEVELS_3           BIT(9)            /* SAGAW: 39 address bits, 48 */
#define CAP_LEVELS_4           BIT(10)
#define CAP_FAULT_OFFSET(cap)  (bits_get(cap, 24, 10) * 16)
#define CAP_PAGES_2M           BIT(34) /* SSLPS */
#define CAP_PAGES_1G           BIT(35)
#define CAP_FAULT_RECORDS(cap) ((u32)bits_get(cap, 40, 8) + 1)
#define ECAP_COHERENT          BIT(0)
#define ECAP_QUEUE             BIT(1)
#define ECAP_INTERRUPTS        BIT(3)
#define ECAP_EIM               BIT(4)
#define ECAP_SNOOP             BIT(7) /* leaves may overrule a device that would not look into caches */

/* Global Command and Status Registers: the same bits. */
#define GCMD_TE    0x80000000u
#define GCMD_SRTP  0x40000000u
#define GCMD_WBF   0x08000000u
#define GCMD_QIE   0x04000000u
#define GCMD_IRE   0x02000000u
#define GCMD_SIRTP 0x01000000u
#define GCMD_CFI   0x00800000u
#define GSTS_KEEP  0x96ffffffu /* without those that act once */

/* Fault Status Register; a Fault Recording Register's upper half. */
#define FSTS_OVERFLOW     0x01u
#define FSTS_PENDING      0x02u
#define FSTS_QUEUE_ERRORS 0x70u /* IQE, ICE, ITE */
#define FSTS_INDEX(fsts)  ((fsts) >> 8 & 0xff)
#define FAULT_VALID       BIT(63)
#define FAULT_READ        BIT(62)
#define FAULT_REASON(h)   ((u32)bits_get(h, 32, 8))
#define FAULT_INTERRUPT   0x20u /* reasons 0x20 to 0x26: Interrupt Remapping Fault Conditions */

#define PMEN_STATUS 0x00000001u

/* Root and context entries. */
#define ENTRY_PRESENT     BIT(0)
#define CONTEXT_LEVELS(n) ((u64)(n)-2)
#define CONTEXT_DOMAIN(d) ((u64)(d) << 8)

/* Invalidation descriptors of 128 bits. */
#define QUEUE_ENTRIES    256u
#define INV_CONTEXTS     (1ull | 1 << 4)                           /* all */
#define INV_IOTLB        (2ull | 1 << 4)                           /* all */
#define INV_DOMAIN(d)    (2ull | 2 << 4 | 3 << 6 | (u64)(d) << 16) /* draining writes and reads, where it can */
#define INV_INTERRUPTS   4ull                                      /* all */
#define INV_INTERRUPT(i) (4ull | 1 << 4 | (u64)(i) << 32)
#define INV_WAIT(v)      (5ull | 1 << 5 | (u64)(v) << 32) /* writes v when all before are done */

/* Interrupt remapping table: its address register, entries of 128 bits, messages that name them. */
#define IRT_ENTRIES            16384u /* 127 cards of 129 vectors; 256 KiB for each unit */
#define IRTA_SIZE              13u    /* 2^(13 + 1) entries */
#define IRTA_EIM               BIT(11)
#define IRTE_LEVEL             BIT(4)
#define IRTE_VECTOR(v)         ((u64)(v) << 16)
#define IRTE_DEST(eim, id)     ((u64)(id) << ((eim) ? 32 : 40))
#define IRTE_SOURCE(id)        (((id)&0xffffu) | BIT(18)) /* SVT 1, SQ 0: all 16 bits of the requester id */
#define MSI_REMAPPABLE(handle) (0xfee00010ull | ((handle)&0x7fffu) << 5 | ((handle) >> 15) << 2)
#define MSI_SUBHANDLE          BIT(3)
