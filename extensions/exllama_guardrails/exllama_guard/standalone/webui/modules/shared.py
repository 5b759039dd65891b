"""State that all parts of the stand-in host share, under the names that extensions look for."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

model: Any = None
tokenizer: Any = None
model_name: str = "None"
is_seq2seq = False
is_multimodal = False
lora_names: list[str] = []

stop_everything = False
generation_lock = threading.Lock()
processing_message = ""

gradio: dict[str, Any] = {}
need_restart = False
user_data_dir = Path("user_data")

args = argparse.Namespace(
    extensions=[],
    model=None,
    loader="Transformers",
    cpu=True,
    cache_type="fp16",
    ctx_size=8192,
    gpu_split=None,
    enable_tp=False,
    tp_backend=None,
    model_draft=None,
    multi_user=False,
    idle_timeout=0,
    verbose=False,
    api=True,
)

settings: dict[str, Any] = {
    "mode": "instruct",
    "custom_system_message": "",
    "instruction_template_str": "",
    "chat_template_str": "",
    "context": "",
    "user_bio": "",
    "name1": "You",
    "name2": "AI",
    "start_with": "",
    "enable_thinking": False,
    "enable_web_search": False,
    "include_past_attachments": True,
    "selected_tools": [],
    "mcp_servers": "",
    "max_new_tokens": 128,
    "auto_max_new_tokens": False,
    "truncation_length": 4096,
    "max_tokens_second": 0,
    "seed": -1,
    "stream": True,
    # A model of 135M parameters babbles at temperature 1; at 0 the examples give the same answers each time.
    "temperature": 0.0,
    "top_p": 0.9,
    "top_k": 50,
    "min_p": 0.0,
    "repetition_penalty": 1.05,
    "do_sample": True,
    "add_bos_token": True,
    "ban_eos_token": False,
    "skip_special_tokens": True,
    "custom_stopping_strings": "",
    "custom_token_bans": "",
    "negative_prompt": "",
    "grammar_string": "",
}
default_settings: dict[str, Any] = dict(settings)
