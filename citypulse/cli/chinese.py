"""The Chinese of the helps of options and subcommands, put in front of the English that stands where each is declared.

Verbs have theirs in VERBS. A test holds that every help begins in Chinese, so that no new option is forgotten.
"""

from __future__ import annotations

from typing import Final

import click

# verb and subcommand → what it does
COMMANDS: Final = {
    "alarms ack": "确认告警：已看到并会处理",
    "alarms events": "按顺序列出记录",
    "alarms in-service": "恢复启用；届时仍在告警的会通知",
    "alarms out-of-service": "停用告警或未告警的点位（规则|对象）",
    "alarms reset": "复位已恢复且已确认的锁存告警",
    "alarms shelve": "搁置一段时间，到时自动回来",
    "alarms show": "显示一条告警：原因、最严重值、可做操作、遮蔽关系",
    "orders show": "显示一张工单：状态、可做操作、各时钟与亮灯",
    "orders step": "按动作名办理任一步骤",
    "notices retry": "重发失败的通知",
    "notices show": "显示一条通知：内容、路径、服务商回执",
    "mutes cancel": "立即结束静默或窗口",
    "mutes extend": "延长静默或窗口",
    "mutes new": "静默一段时间；红色燃气从不隐藏",
    "mutes preview": "预览近三十天会隐藏什么，不作改动",
    "mutes window": "计划维护窗口，一次或重复",
    "exercise score": "演练得分：每步按时、超时或缺失",
    "exercise start": "开始演练：按脚本走完整个闭环",
    "exercise stop": "立即结束演练",
    "rota coverage": "证明今后每条告警都有人及时收到",
    "rota handover": "交接班并留言",
    "rota override": "安排替班，下一条通知即生效",
    "rota show": "谁在岗、谁接班",
    "rota withdraw": "撤销替班",
    "deadletters replay": "把保留的消息放回收件箱",
    "audit anchor": "输出记录当前位置，供异地保存",
    "audit findings": "列出记录中的可疑之处",
    "audit verify": "核对哈希链",
    "user add": "添加人员，令牌只显示一次",
    "user list": "列出人员",
    "user remove": "收回令牌",
}

