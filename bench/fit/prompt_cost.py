"""What a prompt costs its step besides its tokens: looked for, since no coefficient of a profile can hold it.

Some servers set up each request within a step (samplers, slots, copies of a cache). Where all prompts are about as long, b1
takes that in; where they are not, shorter prompts then cost less than on the server, and longer ones more.
"""

from __future__ import annotations

import numpy as np

from bench.fit import robust
from bench.fit.coefficients import StepFit
from bench.fit.limits import Seen
from bench.fit.steps import SURELY_ONE_STEP

_LEAST_STEPS = 50
_LEAST_SPREAD = 0.1
_SURE, _NOTABLE = 4.0, 0.15
"""So many standard errors above 0, and so large a share of what a prompt costs in the middle."""


def besides_tokens_us(runs: Seen, fit: StepFit) -> float | None:
    """The time of a prompt that does not depend on its length. Returns None if there is none to be seen.

    Of steps with the whole of one prompt, what the rest of the step does not explain is a line over the prompt's tokens.
    """
    prefill, left = [], []
    b0, _, _, b3 = fit.values
    for _, _, table in runs:
        one = table.sure & (table.firsts == 1) & (table.steps == 1) & (table.prefill <= SURELY_ONE_STEP)
        rest = b0 + fit.decode_cost.us(table.decode) + b3 * table.context
        prefill += table.prefill[one].tolist()
        left += (table.end_us - table.begin_us - rest)[one].tolist()
    tokens, us = np.array(prefill), np.array(left)
    if len(tokens) < _LEAST_STEPS or float(np.std(tokens)) < _LEAST_SPREAD * float(np.mean(tokens)):
        return None
    usual = float(np.median(us))
    if usual <= 0:
        return None
    design = np.column_stack((np.ones(len(tokens)), tokens))
    found = robust.fit(design, us)
    inverse = np.linalg.inv(design.T @ (design * found.weights[:, None]))
    error = found.scale * float(np.sqrt(inverse[0, 0]))
    value = float(found.x[0])
    return value if value > _SURE * error and value > _NOTABLE * usual else None
