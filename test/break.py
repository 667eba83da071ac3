#!/usr/bin/python3
"""Breaks each promise of docs/security.md once and looks whether a test notices: a copy of the tree under build/break gets
one sabotage at a time, is built again, and the narrowest test that has to fail is run. A sabotage that no test notices is
a failure.

    test/break.py [-k TEXT] [--list] [--table]

-k: only those whose name contains this. --table: the rows for docs/security.md."""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
TREE = TOP / "build/break"
PYTEST = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-x"]

MEMORY, LEFT, PORTS, MSRS, CPUID, UNDEFINED, STAY, RESETS, FAULTS, PANIC, REGISTERS, TIME, ENDLESS, HOUSE, FAST, OWNER, CONFIG, DMA, FORGED, BARS, RIGHTS, CONTROL = (
    "Memory of others cannot be read, written or executed",
    "Nothing is left of a partition's last run or of what was in memory before",
    "A port that the file does not give does not exist",
    "An MSR that is not on the list raises #GP, and none changes the host",
    "CPUID shows no virtualisation, SGX, SMX or MONITOR, and no processor of others",
    "Virtualisation and undefined instructions and hypercalls raise #UD or #GP",
    "Interrupts, NMIs, INIT and SIPI stay inside",
    "Reset and power requests end their own partition only",
    "A partition's fault ends that partition only, with a report",
    "No guest input reaches a panic or hangs the hypervisor",
    "Registers are nobody's but the guest's",
    "Time belongs to whoever owns the core: storms, flushes and exits elsewhere do not delay a timer",
    "A guest cannot close its core to the host by exceptions without end (#AC, #DB; CVE-2015-5307, CVE-2015-8104)",
    "The hypervisor's own memory: W^X, read-only after boot, guard pages, no other partition's memory on a core",
    "A guest whose own timer is too fast still goes on",
    "A core, a port, a device has one owner",
    "Of a PCI function's real configuration space a guest changes bus master and INTx disable only; what is hidden reads 0",
    "DMA of a device reaches its partition's own memory only, and none after the partition's end",
    "A device cannot forge interrupts: its messages are its partition's",
    "Device memory that a guest moves lies over nothing but its own window",
    "What is carried out for a program has that program's rights, not its kernel's",
    "A partition stops and starts only those that the file lets it control, sees no others, and cannot disturb the rest by it; "
    "without the key it has no control device",
)


def unit(name):
    return ("unit", name, "")


def fuzz(name, seed):
    return ("fuzz", name, seed)


def boot(expression, only=""):
    return ("boot", expression, only)


