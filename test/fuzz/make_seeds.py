#!/usr/bin/python3
"""Writes the seeds of the fuzzers that cannot be typed: test/fuzz/seeds/NAME/*.bin. What it wrote is
in the tree; run it again after a change of an input's layout. Found inputs have other endings."""

import pathlib
import random
import struct

ROOT = pathlib.Path(__file__).parent / "seeds"


def seed(fuzzer, name, data):
    folder = ROOT / fuzzer
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.bin").write_bytes(data)


def multiboot2():
    def tag(kind, data):
        size = 8 + len(data)
        return struct.pack("<II", kind, size) + data + bytes(-size % 8)

    entry = struct.pack("<QQII", 0, 0x40000000, 1, 0)
    tags = (tag(1, b"console=com1\0") + tag(2, b"GRUB 2.06\0")
            + tag(3, struct.pack("<II", 0x200000, 0x200123) + b"mullion.toml\0")
            + tag(6, struct.pack("<II", 24, 0) + entry * 2)
            + tag(14, b"RSD PTR " + bytes(12)) + tag(15, b"RSD PTR " + bytes(28))
            + tag(21, struct.pack("<I", 0x400000)) + tag(0, b""))
    seed("multiboot2", "grub", struct.pack("<II", 8 + len(tags), 0) + tags)
    seed("multiboot2", "empty", struct.pack("<IIII", 16, 1, 0, 8))


def table(signature, body):
    return signature + struct.pack("<I", 36 + len(body)) + bytes(28) + body


def acpi():
    s5 = bytes([0x08, 0x5C]) + b"_S5_" + bytes([0x12, 6, 4, 0x0A, 5, 1, 0, 0])
    madt = (struct.pack("<II", 0xFEE00000, 1)
            + bytes([0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 2, 1, 0, 0, 0])
            + struct.pack("<BBHIII", 9, 16, 0, 256, 1, 2)
            + struct.pack("<BBBBII", 1, 12, 7, 0, 0xFEC00000, 0)
            + struct.pack("<BBBBIH", 2, 10, 0, 9, 9, 15)
            + struct.pack("<BBHQ", 5, 12, 0, 0xFEE00000))
    fadt = bytearray(244 - 36)
    struct.pack_into("<I", fadt, 40 - 36, 0x1000 + 0x300)         # DSDT
    struct.pack_into("<I", fadt, 64 - 36, 0x604)                  # PM1a control
    struct.pack_into("<I", fadt, 76 - 36, 0x608)                  # PM timer
    struct.pack_into("<I", fadt, 112 - 36, 1 << 10 | 1 << 8)      # reset register, 32-bit timer
    struct.pack_into("<BBBBQB", fadt, 116 - 36, 1, 8, 0, 1, 0xCF9, 6)
    hpet = struct.pack("<IBBBBQ", 0, 0, 64, 0, 0, 0xFED00000) + bytes(4)
    srat = (bytes(12) + struct.pack("<BBBBIB3xI", 0, 16, 0, 0, 1, 0, 0) + struct.pack("<BBHIIIII", 2, 24, 0, 1, 256, 1, 0, 0)
            + struct.pack("<BBIHQQII8x", 1, 40, 0, 0, 0, 1 << 30, 0, 1)
            + struct.pack("<BBIHQQII8x", 1, 40, 1, 0, 1 << 32, 1 << 30, 0, 1))
    slit = struct.pack("<Q", 2) + bytes([10, 20, 20, 10])
    mcfg = bytes(8) + struct.pack("<QHBB4x", 0xB0000000, 0, 0, 255) + struct.pack("<QHBB4x", 0x800000000, 1, 0, 63)
    for width in (4, 8):
        space = bytearray(0x680)
        places = {0x80: table(b"FACP", bytes(fadt)), 0x200: table(b"APIC", madt),
                  0x300: table(b"DSDT", s5), 0x400: table(b"HPET", hpet),
                  0x480: table(b"SSDT", s5), 0x4c0: table(b"SRAT", srat), 0x580: table(b"SLIT", slit),
                  0x5c0: table(b"MCFG", mcfg), 0x640: table(b"DMAR" if width == 8 else b"IVRS", bytes(12))}
        root = b"".join((0x1000 + at).to_bytes(width, "little") for at in (0x80, 0x200, 0x400, 0x480, 0x4c0, 0x580, 0x5c0, 0x640))
        places[0] = table(b"XSDT" if width == 8 else b"RSDT", root)
        for at, data in places.items():
            space[at:at + len(data)] = data
        rsdp = b"RSD PTR " + bytes(7) + (b"\2" if width == 8 else b"\0")
        rsdp += struct.pack("<IIQ4x", 0 if width == 8 else 0x1000, 36, 0x1000 if width == 8 else 0)
        seed("acpi", f"root{width}", bytes([0x31]) + rsdp + bytes(space))


