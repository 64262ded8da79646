#!/usr/bin/env python3
"""Opens a ciphertext of Selkie's with the break-glass key and other people's programs alone.

    break_glass.py KEY.pem PASSPHRASE_FILE < ciphertext > plaintext
    break_glass.py SHARE PASSPHRASE_FILE SHARE PASSPHRASE_FILE ... < ciphertext > plaintext

Needs Python 3.9 and `pip install jwcrypto`. The key file is PKCS#8 under a passphrase, as `selkie
break-glass keygen` and `openssl` write it; a share is one, too, of which the 32 bytes are the share.
The ciphertext is `vault:v<N>:...`, as `selkie extract` prints it in the last column.

jwcrypto takes an empty plaintext for a failure, and knows nothing of `commitment` and `origin`.
"""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, load_pem_private_key,
)
from jwcrypto import jwe, jwk

TITLE = "selkie break-glass share "


def unlock(text, passphrase_file):
    with open(passphrase_file, "rb") as file:
        return load_pem_private_key(text.encode(), file.read().rstrip(b"\r\n"))


def read_keys(arguments):
    """The private key, whole or put together from its shares."""
    shares = {}
    for path, passphrase_file in zip(arguments[::2], arguments[1::2]):
        with open(path) as file:
            text = file.read()
        if not text.startswith(TITLE):
            return unlock(text, passphrase_file)
        title, text = text.split("\n", 1)
        index, needed, curve, _fingerprint = title.removeprefix(TITLE).split(", ")
        share = unlock(text, passphrase_file)
        shares[int(index)] = share.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    needed = int(needed.removeprefix("needed "))
    if len(shares) < needed:
        sys.exit(f"{len(shares)} shares, and {needed} are needed")
    return key_of(combine(dict(list(shares.items())[:needed])), curve)


def key_of(number, curve):
    if curve == "P-256":
        return ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1())
    return x25519.X25519PrivateKey.from_private_bytes(number)


def combine(shares):
    """Shamir's scheme over GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, byte by byte: the value at 0."""
    secret = bytes(32)
    for index, share in shares.items():
        weight = 1
        for other in shares:
            if other != index:
                weight = product(product(weight, other), inverse(other ^ index))
        secret = bytes(a ^ product(b, weight) for a, b in zip(secret, share))
    return secret


def product(a, b):
    result = 0
    while b:
        if b & 1:
            result ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return result


def inverse(a):
    return next(b for b in range(1, 256) if product(a, b) == 1)


def main():
    if len(sys.argv) < 3 or len(sys.argv) % 2 == 0:
        sys.exit(__doc__)
    key = read_keys(sys.argv[1:])
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    envelope = base64.b64decode(sys.stdin.read().strip().split(":", 2)[2])
    token = jwe.JWE()
    token.deserialize(envelope.decode(), jwk.JWK.from_pem(pem))  # tries every recipient
    sys.stdout.buffer.write(token.payload)


if __name__ == "__main__":
    main()
