"""The document of a plan: how many replicas, the day, a lost replica, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.documents.charts import Line, Panel, categories
from bench.documents.document import (
    Banner,
    Block,
    Cell,
    ChartBlock,
    Column,
    Document,
    Fact,
    Facts,
    Finding,
    Findings,
    Level,
    Row,
    Section,
    Table,
    command_block,
    findings,
)
from bench.documents.formatting import NOTHING, measured, number, share
from bench.metrics.catalog import METRICS
from bench.results.plan import PlanContent, SearchedRate

FOOTER = "Made by Trueload. What is simulated, and how it decides: docs/fit.md."


def plan_document(content: PlanContent) -> Document:
    """The document of a plan."""
    first: list[Block] = []
    if content.unknown:
        first.append(findings(content.unknown, title="Not known", level=Level.FIRST))
    first.append(_answers(content))
    if content.at_peak:
        first.append(_objectives(content))
    if content.not_shown:
        first.append(Findings(tuple(Finding(f"Not shown: {item}") for item in content.not_shown), level=Level.FIRST))
    if content.warnings:
        first.append(findings(content.warnings, title="What the fit says", level=Level.USUAL))
    sections = (
        Section("", tuple(first)),
        Section("The day", tuple(_day(content)), level=Level.USUAL),
        Section("", (command_block(content.command),)),
    )
    looked = f"{content.least:,} to {content.most:,} replicas"
    router = (content.router or "").replace("_", " ")
    subtitle = looked if content.search is not None else f"{router} · {looked} · {content.draws} draws"
    server = "a server that was searched" if content.search is not None else content.server or "a fitted server"
    title = f"Plan for {server}"
    return Document(title, (_banner(content),), sections, subtitle, content.date, footer=FOOTER)


def _banner(content: PlanContent) -> Banner:
    if content.replicas is None and content.broken_alone:
        which = " and ".join(content.broken_alone)
        return Banner(
            "No number of replicas holds the objectives", f": a request alone on a replica breaks {which}", "bad"
        )
    if content.replicas is None:
        quietest = min((hour for hour in content.hours if hour.rate > 0), key=lambda hour: hour.rate, default=None)
        if quietest is not None and quietest.breaks != "no":
            advice = f"Nor do they surely hold {quietest.rate:g}/s, so more may not help: relax an objective"
        else:
            advice = "Raise --replicas, or relax an objective"
        rest = f": {content.most:,} are too few at the busiest hour. {advice}"
        return Banner("No number of replicas in the range holds the objectives", rest, "bad")
    replicas = f"{content.replicas:,} replica{'' if content.replicas == 1 else 's'}"
    cost = "" if content.cost_a_day is None else f", {_money(content.cost_a_day)} a day"
    if not content.known:
        why = (
            f"{replicas} in the simulation{cost}, but the fit does not know this server well enough"
            if content.search is None
            else f"{replicas}{cost}, if each keeps {number(content.search.low)}/s, of which the search is less than 95% sure"
        )
        return Banner("Not known", f": {why}", "warn")
    return Banner(
        f"{replicas} hold the objectives" if content.replicas > 1 else f"{replicas} holds the objectives", cost, "good"
    )


def _answers(content: PlanContent) -> Facts:
    rows = []
    if content.interval is not None:
        needed = (
            "no number is enough"
            if content.replicas is None and content.broken_alone
            else _range(content, *content.interval)
        )
        rows.append(Fact("Replicas needed", needed, _surely(content)))
    if content.search is not None:
        rows += _of_search(content, content.search)
    if content.headroom is not None:
        low, high = content.headroom_interval or (None, None)
        ends = "at least this" if low is None or high is None else f"{_times(low)} to {_times(high)}"
        rows.append(Fact("Traffic that they hold", f"{_times(content.headroom)} times this ({ends})"))
    if content.replicas != 1:
        fewer = "these" if content.replicas is None else "one fewer"
        rows.append(Fact(f"Breaks first with {fewer}", _breaks_first(content)))
    if content.lost is not None:
        low, high = content.lost.interval
        lost = f"{content.lost.requests_lost:,.0f} requests fail ({low:,.0f} to {high:,.0f})"
        holds = f"the others hold the busiest hour in {share(content.lost.holds)} of the draws"
        rows.append(Fact("A replica dies", f"{lost}; {holds}"))
    rows += _costs(content)
    return Facts("What it says", tuple(rows), level=Level.FIRST)


def _times(headroom: float) -> str:
    """How many times the traffic the replicas can serve; below 1 the factor is unknown."""
    return f"{headroom:.2f}" if headroom else "less than 1"


def _breaks_first(content: PlanContent) -> str:
    if content.breaks_first_s is None:
        perhaps = [clock(hour.start_s) for hour in content.hours if hour.breaks == "perhaps"]
        return f"perhaps {perhaps[0]}, or none" if perhaps else "no hour"
    low, high = content.breaks_first_interval or (content.breaks_first_s, content.breaks_first_s)
    return clock(content.breaks_first_s) + ("" if low == high else f" ({clock(low)} to {clock(high)})")


def _surely(content: PlanContent) -> str:
    return "95% of the draws" if content.search is None else "the search's interval, about 90%"


def _of_search(content: PlanContent, rate: SearchedRate) -> Iterator[Fact]:
    known = f"at least {number(rate.low)}"
    if rate.estimate is not None and rate.high is not None:
        known = f"{number(rate.estimate)} ({number(rate.low)} to {number(rate.high)})"
    yield Fact("A replica keeps", f"{known} requests/s", ", ".join(content.objectives))


def _costs(content: PlanContent) -> Iterator[Fact]:
    if content.cost_a_day is not None and content.cost_interval is not None:
        low, high = map(_money, content.cost_interval)
        yield Fact("Cost a day", f"{_money(content.cost_a_day)} ({low} to {high})")
    scaling = content.autoscaling
    if scaling is None:
        return
    low, high = (number(value) for value in scaling.interval)
    hours = f"{number(scaling.replica_hours)} replica-hours a day ({low} to {high})"
    cost = "" if scaling.cost_a_day is None else f", {_money(scaling.cost_a_day)}"
    yield Fact("Scaled by the hour", hours + cost, f"started {number(scaling.cold_start_s)} s ahead of the hour")
    if scaling.late_breaks is not None:
        yield Fact(
            "Scaled late",
            f"{share(scaling.late_breaks)} of the requests break a limit",
            "in the hour that starts the most replicas, from its beginning until they have just started",
        )


def _range(content: PlanContent, low: float, high: float) -> str:
    most = f"over {content.most:,}" if high > content.most else f"{high:,.0f}"
    if low == high:
        return most
    return f"{low:,.0f} to {most}"


def _unit(objective: str) -> str:
    """The unit of a metric. Goodput is a share."""
    metric = METRICS.get(objective.partition(":")[0])
    return "share" if metric is None else metric.unit


def _between(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f}%)"


def _objectives(content: PlanContent) -> Table:
    rows = tuple(
        Row(
            Cell(result.objective, code=True),
            measured(result.value, _unit(result.objective)),
            NOTHING if result.interval is None else f"{number(result.interval[0])} to {number(result.interval[1])}",
            share(result.holds) + _between(result.holds_interval),
        )
        for result in content.at_peak
    )
    columns = (Column("At the busiest hour"), Column("Value"), Column("95% of the draws"), Column("Holds in (95%)"))
    return Table("Objectives", columns, rows, level=Level.FIRST)


def _day(content: PlanContent) -> Iterator[Block]:
    names = [clock(hour.start_s) for hour in content.hours]
    tips = [f"{name}, {number(hour.rate)} requests/s" for name, hour in zip(names, content.hours, strict=True)]
    rates = Line("requests/s", [hour.rate for hour in content.hours], "bars")
    panel = Panel("/s", (rates,))
    yield ChartBlock(
        categories("rates", "Requests a second", "The rate of each part of the day.", "time", names, tips, panel)
    )
    scaled = content.autoscaling is not None
    fewer = "These break it" if content.replicas is None else "One fewer breaks it"
    breaks = content.replicas != 1  # Below one replica there is none to remove.
    titles = ("From", "Requests/s", *(("Replicas",) if scaled else ()), *((fewer,) if breaks else ()))
    columns = tuple(map(Column, titles))
    rows = tuple(
        Row(
            clock(hour.start_s),
            number(hour.rate),
            *((str(hour.replicas),) if scaled else ()),
            *((NOTHING if hour.breaks == "no" else hour.breaks,) if breaks else ()),
        )
        for hour in content.hours
    )
    of = "some of the draws" if content.search is None else "a part of the search's interval"
    yield Table("Hours", columns, rows, notes=(f"Perhaps: in {of}.",) if breaks else ())


def clock(seconds: float) -> str:
    """The time of a day: 06:30."""
    minutes = round(seconds / 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _money(value: float) -> str:
    if value < 0.01:
        return f"${number(value)}"
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"