def dmar():
    def structure(kind, fixed, *scopes):
        body = fixed + b"".join(scopes)
        return struct.pack("<HH", kind, 4 + len(body)) + body

    def scope(kind, number, bus, *path):
        return struct.pack("<BBHBB", kind, 6 + len(path), 0, number, bus) + bytes(path)

    body = (bytes([47, 1]) + bytes(10)
            + structure(0, struct.pack("<BBHQ", 0, 0, 0, 0xFED90000), scope(1, 0, 0, 2, 0),
                        scope(2, 0, 0, 0x1C, 0, 1, 0))
            + structure(0, struct.pack("<BBHQ", 1, 0, 0, 0xFED91000), scope(3, 2, 0xF0, 0x1F, 0),
                        scope(4, 0, 0xF0, 0xF, 0))
            + structure(1, struct.pack("<HHQQ", 0, 0, 0x7D000000, 0x7D7FFFFF), scope(1, 0, 0, 0x14, 0))
            + structure(3, bytes(16)))
    for bridges in (0x11, 0x12):
        seed("dmar", f"two-units-{bridges:x}", bytes([bridges]) + table(b"DMAR", body))


def ivrs():
    def unit(kind, number, base, *entries):
        body = b"".join(entries)
        fixed = struct.pack("<HHQHHI", number, 0x40, base, 0, 0, 0x61) + bytes(0 if kind == 0x10 else 16)
        return struct.pack("<BBH", kind, 0x0F, 4 + len(fixed) + len(body)) + fixed + body

    def entry(kind, number, handle=0, source=0, variety=0):
        short = struct.pack("<BHB", kind, number, 0)
        return short if kind < 64 else short + struct.pack("<BHB", handle, source, variety)

    entries = (entry(3, 8), entry(4, 0xFF), entry(66, 0x300, 0, 0x200), entry(67, 0x400, 0, 0x280),
               entry(4, 0x407), entry(72, 0, 33, 0xA0, 1), entry(72, 0, 0, 0xA0, 2))
    device = bytes([240, 1, 7, 0]) + b"AMDI0020" + bytes(8) + bytes([2, 3]) + b"uid"
    blocks = (unit(0x10, 2, 0xFEB80000, *entries), unit(0x11, 2, 0xFEB80000, *entries),
              unit(0x40, 2, 0xFEB80000, *entries, device),
              struct.pack("<BBHHHQQQ", 0x22, 0, 32, 0x100, 0x107, 0, 0x7D000000, 0x1000))
    for name, count in (("old", 1), ("all", 4)):
        seed("ivrs", name, bytes([0, 8, 0, 0]) + bytes(12) + b"".join(blocks[:count]))


def request(form, flags, load, entry, initrd):
    return struct.pack("<BBIIH", form, flags, load, entry, initrd)


