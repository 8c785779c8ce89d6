"""What programs may rely on."""

from __future__ import annotations

import launcher.checkpoint as package


def test_every_exported_name_is_there() -> None:
    assert all(getattr(package, name) for name in package.__all__)


def test_the_exported_names_are_these() -> None:
    """A name added or taken away here is a change for everybody's programs."""
    assert package.__all__ == [
        "AnyOf",
        "CheckpointLayout",
        "Checkpointer",
        "CommitInfo",
        "CommitKey",
        "DataCursor",
        "Finding",
        "GenerationTaken",
        "GlobalSampler",
        "Group",
        "KeepEvery",
        "KeepLast",
        "Restored",
        "RetentionPolicy",
        "SingleProcess",
        "TrainingState",
        "claim_generation",
        "export",
        "list_commits",
        "newest_commit",
        "next_generation",
        "share",
        "verify",
    ]


def test_errors_travel_between_ranks() -> None:
    """Ranks tell each other their errors by pickle."""
    import pickle

    from launcher.errors import CheckpointError, UnknownNameError

    for error in (
        CheckpointError("message", context="context", hint="hint"),
        UnknownNameError("step", "7", ["1", "2"]),
    ):
        found = pickle.loads(pickle.dumps(error))
        assert type(found) is type(error)
        assert str(found) == str(error)
        assert found.args == error.args