# (name, promise, file, [(old, new), ...], the test that must fail)
BREAKS = [
    ("others' memory is mapped on every core", MEMORY, "core/hostspace.c",
     [("    if (p) map_partition(&pt, p);",
       "    for (u32 i = 0; p && i < machine.config->partition_count; i++) map_partition(&pt, machine.partitions[i]);"),
      ('#include "core/local.h"', '#include "core/local.h"\n#include "core/machine.h"')], unit("test_core_boot")),
    ("stage 2 goes on 2 MiB beyond the partition", MEMORY, "core/build.c",
     [("r->hpa, r->bytes,", "r->hpa, r->bytes + (i + 1 == p->memory.count ? PAGE_2M : 0),")],
     boot("test_stage2 and svm")),
    ("EPT shows the hypervisor's memory", MEMORY, "core/build.c",
     [("r->hpa, r->bytes,", "r->kind == REGION_RESERVED ? hpa(MIB(2)) : r->hpa, r->bytes,")],
     boot("test_stage2 and vmx")),
    ("memory is not cleared", LEFT, "core/partition.c",
     [("if ((p->regions[i].rights & RIGHT_WRITE) && gmem_zero(", "if (0 && gmem_zero(")],
     unit("test_core_life")),
    ("vector registers are not reset", LEFT, "core/vcpu.c", [("    guest_reset_extended_state();\n", "")],
     boot("test_leftovers and svm")),
    ("breakpoint addresses are not reset", LEFT, "svm/state.c", [("    clear_breakpoints();", "    if (0) clear_breakpoints();")],
     boot("test_leftovers and svm")),
    ("upper halves of vector registers are not reset", LEFT, "core/guest.c",
     [('"a"(0xffffffff), "d"(0xffffffff)', '"a"(3), "d"(0)')], boot("test_leftovers and svm")),
    ("TSC_AUX is not reset (AMD-V)", LEFT, "svm/state.c", [("wrmsr(MSR_TSC_AUX, 0);", ";")], boot("test_leftovers and svm")),
    ("TSC_AUX is not reset (VT-x)", LEFT, "vmx/vcpu.c", [("    if (cpu_has_tsc_aux()) wrmsr(MSR_TSC_AUX, 0);", "")], boot("test_leftovers and vmx")),
    ("LSTAR is not reset", LEFT, "vmx/vcpu.c", [("    wrmsr(MSR_LSTAR, 0);\n", "")], boot("test_leftovers and vmx")),
    ("the local APIC is not reset", LEFT, "core/partition.c",
     [("vlapic_reset(p->lapics[i], p->apic_ids[i], i == 0);", "p->lapics[i]->id = p->apic_ids[i];")],
     unit("test_core_life")),
    ("every port is open (AMD-V)", PORTS, "svm/state.c",
     [("memset(p->io_bitmap, 0xff,", "memset(p->io_bitmap, 0,")], boot("test_attack and svm", "pci-config")),
    ("every port is open (VT-x)", PORTS, "vmx/ops.c",
     [("memset(p->io_bitmap, 0xff,", "memset(p->io_bitmap, 0,")], boot("test_attack and vmx", "pci-config")),
    ("a port of the file opens its neighbour as well", PORTS, "core/build.c",
     [("ops->allow_port(&p->hw, (u16)(p->config->ports[i].base + k));",
       "ops->allow_port(&p->hw, (u16)(p->config->ports[i].base + k)), ops->allow_port(&p->hw, (u16)(k + 1));")],
     unit("test_core_exits")),
    ("every MSR is open (AMD-V)", MSRS, "svm/state.c",
     [("memset(p->msr_bitmap, 0xff,", "memset(p->msr_bitmap, 0,")], boot("test_attack and svm", "msrs-read")),
    ("every MSR is open (VT-x)", MSRS, "vmx/ops.c",
     [("memset(p->msr_bitmap, 0xff,", "memset(p->msr_bitmap, 0,")], boot("test_attack and vmx", "msrs-read")),
    ("an unknown MSR is written without a fault", MSRS, "core/msr.c",
     [("    e = msr_find(msr, v->cpuid.amd);\n    if (!e) return -E_FAULT;\n    switch (e->write) {",
       "    e = msr_find(msr, v->cpuid.amd);\n    if (!e) return 0;\n    switch (e->write) {")], unit("test_core_exits")),
    ("EFER.SVME may be set", MSRS, "core/msr.c", [("EFER_LMA | EFER_NXE;", "EFER_LMA | EFER_NXE | EFER_SVME;")],
     unit("test_core_exits")),
    ("CPUID shows VMX", CPUID, "core/policy/cpuid_bits.h", [("(B(0) | B(1) | B(9) |", "(B(0) | B(1) | B(5) | B(9) |")],
     unit("test_cpuid")),
    ("CPUID shows SGX", CPUID, "core/policy/cpuid_bits.h", [("    (B(0) | B(3) | B(6) |", "    (B(0) | B(2) | B(3) | B(6) |")],
     unit("test_cpuid")),
    ("STGI is the guest's", UNDEFINED, "svm/state.c", [("INTERCEPT_STGI |", "0 |")],
     boot("test_attack and svm", "virtualisation-instructions")),
    ("an instruction that does not exist is skipped", UNDEFINED, "core/exits.c",
     [("    [EXIT_NO_INSN] = on_no_insn,", "    [EXIT_NO_INSN] = on_skip,")], unit("test_core_exits")),
    ("messages go to the first partition", STAY, "core/partition.c",
     [("apicbus_send(p->lapics, p->vcpu_count, v->index, msg,",
       "apicbus_send(machine.partitions[0]->lapics, machine.partitions[0]->vcpu_count, ~0u, msg,")],
     boot("test_attack and svm", "ipi-every-id")),
    ("the x2APIC is the machine's (VT-x)", STAY, "core/policy/msr.c",
     [("{MSR_X2APIC_FIRST, MSR_X2APIC_LAST, MSR_LAPIC, MSR_LAPIC, 0, MSR_ANY}",
       "{MSR_X2APIC_FIRST, MSR_X2APIC_LAST, MSR_DIRECT, MSR_DIRECT, 0, MSR_ANY}")],
     boot("test_attack and vmx", "x2apic-every-id")),
    ("a reset resets the last partition", RESETS, "core/partition.c",
     [("partition_end(ctx, request == POWER_OFF",
       "partition_end(ctx ? machine.partitions[machine.config->partition_count - 1] : NULL, request == POWER_OFF")], unit("test_core_life")),
    ("a power-off of one switches the machine off", RESETS, "core/cores.c",
     [("if (__atomic_sub_fetch(&alive, 1, __ATOMIC_ACQ_REL)) return;", "alive--;")], unit("test_core_life")),
    ("a guest clears the real CR4.MCE (VT-x)", PANIC, "vmx/state.c",
     [("| CR4_VMXE | CR4_MCE);", "| CR4_VMXE | hw->cr4_shadow);")], boot("test_control_registers and vmx")),
    ("a crash is the hypervisor's", FAULTS, "core/crash.c",
     [("    partition_end(v->partition, END_CRASH);", '    panic("%s", why);'),
      ('#include "core/base/log.h"', '#include "core/base/log.h"\n#include "core/base/panic.h"')],
     unit("test_core_exits")),
    ("a crash is not told", FAULTS, "core/crash.c", [("    report_registers(v, name);\n", "    if (0) report_registers(v, name);\n")],
     boot("test_ends and svm")),
    ("an instruction that has changed is believed", PANIC, "core/guest.c",
     [("    if (insn.op != INSN_MOV_FROM_CR", "    if (0 && insn.op != INSN_MOV_FROM_CR")], fuzz("core", "cr-changed")),
    ("an event is queued twice", PANIC, "core/vcpu.c", [("machine.vendor->inject(&v->hw, &v->fault);\n        v->fault.type = EVENT_NONE;",
                                                        "machine.vendor->inject(&v->hw, &v->fault);")], unit("test_core_events")),
    ("a register comes back as another (AMD-V)", REGISTERS, "svm/enter.S",
     [("movq 12 * 8(%rsi), %r12", "movq 13 * 8(%rsi), %r12")], boot("test_attack and svm", "hypercalls")),
    ("a register comes back as another (VT-x)", REGISTERS, "vmx/enter.S",
     [("    movq GPR(12), %r12", "    movq GPR(13), %r12")], boot("test_attack and vmx", "hypercalls")),
    ("an emulated instruction changes another register", REGISTERS, "core/exits.c",
     [("            v->hw.gpr[REG_AX] = (v->hw.gpr[REG_AX] & ~0xffull) | (u8)value;",
       "            v->hw.gpr[REG_AX] = (u8)value;")], unit("test_core_exits")),
    ("an instruction that is carried out has the kernel's rights", RIGHTS, "core/guest.c",
     [(".cpl = c->cpl,", ".cpl = 0,")], boot("test_attack and svm", "ring3-memory")),
    ("timers go off a second late", TIME, "core/vcpu.c",
     [("now + (at - guest);", "now + (at - guest) + machine.tsc_hz;")], boot("test_attack and svm", "cr8")),
    ("a core stands still for a millisecond", TIME, "core/vcpu.c",
     [("    v->timer_due = false;\n    if (v->state == VCPU_PARKED) return;",
       "    v->timer_due = false;\n    for (u64 t = rdtsc() + machine.tsc_hz / 1000; rdtsc() < t;) cpu_pause();\n    if (v->state == VCPU_PARKED) return;")],
     boot("test_attack and svm", "cr8")),
    ("output waits for the UART", TIME, "core/vcpu.c",
     [("    v->console_left = console_pump(&p->console);",
       "    console_flush(&p->console);\n    v->console_left = false;")], unit("test_core_events")),
    ("refused DMA is told by whoever finds it", TIME, "core/passthrough.c",
     [("    if (tell_faults(0)) p->pci->log_left = true;",
       "    for (u32 i = 0; i <= machine.config->partition_count; i++)\n        if (tell_faults(i)) p->pci->log_left = true;")],
     unit("test_core_pci_start")),
    ("telling refused DMA waits for the UART", TIME, "core/passthrough.c",
     [('    log_later(LOG_WARN "%s: %s of %s: %s at', '    log_line(LOG_WARN "%s: %s of %s: %s at')], unit("test_core_pci_start")),
    ("a core draws what others write until they stop", TIME, "core/console.c",
     [("!left && staged == source && drawings)", "!left)"), ("send() && !flushing;", "send();")], unit("test_core_life")),
    ("a core sends on what others write", TIME, "core/console.c",
     [("is_staged(source) || ring_used(source->ring);\n    spin_unlock", "stage_at < stage_count || ring_used(source->ring);\n    spin_unlock")],
     unit("test_core_life")),
    ("a lock goes to whoever comes at the right moment", TIME, "core/base/spinlock.h",
     [("    u32 ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);\n", ""),
      ("    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket) __asm__ volatile(\"pause\" ::: \"memory\");\n    LOCKS(1);\n",
       "    while (!spin_try(l)) __asm__ volatile(\"pause\" ::: \"memory\");\n")], unit("test_base")),
    ("#DB and #AC are the guest's (AMD-V)", ENDLESS, "svm/vmcb.h",
     [("((u32)(BIT(VEC_DB) | BIT(VEC_AC) | BIT(VEC_MC)))", "((u32)BIT(VEC_MC))")], boot("test_intercepts")),
    ("#DB is the guest's (VT-x)", ENDLESS, "vmx/vcpu.c", [("(BIT(VEC_MC) | BIT(VEC_DB) | BIT(VEC_AC))", "(BIT(VEC_MC) | BIT(VEC_AC))")],
     boot("test_exceptions_exit and vmx")),
    ("#AC is the guest's (VT-x)", ENDLESS, "vmx/vcpu.c", [("(BIT(VEC_MC) | BIT(VEC_DB) | BIT(VEC_AC))", "(BIT(VEC_MC) | BIT(VEC_DB))")],
     boot("test_exceptions_exit and vmx")),
    ("text is writable", HOUSE, "core/hostspace.c",
     [("text_end, RIGHT_READ | RIGHT_EXEC)", "text_end, RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC)")], unit("test_core_boot")),
    ("read-only data is writable", HOUSE, "core/hostspace.c",
     [("rodata_end, RIGHT_READ)", "rodata_end, RIGHT_READ | RIGHT_WRITE)")], boot("test_page_tables and svm")),
    ("what only boot writes stays writable", HOUSE, "core/hostspace.c",
     [("boot ? RIGHT_READ | RIGHT_WRITE : RIGHT_READ", "RIGHT_READ | RIGHT_WRITE")], unit("test_core_boot")),
    ("start-up code stays mapped", HOUSE, "core/hostspace.c",
     [("boot ? image_start : init_end", "image_start")], unit("test_core_boot")),
    ("data are executable", HOUSE, "mm/pagetable.c", [("    .denies = PTE_NO_EXECUTE,\n};\n\n/* Bits 7:3", "};\n\n/* Bits 7:3")],
     unit("test_pagetable")),
    ("no guard page below the stack", HOUSE, "core/base/layout.h",
     [("#define LOCAL_STACK_PAGE  4", "#define LOCAL_STACK_PAGE  2")], unit("test_core_boot")),
    ("the machine's description stays writable", HOUSE, "core/cores.c",
     [('struct machine machine __attribute__((section(".late")));', "struct machine machine;")], boot("test_shared_data")),
    ("the IOMMU is mapped on a core without a partition", HOUSE, "core/hostspace.c",
     [("(p && (p->pci || info->acpi->iommu))", "(p || info->acpi->iommu)")], boot("test_page_tables_with_devices and svm")),
    ("functions of others are mapped on every core", HOUSE, "core/hostspace.c",
     [("    passthrough_pages(p, map_for_devices, pt);",
       "    for (u32 i = 0; i < machine.config->partition_count; i++)\n"
       "        passthrough_pages(machine.partitions[i], map_for_devices, pt);")], boot("test_page_tables_with_devices and svm")),
    ("no SMEP", HOUSE, "core/cores.c", [("cr4 |= CR4_SMEP;", "cr4 |= 0;")], boot("test_control_registers and svm")),
    ("a period of one tick leaves no rest", FAST, "core/vcpu.c", [("rdtsc() + TIMER_REST;", "rdtsc();")], unit("test_core_events")),
    ("two partitions may have one core", OWNER, "core/config/check.c",
     [("            if (ranges_overlap(a->base", "            if (0 && ranges_overlap(a->base")], unit("test_config_checks")),
    ("pci: the guest's whole command register is the machine's", CONFIG, "core/vdev/vpci.c",
     [("#define COMMAND_PASSED (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF)", "#define COMMAND_PASSED 0x0547u")],
     unit("test_vpci")),
    ("pci: INTx of a function without a line can be opened", CONFIG, "core/vdev/vpci.c",
     [("(fn->has_line ? 0 : PCI_COMMAND_INTX_OFF)", "0")], unit("test_vpci")),
    ("pci: a capability that is not known can be read", CONFIG, "core/vdev/vpci_cap.c",
     [("    return RULE_ZERO;\n}", "    return RULE_REAL;\n}")], unit("test_vpci")),
    ("pci: virtio's window is seen", CONFIG, "core/vdev/vpci_cap.c",
     [("#define VIRTIO_CAP_WINDOW 5", "#define VIRTIO_CAP_WINDOW 99")], unit("test_vpci")),
    ("pci: an extended capability that is not known is in the list", CONFIG, "core/vdev/vpci_ext.c",
     [("    u32 bytes = 0;\n", "    u32 bytes = 8;\n")], unit("test_vpci_ext")),
    ("pci: an extended capability reaches into the next", CONFIG, "core/vdev/vpci_ext.c",
     [("if (is_begin(begins, at)) fn", "if (0 && is_begin(begins, at)) fn")], unit("test_vpci_ext")),
    ("pci: an MSI-X entry behind the table can be written", CONFIG, "core/vdev/vpci_cap.c",
     [("    if (i < fn->real->msix_entries) write_vector(", "    write_vector(")], unit("test_vpci_msi")),
    ("pci: a masked vector is open", CONFIG, "core/vdev/vpci_cap.c",
     [("    if (f->msix_enabled) return !f->msix_masked && i", "    if (f->msix_enabled) return i")],
     unit("test_vpci_msi")),
    ("pci: a BAR that is not decoded stays where it is", CONFIG, "core/vdev/vpci.c",
     [("b->bytes && (fn->command & enable) &&", "b->bytes && enable &&")], unit("test_vpci")),
    ("pci: a small BAR shares its page", CONFIG, "core/vdev/vpci.c",
     [("max_u64(b->bytes, PAGE_4K)", "b->bytes")], unit("test_vpci")),
    ("DMA stays open at the end", DMA, "core/passthrough.c",
     [("pass.iommu && pass.iommu->detach(f->id)", "0 && pass.iommu->detach(f->id)")], unit("test_core_pci")),
    ("DMA tables go on 2 MiB beyond the partition", DMA, "core/pass_build.c",
     [("p->regions[i].hpa, p->regions[i].bytes,", "p->regions[i].hpa, p->regions[i].bytes + (p->regions[i].gpa.v + p->regions[i].bytes == (16 << 20) ? PAGE_2M : 0),")],
     boot("test_dma and amd")),
    ("a BAR over memory of the machine is given away", DMA, "core/pass_check.c",
     [('"memory"}, 1, at, bytes)', '"memory"}, 0, at, bytes)')], unit("test_core_pci_boot")),
    ("ports of another owner are opened", OWNER, "core/pass_check.c", [("other->io == io &&", "other->io == io && !io &&")],
     unit("test_core_pci_boot")),
    ("the identity of a bridge stays open", DMA, "drivers/vtd.c", [("    store(&f->seen[0], 0);", "    (void)f->seen;")],
     unit("test_vtd_ids")),
    ("a virtual function takes the identity of another", OWNER, "drivers/pci_sriov.c",
     [("if (functions[i].id == pci_vf_id(vfs, n)) return false;", "if (functions[i].id == 0) return false;")],
     unit("test_pci_sriov")),
    ("memory of virtual functions lies over others'", OWNER, "drivers/pci_sriov.c",
     [("    if (!b->bytes || b->io || !ranges_overlap(at,", "    if (!b->bytes || b->io || total || !ranges_overlap(at,")],
     unit("test_pci_sriov")),
    ("an interrupt that the processor has not taken is lost", TIME, "core/vcpu.c",
     [("            vlapic_unack(&v->lapic, v->hw.posted);\n", "")], unit("test_core_events")),
    ("messages are not remapped", FORGED, "core/pass_irq.c",
     [("if (pass.iommu && pass.iommu->remaps_interrupts())", "if (0 && pass.iommu->remaps_interrupts())")],
     unit("test_core_pci")),
    ("a partition without the key has the control device", CONTROL, "core/partition.c",
     [("p->config->control_at.line ? &p->control_device : NULL", "&p->control_device")],
     boot("test_attack and svm", "ports-read")),
    ("the control device reaches a partition that was not granted", CONTROL, "core/control.c",
     [("    if (!config_controls(machine.config, partition_number", "    if (0 && !config_controls(machine.config, partition_number")], boot("test_orders and svm")),
    ("control: the command interpreter finds what is not granted", CONTROL, "core/vdev/vcontrol.c",
     [("if (c->host->look(c->host->ctx, c->partition, &view) && str_equal",
       "if ((void)c->host->look(c->host->ctx, c->partition, &view), str_equal")], unit("test_vcontrol")),
    ("control: what is shared is mapped on every core", CONTROL, "core/hostspace.c",
     [("        if (config_controls(", "        if (1 || config_controls(")], unit("test_core_control")),
    ("control: a flood of starts is obeyed", CONTROL, "core/control.c",
     [("    if (wish != ORDER_STOP && c->busy >", "    if (0 && c->busy >")], unit("test_core_control")),
    ("control: a stopped vCPU takes messages", CONTROL, "core/vcpu.c",
     [("            requests &= REQUEST_CONTROL;", "            requests &= ~REQUEST_STOP;")], unit("test_core_control")),
    ("a BAR may lie anywhere", BARS, "core/passthrough.c", [("|| !in_window(t, at, b->bytes)", "|| (0 && !in_window(t, at, b->bytes))")],
     unit("test_core_pci")),
]