def image():
    f = bytearray(1024 + 1024)
    f[0x1F1] = 1
    f[0x200:0x202] = b"\xeb\x6a"
    f[0x202:0x206] = b"HdrS"
    for at, form, value in ((0x1F4, "I", 64), (0x1FE, "H", 0xAA55), (0x206, "H", 0x20F),
                            (0x211, "B", 0x81), (0x22C, "I", 0x7FFFFFFF), (0x230, "I", 0x1000),
                            (0x234, "B", 1), (0x236, "H", 1), (0x238, "I", 2047),
                            (0x258, "Q", 0x110000), (0x260, "I", 0x8000)):
        struct.pack_into("<" + form, f, at, value)
    f[1024:] = bytes(range(256)) * 4
    seed("image", "linux", request(0, 1, 0, 0, 300) + f)
    seed("image", "linux_alone", request(1, 0, 0, 0, 0) + f)
    segments = ((1, 0x100000, 0x100000, 32, 64), (1, 0xFFFF800000110000, 0x110000, 16, 16),
                (4, 0, 0, 0, 0))
    head = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x100004, 64, 0, 0,
                                                     64, 56, len(segments), 0, 0, 0)
    elf = head
    for kind, virtual, physical, in_file, in_memory in segments:
        elf += struct.pack("<IIQQQQQQ", kind, 7, 0, virtual, physical, in_file, in_memory, 0x1000)
    seed("image", "elf", request(0, 0, 0, 0, 0) + elf)
    seed("image", "flat", request(3, 2, 0x100000, 16, 0) + bytes(range(200)))
    seed("image", "flat_real", request(3, 2 | 0x20, 0x7C00, 0, 0) + bytes(range(200)))
    forms()


def forms():
    """ELF32 files with a note or headers of multiboot, and the form with address fields."""
    def file(front, *segments):
        head = (b"\x7fELF\1\1\1" + bytes(9)
                + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x100004, 52, 0, 0, 52, 32, len(segments), 0, 0, 0))
        table = b"".join(struct.pack("<IIIIIIII", kind, at, 0x100000, 0x100000, size, size, 7, 4)
                         for kind, at, size in segments)
        return (head + table).ljust(256, b"\0") + front

    def summed(words):
        return struct.pack(f"<{len(words) + 1}I", *words, -sum(words) & 0xFFFFFFFF)

    note = struct.pack("<III4sI", 4, 4, 18, b"Xen", 0x100010)
    seed("image", "pvh", request(0, 9, 0, 0, 300) + file(note + bytes(64), (4, 256, len(note)), (1, 0, 300)))
    seed("image", "mb1", request(0, 9, 0, 0, 300) + file(summed([0x1BADB002, 3]) + bytes(64), (1, 0, 300)))
    fields = struct.pack("<IIIII", 0x100000, 0x100000, 0, 0x101000, 0x100008)
    seed("image", "mb1_address", request(0, 1, 0, 0, 300) + bytes(16) + summed([0x1BADB002, 0x10000]) + fields + bytes(64))
    tags = (struct.pack("<HHII4x", 1, 0, 12, 6) + struct.pack("<HHIIIII", 2, 0, 24, 0x100010, 0x100000, 0, 0)
            + struct.pack("<HHII4x", 3, 0, 12, 0x100020) + struct.pack("<HHI", 0, 0, 8))
    seed("image", "mb2_address", request(0, 9, 0, 0, 300) + bytes(16) + summed([0xE85250D6, 0, 16 + len(tags)]) + tags)
    seed("image", "mb2", request(0, 1, 0, 0, 300) + file(summed([0xE85250D6, 0, 24]) + tags[-8:], (1, 0, 280)))


def insn():
    for mode, name in enumerate(("16", "32", "64")):
        for i, code in enumerate((b"\x8b\x03", b"\xf3\xa4", b"\x66\xe7\x70", b"\x0f\xba\x2b\x07",
                                  b"\xf0\x0f\xb1\x0b", b"\x0f\x20\xc0", b"\xff\x33", b"\x6c")):
            seed("insn", f"m{name}_{i}", bytes([mode, len(code)]) + code + bytes(range(1, 17)))
        for i, code in enumerate((b"\x8b\x43\x08", b"\xa4", b"\x0f\xba\x2b\x07", b"\x0f\xb1\x0b", b"\x81\x84\x8b\x78\x56\x34\x12\1\2\3\4")):
            seed("insn_capstone", f"m{name}_{i}", bytes([mode, 0x20 if i == 2 else 0, 0x88 if i == 3 else 0]) + code + bytes(8))


