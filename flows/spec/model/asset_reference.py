"""References to named assets: data, models, components and environments of a workspace or registry."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SHORT = re.compile(r"(?:azureml:)*(?P<name>[\w.-]+)(?::(?P<version>[\w.-]+)|@(?P<label>[\w.-]+))?")
_LONG = re.compile(
    r"(?:azureml:)+/.*/(?:data|models|components|environments)/(?P<name>[\w.-]+)"
    r"(?:/versions/(?P<version>[\w.-]+)|/labels/(?P<label>[\w.-]+))?"
)
# A file in a datastore may lie in a folder that is called like a kind of asset.
_IN_DATASTORE = "/paths/"


@dataclass(frozen=True, slots=True)
class AssetReference:
    """An asset by its name, with its version or a label such as ``latest``; with neither, whichever version is meant.

    Where it is registered (which workspace or registry) and what kind of asset it is are left out.
    """

    name: str
    version: str | None = None
    label: str | None = None

    def __str__(self) -> str:
        """As YAML has it after ``azureml:``."""
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return self.name if self.label is None else f"{self.name}@{self.label}"

    @classmethod
    def short(cls, text: str) -> "AssetReference | None":
        """Read ``name``, ``name:version`` or ``name@label``, with or without ``azureml:``; None for any other text."""
        found = _SHORT.fullmatch(text)
        return None if found is None else cls(**found.groupdict())

    @classmethod
    def read(cls, text: str) -> "AssetReference | None":
        """Read a short reference or an address such as ``azureml://registries/r/data/titanic/versions/1``.

        Returns:
            The reference; None for any other text, such as a path, a URL or an address in a datastore.
        """
        found = None if _IN_DATASTORE in text else _LONG.fullmatch(text)
        return cls.short(text) if found is None else cls(**found.groupdict())

    def names(self) -> Iterator[str]:
        """The short names that it goes by: ``azureml:fit:1``, ``fit:1``, ``azureml:fit`` and ``fit``, in this order."""
        yield from dict.fromkeys((f"azureml:{self}", str(self), f"azureml:{self.name}", self.name))
