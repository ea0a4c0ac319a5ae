"""One question, one answer: the benchmark's prompt is sent once, and what comes back is the rollout."""

from pytest_gym import Model, Rollout, Task, harness


@harness
async def single_turn(task: Task, model: Model) -> Rollout:
    """Ask the prompt and take the answer as it is."""
    return model.rollout(model.prompt, await model.ask(model.prompt, tools=model.tools))