def pagetable():
    def record(how, size, count, va, at):
        return struct.pack("<BBH", how, size, count) + struct.pack("<BHBH", *va, *at)

    body = (record(7, 4, 600, (0, 3), (1, 0)) + record(7, 1, 3, (8, 2), (12, 2))
            + record(3, 2, 2, (24, 4), (24, 8)) + record(1, 0, 1, (3, 9), (4, 7))
            + record(31, 0, 1, (5, 0), (2, 0)) + record(7, 0, 16, (0, 1), (0, 0)))
    for form in range(6):
        seed("pagetable", f"format{form}", bytes([form, 3, 15]) + body)


def walk():
    for name, modes, how, flags in (("long", 0x21, 1, 7), ("pae", 0x41, 1, 7), ("narrow", 0x4D, 1, 7),
                                    ("large", 0x21, 1, 0x87), ("system", 1, 1, 3), ("five", 0x21, 8, 7)):
        memory = bytearray(0x1100)
        for at in range(0, 0x1000, 512):            # every table is this page: a table of itself
            struct.pack_into("<Q", memory, at, flags)
        seed("walk", name, struct.pack("<BBHQ", modes, how, 0, 0x123) + memory[:0x800])


def frames():
    def record(what, how, base, size):
        return struct.pack("<BBHH", what, how, base, size)

    body = (record(0, 128, 1, 4000) + record(0, 128, 4600, 3000) + record(8, 128, 0, 256)
            + record(3, 0, 700, 9) + record(6, 2, 0, 64) + record(7, 48, 100, 800)
            + record(5, 131, 0, 3000) + record(4, 128, 20, 3))
    seed("frames", "typical", bytes([12]) + body)
    seed("frames", "full", bytes([1]) + body)


def devices():
    seed("vioapic", "level", bytes([1]) + bytes([0, 9, 0x31, 0x80, 2, 9, 0, 1, 4, 9, 1, 0, 6, 0, 0x31,
                                                 0, 4, 9, 0, 0, 6, 0, 0x31, 0, 0, 9, 0x31, 0xA0]))
    seed("vlapic", "ipi", bytes([0, 0x32, 0x41, 0, 0, 0x38, 100, 0, 20, 0, 50, 0, 16, 0, 0, 0,
                                 0, 0x0B, 0, 0, 0, 0x30, 0x51, 0, 22, 9, 1, 0, 24, 9, 1, 0]))
    seed("board", "firmware", bytes([0xD, 2, 15, 15, 0x19, 0, 0, 0]) + bytes([8, 0, 1, 15, 0, 0, 0, 0]) * 40
         + bytes([0xD, 3, 0, 11, 0x2C, 0, 0, 0x80, 8, 3, 0, 12, 0, 0, 0, 0]))
    seed("board", "uart", bytes([3, 1, 1, 6, 3, 0, 0, 0, 3, 1, 0, 6, 65, 0, 0, 0, 4, 0, 0, 0, 66, 0, 0,
                                 0, 0, 1, 0, 6, 0, 0, 0, 0, 5, 1, 3, 1, 0x34, 0, 0, 0]))
    sessions()
    seed("control", "session", b"\x07list\nstatus two\n\xffstop control-loop\nhelp\n\xffrestart a\rstart two\n\xff")
    seed("control", "long", b"\x04status control-loop\n" + bytes([0x85, 0]) * 40 + b"list\n\xff" + b"x" * 70 + b"\n\xff"
         + bytes([0x8c, 0x10]) + b"stop control-loop\n" + bytes([0x8c, 3, 0x8a, 7, 0x89, 1, 0x82, 0]))


