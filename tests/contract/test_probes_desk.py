"""The desk over scripted parts: who sees what, what is found once, what is remembered."""

from __future__ import annotations

import dataclasses

import pytest
from exllama_guard.core.measures import Gate, NotScored, Reason
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import ModelInfo, Reader, TurnRequest
from exllama_guard.errors import UserError
from exllama_guard.probes.desk import ProbeDesk
from exllama_guard.probes.desk_parts import DeskParts
from exllama_guard.probes.doctor.model_signs import Fence, ModelSigns
from exllama_guard.probes.measures.limits import RetrievalLimits
from exllama_guard.testing import FakeEmbedder, scored
from probe_material import ScriptedMode

ANN, BEN = Reader(username="ann"), Reader(username="ben")
SNIPPETS = (make_snippet("The cache holds 8192 tokens.", position=0),)
MODEL = ModelInfo("m", "Transformers", model_hash="h" * 64, shard_hash="s" * 64, devices="1 × cpu")


def turn(number, answer="The cache holds 8192 tokens.", question="How large is the cache?", chat="c"):
    request = TurnRequest(
        f"t{number}",
        question,
        SNIPPETS,
        chat_id=chat,
        model=dataclasses.replace(MODEL, shard_hash=None, devices=None),
    )
    return scored(request, answer)


class World:
    """What a host knows, to be changed by a test."""

    def __init__(self, script=lambda text, seed: "The cache holds 8192 tokens [s1]."):
        self.turns = {ANN: (turn(2), turn(1)), BEN: ()}
        self.signs = ModelSigns(fence=Fence("warm", True, 1.0, True, 0.5), shards_now="a", shards_before="a")
        self.generator = ScriptedMode(script)
        self.jobs = []
        self.desk = ProbeDesk(
            DeskParts(
                generator=self.generator,
                users_first=lambda cancel: None,
                embedder=FakeEmbedder,
                verifier=lambda: None,
                retriever=lambda: None,
                turns=lambda reader: self.turns.get(reader, ()),
                path=lambda: None,
                reading=lambda cancel: NotScored(Reason.NO_MODEL),
                signs=lambda reader: self.signs,
                drift=lambda: None,
                modes=lambda: None,
                model=lambda: MODEL,
                extensions=lambda: ("websearch",),
                text_extensions=lambda: (),
                limits=RetrievalLimits,
                window=lambda: 5,
                environment=dict,
                replay=self,
            ),
            spawn=self.jobs.append,
        )

    def ask(self, question, on, sampling, seed, cancel):
        return turn(9, "Changed." if on else "The cache holds 8192 tokens [s1].", question)

    def work(self):
        self.jobs.pop(0)()


def test_a_reader_sees_only_what_they_started():
    world = World()
    probe = world.desk.probe_for(ANN)
    world.desk.start_probe(ANN, probe)
    assert world.desk.probe_state(BEN).problem == "Another user's probe is running; wait until it ends."
    assert world.desk.probe_state(BEN).asked is None
    with pytest.raises(UserError, match="Another user's probe is running; wait until it ends"):
        world.desk.start_probe(BEN, probe)
    world.desk.stop_probe(BEN)  # another's probe goes on
    world.work()
    assert not world.desk.probe_state(ANN).result.stopped
    assert world.desk.probe_state(BEN).result is None
    assert world.desk.probe_report(BEN) is None
    world.desk.start_probe(BEN, probe)


def test_the_forms_stand_ready_to_be_edited_and_are_asked_as_edited():
    world = World()
    probe = world.desk.probe_for(ANN, "t1")
    assert len(probe.forms) == 3
    edited = dataclasses.replace(probe, forms=(*probe.forms[:2], "What is its size?"), strict=True)
    world.desk.start_probe(ANN, edited)
    world.work()
    assert world.desk.probe_state(ANN).result.forms[2] == "What is its size?"
    assert sum("What is its size?" in text for text, _ in world.generator.calls) == 2
    twice = dataclasses.replace(probe, forms=(probe.forms[0], probe.forms[0]))
    with pytest.raises(UserError, match="equal"):
        world.desk.start_probe(ANN, twice)


