#!/usr/bin/python3
"""What Mullion costs: round trips in instructions, memory, image, lines of code. `make bench`.

Round trips are those of guests/bench.c, measured in QEMU with SVM under icount: one instruction is
one tick of the TSC, so a figure is exact and the same on every machine. The peers' figures were
measured on the same emulator with a payload of the same kind; Jailhouse and NOVA hard-code
instruction lengths. "-" is not measured, or not emulated.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = TOP / "build"
sys.path.insert(0, str(TOP / "tools"))
import emulator  # noqa: E402

# The bench's name of an operation: KVM 6.1, Xen 4.17 PVH, Jailhouse, NOVA 21.08.
PEERS = ("KVM", "Xen", "Jailhouse", "NOVA")
FIGURES = {
    "cpuid": (2902, 5364, 125, 406),
    "rdmsr-apic-base": (2968, 5275, 112, 401),
    "in-pic": (1546, None, None, 403),
    "in-pit": (1546, None, None, 403),
    "in-pci": (3263, None, 219, None),
    "ioapic-read": (3935, 15075, 2634, None),
    "ioapic-write": (3744, 18618, 2619, None),
    "lapic-read-id": (3781, 14158, 1, None),
    "lapic-write-tpr": (3593, 17709, 2540, None),
    "lapic-eoi": (3590, 17790, 2502, None),
    "ipi-self": (8520, 36105, None, None),
    "timer-wake": (7224, 10209, 111, None),
    "wbinvd": (2795, 5222, 1, None),
    "cr4-pge-twice": (7050, 15178, 2, None),
}
FIGURES_X2APIC = {
    "lapic-read-id": (3087, 5388, 130, None),
    "lapic-eoi": (3059, 5501, 146, None),
    "ipi-self": (4379, 6043, 372, None),
}

FILE = """\
[partition.bench]
cpus    = [0]
memory  = "32M"
kernel  = "bench.elf"
cmdline = "{cmdline}"
"""


def run(cmdline="", log=BUILD / "logs/bench.log"):
    """Boots the bench and returns its console."""
    with tempfile.TemporaryDirectory() as here:
        iso, file = pathlib.Path(here, "bench.iso"), pathlib.Path(here, "mullion.toml")
        file.write_text(FILE.format(cmdline=cmdline))
        subprocess.run([TOP / "tools/make-iso", iso, file, BUILD / "guests/bench.elf"], check=True,
                       cwd=TOP)
        with emulator.Qemu(iso, log=log, cpus=1, memory=256, icount=True, limit=1200) as machine:
            machine.wait_for(r"^\[bench\] bench: done\n", timeout=1200)
            machine.wait_exit(timeout=120)
            return machine.text()


def round_trips(text):
    """{operation: median}, without the cost of the empty measurement."""
    found = {name: int(median) for name, median in re.findall(
        r"^\[bench\] bench: ([\w-]+) min \d+ median (\d+)\n", text, re.M)}
    empty = found.pop("empty")
    return {name: median - empty for name, median in found.items()}


def memory_per_partition(text):
    """(KiB of the hypervisor's, KiB of stage-2 tables), from the line of the boot log."""
    match = re.search(r"; (\d+) KiB of hypervisor memory and (\d+) KiB of tables\n", text)
    return int(match.group(1)), int(match.group(2))


def image_bytes(path=BUILD / "mullion.elf"):
    """What the loader puts into memory, zeroes included: the allocated sections."""
    told = subprocess.run(["readelf", "-lW", path], check=True, capture_output=True, text=True)
    return sum(int(line.split()[5], 16) for line in told.stdout.splitlines()
               if line.strip().startswith("LOAD"))


def code_lines():
    """Lines of code, without blank ones and comments: what stays beside guests, and all."""
    text = subprocess.run([sys.executable, "-B", TOP / "test/check_layers.py", "--sizes", "--build", BUILD], cwd=TOP,
                          capture_output=True, text=True, check=False).stdout
    return tuple(int(n) for n in re.search(r"(\d+) lines of host code stay.*?(\d+) lines,", text).groups())


def table(mine, figures):
    print(f"{'round trip, instructions':26}{'Mullion':>9}" + "".join(f"{p:>11}" for p in PEERS))
    for name, median in mine.items():
        peers = figures.get(name, (None,) * len(PEERS))
        print(f"{name:26}{median:>9}" + "".join(f"{'-' if p is None else p:>11}" for p in peers))
    print()


def main():
    text = run()
    print("SVM in QEMU under icount, one CPU; peers as measured on the same emulator.\n")
    table(round_trips(text), FIGURES)
    print("With the local APIC in x2APIC mode:\n")
    mine = round_trips(run("x2apic", BUILD / "logs/bench-x2apic.log"))
    table({name: mine[name] for name in FIGURES_X2APIC}, FIGURES_X2APIC)
    own, tables = memory_per_partition(text)
    print(f"memory per partition      {own} KiB, and {tables} KiB of stage-2 tables"
          "   (Xen: 3 MB per PVH domain)")
    print(f"image in memory           {image_bytes() / 1024:.0f} KiB"
          "   (Jailhouse 88, NOVA 90, KVM 902, Xen 2620)")
    stay, total = code_lines()
    print(f"lines of code             {stay} beside guests, {total} with start-up code"
          "   (Jailhouse 11432, NOVA 13957, KVM 65674, Xen 141754)")


if __name__ == "__main__":
    main()
