"""The command line: `citypulse VERB`. One file a verb, imported only when called, so that help is quick."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from citypulse.errors import CityError, ConfigError

# verb → (module, what it does). Adding a verb is a file and a line here.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run a whole simulated city in this terminal"),
    "run": ("run", "Run the service"),
    "check": ("check", "Check a configuration and say everything that is wrong with it"),
    "test": ("test", "Run tests of rules, written in YAML"),
    "backtest": ("backtest", "Say what a configuration would have done to recorded readings"),
    "suggest": ("suggest", "Suggest a limit from recorded readings, with what it costs"),
    "explain": ("explain", "Explain a sensor's rules, or a diagnostic code"),
    "why": ("why", "Say why a rule does or does not alarm on a sensor now"),
    "reload": ("reload", "Have the running service read its configuration again"),
    "schema": ("schema", "Print the JSON Schema of sensors.yaml for editors"),
    "simulate": ("simulate", "Publish a simulated city, or recorded readings, to a broker"),
    "alarms": ("alarms", "List alarms, acknowledge one"),
    "orders": ("orders", "List work orders, move one on"),
    "incident": ("incident", "Gather all evidence about one alarm or work order in one file"),
    "notices": ("notices", "List notices and what came of them; send a failed one again"),
    "mutes": ("mutes", "Silence alarms, plan maintenance windows, preview what they hide"),
    "exercise": ("exercise", "Start a drill, stop it, see its score"),
    "rota": ("rota", "Show who is on duty, stand in, hand over, prove coverage"),
    "deadletters": ("deadletters", "List messages that could not be taken; replay them after a fix"),
    "qc": ("qc", "Run quality control over readings files"),
    "import": ("import_", "Put readings files into the store"),
    "export": ("export", "Write stored readings to a file"),
    "audit": ("audit", "Verify the record's hash chain, anchor it, list what to ask about"),
    "kpi": ("kpi", "Compute the indicators of a period, with what each rests on"),
    "doctor": ("doctor", "Look for what would make the service fail"),
    "user": ("user", "Add people and give them tokens"),
}


class Verbs(click.Group):
    """A click group that imports a verb's module only when it is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import one verb."""
        if name not in VERBS:
            return None
        module = importlib.import_module(f".{VERBS[name][0]}", __name__)
        command: click.Command = module.command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any of them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Suggest the nearest verb for a mistyped one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no verb {args[0]!r}{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="citypulse")
def group() -> None:
    """城脉 citypulse: a city's vital signs, from sensor to closed work order."""


def main() -> None:
    """Run the command line; exit 0 fine, 1 findings, 2 usage, 3 environment."""
    try:
        code = group.main(standalone_mode=False, prog_name="citypulse")  # click hands an Exit's code back
        sys.exit(code if isinstance(code, int) else 0)
    except click.Abort:
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(3)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except CityError as error:
        click.echo(f"citypulse: {error}", err=True)
        sys.exit(3)
    except BrokenPipeError:
        # The reader (head, less) has left: not our failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
