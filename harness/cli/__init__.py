"""The command line. A command is imported when it is called, so that ``harness --help`` starts in a blink."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from types import FrameType

import click

from harness.errors import HarnessError

_COMMANDS = {  # name -> (module, what `harness --help` says of it)
    "run": ("harness.cli.run", "Run one trial of a scenario, from fault to verdict."),
    "demo": ("harness.cli.demo", "Run one trial with a stand-in of a model, without a key."),
    "sweep": ("harness.cli.sweep", "Run many trials of many fixers, and go on where that stopped."),
    "compare": ("harness.cli.compare", "Is one fixer better than another?"),
    "calibration": ("harness.cli.calibration", "Is a fixer as sure as it should be?"),
    "nightly": ("harness.cli.nightly", "Run an experiment each night: has it become worse?"),
    "report": ("harness.cli.report", "Write what trials show as one page."),
    "export": ("harness.cli.export", "Write trials as tables for others."),
    "validate": ("harness.cli.validate", "Check scenario files without starting anything."),
    "resume": ("harness.cli.resume", "Give a verdict and a record to each trial that was cut short."),
    "rejudge": ("harness.cli.rejudge", "Judge the trial in a folder again by today's rules."),
    "list": ("harness.cli.list", "List scenarios, fixers and retrievers."),
    "kb": ("harness.cli.kb", "Search the knowledge base, and measure how well."),
    "deliveries": ("harness.cli.deliveries", "Show what fixes were committed elsewhere, and take one back."),
    "dashboard": ("harness.cli.dashboard", "Show incidents live, as they happen."),
    "alert": ("harness.cli.alert", "Show what people on call are told of a trial."),
    "ui": ("harness.cli.ui", "Open MLflow on the results."),
    "doctor": ("harness.cli.doctor", "Tell what this machine has and what it lacks."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS]  # the module list.py hides the built-in here

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table above: asking the commands themselves would import them all."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="creamandonion", prog_name="harness")
def cli() -> None:
    """Prove, under live load, whether a fix heals a failing service.

    \b
    Example:
      harness run scenarios/pool_exhaustion.yml

    Exit codes: 0 healed or done, 1 not healed, 2 bad input, 3 invalid measurement, 130 interrupted.
    """


def main() -> None:
    """Run the command line; a known error is told in its own words, without a traceback."""
    for each in (signal.SIGINT, signal.SIGTERM):  # both clean up; a shell may have set SIGINT aside
        signal.signal(each, _interrupt)
    try:
        _read_secrets()
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except HarnessError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception:  # the process's edge: a defect of ours, told whole, and never mistaken for "not healed"
        traceback.print_exc()
        sys.exit(3)
    sys.exit(code if isinstance(code, int) else 0)  # ctx.exit(code) arrives here as the returned value


def _read_secrets() -> None:
    """From AWS Secrets Manager, where the environment names any: NAME_SECRET=ARN."""
    if any(value.startswith("arn:aws") for name, value in os.environ.items() if name.endswith("_SECRET")):
        from harness.aws.secrets import read_secrets  # noqa: PLC0415 - most never need it

        read_secrets()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
