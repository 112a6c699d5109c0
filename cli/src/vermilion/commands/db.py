"""``vermilion db``: fetch knowledge, compile it, look into it, and measure what it is worth."""

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.table import Table

from vermilion.commands.options import Database
from vermilion.commands.progress import wide_console, working
from vermilion.errors import CommandFailed
from vermilion_classify import container, store
from vermilion_classify.databases import read
from vermilion_classify.sources import FetchError, sources
from vermilion_classify.sources import fetch as fetch_source

if TYPE_CHECKING:
    from vermilion_classify.evaluating import Report

app = typer.Typer(help="What is known about fingerprints.", no_args_is_help=True)
_SEED = 2026


@app.command()
def fetch(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all is there.")] = False,
) -> None:
    """Fetch the public knowledge named in sources.toml, each file checked by its SHA-256, and compile it."""
    for source in sources():
        try:
            fresh = fetch_source(source)
        except FetchError as error:
            if not source.optional:
                raise
            typer.echo(f"vermilion: warning: {error}\n{source.name}: {source.optional}", err=True)
            continue
        if fresh or not quiet:
            typer.echo(
                f"{source.name} {source.version}: {'fetched to' if fresh else 'is in'} {source.directory}",
                err=True,
            )
    with working("compiling the databases"):
        fresh = store.build_public()
    if fresh or not quiet:
        typer.echo(f"{store.default_path()}: {'compiled' if fresh else 'is up to date'}", err=True)


@app.command()
def info(fp_db: Database = None) -> None:
    """Show what knowledge is here: version, layers, size, age, origin and licence."""
    knowledge = store.load(fp_db)
    table = Table(show_header=False, box=None)
    table.add_row("name", knowledge.version["name"])
    table.add_row("version", knowledge.version["version"])
    table.add_row("file", str(fp_db or store.default_path()))
    table.add_row("fingerprints", f"{knowledge.entries:,}")
    processes = {name for entry in range(knowledge.entries) for name in knowledge.processes(entry)}
    table.add_row("processes", f"{len(processes):,}")
    for layer in knowledge.meta["layers"]:
        table.add_row(f"{layer['name']} {layer['version']}", _layer(layer))
    for source in sources():
        if fp_db is None and source.present and not any(name.endswith("db.json.gz") for name in source.files):
            table.add_row(f"{source.name} {source.version}", f"{source.what}; {source.licence}")
    wide_console().print(table)


def _layer(layer: dict[str, object]) -> str:
    told = [
        f"{layer['fingerprints']:,} fingerprints, {layer['sessions']:,} sessions, known up to {layer['day']}",
        f"weighed as {layer['model']}",
    ]
    for what in ("skipped", "normalised"):
        told += [f"{what}: {count} {reason}" for reason, count in dict(layer[what]).items()]  # type: ignore[call-overload]
    return "; ".join([*told, str(layer["licence"])]).removesuffix("; ")


@app.command()
def lookup(
    fingerprint: Annotated[str, typer.Argument(metavar="FP", help="A TLS fingerprint.")],
    fp_db: Database = None,
) -> None:
    """Tell what is known of a fingerprint, or of those like it: an answer as JSON, without a destination."""
    knowledge = store.load(fp_db)
    newest = max(layer["newest"] for layer in knowledge.meta["layers"])
    answer = knowledge.answer(
        fingerprint, knowledge.classes(0, None, None), newest * 1_000_000, alternatives=10
    )
    typer.echo(orjson.dumps({k: v for k, v in answer.items() if v not in (None, [])}).decode())


@app.command()
def build(
    databases: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DB…",
            help="Databases, the first answered from first; none: the public ones that were fetched.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where the knowledge file goes.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What answers call it.")] = None,
    version: Annotated[str | None, typer.Option(help="Its version in answers.")] = None,
    public: Annotated[
        bool, typer.Option("--public/--no-public", help="The public databases behind the ones given.")
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Leave lines that are wrong out, and count them.")
    ] = False,
) -> None:
    """Compile databases into one knowledge file, put in place by a rename: services take it up at once."""
    target = out or store.default_path()
    layers = [store.layer_of(path, lenient=lenient) for path in databases or []]
    if public or not layers:
        layers += store.public_layers()
    with working("compiling the databases"):
        data = store.build(
            layers,
            store.compiled_tables(),
            store.public_systems(),
            store.public_months(),
            name=name,
            version=version,
        )
    try:
        container.write(target, data)
    except OSError as error:
        raise CommandFailed(f"{target}: {error.strerror or error}") from None
    for layer in layers:
        for reason, count in layer.database.skipped.items():
            typer.echo(f"vermilion: warning: {layer.database.path}: left out: {count} {reason}", err=True)
    typer.echo(f"{target}: {store.load(target).entries:,} fingerprints", err=True)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A database.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    limit: Annotated[int, typer.Option(min=0, help="So many fingerprints of each kind are listed.")] = 10,
) -> None:
    """Tell which fingerprints a newer database adds, drops and answers otherwise."""
    one, two = ({key: e for e in read(path).entries for key in e.keys} for path in (old, new))
    changed = [key for key in one if key in two and _first(one[key]) != _first(two[key])]
    for kind, keys in (
        ("added", [key for key in two if key not in one]),
        ("dropped", [key for key in one if key not in two]),
        ("first process changed", changed),
    ):
        typer.echo(f"{kind}: {len(keys):,}")
        for key in keys[:limit]:
            names = [_first(table[key]) for table in (one, two) if key in table]
            typer.echo(f"  {' -> '.join(dict.fromkeys(names))}  {key}")


def _first(entry: object) -> str:
    return str(entry.rows[0]["process"])  # type: ignore[attr-defined]


@app.command()
def evaluate(
    fp_db: Database = None,
    seed: Annotated[int, typer.Option(help="Of the sessions that are drawn.")] = _SEED,
) -> None:
    """Measure answers: on fingerprints held out of a database, and on the bundled recordings.

    Without -d: of the first public database.
    """
    from vermilion.commands.recorded import recorded
    from vermilion_classify.evaluating import by_fingerprint, by_time, report

    layer = store.layer_of(fp_db) if fp_db else store.public_layers()[0]
    for how, held in (("held out by fingerprint", by_fingerprint), ("held out by time", by_time)):
        for what, weighted in (("each fingerprint alike", False), ("each as often as it was seen", True)):
            with working(f"{how}, {what}"):
                found = held(layer, Random(seed), by_sessions=weighted)  # noqa: S311
            for of, answers in (("process", found.processes), ("operating system", found.systems)):
                _print(f"{layer.name} {layer.version}, {how}, {what}: {of}", report(answers))
    for name, told in recorded(fp_db):
        for of, answers in (("process", told.processes), ("operating system", told.systems)):
            _print(f"recording {name}: {of}", report(answers))
            wrong = max((answer.score or 0.0 for answer in answers if not answer.right), default=0.0)
            typer.echo(f"highest score of a wrong answer: {wrong:.2f}\n")


def _print(title: str, found: "Report") -> None:
    console = wide_console()
    console.print(
        f"[bold]{title}[/]\n{found.sessions:,} sessions, {found.answered:.1%} answered, of these right: "
        f"{found.accuracy:.1%}, among the first three: {found.top3:.1%}; "
        f"expected calibration error {found.error:.3f}, Brier score {found.brier:.3f}"
    )
    table = Table("score", "of the answers", "mean score", "right")
    for each in found.bins:
        table.add_row(
            f"{each.low:.1f} to {each.low + 0.1:.1f}",
            f"{each.share:.1%}",
            f"{each.score:.2f}",
            f"{each.right:.2f}",
        )
    console.print(table)
