"""Values as the console's pages write them."""

from __future__ import annotations


def number(value: float | None) -> str:
    """A value with three or four digits that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def setting(value: object) -> str:
    """The value of a setting, as a person would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(setting(one) for one in value)
    return str(value)


def spark(values: tuple[float, ...]) -> str:
    """The points of a sparkline 80 by 20."""
    if len(values) < 2:
        return ""
    return " ".join(f"{i * 80 / (len(values) - 1):.1f},{19 - value * 18:.1f}" for i, value in enumerate(values))


def when(text: str | None, between: str = " ") -> str:
    """A time in ISO 8601 and UTC, to the minute; `between` stands between the date and the time of day."""
    return (text or "")[:16].replace("T", between)


def change(base: float | None, value: float | None) -> str:
    """By how much a number differs from that of the first task."""
    if base is None or value is None or not base:
        return ""
    return f"{(value - base) / base:+.1%}"
