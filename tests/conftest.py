"""What all tests share: the folder of real data, and who goes without it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis
import pytest

if TYPE_CHECKING:
    from axilla.cohorts.synthetic import SyntheticCohort

# What `make test` draws is seeded like everything random here, so that it passes or fails for
# all alike; `make fuzz` draws anew, and far more.
hypothesis.settings.register_profile("test", max_examples=60, derandomize=True, deadline=None)
hypothesis.settings.register_profile("fuzz", max_examples=5_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("AXILLA_HYPOTHESIS", "test"))

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def _data_dir() -> Path | None:
    """AXILLA_DATA, else the folder beside the project; None where there is neither."""
    named = os.environ.get("AXILLA_DATA")
    folder = Path(named) if named else _BESIDE
    return folder if (folder / "README.md").is_file() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; only tests marked real_data ask for it."""
    folder = _data_dir()
    assert folder is not None
    return folder


# What follows imports late: most folders of tests need neither torch nor a cohort.


@pytest.fixture(scope="session")
def one_thread() -> None:
    """The same sums on every machine, and no fight for its cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SyntheticCohort:
    """30 patients of 420x320 pixels, of whom 12 are N(+)."""
    from axilla.cohorts.synthetic import SyntheticConfig, generate_cohort

    config = SyntheticConfig(width=420, height=320, patch=32)
    return generate_cohort(tmp_path_factory.mktemp("tiny"), patients=30, seed=5, config=config)


@pytest.fixture(scope="session")
def write_weights() -> Callable[[Path], None]:
    """Write a file of weights for small_cnn, so that it can be used frozen."""
    from safetensors.torch import save_file

    from axilla.core.config import Encoder
    from axilla.features.encoders import build_encoder

    def write(path: Path) -> None:
        config = Encoder(name="small_cnn", weights="none", trainable=True)
        state = build_encoder(config, seed=3).body.state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)

    return write


@pytest.fixture(scope="session")
def weights(
    tmp_path_factory: pytest.TempPathFactory, write_weights: Callable[[Path], None]
) -> Path:
    """Such a file."""
    path: Path = tmp_path_factory.mktemp("weights") / "small_cnn.safetensors"
    write_weights(path)
    return path


SKETCHES = {
    ".svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="90pt" height="60pt"></svg>',
    # A grey pixel.
    ".png": b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
    ),
}
"""In place of a statistic's figure. To draw those of one study takes longer than its training."""


@pytest.fixture(scope="session")
def sketches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sketch.svg` and `sketch.png`."""
    folder: Path = tmp_path_factory.mktemp("sketches")
    for suffix, content in SKETCHES.items():
        (folder / f"sketch{suffix}").write_bytes(content)
    return folder


@pytest.fixture(scope="session", autouse=True)
def render(sketches: Path) -> Iterator[Callable[..., bytes]]:
    """Figures of statistics are made, but not drawn; this draws them."""
    from axilla.study import evaluating

    real = evaluating.rendered
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            evaluating, "rendered", lambda _, suffix: (sketches / f"sketch{suffix}").read_bytes()
        )
        yield real


@pytest.fixture
def drawn(render: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of statistics are drawn as users see them."""
    monkeypatch.setattr("axilla.study.evaluating.rendered", render)


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


@pytest.fixture
def axilla(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Run a command in this process, as the console script would."""
    from axilla.cli import main

    def call(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["axilla", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Answer(0 if code is None else int(code), said.out, said.err)

    return call


@pytest.fixture
def start_together() -> Callable[[list[str], int], list[tuple[str, str]]]:
    """Start a command so often, with the variables that `torchrun` sets; what each said."""

    def start(command: list[str], processes: int) -> list[tuple[str, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {
            "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": 1,
            "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        started = []
        for rank in range(processes):
            own = shared | {"RANK": rank, "LOCAL_RANK": rank}
            environment = os.environ | {name: str(value) for name, value in own.items()}
            started.append(
                subprocess.Popen(
                    [sys.executable, *command], env=environment, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
        said = []
        try:
            for process in started:
                said.append(process.communicate(timeout=300))
                assert process.returncode == 0, said[-1]
        finally:
            for process in started:
                process.kill()  # as `torchrun` ends the others where one has failed
                process.communicate()
        return said

    return start


def _chromium() -> Path | None:
    """AXILLA_CHROMIUM, else a Chromium where distributions put it; None where there is neither."""
    named = os.environ.get("AXILLA_CHROMIUM")
    found = [named] if named else [shutil.which(name) for name in ("chromium", "chromium-browser")]
    return next((Path(path) for path in found if path and Path(path).is_file()), None)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser; only tests marked browser ask for it."""
    found = _chromium()
    assert found is not None
    return found


_NEEDS: dict[str, tuple[Callable[[], Path | None], str]] = {
    "real_data": (
        _data_dir,
        "on real data were deselected: AXILLA_DATA is not set and no data lie beside the project.",
    ),
    "browser": (
        _chromium,
        "in a browser were deselected: there is no Chromium here, and AXILLA_CHROMIUM names none.",
    ),
}
"""What a mark asks for, and what is said of the tests that go without."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, with a count and the reason, what needs something that is not there."""
    left_out = dict.fromkeys(_NEEDS, 0)
    for mark, (find, _) in _NEEDS.items():
        needing = [item for item in items if item.get_closest_marker(mark)]
        if needing and find() is None:
            config.hook.pytest_deselected(items=needing)
            items[:] = [item for item in items if item not in needing]
            left_out[mark] = len(needing)
    config.stash[_LEFT_OUT] = left_out


_LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of several tells the one who waits for it how many tests it left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(_LEFT_OUT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker leaves out the same tests."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say in one line a kind how many tests were left out and why."""
    for mark, count in config.stash.get(_LEFT_OUT, {}).items():
        if count:
            terminalreporter.write_line(f"{count} tests {_NEEDS[mark][1]}")
