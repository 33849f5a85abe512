"""Reader of sweeps. The trial becomes a component whose hyperparameters are inputs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from flows.spec.literals import type_of
from flows.spec.model.job import InputPort
from flows.spec.model.sweep import EXPRESSIONS, EarlyTermination, Hyperparameter, Objective, Sampling, Sweep
from flows.spec.reading.ports.port_names import KEY, check_names
from flows.spec.reading.work.component import Work
from flows.spec.text import keys
from flows.spec.text.section import Section, nearest
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import Node

_REFERENCE = re.compile(r"\$\{\{\s*search_space\s*\.\s*([\w.-]+?)\s*\}\}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ALGORITHMS = frozenset({"random", "grid", "bayesian"})
_POLICIES = frozenset({"bandit", "median_stopping", "truncation_selection"})
_EXPRESSION_KEYS = {kind: dict.fromkeys(("type", *fields), keys.Kind.READ) for kind, fields in EXPRESSIONS.items()}
# What Bayesian sampling can draw, by Microsoft's documentation.
_BAYESIAN = frozenset({"choice", "uniform", "quniform"})


def sweep_from(section: Section) -> Sweep:
    """Read what a sweep job or step says, but for its trial. What cannot be read is noted, and has a stand-in."""
    if "search_space" not in section:
        section.missing("search_space", "there is no search_space", "Add search_space: with what is to be varied.")
    space = section.section("search_space")
    check_names(space, KEY, "hyperparameter")
    found = {name: _hyperparameter(name, one) for name, one in space.sections()}
    sampling = _sampling(section)
    for name, parameter in found.items():
        if sampling.algorithm == "grid" and parameter.type != "choice":
            space.fault(name, f"a grid cannot be made of {parameter.type}", "Make it a choice, or sample at random.")
        if sampling.algorithm == "bayesian" and parameter.type not in _BAYESIAN:
            remedy = "It draws from choice, uniform and quniform."
            space.warn(name, f"Bayesian sampling may not draw from {parameter.type}", remedy)
    limits = _limits(section)
    return Sweep(
        search_space=MappingProxyType(found),
        objective=_objective(section),
        max_total_trials=limits.integer("max_total_trials", 1) or 1,
        sampling=sampling,
        max_concurrent_trials=limits.integer("max_concurrent_trials", 1),
        trial_timeout_seconds=limits.integer("trial_timeout", 1),
        early_termination=_early_termination(section),
    )


def sweep_timeout(section: Section) -> int | None:
    """The seconds that the whole sweep may take, from its ``limits``."""
    return Section(section.section("limits").node, []).integer("timeout")


def why_sweep_refused(section: Section) -> str | None:
    """Why a sweep cannot run on this machine, as the end of a sentence; None where it can."""
    for name, one in section.section("search_space").sections():
        if any(isinstance(item.value, Mapping) for item in one.items("values")):
            return f"has a search space within its search space, in {name}"
    return None


def trial_work(work: Work, sweep: Sweep, section: Section, in_place: bool) -> Work:
    """The trial's work with every hyperparameter as an input, by whichever of the two ways its command names it.

    Args:
        work: What the trial itself declares.
        sweep: The sweep.
        section: The sweep's mapping, where an unknown hyperparameter is noted.
        in_place: Whether the trial stands in the sweep itself, where its command alone names the hyperparameters.
    """
    component = work.component
    asked = dict.fromkeys(_REFERENCE.findall(component.command))
    space = section.section("search_space")
    for name in asked:
        if name not in sweep.search_space:
            known = frozenset(sweep.search_space)
            remedy = nearest(name, known, "hyperparameters")
            section.fault("trial", f"the command uses ${{{{search_space.{name}}}}}, which is not searched", remedy)
    command = _REFERENCE.sub(
        lambda match: f"${{{{inputs.{match[1]}}}}}" if match[1] in sweep.search_space else match[0], component.command
    )
    for name in sweep.search_space:
        if in_place and name not in asked and name not in component.inputs:
            space.warn(
                name, f"the command does not use ${{{{search_space.{name}}}}}", "Every trial is the same for it."
            )
    added = {
        name: InputPort(name, _type(space.entries[name]), inferred=True, place=space.place(name))
        for name in sweep.search_space
        if (in_place or name in asked) and name not in component.inputs
    }
    inputs = MappingProxyType({**component.inputs, **added})
    component = replace(component, command=command, inputs=inputs)
    return replace(work, kind="sweep", component=component, refusal=work.refusal or why_sweep_refused(section))


def _hyperparameter(name: str, section: Section) -> Hyperparameter:
    if "type" not in section:
        section.fault("", f"the hyperparameter {name} has no type", nearest("", frozenset(EXPRESSIONS), "types"))
    kind = section.choice("type", frozenset(EXPRESSIONS), "type")
    if kind is None:
        return Hyperparameter(name, "choice")
    of_shape(section, _EXPRESSION_KEYS[kind], f"a hyperparameter of type {kind}")
    for key in EXPRESSIONS[kind]:
        if key not in section:
            section.missing(key, f"the {kind} {name} has no {key}", f"Add {key}:.")
    found = Hyperparameter(
        name,
        kind,
        values=_values(section),
        upper=section.integer("upper", 1),
        **{key: section.number(key) for key in ("min_value", "max_value", "mu", "sigma", "q")},
    )
    if found.min_value is not None and found.max_value is not None and found.min_value > found.max_value:
        section.fault(
            "min_value", f"min_value {found.min_value:g} is above max_value {found.max_value:g}", "Swap them."
        )
    return found


def _values(section: Section) -> tuple[str, ...]:
    items = section.items("values")
    if not items and "values" in section and isinstance(section.entries["values"].value, tuple):
        section.fault("values", "there is nothing to choose from", "Add a value.")
    for item in items:
        if item.value is None or isinstance(item.value, bool | tuple):
            remedy = "Put it in quotes." if isinstance(item.value, bool) else "Give numbers or text."
            section.fault("values", f"the choice {item.plain()} is {item.kind}", remedy)
    return tuple(str(item.plain()) for item in items)


def _type(node: Node) -> str:
    """The type of an input that only the search space declares."""
    value = node.value
    if not isinstance(value, Mapping) or "values" not in value or not isinstance(value["values"].value, tuple):
        return "number"
    found = {type_of(item.value) for item in value["values"].value if isinstance(item.value, bool | int | float | str)}
    return found.pop() if len(found) == 1 else "number" if found == {"integer", "number"} else "string"


def _sampling(section: Section) -> Sampling:
    node = section.entries.get("sampling_algorithm")
    if node is None:
        section.warn("sampling_algorithm", "there is no sampling_algorithm", "Add sampling_algorithm: random.")
        return Sampling()
    if not isinstance(node.value, Mapping):
        return Sampling(section.choice("sampling_algorithm", _ALGORITHMS, "algorithm") or "random")
    given = section.section("sampling_algorithm")
    if "type" not in given:
        given.missing("type", "the sampling_algorithm has no type", nearest("", _ALGORITHMS, "algorithms"))
    kind = given.choice("type", _ALGORITHMS, "algorithm") or "random"
    of_shape(given, keys.SAMPLING[kind], f"{kind} sampling")
    rule = given.choice("rule", frozenset({"random", "sobol"}), "rule")
    return Sampling(kind, given.integer("seed"), rule or "random", given.label("logbase"))


def _objective(section: Section) -> Objective:
    objective = section.section("objective")
    of_shape(objective, keys.OBJECTIVE, "the objective")
    goal = objective.choice("goal", frozenset({"minimize", "maximize"}), "goal")
    metric = objective.text("primary_metric")
    for key, example in (("goal", "maximize"), ("primary_metric", "<the metric that the trial logs>")):
        if key not in objective:
            objective.missing(key, f"the objective has no {key}", f"Add {key}: {example}.")
    if metric == "":
        objective.fault("primary_metric", "primary_metric is empty", "Name the metric that the trial logs.")
    return Objective(goal or "minimize", metric or "")


def _limits(section: Section) -> Section:
    limits = section.section("limits")
    of_shape(limits, keys.SWEEP_LIMITS, "the limits of a sweep")
    if "max_total_trials" not in limits:
        limits.missing("max_total_trials", "there is no max_total_trials", "Add max_total_trials: under limits.")
    limits.integer("timeout", 1)
    return limits


def _early_termination(section: Section) -> EarlyTermination | None:
    if "early_termination" not in section:
        return None
    policy = section.section("early_termination")
    text = policy.text("type")
    kind = None if text is None else _CAMEL.sub("_", text).lower()
    if kind not in _POLICIES:
        if isinstance(policy.node.value, Mapping):
            remedy = nearest(kind or "", _POLICIES, "policies")
            policy.fault("type", f"{text} is not a policy" if text else "the policy has no type", remedy)
        return None
    of_shape(policy, keys.EARLY_TERMINATION[kind], f"a policy of type {kind}")
    percentage = policy.integer("truncation_percentage", 1)
    if kind == "truncation_selection" and "truncation_percentage" not in policy:
        policy.missing("truncation_percentage", "there is no truncation_percentage", "Add truncation_percentage: 20.")
    policy = _filled(policy)
    interval = policy.integer("evaluation_interval", 0)  # the service reads 0 as 1
    return EarlyTermination(
        kind,
        evaluation_interval=interval or 1,
        delay_evaluation=policy.integer("delay_evaluation", 0) or 0,
        slack_factor=policy.number("slack_factor"),
        slack_amount=policy.number("slack_amount"),
        truncation_percentage=percentage,
    )


def _filled(policy: Section) -> Section:
    """The mapping of a policy without the keys that have no value, as the client lets them be."""
    entries = {key: node for key, node in policy.entries.items() if node.value is not None}
    return Section(Node(entries, policy.node.place), policy.faults)
