from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from exllama_guard.core.measures import FloatArray, Gate, NotScored, Reason
from exllama_guard.core.ports import TokenVectors
from exllama_guard.core.snippets import Snippet, make_snippet
from exllama_guard.core.turns import ClaimKind, FindingKind, Severity
from exllama_guard.errors import EmbedderError, VerifierError
from exllama_guard.grounding.support import AnswerScorer
from hypothesis import given
from hypothesis import strategies as st

PHONES = (
    "The company sold 67 million phones in 2019. Its chief, Ann Lee, said sales would increase in Europe."
)
TOWER = (
    "The Eiffel Tower is 330 metres tall and was completed in March 1889. Gustave Eiffel's company built it."
)
SNIPPETS = (make_snippet(PHONES, position=0), make_snippet(TOWER, position=1))


class BagEmbedder:
    """Vectors of words by their hash; a text is the mean of its words. Counts its calls."""

    id = "bag"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([one.sentence for one in self.embed_tokens(texts)])

    def embed_tokens(self, texts: Sequence[str]) -> tuple[TokenVectors, ...]:
        self.texts += texts
        return tuple(self._vectors(text) for text in texts)

    @staticmethod
    def _vectors(text: str) -> TokenVectors:
        rows, offsets, at = [], [], 0
        for word in text.split(" "):
            rng = np.random.default_rng(zlib.crc32(word.strip(".,").casefold().encode()))
            vector = rng.standard_normal(16)
            rows.append(vector / np.linalg.norm(vector))
            offsets.append((at, at + len(word)))
            at += len(word) + 1
        tokens = np.array(rows, dtype=np.float32)
        mean = tokens.mean(axis=0)
        return TokenVectors(mean / np.linalg.norm(mean), tokens, np.array(offsets, dtype=np.int32))


class BrokenEmbedder(BagEmbedder):
    """Fails always."""

    def embed_tokens(self, texts: Sequence[str]) -> tuple[TokenVectors, ...]:
        raise EmbedderError("no model")


class FixedVerifier:
    """Gives one answer to every pair and remembers the batches."""

    id = "fixed"

    def __init__(self, *row: float) -> None:
        self.row = row
        self.batches: list[list[tuple[str, str]]] = []

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        self.batches.append(list(pairs))
        if not self.row:
            raise VerifierError("no model")
        return np.array([self.row] * len(pairs), dtype=np.float32)


def messages(answer: str, snippets: Sequence[Snippet] = SNIPPETS) -> list[str]:
    report = AnswerScorer(snippets).score(answer)
    return [finding.message for claim in report.claims for finding in claim.findings]


def test_a_number_that_counts_something_else_elsewhere_hides_no_conflict() -> None:
    snippets = (
        make_snippet(
            "A canary that takes more than 120 seconds is reported as a hang. "
            "The usual cause is that two processes wait for each other.",
            position=0,
        ),
    )
    (message,) = messages("A canary is reported as a hang after 2 seconds.", snippets)
    assert message == "The answer says “2 seconds”; snippet s1 says “120 seconds”."
    assert messages("A canary is reported as a hang after 120 seconds.", snippets) == []


@pytest.mark.parametrize("embedder", [None, BagEmbedder()], ids=["no embedder", "embedder"])
def test_a_copy_outranks_every_altered_copy(embedder: BagEmbedder | None) -> None:
    scorer = AnswerScorer(SNIPPETS, embedder=embedder)
    copy = scorer.score("The company sold 67 million phones in 2019.")
    assert isinstance(copy.support, float)
    assert copy.gate is Gate.PASS
    assert copy.supported is True
    for altered in (
        "The company sold 999 million phones in 2019.",
        "The company never sold 67 million phones in 2019.",
        "The union of Berlin sold 67 million phones in 2019.",
        "Sharks swim in cold water near the coast.",
    ):
        report = scorer.score(altered)
        assert isinstance(report.support, float)
        assert report.support < copy.support - 0.1, altered
        assert report.gate is not Gate.PASS, altered


