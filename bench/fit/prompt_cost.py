"""Whether a prompt costs its step something besides its tokens. If so, the fit has a coefficient for it, b4.

Some servers set up each request within a step (samplers, slots, copies of a cache), or run a step with a prompt without
CUDA graphs. If all prompts are about equally long, this cannot be separated from the cost of their tokens.
"""

from __future__ import annotations

import numpy as np

from bench.fit import robust
from bench.fit.coefficients import StepFit
from bench.fit.limits import Seen
from bench.fit.robust import Array

_LEAST_STEPS = 50
_LEAST_SPREAD = 0.1
_SURE, _NOTABLE = 4.0, 0.05
"""The cost must be this many standard errors above 0, and this share of a median prompt's cost."""


def alike(prompts: Array) -> bool:
    """Whether prompts are too similar in length to separate the cost of a prompt from the cost of its tokens."""
    return float(np.std(prompts)) < _LEAST_SPREAD * float(np.mean(prompts))


def costs_besides_tokens(runs: Seen, fit: StepFit, surely: int) -> bool:
    """Whether part of a prompt's time does not depend on its length, beyond doubt. `surely`: tokens that the server
    computes in one step.

    The time of steps with exactly one whole prompt, less the cost of the rest of the step, is a line over the prompt's
    tokens.
    """
    prefill, left = [], []
    for _, _, table in runs:
        mask = table.sure & (table.firsts == 1) & (table.steps == 1) & (table.prefill + table.decode <= surely)
        prefill += table.prefill[mask].tolist()
        left += (table.end_us - table.begin_us - fit.without_prompts_us(table))[mask].tolist()
    tokens, us = np.array(prefill), np.array(left)
    if len(tokens) < _LEAST_STEPS or alike(tokens):
        return False
    usual = float(np.median(us))
    if usual <= 0:
        return False
    design = np.column_stack((np.ones(len(tokens)), tokens))
    solution = robust.fit(design, us)
    inverse = np.linalg.inv(design.T @ (design * solution.weights[:, None]))
    error = solution.scale * float(np.sqrt(inverse[0, 0]))
    value = float(solution.x[0])
    return value > _SURE * error and value > _NOTABLE * usual
