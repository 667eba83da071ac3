"""What the boot tests share: `boot` starts Mullion in an emulated machine, once on each vendor.

    def test_banner(boot):
        machine = boot(config='...')
        machine.wait_for(r"...")

Each run leaves its log in build/logs/TEST[VENDOR].log, beside it the command line and the
emulator's own log. The end of the log is printed when the test fails. Marks: `only_svm`,
`only_vmx`, `long` (for make test-long only). Environment: MULLION, another image than
build/mullion.elf.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
sys.path.insert(0, str(TOP / "tools"))
import emulator  # noqa: E402

# How much longer than native hardware would need: a hang is bounded, a loaded machine forgiven.
# MULLION_PATIENCE multiplies every timeout.
PATIENCE = float(os.environ.get("MULLION_PATIENCE", "1"))
SECONDS = {"svm": 60, "vmx": 180}
MODELS = {"svm": "max,+svm,+npt", "vmx": "corei7_skylake_x"}


def pytest_configure(config):
    config.addinivalue_line("markers", "only_svm: the test is about AMD-V, or about QEMU")
    config.addinivalue_line("markers", "only_vmx: the test is about VT-x, or about Bochs")
    config.addinivalue_line("markers", "long: left to make test-long")
    # A test under which the emulator itself died, and no other, runs again (Debian's python3-pytest-rerunfailures).
    config.option.reruns = 0 if config.option.usepdb else 2
    config.option.only_rerun = [r"\bEmulatorCrashed\b"]


def pytest_addoption(parser):
    parser.addoption("--only", choices=("svm", "vmx", "stock"),
                     help="what runs in Bochs (vmx), other people's programs in QEMU (stock), or all the rest (svm)")


def _part(item):
    """Which value of --only the test belongs to."""
    if hasattr(item, "callspec") and item.callspec.params.get("vendor") == "vmx":
        return "vmx"
    return "stock" if item.path.name in ("test_stock.py", "test_memtest.py", "test_loaders.py") else "svm"


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("only")
    if wanted:
        config.hook.pytest_deselected(items=[item for item in items if _part(item) != wanted])
        items[:] = [item for item in items if _part(item) == wanted]


def pytest_generate_tests(metafunc):
    if "vendor" in metafunc.fixturenames:
        vendors = [v for v in ("svm", "vmx")
                   if not any(metafunc.definition.get_closest_marker(f"only_{other}")
                              for other in ("svm", "vmx") if other != v)]
        metafunc.parametrize("vendor", vendors, indirect=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for machine in getattr(item, "machines", []):
            report.sections.append((f"end of {machine.log_path}", machine.tail(80)))
            complaint = machine.log_path.with_suffix(".err").read_text(errors="replace")[-2000:]
            if complaint:
                report.sections.append(("the emulator itself", complaint))


@pytest.fixture
def vendor(request):
    """"svm" or "vmx"."""
    return request.param


@pytest.fixture
def linux():
    """Path of the stock kernel."""
    return _need(BUILD / "linux/vmlinuz", "make linux")


@pytest.fixture
def initrd():
    """Path of the initrd."""
    return _need(BUILD / "initrd.img", "make initrd")


@pytest.fixture
def stock():
    """A function from the name of a file under build/ that comes of Debian's packages to its path."""
    return lambda name: _need(BUILD / name, "make stock")


@pytest.fixture
def guest():
    """A function from the name of a bare-metal program to its path."""
    def find(name):
        found = sorted((BUILD / "guests").glob(f"**/{name}"))
        return found[0] if found else _need(BUILD / "guests" / name, "make")
    return find


def _need(path, how):
    if not path.is_file():
        pytest.fail(f"{path} is missing; `{how}` makes it")
    return path


class Booted:
    """A machine that runs: emulator.Emulator, with timeouts that fit the vendor."""

    def __init__(self, machine, vendor):
        self._machine, self.vendor = machine, vendor

    def __getattr__(self, name):
        return getattr(self._machine, name)

    def text(self):
        import counters
        return counters.without(self._machine.text())

    def wait_for(self, pattern, timeout=None, start=0):
        """As in emulator; timeout: seconds, by default 60 in QEMU and 180 in Bochs."""
        return self._machine.wait_for(pattern, (timeout or SECONDS[self.vendor]) * PATIENCE, start)

    def wait_exit(self, timeout=None):
        return self._machine.wait_exit((timeout or SECONDS[self.vendor]) * PATIENCE)


@pytest.fixture
def boot(request, vendor, tmp_path):
    """A function that boots and returns a Booted; it ends with the test.

    config: text of mullion.toml, None for no such module. modules: {name: path}. cpus, memory
    (MiB): of the machine. cmdline: the hypervisor's. limit: seconds until the emulator is killed
    whatever happens. without, tables: ACPI tables that GRUB takes away, by name, and adds, by path. Others (cpu, icount, uefi, extra, single_thread) go to the emulator."""
    import counters  # it needs this module
    image = _need(pathlib.Path(os.environ.get("MULLION", BUILD / "mullion.elf")), "make")
    machines = request.node.machines = []

    def start(config=None, modules=None, cpus=1, memory=512, cmdline="", limit=3600, without=(), tables=(), **options):
        number = len(machines)
        iso = tmp_path / f"{number}.iso"
        file = "-"
        if config is not None:
            file = tmp_path / f"{number}.toml"
            file.write_text(config)
        arguments = [f"{name}={path}" for name, path in (modules or {}).items()]
        subprocess.run([TOP / "tools/make-iso", iso, file, *arguments], check=True, cwd=TOP,
                       env=dict(os.environ, MULLION=str(image), MULLION_CMDLINE=cmdline, MULLION_WITHOUT=" ".join(without),
                                MULLION_TABLES=" ".join(map(str, tables))))
        name = re.sub(r"[^\w.\[\]-]", "_", request.node.name) + (f".{number}" if number else "")
        log = BUILD / "logs" / f"{name}.log"
        options = counters.with_port(options, vendor, log.with_suffix(".gcov"))
        machine = emulator.for_vendor(vendor, iso, log, cpus=cpus,
                                      memory=memory, limit=int(limit * PATIENCE),
                                      **{"cpu": MODELS[vendor], **options})
        machines.append(machine)
        machine.start()
        return Booted(machine, vendor)

    start.vendor = vendor
    yield start
    for machine in machines:
        counters.finish(machine, vendor, machine.log_path.with_suffix(".gcov"))
        machine.kill()


@pytest.fixture
def newer(boot):
    """As `boot`, in the newer QEMU."""
    binary = _need(BUILD / "qemu-newer/qemu-system-x86_64", "make qemu-newer")

    def start(*arguments, **options):
        return boot(*arguments, binary=str(binary), **options)

    start.vendor = boot.vendor
    return start
