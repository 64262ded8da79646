#!/usr/bin/env python3
"""Selkie's envelope against jwcrypto, an implementation of JOSE by other people.

EMERGENCY: opening a ciphertext without Selkie, with the master key and `pip install jwcrypto` only

    import base64, json
    from jwcrypto import jwe, jwk
    from jwcrypto.common import base64url_encode

    ciphertext = "vault:v1:..."                                       # as the client stored it
    envelope = json.loads(base64.b64decode(ciphertext.split(":", 2)[2]))
    # Only if the client sent associated_data or a context (leave out the one that it did not send):
    # envelope["aad"] = base64url_encode(json.dumps({
    #     "associated_data": base64url_encode(b"..."), "context": base64url_encode(b"..."),
    # }, separators=(",", ":")))
    key = jwk.JWK(kty="oct", k=base64url_encode(open("kek.bin", "rb").read()))   # a static seal
    # key = jwk.JWK.from_pem(open("private.pem", "rb").read())                   # an RSA master key
    # key = jwk.JWK.from_pem(open("break-glass.pem", "rb").read(), b"passphrase")
    token = jwe.JWE()
    token.deserialize(json.dumps(envelope), key)                      # tries every recipient
    print(token.payload)

A quorum (`"quorum"` in the protected header) opens with quorum.py. Where the RSA key cannot leave its KMS, let the KMS unwrap the `encrypted_key` of the recipient
whose `kid` is that key (RSA-OAEP-256), and open with what it returns:

    envelope["recipients"] = [{"header": {"alg": "dir"}}]
    key = jwk.JWK(kty="oct", k=base64url_encode(dek))

jwcrypto takes an empty plaintext for a failure, and knows nothing of `commitment` and `origin`.

USAGE, for tests: everything passes in the clear, bytes in hexadecimal
    interop.py open < request.json      {"envelope": TEXT, KEY, BINDING}
        -> {"plaintext": HEX, "origin": "good" | "unchecked"}
    interop.py make < request.json      {"header": {...}, "plaintext": HEX,
                                         "recipients": [{"seal", "kid", KEY}, ..], BINDING}
        -> {"envelope": TEXT}           with "dek": HEX and "encrypted_key": HEX instead of KEY:
                                        what somebody else has wrapped, by A256KW or "alg"
    interop.py kit FILE                 every case of Selkie's test kit, crypto/testkit
    interop.py cross PROGRAM            all combinations, both ways, with PROGRAM on Selkie's side:
                                        crypto/examples/envelope.rs, which documents KEY and BINDING
        "open" also takes "dek": HEX as KEY
Exit status 1, with the reason on standard error, where something does not hold.
"""

import functools
import hashlib
import hmac
import itertools
import json
import subprocess
import sys

from jwcrypto import jwe, jwk
from jwcrypto.common import base64url_decode, base64url_encode

import quorum


def spell(value):
    """The one spelling: members in alphabetical order, no white space, UTF-8 unescaped."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def mac(key, label, text):
    message = label.encode() + b"\0" + text.encode()
    return base64url_encode(hmac.digest(key, message, hashlib.sha256))


def octets(key):
    return jwk.JWK(kty="oct", k=base64url_encode(key))


def jose_key(fields):
    """The key among `fields`, with the `alg` that it is used with."""
    if "kek" in fields:
        return octets(bytes.fromhex(fields["kek"])), "A256KW"
    if "gcm_kek" in fields:
        return octets(bytes.fromhex(fields["gcm_kek"])), "A256GCMKW"
    if "dek" in fields:
        return octets(bytes.fromhex(fields["dek"])), "dir"
    if "ec_private_pem" in fields or "ec_public_pem" in fields:
        pem = fields.get("ec_private_pem") or fields["ec_public_pem"]
        return pem_key(pem), "ECDH-ES+A256KW"
    pem = fields.get("rsa_private_pem") or fields["rsa_public_pem"]
    return pem_key(pem), "RSA-OAEP-256"


@functools.cache
def pem_key(pem):
    """Kept, because checking a private key takes a tenth of a second."""
    return jwk.JWK.from_pem(pem.encode())


def associated(request):
    """The JWE `aad`, or None where the client sent neither part."""
    parts = {
        name: base64url_encode(bytes.fromhex(request[name]))
        for name in ("associated_data", "context")
        if request.get(name)
    }
    return spell(parts) if parts else None


class Refused(Exception):
    """Something does not hold; says what."""


def demand(holds, reason):
    if not holds:
        raise Refused(reason)


def open_envelope(request):
    envelope = json.loads(request["envelope"])
    demand(spell(envelope) == request["envelope"], "not in the one spelling")
    if "shares" in request:
        request = {**request, "dek": combined(envelope, request["shares"])}
    token = open_token(envelope, associated(request), *jose_key(request))
    verify_commitment(envelope, token.cek)
    origin = verify_origin(envelope, request.get("origin_key"))
    return {"plaintext": token.payload.hex(), "origin": origin}


def combined(envelope, shares):
    """The DEK in hexadecimal, from the recipients' shares."""
    right = {}
    for share in shares:
        recipient = envelope["recipients"][share["recipient"]]
        secret = quorum.unwrap(recipient, jose_key(share)[0])
        demand(quorum.verify(envelope, recipient, secret), "a wrong share")
        right[recipient["header"]["share"]["index"]] = secret
    protected = json.loads(base64url_decode(envelope["protected"]))
    demand(len(right) == protected["selkie"]["quorum"], "not as many shares as the quorum says")
    return quorum.combine(right).hex()


