#!/usr/bin/env python3
"""Verifies an audit log: its checkpoint, every entry, every tile, and proofs. Python 3 and nothing else.

Written from the specifications alone, and sharing nothing with the program whose log it reads:
RFC 6962 (Merkle tree), RFC 8032 (Ed25519), RFC 6901 (JSON Pointer), RFC 9562 (UUIDs), and C2SP signed-note,
tlog-checkpoint, tlog-cosignature, tlog-tiles and tlog-proof (https://c2sp.org).

    verify.py SOURCE --key VKEY_OR_FILE [--since CHECKPOINT] [--consistency PROOF] [--witness VKEY_OR_FILE]
    verify.py --key VKEY_OR_FILE --proof FILE --entry FILE

SOURCE is a folder with `checkpoint` and `tile/`, or the URL below which they are served. Exit code 0: the log is whole.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import stat
import sys
import urllib.error
import urllib.request


class Refused(Exception):
    """What is wrong, in a sentence."""


# --- RFC 8032: Ed25519 -----------------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def recover_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P != 0:
        return None
    return P - x if x & 1 != sign else x


def point(octets):
    y = int.from_bytes(octets, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, p):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, p)
        p = add(p, p)
        scalar >>= 1
    return result


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def ed25519_verifies(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = point(public), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    same_x = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- RFC 4648 --------------------------------------------------------------------------------------------------------


def unbase64(text):
    """The octets, or None. One octet sequence has one text."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if base64.b64encode(octets).decode() == text else None


def base64_of(octets):
    return base64.b64encode(octets).decode()


# --- RFC 6962: the Merkle tree ---------------------------------------------------------------------------------------


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_hash(hashes):
    """MTH of section 2.1 over hashes that already are those of leaves, or of complete subtrees of one height."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(tree_hash(hashes[:split]), tree_hash(hashes[split:]))


def verify_inclusion(index, size, leaf, proof, root):
    """RFC 9162, section 2.1.3.2, which says how to check the proofs of RFC 6962."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def verify_consistency(first, second, proof, first_root, second_root):
    """RFC 9162, section 2.1.4.2."""
    if first > second:
        return False
    if first == 0 or first == second:
        same = first_root == second_root if first else first_root == tree_hash([])
        return not proof and same
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


# --- C2SP signed-note, tlog-checkpoint, tlog-cosignature -------------------------------------------------------------


class Key:
    """A verifier key."""

    def __init__(self, text):
        parts = text.strip().split("+", 2)
        material = unbase64(parts[2]) if len(parts) == 3 else None
        if not material or not is_key_name(parts[0]):
            raise Refused(f"`{text.strip()}` is no verifier key")
        self.name, self.kind, self.public = parts[0], material[0], material[1:]
        self.text = text.strip()
        self.id = hashlib.sha256(self.name.encode() + b"\n" + material).digest()[:4]
        if self.id.hex() != parts[1] or len(self.public) != 32:
            raise Refused(f"`{text.strip()}` is no verifier key: its parts do not belong together")


def is_key_name(name):
    return name != "" and "+" not in name and not any(c.isspace() for c in name)


