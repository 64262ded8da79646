"""The calls of hvac 2.4.0 that a seal's operator makes, and hvac's own exceptions for our errors.

usage: calls.py URL ROOT_TOKEN PERIODIC_TOKEN

The periodic token may encrypt under `autounseal` and has the policy `default`.
"""

import base64
import sys

import hvac
from hvac import exceptions

PLAINTEXT = base64.b64encode(b"0123456789abcdef" * 3).decode()


def raises(expected, text, call, *args, **kwargs):
    """Checks that a call raises exactly this exception with exactly this error."""
    try:
        answer = call(*args, **kwargs)
    except exceptions.VaultError as error:
        assert type(error) is expected, f"{type(error)} instead of {expected}: {error}"
        assert error.errors == [text] if text else not error.errors, error.errors
        return
    raise AssertionError(f"no exception, but {answer}")


def keys(transit):
    transit.create_key(name="k")
    key = transit.read_key(name="k")["data"]
    assert key["latest_version"] == 1 and key["type"] == "aes256-gcm96", key
    assert transit.list_keys()["data"]["keys"] == ["autounseal", "k"]
    transit.rotate_key(name="k")
    assert transit.read_key(name="k")["data"]["latest_version"] == 2
    transit.update_key_configuration(name="k", min_encryption_version=2)
    transit.update_key_configuration(name="k", min_decryption_version=2)
    transit.trim_key(name="k", min_version=2)
    transit.update_key_configuration(name="k", deletion_allowed=True)
    transit.delete_key(name="k")
    raises(exceptions.InvalidPath, None, transit.read_key, name="k")


def data(transit):
    sealed = transit.encrypt_data(name="autounseal", plaintext=PLAINTEXT)["data"]["ciphertext"]
    assert sealed.startswith("vault:v1:"), sealed
    opened = transit.decrypt_data(name="autounseal", ciphertext=sealed)["data"]["plaintext"]
    assert opened == PLAINTEXT
    rewrapped = transit.rewrap_data(name="autounseal", ciphertext=sealed)["data"]["ciphertext"]
    assert rewrapped != sealed and rewrapped.startswith("vault:v1:")
    batch = transit.encrypt_data(
        name="autounseal", batch_input=[{"plaintext": PLAINTEXT}, {"plaintext": ""}]
    )["data"]["batch_results"]
    opened = transit.decrypt_data(
        name="autounseal", batch_input=[{"ciphertext": item["ciphertext"]} for item in batch]
    )["data"]["batch_results"]
    assert [item["plaintext"] for item in opened] == [PLAINTEXT, ""], opened


def refusals(client, transit):
    invalid = exceptions.InvalidRequest
    raises(invalid, "invalid ciphertext: no prefix",
           transit.decrypt_data, name="autounseal", ciphertext="nonsense")
    raises(invalid, "cipher: message authentication failed",
           transit.decrypt_data, name="autounseal", ciphertext="vault:v1:" + PLAINTEXT)
    raises(invalid, "illegal base64 data at input byte 1",
           transit.encrypt_data, name="autounseal", plaintext="a!b=")
    raises(invalid, "encryption key not found",
           transit.decrypt_data, name="nobody", ciphertext="vault:v1:" + PLAINTEXT)
    raises(exceptions.UnexpectedError, "1 error occurred:\n\t* unsupported operation\n\n",
           client.read, "transit/encrypt/autounseal")
    nowhere = 'no handler for route "nowhere/x". route entry not found.'
    raises(exceptions.InvalidPath, nowhere, client.adapter.get, url="/v1/nowhere/x")


def system(client):
    assert client.is_authenticated()
    assert client.sys.read_health_status(method="GET")["sealed"] is False
    assert client.sys.read_health_status().status_code == 200
    assert client.sys.is_initialized() and not client.sys.is_sealed()
    assert client.sys.read_seal_status()["version"].startswith("1.14.0")
    assert client.sys.read_leader_status()["ha_enabled"] is False
    assert client.sys.list_mounted_secrets_engines()["data"]["transit/"]["type"] == "transit"
    capabilities = client.sys.get_capabilities(paths=["transit/keys/x"])["data"]
    assert capabilities["transit/keys/x"] == ["root"], capabilities


def tokens(url, root, periodic):
    raises(exceptions.InvalidRequest, "invalid lease ID", root.auth.token.renew_self)
    client = hvac.Client(url=url, token=periodic)
    auth = client.auth.token.renew_self()["auth"]
    assert auth["client_token"] == periodic and auth["lease_duration"] == 3600, auth
    assert client.auth.token.lookup_self()["data"]["period"] == 3600
    sealed = client.secrets.transit.encrypt_data(name="autounseal", plaintext=PLAINTEXT)
    denied = "1 error occurred:\n\t* permission denied\n\n"
    raises(exceptions.Forbidden, denied, client.secrets.transit.decrypt_data,
           name="autounseal", ciphertext=sealed["data"]["ciphertext"])
    stranger = hvac.Client(url=url, token="hvs.stranger")
    assert not stranger.is_authenticated()
    raises(exceptions.Forbidden, "permission denied", stranger.secrets.transit.list_keys)