def open_token(envelope, aad, key, algorithm):
    """The emergency recipe."""
    standard = dict(envelope)
    if aad is not None:
        standard["aad"] = base64url_encode(aad)
    if algorithm == "dir":
        standard["recipients"] = [{"header": {"alg": "dir"}}]
    token = jwe.JWE()
    try:
        token.deserialize(json.dumps(standard), key)
    except jwe.InvalidJWEData as error:
        raise Refused(f"jwcrypto: {error}") from error
    return token


def verify_commitment(envelope, dek):
    text = base64url_decode(envelope["protected"]).decode()
    protected = json.loads(text)
    demand(spell(protected) == text, "protected header not in the one spelling")
    expected = mac(dek, "selkie commitment", spell(envelope["recipients"]))
    demand(protected["selkie"]["commitment"] == expected, "commitment")


def verify_origin(envelope, origin_key):
    if origin_key is None:
        return "unchecked"
    unsigned = {name: value for name, value in envelope.items() if name != "unprotected"}
    expected = mac(bytes.fromhex(origin_key), "selkie origin", spell(unsigned))
    demand(envelope.get("unprotected") == {"origin": expected}, "origin")
    return "good"


def make_envelope(request):
    if "dek" in request:
        dek, recipients = bytes.fromhex(request["dek"]), wrapped(request["recipients"])
    else:
        dek, recipients = wrap(request["recipients"])
    commitment = mac(dek, "selkie commitment", spell(recipients))
    selkie = {**request["header"], "commitment": commitment, "format": 1}
    protected = spell({"enc": "A256GCM", "selkie": selkie})
    token = jwe.JWE(bytes.fromhex(request["plaintext"]), protected, aad=associated(request))
    token.add_recipient(octets(dek), {"alg": "dir"})
    made = json.loads(token.serialize())
    envelope = {name: made[name] for name in ("ciphertext", "iv", "protected", "tag")}
    envelope["recipients"] = recipients
    if request.get("origin_key"):
        origin_key = bytes.fromhex(request["origin_key"])
        envelope["unprotected"] = {"origin": mac(origin_key, "selkie origin", spell(envelope))}
    return {"envelope": spell(envelope)}


def wrapped(recipients):
    """What somebody else has wrapped, by A256KW unless an `alg` is named."""
    return [
        {
            "encrypted_key": base64url_encode(bytes.fromhex(recipient["encrypted_key"])),
            "header": {
                "alg": recipient.get("alg", "A256KW"),
                "kid": recipient["kid"],
                "seal": recipient["seal"],
            },
        }
        for recipient in recipients
    ]


def wrap(recipients):
    """A new DEK, and it wrapped for each of `recipients`.

    jwcrypto has no key wrap by itself: it is taken from a token whose content is thrown away.
    """
    token = jwe.JWE(b"", {"enc": "A256GCM"}, flattened=False)
    for recipient in recipients:
        key, algorithm = jose_key(recipient)
        header = {"alg": algorithm, "kid": recipient["kid"], "seal": recipient["seal"]}
        token.add_recipient(key, header)
    return token.cek, json.loads(token.serialize())["recipients"]


# The cross check.

