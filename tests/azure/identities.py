"""All the ways in which Microsoft's identity library gets a token from the emulator."""

import os
from datetime import datetime, timedelta, timezone

from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

AUTHORITY = "login.emulator.test"
SECRET = "emulator-secret"


def identities(emulator):
    """Pairs of a name and a credential. The last is the one that may change keys."""
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = emulator.url
    yield "managed identity of a machine (IMDS)", ManagedIdentityCredential()
    user = emulator.ask("GET", "identities")[0]
    yield "the same by client id", ManagedIdentityCredential(client_id=user["client_id"])
    os.environ["IDENTITY_ENDPOINT"] = f"{emulator.url}/msi/token"
    os.environ["IDENTITY_HEADER"] = "emulator-header"
    yield "managed identity of App Service", ManagedIdentityCredential()

    apps = {app["name"]: app["client_id"] for app in emulator.ask("GET", "apps")}
    entra = {"authority": AUTHORITY, "disable_instance_discovery": True}
    tester = (emulator.tenant, apps["tester"])
    certificate, key_and_certificate = self_signed()
    emulator.ask("POST", "apps", {
        "name": "bearer", "certificates": [certificate],
    })
    yield "client secret", ClientSecretCredential(*tester, SECRET, **entra)
    federated = ClientAssertionCredential(*tester, lambda: "emulator-federated-token", **entra)
    yield "federated token", federated
    bearer = {app["name"]: app["client_id"] for app in emulator.ask("GET", "apps")}["bearer"]
    grant(emulator, "bearer")
    yield "client certificate", CertificateCredential(
        emulator.tenant, bearer, certificate_data=key_and_certificate, **entra
    )
    yield "officer", ClientSecretCredential(emulator.tenant, apps["officer"], SECRET, **entra)


def grant(emulator, principal):
    vault = emulator.ask("GET", "vaults/kv1")
    role = {"principal": principal, "role": "Key Vault Crypto Service Encryption User"}
    emulator.ask("PATCH", "vaults/kv1", {"roles": vault["roles"] + [role]})


def self_signed():
    """A certificate, and the same behind its private key, PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "selkie's tests")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, plain)
    return certificate.decode(), private + certificate
