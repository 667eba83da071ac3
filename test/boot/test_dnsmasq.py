"""Booting over the network beside a DHCP server, as docs/pxe.md has it: dnsmasq with the configuration that
tools/mullion-image --dnsmasq writes (proxy-DHCP and TFTP), another one as the DHCP server that is there already, and
a machine, on one bridge. All of it lives in network namespaces of its own."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import emulator
import pytest
from conftest import BUILD, MODELS, PATIENCE, SECONDS, TOP
from partitions import partition

pytestmark = pytest.mark.only_svm  # Bochs has no network card that boots

NETWORK, SERVER, ROUTER = "10.99.7.0", "10.99.7.1", "10.99.7.2"
LEASES = "10.99.7.100,10.99.7.120,255.255.255.0"
MAC = "52:54:00:12:34:56"
BOOTS = {False: "i386-pc/core.0", True: "x86_64-efi/core.efi"}


def run(*words):
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{words}: {result.stderr}"


def refusal():
    """Why there can be no network here; None if there can."""
    for name in ("ip", "dnsmasq"):
        if not shutil.which(name):
            pytest.fail(f"{name} is missing; `tools/setup test` installs it")
    if os.getuid():
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is absent or closed"
    probe = subprocess.run(["unshare", "-n", "ip", "tuntap", "add", "t0", "mode", "tap"], capture_output=True, text=True,
                           check=False)
    return f"network namespaces are not permitted: {probe.stderr.strip()}" if probe.returncode else None


@pytest.fixture
def network():
    """The names of two namespaces: of the host, whose bridge br0 has the machine's tap0 and the other's link; and of
    the router, with its end of the link."""
    why = refusal()
    if why:
        pytest.skip(why)
    host, router = f"mullion-h{os.getpid()}", f"mullion-r{os.getpid()}"
    made = []
    try:
        for name in (host, router):
            run("ip", "netns", "add", name)
            made.append(name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", host, "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        run("ip", "-n", host, "link", "add", "link0", "type", "veth", "peer", "name", "eth0", "netns", router)
        run("ip", "-n", host, "tuntap", "add", "tap0", "mode", "tap")
        for port in ("link0", "tap0"):
            run("ip", "-n", host, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", host, "addr", "add", f"{SERVER}/24", "dev", "br0")
        run("ip", "-n", host, "link", "set", "br0", "up")
        run("ip", "-n", router, "addr", "add", f"{ROUTER}/24", "dev", "eth0")
        run("ip", "-n", router, "link", "set", "eth0", "up")
        yield host, router
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def served_folder():
    """dnsmasq serves as a user of its own, to whom pytest's folders are closed."""
    with tempfile.TemporaryDirectory(prefix="mullion-") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder, "net")


@contextlib.contextmanager
def inside(namespace, command, log):
    """A program in a namespace, which ends with the block."""
    with open(log, "wb") as file:
        process = subprocess.Popen(emulator.GUARD + ["ip", "netns", "exec", namespace, *map(str, command)],
                                   stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_in(path, words):
    """Until a log has these words."""
    deadline = time.monotonic() + 30 * PATIENCE
    while words not in path.read_text(errors="replace"):
        assert time.monotonic() < deadline, f"no {words!r} in {path}:\n{path.read_text(errors='replace')}"
        time.sleep(0.1)


class OnTheBridge(emulator.Qemu):
    """A machine that boots from the network of a namespace."""

    namespace = None

    def _medium(self):
        return ["-netdev", "tap,id=boot,ifname=tap0,script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=boot,bootindex=0,mac={self.mac}"]

    def command(self):
        return ["ip", "netns", "exec", self.namespace, *super().command()]


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
def test_beside_a_dhcp_server(request, vendor, network, served_folder, tmp_path, uefi):
    """The address comes from the DHCP server, the boot from dnsmasq: the machine's own folder, by its MAC address."""
    host, router = network
    folder = served_folder
    file = tmp_path / "mine.toml"
    file.write_text(partition("mine", [0], "hello.elf"))
    # In the namespace, where the tool finds the host's address itself.
    run("ip", "netns", "exec", host, TOP / "tools/mullion-image", file, "--netboot", folder, "--mac", MAC,
        "--dnsmasq", NETWORK)
    logs = [BUILD / "logs" / f"{request.node.name}.{who}.log" for who in ("proxy", "dhcp")]
    proxy = ["dnsmasq", "--no-daemon", f"--conf-file={folder}/dnsmasq.conf", f"--pid-file={tmp_path}/proxy.pid"]
    dhcp = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", f"--dhcp-range={LEASES},1h", "--log-dhcp",
            f"--dhcp-leasefile={tmp_path}/leases", f"--pid-file={tmp_path}/dhcp.pid", "--dhcp-authoritative"]
    OnTheBridge.namespace = host
    machine = OnTheBridge(folder, BUILD / "logs" / f"{request.node.name}.log", cpus=1, memory=512,
                          limit=int(3600 * PATIENCE), cpu=MODELS[vendor], medium="net", uefi=uefi, mac=MAC)
    request.node.machines = [machine]
    with inside(host, proxy, logs[0]), inside(router, dhcp, logs[1]):
        wait_in(logs[0], "DHCP, proxy on subnet")
        wait_in(logs[1], "DHCP, IP range")
        with machine:
            machine.wait_exit(SECONDS[vendor] * PATIENCE * (4 if uefi else 2))
            text = machine.text()
    assert "[mullion] mine: powered off\n" in text, logs[0].read_text()
    served, leased = logs[0].read_text(), logs[1].read_text()
    assert f"DHCPACK(eth0) 10.99.7." in leased and "DHCPOFFER(br0)" not in served
    for name in (f"mullion/grub/{BOOTS[uefi]}", f"mullion/{MAC}/mullion.elf", f"mullion/{MAC}/hello.elf"):
        assert f"sent {folder}/{name} to 10.99.7." in served