def sessions():
    """Drivers of the PC's devices, and long runs of records of each that a fuzzer would be slow to grow."""
    def write(port, value):
        return bytes([4 + (port & 1), port >> 7 & 1, value])

    setup = b"".join(write(port, value) for port, value in (
        (0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0xA0, 0x11), (0xA1, 0x38), (0xA1, 2), (0xA1, 1),
        (0x21, 0), (0xA1, 0)))
    irqs = b"".join(bytes([0, line, 1, 3, 0, 0]) for line in (7, 12, 9, 4, 0)) + write(0xA0, 0x20) + write(0x20, 0x20) * 3
    seed("vpic", "nested", setup + irqs + write(0x20, 0xA0) + bytes([0, 1, 1, 0, 5, 1, 3, 0, 0]) + write(0x20, 0x63))
    seed("vpic", "level", setup + bytes([7, 1, 0x0E, 0, 11, 1, 3, 0, 0]) + write(0xA0, 0x20) + bytes([3, 0, 0, 0, 11, 0, 6, 1, 0]))
    for mode in range(6):
        first = b"".join(bytes([0, channel, 0x30 | mode << 1, 1, 2, channel, 9 + mode, 0, 2, channel, mode & 1, 0])
                         for channel in range(3))
        seed("vpit", f"mode{mode}", first + bytes([5, 0, 1, 7, 7, 2, 0, 30, 5, 10, 0, 90, 6, 14, 0, 200, 5, 0, 1, 8,
                                                  2, 0, 5, 250, 2, 0, 0, 9, 7, 16, 0, 77, 7, 44, 0, 255]))
    midnight = bytes([0xFF, 0x43, 0x6D, 0x38, 0])  # 1999-12-31
    seed("vrtc", "alarm", midnight + bytes([1, 10, 0x72, 9, 1, 1, 0x30, 0, 1, 3, 0xFF, 0, 1, 5, 0xFF, 0, 0x80, 0, 0, 20,
                                           2, 0, 0, 0, 0x80, 0, 0, 250, 0x5E, 0, 0, 200, 2, 0, 0, 0, 0x80, 0, 0, 240]))
    seed("vuart", "fifo", bytes([2, 0xC1, 1, 0xF, 0x10, 0xF, 8, 0, 0xA, 0, 0xD, 0] + [0, 65] * 60 + [0xA, 0, 0x10, 0xF0] * 3
                                + [4, 0x1F, 0, 66, 0xD, 0, 3, 0x43, 0xE, 0, 4, 3]))
    seed("vpm", "timer", bytes([1, 2, 1, 0, 0x90, 0, 0, 250, 1, 0, 1, 0, 0x94, 0, 0, 255, 1, 5, 0x34, 0, 2, 0, 6, 0]))
    seed("vkbc", "commands", b"".join(bytes([{"c": 0, "d": 1, "p": 3, "r": 4}[what], value]) for what, value in (
        ("c", 0xAA), ("r", 0), ("c", 0x60), ("d", 0x61), ("c", 0x20), ("r", 0), ("c", 0xA7), ("c", 0xAE), ("c", 0x20), ("r", 0),
        ("c", 0xA8), ("c", 0xAD), ("c", 0xA9), ("r", 0), ("c", 0xAB), ("r", 0), ("c", 0xC0), ("r", 0), ("c", 0xDD), ("c", 0xD0),
        ("r", 0), ("c", 0xDF), ("c", 0xD1), ("d", 0xDE), ("c", 0xD0), ("r", 0), ("c", 0xD2), ("d", 7), ("c", 0xD3), ("d", 8),
        ("r", 0), ("c", 0xD4), ("d", 0xFF), ("r", 0), ("d", 0xED), ("r", 0), ("c", 0xFE), ("p", 1), ("p", 2), ("p", 3))))
    seed("vfwcfg", "files", bytes([0x80 | 3 << 3 | 2, 4, 0, 3, 9, 60, 40, 54, 0, 79, 8, 45, 1])
         + b"".join(bytes([1, 0, n, 0, 6, 1, 45, 0x80]) for n in range(10)) + bytes([1, 0, 4, 0] + [6, 2, 99, 0] * 5)
         + bytes([0, 0, 0x19, 0, 0, 1, 0x19, 0, 2, 0, 7, 0, 6, 0, 3, 0, 3, 2, 0, 0, 4, 2, 4, 0, 5, 0, 0, 0]))
    seed("vfwcfg", "none", bytes([2, 1, 0, 3, 9, 60, 40, 1, 0, 4, 0, 6, 1, 45, 0x80]))
    seed("vpvclock", "rates", b"".join(struct.pack("<BHBQQH", 2 | n << 2 & 4 | n % 3 << 5, 7 * n, 0, hz, 5000, n) for n, hz in enumerate(
        (1, 1000000, 999999999, 1000000000, 1000000001, 2000000001, 2000000003, 3000123457, 1 << 32, 9000000000, (1 << 64) - 1))))
    seed("vpvclock", "places", b"".join(struct.pack("<BHBQQH", what, spot, 0, 2400000000, spot, 99) for what in (1, 2, 0xC1, 0xC2, 0xE3)
                                         for spot in (0, 4, 12, 29, 31, 32, 36)))
    seed("vmtrr", "each", bytes([4]) + b"".join(struct.pack("<BHQ", n, 3, value) for n, value in enumerate(
        (0, 0xC06, 0x0606060606060606, 4, 5, 1, *[0] * 7, 0x80000006, 0xFF80000800, 0xFC000001, 0xFFFC000800))))
    chance = random.Random(8259)
    for fuzzer, front, record in (("vpic", b"", 3), ("vpit", b"", 4), ("vrtc", midnight, 4), ("vuart", b"", 2)):
        for n in range(4):
            count = 80 if record < 4 else 60
            seed(fuzzer, f"long-{n}", front + b"".join(
                bytes([chance.randrange(32 if record != 4 else 256), *(chance.randrange(256) for _ in range(record - 1))])
                for _ in range(count)))


