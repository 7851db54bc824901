"""A request's inputs for an endpoint without generated text travel with it between processes."""

import pytest

from bench.workload import Encoded, InputBatch, RequestDraft, Supply, draft_of
from promptset.samples import Sample


@pytest.mark.parametrize("batch", [None, InputBatch(1, 1), InputBatch(8, 3), InputBatch(2, 2, 256), InputBatch(0, 0)])
@pytest.mark.parametrize("session", [None, "s1"])
def test_a_draft_is_the_same_after_its_way_to_another_process(batch: InputBatch | None, session: str | None) -> None:
    draft = RequestDraft(b'{"input":["a"]}', False, 7, None, session, batch)
    assert RequestDraft.unpack(draft.pack()) == draft


def test_a_request_carries_what_its_encoder_says_it_asks() -> None:
    def encode(sample: Sample) -> Encoded:
        return Encoded(b"{}", False, None, InputBatch(3, 2, 16))

    assert draft_of(Sample(prompt="a"), encode).batch == InputBatch(3, 2, 16)
    supply = Supply(iter([Sample(prompt="a")]), encode, "run")
    assert supply.take("run").batch == InputBatch(3, 2, 16)
