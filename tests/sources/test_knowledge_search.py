"""What a folder gives for a message: only what bears on it, read with the message that it leans on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from exllama_guard.core.measures import NotScored, Reason
from exllama_guard.embedders import load_embedder
from exllama_guard.sources.knowledge_folder import KnowledgeFolder
from exllama_guard.sources.knowledge_scale import WEIGHTS_FILE, known_scale
from exllama_guard.sources.knowledge_words import WordIndex, terms

ABOUT = {
    "pump.md": "# Pump P7\n\nThe warranty on the pump is two years.\n\n## Seals\n\nSeals are not covered "
    "by the warranty of the pump; a set costs 14 euros and is ordered as part number QX-4411.\n",
    "library.txt": "The town library opens at nine. Members borrow up to eight books for four weeks. "
    "A lost card is replaced for three euros.\n",
    "bread.md": "# Rye bread\n\nThe dough rests for eighteen hours at room temperature and is baked at 240 "
    "degrees.\n",
}


class Shifted:
    """Another embedder: all its vectors lie close together, so that its cosines are between .8 and 1."""

    id = "shifted"

    def __init__(self):
        self._inner = load_embedder("")

    def embed(self, texts):
        rows = self._inner.embed(texts)
        far = np.concatenate([rows, np.full((len(rows), 1), 2.0, dtype=np.float32)], axis=1)
        return (far / np.linalg.norm(far, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=[load_embedder, lambda _: Shifted()], ids=["shipped", "another"])
def knowledge(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    for name, text in ABOUT.items():
        (folder / name).write_text(text, encoding="utf-8")
    made = KnowledgeFolder(folder, request.param(""), cache_folder=folder / ".cache")
    made.refresh()
    return made


@pytest.mark.parametrize(
    "message",
    [
        "Hi, how are you today?",
        "Thanks, that was helpful!",
        "Write a short poem about the sea.",
        "Schreib mir ein Gedicht über den Herbst.",
        "How do I reverse a list in Python?",
        "Who was the first person on the moon?",
    ],
)
def test_a_message_about_nothing_in_the_folder_gets_nothing_and_says_so(knowledge, message):
    found = knowledge.search(message, (), 4)
    assert found.snippets == ()
    assert found.nothing == NotScored(Reason.UNRELATED)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How long is the warranty on the pump?", "two years"),
        ("QX-4411?", "part number QX-4411"),
        ("How many books may a member borrow?", "eight books"),
        ("how hot is rye bread baked", "240 degrees"),
    ],
)
def test_a_question_gets_its_passage_first(knowledge, question, words):
    assert words in knowledge.search(question, (), 4).snippets[0].text


@pytest.mark.parametrize(
    ("before", "question", "words"),
    [
        ("How long is the warranty on the pump?", "Does it also cover the seals?", "not covered"),
        ("How many books may I borrow from the town library?", "And for how long?", "four weeks"),
        ("What does a lost library card cost?", "And when does it open?", "opens at nine"),
    ],
)
def test_a_follow_up_is_read_with_the_message_before_it(knowledge, before, question, words):
    assert any(words in snippet.text for snippet in knowledge.search(question, [before], 3).snippets)


def test_before_a_first_index_the_answer_is_that_it_is_being_read(tmp_path):
    (tmp_path / "a.md").write_text("Otters hold hands.")
    told = []

    class Asking:
        id = "asking"

        def embed(self, texts):
            if not told:
                told.append(knowledge.search("Do otters hold hands?", (), 4).nothing)
            return np.ones((len(texts), 2), dtype=np.float32) / np.sqrt(2).astype(np.float32)

    knowledge = KnowledgeFolder(tmp_path, Asking(), cache_folder=tmp_path / ".cache", first_build_wait_s=0.0)
    knowledge.refresh()
    assert told == [NotScored(Reason.INDEXING, "Indexing 1 of 1 files.")]


def test_the_shipped_embedder_has_its_scale_and_the_weights_their_provenance():
    stored = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    assert known_scale(stored["provenance"]["embedder"]) is not None
    assert known_scale("another") is None


def test_words_are_found_in_their_forms_and_without_spaces():
    index = WordIndex.of(["The pumps were installed.", "設置は三月です。", "nothing of it"])
    found = index.shares(list(terms("the installation of a pump", asking=True)))
    assert found[0] == pytest.approx(1.0) and found[2] == 0
    assert (
        index.shares(list(terms("設置はいつですか", asking=True)))[1] > index.shares(list(terms("設置は")))[0]
    )
    assert index.shares([]).tolist() == [0.0, 0.0, 0.0]