def test_an_answer_is_as_supported_as_its_worst_claim() -> None:
    scorer = AnswerScorer(SNIPPETS, embedder=BagEmbedder())
    good, bad = "The Eiffel Tower is 330 metres tall.", "The company sold 999 million phones in 2019."
    both = scorer.score(f"{good} {bad}")
    assert both.support == scorer.score(bad).support == min(c.support for c in both.claims)  # type: ignore[type-var]
    assert both.worst is not None and both.worst.text == bad
    assert both.supported is False


@pytest.mark.parametrize(
    ("answer", "message", "offending"),
    [
        (
            "The firm sold 999 million phones in 2019.",
            "The answer says “999 million”; snippet s1 says “67 million”.",
            "999 million",
        ),
        (
            "The Eiffel Tower was completed in May 1889.",
            "The answer says “May 1889”; snippet s2 says “March 1889”.",
            "May 1889",
        ),
        (
            "Ann Lee said sales would decrease in Europe.",
            "The answer says “decrease”; s1 says “increase”.",
            "decrease",
        ),
        (
            "The company did not sell 67 million phones in 2019.",
            "The answer negates “sell”; s1 does not.",
            "sell",
        ),
        (
            "Zarkov Prill said sales would increase in Europe.",
            "The answer says “Zarkov Prill” where s1 says “Ann Lee”.",
            "Zarkov Prill",
        ),
        (
            'She said "the moon is made of green cheese" in 2019.',
            "The answer quotes “the moon is made of green cheese”; no snippet says this word for word.",
            "the moon is made of green cheese",
        ),
    ],
)
def test_a_finding_says_why_and_marks_the_offending_text(answer: str, message: str, offending: str) -> None:
    before = "Hello! The Eiffel Tower is 330 metres tall. "
    report = AnswerScorer(SNIPPETS).score(before + answer)
    found = [f for claim in report.claims for f in claim.findings if f.message == message]
    assert len(found) == 1, [f.message for claim in report.claims for f in claim.findings]
    span = found[0].answer_span
    assert span is not None
    assert (before + answer)[span.start : span.end] == offending


def test_the_snippets_place_of_a_conflict_holds_the_rival_text() -> None:
    report = AnswerScorer(SNIPPETS).score("The firm sold 999 million phones in 2019.")
    finding = report.claims[0].findings[0]
    assert finding.severity is Severity.CONFLICT and finding.snippet_span is not None
    assert PHONES[finding.snippet_span.start : finding.snippet_span.end] == "67 million"


@pytest.mark.parametrize(
    "answer",
    [
        "The company sold 67,000,000 phones in 2019.",
        "The company sold sixty-seven million phones in 2019 [1].",
        "The Eiffel Tower is 330 m tall.",
        "The Eiffel Tower was completed in 1889 [s2].",
        "Lee said that sales would increase in Europe.",
        "Gustave Eiffel's company built the tower.",
    ],
)
def test_the_same_fact_in_other_words_raises_no_alarm(answer: str) -> None:
    assert messages(answer) == []


LOADERS = tuple(
    make_snippet(text, position=place)
    for place, text in enumerate(
        (
            "TextGen WebUI removed the ExLlamaV2 loaders in version 4.0. The last with them is 3.23.",
            "Which of three levels holds is said for each loader. The share fell from 9 to 3 percent.",
        )
    )
)


@pytest.mark.parametrize(
    ("question", "answer", "held_elsewhere"),
    [
        ("How many people use TextGen WebUI?", "So, the answer is 3.", True),
        ("How many people use TextGen WebUI?", "3", True),
        ("How many levels are there?", "The answer is 3.", False),
        ("In which version did TextGen WebUI remove the loaders?", "4.0", False),
        ("Wie viele Menschen benutzen das?", "Die Antwort ist 3.", False),  # no word of it to look for
        ("", "The answer is 3.", False),
        ("How many people use TextGen WebUI?", "The share fell to 3 percent.", False),
    ],
)
def test_a_bare_number_must_stand_where_the_snippets_speak_of_what_was_asked(
    question: str, answer: str, held_elsewhere: bool
) -> None:
    (claim,) = AnswerScorer(LOADERS, question).score(answer).claims
    said = [finding.message for finding in claim.findings if "of something else" in finding.message]
    assert bool(said) == held_elsewhere
    if held_elsewhere:
        assert claim.gate is not Gate.PASS