def note_of(octets, what):
    """Text and signatures of a signed note."""
    try:
        note = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{what} is not UTF-8") from None
    if any(c < " " and c != "\n" for c in note):
        raise Refused(f"{what} has control characters")
    text, empty, lines = note.rpartition("\n\n")
    if not empty or not lines.endswith("\n"):
        raise Refused(f"{what} is no signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        match = re.fullmatch(r"— ([^ ]+) ([^ ]+)", line)
        signature = unbase64(match[2]) if match else None
        if not signature or len(signature) < 5 or not is_key_name(match[1]):
            raise Refused(f"{what} has a signature line that is none")
        signatures.append((match[1], signature[:4], signature[4:]))
    return text + "\n", signatures


def verify_note(text, signatures, key, what):
    """Returns the time of a cosignature; 0 for a log's own signature."""
    time = None
    for name, key_id, signature in signatures:
        if (name, key_id) != (key.name, key.id):
            continue
        message, time = text.encode(), 0
        if key.kind == 4:
            if len(signature) < 8:
                raise Refused(f"{what}: the cosignature of `{key.name}` is too short")
            time = int.from_bytes(signature[:8], "big")
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
            signature = signature[8:]
        if time >= 2**63 or not ed25519_verifies(key.public, message, signature):
            raise Refused(f"{what}: the signature of `{key.name}` does not verify")
    if time is None:
        raise Refused(f"{what} has no signature of `{key.name}`")
    return time


def checkpoint_of(octets, key, what):
    """Size, root, text and signatures of a checkpoint that the log signed."""
    text, signatures = note_of(octets, what)
    lines = text[:-1].split("\n")
    if len(lines) < 3 or "" in lines:
        raise Refused(f"{what} has not the lines of a checkpoint")
    if lines[0] != key.name:
        raise Refused(f"{what} is of `{lines[0]}`, the key is that of `{key.name}`")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]) or int(lines[1]) >= 2**63:
        raise Refused(f"{what} has a size that is no number")
    root = unbase64(lines[2])
    if root is None or len(root) != 32:
        raise Refused(f"{what} has a root that is none")
    verify_note(text, signatures, key, what)
    return int(lines[1]), root, text, signatures


# --- Entries ---------------------------------------------------------------------------------------------------------

TEXT, INTEGER, BOOLEAN, OBJECT, TEXTS, TEXT_MAP, ID = "text", "integer", "boolean", "object", "texts", "text map", "id"
COUNT, NAMES, KEYS = "count", "names of a policy", "keys of an issuer"

DECISION = {
    "decision_id": ID, "outcome": TEXT, "reason": TEXT, "issuer": TEXT, "verified": BOOLEAN, "unverified_issuer": TEXT,
    "subject": TEXT, "claims": OBJECT, "audience": TEXT, "project": TEXT, "project_id": TEXT, "policy_digest": TEXT,
    "guard_rails_digest": TEXT, "trust": TEXTS, "nearest": TEXT, "denied_by": TEXT, "shadow_trust": TEXTS, "shadow_denies": TEXTS,
    "renamed": TEXTS, "scopes": TEXTS, "resource": TEXT, "token_id": ID, "token_expires": INTEGER,
    "use_number": INTEGER, "repository": TEXT, "run_id": TEXT, "client_address": TEXT, "user_agent": TEXT,
}
REQUIRED_OF_DECISIONS = ["decision_id", "outcome", "verified", "audience"]
REQUIRED_OF_ALLOWED = ["issuer", "subject", "project", "project_id", "token_id", "token_expires"]
REQUIRED_OF_DENIED = ["reason", "explanation"]
# What an event of each kind must have, and what it may have.
EVENTS = {
    "log-named": ({"origin": TEXT, "key": TEXT}, {}),
    "pin-made": ({"names": NAMES, "ids": TEXT_MAP, "decision_id": ID}, {}),
    "pin-reset": ({"names": NAMES, "ids": TEXT_MAP, "by": TEXT}, {}),
    "denials-counted": ({"issuer": TEXT, "reason": TEXT, "hour_millis": INTEGER, "count": COUNT}, {}),
    "policy-loaded": (
        {"file": TEXT, "organization": TEXT, "digest": TEXT},
        {"project": TEXT, "project_id": TEXT, "before": TEXT, "added": TEXTS, "removed": TEXTS, "changed": TEXTS},
    ),
    "policy-refused": ({"file": TEXT, "message": TEXT}, {"digest": TEXT, "in_force": TEXT}),
    "policy-removed": ({"file": TEXT}, {"before": TEXT}),
    "configuration-loaded": ({"program": TEXT, "digest": TEXT, "settings": OBJECT}, {"before": TEXT}),
    "signing-key-made": (
        {"key_id": TEXT, "algorithm": TEXT, "signs_from_millis": INTEGER, "public_key": OBJECT}, {},
    ),
    "signing-key-retired": ({"key_id": TEXT}, {}),
    "issuer-keys-changed": ({"issuer": TEXT, "added": KEYS, "removed": KEYS}, {}),
    "personal-values-removed": ({"until": COUNT}, {}),
    "clock-put-back": ({"before_millis": INTEGER}, {}),
}
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_of(value, kind):
    if kind == TEXT:
        return isinstance(value, str)
    if kind == ID:
        return isinstance(value, str) and UUID7.fullmatch(value) is not None
    if kind == INTEGER:
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if kind == COUNT:
        return is_of(value, INTEGER) and value >= 0
    if kind == NAMES:
        has_texts = isinstance(value, dict) and all(is_of(value.get(name), TEXT) for name in ("project", "issuer"))
        return has_texts and is_of(value.get("names"), TEXT_MAP)
    if kind == KEYS:
        texts = ("key_id", "sha256")
        return isinstance(value, list) and all(
            isinstance(one, dict) and all(is_of(one.get(name), TEXT) for name in texts) for one in value
        )
    if kind == BOOLEAN:
        return isinstance(value, bool)
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind == TEXT_MAP:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return isinstance(value, dict)