# option, or "verb option" where the same name means something else → what it is
OPTIONS: Final = {
    "--help": "显示帮助",
    "--json": "输出 JSON",
    "--data": "服务的数据目录",
    "--config": "配置文件",
    "--limit": "最多列出几条",
    "--since": "从此刻起",
    "--until": "到此刻为止",
    "--all": "也列出已结束的",
    "--domain": "领域",
    "--area": "街道",
    "--site": "站点编号，可重复",
    "--rule": "规则编号，可重复",
    "--scope": "告警对象编号",
    "--team": "只列此班组",
    "--state": "只列此状态",
    "--channel": "只列此渠道",
    "--subject": "只列此告警或工单",
    "--reason": "原因",
    "--note": "备注",
    "--set": "其他字段",
    "--minutes": "持续分钟数",
    "--at": "某一时刻",
    "--days": "天数",
    "--starts": "开始时间",
    "--ends": "结束时间",
    "--store": "读数库",
    "--readings": "读数文件，可重复",
    "--alarms": "把告警写成 CSV",
    "--seed": "随机种子",
    "--speed": "倍速",
    "--http": "控制台监听地址",
    "--broker": "消息代理地址",
    "--person": "人员",
    "--from": "从何时起",
    "--to": "到哪里",
    "--level": "级别",
    "--name": "名称",
    "--out": "输出文件",
    "--grouped": "按成因、资产、片区归并成态势",
    "--at-most": "最多隐藏到此级别",
    "--repeat": "重复规则",
    "--open-minutes": "每次开放分钟数",
    "--timezone": "时区",
    "--script": "演练脚本",
    "--html": "写成网页文件",
    "--check": "核对已存的网页或 JSON",
    "--show": "列出某指标的依据",
    "--anchors": "异地保存的锚点",
    "--role": "角色",
    "--unit": "责任单位",
    "--without": "假定此渠道不通",
    "--for": "替谁",
    "--week": "今后七天",
    "--sensor": "只要此类测点，可重复",
    "--tests": "规则测试文件的 schema",
    "--strict": "警告也算问题",
    "--watch": "配置文件变化时自动重读",
    "--log-json": "日志用 JSON",
    "--seconds": "多少秒后自行结束",
    "--headless": "不显示实时画面",
    "--embedded": "用内置消息代理",
    "--svg": "保存最后画面",
    "--against": "对照的现行配置",
    "--labels": "真实事件清单",
    "--early": "事件前多少秒内也算",
    "--scores": "把特征写成 CSV",
    "--report": "写 HTML 报告",
    "--officers": "分担的值班员数",
    "--budget-per-10min": "每人每十分钟平均告警上限",
    "--budget-peak": "每人最忙十分钟告警上限",
    "--budget-flood": "告警洪水时间占比上限",
    "--budget-per-day": "每日告警上限",
    "--budget-chattering": "抖动源上限",
    "--budget-standing": "久留告警上限",
    "--budget-missed": "漏报事件上限",
    "--rules": "评判哪些规则",
    "--checkpoint": "断点存放处",
    "--resume": "从断点继续",
    "--side": "上限或下限",
    "--alarms-per-day": "每日告警不超过",
    "--connections": "所有网关共用的连接数",
    "--start": "模拟起始时间",
    "--duration": "模拟时长",
    "--warm-up": "先补发多久的历史",
    "--incident": "事件",
    "--faults": "故障",
    "--crews": "模拟班组办理此服务的工单",
    "--token-file": "班组令牌文件",
    "--replay": "重放的读数文件",
    "--raw": "重放未校准的原始值",
    "--until-durable": "等到全部落盘",
    "--give-up": "多久没有进展就放弃",
    "run --store": "读数库，或 memory、influx",
    "demo --data": "数据保存处",
    "demo --seed": "故事的种子",
    "check --data": "对照此库的历史核对预算",
    "check --readings": "对照此历史核对预算",
    "orders --team": "派遣给此班组的",
    "incident --check": "核对已存文件中的每个哈希",
    "mutes --days": "按工作日或节假日",
    "mutes preview --days": "按工作日或节假日",
    "mutes window --days": "按工作日或节假日",
    "suggest --level": "哪一级限值",
    "rota show --team": "只看此班组",
    "rota handover --from": "交班人",
    "rota handover --to": "接班人",
    "rota override --until": "到何时止",
    "exercise start --channel": "只用此演练渠道",
    "exercise start --rule": "触发的规则",
    "audit verify --from": "从第几行起",
    "audit verify --to": "到第几行止",
    "audit anchor --to": "同时追加到此文件",
    "deadletters replay --reason": "只重放因此原因保留的",
}

# options that say nothing where they are declared → their English
ENGLISH: Final = {
    "--reason": "Why",
    "--limit": "At most so many",
    "--config": "The configuration",
    "--days": "How many days ahead",
    "--level": "How serious",
    "--minutes": "For so long",
    "--replay": "A file of recorded readings, or - for stdin",
    "--role": "What they may do",
}


def tell(command: click.Command, path: str) -> None:
    """Put the Chinese in front of the helps of a verb's options and subcommands; what has it already stays."""
    for param in command.params:
        if isinstance(param, click.Option):
            english = param.help or next((ENGLISH[name] for name in param.opts if name in ENGLISH), "")
            param.help = _before(_of_option(path, param), english)
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            here = f"{path} {name}"
            if chinese := COMMANDS.get(here, ""):
                sub.help = _before(f"{chinese}。\n\n", sub.help or "")
            tell(sub, here)


def begins_in_chinese(text: str) -> bool:
    """True when a text begins with a Chinese character, or with a bracket before one."""
    return "\u4e00" <= text.lstrip("(（[")[:1] <= "\u9fff"


def _of_option(path: str, option: click.Option) -> str:
    for name in option.opts:
        if chinese := OPTIONS.get(f"{path} {name}") or OPTIONS.get(name):
            return chinese + " "
    return ""


def _before(chinese: str, english: str) -> str:
    return english if begins_in_chinese(english) else (chinese + english).strip()
