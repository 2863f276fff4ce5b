"""The command that packs a corpus' recordings into a few large files: `shard`."""

from typing import Annotated

import typer
from rich.table import Table

from vgsr.cli.app import app, console, progress_bar
from vgsr.cli.problems import print_problems


@app.command()
def shard(
    manifest: Annotated[str, typer.Argument(help="folder written by `vgsr prepare`, here or s3://BUCKET/FOLDER")],
    out: Annotated[str, typer.Argument(help="folder to write, here or s3://BUCKET/FOLDER; takes MANIFEST's place")],
    size: Annotated[str, typer.Option(help="about how large a shard is to be, such as 256MB or 1GB")] = "256MB",
) -> None:
    """Pack the recordings of a manifest into Parquet shards; the same command goes on where it was stopped."""
    from vgsr import storage
    from vgsr.data import manifest as manifests
    from vgsr.data import shard_writing
    from vgsr.data.shard_index import ShardError

    if not (wanted := storage.size(size)):
        raise ShardError(f"--size {size}: a shard has to hold something")
    with progress_bar() as progress:
        task = progress.add_task("packing recordings", total=None)
        try:
            made = shard_writing.write(
                manifests.read(manifest),
                out,
                wanted,
                lambda done, of: progress.update(task, completed=done, total=of),
            )
        except KeyboardInterrupt:
            console.print("stopped; the shards that are whole are kept, and the same command goes on with the others")
            raise typer.Exit(130) from None
    if made.removed:
        console.print(f"{made.removed:,} shards there were not whole, or of another manifest or --size: made anew")
    table = Table("shards", "of an earlier run", "stretches", "bytes", title=f"{manifest} → {out}")
    table.add_row(f"{made.shards:,}", f"{made.kept:,}", f"{made.stretches:,}", f"{made.size:,}")
    console.print(table)
    print_problems([(problem.uri, problem.reason) for problem in made.problems])
