"""The command line: `citypulse VERB`. One file a verb, imported only when called, so that help is quick."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from citypulse.errors import CityError, ConfigError

from .chinese import tell

# verb → (module, what it does: 中文, English). Adding a verb is a file and a line here.
VERBS: dict[str, tuple[str, str, str]] = {
    "demo": ("demo", "在本终端演示一整座模拟城市", "Run a whole simulated city in this terminal"),
    "run": ("run", "运行服务", "Run the service"),
    "check": ("check", "检查配置，一次说清所有问题", "Check a configuration and say everything that is wrong with it"),
    "test": ("test", "运行 YAML 规则测试", "Run tests of rules, written in YAML"),
    "backtest": ("backtest", "用历史读数回测一份配置", "Say what a configuration would have done to recorded readings"),
    "suggest": ("suggest", "由历史读数建议限值及其代价", "Suggest a limit from recorded readings, with what it costs"),
    "explain": ("explain", "解释测点的规则或诊断代码", "Explain a sensor's rules, or a diagnostic code"),
    "why": ("why", "规则在某测点为何告警或不告警", "Say why a rule does or does not alarm on a sensor now"),
    "reload": ("reload", "让运行中的服务重读配置", "Have the running service read its configuration again"),
    "schema": ("schema", "输出供编辑器使用的 JSON Schema", "Print the JSON Schema of sensors.yaml for editors"),
    "simulate": (
        "simulate",
        "向消息代理发布模拟城市或历史读数",
        "Publish a simulated city, or recorded readings, to a broker",
    ),
    "alarms": ("alarms", "列出告警，确认、搁置、复位", "List alarms, acknowledge one"),
    "orders": ("orders", "列出工单，办理每一步", "List work orders, move one on"),
    "incident": (
        "incident",
        "把一次事件的证据汇成一个文件",
        "Gather all evidence about one alarm or work order in one file",
    ),
    "notices": ("notices", "列出通知与回执，重发失败的", "List notices and what came of them; send a failed one again"),
    "mutes": ("mutes", "静默、维护窗口与预览", "Silence alarms, plan maintenance windows, preview what they hide"),
    "exercise": ("exercise", "开始、结束演练，查看得分", "Start a drill, stop it, see its score"),
    "rota": ("rota", "谁在岗、替班、交接、覆盖证明", "Show who is on duty, stand in, hand over, prove coverage"),
    "deadletters": (
        "deadletters",
        "列出无法接收的消息，修复后重放",
        "List messages that could not be taken; replay them after a fix",
    ),
    "qc": ("qc", "对读数文件做质量控制", "Run quality control over readings files"),
    "import": ("import_", "导入读数文件", "Put readings files into the store"),
    "export": ("export", "导出已存读数", "Write stored readings to a file"),
    "audit": (
        "audit",
        "核对哈希链、导出锚点、列出可疑之处",
        "Verify the record's hash chain, anchor it, list what to ask about",
    ),
    "kpi": ("kpi", "计算一段时间的指标及其依据", "Compute the indicators of a period, with what each rests on"),
    "health": ("health", "询问运行中的服务是否正常", "Ask the running service whether it is well"),
    "doctor": ("doctor", "检查会使服务失败的问题", "Look for what would make the service fail"),
    "user": ("user", "添加人员并发放令牌", "Add people and give them tokens"),
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
        chinese = VERBS[name][1]
        if not (command.help or "").startswith(chinese):
            command.help = f"{chinese}。\n\n{command.help}"
        tell(command, name)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any of them."""
        with formatter.section("命令 Verbs"):
            formatter.write_dl([(verb, f"{chinese} {english}") for verb, (_, chinese, english) in VERBS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Suggest the nearest verb for a mistyped one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"；是否指 did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"没有此命令 no verb {args[0]!r}{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="citypulse")
def group() -> None:
    """城脉 citypulse：城市体征，从传感器到办结的工单。

    A city's vital signs, from sensor to closed work order.
    """


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
    except OSError as error:
        if error.filename is None:  # not about a file: that would be a fault of ours
            raise
        click.echo(f"citypulse: 不能读写 cannot read or write {error.filename}: {error.strerror}", err=True)
        sys.exit(3)
