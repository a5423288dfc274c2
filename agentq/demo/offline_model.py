"""The default model: extracts what a text says about itself, without a network, the same every time."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy
import yake
from segtok.segmenter import split_single  # type: ignore[import-untyped]  # segtok has no types
from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
from sumy.nlp.stemmers import Stemmer
from sumy.summarizers.lex_rank import LexRankSummarizer
from sumy.utils import get_stop_words

from agentq.demo.model import OTHER, Topics

LANGUAGE = "english"
RANKED_SENTENCES = 40  # a document says early what it is; ranking costs the square of this
RANKED_CHARACTERS = 20_000
MAX_SENTENCE = 300  # characters

_WORD = re.compile(r"[^\W\d_][\w'-]*")
_stem = Stemmer(LANGUAGE)


class OfflineModel:
    """LexRank (sumy) for the summary, YAKE for the keywords, counted words for the topic."""

    name = "offline extraction (LexRank, YAKE)"
    is_repeatable = True

    def summarise(self, text: str, sentences: int = 3) -> str:
        """Take the opening sentence and those most like the rest of the text, in their order."""
        opening, *others = _sentences(text[:RANKED_CHARACTERS]) or [""]
        chosen = [opening, *_rank([other for other in others if _is_full_sentence(other)], sentences - 1)]
        return " ".join(_shorten(sentence) for sentence in chosen).strip()

    def keywords(self, text: str, count: int = 6) -> list[str]:
        """Take the words and pairs of words that YAKE ranks highest."""
        extractor = yake.KeywordExtractor(lan="en", n=2, dedup_lim=0.7, top=count)
        return [keyword for keyword, _ in extractor.extract_keywords(text[:RANKED_CHARACTERS])]

    def classify(self, text: str, topics: Topics) -> str:
        """Take the topic most of whose words, in any form, occur; the earlier topic on a tie."""
        found = Counter(_stem(word.lower()) for word in _WORD.findall(text))
        scores = {topic: sum(found[_stem(word)] for word in words.split()) for topic, words in topics.items()}
        best = max(scores, key=lambda topic: scores[topic])
        return best if scores[best] else OTHER


class _Words:
    """The methods of sumy's tokenizer that ranking needs; sumy's own wants a download."""

    @staticmethod
    def to_words(sentence: str) -> tuple[str, ...]:
        return tuple(_WORD.findall(sentence))


@cache
def _ranker() -> LexRankSummarizer:
    ranker = LexRankSummarizer(_stem)
    ranker.stop_words = get_stop_words(LANGUAGE)
    return ranker


def _rank(sentences: list[str], count: int) -> list[str]:
    paragraph = Paragraph(Sentence(sentence, _Words) for sentence in sentences[:RANKED_SENTENCES])
    with numpy.errstate(invalid="ignore"):  # where no sentence is like another, all are rated not-a-number
        return [str(sentence) for sentence in _ranker()(ObjectDocumentModel([paragraph]), count)]


def _sentences(text: str) -> list[str]:
    """Split the text; a sentence that says the same again is left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        for sentence in map(str.strip, split_single(line)):
            found.setdefault(sentence.rstrip(".!").casefold(), sentence)
    return [sentence for sentence in found.values() if sentence]


def _is_full_sentence(sentence: str) -> bool:
    return sentence.endswith((".", "!", "?", "。")) and len(sentence) > 30


def _shorten(sentence: str) -> str:
    return sentence if len(sentence) <= MAX_SENTENCE else sentence[: MAX_SENTENCE - 1].rstrip() + "…"
