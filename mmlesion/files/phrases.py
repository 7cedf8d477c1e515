"""Phrases of messages and summaries."""


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as ``'1 image'`` or ``'2 images'``.

    Args:
        number: The number.
        singular: Noun for the number 1.
        plural: Noun for other numbers. Defaults to ``singular`` with an ``s``.
    """
    return f'{number} {singular if number == 1 else plural or singular + "s"}'