def test_citations_are_checked() -> None:
    scorer = AnswerScorer(SNIPPETS, embedder=BagEmbedder())
    wrong = scorer.score("The company sold 67 million phones in 2019 [7].")
    assert [f.message for f in wrong.findings] == ["The answer cites [7]; there are only 2 snippets."]
    other = scorer.score("The company sold 67 million phones in 2019 [2].")
    assert [(f.kind, f.severity) for f in other.findings] == [(FindingKind.CITATION, Severity.NOTE)]
    right = scorer.score("The company sold 67 million phones in 2019 [1].")
    assert right.findings == ()


def test_snippets_that_disagree_are_reported() -> None:
    snippets = (
        make_snippet("The bridge over the Elbe is 410 metres long.", position=0),
        make_snippet("The Elbe flows north.", position=1),
        make_snippet("The bridge over the Elbe is 540 metres long.", position=2),
    )
    report = AnswerScorer(snippets).score("The bridge over the Elbe is 410 metres long.")
    assert [f.message for f in report.findings] == ["s1 and s3 disagree: 410 against 540."]
    assert AnswerScorer(snippets).score("The Elbe flows north.").findings == ()


def test_what_cannot_be_scored_says_why() -> None:
    for snippets, answer, reason in (
        (SNIPPETS, "  \n", Reason.EMPTY_ANSWER),
        ((), "It is so.", Reason.NO_SNIPPETS),
        ((make_snippet("---", position=0),), "It is so.", Reason.NO_SNIPPETS),
        (SNIPPETS, "Hello! How are you? Thanks.", Reason.NO_CLAIMS),
        (SNIPPETS, "I don't know.", Reason.NO_CLAIMS),
        (SNIPPETS, "```\nx = 1\n```", Reason.NO_CLAIMS),
    ):
        report = AnswerScorer(snippets).score(answer)
        assert report.support == NotScored(reason), answer
        assert (report.gate, report.supported) == (Gate.NOT_MEASURED, None)


def test_questions_and_greetings_are_not_held_against_an_answer() -> None:
    fact = "The company sold 67 million phones in 2019."
    scorer = AnswerScorer(SNIPPETS)
    alone, polite = scorer.score(fact), scorer.score(f"Sure! {fact} Does that help?")
    assert polite.support == alone.support
    assert [c.kind for c in polite.claims] == [ClaimKind.GREETING, ClaimKind.CLAIM, ClaimKind.QUESTION]


