"""The real SDKs, each asked the simplest thing that it can be asked, with its own retries off."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import anthropic
import botocore.session
import httpx
import httpx2
import openai
import requests
from botocore.config import Config
from google import genai
from google.genai import types
from pydantic import BaseModel

MESSAGES: Any = [{"role": "user", "content": "hi"}]
Client = Callable[[str, float], object]
"""Asks the provider at a URL, waiting so many seconds at most."""


class Answered(BaseModel):
    text: str


def _openai(ask: Callable[[Any], Any]) -> Client:
    def call(url: str, timeout: float) -> object:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=timeout) as client:
            return ask(client)

    return call


def _openai_async(ask: Callable[[Any], Coroutine[Any, Any, Any]]) -> Client:
    async def call(url: str, timeout: float) -> object:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=timeout) as client:
            return await ask(client)

    return lambda url, timeout: asyncio.run(call(url, timeout))


async def _drain(stream: Any) -> list[Any]:
    return [event async for event in await stream]


_COMPLETION: dict[str, Any] = {"model": "m", "messages": MESSAGES}


def _anthropic(stream: bool) -> Client:
    def call(url: str, timeout: float) -> object:
        with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, timeout=timeout) as client:
            answer: Any = client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=stream)
            return list(answer) if stream else answer

    return call


def _anthropic_async(stream: bool) -> Client:
    async def call(url: str, timeout: float) -> object:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0, timeout=timeout) as client:
            answer: Any = client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=stream)
            return await (_drain(answer) if stream else answer)

    return lambda url, timeout: asyncio.run(call(url, timeout))


def _google_client(url: str, timeout: float) -> genai.Client:
    options = types.HttpOptions(base_url=url, timeout=int(timeout * 1000))
    return genai.Client(api_key="k", http_options=options)


def ask_google(url: str, timeout: float) -> object:
    client = _google_client(url, timeout)
    try:
        return client.models.generate_content(model="gemini-m", contents="hi")
    finally:
        client.close()


def ask_google_async(url: str, timeout: float) -> object:
    async def call() -> object:
        client = _google_client(url, timeout)
        try:
            return await client.aio.models.generate_content(model="gemini-m", contents="hi")
        finally:
            await client.aio.aclose()
            client.close()

    return asyncio.run(call())


@functools.cache
def bedrock_session() -> Any:
    """Loading the model of the service takes a while; once is enough."""
    return botocore.session.Session()


def ask_bedrock(url: str, timeout: float, **credentials: str | None) -> object:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=timeout, read_timeout=timeout, proxies={})
    given = credentials or {"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    client = bedrock_session().create_client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config, **given
    )
    try:
        return client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    finally:
        client.close()


def _httpx(package: Any) -> Client:
    def call(url: str, timeout: float) -> object:
        with package.Client(timeout=timeout, follow_redirects=True) as client:
            return client.get(url).raise_for_status()

    return call


def _httpx_async(package: Any) -> Client:
    async def call(url: str, timeout: float) -> object:
        async with package.AsyncClient(timeout=timeout, follow_redirects=True) as client:
            return (await client.get(url)).raise_for_status()

    return lambda url, timeout: asyncio.run(call(url, timeout))


def ask_requests(url: str, timeout: float) -> object:
    with requests.Session() as session:
        answer = session.get(url, timeout=timeout)
        answer.raise_for_status()
        return answer


def ask_aiohttp(url: str, timeout: float) -> object:
    async def call() -> object:
        limit = aiohttp.ClientTimeout(total=timeout)
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as answer:
            answer.raise_for_status()
            return await answer.read()

    return asyncio.run(call())


CLIENTS: dict[str, Client] = {
    "openai": _openai(lambda client: client.chat.completions.create(**_COMPLETION)),
    "openai-async": _openai_async(lambda client: client.chat.completions.create(**_COMPLETION)),
    "openai-stream": _openai(lambda client: list(client.chat.completions.create(**_COMPLETION, stream=True))),
    "openai-stream-async": _openai_async(
        lambda client: _drain(client.chat.completions.create(**_COMPLETION, stream=True))
    ),
    "openai-parse": _openai(lambda client: client.chat.completions.parse(**_COMPLETION, response_format=Answered)),
    "anthropic": _anthropic(stream=False),
    "anthropic-async": _anthropic_async(stream=False),
    "anthropic-stream": _anthropic(stream=True),
    "anthropic-stream-async": _anthropic_async(stream=True),
    "google": ask_google,
    "google-async": ask_google_async,
    "bedrock": ask_bedrock,
    "httpx": _httpx(httpx),
    "httpx-async": _httpx_async(httpx),
    "httpx2": _httpx(httpx2),
    "httpx2-async": _httpx_async(httpx2),
    "requests": ask_requests,
    "aiohttp": ask_aiohttp,
}

OPENAI = ("openai", "openai-async")
ANTHROPIC = ("anthropic", "anthropic-async")
GOOGLE = ("google", "google-async")
BEDROCK = ("bedrock",)
HTTP = ("httpx", "httpx-async", "httpx2", "httpx2-async", "requests", "aiohttp")


def raised_by(client: Client, url: str, timeout: float = 20.0) -> BaseException:
    """Return what the client raises."""
    try:
        answer = client(url, timeout)
    except Exception as error:
        return error
    raise AssertionError(f"nothing was raised, the answer was {answer!r}")
