#!/usr/bin/env python3
"""Opens a ciphertext that needs k of n seals, without Selkie: `pip install jwcrypto`, nothing else.

    quorum.py [--associated-data FILE] [--context FILE] CIPHERTEXT SEAL=KEY SEAL=KEY ...

CIPHERTEXT is a file with `vault:v1:...`, as the client stored it. SEAL is the name in the recipient's
header, KEY a file: a private key in PEM, or the 32 bytes of a static seal's key. Where the key cannot
leave its KMS, let the KMS unwrap that recipient's `encrypted_key`, and give the 32 bytes that it
returns as SEAL:share=FILE. The plaintext goes to standard output.
"""

import argparse
import base64
import functools
import hashlib
import hmac
import json
import pathlib
import sys

from jwcrypto import jwe, jwk
from jwcrypto.common import base64url_decode, base64url_encode
from jwcrypto.jwa import JWA


def times(a, b):
    """a * b in GF(2^8), modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def inverse(a):
    return functools.reduce(times, [a] * 254)


def combine(shares):
    """The DEK from {index: share}: the polynomial's value at 0, byte by byte."""
    dek = bytes(32)
    for i, share in shares.items():
        others = (times(j, inverse(i ^ j)) for j in shares if j != i)
        weight = functools.reduce(times, others, 1)
        dek = bytes(sum_ ^ times(byte, weight) for sum_, byte in zip(dek, share))
    return dek


def unwrap(recipient, key):
    """What `key`, a JWK, unwraps of the recipient: its share."""
    wrapped = base64url_decode(recipient["encrypted_key"])
    header = recipient["header"]
    return JWA.keymgmt_alg(header["alg"]).unwrap(key, 256, wrapped, header)


def verify(envelope, recipient, share):
    """Whether it is the share that was wrapped, by its mark."""
    needed = json.loads(base64url_decode(envelope["protected"]))["selkie"]["quorum"]
    mark = recipient["header"]["share"]
    message = b"selkie share\0" + bytes([needed, mark["index"]]) + base64url_decode(envelope["iv"])
    mac = hmac.digest(share, message, hashlib.sha256)
    return hmac.compare_digest(base64url_encode(mac), mark["mac"])


def open_quorum(envelope, shares, aad=None):
    """The plaintext, with {seal: share}; needs as many as the envelope's quorum says."""
    needed = json.loads(base64url_decode(envelope["protected"]))["selkie"]["quorum"]
    right = {}
    for recipient in envelope["recipients"]:
        share = shares.get(recipient["header"]["seal"])
        if share is not None and verify(envelope, recipient, share):
            right[recipient["header"]["share"]["index"]] = share
    if len(right) < needed:
        raise ValueError(f"{len(right)} right shares of the {needed} that are needed")
    dek = combine(dict(list(right.items())[:needed]))
    standard = dict(envelope, recipients=[{"header": {"alg": "dir"}}])
    if aad is not None:
        standard["aad"] = base64url_encode(aad)
    token = jwe.JWE()
    token.deserialize(json.dumps(standard), jwk.JWK(kty="oct", k=base64url_encode(dek)))
    return token.payload


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--associated-data", type=pathlib.Path)
    parser.add_argument("--context", type=pathlib.Path)
    parser.add_argument("ciphertext", type=pathlib.Path)
    parser.add_argument("keys", nargs="+")
    given = parser.parse_args()
    envelope = json.loads(base64.b64decode(given.ciphertext.read_text().split(":", 2)[2]))
    recipients = {one["header"]["seal"]: one for one in envelope["recipients"]}
    shares = {}
    for name, _, path in (key.partition("=") for key in given.keys):
        seal, _, is_share = name.partition(":")
        content = pathlib.Path(path).read_bytes()
        if is_share:
            shares[seal] = content
        elif content.startswith(b"-----"):
            shares[seal] = unwrap(recipients[seal], jwk.JWK.from_pem(content))
        else:
            key = jwk.JWK(kty="oct", k=base64url_encode(content))
            shares[seal] = unwrap(recipients[seal], key)
    bound = {"associated_data": given.associated_data, "context": given.context}
    parts = {name: base64url_encode(path.read_bytes()) for name, path in bound.items() if path}
    aad = json.dumps(parts, separators=(",", ":")).encode() if parts else None
    sys.stdout.buffer.write(open_quorum(envelope, shares, aad))


if __name__ == "__main__":
    main()
