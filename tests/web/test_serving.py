"""Listening, and ending."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from axilla.core.config import StudyConfig
from axilla.core.errors import ConfigError
from axilla.web.serving import bound


def test_a_port_in_use_is_told() -> None:
    with bound("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be listened on"):
            bound("127.0.0.1", port)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot be listened on"):
        bound("192.0.2.1", 0)


def test_one_command_serves_until_it_is_interrupted(
    clinical_study: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    config = clinical_study()
    file = tmp_path / "study.yaml"
    file.write_text(
        f"cohort: {config.cohort}\nendpoint: n0-vs-npos\nmethods: [clinical]\nout: {config.out}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "axilla", "serve", str(tmp_path), "--no-open", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Open: http://127.0.0.1:")
        where = urlsplit(line.removeprefix("Open: ").strip())
        asked = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)
        asked.request("GET", "/e/0")
        answer = asked.getresponse()
        assert answer.status == 200
        assert b"N0 against N(+)" in answer.read()
        assert answer.getheader("server") is None
        asked.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert out == "Ended.\n"
    assert err == ""


def serving(model: Path, folder: Path) -> tuple[subprocess.Popen[str], http.client.HTTPConnection]:
    """A server of new cases whose temporary files lie in a folder; and who asks it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "axilla", "serve", "--model", str(model), "--no-open",
         "--port", "0"],
        stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
    )  # fmt: skip
    assert process.stdout is not None
    where = urlsplit(process.stdout.readline().removeprefix("Open: ").strip())
    return process, http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)


def upload(asked: http.client.HTTPConnection) -> None:
    """A slide of a new case."""
    asked.request("POST", "/api/new")
    case = json.loads(asked.getresponse().read())["case"]
    content = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(content, "PNG")
    asked.request("PUT", f"/api/new/{case}/slides", content.getvalue())
    answer = asked.getresponse()
    answer.read()
    assert answer.status == 201


def test_what_a_killed_server_was_given_goes_when_the_next_one_starts(
    clinical_study: Callable[..., StudyConfig], tmp_path: Path
) -> None:
    model = clinical_study().out / "models" / "clinical"
    folder = tmp_path / "temporary"
    folder.mkdir()
    running = []
    try:
        for _ in range(2):
            running.append(serving(model, folder))
            upload(running[-1][1])
        slides = set(folder.rglob("slide-1.png"))
        assert len(slides) == 2
        running[0][0].kill()
        running[0][0].wait()
        assert set(folder.rglob("slide-1.png")) == slides
        running.append(serving(model, folder))
        (kept,) = folder.rglob("slide-1.png")
        running[1][0].send_signal(signal.SIGINT)
        running[1][0].wait(timeout=60)
        assert not kept.exists()
    finally:
        for process, asked in running:
            asked.close()
            process.kill()
            process.communicate()