def exits():
    def svm(code, info1=0, info2=0, event=0, next_rip=0, rip=0x1000, flag=1):
        return struct.pack("<BHQQQQQB", flag, code, info1, info2, event, next_rip, rip, 1)

    # Exceptions, interrupt, NMI, windows, CR, CPUID, HLT, I/O, MSR, shutdown, nested page faults: APM Vol 2, appendix C.
    seed("svm_exit", "each", b"".join(svm(code) for code in (
        0x00, 0x10, 0x41, 0x4E, 0x51, 0x60, 0x61, 0x62, 0x64, 0x65, 0x6E, 0x72, 0x74, 0x75, 0x76, 0x78, 0x7A, 0x7D, 0x7F, 0x80,
        0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8A, 0x8B, 0x8D)))
    seed("svm_exit", "io", svm(0x7B, 0x03F80011, 0x1001) + svm(0x7B, 0x0CFC0040, 0x1002) + svm(0x7B, 0x01F0002C, 0x1003))
    seed("svm_exit", "faults", svm(0x400, 0x100000006, 0xFEE000B0) + svm(0x400, 0x200000004, 0xB0000000, 0x80000B0E00000000)
         + svm(0x7C, 1) + svm(0x7C, 0) + struct.pack("<BHQ", 0, 0xFFF1, 0xFFFFFFFFFFFFFFFF))
    seed("vmx_exit", "each", b"".join(bytes([1]) + bytes(8) + bytes([reason]) + bytes(200) for reason in (0, 1, 2, 48)))
    for reason in (3, 4, 7, 8, 9, 10, 12, 13, 14, 18, 28, 29, 30, 31, 32, 33, 36, 39, 43, 49, 52, 54, 55, 63, 0xFE, 0xFF):
        seed("vmx_exit", f"reason-{reason}", bytes([1]) + bytes(8) + bytes([reason, *range(1, 120)]))


