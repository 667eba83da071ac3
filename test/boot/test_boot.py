"""Mullion comes up: it says so on the console, on both vendors, under BIOS and under UEFI."""

import pytest

BANNER = r"mullion\b.*"
VENDOR = {"svm": r"(?i)\bsvm\b|amd-v|amd", "vmx": r"(?i)\bvmx\b|vt-x|intel"}


def test_banner(boot, vendor):
    """The first line names the program; the log names the vendor's extension."""
    machine = boot()
    machine.wait_for(BANNER)
    machine.wait_for(VENDOR[vendor])


@pytest.mark.only_svm
def test_banner_uefi(boot):
    boot(uefi=True, memory=768).wait_for(BANNER)


@pytest.mark.only_svm
@pytest.mark.parametrize("cpus", [2, 4])
def test_every_core_comes_up(boot, cpus):
    """The log says how many cores run."""
    boot(cpus=cpus).wait_for(rf"\b{cpus} (cores|cpus)\b")


@pytest.mark.only_vmx
def test_every_core_comes_up_x2apic(boot):
    boot(cpus=2).wait_for(r"\b2 (cores|cpus)\b")
