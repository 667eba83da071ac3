/* core/base/cpu.h for host tests: found first (-Itest/fake). What only a machine in host mode can execute becomes a
 * call into test/fake/hardware.c; what any program can, stays. */
#pragma once

#define FAKED(name)            hardware_##name
#define rdmsr                  FAKED(rdmsr)
#define wrmsr                  FAKED(wrmsr)
#define cpuid                  FAKED(cpuid)
#define cpuid_has_leaf         FAKED(cpuid_has_leaf)
#define rdtsc                  FAKED(rdtsc)
#define read_cr0               FAKED(read_cr0)
#define write_cr0              FAKED(write_cr0)
#define read_cr2               FAKED(read_cr2)
#define read_cr4               FAKED(read_cr4)
#define write_cr4              FAKED(write_cr4)
#define read_cr3               FAKED(read_cr3)
#define write_cr3              FAKED(write_cr3)
#define read_dr6               FAKED(read_dr6)
#define write_dr6              FAKED(write_dr6)
#define read_dr0               FAKED(read_dr0)
#define read_dr1               FAKED(read_dr1)
#define read_dr2               FAKED(read_dr2)
#define read_dr3               FAKED(read_dr3)
#define xgetbv0                FAKED(xgetbv0)
#define xsetbv0                FAKED(xsetbv0)
#define cpu_pause              FAKED(cpu_pause)
#define cpu_cli                FAKED(cpu_cli)
#define cpu_take_nmi           FAKED(cpu_take_nmi)
#define cpu_take_machine_check FAKED(cpu_take_machine_check)
#define cpu_vmread             FAKED(cpu_vmread)
#define cpu_vmwrite            FAKED(cpu_vmwrite)
#define cpu_go_on              FAKED(cpu_go_on)
#define cpu_halt_forever       FAKED(cpu_halt_forever)
#define inb                    FAKED(inb)
#define inw                    FAKED(inw)
#define inl                    FAKED(inl)
#define outb                   FAKED(outb)
#define outw                   FAKED(outw)
#define outl                   FAKED(outl)
#include "../../../../core/base/cpu.h"
#undef inb
#undef inw
#undef inl
#undef outb
#undef outw
#undef outl
#undef rdmsr
#undef wrmsr
#undef cpuid
#undef cpuid_has_leaf
#undef rdtsc
#undef read_cr0
#undef write_cr0
#undef read_cr2
#undef read_cr4
#undef write_cr4
#undef read_cr3
#undef write_cr3
#undef read_dr6
#undef write_dr6
#undef read_dr0
#undef read_dr1
#undef read_dr2
#undef read_dr3
#undef xgetbv0
#undef xsetbv0
#undef cpu_pause
#undef cpu_cli
#undef cpu_take_nmi
#undef cpu_take_machine_check
#undef cpu_vmread
#undef cpu_vmwrite
#undef cpu_go_on
#undef cpu_halt_forever

u64 rdmsr(u32 msr);
void wrmsr(u32 msr, u64 value);
struct cpuid_result cpuid(u32 leaf, u32 sub);
bool cpuid_has_leaf(u32 leaf);
u64 rdtsc(void);
u64 read_cr0(void);
void write_cr0(u64 v);
u64 read_cr2(void);
u64 read_cr4(void);
void write_cr4(u64 v);
u64 read_cr3(void);
void write_cr3(u64 v);
u64 read_dr6(void);
void write_dr6(u64 v);
u64 read_dr0(void);
u64 read_dr1(void);
u64 read_dr2(void);
u64 read_dr3(void);
u64 xgetbv0(void);
void xsetbv0(u64 value);
void cpu_pause(void);
void cpu_cli(void);
void cpu_take_nmi(void);
void cpu_take_machine_check(void);
bool cpu_vmread(u64 field, u64 *value);
bool cpu_vmwrite(u64 field, u64 value);
void cpu_go_on(u64 cr3, u64 stack, void (*entry)(u32)) noreturn_fn;
void cpu_halt_forever(void) noreturn_fn;
u32 fake_port_in(u16 port, u32 size);
void fake_port_out(u16 port, u32 size, u32 value);
static inline u8 inb(u16 port) { return (u8)fake_port_in(port, 1); }
static inline u16 inw(u16 port) { return (u16)fake_port_in(port, 2); }
static inline u32 inl(u16 port) { return fake_port_in(port, 4); }
static inline void outb(u16 port, u8 v) { fake_port_out(port, 1, v); }
static inline void outw(u16 port, u16 v) { fake_port_out(port, 2, v); }
static inline void outl(u16 port, u32 v) { fake_port_out(port, 4, v); }
