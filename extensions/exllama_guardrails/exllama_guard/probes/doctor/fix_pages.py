"""The public pages that explain each fault (WFGY problem map, MIT licence): ids, titles, addresses."""
# ruff: noqa: E501 - a table is read one row a line

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAGES", "FixPage", "fix_page"]

_BASE = "https://github.com/onestardao/WFGY/blob/main/ProblemMap/"
_LOCAL = "GlobalFixMap/LocalDeploy_Inference/"
_EVAL = "GlobalFixMap/Eval_Observability/"
_RETRIEVAL = "GlobalFixMap/Retrieval/"


@dataclass(frozen=True, slots=True)
class FixPage:
    """One page. `when` says in a few words what it is for."""

    id: str
    title: str
    url: str
    when: str


_ROWS = (
    ("exllama", "ExLLaMA: guardrails and fix patterns", _LOCAL + "exllama.md", "entry page"),
    ("exllamav2", "ExLlamaV2: guardrails and fix patterns", _LOCAL + "exllamaV2.md", "comparison with FP16, kernels"),
    ("textgen", "TextGen WebUI: guardrails and fix patterns", _LOCAL + "textgen-webui.md", "extensions change answers"),
    ("ldi", "Local deploy and inference", _LOCAL + "README.md", "overview"),
    ("llamacpp", "llama.cpp guardrails", _LOCAL + "llamacpp.md", "a GGUF loader is in use"),
    ("vllm", "vLLM guardrails", _LOCAL + "vllm.md", "effects of batching"),
    ("autogptq", "AutoGPTQ guardrails", _LOCAL + "autogptq.md", "GPTQ weights"),
    ("awq", "AWQ guardrails", _LOCAL + "awq.md", "AWQ weights"),
    ("bnb", "bitsandbytes guardrails", _LOCAL + "bitsandbytes.md", "bitsandbytes weights"),
    ("koboldcpp", "KoboldCpp guardrails", _LOCAL + "koboldcpp.md", "KoboldCpp"),
    ("rag-arch", "RAG architecture and recovery", "rag-architecture-and-recovery.md", "the faulty layer is unknown"),
    ("playbook", "Retrieval playbook", "retrieval-playbook.md", "k, metric, gold set"),
    ("bootstrap-ordering", "Bootstrap ordering", "bootstrap-ordering.md", "something ran before it was ready"),
    ("deployment-deadlock", "Deployment deadlock", "deployment-deadlock.md", "two parts wait for each other"),
    ("predeploy-collapse", "Pre-deploy collapse", "predeploy-collapse.md", "versions, CUDA or templates disagree"),
    ("retrieval-traceability", "Retrieval traceability", "retrieval-traceability.md", "a claim leads to no snippet"),
    ("data-contracts", "Data contracts", "data-contracts.md", "shapes of records"),
    ("embedding-vs-semantic", "High similarity, wrong meaning", "embedding-vs-semantic.md", "near, but wrong content"),
    ("chunking-checklist", "Chunking checklist", "chunking-checklist.md", "bad boundaries of passages"),
    ("context-drift", "Context drift", "context-drift.md", "a long dialogue leaves its goal"),
    ("entropy-collapse", "Entropy collapse", "entropy-collapse.md", "repetition, blur, filler"),
    ("prompt-injection", "Prompt injection", "prompt-injection.md", "text overrides rules or tools"),
    ("logic-collapse", "Logic collapse and recovery", "logic-collapse.md", "dead end, contradiction, retries"),
    ("vectorstore-fragmentation", "Vectorstore fragmentation", "vectorstore-fragmentation.md", "duplicates, mixed encoders"),
    ("rerankers", "Rerankers", "rerankers.md", "order unstable, recall good"),
    ("hallucination", "Hallucination", "hallucination.md", "wrong passages"),
    ("retrieval-collapse", "Interpretation collapse", "retrieval-collapse.md", "right passages, wrong logic"),
    ("bluffing", "Bluffing", "bluffing.md", "confident nonsense"),
    ("memory-coherence", "Memory coherence", "memory-coherence.md", "a session is forgotten"),
    ("longctx", "Long-context stress", "long-context-stress.md", "worse beyond 8-12k tokens"),
    ("split", "Pattern: query parsing split", "patterns/pattern_query_parsing_split.md", "hybrid worse than single"),
    ("reentry", "Pattern: hallucination re-entry", "patterns/pattern_hallucination_reentry.md", "an old claim returns"),
    ("scu", "Pattern: symbolic constraint unlock", "patterns/pattern_symbolic_constraint_unlock.md", "sources are merged"),
    ("desync", "Pattern: memory desync", "patterns/pattern_memory_desync.md", "state flips"),
    ("frag-pattern", "Pattern: vectorstore fragmentation", "patterns/pattern_vectorstore_fragmentation.md", "facts out of reach"),
    ("boot-pattern", "Pattern: bootstrap deadlock", "patterns/pattern_bootstrap_deadlock.md", "a cycle at boot"),
    ("metrics", "WFGY metrics", "wfgy-metrics.md", "table of metrics"),
    ("eo-ds", "ΔS thresholds", _EVAL + "deltaS_thresholds.md", "limits of ΔS"),
    ("eo-cov", "Coverage tracking", _EVAL + "coverage_tracking.md", "coverage"),
    ("eo-lambda", "λ observe", _EVAL + "lambda_observe.md", "λ"),
    ("eo-gate", "Regression gate", _EVAL + "regression_gate.md", "gates in CI"),
    ("eo-var", "Variance and drift", _EVAL + "variance_and_drift.md", "variance over runs"),
    ("eo-log", "Metrics and logging", _EVAL + "metrics_and_logging.md", "what to log"),
    ("eo-alert", "Alerting and probes", _EVAL + "alerting_and_probes.md", "alerts"),
    ("rt-trace", "Retrieval traceability, fields", _RETRIEVAL + "retrieval-traceability.md", "table of fields"),
    ("rt-probe", "ΔS probes", _RETRIEVAL + "deltaS_probes.md", "probes of retrieval"),
    ("rt-align", "Chunk alignment", _RETRIEVAL + "chunk_alignment.md", "anchors"),
    ("rt-eval", "Retrieval eval recipes", _RETRIEVAL + "retrieval_eval_recipes.md", "measuring retrieval"),
    ("clamp", "Variance clamp", "GlobalFixMap/Reasoning/chain-of-thought-variance-clamp.md", "answers vary"),
    ("anchors", "Anchoring and bridge proofs", "GlobalFixMap/Reasoning/anchoring-and-bridge-proofs.md", "anchors"),
    ("json", "JSON mode and tool calls", "GlobalFixMap/PromptAssembly/json_mode_and_tool_calls.md", "JSON gates"),
    ("pins", "Version pinning and model lock", "GlobalFixMap/OpsDeploy/version_pinning_and_model_lock.md", "versions move"),
    ("skew", "Update and index skew", "GlobalFixMap/RAG_VectorDB/update_and_index_skew.md", "index and model disagree"),
    ("stability", "Semantic stability", "GlobalFixMap/Eval/eval_semantic_stability.md", "seeds and forms"),
)  # fmt: skip

PAGES = {id_: FixPage(id_, title, _BASE + tail, when) for id_, title, tail, when in _ROWS}


def fix_page(id_: str) -> FixPage:
    """The page of an id.

    Raises:
        KeyError: There is no such page.
    """
    return PAGES[id_]
