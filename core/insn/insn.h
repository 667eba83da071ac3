/* Decoder and emulator for the instructions that exits need: lengths of intercepted instructions,
 * accesses to device memory, string I/O, and MOV to and from control registers. Pure: bytes,
 * registers and memory arrive as parameters. Source: SDM Vol 2, Instruction Format; APM Vol 3. */
#pragma once

#include "core/base/types.h"
#include "core/base/vendor.h"

#define INSN_MAX 15

enum insn_mode { INSN_16, INSN_32, INSN_64 };

/* In groups that are carried out alike: execute.c has ranges of them. */
enum insn_op {
    INSN_UNKNOWN, /* length known only if .length is not 0 */
    INSN_MOV,
    INSN_MOVZX,
    INSN_MOVSX,
    INSN_MOVBE,
    INSN_MOV_FROM_SEG, /* reg is an enum insn_seg */
    INSN_MOVS,
    INSN_STOS,
    INSN_LODS,
    INSN_CMPS,
    INSN_SCAS,
    INSN_ADD,
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_INC,
    INSN_DEC,
    INSN_NOT,
    INSN_NEG,
    INSN_XCHG,
    INSN_CMPXCHG,
    INSN_XADD,
    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_PUSH,
    INSN_POP,
    INSN_IN,
    INSN_OUT,
    INSN_INS,
    INSN_OUTS,
    INSN_MOV_TO_SEG,
    INSN_VMOV,      /* vector register and memory, of which there always is one */
    INSN_MOVDIR64B, /* to es:[reg] */
    INSN_MOV_FROM_CR,
    INSN_MOV_TO_CR,
    INSN_MOV_FROM_DR,
    INSN_MOV_TO_DR,
    INSN_LMSW,
    INSN_SMSW,
    INSN_CLTS,
    INSN_CPUID,
    INSN_HLT,
    INSN_RDMSR,
    INSN_WRMSR,
    INSN_RDTSC,
    INSN_RDTSCP,
    INSN_RDPMC,
    INSN_XSETBV,
    INSN_VMCALL,
    INSN_VMMCALL,
    INSN_INVD,
    INSN_WBINVD,
    INSN_INVLPG,
    INSN_PAUSE,
    INSN_MONITOR,
    INSN_MWAIT,
    INSN_INT3,
    INSN_INT,
};

enum insn_seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };
#define INSN_NO_REG  0xff
#define INSN_REG_RIP 0x10 /* as base: address is relative to the next instruction */

/* One decoded instruction. Register numbers as in the encoding: 0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp
 * ... 15 r15. With reg_high or rm_high the number is that of the register that holds the byte
 * (AH: 0 and high). A register named by the opcode byte itself is in rm. MOVS and CMPS: the memory
 * operand is the one at rsi, the other is at es:[rdi]. MOV to and from CRn, DRn: reg is n. */
struct insn {
    enum insn_op op;
    u8 length;       /* bytes, 1 to 15 */
    u8 size;         /* operand bytes: 1, 2, 4, 8; INSN_VMOV: 4 to 32; INSN_MOVDIR64B: 64 */
    u8 src_size;     /* MOVZX, MOVSX: bytes read from the source */
    u8 address_size; /* 2, 4, 8 */
    u8 reg;          /* register operand (ModRM.reg, or accumulator), INSN_NO_REG if none */
    bool reg_high;   /* AH, CH, DH or BH */
    u8 rm;           /* register in ModRM.rm if !memory, INSN_NO_REG if none */
    bool rm_high;
    bool memory;    /* the rm operand is memory at seg:[base + index * scale + disp] */
    bool to_memory; /* direction: rm is the destination */
    bool has_imm;
    bool rep, repne, lock;
    bool aligned, vex; /* INSN_VMOV: #GP(0) if not aligned; the register is cleared above what is loaded */
    enum insn_seg seg;
    u8 base, index, scale; /* base, index: register or INSN_NO_REG; scale 1, 2, 4, 8 */
    s64 disp;
    u64 imm; /* sign-extended as the instruction does; port of IN and OUT, vector of INT */
};

/* Decodes one instruction from `count` bytes (more than 15 are ignored). Returns 0; -E_TRUNCATED if
 * more bytes are needed; -E_INVAL if no CPU would accept it (#UD or over 15 bytes: #GP);
 * -E_UNSUPPORTED if it is legal but not in enum insn_op. */
int insn_decode(const u8 *bytes, size_t count, enum insn_mode mode, struct insn *out) must_check;

/* What an emulated instruction may see and change. */
struct insn_cpu {
    u64 gpr[16];
    u64 rip, rflags;
    struct segment seg[SEG_COUNT]; /* in 64-bit mode only the bases of FS and GS count */
    enum insn_mode mode;
    u32 cpl;
    bool protected; /* segments have types: not real mode, not virtual-8086 mode */
    bool align;     /* alignment is checked: CR0.AM, RFLAGS.AC, CPL 3 */
    u16 selector;   /* out, of INSN_MOV_TO_SEG: what insn->reg is to be loaded with, by the caller */
};

/* An exception that emulation raised. */
struct insn_fault {
    u8 vector;
    bool has_error;
    u32 error;
    u64 cr2; /* valid if vector is #PF */
};

/* Memory and ports by linear address, behind the caller's page walk. size: 1, 2, 4 or 8. Return 0,
 * or -E_FAULT with *fault filled: then nothing of the instruction has taken effect. in/out may be
 * NULL where no port instruction can come. */
struct insn_bus {
    void *ctx;
    int (*read)(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault);
    int (*write)(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault);
    /* May a write to [la, la + size) succeed? Called before any side effect of a read-modify-write.
     */
    int (*probe_write)(void *ctx, u64 la, u32 size, struct insn_fault *fault);
    int (*in)(void *ctx, u16 port, u32 size, u32 *value, struct insn_fault *fault);
    int (*out)(void *ctx, u16 port, u32 size, u32 value, struct insn_fault *fault);
    /* Vector register insn->reg: INSN_VMOV, in its direction. A load has the other bytes of 16 zero. -E_INVAL: the CPU
     * has no such register now. NULL where none can come. */
    int (*vector)(void *ctx, const struct insn *insn, u64 data[4]);
};

/* Carries out one instruction, or one iteration of a REP string instruction (then rip stays until
 * the count is used up). Updates gpr, rip and flags. Returns 0; -E_FAULT with *fault and cpu
 * unchanged; -E_INVAL: #UD; -E_UNSUPPORTED for operations that are not memory or string I/O (nothing changed). */
int insn_execute(const struct insn *insn, struct insn_cpu *cpu, const struct insn_bus *bus,
                 struct insn_fault *fault) must_check;
/* Linear address of the memory operand, before canonical and page checks. */
u64 insn_linear(const struct insn *insn, const struct insn_cpu *cpu);
