"""A real OpenID provider (oidc-provider-mock, on Authlib) over TLS, and an id token of it.

Arguments: port, certificate, key, subject. Prints one JSON line with the issuer and the token, and
serves until it is killed.
"""

import json
import signal
import sys
import threading

import httpx
import oidc_provider_mock
import werkzeug.serving

REDIRECT = "https://client.example/callback"


def id_token(issuer: str, certificate: str, subject: str) -> str:
    """By the code flow, as a browser and a confidential client would have it."""
    with httpx.Client(verify=certificate, base_url=issuer) as http:
        query = {
            "client_id": "selkie", "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid",
        }
        granted = http.post("/oauth2/authorize", params=query, data={"sub": subject, "action": "authorize"})
        code = httpx.URL(granted.headers["location"]).params["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        answer = http.post("/oauth2/token", data=form, auth=("selkie", "secret"))
        answer.raise_for_status()
        return answer.json()["id_token"]


def main() -> None:
    port, certificate, key, subject = sys.argv[1:]
    server = werkzeug.serving.make_server(
        "127.0.0.1", int(port), oidc_provider_mock.app(), threaded=True, ssl_context=(certificate, key)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    issuer = f"https://127.0.0.1:{port}"
    token = id_token(issuer, certificate, subject)
    print(json.dumps({"issuer": issuer, "token": token}), flush=True)
    signal.pause()


main()