@pytest.mark.parametrize("ask", ["probe_for", "diagnosis"])
def test_without_a_turn_there_is_a_sentence(ask):
    with pytest.raises(UserError, match="no answer yet"):
        getattr(World().desk, ask)(BEN)
    with pytest.raises(UserError, match="no answer yet"):
        getattr(World().desk, ask)(ANN, "gone")


def test_the_prompt_takes_up_the_probe_of_its_own_question_only():
    world = World()
    world.turns[ANN] = (turn(3, question="What is a fence?"), *world.turns[ANN])
    world.desk.start_missing(ANN, "t2")
    world.work()
    assert "6 of 6 runs agree" in world.desk.diagnosis(ANN, "t2").prompt
    assert "not measured yet" in world.desk.diagnosis(ANN, "t3").prompt.split("λ over")[1].split("\n")[0]
    assert "Devices and split: 1 × cpu" in world.desk.diagnosis(ANN).prompt  # read after the turn began
    assert "Extensions: websearch" in world.desk.diagnosis(ANN).prompt


def test_each_symptom_is_found_once_and_the_next_reader_has_their_own():
    world = World()
    world.turns[ANN] = tuple(turn(i, "It is large.") for i in range(4))
    ids = [one.symptom.id for one in world.desk.findings(ANN)]
    assert "V1" in ids
    assert len(ids) == len(set(ids))
    assert "V1" not in [one.symptom.id for one in world.desk.findings(BEN)]
    world.signs = dataclasses.replace(world.signs, finite=False)
    assert "EX3" in [one.symptom.id for one in world.desk.findings(BEN)]


def test_a_checkup_names_all_it_could_not_look_at():
    world = World()
    world.desk.start_doctor(ANN)
    world.work()
    state = world.desk.doctor_state(ANN)
    assert state.problem == ""
    seen = {one.symptom.id: one for one in state.result.observations}
    assert seen["PC1"].evidence == "not measured: no model loaded"
    assert all(one.evidence for one in state.result.not_measured)
    with pytest.raises(UserError, match="no model"):
        world.desk.start_doctor(ANN, "/no/such/model")
    assert world.desk.doctor_report(ANN).lines


def test_a_replay_shows_in_the_checkup():
    world = World()
    world.desk.start_replay(ANN, extensions=("noise",))
    world.work()
    assert world.desk.replay_report(ANN).lines[1].name.startswith("noise: T2")
    assert "T2" in [one.symptom.id for one in world.desk.findings(ANN)]
    with pytest.raises(UserError, match="No other extension"):
        world.desk.start_replay(ANN)
    with pytest.raises(UserError, match="no question"):
        world.desk.start_replay(BEN)


def test_a_gold_set_without_a_model_and_a_bad_one():
    world = World()
    gold = '{"id": "a", "question": "How large is the cache?", "snippets": ["The cache holds 8192 tokens."]}'
    world.desk.start_verify(ANN, f"{gold}\n{gold}\nno json", answers=False)
    world.work()
    done = world.desk.verify_state(ANN).result
    (result,) = done.results
    assert result.gate is not Gate.PASS  # there is no anchor
    assert all(isinstance(form.coverage, NotScored) for form in result.forms)
    assert len(done.problems) == 2  # an id used twice, a line that is no JSON
    assert world.generator.calls == []
    with pytest.raises(UserError, match="no usable question"):
        world.desk.start_verify(ANN, "", answers=True)


def test_the_long_run_is_that_of_the_last_chat():
    world = World()
    world.turns[ANN] = (turn(3, chat="b"), turn(2, chat="c"), turn(1, chat="b"))
    found = world.desk.long_run(ANN)
    assert [signs.turn_id for signs in found.turns] == ["t1", "t3"]
    assert isinstance(found.trend, NotScored)
    assert world.desk.long_run(BEN).turns == ()
