"""Keys and passwords are masked in what is written, whatever stands around them; other text stays."""

from __future__ import annotations

import random
import string

import pytest
from exllama_guard.core.snippets import make_snippet
from exllama_guard.core.turns import Finish, TurnRequest
from exllama_guard.settings import Settings
from exllama_guard.testing import make_monitor
from exllama_guard.trace.files import TraceWriter, read_traces
from exllama_guard.trace.secrets import masked, masked_deep
from hypothesis import given
from hypothesis import strategies as st

_CHOOSE = random.Random(1)  # noqa: S311 - repeatable on purpose


def _some(length, letters=string.ascii_letters + string.digits):
    return "".join(_CHOOSE.choice(letters) for _ in range(length - 2)) + "a1"


_URL = string.ascii_letters + string.digits + "_-"
_HEX = string.digits + "abcdef"
_LONG = "\n".join(_some(64) for _ in range(200)) + "\nabcd12=="
_PEM = "-----BEGIN {0}-----\n{1}\n-----END {0}-----"

# (what stands around it, the secret): made here, none was ever issued.
SECRETS = [
    ("{}", "sk-" + _some(48)),
    ("{}", "sk-proj-" + _some(80, string.ascii_letters + string.digits + "_-")),
    ("use {}, please", "sk-ant-api03-" + _some(90)),
    ("{}", "hf_" + _some(34)),
    ("{}", "ghp_" + _some(36)),
    ("{}", "gho_" + _some(36)),
    ("{}", "github_pat_" + _some(22) + "_" + _some(59)),
    ("{}", "glpat-" + _some(20)),
    ("{}", "xoxb-" + _some(12, string.digits) + "-" + _some(24)),
    ("{}", "AKIA" + _some(18, string.ascii_uppercase + string.digits)[:16].upper()),
    ("{}", "AIza" + _some(35)),
    ("{}", "ya29." + _some(60)),
    ("{}", "npm_" + _some(36)),
    ("{}", "pypi-" + _some(120)),
    ("{}", "sk" + "_live_" + _some(24)),
    ("{}", "SG." + _some(22) + "." + _some(43)),
    ("{}", "eyJ" + _some(20) + "." + _some(40) + "." + _some(43)),
    ("Authorization: Bearer {}", _some(40)),
    ("curl -H 'authorization: bearer {}'", _some(24, string.hexdigits)),
    ("Authorization: Basic {}==", _some(24)),
    ("postgres://user:{}@db.example.org/x", "hunter22!"),
    ("https://me:{}@example.org", _some(20)),
    ("api_key={}", _some(32, string.hexdigits)),
    ('"api_key": "{}"', _some(32)),
    ("API-KEY: {}", _some(32)),
    ("aws_secret_access_key = {}", _some(40, string.ascii_letters + string.digits + "+/")),
    ("client_secret='{}'", _some(28)),
    ("export HF_TOKEN={}", _some(37)),
    ("?key={}&x=1", _some(39)),
    ("password: {}", "Tr0ub4dor&3"),
    ("pwd={}", "p4ssw0rd"),
    ("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", _some(400)),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\n{}", _some(300)),
    ("{}", "gsk_" + _some(52)),
    ("{}", "nvapi-" + _some(64, _URL)),
    ("{}", "xai-" + _some(80)),
    ("{}", "r8_" + _some(37)),
    ("{}", "hvs." + _some(95, _URL)),
    ("{}", "GOCSPX-" + _some(28, _URL)),
    ("{}", "dckr_pat_" + _some(27, _URL)),
    ("{}", "shpat_" + _some(32, _HEX)),
    ("{}", "shpss_" + _some(32, _HEX)),
    ("{}", "tskey-auth-" + _some(12) + "-" + _some(32)),
    ("{}", "whsec_" + _some(32)),
    ("{}", "lin_api_" + _some(40)),
    ("{}", "pplx-" + _some(48)),
    ("{}", "ntn_" + _some(46, string.digits)),
    ("{}", "dapi" + _some(32, _HEX)),
    ("{}", "rubygems_" + _some(48, _HEX)),
    ("{}", "glsa_" + _some(32) + "_" + _some(8, _HEX)),
    ("{}", "sntryu_" + _some(64, _HEX)),
    ("{}", "PMAK-" + _some(24, _HEX) + "-" + _some(34, _HEX)),
    ("{}", "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2),
    ("{}", "AC" + _some(32, _HEX)),
    ("{}", "SK" + _some(32, _HEX)),
    ("bot {}", _some(9, string.digits)[:7] + "12:AA" + _some(33, _URL)),
    ("{}", "M" + _some(23) + "." + _some(6) + "." + _some(27, _URL)),
    ("https://hooks.slack.com/services/{}", f"T{_some(10)}/B{_some(10)}/{_some(24)}"),
    ("https://discord.com/api/webhooks/{}", f"{_some(18, string.digits)}/{_some(68, _URL)}"),
    ("https://{}@example.org/x.git", _some(40)),
    ("datadog: {}", _some(40, _HEX)),
    ('"zendesk" => "{}"', _some(40)),
    ("Passwort: {}", "Geh3im!"),
    ("Passwort={}", "sommer2024"),
    ("пароль: {}", "zima-2024!"),
    ("密码：{}", "abc12345"),
    ('password: "{}"', "two words"),
    ("password: {}\n", "two words"),
    ("The password: {}\r\nNext line.", "correct horse battery staple"),
    (_PEM.format("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A1B2C\n\n{}"), _LONG),
    (_PEM.format("ENCRYPTED PRIVATE KEY", "{}"), _LONG),
    ("key: |\n  -----BEGIN PRIVATE KEY-----\n  {}\n", _LONG.replace("\n", "\n  ")),
    ('"-----BEGIN PRIVATE KEY-----\\n{}\\n"', _LONG.replace("\n", "\\n")),
    ("{}\n-----END PRIVATE KEY-----", "\n" + _LONG),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n{}\n-----END PGP PRIVATE KEY BLOCK-----", _some(300)),
]
HARMLESS = [
    "The key is to keep the cache warm: it is rotated after 8192 tokens.",
    "token: 8192",
    "The number of tokens: 123456789012345678",
    "password: required",
    "The secret: patience.",
    "key: value",
    "keyboard: mechanical-tenkeyless",
    "risk-averse-investors-and-their-habits",
    "task-oriented-dialogue-system-2024",
    "See https://example.org/a:b@c and mailto:a@b.c.",
    "https://example.org:8080/path@2x.png",
    "bearer of bad news",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "Basic understanding of authentication",
    "cache_key = user_settings_page",
    "The token `<|im_end|>` ends a turn; token=<|im_end|>",
    "SG. is short for Singapore",
    "API-reference-documentation-for-developers",
    "The password: it must have eight characters.",
    "password: must be changed\nat once",
    "Passwort: erforderlich",
    "https://git@github.com/owner/name.git and ssh://deploy@example.org",
    "jira: see the board of 2024",
    "okta: the sign-on of the company",
    "10:30 or 12345678:short",
    "A key ends with the line -----END PRIVATE KEY----- and no other.",
    "A key begins with the line -----BEGIN PRIVATE KEY----- and goes on in base64.",
    "sat.com is a site; pat.example is another-one-of-those-sites.",
]


@pytest.mark.parametrize(("around", "secret"), SECRETS, ids=[f"{n}" for n in range(len(SECRETS))])
def test_a_secret_is_masked_and_nothing_else_moves(around, secret):
    text = f"Before. {around.format(secret)} After: 8192 tokens."
    hidden = masked(text)
    assert len(hidden) == len(text)
    assert secret[4:] not in hidden
    assert secret[:4] in hidden or "•" * 4 in hidden
    assert sum(a != b for a, b in zip(text, hidden, strict=True)) >= len(set(secret)) // 2
    assert hidden.startswith("Before. ")
    assert hidden.endswith(" After: 8192 tokens.")
    assert masked(hidden) == hidden


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text):
    assert masked(text) == text


