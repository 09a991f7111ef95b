"""Where a cohort can be downloaded from: the `download` list of a card (datasets/*.yaml)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from neurodecode.config.base import Settings


class RemoteFile(Settings):
    """One file of a host.

    A digest reads `sha256:<hex>` or `md5:<hex>`.
    """

    url: str
    path: str
    """Below the folder of the cohort, with forward slashes."""
    bytes: int | None = Field(None, ge=0)
    """Size, if the host says it."""
    digest: str | None = Field(None, pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in parts[0]:
            raise ValueError(f"{path!r} does not stay inside the folder of the cohort")
        return str(PurePosixPath(path))


class RemoteSource(Settings):
    """What all hosts share."""

    into: str = "."
    """Folder below that of the cohort."""
    include: tuple[str, ...] = ("*",)
    """Patterns of paths to take; * also crosses folders."""
    exclude: tuple[str, ...] = ()
    """Patterns of paths to leave out."""
    unpack: bool = False
    """Also unpack each .zip into a folder of its name beside it."""


class OsfSource(RemoteSource):
    """One node of the Open Science Framework. OSF_TOKEN in the environment lifts its limit of requests."""

    host: Literal["osf"]
    node: str
    api: str = "https://api.osf.io/v2"


class HuggingFaceSource(RemoteSource):
    """One dataset repository of Hugging Face. HF_TOKEN in the environment opens gated ones."""

    host: Literal["huggingface"]
    repository: str
    revision: str = "main"
    api: str = "https://huggingface.co"


class DryadSource(RemoteSource):
    """One data set of Dryad. DRYAD_TOKEN in the environment is passed on: its host asks for one."""

    host: Literal["dryad"]
    doi: str
    api: str = "https://datadryad.org"


class OpenNeuroSource(RemoteSource):
    """The newest version of a data set of OpenNeuro, from its public bucket."""

    host: Literal["openneuro"]
    dataset: str = Field(pattern=r"^ds\d{6}$")
    api: str = "https://s3.amazonaws.com/openneuro.org"


class ChecksumsSource(RemoteSource):
    """A web folder with a list of SHA-256 sums and paths, as PhysioNet has."""

    host: Literal["checksums"]
    url: str
    """The folder."""
    sums: str = "SHA256SUMS.txt"
    """The list in it."""


class FilesSource(RemoteSource):
    """Files named one by one."""

    host: Literal["files"]
    files: tuple[RemoteFile, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> FilesSource:
        if not self.files:
            raise ValueError("files is empty: name at least one")
        return self


DownloadSource = Annotated[
    OsfSource | HuggingFaceSource | DryadSource | OpenNeuroSource | ChecksumsSource | FilesSource,
    Field(discriminator="host"),
]
