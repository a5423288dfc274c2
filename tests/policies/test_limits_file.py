"""A limits file holds before the numbers in code; a bad one is refused with its line and the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentq.exceptions import ConfigurationError
from agentq.policies.limits import Meters, PerTime
from agentq.policies.limits_file import LimitsFile, read

GOOD = '[limits.model]\nslots = 10\n\n[limits."model:gpt-5"]\nslots = 20\n'


def written(folder: Path, text: str) -> LimitsFile:
    path = folder / "limits.toml"
    path.write_text(text)
    return read(path)


def test_the_number_of_a_key_holds_before_that_of_all_keys_and_that_before_the_codes(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    code = Meters(slots=3)
    assert file.meters_of("model:gpt-5", code).slots == 20
    assert file.meters_of("model:small", code).slots == file.meters_of("model", code).slots == 10
    assert file.meters_of("gpu", code) == code
    file.require_known({"model": code, "gpu": code})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\n[limit.model]\n", r"line 1: there is no key 'a'\. Known: limits"),
        ("\n[limit.model]\nslots = 1\n", r"line 2: there is no key 'limit'\. Did you mean 'limits'\?"),
        ("[limits.model]\nslots = 1\n[limits.b]\nslot = 2\n", r"line 4: there is no key 'slot'.*mean 'slots'\?"),
        ("[limits.model]\nslots = 0\n", r"line 2: slots of limit 'model' is 0; it must be a whole number from 1"),
        ("[limits.model]\nslots = true\n", r"line 2: slots of limit 'model' is True"),
        ("[limits.a]\nslots = 1\n[limits.b]\n", r"line 3: limit 'b' has nothing; give it slots, rate, tokens or"),
        ('[limits.a]\nrate = "0/60"\n', r"line 2: rate of limit 'a' is '0/60'; it must be a number from 1 to"),
        ("[limits.a]\nslots = 1\nrate = 500\n", r"line 3: rate of limit 'a' is 500; it must be .*500/1m"),
        ('[limits.a]\ntokens = "5/0"\n', r"line 2: tokens of limit 'a' is '5/0'"),
        ('[limits.a]\nrate = "5/1 week"\n', r"line 2: rate of limit 'a' is '5/1 week'"),
        ("[limits.a]\ncooldown = 30\n", r"line 2: cooldown of limit 'a' is 30; it must be true or false"),
        ('[limits.a]\nslots = 1\ncooldown = "yes"\n', r"line 3: cooldown of limit 'a' is 'yes'"),
        ("[limits]\nmodel = 3\n", r"line 2: limits\.model is 3; it must be a table"),
        ("limits = 3\n", r"line 1: limits is 3; it must be a table"),
        ("[limits.model\n", r"is no TOML: .*line 1"),
        ("[limits.a]\nslots = 1\n[limits.a]\nslots = 1\n", r"is no TOML: .*line 3"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        written(tmp_path, text)
    assert "limits.toml" in str(refused.value)
    assert "setting agentq_limits" in str(refused.value)


def test_a_rate_and_tokens_hold_in_place_of_the_codes_with_its_burst(tmp_path: Path) -> None:
    file = written(tmp_path, '[limits.model]\nrate = "5/1m"\n[limits."model:b"]\ntokens = "200000/60"\n')
    code = Meters(slots=3, rate=PerTime(500, 60.0, 20), tokens=PerTime(100, 60.0, 10))
    assert file.meters_of("model:a", code) == Meters(3, PerTime(5, 60.0, 4), code.tokens)
    assert file.meters_of("model:b", code) == Meters(3, PerTime(5, 60.0, 4), PerTime(200_000, 60.0, 10))
    file.require_known({"model": code})
    with pytest.raises(ConfigurationError, match=r"line 2: code declares no rate of limit 'model'"):
        file.require_known({"model": Meters(slots=3)})


def test_a_cooldown_holds_in_place_of_the_codes_for_one_key_or_all(tmp_path: Path) -> None:
    file = written(tmp_path, '[limits.model]\ncooldown = true\n[limits."model:b"]\ncooldown = false\n')
    without, cooling = Meters(slots=3), Meters(slots=3, has_cooldown=True)
    assert file.meters_of("model:a", without) == file.meters_of("model", cooling) == cooling
    assert file.meters_of("model:b", cooling) == without
    assert file.meters_of("gpu", cooling) == cooling
    file.require_known({"model": without})
    with pytest.raises(ConfigurationError, match=r"line 1: no code declares limit 'model'"):
        file.require_known({"gpu": without})


def test_an_ordered_queue_can_have_no_cooldown(tmp_path: Path) -> None:
    file = written(tmp_path, '[limits."queue:llm"]\nslots = 5\ncooldown = true\n')
    with pytest.raises(
        ConfigurationError, match=r"line 3: 'queue:llm' is an ordered queue, which has no cooldown"
    ):
        file.require_known({"queue:llm": Meters(slots=3)})


def test_a_limit_that_no_code_declares_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    with pytest.raises(
        ConfigurationError, match=r"line 1: no code declares limit 'model'\. Did you mean 'models'"
    ):
        file.require_known({"models": Meters(), "gpu": Meters()})
    with pytest.raises(ConfigurationError, match="No step declares one"):
        file.require_known({})


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["missing", "no text"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "limits.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"limits\.toml cannot be read: "):
        read(path)
