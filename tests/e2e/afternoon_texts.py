"""An afternoon's documents and its 60 turns: what is asked, what the model answers, and what a user must be told.

Written before anybody looked at how an answer is judged, and not to be tuned to it: a turn that is judged
wrongly is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass

RIGHT = "right"  # the documents say it: a verdict other than Pass is a wrong alarm
WRONG = "wrong"  # the documents say otherwise, or do not say it: a Pass is a wrong pass
NO_CLAIM = "no claim"  # talk, poems, code, "the documents do not say": any verdict is a wrong one
CUT = "cut"  # ended early, so it is no more than begun: a Fail is a wrong alarm


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: by which way, in which chat, the message and the answer that the model is given."""

    number: int
    way: str  # page, api, regenerate, stop, branch, continue, cut, reload, attach
    chat: str
    asked: str
    answer: str
    truth: str
    beside: str = ""  # a chat that gets its own turn at the same time: the number of that turn


DOCUMENTS = {
    "heating.md": """# Heating plant of the workshop

## Pressure

The cold pressure of the circuit is 1.5 bar. Below 0.8 bar the pump switches off and the display shows error
E04. Refill through the blue valve until the needle stands between 1.4 and 1.6 bar.

## Service

The burner is serviced every 24 months. The filter is replaced at each service; its part number is 3310-77.
A service takes about 90 minutes and costs 180 euros.

## Night mode

Night mode lowers the supply temperature from 65 °C to 45 °C between 22:00 and 05:30. It must not be used
while the screed is drying.
""",
    "tool_library.md": """# Tool library: rules

## Lending

Members may borrow up to four tools at a time. The lending period is 14 days and can be extended once by 7
days. A late return costs 2 euros a day, at most 30 euros. The table saw may be used on the premises only.

## Fees

The annual fee is 48 euros; students pay 24 euros. New members get their card at the first visit.

## Opening hours

The library is open on Tuesdays from 17:00 to 20:00 and on Saturdays from 10:00 to 14:00. It is closed in
August.

## Deposits

| Tool | Deposit | Instruction needed |
|---|---|---|
| Rotary hammer | 60 euros | yes |
| Tile cutter | 35 euros | no |
| Belt sander | 40 euros | no |
""",
    "garten.txt": """Gartenordnung

Pacht
Die Pacht beträgt 0,42 Euro je Quadratmeter und Jahr. Sie ist bis
zum 31. März zu zahlen.

Bauten und Hecken
Lauben dürfen höchstens 24 Quadratmeter groß sein. Hecken zum Weg
hin dürfen 1,20 Meter nicht überschreiten. Ein Teich braucht die
Zustimmung des Vorstands.

Ruhe und Wasser
Die Mittagsruhe dauert von 13 bis 15 Uhr. Wasser wird vom 1. April
bis zum 15. Oktober bereitgestellt.

Kündigung
Die Kündigung ist bis zum 31. Juli zum Ende des Jahres schriftlich
zu erklären.
""",
    "chashi.md": """# 茶室须知

## 开放时间

茶室每天上午九点开门,晚上八点关门,星期一休息。

## 泡茶

绿茶用八十度的水冲泡三分钟。普洱茶用一百度的水冲泡,第一泡倒掉。

## 包间

包间最多容纳十二人,需要提前两天预订,押金为200元。包间内禁止吸烟。
""",
    "exporter.md": """# Exporter: release notes

## 3.2

Reads CSV files of up to 2 GB; version 3.1 stopped at 512 MB. The option `--skip-empty` leaves out rows in
which every field is empty. Dates are written as ISO 8601.

## 3.1

The log is written to `export.log` in the working directory. The default encoding is UTF-8; Windows-1252 has to
be named with `--encoding`.

## 3.0

Support for Python 3.8 ended. The configuration moved from `settings.ini` to `exporter.toml`.
""",
}

_CODE = '''Here is one way:

```python
def parse_size(text: str) -> int:
    """Bytes in a size such as 12k or 3M."""
    units = {"k": 1024, "M": 1024**2}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
```

Call it as `parse_size("12k")`.'''

_POEM = """The sea breathes in, the sea breathes out,
a silver thread, a whispered shout;
the gulls write letters on the foam
and every wave is going home."""

_STORY = """Once upon a time a small red lighthouse was tired of shining alone. One night it asked the moon to take
a turn. The moon laughed, leaned down, and for one hour the lighthouse slept. Since then sailors say that some nights
have two moons."""

_EMAIL = """Subject: Saturday

Hi all,

I will be a little late on Saturday. Please start without me, I will bring cake.

See you soon!"""

