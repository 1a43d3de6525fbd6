"""Words for numbers in messages and pictures."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 member`` or ``10 members``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """Return a share as per cent: ``40 %``, or ``< 1 %`` where rounding would leave nothing."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
