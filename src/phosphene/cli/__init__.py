"""The command line: one file per command, which parses, calls the function of the same name, and prints."""

import errno
import importlib
import os
import sys
import traceback
from contextlib import suppress

import click

from phosphene.errors import PhospheneError, first_line, nearest, printable
from phosphene.version import __version__

# On a busy machine, threads that spin while they wait occupy the cores that they wait for, which can cost a factor of
# ten. A short spin keeps the speed on an idle one (docs/performance.md). torch reads this when it loads.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# A command's module, of the same name, is imported when it is called, so that --help costs nothing.
COMMANDS = {
    "demo": "Map, score and scan networks that come with the package, in one to two minutes.",
    "map": "Map what a classifier means by its classes.",
    "score": "Score how well other classifiers recognise the maps of runs.",
    "check": "Check that a run's maps depend on the network and not only on the method.",
    "scan": "Scan a classifier for backdoors, and show candidate triggers.",
    "card": "Write the card of a model, from which the same model can be loaded again.",
    "models": "List the models that can be loaded by name.",
    "layers": "List the layers of a network whose units can be mapped.",
    "recipes": "List the recipes, or show one as TOML.",
    "doctor": "Report what works on this machine, and whether a model fits its input.",
    "compare": "Compare two runs: the classes whose maps changed most.",
    "serve": "Show runs in the browser, live; compare them; start new ones.",
    "report": "Write a run's report.html again.",
    "site": "Write runs as a web site: a page per class and per model.",
    "film": "Write how a run's maps grew, as an animated image.",
}

# What a command does when it is given again after an interruption; the others begin anew.
CONTINUATIONS = {
    "map": "continues where this stopped",
    **dict.fromkeys(("demo", "score", "check"), "goes on with what is finished"),
}
CLOSED_PIPE = 141  # exit code of a command that the shell reports as ended by SIGPIPE
# Of a message, in characters: names from files may have millions.
MAX_LENGTH = 1500


class _Commands(click.Group):
    """The click group of all commands, which imports a command's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of ``COMMANDS``, for click's help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> "click.Command | None":
        """Import the module of a command and return its click command; ``None`` if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"phosphene.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101  (for the type checker)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> "tuple[str | None, click.Command | None, list[str]]":
        """Return the name, the click command and the other arguments of ``args``.

        Raises:
            UsageError: there is no such command; the message names the nearest one.
        """
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            hint = nearest(args[0], list(COMMANDS)) or f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the "Commands" section of the help page from ``COMMANDS``, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="phosphene")
def main() -> None:
    """Run one of the commands below, which show what an image classifier associates with a class, whatever the image.

    Exit codes: 0 done; 1 backdoor suspected (only from scan); 2 failed; 3 inconclusive scan; 4 fell short of what score --min-... or
    check --strict asks for; 130 interrupted; 141 closed pipe.
    """


def entry() -> None:
    """Run the command that ``sys.argv`` names, and exit with its code.

    An error is printed as one line on stderr. The code is then 2, or 130 if the command was interrupted. If the reader of its
    output has closed the pipe, the command ends without a line, with 141, as others do in a shell.
    """
    _replace_closed_outputs()
    stdout = sys.stdout
    try:
        code = main(sys.argv[1:] or ["--help"], prog_name="phosphene", standalone_mode=False)
    except SystemExit as stop:
        # On a closed pipe, click wraps stdout and exits with 1; here 1 means a suspected backdoor.
        sys.exit(stop.code if sys.stdout is stdout else CLOSED_PIPE)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.MissingParameter as error:
        _fail(f"{error.format_message()} Give {_usage(error.ctx)}; --help lists the options.")
    except click.ClickException as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, click.Abort) as stop:
        summaries = [str(one) for one in (stop.__cause__ or stop).args if isinstance(stop.__cause__, KeyboardInterrupt)]
        line = ", ".join(["interrupted", *summaries[:1]])
        continuation = CONTINUATIONS.get(next(iter(sys.argv[1:]), ""), "begins anew")
        _complain(f"\nphosphene: {line}; the same command {continuation}.")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  (the last place that can turn it into a line)
        _fail_by(error)
    sys.exit(code if isinstance(code, int) else 0)


def _replace_closed_outputs() -> None:
    """If the caller has closed stdout or stderr, put a file in its place that discards what is written to it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _fail_by(error: Exception) -> None:
    """Print an error that ended a command on stderr, as one line unless PHOSPHENE_DEBUG is set, and exit with code 2."""
    if os.environ.get("PHOSPHENE_DEBUG"):
        _complain(traceback.format_exc().rstrip())
        sys.exit(2)  # Python's own 1 would read as "backdoor suspected"
    if isinstance(error, PhospheneError):
        _fail(str(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of files, it is a RunError
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python tries once more when it ends
        _fail("the disk is full while writing the output: free some space and run the same command again.")
    _fail(f"unexpected {type(error).__name__}: {first_line(error)} (PHOSPHENE_DEBUG=1 shows where)")


def _usage(context: "click.Context | None") -> str:
    """Return how the command of a click context is given, without its options: ``phosphene compare RUN RUN``."""
    if context is None:
        return "phosphene COMMAND"
    usage_pieces = context.command.collect_usage_pieces(context)
    return " ".join([context.command_path, *(one for one in usage_pieces if one != "[OPTIONS]")])


def _fail(message: str) -> None:
    """Print an error message on stderr as one line of at most ``MAX_LENGTH`` characters, and exit with code 2."""
    line = printable(message)
    excerpt = line if len(line) <= MAX_LENGTH else f"{line[: MAX_LENGTH // 2]} [...] {line[-MAX_LENGTH // 2 :]}"
    _complain(f"phosphene: {excerpt}")
    sys.exit(2)


def _complain(line: str) -> None:
    """Print a line on stderr, unless it is a closed pipe or a full disk: Python would exit with 1, which is a suspected backdoor."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201