TURNS = (
    # --- the start: small talk with a folder set --------------------------------------------------------
    Turn(1, "page", "a", "Hi, how are you today?", "Hello! I'm doing well, thank you. How can I help you?", NO_CLAIM),
    Turn(2, "page", "a", "What pressure should the heating circuit have when it is cold?",
         "The cold pressure of the circuit should be 1.5 bar.", RIGHT),
    Turn(3, "page", "a", "And what happens if it falls too low?",
         "Below 0.8 bar the pump switches off and the display shows error E04.", RIGHT),
    Turn(4, "page", "a", "How do I refill it?",
         "Refill it through the blue valve until the needle is between 1.4 and 1.6 bar.", RIGHT),
    Turn(5, "page", "a", "Thanks, that was helpful!", "You're welcome! Let me know if you need anything else.", NO_CLAIM),
    Turn(6, "page", "a", "How often is the burner serviced?", "The burner is serviced every 12 months.", WRONG),
    Turn(7, "regenerate", "a", "How often is the burner serviced?", "It is serviced every 24 months.", RIGHT),
    Turn(8, "api", "b", "How much does a service of the burner cost, and how long does it take?",
         "A service costs 180 euros and takes about 90 minutes.", RIGHT),
    Turn(9, "api", "b", "How much does a service of the burner cost, and how long does it take?",
         "A service costs 90 euros and takes about 180 minutes.", WRONG),
    Turn(10, "page", "a", "Write a short poem about the sea.", _POEM, NO_CLAIM),
    # --- the tool library: follow-ups, a table ----------------------------------------------------------
    Turn(11, "page", "c", "How many tools can I borrow from the tool library at once?",
         "Members may borrow up to four tools at a time.", RIGHT),
    Turn(12, "page", "c", "For how long?", "For 14 days, and you can extend that once by 7 days.", RIGHT),
    Turn(13, "page", "c", "What if I'm late?",
         "A late return costs 2 euros a day, up to a maximum of 30 euros.", RIGHT),
    Turn(14, "page", "c", "Can I take the table saw home?",
         "No. The table saw may be used on the premises only.", RIGHT),
    Turn(15, "regenerate", "c", "Can I take the table saw home?",
         "Yes, you can take the table saw home for up to 14 days.", WRONG),
    Turn(16, "page", "c", "What is the deposit for the rotary hammer?",
         "The deposit for the rotary hammer is 60 euros, and an instruction is needed.", RIGHT),
    Turn(17, "page", "c", "And for the tile cutter?", "The deposit for the tile cutter is 40 euros.", WRONG),
    Turn(18, "page", "c", "Is it open in August?", "No, the library is closed in August.", RIGHT),
    Turn(19, "page", "c", "ok", "Great! Is there anything else you would like to know?", NO_CLAIM),
    Turn(20, "page", "c", "Who is the chair of the tool library?",
         "The documents do not say who chairs the tool library.", NO_CLAIM),
    # --- code and writing -------------------------------------------------------------------------------
    Turn(21, "page", "d", "Write a Python function that parses sizes like 12k or 3M.", _CODE, NO_CLAIM),
    Turn(22, "page", "d", "Can you tell me a bedtime story about a lighthouse?", _STORY, NO_CLAIM),
    Turn(23, "api", "d", "Write a two-line email that I will be late on Saturday.", _EMAIL, NO_CLAIM),
    Turn(24, "api", "d", "What is 17 times 23?", "17 × 23 = 391.", NO_CLAIM),
    Turn(25, "api", "d", "Translate to French: The cat sleeps on the chair.", "Le chat dort sur la chaise.", NO_CLAIM),
    Turn(26, "page", "d", "Which do you like better, tea or coffee?",
         "I have no taste of my own, but many people like tea for quiet evenings and coffee for mornings.", NO_CLAIM),
    # --- German -----------------------------------------------------------------------------------------
    Turn(27, "page", "e", "Guten Tag! Kannst du mir helfen?",
         "Guten Tag! Ja, gerne. Was möchtest du wissen?", NO_CLAIM),
    Turn(28, "page", "e", "Wie hoch ist die Pacht im Gartenverein?",
         "Die Pacht beträgt 0,42 Euro je Quadratmeter und Jahr.", RIGHT),
    Turn(29, "page", "e", "Und bis wann muss ich sie zahlen?", "Sie ist bis zum 31. März zu zahlen.", RIGHT),
    Turn(30, "page", "e", "Wie groß darf eine Laube sein?", "Eine Laube darf höchstens 42 Quadratmeter groß sein.", WRONG),
    Turn(31, "regenerate", "e", "Wie groß darf eine Laube sein?",
         "Lauben dürfen höchstens 24 Quadratmeter groß sein.", RIGHT),
    Turn(32, "page", "e", "Darf ich von 13 bis 15 Uhr den Rasen mähen?",
         "Nein, von 13 bis 15 Uhr ist Mittagsruhe.", RIGHT),
    Turn(33, "api", "f", "Bis wann kann ich den Garten kündigen?",
         "Die Kündigung muss bis zum 31. Juli zum Ende des Jahres schriftlich erklärt werden.", RIGHT),
    Turn(34, "api", "f", "Bis wann kann ich den Garten kündigen?",
         "Die Kündigung muss bis zum 30. September mündlich erklärt werden.", WRONG),
    Turn(35, "page", "e", "Danke dir, schönen Abend noch!", "Gern geschehen, dir auch einen schönen Abend!", NO_CLAIM),
    # --- Chinese ----------------------------------------------------------------------------------------
    Turn(36, "page", "g", "你好!", "你好!有什么可以帮你的吗?", NO_CLAIM),
    Turn(37, "page", "g", "茶室几点开门?", "茶室每天上午九点开门。", RIGHT),
    Turn(38, "page", "g", "星期一呢?", "星期一休息。", RIGHT),
    Turn(39, "page", "g", "绿茶要用多少度的水?", "绿茶用一百度的水冲泡。", WRONG),
    Turn(40, "regenerate", "g", "绿茶要用多少度的水?", "绿茶用八十度的水冲泡三分钟。", RIGHT),
    Turn(41, "api", "h", "订包间要付多少押金?", "押金为200元,需要提前两天预订。", RIGHT),
    Turn(42, "api", "h", "订包间要付多少押金?", "押金为500元,需要提前一周预订。", WRONG),
    # --- stop, cut, continue, branch --------------------------------------------------------------------
    Turn(43, "stop", "i", "When does night mode lower the temperature, and from what to what?",
         "Night mode lowers the supply temperature from 65 °C to 45 °C between 22:00 and 05:30.", CUT),
    Turn(44, "page", "i", "Please say it again, whole.",
         "Night mode lowers the supply temperature from 65 °C to 45 °C between 22:00 and 05:30.", RIGHT),
    Turn(45, "cut", "i", "Tell me everything about the service of the burner.",
         "The burner is serviced every 24 months. The filter is replaced at each service. A service takes about", CUT),
    Turn(46, "continue", "i", "Tell me everything about the service of the burner.",
         " 90 minutes and costs 180 euros.", RIGHT),
    Turn(47, "branch", "i", "Can night mode be used while the screed is drying?",
         "No, it must not be used while the screed is drying.", RIGHT),
    Turn(48, "page", "i", "Can night mode be used while the screed is drying?",
         "Yes, night mode can be used while the screed is drying.", WRONG),
    # --- two chats at once ------------------------------------------------------------------------------
    Turn(49, "page", "j", "How large may a CSV file be in exporter 3.2?",
         "Version 3.2 reads CSV files of up to 2 GB.", RIGHT, beside="50"),
    Turn(50, "page", "k", "Wann wird im Garten Wasser bereitgestellt?",
         "Wasser wird vom 1. April bis zum 15. Oktober bereitgestellt.", RIGHT),
    Turn(51, "page", "j", "And in 3.1?", "Version 3.1 stopped at 2 GB.", WRONG, beside="52"),
    Turn(52, "api", "l", "What does the annual fee of the tool library cost for students?",
         "Students pay 24 euros.", RIGHT),
    # --- after a model was loaded anew ------------------------------------------------------------------
    Turn(53, "reload", "j", "Which option leaves out empty rows?",
         "The option `--skip-empty` leaves out rows in which every field is empty.", RIGHT),
    Turn(54, "page", "j", "Where is the log written?", "It is written to `export.log` in the working directory.", RIGHT),
    Turn(55, "page", "j", "Since which version is Python 3.8 no longer supported?",
         "Support for Python 3.8 ended with version 3.2.", WRONG),
    Turn(56, "attach", "m", "When does the ferry leave on Sundays?", "On Sundays the ferry leaves at 10:40.", RIGHT),
    Turn(57, "page", "m", "And how much is a ticket for a bicycle?", "A bicycle costs 4.50 euros.", RIGHT),
    Turn(58, "page", "m", "How long does the crossing take?", "The crossing takes 55 minutes.", WRONG),
    Turn(59, "page", "m", "Who is the captain?", "I could not find that in the timetable.", NO_CLAIM),
    Turn(60, "page", "m", "Good night!", "Good night, sleep well!", NO_CLAIM),
)  # fmt: skip

ATTACHED = """Ferry timetable

On weekdays the ferry leaves at 7:15, 9:40 and 17:30. On Sundays it leaves at 10:40 only.

Tickets: adults 6 euros, children 3 euros, a bicycle 4.50 euros. Dogs travel free of charge.

The crossing takes 35 minutes. In fog the ferry does not run.
"""