HEADER = {
    "purpose": "client",
    "realm": 'prod "eu" \\ \u00fc \u2028 \x01\x7f \U0001f512',
    "mount": "team/transit",
    "key": "unseal",
    "version": 3,
    "created": 1764000000,
}
PLAINTEXTS = [bytes(range(length % 256)) * (length // 256) + bytes(length % 256)
              for length in (1, 32, 1000)]
BINDINGS = [
    {},
    {"associated_data": b"vault-1".hex()},
    {"context": b"ctx".hex()},
    {"associated_data": bytes(range(256)).hex(), "context": b"c".hex()},
]
ORIGINS = [{}, {"origin_key": (b"\x09" * 32).hex()}]


def key_pair(kind, **parameters):
    key = jwk.JWK.generate(**parameters)
    private = key.export_to_pem(private_key=True, password=None).decode()
    public = key.export_to_pem().decode()
    return {f"{kind}_public_pem": public}, {f"{kind}_private_pem": private}


def sets_of_recipients():
    """Name -> [(key that makes, key that opens)]."""
    one, two = ({"kek": (bytes([fill]) * 32).hex()} for fill in (1, 2))
    gcm = {"gcm_kek": (b"\x03" * 32).hex()}
    small, middle, large = (key_pair("rsa", kty="RSA", size=bits) for bits in (2048, 3072, 4096))
    p256, x25519 = key_pair("ec", kty="EC", crv="P-256"), key_pair("ec", kty="OKP", crv="X25519")
    return {
        "A256KW": [(one, one)],
        "A256KW x 2": [(one, one), (two, two)],
        "RSA-OAEP-256 (2048)": [small],
        "RSA-OAEP-256 (3072)": [middle],
        "RSA-OAEP-256 (4096)": [large],
        "A256KW + RSA x 2": [(one, one), small, middle],
        "A256GCMKW": [(gcm, gcm)],
        "ECDH-ES+A256KW (P-256)": [p256],
        "ECDH-ES+A256KW (X25519)": [x25519],
        "one of each": [(one, one), small, (gcm, gcm), p256, x25519],
    }


def selkie(program):
    """Selkie's `make`, `open` and `protect`."""
    def call(command, request):
        text = json.dumps(request).encode()
        done = subprocess.run([program, command], input=text, capture_output=True)
        if done.returncode == 1:
            raise Refused(done.stderr.decode())
        done.check_returncode()
        return json.loads(done.stdout)
    return [functools.partial(call, command) for command in ("make", "open", "protect")]


PRIVATE_KEYS = ("kek", "gcm_kek", "rsa_private_pem", "ec_private_pem")


def open_twice(request):
    """Opens with the master key, then once more with the DEK alone, as after a KMS's unwrap."""
    reply = open_envelope(request)
    token = open_token(json.loads(request["envelope"]), associated(request), *jose_key(request))
    again = open_envelope({name: value for name, value in request.items()
                           if name not in PRIVATE_KEYS} | {"dek": token.cek.hex()})
    demand(again == reply, "the DEK opens something else")
    return reply


def cross(program):
    selkie_makes, selkie_opens, selkie_protects = selkie(program)
    protected_keys(selkie_protects)
    sets = sets_of_recipients()
    failures = 0
    for direction, make, opens in (
        ("Selkie makes, jwcrypto opens", selkie_makes, open_twice),
        ("jwcrypto makes, Selkie opens", make_envelope, selkie_opens),
    ):
        for name, keys in sets.items():
            opened, refused, wrong = cross_set(make, opens, keys)
            failures += len(wrong)
            print(f"{direction}  {name:23} opened {opened:3}  refused as it must {refused:3}"
                  f"  wrong {len(wrong)}")
            for what in wrong:
                print(f"  WRONG: {what}")
    cross_quorums(selkie_makes, (("quorum.py", open_envelope), ("Selkie", selkie_opens)))
    demand(failures == 0, f"{failures} combinations went wrong")


def cross_set(make, opens, keys):
    opened, refused, wrong = 0, 0, []
    recipients = [
        {"seal": f"s{index}", "kid": f"https://kms/keys/{index}", **making}
        for index, (making, _) in enumerate(keys)
    ]
    for number, (binding, origin) in enumerate((b, o) for b in BINDINGS for o in ORIGINS):
        plaintext = PLAINTEXTS[number % len(PLAINTEXTS)].hex()
        request = {"header": HEADER, "plaintext": plaintext, "recipients": recipients}
        made = make({**request, **binding, **origin})
        for index, (_, key) in enumerate(keys):
            where = f"recipient {index} {binding} {origin}"
            right = {"header": HEADER, "recipient": index, **made, **key, **binding, **origin}
            try:
                demand(opens(right)["plaintext"] == plaintext, "another plaintext")
                opened += 1
            except Refused as reason:
                wrong.append(f"not opened: {where}: {reason}")
            for change in wrong_requests(right):
                try:
                    opens({**right, **change})
                    wrong.append(f"opened: {where} with {change}")
                except Refused:
                    refused += 1
    return opened, refused, wrong


def cross_quorums(make, openers):
    """Every subset of k of n recipients of every kind opens; one fewer does not."""
    keys = sets_of_recipients()["one of each"]
    recipients = [
        {"seal": f"s{index}", "kid": f"https://kms/keys/{index}", **making}
        for index, (making, _) in enumerate(keys)
    ]
    for needed in range(2, len(keys) + 1):
        request = {"header": HEADER, "plaintext": PLAINTEXTS[1].hex(), "recipients": recipients}
        made = make({**request, "quorum": needed, **BINDINGS[3], **ORIGINS[1]})
        request = {"header": HEADER, **made, **BINDINGS[3], **ORIGINS[1]}
        for who, opens in openers:
            opened = 0
            for subset in itertools.combinations(range(len(keys)), needed):
                shares = [{"recipient": index, **keys[index][1]} for index in subset]
                plaintext = opens({**request, "shares": shares})["plaintext"]
                demand(plaintext == PLAINTEXTS[1].hex(), "another plaintext")
                opened += 1
                try:
                    opens({**request, "shares": shares[1:]})
                except Refused:
                    continue
                raise Refused(f"{who} opened with {needed - 1} of {needed} shares")
            print(f"Selkie makes, {who} opens  {needed} of {len(keys)}  opened {opened:3}")


def protected_keys(protect):
    """jwcrypto reads the private keys that Selkie protected."""
    for parameters in ({"kty": "EC", "crv": "P-256"}, {"kty": "OKP", "crv": "X25519"}):
        key = jwk.JWK.generate(**parameters)
        pem = key.export_to_pem(private_key=True, password=None).decode()
        reply = protect({"ec_private_pem": pem, "passphrase": "correct horse"})
        read = jwk.JWK.from_pem(reply["protected"].encode(), password=b"correct horse")
        demand(read.thumbprint() == key.thumbprint(), "another key")
        print(f"Selkie protects, jwcrypto reads  {parameters['crv']}")


def wrong_requests(right):
    """What must not open: another binding, another origin key, a changed envelope."""
    yield {"associated_data": b"other".hex()}
    yield {"origin_key": (b"\x08" * 32).hex()}
    envelope = json.loads(right["envelope"])
    protected = base64url_decode(envelope["protected"]).decode()
    envelope["protected"] = base64url_encode(protected.replace("team/", "cave/"))
    yield {"envelope": spell(envelope)}
    envelope = json.loads(right["envelope"])
    envelope["recipients"].reverse()
    envelope["recipients"][0]["header"]["seal"] += "x"
    yield {"envelope": spell(envelope)}


# Selkie's test kit.

# Of the cases of the kit: opened here, because jwcrypto and Python's json and base64 do not mind.
BEYOND = {
    "unknown_member", "empty_unprotected", "padding", "unused_bits", "origin_misspelled",
}


def kit(path):
    """Every valid case opens, and of the others all are refused that an ordinary tool can refuse."""
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    opened, refused, beyond, wrong = 0, 0, 0, []
    for case in cases["cases"]:
        expected = case["expected"].get("plaintext")
        try:
            plaintext = open_case(cases["keys"], case)
        except Exception as reason:  # Whatever a library says of what it cannot read.
            plaintext, said = None, reason
        if expected == "":
            # jwcrypto takes an empty plaintext for a failure.
            beyond += 1
        elif expected is not None:
            opened += 1
            if plaintext != expected:
                wrong.append(f"not opened: {case['name']}: {said}")
        elif plaintext is None:
            refused += 1
        elif case["name"] in BEYOND:
            beyond += 1
        else:
            wrong.append(f"opened: {case['name']}")
    print(f"{opened} opened, {refused} refused, {beyond} beyond jwcrypto")
    demand(not wrong, "\n".join(wrong))


def open_case(keys, case):
    envelope = json.loads(case["envelope"])
    protected = json.loads(base64url_decode(envelope["protected"]))
    for name in ("purpose", "realm", "mount", "key", "version"):
        demand(protected["selkie"][name] == case["header"][name], name)
    demand(protected["selkie"]["format"] == 1, "format")
    request = {name: case[name] for name in ("envelope", "associated_data", "context")}
    if case["origin_key"]:
        request["origin_key"] = case["origin_key"]
    openers = [{"recipient": one["recipient"], **keys[one["key"]]} for one in case["openers"]]
    if "quorum" in protected["selkie"]:
        request["shares"] = openers
    else:
        request |= openers[0]
    return open_envelope(request)["plaintext"]


def main():
    match sys.argv[1:]:
        case ["open"]:
            print(json.dumps(open_envelope(json.load(sys.stdin))))
        case ["make"]:
            print(json.dumps(make_envelope(json.load(sys.stdin))))
        case ["cross", program]:
            cross(program)
        case ["kit", path]:
            kit(path)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except Refused as reason:
        sys.exit(f"refused: {reason}")
