"""The tree has the shape of the canvas, whatever the canvas is, and stays readable for many branches."""

from collections.abc import Collection

from agentq.cli.display import columns
from agentq.cli.tree import JobRecord, job_tree


def job(id: str, status: str = "succeeded", **fields: object) -> JobRecord:  # noqa: A002
    return JobRecord(id=id, name=id.rstrip("0123456789"), status=status, **fields)  # type: ignore[arg-type]


def digest(documents: int, retried: Collection[int] = (), failed: Collection[int] = ()) -> list[JobRecord]:
    """The demo's own jobs: find, each(read, summarise), combine."""
    jobs = [job("find", seconds=0.25, worker="worker 1"), job("each", kind="each", after="find")]
    for number in range(documents):
        attempts = 2 if number in retried else 1
        status = "failed" if number in failed else "succeeded"
        jobs += [
            job(f"read{number}", label=f"doc {number}", seconds=number / 10, attempts=attempts),
            job(f"summarise{number}", status, after=f"read{number}", join="each", position=number, seconds=1.0),
        ]
    return [*jobs, job("combine", "waiting", after="each", attempts=0, attempts_summary="0 of 1")]


def test_a_fan_out_shows_each_branch_and_what_comes_after() -> None:
    assert job_tree("digest", digest(2)).splitlines() == [
        "digest",
        "├─ find               succeeded  attempts 1 of 1    0.25 s  worker 1",
        "├─ each (2 branches)  succeeded",
        "│  ├─ read doc 0      succeeded  attempts 1 of 1    0.00 s",
        "│  │  summarise       succeeded  attempts 1 of 1    1.00 s",
        "│  └─ read doc 1      succeeded  attempts 1 of 1    0.10 s",
        "│     summarise       succeeded  attempts 1 of 1    1.00 s",
        "└─ combine            waiting    attempts 0 of 1",
    ]


def test_many_equal_branches_are_folded_and_the_notable_ones_shown() -> None:
    lines = job_tree("digest", digest(60, retried={41, 7, 50, 55}, failed={30})).splitlines()
    assert len(lines) == 1 + 2 + 3 * 2 + 1 + 1
    assert [line.split("doc ")[1].split()[0] for line in lines if "doc " in line] == ["7", "30", "41"]
    assert lines[-2] == (
        "│  └─ … 57 more like these: 114 succeeded; 2 with more than one attempt; 0.00 to 5.90 s each"
    )


def test_few_or_different_branches_are_all_shown() -> None:
    assert "more like these" not in job_tree("digest", digest(4))
    odd = [*digest(9), job("extra", after="summarise3", join="each", position=3)]
    odd = [record for record in odd if record.id != "summarise3"] + [job("summarise3", after="read3")]
    assert job_tree("digest", odd).count("doc ") == 9


def test_groups_nest_as_they_do_in_the_canvas() -> None:
    jobs = [
        job("a"),
        job("b", after="a"),
        job("c", after="b", join="inner"),
        job("d", after="b", join="inner", position=1),
        job("inner", kind="join", join="outer"),
        job("e", "running", after="a", join="outer", position=1),
        job("outer", "waiting", kind="join"),
        job("f", "waiting", after="outer", attempts=0, attempts_summary="0 of 1"),
    ]
    assert job_tree("nested", jobs).splitlines() == [
        "nested",
        "├─ a                      succeeded  attempts 1 of 1",
        "├─ outer (2 branches)     waiting",
        "│  ├─ b                   succeeded  attempts 1 of 1",
        "│  │  inner (2 branches)  succeeded",
        "│  │  ├─ c                succeeded  attempts 1 of 1",
        "│  │  └─ d                succeeded  attempts 1 of 1",
        "│  └─ e                   running    attempts 1 of 1",
        "└─ f                      waiting    attempts 0 of 1",
    ]


def test_a_canvas_that_starts_with_a_group() -> None:
    jobs = [job("a", join="j"), job("b", "failed", join="j", position=1), job("j", "waiting", kind="join")]
    assert job_tree("start", jobs).splitlines()[1:] == [
        "└─ j (2 branches)  waiting",
        "   ├─ a            succeeded  attempts 1 of 1",
        "   └─ b            failed     attempts 1 of 1",
    ]


def test_colour_only_where_it_was_asked_for() -> None:
    assert "\x1b" not in job_tree("digest", digest(1))
    assert "\x1b[32msucceeded" in job_tree("digest", digest(1), color=True)
    assert "\x1b[31mfailed" in job_tree("digest", digest(1, failed={0}), color=True)


def test_no_job_and_one_job() -> None:
    assert job_tree("empty", []) == "empty"
    assert job_tree("one", [job("a")]) == "one\n└─ a  succeeded  attempts 1 of 1"


def test_a_long_chain_is_no_trouble() -> None:
    jobs = [job(f"a{n}", after=f"a{n - 1}" if n else None) for n in range(2000)]
    assert len(job_tree("chain", jobs).splitlines()) == 2001


def test_a_note_stands_last_below_the_others() -> None:
    jobs = [job("a", "failed", worker="w@1", note="ValueError: x"), job("b", after="a", note="waits for a")]
    first, second = job_tree("notes", jobs).splitlines()[1:]
    assert first.index("ValueError") == second.index("waits for a")


def test_columns_stay_straight_whatever_a_name_or_a_count_is() -> None:
    jobs = [
        job("日本語", seconds=1.0, attempts_summary="1 of 5", note="one"),
        job("plain", after="日本語", seconds=1.0, attempts_summary="2 of 5, 1 more at no cost", note="two"),
    ]
    first, second = job_tree("names", jobs).splitlines()[1:]
    assert columns(first[: first.index("one")]) == columns(second[: second.index("two")])
