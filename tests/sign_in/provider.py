"""An OpenID provider on loopback that really signs: discovery, keys, authorize, token, userinfo."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ID, CLIENT_SECRET = "gateway", "a secret of the gateway's"
KEY_ID = "key-1"
Json = dict[str, Any]


class Provider(ThreadingHTTPServer):
    """`claims` are of whoever signs in next; `token_claims` and `key` make its tokens wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = self.published = rsa.generate_private_key(65537, 2048)
        self.claims: Json = {"sub": "s-1", "preferred_username": "grace", "email": "grace@example.com"}
        self.token_claims: Json = {}
        self.userinfo: Json = {}
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def authorize(self, query: dict[str, str]) -> str:
        """Where the person's browser is sent back to. They have said yes."""
        self.asked.append(query)
        assert (query["client_id"], query["response_type"]) == (CLIENT_ID, "code")
        assert query["code_challenge_method"] == "S256"
        code = f"code-{len(self.asked)}"
        self._codes[code] = query
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})

    def token(self, form: dict[str, str]) -> Json | None:
        """None for a code that is not known, or known to somebody else."""
        asked = self._codes.pop(form["code"], None)
        if asked is None or form["client_secret"] != CLIENT_SECRET:
            return None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        claims |= {"sub": self.claims["sub"], **self.token_claims}
        token = jwt.encode(claims, self.key, "RS256", headers={"kid": KEY_ID})
        return {"access_token": "opaque", "token_type": "Bearer", "id_token": token}

    def keys(self) -> Json:
        known = json.loads(RSAAlgorithm.to_jwk(self.published.public_key()))
        return {"keys": [{**known, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]}

    def configuration(self) -> Json:
        paths = {
            "authorization_endpoint": "/authorize",
            "token_endpoint": "/token",
            "userinfo_endpoint": "/userinfo",
            "jwks_uri": "/keys",
        }
        return {"issuer": self.issuer, **{name: self.issuer + path for name, path in paths.items()}}


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.server.authorize(_first(url.query)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif url.path == "/userinfo":
            self._tell({**self.server.claims, **self.server.userinfo})
        elif url.path == "/keys":
            self._tell(self.server.keys())
        else:
            assert url.path == "/.well-known/openid-configuration"
            self._tell(self.server.configuration())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told = self.server.token(_first(body))
        self._tell(told or {"error": "invalid_grant"}, 200 if told else 400)

    def _tell(self, payload: Json, status: int = 200) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def running() -> Iterator[Provider]:
    with Provider() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()
