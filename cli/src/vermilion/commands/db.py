"""``vermilion db``: fetch knowledge, and tell what there is."""

from typing import Annotated

import typer
from rich.table import Table

from vermilion.commands.options import Database
from vermilion.commands.progress import wide_console
from vermilion_classify.knowledge import load
from vermilion_classify.sources import fetch as fetch_source
from vermilion_classify.sources import sources

app = typer.Typer(help="What is known about fingerprints.", no_args_is_help=True)


@app.command()
def fetch(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all is there.")] = False,
) -> None:
    """Fetch the public knowledge named in sources.toml, each file checked by its SHA-256."""
    for source in sources():
        fresh = fetch_source(source)
        if fresh or not quiet:
            typer.echo(
                f"{source.name} {source.version}: {'fetched to' if fresh else 'is in'} {source.directory}",
                err=True,
            )


@app.command()
def info(fp_db: Database = None) -> None:
    """Show what knowledge is here: version, size, origin and licence."""
    source = sources()[0]
    knowledge = load(source, fp_db)
    table = Table(show_header=False, box=None)
    table.add_row("name", knowledge.version["name"])
    table.add_row("version", knowledge.version["version"])
    table.add_row("fingerprints", f"{len(knowledge.entries):,}")
    table.add_row(
        "processes", f"{len({name for entry in knowledge.entries.values() for name in entry.names}):,}"
    )
    table.add_row("sessions counted", f"{sum(entry.total for entry in knowledge.entries.values()):,}")
    table.add_row("folder", str(source.directory))
    table.add_row("tables from", f"{source.name} {source.version}: {source.what}")
    table.add_row("licence", source.licence)
    wide_console().print(table)
