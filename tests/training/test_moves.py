"""What is written down when a person moves the champion, and what a later training makes of it."""

from datetime import UTC, datetime

import pytest

from flows.errors import ParameterError
from flows.mlflow_store.model_registry import ModelVersion
from flows.tags import BASIS, ROLLED_BACK
from flows.training.gate import GateDecision, kept_back
from flows.training.moves import Move, held_back, held_back_tag, replaced, rolled_back_from

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def version(number: int, **tags: str) -> ModelVersion:
    return ModelVersion("m", number, False, None, "/m", tags=tags)


def test_move_says_who_when_and_why_at_both_versions() -> None:
    move = Move(version(4), version(5), "ada", "wrong on new clinics", AT)
    assert move.tags_of_new()["tandem.moved.20260304T050607Z"] == "champion in place of 5, by ada: wrong on new clinics"
    assert move.tags_of_old() == {
        "tandem.moved.20260304T050607Z": "no longer champion, 4 is, by ada: wrong on new clinics"
    }


def test_version_that_was_rolled_back_from_is_held_back_on_the_same_basis_only() -> None:
    bad = version(5, **{BASIS: "data=a;code=b"})
    champion = version(4, **Move(version(4), bad, "ada", "wrong", AT).tags_of_new())
    assert "version 5" in held_back(champion, "data=a;code=b")
    assert held_back(champion, "data=OTHER;code=b") == ""
    assert held_back(None, "data=a;code=b") == ""


def test_version_that_a_person_makes_the_champion_again_is_held_back_no_longer() -> None:
    bad = version(5, **{BASIS: "data=a"})
    champion = version(4, **Move(version(4), bad, "ada", "wrong", AT).tags_of_new())
    again = Move(bad, champion, "ada", "it was the clinic", AT).tags_of_new()
    assert ROLLED_BACK not in again


def test_next_champion_remembers_what_was_rolled_back_from() -> None:
    champion = version(4, **{ROLLED_BACK: "5=abc 7=def"})
    assert held_back_tag(rolled_back_from(champion)) == {ROLLED_BACK: "5=abc 7=def"}


def test_tags_of_many_moves_fit_into_a_tag_of_azure() -> None:
    held = dict.fromkeys(range(1_000_000, 1_000_100), "0" * 12)
    tags = {**held_back_tag(held), **Move(version(4), version(5), "a" * 32, "x" * 160, AT).tags_of_new()}
    assert all(len(value) <= 256 for value in tags.values())


@pytest.mark.parametrize("why", ["", "  ", "x" * 161])
def test_move_without_a_reason_that_can_be_kept_is_refused(why: str) -> None:
    with pytest.raises(ParameterError):
        Move(version(4), version(5), "ada", why, AT)


def test_reason_against_a_promotion_never_turns_a_rejection_into_another() -> None:
    rejected = GateDecision(False, ("too low",))
    assert kept_back(rejected, "rolled back") == rejected
    assert kept_back(GateDecision(True, ("good",)), "rolled back") == GateDecision(False, ("rolled back",))
    assert kept_back(GateDecision(True, ("good",)), "") == GateDecision(True, ("good",))


def test_version_before_is_what_was_replaced_and_never_what_was_moved_back_from() -> None:
    third = version(3, **{"tandem.compared_with": "2"})
    fifth = version(5, **Move(version(5), third, "ada", "better", AT).tags_of_new())
    again = version(3, **third.tags, **Move(third, fifth, "ada", "worse", AT).tags_of_new())
    assert (replaced(fifth), replaced(again), replaced(version(1))) == (3, 2, None)
