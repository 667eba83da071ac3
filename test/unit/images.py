"""The smallest files that the hypervisor's loaders, and GRUB, take."""
import struct


def elf(contents=b"\xf4" * 16, kind=2, at=0x200000, memory=None):
    """A 64-bit executable with one segment. memory: bytes that it takes, if not as many as the contents."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, at, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 120, at, at, len(contents), memory or len(contents), 4096) + contents


def multiboot2(contents=b"\xf4" * 16, at=0x200000):
    """A header with addresses, then the contents, which are entered."""
    tags = struct.pack("<HHIIIII", 2, 0, 24, at, at, 0, 0) + struct.pack("<HHII4x", 3, 0, 12, at + 64) + struct.pack("<HHI", 0, 0, 8)
    start = struct.pack("<III", 0xe85250d6, 0, 16 + len(tags))
    return (start + struct.pack("<I", -sum(struct.unpack("<III", start)) & 0xffffffff) + tags).ljust(64, b"\0") + contents


def bzimage(packed):
    """What looks like a Linux kernel with this compressed payload; it does not start."""
    kernel = bytearray(0x400) + packed
    kernel[0x1f1], kernel[0x202:0x206] = 1, b"HdrS"
    struct.pack_into("<II", kernel, 0x248, 0, len(packed))
    return bytes(kernel)
