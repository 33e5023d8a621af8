"""From what was asked for on the command line to a model."""

from surefoot_client.models.model import ModelFactory

LATER = ("claude", "gemini", "openai", "router")
"""Prefixes of adapters that are planned and not built yet."""


class UnknownModel(ValueError):
    """No such model; the message lists what there is."""


def create(spec: str) -> ModelFactory:
    """The model that `spec` names: `scripted`, `sim:NAME` or `sim:PATH`.

    Raises:
        UnknownModel: there is none, or its profile has a mistake.
    """
    # the adapters are imported when asked for: a provider's SDK takes seconds
    from surefoot_client.models.scripted import ScriptedFactory
    from surefoot_client.models.simulated import (
        ProfileError,
        SimulatedFactory,
        load_profile,
        shipped,
    )

    kind, _, rest = spec.partition(":")
    there = ", ".join(["scripted", *(f"sim:{name}" for name in shipped()), "sim:PATH"])
    if spec == "scripted":
        return ScriptedFactory()
    if kind == "sim" and rest:
        try:
            return SimulatedFactory(spec, load_profile(rest))
        except ProfileError as error:
            raise UnknownModel(str(error)) from error
    if kind in LATER:
        raise UnknownModel(f"models of {kind!r} are not built yet; there are: {there}")
    raise UnknownModel(f"no model {spec!r}; there are: {there}; real models are not built yet")
