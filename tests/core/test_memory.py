from __future__ import annotations

from pathlib import Path

import pytest

from axilla.core.memory import available_memory

MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:  8192000 kB\n")
    return tmp_path


def put(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_without_a_container_it_is_what_the_machine_has(machine: Path) -> None:
    assert available_memory(root=machine) == 8_192_000 * 1024


def test_a_limit_of_a_parent_holds_and_cached_files_do_not_count(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/job/step\n")
    put(machine / "sys/fs/cgroup/job", memory__max=600 * MIB, memory__current=500 * MIB,
        memory__stat=f"anon 1\ninactive_file {300 * MIB}")  # fmt: skip
    put(machine / "sys/fs/cgroup/job/step", memory__max="max", memory__current=5)
    assert available_memory(root=machine) == 400 * MIB


def test_the_older_version_is_read_too_and_a_path_of_the_host(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("9:cpu:/\n4:memory:/host/own\n0::/\n")
    put(machine / "sys/fs/cgroup/memory", memory__limit_in_bytes=300 * MIB,
        memory__usage_in_bytes=100 * MIB, memory__stat="cache 3")  # fmt: skip
    assert available_memory(root=machine) == 200 * MIB


def test_it_is_never_below_nothing(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/\n")
    put(machine / "sys/fs/cgroup", memory__max=1, memory__current=5)
    assert available_memory(root=machine) == 0


def test_this_machine_has_some() -> None:
    assert available_memory() > MIB
