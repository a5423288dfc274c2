"""Any endpoint that speaks chat completions will do; what it says is taken with care."""

import json
from typing import Any

import openai
import pytest

from agentq.demo.digest import TOPICS, classify, summarise
from agentq.demo.errors import ModelAnswerError
from agentq.demo.model import OTHER, model_from_environment
from agentq.demo.openai_model import DEFAULT_MODEL, MAX_CHARACTERS, OpenAIModel
from agentq.demo.schemas import Document
from tests.demo.endpoint import Endpoint, completion


@pytest.fixture
def model(endpoint: Endpoint) -> OpenAIModel:
    return OpenAIModel(endpoint.url, "secret", "small")


def test_the_environment_names_endpoint_key_and_model(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    monkeypatch.setenv("OPENAI_MODEL", "large")
    endpoint.answers = ["Fine."]
    model = model_from_environment()
    assert model.summarise("Some text.") == "Fine."
    assert endpoint.asked[0]["path"] == "/v1/chat/completions"
    assert endpoint.asked[0]["model"] == "large"
    assert endpoint.keys == ["Bearer from-the-environment"]
    assert model.name == f"large at {endpoint.url}"


def test_a_local_endpoint_needs_neither_key_nor_model(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    endpoint.answers = ["Fine."]
    assert model_from_environment().summarise("Some text.") == "Fine."
    assert endpoint.asked[0]["model"] == DEFAULT_MODEL


def test_a_document_goes_through_three_questions(endpoint: Endpoint, model: OpenAIModel) -> None:
    endpoint.answers = ['["queues", "Celery"]', "It is about\nqueues.\n", " Messaging.\n"]
    document = Document(reference="r", title="t", text="All about queues.", truncated=True)
    digest = classify(summarise(document, model), model)
    assert digest.keywords == ["queues", "Celery"]
    assert digest.summary == "It is about queues."
    assert digest.topic == "messaging"
    assert digest.truncated
    questions = [asked["messages"][-1]["content"] for asked in endpoint.asked]
    assert "All about queues." in questions[0]
    assert "All about queues." in questions[1]
    assert "It is about queues." in questions[2]
    assert all(topic in questions[2] for topic in TOPICS)


@pytest.mark.parametrize(
    "answer",
    [
        '["one", "two words", "three"]',
        'Here they are:\n```json\n["one", "two words", "three"]\n```\nAnything else?',
        "one, two words, three",
        "- one\n- two words\n- three",
        "1. one\n2. two words\n3. three",
        "['one', 'two words', 'three']",
    ],
)
def test_keywords_are_understood_in_many_forms(endpoint: Endpoint, model: OpenAIModel, answer: str) -> None:
    endpoint.answers = [answer]
    assert model.keywords("Some text.") == ["one", "two words", "three"]


def test_no_more_keywords_than_asked_for(endpoint: Endpoint, model: OpenAIModel) -> None:
    endpoint.answers = [json.dumps([str(number) for number in range(50)])]
    assert len(model.keywords("Some text.", count=4)) == 4


def test_a_topic_that_was_not_offered_is_other(endpoint: Endpoint, model: OpenAIModel) -> None:
    endpoint.answers = ["Gardening, I would say"]
    assert model.classify("Roses.", TOPICS) == OTHER


def test_a_long_text_is_cut_before_it_is_sent(endpoint: Endpoint, model: OpenAIModel) -> None:
    endpoint.answers = ["Long."]
    model.summarise("x" * (MAX_CHARACTERS + 1000))
    assert endpoint.asked[0]["messages"][-1]["content"].count("x") < MAX_CHARACTERS + 10


@pytest.mark.parametrize("answer", [None, "", " \n", (200, completion("x") | {"choices": []})])
def test_an_empty_answer_is_an_error_that_names_the_model(
    endpoint: Endpoint, model: OpenAIModel, answer: Any
) -> None:
    endpoint.answers = [answer]
    with pytest.raises(ModelAnswerError, match="small at http"):
        model.summarise("Some text.")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
def test_an_error_of_the_endpoint_comes_through_after_one_try(
    endpoint: Endpoint, model: OpenAIModel, status: int, error: type[openai.APIStatusError]
) -> None:
    endpoint.answers = [(status, {"error": {"message": "not now", "code": "busy"}})] * 3
    with pytest.raises(error, match="not now"):
        model.summarise("Some text.")
    assert len(endpoint.asked) == 1


def test_an_endpoint_that_is_down_is_a_connection_error(endpoint: Endpoint, model: OpenAIModel) -> None:
    nowhere = OpenAIModel("http://127.0.0.1:9/v1", "secret", "small")
    with pytest.raises(openai.APIConnectionError):
        nowhere.summarise("Some text.")
