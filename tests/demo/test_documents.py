"""The demo reads whatever a folder holds, and never stumbles over one odd file."""

import os
from pathlib import Path

import pytest

from agentq.demo import documents
from agentq.demo.documents import MAX_BYTES, find, read
from agentq.demo.errors import DocumentError
from agentq.exceptions import AgentqError


def write(folder: Path, name: str, data: bytes = b"Some words.") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def text_of(folder: Path, data: bytes, name: str = "odd.txt") -> str:
    return read(write(folder, name, data).as_uri()).text


def test_installed_packages_are_the_default() -> None:
    references = find()
    assert references == sorted(set(references))
    assert {"package:celery", "package:SQLAlchemy", "package:pydantic"} <= set(references)


def test_every_installed_package_can_be_read() -> None:
    for reference in find():
        document = read(reference)
        assert f"package:{document.title}" == reference
        assert document.text
        assert document.text.isprintable() or set(document.text) & {"\n"}


def test_a_description_starts_with_the_package_summary_and_has_no_markup() -> None:
    text = read("package:celery").text
    assert text.startswith("Distributed Task Queue.\n\n")
    assert "Celery is" in text
    assert not any(mark in text for mark in ("image::", "::\n", "`_", "|build-status|"))


def test_a_folder_is_searched_at_any_depth_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b.md", "a.txt", "deep/er/c.rst", "UPPER.TXT", "naïve name #1.md"):
        write(tmp_path, name)
    for name in (".hidden.md", ".git/config.txt", "deep/.venv/x.md", "code.py", "no_suffix"):
        write(tmp_path, name)
    os.mkfifo(tmp_path / "pipe.txt")  # reading it would hang
    found = find(tmp_path)
    assert found == sorted(found)
    assert [read(reference).title for reference in found] == [
        "UPPER.TXT",
        "a.txt",
        "b.md",
        "c.rst",
        "naïve name #1.md",
    ]


def test_references_hold_in_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "docs/a.md", b"# Title\n\nSome words.")
    monkeypatch.chdir(tmp_path)
    (reference,) = find(Path("docs"))
    monkeypatch.chdir("/")
    assert read(reference).title == "Title"


def test_a_name_that_is_not_unicode_can_be_read_and_handed_on(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("Some words.")
    (reference,) = find(tmp_path)
    document = read(reference)
    assert document.text == "Some words."
    assert document.title == "caf.txt"
    assert document.model_dump_json().encode()  # lone surrogates would fail here


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing", "is not a folder"), ("file.txt", "is not a folder"), ("empty", "holds no .md, .rst or .txt")],
)
def test_a_folder_without_documents_is_refused(tmp_path: Path, name: str, says: str) -> None:
    write(tmp_path, "file.txt")
    write(tmp_path, "empty/picture.png")
    with pytest.raises(DocumentError, match=says) as refused:
        find(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)
    assert isinstance(refused.value, AgentqError)


def test_too_many_documents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENTS", 3)
    for number in range(3):
        write(tmp_path, f"{number}.txt")
    assert len(find(tmp_path)) == 3
    write(tmp_path, "one-too-many.txt")
    with pytest.raises(DocumentError, match="more than 3 documents; name a smaller folder"):
        find(tmp_path)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_text_is_decoded_whatever_its_encoding(tmp_path: Path, encoding: str) -> None:
    text = "Größe und Straße: ein schöner Satz über das Öl, für alle und für immer."
    assert text_of(tmp_path, text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\x00" * 1000, ""),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\xff\xfe\xfd\x9c\x81" * 40, ""),
        (b"One\x00 word\x1b[31m red\x07.", "One word[31m red."),
        (b"One.\r\n\r\nTwo.\rStill two.", "One.\n\nTwo. Still two."),
    ],
    ids=["empty", "only NUL", "binary", "control characters", "line ends"],
)
def test_odd_bytes_do_no_harm(tmp_path: Path, data: bytes, text: str) -> None:
    assert text_of(tmp_path, data) == text


def test_no_lone_surrogate_gets_through(tmp_path: Path) -> None:
    assert text_of(tmp_path, b"Before \xed\xa0\x80 after, with enough words to be text.").encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_huge_file_is_cut_and_says_so(tmp_path: Path, encoding: str) -> None:
    write(tmp_path, "huge.txt", ("xüü " * MAX_BYTES).encode(encoding))
    (reference,) = find(tmp_path)
    document = read(reference)
    assert document.truncated
    assert set(document.text) == set("xü ")
    assert MAX_BYTES // 3 < len(document.text.encode(encoding)) <= MAX_BYTES


def test_a_file_of_just_the_limit_is_whole(tmp_path: Path) -> None:
    document = read(write(tmp_path, "full.txt", b"x" * MAX_BYTES).as_uri())
    assert not document.truncated
    assert len(document.text) == MAX_BYTES


@pytest.mark.parametrize("reference", ["file:///gone/for/good.md", "package:never-was-installed"])
def test_a_document_that_is_gone_is_an_error_that_names_it(reference: str) -> None:
    with pytest.raises(DocumentError, match=r"good\.md|never-was-installed"):
        read(reference)
