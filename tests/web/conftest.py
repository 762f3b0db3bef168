"""One small generated study, run once for all workers, served to clients; cases without a study."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from starlette.testclient import TestClient

from axilla.cohorts.synthetic import SyntheticConfig, generate_cohort
from axilla.core.config import StudyConfig, load_config
from axilla.study.chain import run
from axilla.web.app import create_app
from axilla.web.security import Access
from axilla.web.served import Served
from axilla.web.serving import NewCaseSettings, bound, served_of, server_of

HOSTILE = "<img src=x onerror=document.title=1>\"'&"
"""A patient's id as somebody who hates us would write it."""
PATIENTS = 24


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For every test here."""


@pytest.fixture(scope="session")
def study(
    tmp_path_factory: pytest.TempPathFactory, write_weights: Callable[[Path], None]
) -> StudyConfig:
    """24 generated patients, one of them with a hostile id; trained on frozen features."""
    shared: Path = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):
        shared = shared.parent  # of all workers: the study is run once
    folder = shared / "served-study"
    with FileLock(str(folder) + ".lock"):
        if not (folder / "done").is_file():
            folder.mkdir(exist_ok=True)
            _make_study(folder, write_weights)
            (folder / "done").touch()
    return load_config(folder / "study.yaml")


def _make_study(folder: Path, write_weights: Callable[[Path], None]) -> None:
    cohort = generate_cohort(
        folder / "cohort", patients=PATIENTS, seed=5,
        config=SyntheticConfig(width=420, height=320, patch=32),
    )  # fmt: skip
    _rename(cohort.table, cohort.slides, cohort.annotations)
    weights = folder / "small_cnn.safetensors"
    write_weights(weights)
    settings = {
        "name": "Tiny & <served>",
        "cohort": "cohort/cohort.csv",
        "slides": "cohort/slides",
        "annotations": "cohort/annotations",
        "regions": "annotation",
        "slide_mpp": 0.5,
        "endpoint": "n0-vs-npos",
        "patches": {"size": 32},
        "bags": {"size": 5},
        "encoder": {"name": "small_cnn", "weights": weights.name, "trainable": False},
        "methods": ["clinical", "dl-cnb", "dl-cnb+c"],
        "clinical": {"missing": "refuse"},
        "training": {"epochs": 2, "batch_size": 4, "lr": 5.0e-4, "restarts": None},
        "out": "out",
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run(load_config(folder / "study.yaml"), until="explain")
    (folder / "out" / "report.html").write_text("<!DOCTYPE html><title>report</title>", "utf-8")


def _rename(table: Path, *folders: Path) -> None:
    """Give the first patient the hostile id, its files as well."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    old = rows[0]["patient_id"]
    for folder in folders:
        for path in folder.glob(f"{old}.*"):
            path.rename(path.with_name(HOSTILE + path.suffix))
    for row in rows:
        for name, cell in row.items():
            if cell.startswith(old):
                row[name] = cell.replace(old, HOSTILE)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def clinical_study(tmp_path: Path) -> Callable[..., StudyConfig]:
    """Run a study of a clinical method alone, with other settings; takes a moment."""

    def make(**settings: Any) -> StudyConfig:
        rng = np.random.default_rng(7)
        rows = ["patient_id,age,tumor_size_cm,er,pr,her2,nodes"]
        for index in range(90):
            nodes = (0, 0, 1, 4)[index % 4]
            signs = ",".join(rng.choice(["positive", "negative"], 3))
            size = 2 + 0.1 * nodes + rng.uniform(-1, 1)
            rows.append(f"p{index:02d},{rng.integers(30, 80)},{size:.2f},{signs},{nodes}")
        (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        values = {
            "cohort": tmp_path / "cohort.csv", "endpoint": "n0-vs-npos", "methods": ("clinical",),
            "out": tmp_path / "out",
        }  # fmt: skip
        if "endpoints" in settings:
            del values["endpoint"]
        config = StudyConfig.model_validate(values | settings)
        run(config, until="evaluate")
        return config

    return make


@pytest.fixture(scope="session")
def served(study: StudyConfig) -> Served:
    """The study as a server holds it; not to be closed."""
    return Served.of(study)


@pytest.fixture(scope="session")
def client_of() -> Callable[..., TestClient]:
    """Make a client that asks as a browser on this machine does."""

    def make(served: Served, access: Access | None = None) -> TestClient:
        access = access or Access("127.0.0.1", 8765)
        return TestClient(
            create_app(served, access=access),
            base_url=f"http://127.0.0.1:{access.port}",
            follow_redirects=False,
        )

    return make


@pytest.fixture
def client(client_of: Callable[..., TestClient], served: Served) -> TestClient:
    """Asks the server of the study."""
    return client_of(served)


@pytest.fixture
def hostile() -> str:
    """The id of the first patient."""
    return HOSTILE


@dataclass
class Running:
    """A server that listens."""

    address: str
    stop: Callable[[], None]


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[StudyConfig | Served], Running]]:
    """Serve a study by uvicorn in a thread, on a free port."""
    running: list[Running] = []

    def serve(study: StudyConfig | Served) -> Running:
        listening = bound("127.0.0.1", 0)
        access = Access.at("127.0.0.1", listening.getsockname()[1])
        held = study if isinstance(study, Served) else Served.of(study)
        server = server_of(held, access=access)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(timeout=120)
            listening.close()

        running.append(Running(access.address.rstrip("/"), stop))
        return running[-1]

    yield serve
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def address(start: Callable[[StudyConfig | Served], Running], study: StudyConfig) -> str:
    """Where the study is served for real."""
    return start(study).address