def once(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return members


def no_constant(text):
    raise ValueError(f"{text} is no JSON")


def finite(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large")
    return number


JSON = json.JSONDecoder(object_pairs_hook=once, parse_constant=no_constant, parse_float=finite)


def json_of(octets):
    text = octets.decode("utf-8")
    value = JSON.decode(text)
    if "\\u" in text:  # half of a surrogate pair is no character
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def unescaped(step):
    return step.replace("~1", "/").replace("~0", "~")


def check_entry(octets):
    """Checks one entry. Returns its time, its kind, what it withholds, and itself."""
    try:
        if not (octets.startswith(b"{") and octets.endswith(b"}")):
            raise ValueError("it is no object")
        entry = json_of(octets)
    except (ValueError, RecursionError) as fault:
        raise Refused(f"it is no JSON object: {fault}") from None
    withheld = entry.get("withheld", {})
    if not isinstance(withheld, dict) or ("withheld" in entry and not withheld):
        raise Refused("`withheld` is no object, or an empty one")
    for pointer, digest in withheld.items():
        digest = unbase64(digest) if isinstance(digest, str) else None
        if not re.fullmatch(r"(/([^~/]|~[01])*)+", pointer, re.DOTALL) or digest is None or len(digest) != 32:
            raise Refused(f"under `withheld`, `{pointer}` is no JSON Pointer with a digest")
        steps = pointer.split("/")[1:]
        holder = entry if len(steps) == 1 else entry.get("claims", {}) if steps[0] == "claims" else {}
        last = unescaped("/".join(steps[1:]) if len(steps) > 1 else steps[0])
        if isinstance(holder, dict) and last in holder:
            raise Refused(f"`{pointer}` is withheld and stands in the entry as well")

    def need(kinds, names):
        for name in names:
            if name not in entry and "/" + name not in withheld:
                raise Refused(f"it has no `{name}`")
        for name, kind in kinds.items():
            if name in entry and not is_of(entry[name], kind):
                raise Refused(f"its `{name}` is of the wrong type")

    common = {"version": INTEGER, "kind": TEXT, "at_millis": INTEGER}
    for name in common:
        if name not in entry:
            raise Refused(f"it has no `{name}`")
    need(common, [])
    if entry["version"] != 1:
        raise Refused(f"its version is {entry['version']}, not 1")
    kind, at = entry["kind"], entry["at_millis"]
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind):
        raise Refused("its kind is no name")
    if kind == "decision":
        name = "decision_id"
        need(DECISION, REQUIRED_OF_DECISIONS)
        if entry["outcome"] not in ("allowed", "denied"):
            raise Refused("its outcome is neither allowed nor denied")
        need({}, REQUIRED_OF_ALLOWED if entry["outcome"] == "allowed" else REQUIRED_OF_DENIED)
        if entry["outcome"] == "denied" and "/explanation" not in withheld:
            raise Refused("a denial withholds its explanation")
    else:
        name = "event_id"
        required, optional = EVENTS.get(kind, ({}, {}))
        need({"event_id": ID, **required, **optional}, ["event_id", *required])
    if name in entry and int(entry[name].replace("-", "")[:12], 16) != at:
        raise Refused(f"its `{name}` was made at another time than it says")
    if kind == "clock-put-back" and entry["before_millis"] <= at:
        raise Refused("it puts the clock back to a time that is not earlier")
    return at, kind, withheld, entry


def check_withheld(octets, withheld):
    """Checks values that were withheld: an object of {salt, json} by pointer."""
    try:
        values = json_of(octets)
        for pointer, value in values.items():
            salt = unbase64(value["salt"])
            if salt is None or len(salt) != 16:
                raise ValueError("a salt is not 16 octets")
            JSON.decode(value["json"])
            digest = hashlib.sha256(salt + value["json"].encode()).digest()
            if withheld.get(pointer) != base64_of(digest):
                raise Refused(f"the value that was withheld at `{pointer}` has another digest")
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise Refused(f"its withheld values cannot be read: {fault}") from None


class Order:
    """The order of time: at most a minute back, unless the log says that the clock was put back."""

    def __init__(self):
        self.latest = None

    def next(self, at, kind, entry):
        latest, self.latest = self.latest, at
        if latest is None:
            return
        if kind == "clock-put-back":
            if entry["before_millis"] != latest:
                raise Refused("it gives another time before than the entries before it")
            return
        self.latest = max(latest, at)
        if latest - at > 60_000:
            raise Refused(f"it is {latest - at} ms before an earlier entry, and nothing announces it")


class Said:
    """What entries say of the log as a whole."""

    def __init__(self):
        self.named, self.until = None, 0

    def next(self, index, kind, entry):
        if kind == "log-named":
            self.named = (entry.get("origin"), entry.get("key"))
        if kind == "personal-values-removed" and "until" in entry:
            if not self.until <= entry["until"] <= index:
                raise Refused("it says that withheld values were deleted of other entries than those before it")
            self.until = entry["until"]

    def check(self, key):
        if self.named is None:
            raise Refused("no entry says whose log it is")
        if self.named != (key.name, key.text):
            raise Refused(f"the last `log-named` is of `{self.named[0]}`, with the key `{self.named[1]}`")


# --- C2SP tlog-tiles -------------------------------------------------------------------------------------------------


LONGEST = 64 << 20


def whole(file, path):
    """All that is in it: more than the longest part of a log is none."""
    octets = file.read(LONGEST + 1)
    if len(octets) > LONGEST:
        raise Refused(f"`{path}` is longer than any part of a log")
    return octets


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which could lead the token to another place."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(Stay)


class Source:
    """A folder or a URL."""

    def __init__(self, name, token=None):
        self.name, self.token = name.rstrip("/"), token
        self.is_url = name.startswith(("https://", "http://"))

    def get(self, path):
        if not self.is_url:
            try:
                place = os.path.join(self.name, path)
                if not stat.S_ISREG(os.stat(place).st_mode):
                    raise Refused(f"`{path}` is no file")
                with open(place, "rb") as file:
                    return whole(file, path)
            except (FileNotFoundError, NotADirectoryError):
                return None
        request = urllib.request.Request(f"{self.name}/{path}")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with OPENER.open(request, timeout=60) as answer:
                return whole(answer, path)
        except urllib.error.HTTPError as fault:
            if fault.code == 404:
                return None
            raise Refused(f"`{path}` is answered with {fault.code}") from None

    def tile(self, kind, number, width):
        """The octets of a tile or bundle, and how wide it is: the full one may stand for a partial one."""
        path, rest = f"{number % 1000:03}", number // 1000
        while rest:
            path, rest = f"x{rest % 1000:03}/{path}", rest // 1000
        path = f"tile/{kind}/{path}"
        octets = self.get(path if width == 256 else f"{path}.p/{width}")
        if octets is None and width < 256:
            octets, width = self.get(path), 256
        if octets is None:
            raise Refused(f"`{path}` is missing")
        return octets, width, path


def hash_tile(source, level, number, width):
    octets, whole, path = source.tile(level, number, width)
    if len(octets) != 32 * whole:
        raise Refused(f"`{path}` has {len(octets)} octets, not {32 * whole}")
    return [octets[at : at + 32] for at in range(0, 32 * width, 32)]


def bundle(source, number, width):
    octets, whole, path = source.tile("entries", number, width)
    entries, at = [], 0
    for _ in range(whole):
        length = int.from_bytes(octets[at : at + 2], "big")
        if at + 2 + length > len(octets) or at + 2 > len(octets):
            raise Refused(f"`{path}` ends within entry {number * 256 + len(entries)}")
        entries.append(octets[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(octets):
        raise Refused(f"`{path}` goes on after its last entry")
    return entries[:width]


def widths(count):
    """Number and width of each tile of a level with so many hashes."""
    return [(at // 256, min(256, count - at)) for at in range(0, count, 256)]


class Log:
    """Reads a whole log and recomputes its tree."""

    def __init__(self, source, size):
        self.source, self.size = source, size
        self.levels = [[]]
        self.faults = []
        order, self.said = Order(), Said()
        discloses = not source.is_url and os.path.isdir(os.path.join(source.name, "withheld"))
        for number, width in widths(size):
            stored = self.tried(lambda n=number, w=width: hash_tile(source, 0, n, w))
            entries = self.tried(lambda n=number, w=width: bundle(source, n, w))
            for at, entry in enumerate(entries or []):
                index = number * 256 + at
                found = leaf_hash(entry)
                self.levels[0].append(found)
                if stored and stored[at] != found:
                    self.faults.append(f"entry {index} and its hash in the tree disagree")
                self.tried(lambda i=index, e=entry: self.entry(i, e, order, discloses), f"entry {index}: ")
            if len(self.faults) > 20:
                return
        level = 1
        while size >> (8 * level):
            below = self.levels[-1]
            full = [tree_hash(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)]
            self.levels.append(full)
            for number, width in widths(size >> (8 * level)):
                stored = self.tried(lambda n=number, w=width, lv=level: hash_tile(source, lv, n, w))
                for at, found in enumerate(stored or []):
                    if full[number * 256 + at : number * 256 + at + 1] != [found]:
                        place = f"hash {number * 256 + at} of level {level}"
                        self.faults.append(f"{place} is not that of what stands below it")
            level += 1

    def tried(self, check, place=""):
        try:
            return check()
        except Refused as fault:
            self.faults.append(f"{place}{fault}")
            return None

    def entry(self, index, octets, order, discloses):
        at, kind, withheld, entry = check_entry(octets)
        order.next(at, kind, entry)
        self.said.next(index, kind, entry)
        values = self.source.get(f"withheld/{index}.json") if discloses else None
        if values is not None:
            check_withheld(values, withheld)

    def root(self, size):
        """The root of the first entries."""
        leaves = self.levels[0]
        if len(leaves) < size:
            raise Refused("entries are missing, so there is no root")
        # Section 2.1 splits a tree at the largest power of two, so the hashes of full tiles may stand for their leaves.
        ones = self.levels[1] if len(self.levels) > 1 else []
        return self.subtree(0, size, leaves, ones)

    def subtree(self, first, last, leaves, ones):
        count = last - first
        if count == 256 and first % 256 == 0 and first // 256 < len(ones):
            return ones[first // 256]
        if count <= 256:
            return tree_hash(leaves[first:last])
        split = 256
        while split * 2 < count:
            split *= 2
        left = self.subtree(first, first + split, leaves, ones)
        return node_hash(left, self.subtree(first + split, last, leaves, ones))


def verify_log(source, key, since, consistency, witnesses):
    octets = source.get("checkpoint")
    if octets is None:
        raise Refused("there is no checkpoint")
    size, root, _, _ = checkpoint_of(octets, key, "the checkpoint")
    log = Log(source, size)
    if log.faults:
        raise Refused("\n".join(log.faults[:20]))
    if size:
        log.said.check(key)
    found = log.root(size)
    if found != root:
        raise Refused(f"the tree of {size} entries has the root {base64_of(found)}, the checkpoint says {base64_of(root)}")
    if since is not None:
        before, before_root, _, _ = checkpoint_of(since, key, "the earlier checkpoint")
        if before > size:
            raise Refused(f"the log has {size} entries, it had {before} before")
        if log.root(before) != before_root:
            raise Refused(f"the first {before} entries are not those of the earlier checkpoint: these are two logs")
        if consistency is not None:
            proof = hashes_of(consistency.decode().split(), "the consistency proof")
            if not verify_consistency(before, size, proof, before_root, root):
                raise Refused("the consistency proof does not hold")
    for witness in witnesses:
        text, signatures = note_of(octets, "the checkpoint")
        if not any((name, key_id) == (witness.name, witness.id) for name, key_id, _ in signatures):
            cosigned = source.get("cosigned-checkpoint")
            if cosigned is None:
                raise Refused(f"`{witness.name}` has not cosigned the checkpoint")
            seen, seen_root, text, signatures = checkpoint_of(cosigned, key, "the cosigned checkpoint")
            if seen > size or log.root(seen) != seen_root:
                raise Refused(f"`{witness.name}` cosigned another log")
        verify_note(text, signatures, witness, "the checkpoint")
    return f"whole: {size} entries of {key.name}, root {base64_of(root)}"


# --- C2SP tlog-proof -------------------------------------------------------------------------------------------------


def hashes_of(lines, what):
    hashes = [unbase64(line) for line in lines]
    if any(one is None or len(one) != 32 for one in hashes):
        raise Refused(f"{what} has a line that is no hash")
    return hashes


def verify_proof(proof, entry, key):
    head, empty, checkpoint = proof.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if not empty or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Refused("the proof has not the form of tlog-proof")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)
    match = re.fullmatch(r"index (0|[1-9][0-9]*)", lines.pop(0)) if lines else None
    if not match:
        raise Refused("the proof has no index")
    size, root, _, _ = checkpoint_of(checkpoint, key, "the checkpoint of the proof")
    index = int(match[1])
    if not verify_inclusion(index, size, leaf_hash(entry), hashes_of(lines, "the proof"), root):
        raise Refused("the proof does not hold for this entry")
    check_entry(entry)
    return f"proven: the entry is number {index} of the {size} that {key.name} has signed"


# ---------------------------------------------------------------------------------------------------------------------


def read(path):
    with open(path, "rb") as file:
        return file.read()


def key_of(text):
    return Key(read(text).decode() if os.path.exists(text) else text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", nargs="?")
    parser.add_argument("--key", required=True)
    parser.add_argument("--since")
    parser.add_argument("--consistency")
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--proof")
    parser.add_argument("--entry")
    parser.add_argument("--token-file")
    given = parser.parse_args()
    if not (given.source or given.proof) or bool(given.proof) != bool(given.entry):
        parser.error("give a SOURCE, or --proof with --entry, or both")
    try:
        key = key_of(given.key)
        if given.source:
            token = read(given.token_file).decode().strip() if given.token_file else None
            since = read(given.since) if given.since else None
            consistency = read(given.consistency) if given.consistency else None
            witnesses = [key_of(one) for one in given.witness]
            print(verify_log(Source(given.source, token), key, since, consistency, witnesses))
        if given.proof:
            print(verify_proof(read(given.proof), read(given.entry), key))
    except Refused as fault:
        print(f"refused: {fault}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