def run(command, **options):
    return subprocess.run([str(c) for c in command], cwd=options.pop("cwd", TREE), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)


def copy_tree():
    """The tree as it is now, without touching what has not changed."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, text=True, check=True,
                           capture_output=True).stdout.split()
    for name in names:
        source, target = TOP / name, TREE / name
        if source.is_file() and not (target.exists() and target.read_bytes() == source.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)  # programs stay executable


def make(*targets):
    result = run(["make", f"-j{os.cpu_count()}", *targets], env=dict(os.environ, PACKAGES=str(TOP / "build/packages")))
    if result.returncode:
        raise RuntimeError(f"make {' '.join(targets)}:\n{result.stdout[-3000:]}")


def test_passes(kind, name, extra):
    """Builds what the test needs, runs it, returns (passed, the end of what it said)."""
    if kind == "unit":
        make(f"build/unit/{name}")
        result = run([f"build/unit/{name}"], timeout=600)
    elif kind == "fuzz":
        make(f"build/fuzz/fuzz_{name}")
        result = run([f"build/fuzz/fuzz_{name}", f"test/fuzz/seeds/{name}/{extra}"], timeout=600)
    else:
        make("build/mullion.elf")
        function, _, vendor = name.partition(" and ")
        files = [f for f in (TOP / "test/boot").glob("test_*.py") if f"def {function}(" in f.read_text()]
        if len(files) != 1:
            raise RuntimeError(f"{function} is in {len(files)} files")
        result = run([*PYTEST, f"{files[0]}::{function}", "-k", vendor], cwd=TOP, timeout=900,
                     env=dict(os.environ, MULLION=str(TREE / "build/mullion.elf"), ATTACK_ONLY=extra,
                              MULLION_PATIENCE="0.4"))
        if result.returncode not in (0, 1):
            raise RuntimeError(f"pytest -k '{name}':\n{result.stdout[-2000:]}")
    return result.returncode == 0, result.stdout


def break_one(entry):
    name, _, file, changes, test = entry
    path = TREE / file
    whole = path.read_text()
    text = whole
    for old, new in changes:
        if text.count(old) != 1:
            raise RuntimeError(f"{file} has {text.count(old)} times: {old}")
        text = text.replace(old, new)
    path.write_text(text)
    try:
        return test_passes(*test)
    finally:
        path.write_text(whole)


def caught_by(test):
    kind, name, extra = test
    return {"unit": f"unit `{name}`", "fuzz": f"fuzzer `{name}`, seed `{extra}`",
            "boot": f"`{name.split()[0]}` {extra}".strip()}[kind] + (f" ({name.split()[2]})" if " and " in name else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-k", default="", help="only those whose name contains this")
    parser.add_argument("--kind", default="", help="only unit, fuzz or boot")
    parser.add_argument("--trust", action="store_true", help="do not run the tests without sabotage first")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    chosen = [b for b in BREAKS if options.k in b[0] and options.kind in b[4][0]]

    if options.list or options.table:
        for name, _, _, _, test in chosen:
            print(f"| {name} | {caught_by(test)} |" if options.table else f"{name}: {caught_by(test)}")
        return 0
    copy_tree()
    bad = []
    for test in [] if options.trust else sorted({b[4] for b in chosen}):
        if not test_passes(*test)[0]:
            bad.append(f"{caught_by(test)} fails without any sabotage")
            print(f"break: {bad[-1]}", flush=True)
    for entry in chosen:
        begin = time.monotonic()
        try:
            survived, said = break_one(entry)
            verdict = "NOT CAUGHT" if survived else "caught"
            why = [line[1:].strip() for line in said.splitlines() if line.startswith("E  ")]
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            survived, verdict, why = True, f"ERROR {error}", []
        print(f"break: {entry[0]}: {verdict} by {caught_by(entry[4])}, {time.monotonic() - begin:.0f} s" + (f": {why[0][:110]}" if why else ""),
              flush=True)
        if survived:
            bad.append(entry[0])
    print(f"break: {len(chosen)} sabotages, {len(bad)} not caught" + "".join(f"\n  {b}" for b in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