@given(st.integers(min_value=0, max_value=140))
def test_a_growing_answer_ends_at_the_score_from_scratch(cut: int) -> None:
    answer = (
        "The company sold 67 million phones in 2019. Ann Lee did not say so. The Eiffel Tower is 400 m tall."
    )
    scorer = AnswerScorer(SNIPPETS, embedder=BagEmbedder())
    scorer.score(answer[:cut], final=False)
    scorer.score(answer[: cut // 2], final=False)
    assert scorer.score(answer) == AnswerScorer(SNIPPETS, embedder=BagEmbedder()).score(answer)


def test_a_live_score_leaves_the_unfinished_sentence_out_and_costs_only_what_is_new() -> None:
    embedder = BagEmbedder()
    scorer = AnswerScorer(SNIPPETS, embedder=embedder)
    live = scorer.score("The Eiffel Tower is 330 metres tall. The company sold 99", final=False)
    assert [claim.text for claim in live.claims] == ["The Eiffel Tower is 330 metres tall."]
    seen = len(embedder.texts)
    scorer.score("The Eiffel Tower is 330 metres tall. The company sold 99 phones. It", final=False)
    assert embedder.texts[seen:] == ["The company sold 99 phones."]


def test_a_failing_embedder_leaves_the_score_from_words() -> None:
    answer = "The company sold 67 million phones in 2019."
    broken = AnswerScorer(SNIPPETS, embedder=BrokenEmbedder()).score(answer)
    assert broken == AnswerScorer(SNIPPETS).score(answer)


def test_the_verifier_is_asked_once_for_undecided_claims_and_can_veto() -> None:
    answer = "The company sold many phones in Asia in 2019. Ann Lee expects higher sales there."
    without = AnswerScorer(SNIPPETS).score(answer)
    against, for_it = FixedVerifier(0.97, 0.02, 0.01), FixedVerifier(0.01, 0.02, 0.97)
    low = AnswerScorer(SNIPPETS, verifier=against).score(answer)
    high = AnswerScorer(SNIPPETS, verifier=for_it).score(answer)
    assert isinstance(low.support, float) and isinstance(high.support, float)
    assert low.support < high.support
    assert isinstance(without.support, float)
    assert len(against.batches) == 1
    assert any(f.kind is FindingKind.VERIFIER for claim in low.claims for f in claim.findings)
    assert not any(f.kind is FindingKind.VERIFIER for claim in high.claims for f in claim.findings)


def test_the_verifier_is_not_asked_while_the_reply_streams_and_may_fail() -> None:
    answer = "The company sold many phones in Asia in 2019. And so on"
    verifier = FixedVerifier()
    scorer = AnswerScorer(SNIPPETS, verifier=verifier)
    scorer.score(answer, final=False)
    assert verifier.batches == []
    failed, plain = scorer.score(answer), AnswerScorer(SNIPPETS).score(answer)
    assert replace(failed, findings=plain.findings) == plain
    assert [finding.message for finding in failed.findings if finding not in plain.findings] == [
        "Verifier not used: no model"
    ]
    assert len(verifier.batches) == 1


def test_the_users_limits_decide_the_gate() -> None:
    fact = "The company sold 67 million phones in 2019."
    assert AnswerScorer(SNIPPETS, support_pass=0.999).score(fact).gate is Gate.REVIEW
    assert AnswerScorer(SNIPPETS, support_pass=1.0, support_fail=0.999).score(fact).gate is Gate.FAIL
    wrong = "Sharks swim in cold water near the coast."
    assert AnswerScorer(SNIPPETS, support_pass=0.0, support_fail=0.0).score(wrong).gate is Gate.PASS


@pytest.mark.parametrize(
    "answer",
    [
        "北京是中国的首都。上海是一座城市。",
        "Компания продала 67 миллионов телефонов.",
        "الشركة باعت الهواتف.",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
        "😀😀😀 ok \x00 \ud800 7",
        "1 2 3 4 5 6 7 8 9 10.",
        "(((((" * 50,
    ],
)
def test_odd_text_is_scored_or_said_not_to_be(answer: str) -> None:
    report = AnswerScorer(SNIPPETS, embedder=BagEmbedder()).score(answer)
    assert isinstance(report.support, NotScored) or 0.0 <= report.support <= 1.0


def test_a_very_long_answer_is_bounded_and_says_so() -> None:
    answer = " ".join(f"The company sold {n} phones in Asia." for n in range(2800))
    assert len(answer) > 100_000
    report = AnswerScorer(SNIPPETS).score(answer)
    assert sum(isinstance(claim.support, float) for claim in report.claims) == 400
    assert any("the first 400 were checked" in finding.message for finding in report.findings)


@given(st.text(max_size=300))
def test_any_text_gives_spans_that_hold_their_claims(answer: str) -> None:
    report = AnswerScorer(SNIPPETS).score(answer)
    for claim in report.claims:
        assert answer[claim.span.start : claim.span.end] == claim.text
        for finding in claim.findings:
            assert finding.answer_span is None or finding.answer_span.end <= len(answer)


def test_of_many_undecided_claims_the_four_least_supported_are_asked_about() -> None:
    answer = " ".join(f"The company sold {count} phones in 2019." for count in range(61, 69))
    before = AnswerScorer(SNIPPETS).score(answer)
    verifier = FixedVerifier(0.1, 0.1, 0.8)
    AnswerScorer(SNIPPETS, verifier=verifier).score(answer)
    (batch,) = verifier.batches
    supports = {claim.text: claim.support for claim in before.claims}
    asked = sorted(supports[text] for _, text in batch)
    assert asked == pytest.approx(sorted(supports.values())[:4])
