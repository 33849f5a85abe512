"""The worker's calls that find, register and promote model versions."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.mlflow_store.model_registry import Candidate
from flows.mlflow_store.worker.clients import made_once
from flows.mlflow_store.worker.errors import Refused
from flows.mlflow_store.worker.model_files import ModelFiles
from flows.mlflow_store.worker.shared_promotion import CHAMPION, SharedPromotion

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_LOG = "registry.jsonl"  # beside the database
# Of a registered model when it is made; a person may write another.
_MODEL_DESCRIPTION = (
    "Registered by Tandem. The alias `champion` names the version in use. Each version says which data, run and "
    "decision it comes from; all runs, those too that were rejected, are in the experiment of its source run."
)


class Versions(ModelFiles):
    """Model versions. Every public method is a call of the protocol."""

    def champion(self, model_name: str) -> dict[str, Any] | None:
        """Answer the version with the alias ``champion``; None if there is no such model, or no champion of it."""
        if self.registry_is_shared:
            found = self._promotion(model_name).champion()
        else:
            found = self._find(lambda: self._client.get_model_version_by_alias(model_name, CHAMPION))
        return None if found is None else self._described(found)

    def version(self, model_name: str, version: int) -> dict[str, Any] | None:
        """Answer the version with this number; None if there is none."""
        found = self._find(lambda: self._client.get_model_version(model_name, str(version)))
        return None if found is None else self._described(found)

    def find_model(self, model_name: str, version: str | None, label: str | None) -> dict[str, Any] | None:
        """Answer a version by its number or its alias; without both, or as ``latest``, the highest one."""
        if version is not None:
            found = self._find(lambda: self._client.get_model_version(model_name, version))
        elif label is not None and label != "latest":
            found = self._find(lambda: self._client.get_model_version_by_alias(model_name, label))
        else:
            found = max(self._versions_of(model_name), key=lambda each: int(each.version), default=None)
        return None if found is None else self._described(found)

    def tag(self, model_name: str, version: int, name: str, value: str) -> None:
        """Set a tag of a version."""
        self._client.set_model_version_tag(model_name, str(version), name, value)

    @staticmethod
    def _find(look: "Callable[[], ModelVersion]") -> "ModelVersion | None":
        from mlflow import MlflowException

        try:
            return look()
        except MlflowException as error:
            # MLflow says the one for a model or version that is not there, the other for an alias.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def register(self, candidate: Mapping[str, Any]) -> dict[str, Any]:
        """Register a model once, however often and by however many processes it is asked for.

        A version that has all the idempotency tags is the answer. Only if there is none, the model is copied into the
        run's artifacts and a version made of the copy; a crash in between leaves a copy that the next call takes
        over.

        Args:
            candidate: The fields of a :class:`Candidate`, whose model is a folder. Tags and description are those of a
                new version.
        """
        wanted = Candidate(**candidate)
        with self._locked():
            version, created = self._ensure_version(wanted)
            if created and self.registry_is_shared:
                version, created = self._first_of_the_same(version, wanted.idempotency_tags)
            self._write_down(version, None)
            return self._registered(version, created)

    def promote(
        self, candidate: Mapping[str, Any], compared_with: int | None, decision_tags: Mapping[str, str]
    ) -> dict[str, Any]:
        """Register a model and make it the champion, unless the champion is no longer the one it was compared with.

        On a registry that machines share, see :mod:`flows.mlflow_store.worker.shared_promotion`. In a file of this
        machine, the comparison and all that follows from it happen under the lock of the store, so that of any number
        of processes one is the first, and the others are told ``{"overtaken_by": VERSION}``; for them nothing is
        registered. The alias moves last, so that it never names what is not whole. A process that dies before that has
        promoted nothing; at most a version without the alias is left, which the next call for the same model takes
        over, with the tags of its own decision. One that dies after it is told the same version when it asks again,
        however the bytes of the model came out this time.

        Args:
            candidate: The fields of a :class:`Candidate`, whose model is a folder. An older version of the same model
                gets its tags and description too.
            compared_with: The version of the champion that the model was compared with, or None if there was none.
            decision_tags: What makes two decisions to promote this model the same decision. They become tags.
        """
        wanted = Candidate(**candidate)
        wanted = replace(wanted, tags={**wanted.tags, **decision_tags})
        if self.registry_is_shared:
            return self._promote_shared(wanted, compared_with, decision_tags)
        name = wanted.model_name
        with self._locked():
            champion = self._find(lambda: self._client.get_model_version_by_alias(name, CHAMPION))
            if champion is not None and decision_tags.items() <= champion.tags.items():
                # Made by an earlier try of this flow run. The bytes of the model may differ: a step that was run again,
                # or reused from another run, delivers the same model with other times in its files.
                self._write_down(champion, CHAMPION)
                return self._registered(champion, created=False)
            if champion is not None and int(champion.version) != compared_with:
                return {"overtaken_by": int(champion.version)}
            version, created = self._ensure_version(wanted)
            number = str(version.version)
            if not created:
                for tag, value in wanted.tags.items():
                    self._client.set_model_version_tag(name, number, tag, value)
                self._client.update_model_version(name, number, wanted.description)
                version = self._client.get_model_version(name, number)
            described = self._registered(version, created)
            self._client.set_registered_model_alias(name, CHAMPION, number)
            self._write_down(version, CHAMPION)
            return described

    def move(
        self, model_name: str, version: int, champion: int | None, new: Mapping[str, str], old: Mapping[str, str]
    ) -> dict[str, Any]:
        """Make another version the champion, unless the champion is no longer the one that the caller has seen.

        Args:
            model_name: Of the registered model.
            version: Which becomes the champion.
            champion: Which the caller has seen to be the champion.
            new: Tags of the version that becomes it.
            old: Tags of the version that was it.
        """
        with self._locked():
            found = self._find(lambda: self._client.get_model_version(model_name, str(version)))
            if found is None:
                raise Refused(f"{model_name!r} has no version {version}. Nothing was changed.")
            now = self.champion(model_name)
            if now is not None and now["version"] not in {champion, version}:
                return {"overtaken_by": now["version"]}
            for number, tags in ((champion, old), (version, new)):
                for tag, value in tags.items() if number is not None else ():
                    self._client.set_model_version_tag(model_name, str(number), tag, value)
            self._client.set_registered_model_alias(model_name, CHAMPION, str(version))
            found = self._client.get_model_version(model_name, str(version))
            self._write_down(found, CHAMPION)
            return self._registered(found, created=False)

    def _promote_shared(
        self, wanted: Candidate, compared_with: int | None, decision_tags: Mapping[str, str]
    ) -> dict[str, Any]:
        """Promote on a shared registry, without a lock. Each promotion makes a version of its own."""
        promotion = self._promotion(wanted.model_name)

        def claim() -> "ModelVersion":
            claimed = replace(wanted, tags={**wanted.tags, **promotion.claim_tags})
            return self._make_version(claimed, known_by={**decision_tags, **promotion.claim_tags})

        told = promotion.promote(decision_tags, compared_with, claim)
        if told is None:
            raise Refused(
                f"The model {wanted.model_name!r} has no champion any more: somebody took the alias away. Run again."
            )
        return {"overtaken_by": told} if isinstance(told, int) else self._registered(*told)

    def _promotion(self, model_name: str) -> SharedPromotion:
        def alias() -> int | None:
            found = self._find(lambda: self._client.get_model_version_by_alias(model_name, CHAMPION))
            return None if found is None else int(found.version)

        return SharedPromotion(self._client, model_name, lambda: list(self._versions_of(model_name)), alias)

    def _make_version(self, wanted: Candidate, known_by: Mapping[str, str]) -> "ModelVersion":
        """Make a version; ``known_by`` are the tags by which it is found if a server's answer is lost."""
        name, run_id, description = wanted.model_name, wanted.run_id, wanted.description or None
        source = self._keep_model(Path(wanted.model), run_id)
        self._ensure_registered_model(name)
        tags = {**wanted.tags, **wanted.idempotency_tags}
        return made_once(
            lambda: self._client.create_model_version(name, source, run_id, tags=tags, description=description),
            lambda: self._find_version(name, known_by),
        )

    def _first_of_the_same(
        self, version: "ModelVersion", idempotency_tags: Mapping[str, str]
    ) -> "tuple[ModelVersion, bool]":
        """Return the lowest version of the same model. If two machines made one at once, the higher one is deleted."""
        same = [
            each
            for each in self._versions_of(version.name)
            if idempotency_tags.items() <= each.tags.items() and int(each.version) < int(version.version)
        ]
        if not same:
            return version, True
        self._client.delete_model_version(version.name, str(version.version))
        return min(same, key=lambda each: int(each.version)), False

    def _ensure_version(self, wanted: Candidate) -> "tuple[ModelVersion, bool]":
        """The version that carries the idempotency tags, and whether it was made just now. The caller has the lock."""
        if not wanted.idempotency_tags:
            raise Refused("To register a model, say what makes it the same model: idempotency_tags is empty.")
        version = self._find_version(wanted.model_name, wanted.idempotency_tags)
        if version is not None:
            return version, False
        return self._make_version(wanted, known_by=wanted.idempotency_tags), True

    def _versions(self, query: str) -> "Iterator[ModelVersion]":
        return self._pages(self._client.search_model_versions, filter_string=query)

    def _versions_of(self, model_name: str) -> "Iterator[ModelVersion]":
        return self._versions(f"name = '{model_name}'")

    def _find_version(self, model_name: str, tags: Mapping[str, str]) -> "ModelVersion | None":
        # Compared here and not in the query, whose language cannot quote every value.
        for version in self._versions_of(model_name):
            if tags.items() <= dict(version.tags).items() and version.status != "FAILED_REGISTRATION":
                return version
        return None

    def _ensure_registered_model(self, name: str) -> None:
        from mlflow import MlflowException

        try:
            self._client.create_registered_model(name, description=_MODEL_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _write_down(self, version: "ModelVersion", alias: str | None) -> None:
        """Add a version to the log (`flows/cli/state/registry_log.py`), unless the model's last line says the same."""
        if self._lock is None:  # a server's database is not ours to repair
            return
        log, lines = self._lock.with_name(_LOG), [_line(version, alias)]
        try:
            known = [json.loads(each) for each in log.read_text(encoding="utf-8").splitlines()]
            if [each for each in known if each["name"] == version.name][-1:] == lines:
                return
        except FileNotFoundError:  # the first line: what was registered before there was a log is added, too
            lines = list(self._all_lines())
        except ValueError:
            pass  # a line was cut off
        with log.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def _all_lines(self) -> Iterator[dict[str, Any]]:
        for found in sorted(self._versions(""), key=lambda version: (version.name, int(version.version))):
            aliases = self._client.get_model_version(found.name, str(found.version)).aliases
            for alias in aliases or [None]:
                yield _line(found, alias)

    def _registered(self, version: "ModelVersion", created: bool) -> dict[str, Any]:
        """A version that was registered, as an answer. From a shared registry its files are not fetched."""
        described = _facts(version, version.source) if self.registry_is_shared else self._described(version)
        return described | {"created": created}

    def _described(self, version: "ModelVersion") -> dict[str, Any]:
        """A version as an answer, with the folder of its files on this machine."""
        return _facts(version, str(self._folder_of(version)))


def _facts(version: "ModelVersion", source: str | None) -> dict[str, Any]:
    return {
        "version": int(version.version),
        "source_path": source or "",
        "run_id": version.run_id,
        "tags": dict(version.tags),
    }


def _line(version: "ModelVersion", alias: str | None) -> dict[str, Any]:
    """What the log has of a version."""
    return {
        "name": version.name,
        "version": int(version.version),
        "source": version.source,
        "run_id": version.run_id,
        "tags": dict(version.tags),
        "alias": alias,
    }
