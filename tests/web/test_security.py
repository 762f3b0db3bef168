"""Who is let in, and what every answer forbids."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from axilla.web.security import BODY_BYTES, POLICY, Access, is_loopback
from axilla.web.served import Served

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there: what is told of it is tested


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200), ("localhost:8765", 200), ("[::1]:8765", 200),
        ("127.0.0.1:9999", 421), ("127.0.0.1", 421), ("evil.example:8765", 421),
        ("localhost.evil.example:8765", 421), ("", 421), ("192.0.2.7:8765", 421),
    ],
)  # fmt: skip
def test_only_a_loopback_name_is_served_without_a_token(
    client: TestClient, host: str, status: int
) -> None:
    assert client.get("/e/0", headers={"host": host}).status_code == status


@pytest.mark.parametrize("path", ["/e/0", "/tiles/0/0/0/0/1/9/0_0", "/static/axilla.css", "/nope"])
def test_every_answer_forbids_what_a_page_needs_not(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")


def test_the_policy_allows_no_inline_script_nor_style_nor_frame() -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in POLICY


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_asks_for_is_refused(client: TestClient, site: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert client.get("/api/e/0/patients", headers=headers).status_code == 403
    assert client.get("/tiles/0/0/0/0/1/9/0_0", headers=headers).status_code == 403


def test_a_link_from_another_site_leads_here_but_a_form_does_not(client: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/e/0", headers=headers).status_code == 200
    assert client.post("/api/e/0/p/0/ask", headers=headers, json={}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:8765", "http://127.0.0.1:1"]
)
def test_what_changes_or_computes_needs_our_own_origin(client: TestClient, origin: str) -> None:
    answer = client.post("/api/e/0/p/0/ask", headers={"origin": origin}, json={"values": {}})
    assert answer.status_code == 403


def test_our_own_origin_is_let_in(client: TestClient) -> None:
    headers = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    answer = client.post("/api/e/0/p/0/ask", headers=headers, json={"values": {}})
    assert answer.status_code == 422  # let in, and then told that values are missing


def test_a_body_is_bounded_and_must_say_its_length(client: TestClient) -> None:
    path = "/api/e/0/p/0/ask"
    assert client.post(path, content=b"x" * (BODY_BYTES + 1)).status_code == 413
    assert client.post(path, content=iter([b"x" * 10])).status_code == 411


class TestToken:
    @pytest.fixture
    def access(self) -> Access:
        return Access.at(EVERYWHERE, 8765)

    @pytest.fixture
    def elsewhere(
        self, client_of: Callable[..., TestClient], served: Served, access: Access
    ) -> TestClient:
        return client_of(served, access)

    def test_it_is_asked_as_soon_as_others_reach_the_address(self, access: Access) -> None:
        assert access.token is not None
        assert len(access.token) >= 32
        assert access.address == f"http://localhost:8765/?token={access.token}"
        assert Access.at(EVERYWHERE, 8765).token != access.token
        assert Access.at("127.0.0.1", 8765).token is None

    @pytest.mark.parametrize(
        "path", ["/", "/e/0", "/api/e/0/patients", "/tiles/0/0/0/0/1/9/0_0", "/static/study.js"]
    )
    def test_nothing_is_shown_without_it(self, elsewhere: TestClient, path: str) -> None:
        for asked in (path, f"{path}?token=", f"{path}?token=wrong"):
            answer = elsewhere.get(asked)
            assert answer.status_code == 401
            assert "token" in answer.text

    def test_it_moves_into_a_cookie_that_scripts_and_other_sites_do_not_get(
        self, elsewhere: TestClient, access: Access
    ) -> None:
        answer = elsewhere.get(f"/e/0?token={access.token}&a=b")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/e/0?a=b"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert elsewhere.get("/e/0").status_code == 200  # by the cookie alone

    def test_it_leads_to_no_other_host(self, elsewhere: TestClient, access: Access) -> None:
        answer = elsewhere.get(f"http://127.0.0.1:8765//evil.example/?token={access.token}")
        assert answer.headers["location"] == "/evil.example/"

    def test_a_damaged_cookie_is_no_token(self, elsewhere: TestClient) -> None:
        for cookie in ("axilla-8765=", "axilla-8765=wrong", "a b c;;;=", "axilla-8765=\xff"):
            answer = elsewhere.get("/e/0", headers={"cookie": cookie.encode("latin-1")})
            assert answer.status_code == 401


def test_addresses_that_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"]))
    assert not any(map(is_loopback, [EVERYWHERE, "::", "192.0.2.1", "example.org", ""]))
