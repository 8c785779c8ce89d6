"""The plan as text. Commands are quoted here, so that every line can be pasted in a shell."""

from __future__ import annotations

from launcher import units
from launcher.specs import Command, Plan
from launcher.specs.secrets import mask, redact


def render(plan: Plan) -> str:
    """Return everything that `plan` executes, as text."""
    parts = [_summary(plan), _cluster(plan), _staging(plan)]
    parts += [_commands(plan.commands)] if plan.commands else []
    parts += [f"note: {note}" for note in plan.notes]
    return "\n\n".join(part for part in parts if part)


def _summary(plan: Plan) -> str:
    rows = {
        "run": f"{plan.run_id} (attempt {plan.attempt})",
        "recipe": plan.recipe,
        "program": units.shell_line(plan.program.argv),
        "code": _code(plan),
        "ranks": f"{plan.cluster.world_size} on {_nodes(plan)}, {plan.device}",
        "backend": f"{plan.backend} through {plan.transport}",
        "rendezvous": f"{plan.rendezvous.address}:{plan.rendezvous.port}",
        "storage": plan.storage_root,
        "checkpoints": checkpoint_rule(plan),
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in rows.items() if value)


def _code(plan: Plan) -> str:
    code = plan.code
    if code is None or not code.program:
        return ""
    commit = f", commit {code.commit[:12]}" if code.commit else ""
    changed = " with changes" if code.dirty else ""
    return f"a copy of {code.project}{commit}{changed}"


def _nodes(plan: Plan) -> str:
    return units.count(len(plan.cluster.nodes), "node")


def checkpoint_rule(plan: Plan) -> str:
    """Return when checkpoints are written and how many are kept."""
    policy = plan.checkpoint
    if plan.recipe == "script":
        return "managed by your script"
    when = f"every {policy.every_steps} steps" if policy.every_steps else "at the end"
    return f"{when}, the newest {policy.keep} are kept, resume={policy.resume}"


def _cluster(plan: Plan) -> str:
    rows = [
        (
            *(node.name, node.role, node.address, node.slots),
            f"GPU {','.join(node.gpus)}" if node.gpus else f"{node.cpus} CPU",
        )
        for node in plan.cluster.nodes
    ]
    return "\n".join(units.columns([("node", "role", "address", "slots", "devices"), *rows]))


def _staging(plan: Plan) -> str:
    if not plan.stage:
        return ""
    rows = units.columns([(f"  {item.name}", redact(item.uri)) for item in plan.stage])
    return "\n".join(["to stage:", *rows])


def _commands(commands: tuple[Command, ...]) -> str:
    """Return the commands as shell lines: first the shared variables, then each command."""
    envs = [mask(command.env) for command in commands]
    shared = {
        name: value
        for name, value in envs[0].items()
        if all(env.get(name) == value for env in envs[1:])
    }
    lines = ["# on every node"]
    lines += [f"export {name}={units.shell_word(value)}" for name, value in sorted(shared.items())]
    for command, env in zip(commands, envs, strict=True):
        own = [f"{name}={env[name]}" for name in sorted(env.keys() - shared.keys())]
        line = units.shell_line(["env", *own, *command.argv] if own else command.argv)
        folder = units.shell_word(command.cwd)
        lines += ["", f"# on node {command.node_rank}", f"cd {folder} && {line}"]
    return "\n".join(lines)
