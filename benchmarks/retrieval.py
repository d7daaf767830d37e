"""How long does a search take, among few documents and among many? ``python -m benchmarks.retrieval``, from the root.

``--documents 15 1000 100000`` says how many. They are made of the sentences of kb/, recombined. An incident is asked
for as in a trial: what is timed is ``retrieve(incident, 5)``, and apart from it what its parts take, beside numpy,
which compares with every document by hand. Wanted: the index among 100,000 at most 30 ms at p95; the whole of a search
among 15 at most 100 ms.

To embed 100,000 documents takes the better part of an hour, and says nothing of searching them: their vectors are
the means of those of their sentences, which are embedded for real, and so are the queries. What embedding all would
take is told from 64 documents.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.model.incident import Incident
from harness.ports import Retriever
from harness.retrieval.corpus import SECTIONS, Document, load_corpus
from harness.retrieval.dense import DenseRetriever
from harness.retrieval.embedding import MiniLM
from harness.retrieval.hybrid import HybridRetriever
from harness.retrieval.lexical import LexicalRetriever
from harness.retrieval.vectors import PgVectors, key_of
from harness.services.postgres import Postgres, postgres_running
from harness.services.supervisor import Supervisor

KB = load_corpus(Path(__file__).resolve().parents[1] / "kb")
SIZES, QUERIES, LIMIT, EMBEDDED = (15, 1_000, 100_000), 200, 5, 64


class Recombined:
    """A document's vector is the mean of those of its lines; any other text is embedded for real."""

    def __init__(self, minilm: MiniLM, lines: Sequence[str]) -> None:
        self.model, self.dimensions = f"{minilm.model}-recombined", minilm.dimensions
        self._minilm = minilm
        self._lines = dict(zip(lines, minilm.embed(lines), strict=True))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._embedded(text) for text in texts])

    def _embedded(self, text: str) -> NDArray[np.float32]:
        found = [self._lines.get(line) for line in text.splitlines() if line]
        known = [vector for vector in found if vector is not None]
        if not found or len(known) < len(found):
            real: NDArray[np.float32] = self._minilm.embed((text,))[0]
            return real
        mean: NDArray[np.float32] = np.mean(known, axis=0, dtype=np.float32)
        scaled: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return scaled


def sentences() -> list[str]:
    """The lines of kb/, each once."""
    lines = (line for document in KB for line in document.search_text.splitlines())
    return [*dict.fromkeys(line for line in lines if line and not line.startswith(("#", "```")))]


def documents(count: int, lines: Sequence[str]) -> list[Document]:
    draw = random.Random(f"{count}/documents")  # noqa: S311 - a reproducible choice, no secret
    made = []
    for number in range(count):
        model = draw.choice(KB)
        body = "\n".join(f"## {title}\n" + "\n".join(draw.choices(lines, k=4)) for title in SECTIONS)
        made.append(replace(model, id=f"made-{number:06}", title=draw.choice(KB).title, body=body))
    return made


def incidents(count: int, lines: Sequence[str]) -> list[Incident]:
    draw = random.Random(f"{count}/incidents")  # noqa: S311 - as above
    logs = [line for line in lines if line.startswith("{")]
    return [
        Incident(
            id=str(number),
            error_code=draw.choice(KB).error_code,
            symptoms=" ".join(draw.choices(lines, k=2)),
            breadcrumbs=tuple(draw.choices(lines, k=3)),
            logs=tuple(draw.choices(logs, k=8)),
            window=None,
            detected_at="2026-11-23T20:15:10+00:00",
        )
        for number in range(count)
    ]


def timed(call: Callable[[], object]) -> float:
    """Milliseconds."""
    since_s = time.perf_counter()
    call()
    return (time.perf_counter() - since_s) * 1000


def row(what: str, prepared_s: float, took_ms: Sequence[float]) -> None:
    p50, p95 = np.percentile(took_ms, [50, 95])
    print(f"  {what:40}{prepared_s:12.1f}{p50:12.2f}{p95:12.2f}", flush=True)


def arms(made: list[Document], folder: Path, store: PgVectors, embedding: Recombined) -> list[Retriever]:
    return [
        LexicalRetriever(made, learned=folder),
        DenseRetriever(made, learned=folder, store=store, embedding=embedding, progress=told, prepare_s=3600),
        HybridRetriever(made, learned=folder, store=store, embedding=embedding),
    ]


def told(done: int, wanted: int) -> None:
    if done == wanted:
        print(f"  ({wanted} vectors made and kept)", flush=True)


def measured(size: int, queries: int, postgres: Postgres, folder: Path, minilm: MiniLM) -> None:
    lines = sentences()
    embedding = Recombined(minilm, [*lines, *(f"## {title}" for title in SECTIONS)])
    made, asked = documents(size, lines), incidents(queries, lines)
    name = f"documents_{size}"
    postgres.create_database(name)
    store = PgVectors(lambda: postgres.url(name), model=lambda: embedding.model, dimensions=embedding.dimensions)
    print(f"{size} documents, {queries} queries{'':>19}{'prepare s':>12}{'p50 ms':>12}{'p95 ms':>12}", flush=True)
    for retriever in arms(made, folder, store, embedding):
        prepared_s = timed(retriever.prepare) / 1000
        row(retriever.name, prepared_s, [timed(partial(retriever.retrieve, each, LIMIT)) for each in asked])
    texts = [retriever.query(each) for each in asked]
    row("part: embedding of the query", 0, [timed(partial(minilm.embed, (text,))) for text in texts])
    indexes(made, store, embedding, minilm.embed(texts))


def indexes(made: list[Document], store: PgVectors, embedding: Recombined, asked: NDArray[np.float32]) -> None:
    """pgvector and numpy alone, and whether they find the same."""
    rows = {key_of(document.search_text): row for row, document in enumerate(made)}
    since_s = time.perf_counter()
    matrix = embedding.embed([document.search_text for document in made])
    made_s = time.perf_counter() - since_s

    def by_pgvector(vector: NDArray[np.float32]) -> set[int]:
        return {rows[key] for key, _ in store.nearest(vector, rows.keys(), LIMIT)}

    def by_numpy(vector: NDArray[np.float32]) -> set[int]:
        return {*np.argpartition(-(matrix @ vector), LIMIT)[:LIMIT].tolist()}

    row("part: pgvector", 0, [timed(partial(by_pgvector, vector)) for vector in asked])
    row("instead: numpy, all compared", made_s, [timed(partial(by_numpy, vector)) for vector in asked])
    hits = sum(len(by_pgvector(vector) & by_numpy(vector)) for vector in asked)
    print(f"  pgvector finds {hits / (LIMIT * len(asked)):.1%} of what numpy finds\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="How long does a search take?")
    parser.add_argument("--documents", type=int, nargs="+", default=SIZES)
    parser.add_argument("--queries", type=int, default=QUERIES)
    options = parser.parse_args()
    minilm = MiniLM()
    loaded_ms = timed(lambda: minilm.embed(("the first run loads the model",)))
    sample = [document.search_text for document in documents(EMBEDDED, sentences())]
    each_ms = timed(lambda: minilm.embed(sample)) / EMBEDDED
    print(
        f"model loaded in {loaded_ms:.0f} ms; a document takes {each_ms:.0f} ms, 100,000 {each_ms * 100 / 60:.0f} min"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Supervisor() as supervisor:
        folder = Path(name)
        with postgres_running(supervisor, data=folder / "postgres", log=folder / "postgres.log") as postgres:
            for size in options.documents:
                measured(size, options.queries, postgres, folder / "learned", minilm)


if __name__ == "__main__":
    main()
