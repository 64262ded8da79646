"""Microsoft's Key Vault and identity clients against `selkie-emulator`.

    python clients.py http://127.0.0.1:PORT

The address is that of the emulator's control API. Every check that goes well is printed as one line;
the first that does not ends the program with its traceback.
"""

import os
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.keyvault.keys import (
    KeyClient,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
)
from azure.keyvault.keys.crypto import CryptographyClient
from azure.keyvault.keys.crypto._providers import NoLocalCryptography
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from emulator import Emulator
from identities import identities

OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
DEK = bytes(range(32))
VAULT = "kv1"
WRAP, UNWRAP = "wrapKey", "unwrapKey"


def passed(check):
    print(check, flush=True)


@contextmanager
def refused(check, error, status, *words):
    """The block must end in this error of the client's, with this status and these words."""
    try:
        yield
    except error as seen:
        said = (check, seen.status_code, str(seen))
        assert seen.status_code == status and all(word in str(seen) for word in words), said
        passed(check)
    else:
        raise AssertionError(f"{check}: it was not refused")


def keys_of(host, credential):
    return KeyClient(f"https://{host}", credential, retry_total=0)


def remote(key, credential):
    """A client that leaves everything to Key Vault, wraps with a public key included."""
    client = CryptographyClient(key.id, credential, retry_total=0)
    client._local_provider, client._initialized = NoLocalCryptography(), True
    return client


def check_lifecycle(keys):
    first = keys.create_rsa_key("life", size=2048, key_operations=[WRAP, UNWRAP])
    assert (first.key_type, first.properties.enabled) == ("RSA", True), first.key_type
    assert sorted(first.key_operations) == sorted([WRAP, UNWRAP]), first.key_operations
    assert keys.get_key("life").id == first.id
    passed("create and get")

    second = keys.rotate_key("life")
    assert second.id != first.id and keys.get_key("life").id == second.id
    assert keys.get_key("life", first.properties.version).key.n == first.key.n
    versions = {v.version for v in keys.list_properties_of_key_versions("life")}
    assert versions == {first.properties.version, second.properties.version}, versions
    assert "life" in [key.name for key in keys.list_properties_of_keys()]
    passed("rotate and list")

    keys.update_key_properties("life", first.properties.version, enabled=False)
    assert not keys.get_key("life", first.properties.version).properties.enabled
    assert keys.get_key("life").properties.enabled
    passed("update one version")

    rotate = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P90D")
    keys.update_key_rotation_policy("life", KeyRotationPolicy(lifetime_actions=[rotate]))
    actions = keys.get_key_rotation_policy("life").lifetime_actions
    assert [a.time_after_create for a in actions if a.action == "Rotate"] == ["P90D"], actions
    passed("rotation policy")


def check_soft_delete(keys):
    made = keys.create_rsa_key("gone", size=2048)
    deleted = keys.begin_delete_key("gone").result()
    assert deleted.recovery_id and deleted.scheduled_purge_date > datetime.now(timezone.utc)
    with refused("a deleted key is not found", ResourceNotFoundError, 404, "KeyNotFound"):
        keys.get_key("gone")
    with refused("its name is taken", ResourceExistsError, 409, "ObjectIsDeletedButRecoverable"):
        keys.create_rsa_key("gone", size=2048)
    assert "gone" in [key.name for key in keys.list_deleted_keys()]
    keys.begin_recover_deleted_key("gone").result()
    assert keys.get_key("gone").id == made.id
    passed("delete and recover")
    keys.begin_delete_key("gone").result()
    keys.purge_deleted_key("gone")
    with refused("a purged key is gone", ResourceNotFoundError, 404):
        keys.get_deleted_key("gone")


def check_rsa(keys, credential, size):
    key = keys.create_rsa_key(f"rsa-{size}", size=size)
    there = remote(key, credential)
    wrapped = there.wrap_key("RSA-OAEP-256", DEK).encrypted_key
    assert len(wrapped) == size // 8 and there.unwrap_key("RSA-OAEP-256", wrapped).key == DEK
    public = rsa.RSAPublicNumbers(
        int.from_bytes(key.key.e, "big"), int.from_bytes(key.key.n, "big")
    ).public_key()
    # pyca's OAEP is neither ours nor the emulator's.
    assert there.unwrap_key("RSA-OAEP-256", public.encrypt(DEK, OAEP)).key == DEK
    with refused(f"RSA {size}: garbage", HttpResponseError, 400, "BadParameter"):
        there.unwrap_key("RSA-OAEP-256", bytes([1]) * len(wrapped))
    passed(f"RSA {size}: wrapped there, wrapped here, unwrapped there")


