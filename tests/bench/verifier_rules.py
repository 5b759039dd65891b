# ruff: noqa: E501, SIM905 (a training script: long tables of words and fields)
"""Rule-made edits of a true sentence: `falsify` changes a fact, `restate` keeps the meaning.

Used by `train_verifier.py` to make contradictions (numbers, names, dates, polarity, direction, role)
and harmless rewrites, so that a verifier does not learn "every difference is an error".
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

OPPOSITES = """increase/decrease increased/decreased increases/decreases increasing/decreasing rise/fall rose/fell rises/falls
rising/falling gain/loss gained/lost grow/shrink grew/shrank growing/shrinking grown/shrunk higher/lower highest/lowest high/low
more/less most/least more/fewer above/below over/under before/after earlier/later early/late first/last first/second second/third
third/fourth north/south east/west northern/southern eastern/western left/right up/down upper/lower top/bottom inside/outside
in/outside with/without include/exclude includes/excludes included/excluded including/excluding accept/reject accepts/rejects
accepted/rejected agree/disagree agrees/disagrees agreed/refused allow/forbid allows/forbids allowed/prohibited
approve/reject approved/rejected always/never often/rarely usually/rarely all/no every/no everyone/nobody some/no both/neither
many/few any/no large/small larger/smaller largest/smallest big/small bigger/smaller long/short longer/shorter longest/shortest
old/new older/younger oldest/youngest older/newer young/old buy/sell buys/sells bought/sold buying/selling win/lose wins/loses won/lost
winner/loser love/hate loves/hates loved/hated like/dislike likes/dislikes start/stop starts/stops started/stopped
begin/end begins/ends began/ended open/close opens/closes opened/closed arrive/leave arrives/leaves arrived/left
male/female man/woman men/women boy/girl boys/girls he/she his/her him/her brother/sister father/mother son/daughter
husband/wife king/queen mother/father husband/brother married/divorced born/died alive/dead life/death strong/weak stronger/weaker
strengthen/weaken strengthened/weakened improve/worsen improved/worsened improving/worsening better/worse best/worst good/bad
positive/negative success/failure succeeded/failed successful/unsuccessful possible/impossible able/unable can/cannot
will/won't should/shouldn't is/isn't was/wasn't are/aren't were/weren't does/doesn't did/didn't has/hasn't
have/haven't could/couldn't would/wouldn't public/private urban/rural domestic/foreign national/international local/national
support/oppose supports/opposes supported/opposed for/against attack/defend attacked/defended ally/enemy friend/enemy
import/export imports/exports imported/exported expand/reduce expanded/reduced expanding/reducing raise/lower raised/lowered
rich/poor cheap/expensive safe/dangerous legal/illegal guilty/innocent hot/cold warm/cool wet/dry light/dark fast/slow faster/slower
easy/difficult easier/harder simple/complex common/rare important/minor major/minor maximum/minimum majority/minority
enter/leave entered/left join/leave joined/left push/pull give/receive gave/received giving/receiving
teacher/student doctor/patient parent/child employer/employee buyer/seller seller/buyer customer/supplier president/secretary
send/receive sent/received remember/forget remembers/forgets remembered/forgot present/absent full/empty
monday/thursday tuesday/friday wednesday/saturday thursday/monday friday/tuesday saturday/wednesday sunday/tuesday
morning/evening evening/morning night/morning today/yesterday tomorrow/yesterday yesterday/tomorrow daily/weekly weekly/monthly
monthly/yearly annual/monthly annually/monthly quarter/year week/month month/year weeks/months months/years days/weeks hours/minutes
minutes/hours years/months decade/century red/blue blue/green green/red black/white white/black yellow/purple
free/paid temporary/permanent partial/complete partially/completely exactly/roughly only/not must/may may/must might/will
deny/confirm denies/confirms denied/confirmed true/false correct/wrong same/different similar/different
american/british british/german german/french french/italian english/spanish chinese/japanese russian/american
profit/loss revenue/expense revenues/expenses debt/cash dividend/bonus net/gross million/billion billion/trillion thousand/million
percent/dollars offline/online manual/automatic active/inactive upgrade/downgrade discount/surcharge
ask/tell asks/tells asked/told question/answer borrow/lend borrows/lends wants/refuses want/refuse need/avoid needs/avoids
plans/declines plan/decline suggests/forbids decides/refuses finish/begin finished/started"""

SAME = """big/large began/started begins/starts begin/start bought/purchased buy/purchase buys/purchases help/assist helped/assisted
however/but also/additionally about/approximately approximately/around nearly/almost show/demonstrate showed/demonstrated
shows/demonstrates use/utilise used/utilised built/constructed made/created make/create makes/creates got/obtained get/obtain
near/close kids/children child/kid film/movie movie/film movies/films films/movies company/firm firm/company companies/firms
car/vehicle city/town many/numerous often/frequently because/since since/because while/whereas after/following prior/earlier
said/stated says/states said/mentioned told/informed tells/informs asks/requests asked/requested needs/requires need/require
needed/required wants/wishes want/wish job/position work/job quickly/rapidly fast/quick famous/well-known important/significant
significant/important ended/finished ends/finishes end/conclude location/place home/house house/home picture/photo
photo/picture released/published announced/declared announces/declares announce/declare growth/expansion rise/increase
rose/increased rises/increases fell/dropped fall/drop falls/drops increased/rose increase/rise increasing/rising decrease/decline
decreased/declined decreasing/declining including/such-as protest/demonstration protesters/demonstrators killed/slain died/perished
received/got receive/get gave/provided give/provide gives/provides offer/provide offers/provides offered/provided
attempt/try attempted/tried attempts/tries discuss/talk-about discussed/talked-about discusses/talks-about
expects/anticipates expect/anticipate expected/anticipated chose/selected choose/select selected/chosen
sure/certain entire/whole whole/entire total/overall final/last initial/first current/present currently/presently
roughly/about over/more-than U.S./American UK/British British/U.K. usa/us plan/intend plans/intends planned/intended
allow/permit allows/permits allowed/permitted leader/head results/outcomes result/outcome
authorities/officials officials/authorities cop/police physician/doctor author/writer writer/author
remained/stayed remain/stay stop/halt stopped/halted keep/retain kept/retained introduces/presents introduced/presented
highlight/emphasize highlights/emphasizes encourages/urges encouraged/urged features/includes feature/include
customer/client customers/clients suggests/proposes suggest/propose agrees/consents confirm/verify confirms/verifies"""

NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
ORDINAL_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
MONTHS = "January February March April May June July August September October November December".split()
NEGATABLE = "is are was were will can could should would has have had does did do must may might".split()
NOT_NAMES = set(
    "the a an in on at of it he she they we i this that these those there his her their its our but and or if when while as for to from by with after before "
    "during however although since because both some many most all no not one two also then".split()
)
Span = tuple[int, int]
Edit = tuple[str, list[Span]]
_WORD = re.compile(r"[A-Za-z][A-Za-z'’.-]*[A-Za-z]|[A-Za-z]")
_NUMBER = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w])")
_NAME = re.compile(
    r"(?:(?<=[a-z,;:0-9)] )|(?<=^)|(?<=[.\"“] ))((?:[A-Z][\w'’-]+)(?: (?:of|de|the|van|von|and)(?= [A-Z]))?(?: [A-Z][\w'’.-]*\w)*)"
)


def _pairs(text: str, both_ways: bool) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for pair in text.split():
        left, right = (part.replace("-", " ") for part in pair.split("/"))
        table.setdefault(left, []).append(right)
        if both_ways:
            table.setdefault(right, []).append(left)
    return table


_OPPOSITE = _pairs(OPPOSITES, both_ways=True)
_SAME = _pairs(SAME, both_ways=False)


def _like(model: str, word: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def _put(text: str, start: int, end: int, new: str) -> Edit:
    return text[:start] + new + text[end:], [(start, start + len(new))]


def change_number(text: str, rng: random.Random) -> Edit | None:
    """The text with one number changed and the changed span; None where no number stands."""
    found = list(_NUMBER.finditer(text))
    words = [
        m
        for m in _WORD.finditer(text)
        if m.group().lower() in NUMBER_WORDS[2:] or m.group().lower() in ORDINAL_WORDS
    ]
    if not found and not words:
        return None
    pick = rng.choice([*found, *words])
    old = pick.group()
    if old[0].isalpha():
        row = NUMBER_WORDS[1:] if old.lower() in NUMBER_WORDS else ORDINAL_WORDS
        new = _like(old, rng.choice([w for w in row if w != old.lower()]))
        return _put(text, pick.start(), pick.end(), new)
    plain = old.replace(",", "")
    value = float(plain)
    if "." not in plain and 1000 <= value <= 2100 and "," not in old:
        new = str(int(value) + rng.choice([-30, -11, -10, -5, -3, -2, -1, 1, 2, 3, 4, 7, 10, 20]))
    elif rng.random() < 0.35 and len(plain) > 1 and "." not in plain:
        digits = list(plain)
        spot = rng.randrange(len(digits))
        digits[spot] = rng.choice([d for d in "123456789" if d != digits[spot]])
        new = "".join(digits)
    elif "." in plain:
        places = len(plain.split(".")[1])
        new = f"{max(0.0, value * rng.choice([0.5, 0.8, 0.9, 1.1, 1.25, 1.5, 2, 10]) + rng.choice([0, 0.1, 1])):.{places}f}"
    else:
        new = str(
            max(
                0,
                int(value * rng.choice([0.1, 0.5, 0.8, 1, 1.2, 1.5, 2, 3, 10]))
                + rng.choice([1, 2, 3, 5, 10, -1, -2]),
            )
        )
    if "," in old and new.isdigit():
        new = f"{int(new):,}"
    return None if new == old else _put(text, pick.start(), pick.end(), new)


def change_month(text: str, rng: random.Random) -> Edit | None:
    """The text with one month replaced by another; None where none stands."""
    found = [m for m in _WORD.finditer(text) if m.group() in MONTHS and m.group() != "May"]
    if not found:
        return None
    pick = rng.choice(found)
    return _put(text, pick.start(), pick.end(), rng.choice([m for m in MONTHS if m != pick.group()]))


def turn_around(text: str, rng: random.Random) -> Edit | None:
    """The text with one word replaced by its opposite; None where no word of the list stands."""
    found = [
        m
        for m in _WORD.finditer(text)
        if m.group().lower() in _OPPOSITE
        and m.group().lower()
        not in (
            "in",
            "for",
            "with",
            "over",
            "like",
            "can",
            "is",
            "was",
            "are",
            "were",
            "will",
            "has",
            "have",
            "did",
            "does",
            "any",
            "some",
            "all",
            "only",
        )
    ]
    if not found or rng.random() < 0.1:
        found = [m for m in _WORD.finditer(text) if m.group().lower() in _OPPOSITE]
    if not found:
        return None
    pick = rng.choice(found)
    return _put(
        text, pick.start(), pick.end(), _like(pick.group(), rng.choice(_OPPOSITE[pick.group().lower()]))
    )


def negate(text: str, rng: random.Random) -> Edit | None:
    """The text with a *not* put in or taken out; None where no auxiliary stands."""
    found = list(re.finditer(r"\b(not|never|n't|no longer)\b ?|(?<=\w)n't\b", text))
    if found:
        pick = rng.choice(found)
        start = max(0, pick.start() - 6)
        out = text[: pick.start()] + text[pick.end() :]
        return out, [(start, min(len(out), pick.start() + 6))]
    auxiliaries = [m for m in _WORD.finditer(text) if m.group() in NEGATABLE]
    if not auxiliaries:
        return None
    pick = auxiliaries[0] if rng.random() < 0.7 else rng.choice(auxiliaries)
    word = rng.choice(["not", "not", "not", "never", "no longer"])
    return _put(text, pick.start(), pick.end(), f"{pick.group()} {word}")


def names_of(text: str) -> list[re.Match[str]]:
    """Spans of capitalised names in the text, sentence openers like 'The' left out."""
    out = []
    for match in _NAME.finditer(text):
        words = match.group().split()
        if words[0].lower() in NOT_NAMES or (
            match.start() == 0 and len(words) == 1 and looks_common(words[0])
        ):
            continue
        out.append(match)
    return out


def looks_common(word: str) -> bool:
    """Whether a lone sentence opener looks like a plain word rather than a name."""
    return word.lower() in NOT_NAMES or word.lower().endswith(("ing", "ly", "ed"))


def change_name(text: str, rng: random.Random, others: Sequence[str]) -> Edit | None:
    """The text with one name replaced by one of `others`, or with two of its names exchanged."""
    found = names_of(text)
    if not found:
        return None
    if len(found) >= 2 and rng.random() < 0.35:
        first, second = sorted(rng.sample(found, 2), key=lambda m: m.start())
        if first.group() != second.group():
            out = (
                text[: first.start()]
                + second.group()
                + text[first.end() : second.start()]
                + first.group()
                + text[second.end() :]
            )
            shift = len(second.group()) - len(first.group())
            return out, [
                (first.start(), first.start() + len(second.group())),
                (second.start() + shift, second.start() + shift + len(first.group())),
            ]
    pick = rng.choice(found)
    pool = [
        name for name in others if name not in text and name not in pick.group() and pick.group() not in name
    ]
    if not pool:
        return None
    alike = [name for name in pool if len(name.split()) == len(pick.group().split())]
    return _put(text, pick.start(), pick.end(), rng.choice(alike or pool))


def change_word(text: str, rng: random.Random, nouns: Sequence[str]) -> Edit | None:
    """The text with one word after an article or preposition replaced by another noun."""
    found = list(re.finditer(r"\b(?:the|a|of|in|to) ([a-z]{4,})\b(?! of\b)", text))
    if not found or not nouns:
        return None
    pick = rng.choice(found)
    ending = pick.group(1).endswith("s")
    pool = [n for n in nouns if (n.endswith("s")) == ending and n not in text]
    return _put(text, pick.start(1), pick.end(1), rng.choice(pool)) if pool else None


def add_detail(text: str, rng: random.Random, others: Sequence[str]) -> Edit | None:
    """The text with an unfounded detail added at the end of the sentence."""
    body = text.rstrip()
    if not body or body[-1] not in ".!":
        return None
    choices = [
        f" in {rng.randint(1850, 2023)}",
        f" on {rng.choice(MONTHS)} {rng.randint(1, 28)}",
        " for the first time in history",
        f" for {rng.randint(2, 40)} years",
        " because of financial problems",
        " despite strong opposition",
        " with the help of the government",
        " at no extra cost",
        " as a result of the war",
        " free of charge",
        " by mistake",
    ]
    if others:
        choices += [
            f" in {rng.choice(others)}",
            f" together with {rng.choice(others)}",
            f" according to {rng.choice(others)}",
        ] * 2
    new = rng.choice(choices)
    return body[:-1] + new + body[-1], [(len(body) - 1, len(body) - 1 + len(new))]


def falsify(text: str, rng: random.Random, names: Sequence[str], nouns: Sequence[str]) -> Edit | None:
    """The text with one fact changed and the changed spans; None where no rule applies."""
    rules: list[tuple[float, Callable[[], Edit | None]]] = [
        (3.0, lambda: change_number(text, rng)),
        (1.0, lambda: change_month(text, rng)),
        (3.0, lambda: turn_around(text, rng)),
        (1.2, lambda: negate(text, rng)),
        (3.0, lambda: change_name(text, rng, names)),
        (2.0, lambda: change_word(text, rng, nouns)),
        (0.8, lambda: add_detail(text, rng, names)),
    ]
    for _ in range(6):
        rule = rng.choices([r for _, r in rules], [w for w, _ in rules])[0]
        edit = rule()
        if edit is not None and edit[0] != text:
            return edit
    return None


def _clause(text: str, rng: random.Random) -> str:
    cuts = [
        m.start()
        for m in re.finditer(r", (?:which|who|where|and|but|while|although|as|with)\b| \(|; | -- | – ", text)
        if m.start() > 25
    ]
    if not cuts:
        return text
    return text[: rng.choice(cuts)].rstrip() + "."


def restate(text: str, rng: random.Random, strength: int = 2) -> str:
    """The text with up to `strength` changes that keep its meaning (synonyms, shortening, number form)."""
    out = text
    for _ in range(rng.randint(0, strength)):
        kind = rng.random()
        if kind < 0.4:
            found = [m for m in _WORD.finditer(out) if m.group().lower() in _SAME]
            if found:
                pick = rng.choice(found)
                out = _put(
                    out,
                    pick.start(),
                    pick.end(),
                    _like(pick.group(), rng.choice(_SAME[pick.group().lower()])),
                )[0]
        elif kind < 0.5:
            out = re.sub(r" \([^()]{1,80}\)", "", out, count=1)
        elif kind < 0.62:
            out = _clause(out, rng)
        elif kind < 0.7:
            out = re.sub(
                r"(?<=[a-z]) (?:very|really|also|quite|just|then|still|already|currently|recently|quickly|[a-z]{4,}ly)(?= [a-z])",
                "",
                out,
                count=1,
            )
        elif kind < 0.8:
            out = (
                re.sub(r"\b(\d{1,3}),(\d{3})\b", r"\1\2", out)
                if rng.random() < 0.5
                else re.sub(r"(\d)%", r"\1 percent", out)
            )
        elif kind < 0.88:
            out = re.sub(
                r"\b([3-9]|1\d|20)\b(?![.,%:\d/-])", lambda m: NUMBER_WORDS[int(m.group())], out, count=1
            )
        elif kind < 0.94:
            out = re.sub(r"\b(is|was|are|were|did|does|do|has|have|could|would|should) not\b", r"\1n't", out)
        else:
            out = out.lower() if rng.random() < 0.5 else out.rstrip(". ")
    return out