@given(st.text(max_size=300))
def test_any_text_keeps_its_length_and_is_masked_once(text):
    assert len(masked(text)) == len(text)
    assert masked(masked(text)) == masked(text)


def test_enums_numbers_and_nothing_stay():
    assert masked_deep((Finish.COMPLETE, 1.5, None, True)) == (Finish.COMPLETE, 1.5, None, True)


def test_no_trace_holds_a_key_in_any_of_its_fields(tmp_path):
    key = "hf_" + _some(34)
    monitor = make_monitor(Settings(), trace=TraceWriter(tmp_path))
    snippet = make_snippet(
        f"The key is {key}.", position=0, section_id=key, source_url=f"https://x.org/?t={key}"
    )
    request = TurnRequest(
        turn_id="t", question=f"Is {key} the key?", snippets=(snippet,), chat_id=key, started_at_s=1.0
    )
    monitor.open_turn(request).close(f"Yes, {key} is the key. [{snippet.snippet_id}]", Finish.COMPLETE)
    assert monitor.wait_until_idle(120)
    (path,) = tmp_path.iterdir()
    written = path.read_text(encoding="utf-8")
    assert key[4:] not in written
    (record,) = read_traces(tmp_path)
    assert record.answer == f"Yes, {masked(key)} is the key. [s1]"
    (claim,) = record.support.claims
    assert record.answer[claim.span.start : claim.span.end] == claim.text  # nothing moved
    shown = monitor.snapshot().turns[0]
    assert key in shown.answer  # the person who wrote it still reads it in the panel
