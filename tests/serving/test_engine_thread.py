"""When the thread of the engine lets it begin."""

import asyncio

from agentbank_jax.generation.requests import Delta, GenerationRequest
from agentbank_jax.serving.engine_thread import EngineThread
from agentbank_jax.serving.served_model import ServedModel
from tests.serving.fake_engine import FakeEngine


class CountingEngine(FakeEngine):
    """Records how many replies each step goes on with."""

    def __init__(self, model: ServedModel) -> None:
        super().__init__(model.tokenizer, model.template.stop_ids, lambda ids: [5, 6, model.template.stop_ids[0]])
        self.steps: list[int] = []

    def step(self) -> list[Delta]:
        self.steps.append(self.load().running)
        return super().step()


def steps_of(model: ServedModel, *, gather_seconds: float) -> list[int]:
    """Three requests that come one after the other, each while the event loop turns."""

    async def ask() -> None:
        thread.start()
        opened = []
        for _ in range(3):
            opened.append(thread.open([GenerationRequest(id="", ids=(1, 2))]))
            await asyncio.sleep(0.05)
        for replies in opened:
            while await replies.next():
                pass
        thread.stop()

    engine = CountingEngine(model)
    thread = EngineThread(engine, queue_size=4, gather_seconds=gather_seconds, gather_most_seconds=30)  # type: ignore[arg-type]
    asyncio.run(ask())
    return engine.steps


def test_requests_that_come_together_begin_together_where_the_engine_was_idle(model: ServedModel) -> None:
    assert steps_of(model, gather_seconds=1.0)[0] == 3
    assert steps_of(model, gather_seconds=0.0)[0] == 1
