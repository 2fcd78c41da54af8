"""`oche`: verbs to functions. Each verb is a file, imported when it is asked for, so that help comes at once."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from oche.errors import ConfigError, Disconnected, OcheError

#: Verb -> what it does, in the order of the help; it lives in `oche.cli.<verb>`, as a command of the same name.
VERBS = {
    "pi": "Throw darts for pi: the same exact count on every engine.",
    "prime": "Say of each number whether it is prime, and what divides it.",
    "primes": "List or count the primes of a range.",
    "factor": "Search the cluster for the prime factors of a number.",
    "matmul": "Multiply two matrices from files, or random ones.",
    "sort": "Sort an array from a file.",
    "rank": "Rank a linked list from a file, or a random one.",
    "wordcount": "Count the words of text files.",
    "compare": "Compare engines, and ways to share between processes, on this machine.",
    "run": "Map a function over numbers or lines of stdin, on every worker.",
    "stream": "Run pipelines of topics and channels; publish and read.",
    "engines": "List what a URL can name, what each can do, and how to get what is missing.",
    "up": "Start a cluster of some kind on this machine, for trying; print its URL.",
    "down": "End what `up` started.",
    "worker": "Make this machine a node: take jobs from a queue until told to stop.",
    "status": "Show tubes, workers and runs on a broker.",
    "doctor": "Look at a broker, its workers and this machine: what is not well, and the remedy.",
    "jobs": "Look at jobs that wait or were set aside; kick, bury or delete them.",
    "runs": "List, show, resume or forget named runs of yours.",
    "key": "Print the key that signs all messages, for your other machines.",
}

_HELP = """\
Turns the queue server you have, or none at all, into a fault-tolerant cluster for parallel Python:
start `oche worker URL` on any machine, and every program that opens the URL computes on all of them.
"""

_EPILOG = """\
\b
URLs:  local:                      this machine, nothing else to start (the default)
       process:  thread:           the same, over the standard library's pools
       sqlite:///jobs.db           one file, all processes of this machine
       beanstalkd://host:11300     a server; add ?farm=NAME to share it with others
       redis://host:6379/0         Redis 7 or Valkey
       amqp://host                 RabbitMQ
       OCHE_URL in the environment stands where no URL is given.

\b
Examples:
  oche pi 1e10                                       on all cores of this machine
  oche worker beanstalkd://host --slots 8            on each node, and then anywhere:
  ls *.png | oche run shrink.py:shrink --on beanstalkd://host

\b
Exit codes:  0 done    1 something failed    2 wrong usage or settings
             3 no broker answers    4 doctor: only warnings    130 Ctrl-C
"""


class Verbs(click.Group):
    """The verbs of `VERBS`, each imported on its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"oche.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(VERBS)}"
            raise click.UsageError(f"no verb {args[0]!r} ({hint})", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"oche {version('oche')}")
        except PackageNotFoundError:
            click.echo("oche, run from its source tree")
        ctx.exit()


@click.group(
    cls=Verbs, subcommand_metavar="VERB ...", help=_HELP, epilog=_EPILOG, context_settings={"max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def oche() -> None:
    """The command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process; returns the exit code. Raises nothing."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = oche.main(given, prog_name="oche", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return _fail(error, _text_of(error), error.exit_code, given)
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail(error, "stopped", 130, given)
    except BrokenPipeError:
        # The reader of our output has left, as `head` does; the interpreter must not stumble over that at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OcheError as error:
        code = 2 if isinstance(error, ConfigError) else 3 if isinstance(error, Disconnected) else 1
        return _fail(error, str(error), code, given)
    except Exception as error:
        return _fail(error, f"{type(error).__name__}: {error}; --debug shows where", 1, given)


def _text_of(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{text}; see `{error.ctx.command_path} --help`"
    return text


def _fail(error: BaseException, text: str, code: int, arguments: Sequence[str]) -> int:
    # Taken from the arguments, as the failure may lie in reading them.
    if "--debug" in arguments or os.environ.get("OCHE_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    click.echo(click.style("oche:", fg=None if code == 130 else "red") + f" {text}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