def check_managed_hsm(keys, credential):
    key = keys.create_oct_key("aes", size=256, hardware_protected=True)
    assert key.key_type == "oct-HSM" and not key.key.k, "the material stays in the HSM"
    there = remote(key, credential)
    wrapped = there.wrap_key("A256KW", DEK).encrypted_key
    assert len(wrapped) == 40 and there.unwrap_key("A256KW", wrapped).key == DEK
    assert wrapped == there.wrap_key("A256KW", DEK).encrypted_key, "RFC 3394 is deterministic"
    with refused("A256KW: garbage", HttpResponseError, 400):
        there.unwrap_key("A256KW", bytes(40))
    passed("A256KW in a managed HSM")


def check_states(keys, credential):
    key = keys.create_rsa_key("state", size=2048)
    there = remote(key, credential)
    wrapped = there.wrap_key("RSA-OAEP-256", DEK).encrypted_key
    now = datetime.now(timezone.utc)

    keys.update_key_properties("state", enabled=False)
    with refused("a disabled key unwraps nothing", HttpResponseError, 403, "KeyDisabled"):
        there.unwrap_key("RSA-OAEP-256", wrapped)
    keys.update_key_properties("state", enabled=True, expires_on=now - timedelta(hours=1))
    with refused("an expired key wraps nothing", HttpResponseError, 403, "Forbidden"):
        there.wrap_key("RSA-OAEP-256", DEK)
    assert there.unwrap_key("RSA-OAEP-256", wrapped).key == DEK
    passed("an expired key unwraps")

    later = {"not_before": now + timedelta(hours=1), "expires_on": now + timedelta(hours=2)}
    keys.update_key_properties("state", **later)
    with refused("a key before its time wraps nothing", HttpResponseError, 403, "Forbidden"):
        there.wrap_key("RSA-OAEP-256", DEK)
    now_valid = {"not_before": now - timedelta(hours=1), "expires_on": now + timedelta(hours=2)}
    keys.update_key_properties("state", key_operations=[WRAP], **now_valid)
    with refused("an operation not in key_ops", HttpResponseError, 403, "KeyOperationForbidden"):
        there.unwrap_key("RSA-OAEP-256", wrapped)


def check_refusals(emulator, keys, credential):
    key = keys.create_rsa_key("refused", size=2048)
    there = remote(key, credential)
    wrapped = there.wrap_key("RSA-OAEP-256", DEK).encrypted_key

    @contextmanager
    def changed(change):
        before = emulator.ask("GET", f"vaults/{VAULT}")
        emulator.ask("PATCH", f"vaults/{VAULT}", change)
        yield
        emulator.ask("PATCH", f"vaults/{VAULT}", {field: before[field] for field in change})

    policy = {"principal": "officer", "keys": ["get", "wrapKey"]}
    for code, change in (
        ("ForbiddenByFirewall", {"firewall": {"allow": ["10.0.0.0/8"]}}),
        ("ForbiddenByConnection", {"public_network_access": False}),
        ("ForbiddenByRbac", {"roles": []}),
        ("ForbiddenByPolicy", {"access": "policies", "policies": [policy]}),
    ):
        with changed(change), refused(code, HttpResponseError, 403, code):
            there.unwrap_key("RSA-OAEP-256", wrapped)
    emulator.ask("POST", "faults", {"how": {"retry_after": 7}, "times": 1})
    with refused("throttled", HttpResponseError, 429, "Throttled"):
        there.unwrap_key("RSA-OAEP-256", wrapped)
    emulator.ask("POST", "tokens/revoke", {})
    with refused("a revoked token", ClientAuthenticationError, 401):
        there.unwrap_key("RSA-OAEP-256", wrapped)


def main():
    emulator = Emulator(sys.argv[1])
    emulator.send_all_names_here()
    os.environ["REQUESTS_CA_BUNDLE"] = emulator.ca_file
    for check, credential in identities(emulator):
        keys = keys_of(f"{VAULT}.vault.emulator.test", credential)
        assert keys.get_key("selkie").name == "selkie"
        passed(f"identity: {check}")
    hsm = {"principal": "officer", "role": "Managed HSM Crypto Officer"}
    user = {"principal": "officer", "role": "Managed HSM Crypto User"}
    emulator.ask("POST", "vaults", {"name": "hsm1", "kind": "managed_hsm", "roles": [hsm, user]})
    roles = [{"principal": "officer", "role": "Key Vault Administrator"}]
    emulator.ask("PATCH", f"vaults/{VAULT}", {"roles": roles})
    check_lifecycle(keys)
    check_soft_delete(keys)
    for size in (2048, 3072, 4096):
        check_rsa(keys, credential, size)
    check_managed_hsm(keys_of("hsm1.managedhsm.emulator.test", credential), credential)
    check_states(keys, credential)
    check_refusals(emulator, keys, credential)


main()