def pci():
    def put(function, offset, value, held=0):
        return struct.pack("<HIH", function | offset << 3, value, held)

    def header(function, kind=0, ids=0x12348086):
        return put(function, 0, ids) + put(function, 4, 0x00100007, 0x547) + put(function, 12, kind << 16) + put(function, 0x34, 0x40)

    def express(function, kind):
        return put(function, 0x40, 0x10 | kind << 20) + put(function, 0x44, 1 << 28)

    bars = put(2, 0x10, 0xF0000004, 0xF000) + put(2, 0x14, 0, 0xFFFF) + put(2, 0x18, 0xF1000000, 0xFF00) + put(2, 0x1C, 0xC001, 0xFFE0)
    nic = (header(2, 0x80) + put(2, 0x40, 0x5010) + put(2, 0x44, 1 << 28) + put(2, 0x50, 0x00036011) + put(2, 0x54, 0)
           + put(2, 0x58, 0x800) + put(2, 0x60, 0x01867005) + put(2, 0x70, 0x03060013) + bars + put(2, 0x30, 0xF2000001, 0xF801))
    bridge = header(1, 1) + express(1, 4) + put(1, 0x18, 0x00010100) + put(1, 0x100, 0x0001000D) + put(1, 0x104, 0x1D, 0xFFFF)
    for name, at in (("sriov", 0x140), ("sriov-at-the-end", 0xFFC)):
        sriov = (put(4, 0x100, 0x0001000E | at << 20) + put(4, at, 0x00010010) + put(4, at + 0xC, 0x00080008)
                 + put(4, at + 0x14, 0x00010008) + put(4, at + 0x18, 0x10100000) + put(4, at + 0x1C, 0x553)
                 + put(4, at + 0x24, 4, 0xC000) + put(4, at + 0x28, 0, 0xFFFF)) if at < 0xF00 else put(4, 0x100, 0x0001000E | at << 20) + put(4, at, 0x00010010)
        seed("pci", name, bridge + header(4) + express(4, 0) + sriov)
    acs = put(1, 0x100, 0x0001000E | 0xFFC << 20) + put(1, 0xFFC, 0x0001000D)
    seed("pci", "acs-at-the-end", header(1, 1) + express(1, 4) + put(1, 0x18, 0x00010100) + acs)
    room, far = (0x140 + 0x24, 1 << 20), (0x140 + 0x14, 1 << 16 | 128)  # a BAR's mask; stride 1, offset 128: the next bus
    for name, head, pokes in (("root", bytes([7, 0]), ()), ("behind", bytes([3, 1]), ((room[0], 4, -room[1] & 0xFFFFFFFF),)),
                              ("far", bytes([2, 0]), ((*far, 0),)), ("none", bytes(2), ())):
        seed("sriov", name, head + b"".join(struct.pack("<BHII", 0, *poke) for poke in pokes))
    seed("pci", "nic", nic + header(3) + bridge + header(4))

    def access(what, function, register, value):
        return struct.pack("<BBHI", what | 2 << 3, function, register, value)

    # A BAR measured and moved, decoding on, MSI-X unmasked, the list of capabilities; by ECAM and by ports.
    steps = (access(1, 1, 0x10, 0xFFFFFFFF) + access(0, 1, 0x10, 0) + access(1, 1, 0x10, 0xFEA00000) + access(1, 1, 4, 6)
             + access(4, 1, 0x34, 0) + access(5, 0, 0, 0xFEE00000) + access(5, 0, 8, 0x41) + access(5, 0, 12, 0)
             + access(1, 2, 0x50, 0x80000000) + access(7, 0, 0, 0))
    seed("vpci", "driver", bytes(2) + steps)
    seed("vpci", "insane", bytes([1, 0x50]) + struct.pack("<I", 0x00FF5011) + steps)
    # A list of extended capabilities: hidden, vendor's, errors and back to the second; registers written.
    spoilt = struct.pack("<IHIHIHIHI", 0x2001001E, 0x100, 0x2801000B, 0x104, 0xFFF00001, 0x180, 0x20020001, 0x188, 0x5A5A5A5A)
    seed("vpci", "extended", bytes([0x41, 0xC0]) + spoilt + access(1, 0x16, 0x88, 0xFFFFFFFF) + access(1, 0x16, 0x84, 0xFFFFFFFF)
         + access(0x44, 0x16, 0x94, 0) + access(0, 0x16, 0x8C, 0) + access(7, 0, 0, 0))


def pci_ids():
    wanted = bytes([6, 0xD3, 6, 1, 7, 2, 0, 0, 63])
    text = (b"# Comment\n8086  Intel Corporation\n\t00d3  82574L Gigabit\n\t\t103c 1785  Subsystem\n\t0001  f\xc3\xbcr\n"
            b"8087  Other\r\n\t0002  \x1b[2J\r\n8086  Again\n\t0001  Twice\nC 02  Network controller\n\t00  Ethernet controller")
    seed("pci_ids", "names", wanted + text)


for make in (multiboot2, acpi, dmar, ivrs, image, insn, pagetable, walk, frames, devices, exits, pci, pci_ids):
    make()
