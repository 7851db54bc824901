"""The numbers of jobs: `jobs` of a summary. jobs.py defines a job.

Only jobs that began and completed in the run have job seconds. A job that the run cut off, or entered in the middle, is
counted but has no job seconds, since its whole length is unknown. Long jobs are left out more often than short ones, so
a run should be many times as long as its jobs.

Jobs of one session form one group: they follow each other in one conversation. Groups are in the order in which their
first jobs were due, and depend on each other like requests (bench/statistics/).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import fsum

from bench.clock import NS_PER_S
from bench.metrics import sureness
from bench.metrics.jobs import GatheredJobs, Job, JobEnd
from bench.metrics.quantile import describe
from bench.metrics.request_metrics import input_tokens, output_tokens, ttft_ms
from bench.metrics.run_numbers import JOB_RATES
from bench.metrics.scope import metric_of
from bench.records.record_table import RecordTable
from bench.results.numbers import Metric, Statistics
from bench.results.sessions import (
    AllAndFresh,
    CachedFrom,
    JobCounts,
    JobRates,
    Jobs,
    JobTime,
    JobTokens,
    SpeedQuantiles,
    TimeShare,
    TtftBin,
)

S_PER_H = 3600


class JobNumbers:
    """Folds the records of a run, including its warm-up, in which a job may have begun."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._gathered = GatheredJobs()
        self._any = False
        self._fresh = FreshTokens()
        self._by_context, self._by_turn = TtftBins(), TtftBins()

    def add(self, table: RecordTable) -> None:
        """Add records, in any order."""
        rows = table.has("job")
        if not rows.any():
            return
        self._gathered.add(table)
        rows &= table.is_run
        self._any |= bool(rows.any())
        done = table.where(rows & table.ok)
        self._fresh.add(done)
        ttft, (_, prompt) = ttft_ms(done).tolist(), input_tokens(done)
        for record, ms, tokens in zip(done.records, ttft, prompt.tolist(), strict=True):
            if ms == ms:
                if tokens:
                    self._by_context.add(tokens, ms)
                if record.turn is not None:
                    self._by_turn.add(record.turn + 1, ms)

    def describe(self, span: tuple[float, float] | None, tpot_ms: Statistics, gpus: int | None) -> Jobs | None:
        """`jobs` of a summary. Returns None for a run without jobs.

        `span`: from the first send to the last end, in ns from the start of the run; `tpot_ms`: the statistics of TPOT.
        """
        if not self._any:
            return None
        jobs = self._gathered.jobs()
        completed = [job for job in jobs if job.ended is JobEnd.COMPLETED]
        ends = Counter(job.ended for job in jobs)
        duration_s = None if span is None else (span[1] - span[0]) / NS_PER_S
        seconds = _seconds(completed, duration_s)
        return Jobs(
            counts=JobCounts(**{str(end): ends[end] for end in JobEnd}),
            sessions=len({job.session for job in jobs}),
            job_s=seconds,
            rates=_rates(self._ended_s(jobs, span), seconds, duration_s, gpus),
            steps=describe(sorted(job.steps for job in completed)),
            time=_time(completed),
            tokens=self._fresh.describe(completed, duration_s),
            tokens_per_s_per_user=SpeedQuantiles(
                **{name: 1000 / ms if (ms := tpot_ms.of(name)) else None for name in SpeedQuantiles.__struct_fields__}
            ),
            ttft_by_context=self._by_context.describe(),
            ttft_by_turn=self._by_turn.describe(),
        )

    def _ended_s(self, jobs: Sequence[Job], span: tuple[float, float] | None) -> list[float]:
        """When jobs ended, in s from the first send. Jobs begun in the warm-up count, because about as many are cut off
        at the end."""
        from_ns = self._start_ns + (0.0 if span is None else span[0])
        return [(job.end_ns - from_ns) / NS_PER_S for job in jobs if job.whole and job.ended in _JUDGED]


_JUDGED = (JobEnd.COMPLETED, JobEnd.BEGUN_BEFORE)


def _rates(ended_s: Sequence[float], seconds: Metric, duration_s: float | None, gpus: int | None) -> JobRates:
    """Jobs per hour: of one user, who starts the next job when one is done, of the whole run, and of one GPU."""
    mean = seconds.mean
    values: dict[str, float | None] = dict.fromkeys(JOB_RATES)
    ci95: dict[str, list[float] | None] = dict.fromkeys(JOB_RATES)
    if mean:
        values["jobs_per_hour_per_user"] = S_PER_H / mean
        ci95["jobs_per_hour_per_user"] = _inverse(seconds.ci95["mean"])
    if duration_s:
        values["jobs_per_hour"] = per_hour = S_PER_H * len(ended_s) / duration_s
        each_second = [0.0] * int(duration_s)
        for at_s in ended_s:
            if 0 <= at_s < len(each_second):
                each_second[int(at_s)] += S_PER_H
        ends = sureness.of_rates({"jobs_per_hour": per_hour}, {"jobs_per_hour": each_second}).ci95["jobs_per_hour"]
        ci95["jobs_per_hour"] = ends
        if gpus is not None:
            values["jobs_per_hour_per_gpu"] = per_hour / gpus
            ci95["jobs_per_hour_per_gpu"] = None if ends is None else [end / gpus for end in ends]
    return JobRates(ended=len(ended_s), **values, ci95=ci95)


