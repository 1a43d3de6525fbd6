"""Random changes of bytes, of JSON and of arrays, as damage and malice make them; each from a generator of its own."""

import json
from random import Random

import numpy as np

TOKENS = [
    b"\x00", b"\xff", b"\x7f", b"\n", b"\r", b"\t", b",", b";", b'"', b"'", b"[", b"]", b"{", b"}", b"=", b".", b":",
    b"-", b"1e400", b"-1e400", b"9" * 400, b"nan", b"inf", b"-0", b"1e-320", b"true", b"null", b"=cmd|' /C x'!A0",
    b"+1", b"@x", b"\x1b]0;x\x07", b"\x1b[2J", "\u202e".encode(), b"\xef\xbb\xbf", b"\xed\xb2\x80", b"../../x", b"/etc/passwd",
    b"[" * 3000, b'{"a":' * 3000, b"a." * 20_000, b"a" * 70_000, b"\\u0000", b"\\ud800", b"#", b"'''", b'"""', b"1" * 5000,
    b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"2020-01-01", b"<script>", b"&",
]  # fmt: skip
"""What readers of numbers, texts and structures stumble over"""


def changed_bytes(content: bytes, random: Random) -> bytes:
    """Return bytes of which a few places are other ones."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8, 30))):
        at = random.randrange(len(data) + 1)
        # Heads of files are small, and most of what may break is there.
        at = min(at, random.randrange(512)) if random.random() < 0.3 else at
        length = random.choice((1, 1, 2, 4, 8, 64, 512))
        kind = random.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at : at + length] = random.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = random.choice(TOKENS)
        elif kind == 4:
            token = random.choice(TOKENS)
            data[at : at + len(token)] = token
        elif kind == 5:
            data[at:at] = data[at : at + length] * random.choice((1, 2, 50))
        elif kind == 6 and random.random() < 0.3:
            del data[at:]
        else:
            other = random.randrange(len(data) + 1)
            data[at : at + length] = data[other : other + length]
    return bytes(data)


MARKS = {
    '"@deep@"': "[" * 5000 + "]" * 5000,
    '"@tables@"': '{"a":' * 5000 + "1" + "}" * 5000,
    '"@huge@"': "9" * 400,
    '"@long@"': "1" * 5000,
    '"@over@"': "1e400",
    '"@nan@"': "NaN",
    '"@inf@"': "-Infinity",
    '"@alone@"': '"\\ud800"',
}
"""What json.dumps does not write"""
VALUES = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**53, 2**63, -(2**63), 0.5, -0.5, 1e-320, 1e308, -1e308, "", "a", "x1", "\x00",
    "\x1b]0;x\x07", "\u202ex", "../../x", "/etc/passwd", "a" * 20_000, "full", "float32", "NON_FINITE", [], {}, [[]], [{}], [1, 2, 3],
    [1] * 3000, {"a": 1}, {"items": 1}, *(mark.strip('"') for mark in MARKS),
]  # fmt: skip


def changed_json(content: bytes, random: Random) -> bytes:
    """Return JSON of which a few values are other ones, of any type."""
    value = json.loads(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        parents = [part for part in _parts(value) if part]
        if not parents:
            break
        parent = random.choice(parents)
        key = random.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        kind = random.randrange(5)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(key, parent[key])
        elif kind == 2 and isinstance(parent[key], int | float):
            parent[key] = random.choice((parent[key] + 1, parent[key] - 1, -parent[key], parent[key] * 1000))
        elif kind == 3:  # a copy, since a value within itself is no JSON
            parent[key] = json.loads(json.dumps(random.choice([*_parts(value), *VALUES])))
        else:
            parent[key] = random.choice(VALUES)
    text = json.dumps(value)
    for mark, written in MARKS.items():
        text = text.replace(mark, written)
    return text.encode()


def _parts(value: object) -> list:
    """Return all lists and tables in a value, itself among them."""
    found, left = [], [value]
    while left:
        part = left.pop()
        if isinstance(part, dict | list):
            found.append(part)
            left.extend(part.values() if isinstance(part, dict) else part)
    return found


NUMBERS = [0, 1, -1, 2, 1e300, -1e300, 1e30, 1e-30, 1e-300, np.nan, np.inf, -np.inf, 2**31]
TYPES = [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint8, np.bool_]


def changed_arrays(arrays: dict[str, np.ndarray], random: Random) -> dict[str, np.ndarray]:
    """Return arrays of which a few have other values, shapes, types or names."""
    arrays = dict(arrays)
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(list(arrays))
        array = np.array(arrays[name])
        kind = random.randrange(9)
        with np.errstate(all="ignore"):
            if kind == 0:
                del arrays[name]
            elif kind == 1:
                arrays[name] = array.astype(random.choice(TYPES))
            elif kind == 2:
                arrays[name] = random.choice(
                    (array.T, array[None], array.ravel(), array[:0], array[..., None])
                )
            elif kind == 3 and array.ndim:
                arrays[name] = random.choice((array[:-1], np.concatenate([array, array[-1:]]), array[::-1]))
            elif kind == 4:
                arrays[name] = np.array(arrays[random.choice(list(arrays))])
            elif kind == 5:
                arrays[name] = (array * random.choice(NUMBERS)).astype(array.dtype)
            elif kind == 6:
                arrays[random.choice((name, "order", "prior", "climatology", "x", "projection.hidden"))] = (
                    array
                )
            elif array.size:
                flat = array.reshape(-1)
                flat[random.randrange(flat.size)] = np.array(random.choice(NUMBERS)).astype(array.dtype)
                arrays[name] = flat.reshape(array.shape)
        if not arrays:
            break
    return {key: np.ascontiguousarray(array) for key, array in arrays.items()}