@pytest.fixture
def new_served(study: StudyConfig, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serve the study's image-and-clinical model alone for new cases; closed at the end."""
    made: list[Served] = []

    def make(*, with_study: bool = False, method: str = "dl-cnb+c", **settings: Any) -> Served:
        found = served_of(
            study if with_study else None,
            NewCaseSettings(
                models=(study.out / "models" / method,),
                encoder_weights=Path(study.encoder.weights),
                **settings,
            ),
        )
        made.append(found)
        return found

    yield make
    for one in made:
        if one.new is not None:
            one.new.close()


@dataclass(frozen=True)
class Given:
    """What a new case is made of."""

    slide: Path
    outline: Path
    typed: dict[str, str]
    """Clinical values as somebody types them."""


@pytest.fixture(scope="session")
def given(study: StudyConfig) -> Given:
    """An image of the study with its annotation, and a patient's values."""
    slide = min(path for path in Path(str(study.slides)).iterdir() if "<" not in path.name)
    outlines = Path(str(study.annotation_folder))
    outline = next(path for path in outlines.iterdir() if path.stem == slide.stem)
    typed = {"age": "47", "tumor_size_cm": "2.1", "er": "positive", "pr": "negative",
             "her2": "negative"}  # fmt: skip
    return Given(slide, outline, typed)


@pytest.fixture(scope="session")
def new_case() -> Callable[[TestClient], str]:
    """Begin a case; the address of the empty one."""

    def make(client: TestClient) -> str:
        answer = client.post("/api/new")
        assert answer.status_code == 201
        return f"/api/new/{answer.json()['case']}"

    return make


@dataclass(frozen=True)
class Begun:
    """A case of a server's, and who asks about it."""

    client: TestClient
    served: Served
    case: str

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        assert self.served.new is not None
        found = self.served.new.find(self.case.rsplit("/", 1)[1])
        assert found is not None
        return found.folder


@pytest.fixture
def begin(
    new_case: Callable[[TestClient], str],
    new_served: Callable[..., Served],
    client_of: Callable[..., TestClient],
) -> Callable[..., Begun]:
    """Begin a case at a server of its own, with settings of that server."""

    def make(**settings: Any) -> Begun:
        served = new_served(**settings)
        client = client_of(served)
        return Begun(client, served, new_case(client))

    return make


@pytest.fixture(scope="session")
def asked() -> Callable[..., dict[str, Any]]:
    """What the page sends when it is run."""

    def make(typed: dict[str, str], **changed: Any) -> dict[str, Any]:
        sent = {"model": 0, "patient": "P 7", "regions": "annotation", "mpp": "0.5"}
        return {**sent, "values": typed, **changed}

    return make


@pytest.fixture(scope="session")
def wait() -> Callable[[TestClient, str], dict[str, Any]]:
    """Wait for a case's end; how it ended."""

    def watch(client: TestClient, case: str) -> dict[str, Any]:
        for _ in range(1200):
            found: dict[str, Any] = client.get(f"{case}/state").json()
            if found["state"] in {"done", "failed", "stopped"}:
                return found
            time.sleep(0.05)
        raise AssertionError(found)

    return watch


@dataclass(frozen=True)
class Done(Begun):
    """A case that was asked about, and what was told on the way."""

    slide: dict[str, Any]
    outline: dict[str, Any]
    ended: dict[str, Any]

    @property
    def own(self) -> str:
        """Address of its result."""
        return self.case.removeprefix("/api")

    def record(self) -> dict[str, Any]:
        """`case.json`."""
        found: dict[str, Any] = self.client.get(f"{self.own}/case.json").json()
        return found


@pytest.fixture
def done(
    begin: Callable[..., Begun],
    asked: Callable[..., dict[str, Any]],
    wait: Callable[[TestClient, str], dict[str, Any]],
    given: Given,
) -> Done:
    """A case with an uploaded slide and outline."""
    begun = begin()
    client, case = begun.client, begun.case
    slide = client.put(f"{case}/slides", content=given.slide.read_bytes())
    assert slide.status_code == 201
    outline = client.put(f"{case}/slides/1/outline", content=given.outline.read_bytes())
    assert outline.status_code == 200
    assert client.post(f"{case}/run", json=asked(given.typed)).status_code == 202
    return Done(client, begun.served, case, slide.json(), outline.json(), wait(client, case))