def _seconds(completed: Sequence[Job], duration_s: float | None) -> Metric:
    """Job seconds, with intervals that treat the jobs of a session as one group."""
    groups: dict[int, list[float]] = {}
    for job in completed:
        groups.setdefault(job.session, []).append(job.seconds)
    sure = sureness.of_groups(list(groups.values()), duration_s)
    return metric_of(describe(sorted(job.seconds for job in completed)), sure, "exact", {})


def _inverse(ends: Sequence[float] | None) -> list[float] | None:
    """The interval of 3600 / mean. Returns None if it has no upper bound."""
    return None if ends is None or ends[0] <= 0 else [S_PER_H / ends[1], S_PER_H / ends[0]]


def _time(completed: Sequence[Job]) -> JobTime:
    """The parts of the time of completed jobs, with the pauses of their users before them: in seconds, and as shares."""
    of: dict[str, Callable[[Job], int]] = {
        "model": lambda job: job.model_ns,
        "tools": lambda job: job.tools_ns,
        "other": lambda job: job.other_ns,
        "human": lambda job: job.human_ns,
    }
    sums = {name: sum(map(time_of, completed)) / NS_PER_S for name, time_of in of.items()}
    whole = fsum(sums.values())
    return JobTime(**{name: TimeShare(s=s, share=s / whole if whole else None) for name, s in sums.items()})


class FreshTokens:
    """Tokens of successful requests, and the fresh ones among them: all but the cached input.

    The number of cached tokens comes from the server, otherwise from the plan. Without either, all tokens of a request
    are fresh. A prompt of unknown length is not part of any sum.
    """

    def __init__(self) -> None:
        self._input = self._cached = self._output = 0
        self._from: Counter[str] = Counter()

    def add(self, table: RecordTable) -> None:
        (has_prompt, tokens), (has_cached, cached) = input_tokens(table), table.known("cached_tokens")
        has_plan, planned = table.known("cached_tokens_planned")
        by_server, by_plan = has_prompt & has_cached, has_prompt & ~has_cached & has_plan
        self._input += int(tokens[has_prompt].sum())
        self._cached += int(cached[by_server].sum() + planned[by_plan].sum())
        self._output += int(output_tokens(table).sum())
        self._from["server"] += int(by_server.sum())
        self._from["plan"] += int(by_plan.sum())
        self._from["none"] += int((~by_server & ~by_plan).sum())

    def describe(self, completed: Sequence[Job], duration_s: float | None) -> JobTokens:
        """Sums over the run, per second of the run, and per completed job."""
        of_all = {"input": self._input, "cached": self._cached, "output": self._output}
        of_jobs = {
            "input": sum(job.input_tokens for job in completed),
            "cached": sum(job.cached_tokens for job in completed),
            "output": sum(job.output_tokens for job in completed),
        }
        return JobTokens(
            **of_all,
            cached_from=CachedFrom(**{name: self._from[name] for name in CachedFrom.__struct_fields__}),
            per_s=_all_and_fresh(of_all, duration_s),
            per_job=_all_and_fresh(of_jobs, len(completed)),
        )


def _all_and_fresh(tokens: Mapping[str, int], over: float | None) -> AllAndFresh:
    every = tokens["input"] + tokens["output"]
    fresh = every - tokens["cached"]
    return AllAndFresh(all=every / over if over else None, fresh=fresh / over if over else None)


class TtftBins:
    """TTFT by a whole number, in bins whose ends are powers of two: 1, 2, 3 to 4, 5 to 8, and so on."""

    def __init__(self) -> None:
        self._bins: dict[int, array[float]] = {}

    def add(self, number: int, ms: float) -> None:
        """Add a TTFT at this number, which is at least 1."""
        self._bins.setdefault((number - 1).bit_length(), array("d")).append(ms)

    def describe(self) -> list[TtftBin]:
        """The bins with values, in ascending order. `from` and `to` are inclusive."""
        return [
            TtftBin(from_=1 if not k else 2 ** (k - 1) + 1, to=2**k, ttft_ms=describe(sorted(self._bins[k])))
            for k in sorted(self._bins)
        ]
