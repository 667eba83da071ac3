"""NUMA nodes: memory from the node of the cores, told in the log, in the inventory, and by the checker."""

import re
import subprocess

import pytest
from conftest import BUILD
from partitions import assert_all_ended, log_of, partition
from test_inventory import inventory
from test_refuse import refused

# Two nodes of 1 GiB below and 3 GiB around 4 GiB. The first two cores, threads of one, are on node 0.
NODES = ("-object memory-backend-ram,id=near,size=1G -object memory-backend-ram,id=far,size=3G "
         "-numa node,nodeid=0,memdev=near -numa node,nodeid=1,memdev=far "
         "-numa cpu,node-id=0,socket-id=0 -numa cpu,node-id=1,socket-id=1 -numa dist,src=0,dst=1,val=30").split()
MACHINE = {"cpus": "4,sockets=2,cores=1,threads=2", "memory": 4096, "extra": NODES}


@pytest.mark.only_svm
def test_nodes(boot, guest, tmp_path):
    hello = {"hello.elf": guest("hello.elf")}
    file = (partition("low", [0], "hello.elf", "64M") + partition("high", [2], "hello.elf", "64M")
            + partition("moved", [3], "hello.elf", "64M", more="node = 0")
            + partition("large", [1], "hello.elf", "1G"))  # node 0 has not so much
    machine = boot(file, hello, **MACHINE)
    assert_all_ended(machine)
    text = machine.text()
    assert "64 of 64 MiB lie on node 0, where its cores are" in log_of(text, "low")
    assert "64 of 64 MiB lie on node 1, where its cores are" in log_of(text, "high")
    for name, size, node in ("moved", 64, 1), ("large", 1024, 0):
        assert (f"0 of {size} MiB lie on node {node}, where its cores are; WARNING: the rest is farther away"
                in log_of(text, name))
    # The checker, given this machine's inventory, places alike.
    (tmp_path / "machine.txt").write_text(inventory(boot, tmp_path, **MACHINE))
    (tmp_path / "f.toml").write_text(file)
    said = subprocess.run([BUILD / "tools/mullion-check", "f.toml", "--machine", "machine.txt"], cwd=tmp_path, check=True,
                          capture_output=True, text=True)
    assert re.search(r"^node +0, \d+ MiB free +cores 0, 1$", said.stdout, re.M)
    assert re.search(r"^threads +of one physical core +cores 2, 3$", said.stdout, re.M)
    places = {name: int(at, 16) for at, name in re.findall(r"^placed +0x(\w+)-\w+ +(\w+),", said.stdout, re.M)}
    assert places["low"] < 1 << 30 and places["moved"] < 1 << 30
    assert places["high"] >= 1 << 32 and places["large"] >= 1 << 30
    warnings = re.findall(r"warning: (.*)\n", said.stderr)
    assert any("partition large: 1G of its 1G lie on another node" in w for w in warnings)
    assert any("core 1 of large and core 0 of low are threads of one physical core" in w for w in warnings)


def test_no_nodes(boot, guest):
    """A machine without SRAT: none of the lines, and a node is refused."""
    hello = {"hello.elf": guest("hello.elf")}
    machine = boot(partition("one", [0], "hello.elf"), hello)
    assert_all_ended(machine)
    assert "node" not in "".join(log_of(machine.text(), "one"))
    refused(boot(partition("one", [0], "hello.elf", more="node = 0"), hello),
            r"mullion\.toml:6:8: there is no node 0: the machine tells of no NUMA nodes", "remove node")
