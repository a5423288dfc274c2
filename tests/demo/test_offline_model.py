"""The offline model needs no network, says only what the text says, and says it the same every time."""

import os
import subprocess
import sys

import pytest

from agentq.demo.digest import TOPICS, classify, summarise
from agentq.demo.documents import read
from agentq.demo.model import OTHER, Topics, model_from_environment
from agentq.demo.offline_model import MAX_SENTENCE, OfflineModel
from agentq.demo.schemas import Document

model = OfflineModel()

OFFLINE_REPORT = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"the offline model went to the network: {event} {arguments}")

sys.addaudithook(refuse)
from agentq.demo.digest import classify, summarise
from agentq.demo.documents import find, read
from agentq.demo.model import model_from_environment
from agentq.demo.report import combine

model = model_from_environment()
references = find()[::3]
if sys.argv[1] == "backwards":
    references.reverse()
print(combine([classify(summarise(read(reference), model), model) for reference in references]).markdown)
"""


def start_report(order: str, seed: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    environment |= {"PYTHONHASHSEED": seed, "HOME": "/nonexistent", "NLTK_DATA": "/nonexistent"}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", OFFLINE_REPORT, order]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
def test_two_processes_without_network_write_the_same_report() -> None:
    runs = [start_report("forwards", seed="1"), start_report("backwards", seed="4242")]
    (first, first_errors), (second, second_errors) = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], first_errors + second_errors
    assert first == second
    assert first.count("\n## ") > 20


@pytest.mark.parametrize("package", ["celery", "pydantic", "click", "pytest"])
def test_summary_and_keywords_come_from_the_text(package: str) -> None:
    document = read(f"package:{package}")
    summary = summarise(document, model)
    assert summary.summary.startswith(document.text.partition("\n")[0])
    assert 40 < len(summary.summary) <= 3 * MAX_SENTENCE + 2
    for sentence in summary.summary.split(". "):
        assert sentence.rstrip(".…") in document.text
    assert 3 <= len(summary.keywords) <= 6
    words = document.text.lower().replace("'s", "")
    assert all(keyword.split()[0].lower() in words for keyword in summary.keywords)


@pytest.mark.parametrize(
    ("package", "topic"),
    [
        ("kombu", "messaging"),
        ("requests", "web"),
        ("SQLAlchemy", "data"),
        ("pytest", "testing"),
        ("mypy", "typing"),
        ("setuptools", "packaging"),
        ("python-dotenv", "configuration"),
        ("markdown-it-py", "text"),
        ("click", "terminal"),
        ("anyio", "concurrency"),
    ],
)
def test_well_known_packages_get_their_topic(package: str, topic: str) -> None:
    assert classify(summarise(read(f"package:{package}"), model), model).topic == topic


def test_a_text_of_no_topic_is_other() -> None:
    assert model.classify("Apples and pears.", TOPICS) == OTHER


def test_a_word_counts_in_any_form_and_ties_go_to_the_first_topic() -> None:
    topics = {"first": "queue", "second": "test"}
    assert model.classify("Queues, queued and testing.", topics) == "first"
    assert model.classify("Queues for tested testing.", topics) == "second"
    assert model.classify("A queue and a test.", topics) == "first"


@pytest.mark.parametrize(
    "text",
    [
        "Word",
        "No end",
        "这是一个句子。" * 500,
        "😀 " * 500,
        "a" * 50_000,
        "1. 2. 3. 4.",
        "A. B. C. D. E. F. G. H.",
    ],
    ids=["word", "no end", "Chinese", "emoji", "one long word", "numbers", "letters"],
)
def test_odd_texts_have_a_bounded_digest(text: str) -> None:
    summary = summarise(Document(reference="r", title="t", text=text), model)
    assert 0 < len(summary.summary) <= 3 * MAX_SENTENCE + 2
    assert all(len(keyword) <= 60 for keyword in summary.keywords)


def test_the_same_sentence_is_not_said_twice() -> None:
    assert model.summarise("It works.\n\nIt works.\n\nit works!") == "It works."


class NeverAsked:
    """A model for documents that hold nothing to ask about."""

    name = "never asked"

    def summarise(self, text: str, sentences: int = 3) -> str:
        raise AssertionError("asked to summarise nothing")

    def keywords(self, text: str, count: int = 6) -> list[str]:
        raise AssertionError("asked for keywords of nothing")

    def classify(self, text: str, topics: Topics) -> str:
        raise AssertionError("asked for the topic of nothing")


def test_a_document_without_text_costs_no_question() -> None:
    empty = classify(summarise(Document(reference="r", title="t", text=""), NeverAsked()), NeverAsked())
    assert (empty.summary, empty.keywords, empty.topic) == ("", [], OTHER)


def test_an_api_key_alone_does_not_choose_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert isinstance(model_from_environment(), OfflineModel)
