"""Random damage to bytes and text."""

import random
import re

NUMBERS = (
    '0',
    '-1',
    '1e308',
    '-1e10',
    'nan',
    'inf',
    '',
    '1_0',
    'x',
    '0.001',
    '99999999999999999999',
    '٣',
)
NAMES = ('../../escaped', '..', '/etc/passwd', 'a/b', 'a\\b', 'a\x00b', 'x' * 5000)
_NUMBER = re.compile(rb'-?\d+(?:\.\d+)?(?:e-?\d+)?')


def mutate(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Damage a file.

    Args:
        content: The file.
        rng: Random generator.
        text: Whether the file is text, whose numbers and lines are also damaged.

    Returns:
        The damaged file.
    """
    damages = [_flip_bit, _set_byte, _cut, _extend, _insert, _remove, _repeat, _zero]
    if text:
        damages += [_number] * 6 + [_line] * 3 + [_name] * 2 + [_encoding]
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        content = rng.choice(damages)(content, rng) if content else content
    return content


def first_difference(one: bytes, other: bytes) -> int:
    """Return the index of the first byte that differs, or the shorter length."""
    for place, (a, b) in enumerate(zip(one, other)):
        if a != b:
            return place
    return min(len(one), len(other))


def _span(content: bytes, rng: random.Random) -> slice:
    first = rng.randrange(len(content))
    return slice(first, first + rng.choice((1, 2, 16, 256, 4096)))


def _flip_bit(content: bytes, rng: random.Random) -> bytes:
    # Headers are small, so half of the flips are in the first bytes
    reach = min(len(content), rng.choice((400, len(content))))
    place = rng.randrange(reach)
    return (
        content[:place]
        + bytes([content[place] ^ 1 << rng.randrange(8)])
        + (content[place + 1 :])
    )


def _set_byte(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return (
        content[:place]
        + bytes([rng.choice((0, 255, rng.randrange(256)))])
        + (content[place + 1 :])
    )


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _extend(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice((1, 64, 5000)))


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + rng.randbytes(rng.choice((1, 4, 100))) + content[place:]


def _remove(content: bytes, rng: random.Random) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + content[span.stop :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    span = _span(content, rng)
    return content[: span.stop] + content[span] + content[span.stop :]


def _zero(content: bytes, rng: random.Random) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + bytes(len(content[span])) + content[span.stop :]


def _number(content: bytes, rng: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    one = rng.choice(found)
    return content[: one.start()] + rng.choice(NUMBERS).encode() + content[one.end() :]


def _line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    index, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    choice = rng.randrange(4)
    if choice == 0:
        del lines[index]
    elif choice == 1:
        lines.insert(other, lines[index])
    elif choice == 2:
        lines[index], lines[other] = lines[other], lines[index]
    else:
        lines[index] = lines[index].rstrip(b'\n') + b',extra\n'
    return b''.join(lines)


def _name(content: bytes, rng: random.Random) -> bytes:
    words = list(re.finditer(rb'[\w.]{3,}', content))
    if not words:
        return content
    one = rng.choice(words)
    return content[: one.start()] + rng.choice(NAMES).encode() + content[one.end() :]


def _encoding(content: bytes, rng: random.Random) -> bytes:
    return rng.choice((b'\xff\xfe', b'\xef\xbb\xbf', b'\x00', b'\x80')) + content
