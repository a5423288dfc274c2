"""Find and read the demo's documents: files below a folder, or what installed packages say of themselves."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from charset_normalizer import from_bytes

from agentq.demo.errors import DocumentError, FolderError
from agentq.demo.prose import extract
from agentq.demo.schemas import Document

MAX_DOCUMENTS = 500
MAX_BYTES = 200_000  # of one document; even, so that UTF-16 is not cut inside a unit
MAX_TITLE = 120  # characters

_MARKUP = {".md": "markdown", ".rst": "rst", ".txt": "plain"}
_PACKAGE = "package:"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def find(folder: Path | None = None) -> list[str]:
    """List the documents that the demo works on.

    Args:
        folder: where to look, at any depth, for ``.md``, ``.rst`` and ``.txt`` files whose path below it
            has no hidden folder in it; None takes the descriptions of the packages installed here.

    Returns:
        Sorted references for `read`: ``file:///path/name.md`` or ``package:name``.

    Raises:
        FolderError: the folder is missing, holds no document or more than ``MAX_DOCUMENTS``.
    """
    if folder is None:
        return sorted(_PACKAGE + name for name in _described_packages())
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder; name a folder that holds .md, .rst or .txt files.")
    references = []
    for path in _files(folder.resolve()):
        references.append(path.as_uri())
        if len(references) > MAX_DOCUMENTS:
            raise FolderError(f"{folder} holds more than {MAX_DOCUMENTS} documents; name a smaller folder.")
    if not references:
        raise FolderError(f"{folder} holds no .md, .rst or .txt file; name a folder that does.")
    return sorted(references)


def read(reference: str) -> Document:
    """Read one document as prose.

    Args:
        reference: one that `find` returned.

    Returns:
        The document without its markup. Text that cannot be decoded reads as empty; only the first
        ``MAX_BYTES`` bytes are read, and ``truncated`` says when that left something out.

    Raises:
        DocumentError: the document is gone or cannot be opened.
    """
    if reference.startswith(_PACKAGE):
        title: str | None = reference.removeprefix(_PACKAGE)
        data, markup = _description(reference.removeprefix(_PACKAGE))
    else:
        path = _path(reference)
        title, data, markup = None, _first_bytes(path), _MARKUP.get(path.suffix.lower(), "plain")
    prose = extract(_decode(data[:MAX_BYTES], cut=len(data) > MAX_BYTES), markup)
    return Document(
        reference=reference,
        title=(title or prose.title or _clean(_path(reference).name))[:MAX_TITLE],
        text="\n\n".join(prose.paragraphs),
        truncated=len(data) > MAX_BYTES,
    )


def _described_packages() -> set[str]:
    found = (distribution.metadata.json for distribution in metadata.distributions())
    return {str(entry["name"]) for entry in found if entry.get("name") and entry.get("description")}


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(where, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in _MARKUP and path.is_file():
                yield path


def _description(name: str) -> tuple[bytes, str]:
    try:
        entry = metadata.metadata(name).json
    except metadata.PackageNotFoundError as error:
        raise DocumentError(f"Package {name} is not installed any more; run the demo again.") from error
    kind = str(entry.get("description_content_type", "text/x-rst")).partition(";")[0].strip()
    markup = {"text/markdown": "markdown", "text/plain": "plain"}.get(kind, "rst")
    # The author's own one line comes first: many descriptions open with sponsors or badges.
    text = f"{str(entry.get('summary') or name).rstrip('.')}.\n\n{entry.get('description', '')}"
    return text.encode("utf-8", "ignore"), markup


def _path(reference: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(reference).path)))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"Cannot read {path}: {error.strerror}; restore it, or leave it out.") from error


def _decode(data: bytes, *, cut: bool) -> str:
    try:
        # A cut may fall inside a character; a decoder without "final" leaves that one out.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=not cut)
    except UnicodeDecodeError:
        text = str(from_bytes(data).best() or "")
    return _clean(text.replace("\r\n", "\n").replace("\r", "\n"))


def _clean(text: str) -> str:
    """Leave out what a database or a terminal would choke on: control characters and lone surrogates."""
    return _CONTROL.sub("", text.encode("utf-8", "ignore").decode())
