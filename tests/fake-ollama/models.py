# SPDX-License-Identifier: Apache-2.0
"""What the stand-in knows of a model: its metadata, its tensors, its tokens and its bytes.

The default is smollm2:135m as Ollama 0.32 describes it, so that a client's memory formulas have real numbers to work
with; a script changes single fields (`trained`, `capabilities`, `format`, `remote_host` ...).
"""

import hashlib
import re

DEFAULT = {
    "name": "smollm2:135m",
    "architecture": "llama",
    "trained": 8192,
    "layers": 30,
    "embedding": 576,
    "heads": 9,
    "heads_kv": 3,          # a list: one number a layer, which plain /api/show leaves out
    "head_dim": 64,
    "ff": 1536,
    "vocab": 49152,
    "quantization": "Q4_1",
    "parameter_size": "134.52M",
    "format": "gguf",
    "capabilities": ["completion"],
    "parameters": {},       # PARAMETER lines of its Modelfile
    "remote_host": "",      # set: a cloud name
    "remote_model": "",
    "pooling": None,        # set: an embedding model
    "chars_per_piece": 6,   # how coarse the tokenizer is
    "bos": 0,               # tokens in front of every prompt
    "reuse": True,          # False: the prefix cache never helps (sliding window, hybrid)
    "from": None,           # base of a created preset
}

# type name -> (elements in a block, bytes of a block)
BLOCK = {"F32": (1, 4), "F16": (1, 2), "Q8_0": (32, 34), "Q4_1": (32, 20)}

PIECE = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")


class Model:
    def __init__(self, fields):
        self.fields = {**DEFAULT, **fields}
        unknown = set(fields) - set(DEFAULT)
        if unknown:
            raise ValueError(f"script: model has no field {sorted(unknown)}")
        self.name = self.fields["name"] = canonical(self.fields["name"])
        self.trained = self.fields["trained"]
        self.tensors = list(self._tensors())
        self.weight_bytes = sum(size for _, size in self.tensors)
        root = self.fields["from"] or self.name
        self.blob = hashlib.sha256(("blob " + root).encode()).hexdigest()
        self.digest = hashlib.sha256(repr(sorted(self.fields.items(), key=str)).encode()).hexdigest()

    def _tensors(self):
        f = self.fields
        n, ff = f["embedding"], f["ff"]
        shapes = [("token_embd.weight", "Q8_0", [n, f["vocab"]]), ("output_norm.weight", "F32", [n])]
        block = [("attn_norm", "F32", [n]), ("attn_q", "Q4_1", [n, f["heads"] * f["head_dim"]]),
                 ("attn_k", "Q4_1", [n, None]), ("attn_v", "Q4_1", [n, None]),
                 ("attn_output", "Q4_1", [f["heads"] * f["head_dim"], n]), ("ffn_norm", "F32", [n]),
                 ("ffn_gate", "Q4_1", [n, ff]), ("ffn_up", "Q4_1", [n, ff]), ("ffn_down", "Q4_1", [ff, n])]
        for layer in range(f["layers"]):
            kv = self.heads_kv(layer) * f["head_dim"]
            shapes += [(f"blk.{layer}.{name}.weight", kind, [edge or kv for edge in shape])
                       for name, kind, shape in block if kv or None not in shape]
        for name, kind, shape in shapes:
            elements = 1
            for edge in shape:
                elements *= edge
            per, size = BLOCK[kind]
            yield {"name": name, "type": kind, "shape": shape}, elements // per * size

    @property
    def generative(self):
        return "completion" in self.fields["capabilities"]

    def heads_kv(self, layer):
        heads = self.fields["heads_kv"]
        return heads[layer] if isinstance(heads, list) else heads

    def kv_bytes_per_token(self):
        f = self.fields
        return sum(map(self.heads_kv, range(f["layers"]))) * 2 * f["head_dim"] * 2

    def size_bytes(self, num_ctx, num_batch):
        """Weights + KV + compute + output, as measured on Ollama 0.32.15 with smollm2:135m (within 0.3 MiB)."""
        width = self.fields["embedding"]
        return int(self.weight_bytes + 0.21e6 + num_batch * 48 * width
                   + num_ctx * (self.kv_bytes_per_token() + 2 * num_batch))

    def tokens(self, text):
        """The text as a list of pieces. About one token in four characters of prose, never exactly."""
        step = self.fields["chars_per_piece"]
        pieces = ["<s>"] * self.fields["bos"]
        for piece in PIECE.findall(text):
            pieces.extend(piece[i:i + step] for i in range(0, len(piece), step))
        return pieces

    def details(self):
        f = self.fields
        return {"parent_model": "", "format": f["format"], "family": f["architecture"],
                "families": [f["architecture"]], "parameter_size": f["parameter_size"],
                "quantization_level": f["quantization"]}

    def row(self):
        """Its row of /api/tags."""
        f = self.fields
        remote = {key: f[key] for key in ("remote_host", "remote_model") if f[key]}
        return {"name": self.name, "model": self.name, **remote, "modified_at": "2026-08-20T10:00:00.0Z",
                "size": 384 if remote else self.weight_bytes + 1_800_000, "digest": self.digest,
                "details": {**self.details(), "context_length": self.trained, "embedding_length": f["embedding"]},
                "capabilities": f["capabilities"]}

    def show(self, verbose):
        """/api/show: without verbose every array is null, as the real server answers."""
        f, a = self.fields, self.fields["architecture"]
        tokens = [f"t{i}" for i in range(200)] if verbose else None
        heads_kv = None if isinstance(f["heads_kv"], list) and not verbose else f["heads_kv"]
        info = {
            "general.architecture": a, "general.file_type": 3, "general.parameter_count": 134515008,
            "general.quantization_version": 2, f"{a}.block_count": f["layers"], f"{a}.context_length": self.trained,
            f"{a}.embedding_length": f["embedding"], f"{a}.feed_forward_length": f["ff"],
            f"{a}.attention.head_count": f["heads"], f"{a}.attention.head_count_kv": heads_kv,
            f"{a}.attention.layer_norm_rms_epsilon": 1e-05, f"{a}.rope.dimension_count": f["head_dim"],
            f"{a}.rope.freq_base": 100000, f"{a}.vocab_size": f["vocab"], "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": tokens, "tokenizer.ggml.token_type": None,
        }
        if f["pooling"] is not None:
            info[f"{a}.pooling_type"] = f["pooling"]
        lines = [f"{key:<30} {value}" for key, value in f["parameters"].items()]
        return {
            "license": "Apache License 2.0", "parameters": "\n".join(lines), "template": "{{ .Prompt }}",
            "modelfile": f"# Modelfile generated by \"ollama show\"\nFROM /nowhere/blobs/sha256-{self.blob}\n"
                         "TEMPLATE {{ .Prompt }}\n" + "".join(f"PARAMETER {k} {v}\n"
                                                              for k, v in f["parameters"].items()),
            "details": self.details(), "model_info": info, "tensors": [row for row, _ in self.tensors],
            "capabilities": f["capabilities"], "modified_at": "2026-08-20T10:00:00.0Z",
            **{key: f[key] for key in ("remote_host", "remote_model") if f[key]},
        }


def canonical(name):
    """`x` means `x:latest`."""
    return name if ":" in name.rsplit("/", 1)[-1] else name + ":latest"
