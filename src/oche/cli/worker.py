"""`oche worker`: this machine as a node."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

import click

from oche.cli.options import debug_option, here_first, log_to_stderr, positive, size, url_argument
from oche.cli.session import address_of, broker_at
from oche.errors import ConfigError, KeyMissing

if TYPE_CHECKING:
    from oche.wire.signing import Signer

log = logging.getLogger("oche")


@click.command()
@url_argument
@click.option("--slots", type=positive, metavar="N", help="Jobs at a time (one for each core).")
@click.option(
    "--memory-limit", type=size, metavar="SIZE", help="End a job that holds more, as 2G; it fails by that name."
)
@click.option("--max-rss", type=size, metavar="SIZE", help="Renew a process that holds more after its job.")
@click.option("--max-jobs", type=positive, metavar="N", help="Renew a process after N jobs.")
@click.option("--grace", type=float, default=10.0, metavar="SECONDS", show_default=True,
              help="What running jobs get to finish when the worker is told to stop.")  # fmt: skip
@click.option("--unsigned", is_flag=True, help="Take unsigned jobs too, but only tasks of the --tasks modules.")
@click.option(
    "--tasks", multiple=True, metavar="MODULE", help="With --unsigned: a module whose @oche.task functions may run."
)
@click.option("--verbose", "-v", is_flag=True, help="Say more.")
@debug_option
def worker(
    url: str, slots: int | None, memory_limit: int | None, max_rss: int | None, max_jobs: int | None,
    grace: float, unsigned: bool, tasks: tuple[str, ...], verbose: bool,
) -> None:  # fmt: skip
    """Take jobs from the queue at URL and run them, until SIGTERM or Ctrl-C.

    Then it takes no more jobs, lets those that run finish within --grace seconds, hands back the rest, and
    ends with 0. A second signal ends it at once. Tasks may lie in the folder where it was started. Where clients have
    a store with a password, OCHE_STORE must be its URL.
    """
    from oche.worker.cores import usable_cores
    from oche.worker.daemon import serve
    from oche.worker.node import Worker, WorkerOptions

    here = here_first()
    _check_tasks(unsigned, tasks)
    log_to_stderr(logging.DEBUG if verbose else logging.INFO, "%(asctime)s %(levelname).1s %(message)s")
    signer = _signer(address_of(url)[0], unsigned)
    with broker_at(url, make=True) as (queue, farm):
        options = WorkerOptions(
            slots=slots or usable_cores(),
            farm=farm,
            grace=grace,
            memory_limit=memory_limit,
            max_jobs=max_jobs,
            max_rss=max_rss,
            unsigned=unsigned,
            modules=tasks,
            path=(here,),
        )
        node = Worker(queue, signer, options)
        takes = "signed jobs" if signer.signed else "no signed jobs (no key here)"
        takes += f" and unsigned ones for {', '.join(tasks)}" if unsigned else ""
        log.info("worker %s: %d slots on %s, farm %s, takes %s", node.name, options.slots, url, farm.name, takes)
        click.get_current_context().exit(serve(node))


def _signer(address: str, unsigned: bool) -> Signer:
    from oche.queues.opening import local_host
    from oche.wire.signing import Signer, load_key

    try:
        return Signer(load_key(local=local_host(address)))
    except KeyMissing:
        if unsigned:
            return Signer(None)
        raise


def _check_tasks(unsigned: bool, tasks: tuple[str, ...]) -> None:
    if unsigned and not tasks:
        raise ConfigError(
            "--unsigned needs --tasks MODULE: anybody who reaches the broker may then run that module's tasks"
        )
    if tasks and not unsigned:
        raise ConfigError(
            "--tasks says what unsigned jobs may run; add --unsigned, or leave it out: signed jobs may run all"
        )
    for module in tasks:
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise ConfigError(
                f"--tasks {module}: there is no such module; start the worker in its folder, or set PYTHONPATH"
            )