def made_tokens(url, root):
    token = root.auth.token
    made = token.create(policies=["default"], ttl="1h", display_name="ci", meta={"job": "7"})["auth"]
    assert made["client_token"].startswith("hvs.") and made["lease_duration"] == 3600, made
    client = hvac.Client(url=url, token=made["client_token"])
    own = client.auth.token.lookup_self()["data"]
    assert own["display_name"] == "token-ci" and own["meta"] == {"job": "7"}, own
    assert own["orphan"] is False and own["type"] == "service", own
    assert client.auth.token.renew_self(increment="2h")["auth"]["lease_duration"] == 7200
    assert token.lookup(made["client_token"])["data"]["accessor"] == made["accessor"]
    assert token.lookup_accessor(made["accessor"])["data"]["id"] == ""
    assert made["accessor"] in token.list_accessors()["data"]["keys"]
    raises(exceptions.Forbidden, "1 error occurred:\n\t* permission denied\n\n",
           client.auth.token.create)
    token.revoke_accessor(made["accessor"])
    assert not client.is_authenticated()
    orphan = token.create_orphan(policies=["default"])["auth"]
    assert orphan["orphan"] is True and orphan["lease_duration"] == 768 * 3600, orphan
    token.create_or_update_role("seals", allowed_policies="default", orphan=True, token_period="1h")
    role = token.read_role("seals")["data"]
    assert role["token_period"] == 3600 and token.list_roles()["data"]["keys"] == ["seals"], role
    of_role = token.create(role_name="seals")["auth"]
    assert of_role["lease_duration"] == 3600 and of_role["renewable"] is True, of_role
    token.delete_role("seals")
    token.revoke_and_orphan_children(of_role["client_token"])
    raises(exceptions.Forbidden, "bad token", token.lookup, of_role["client_token"])
    batch = token.create(policies=["default"], type="batch")["auth"]
    assert batch["client_token"].startswith("hvb.") and batch["token_type"] == "batch", batch
    raises(exceptions.InvalidRequest, "batch tokens cannot be revoked",
           token.revoke, batch["client_token"])
    hvac.Client(url=url, token=orphan["client_token"]).auth.token.revoke_self()
    raises(exceptions.InvalidRequest, "token not found", token.renew, orphan["client_token"])
    token.tidy()


def approle(url, root):
    """Mounts the method, logs in as a machine would, and takes all of it away again."""
    sys_, method = root.sys, root.auth.approle
    sys_.enable_auth_method(method_type="approle", path="machines", description="of ours",
                            config={"default_lease_ttl": "10m"})
    raises(exceptions.InvalidRequest, "path is already in use at machines/",
           sys_.enable_auth_method, method_type="approle", path="machines")
    listed = sys_.list_auth_methods()["data"]
    assert listed["token/"]["type"] == "token" and listed["machines/"]["type"] == "approle", listed
    sys_.tune_auth_method(path="machines", default_lease_ttl="20m")
    assert sys_.read_auth_method_tuning(path="machines")["data"]["default_lease_ttl"] == 1200
    at = {"mount_point": "machines"}
    raises(exceptions.InvalidPath, None, method.list_roles, **at)
    method.create_or_update_approle("web", token_policies=["seal"], secret_id_num_uses=2,
                                    token_type="service", secret_id_ttl="1h", **at)
    role = method.read_role("web", **at)["data"]
    assert role["token_policies"] == ["seal"] and role["secret_id_ttl"] == 3600, role
    assert method.list_roles(**at)["data"]["keys"] == ["web"]
    method.update_role_id("web", "the-web", **at)
    assert method.read_role_id("web", **at)["data"]["role_id"] == "the-web"
    made = method.generate_secret_id("web", metadata={"host": "a"}, **at)["data"]
    accessor = made["secret_id_accessor"]
    assert method.list_secret_id_accessors("web", **at)["data"]["keys"] == [accessor]
    found = method.read_secret_id("web", made["secret_id"], **at)["data"]
    assert found["metadata"] == {"host": "a"} and found["secret_id_num_uses"] == 2, found
    by_accessor = method.read_secret_id_accessor("web", accessor, **at)["data"]
    assert by_accessor["secret_id_accessor"] == accessor, by_accessor

    client = hvac.Client(url=url)
    raises(exceptions.InvalidRequest, "invalid role or secret ID",
           client.auth.approle.login, role_id="the-web", secret_id="wrong", **at)
    auth = client.auth.approle.login(role_id="the-web", secret_id=made["secret_id"], **at)["auth"]
    assert auth["metadata"] == {"host": "a", "role_name": "web"}, auth
    assert auth["policies"] == ["default", "seal"] and auth["lease_duration"] == 1200, auth
    assert client.is_authenticated()
    own = client.auth.token.lookup_self()["data"]
    assert own["display_name"] == "machines" and own["entity_id"] == auth["entity_id"], own
    assert client.auth.token.renew_self()["auth"]["client_token"] == client.token

    custom = method.create_custom_secret_id("web", "of-my-own", **at)["data"]
    assert custom["secret_id"] == "of-my-own", custom
    method.destroy_secret_id("web", "of-my-own", **at)
    raises(exceptions.InvalidRequest, "invalid role or secret ID",
           client.auth.approle.login, role_id="the-web", secret_id="of-my-own", **at)
    method.destroy_secret_id_accessor("web", accessor, **at)
    method.delete_role("web", **at)
    raises(exceptions.InvalidPath, None, method.read_role, "web", **at)
    sys_.disable_auth_method("machines")
    assert not client.is_authenticated()


def main():
    url, root_token, periodic = sys.argv[1:]
    root = hvac.Client(url=url, token=root_token)
    keys(root.secrets.transit)
    data(root.secrets.transit)
    refusals(root, root.secrets.transit)
    system(root)
    tokens(url, root, periodic)
    made_tokens(url, root)
    approle(url, root)
    print("all calls as expected")


if __name__ == "__main__":
    main()
