"""What each diagnostic code means, at length, in both languages: the text behind `citypulse explain E104`."""

from __future__ import annotations

from dataclasses import dataclass

from citypulse.model import Text


@dataclass(frozen=True, slots=True)
class Code:
    """A code with its title and its explanation: why it matters and what to do."""

    code: str
    title: Text
    text: Text


def _code(code: str, zh: str, en: str, long_zh: str, long_en: str) -> Code:
    return Code(code, Text(zh=zh, en=en), Text(zh=long_zh, en=long_en))


# fmt: off
_FILE = (
    _code("E001", "文件读不出", "file cannot be read",
          "路径不存在或没有权限。检查路径与文件权限。",
          "The path does not exist or may not be read. Check the path and the file's rights."),
    _code("E002", "不是 UTF-8", "not UTF-8",
          "配置一律用 UTF-8。GBK 或 UTF-16 文件里的中文会变成乱码，点名和单位就对不上了。用编辑器另存为 UTF-8。",
          "Configuration is UTF-8. In GBK or UTF-16 Chinese names and units turn to rubbish. Save it as UTF-8."),
    _code("E003", "缩进用了制表符", "tab in the indentation",
          "YAML 不允许用制表符缩进，各编辑器显示的宽度也不同。改用空格。",
          "YAML forbids tabs in indentation, and every editor shows them differently. Use spaces."),
    _code("E004", "YAML 语法错误", "YAML syntax",
          "括号、引号、冒号或缩进有误，此文件其余部分无法检查。冒号加空格的文字、以 % @ ` * 开头的文字要加引号。",
          "A bracket, quote, colon or indentation is wrong; the rest of the file cannot be checked."
          " Quote texts that hold `: ` or begin with % @ ` or *."),
    _code("E005", "超出规模上限", "beyond a bound",
          "文件大小、嵌套深度、条目数和包含的文件数都有上限，防止错误或恶意文件拖垮服务。把文件拆开或简化。",
          "File size, depth, number of values and of included files are bounded, so that no file can choke the service."
          " Split or simplify it."),
    _code("E006", "键重复", "key given twice",
          "多数读取器会悄悄以后一个为准，改了前一个就不起作用。只保留一个。",
          "Most readers silently keep the last one, so that a change to the first has no effect. Keep one."),
    _code("E007", "不允许锚点、别名与合并键", "no anchors, aliases or merge keys",
          "别名会让一处改动影响别处，也能做成“炸弹”。重复的内容用 templates。",
          "An alias lets a change here act elsewhere, and can be made into a bomb. Use `templates:` for what repeats."),
    _code("E008", "不允许标签", "no tags",
          "标签（!!…）可让读取器构造任意对象。直接写普通值。",
          "Tags (!!…) can make a reader build arbitrary objects. Write the plain value."),
    _code("E009", "须恰好一个文档", "exactly one document",
          "空文件，或用 --- 分成了几个文档。一个文件写一个。",
          "The file is empty, or `---` begins a second document. One file holds one."),
    _code("E010", "yes/no/on/off 的歧义", "yes, no, on and off are ambiguous",
          "YAML 1.1 把它们读成布尔值，1.2 读成文字；同一文件在两种工具里意思不同。布尔写 true 或 false，文字加引号。",
          "YAML 1.1 reads them as booleans, 1.2 as texts: one file would mean two things."
          " Write true or false for a boolean, quote a text."),
    _code("E011", "12:30 是六十进制", "12:30 is base 60",
          "YAML 1.1 会把 12:30 读成 750。加引号。",
          "YAML 1.1 reads 12:30 as 750. Quote it."),
    _code("E012", "前导零是八进制", "a leading zero means octal",
          "0777 会被读成 511。数字去掉前导零，编号加引号。",
          "0777 is read as 511. Drop the zero from a number, quote an identifier."),
    _code("E013", "各读取器理解不一的数字", "a number readers disagree on",
          "1e3、1_000、0x1F、.inf 在不同读取器里或是文字或是数字。写普通十进制数。",
          "1e3, 1_000, 0x1F and .inf are texts to some readers and numbers to others. Write a plain decimal number."),
    _code("E014", "键不是文字", "key is not a text",
          "键必须是普通文字。数字形式的编号要加引号。",
          "A key must be a plain text. Quote an identifier made of digits."),
    _code("E015", "无法包含", "cannot be included",
          "找不到被包含的文件或规则包，或者文件绕回来包含了自己。相对路径从本文件所在目录算起；规则包写 pack:water。",
          "The included file or pack does not exist, or a file includes itself over others."
          " Paths count from the including file; a pack is written pack:water."),
)

_SHAPE = (
    _code("E101", "缺少必填项", "something required is missing",
          "没有默认值可用，或者默认值会让人误会。补上提示里的键。",
          "There is no default, or a default would mislead. Add the key named in the hint."),
    _code("E102", "类型不对", "wrong kind of value",
          "这里要文字、数字、列表或映射中的另一种。像数字的文字要加引号。",
          "A text, a number, a list or a mapping is expected here. Quote a text that looks like a number."),
    _code("E103", "不在可选值之中", "not one of the choices",
          "只接受列出的几个词。",
          "Only the listed words are taken."),
    _code("E104", "不认识的键", "unknown key",
          "不认识的键多半是拼写错误；若忽略它，限值就不会生效而没人知道，所以一律报错。",
          "Mostly a typing mistake. Were it ignored, a limit would silently not hold; so it is an error."),
    _code("E105", "数值超出允许范围", "number out of its allowed range",
          "例如纬度大于 90、死区为负、覆盖率大于 100 %。",
          "For example a latitude above 90, a negative dead band, or a coverage above 100 %."),
    _code("E106", "编号或地址的写法不对", "id or address badly formed",
          "编号只用小写字母、数字、- 和 _，因为它们会出现在 MQTT 主题、文件名和网址里。",
          "Ids use lower-case letters, digits, - and _ only: they appear in MQTT topics, file names and addresses."),
    _code("E108", "空的列表或文字", "empty list or text",
          "空列表几乎总是漏写。至少给一项，或删掉这个键。",
          "An empty list is nearly always something forgotten. Give one item, or leave the key out."),
    _code("E109", "不被接受的值", "value not accepted",
          "检测器或通道自己的检查没有通过，原因见消息。",
          "The detector's or channel's own check refused it; the message says why."),
    _code("E110", "规则没有检测器", "rule without a detector",
          "每条规则恰好有一个检测器小节，如 threshold: {}。",
          "Every rule has exactly one detector section, such as `threshold: {}`."),
    _code("E111", "检测器多于一个或不相符", "several detectors, or another one",
          "一条规则只判断一件事；要判断两件就写两条。调整（overrides）不能换检测器。",
          "A rule judges one thing; write two rules for two. An override cannot change the detector."),
    _code("E112", "缺少限值", "limits are missing",
          "这种检测器要有 limits，至少一级。",
          "This detector needs `limits:` with at least one level."),
    _code("E113", "此处不能写限值或等级", "limits or level do not belong here",
          "看门狗类检测器（no_data、gateway_silent）只有一个 level；其他检测器的等级写在 limits 里。",
          "A watchdog (no_data, gateway_silent) has a single `level:`; the others carry their levels in `limits:`."),
    _code("E114", "看门狗缺少等级", "watchdog without a level",
          "写 level: red、orange、yellow 或 blue。",
          "Write `level:` red, orange, yellow or blue."),
    _code("E115", "限值的方向不对", "limit without exactly one side",
          "每个限值恰好写 at_least（≥）、above（>）、below（<）、at_most（≤）之一。",
          "Every limit has exactly one of at_least (≥), above (>), below (<) and at_most (≤)."),
    _code("E116", "密钥写进了文件", "secret in the file",
          "配置会进版本库、备份和工单附件。密钥放环境变量或单独文件，此处只写其名。",
          "Configuration ends up in version control and backups. Keep the secret in the environment or its own file"
          " and name that here."),
    _code("E117", "测点太多", "too many sensors for one rule",
          "这种检测器一次只能看有限个测点，消息里有上限。用 applies_to 的 quantity 选出要看的参数。",
          "This detector looks at a limited number of sensors at once; the message says how many. Choose the quantities"
          " with `applies_to`."),
)

_UNITS = (
    _code("E120", "数字没有单位", "number without a unit",
          "15 是厘米还是毫米？带单位的数字才不会看错。0 与 pH 可以不写。",
          "Is 15 in cm or mm? Only a number with its unit cannot be misread. Nought and pH may stand alone."),
    _code("E121", "时长写法不对", "badly written duration",
          "写 60 s、5 min、2 h、1 d 或 3 * cadence。2m 可能是分钟、月或米，所以不接受。",
          "Write 60 s, 5 min, 2 h, 1 d or 3 * cadence. 2m could be minutes, months or metres, so it is refused."),
    _code("E122", "不认识的单位", "unknown unit",
          "单位区分大小写；提示里有最接近的写法。",
          "Units are case-sensitive; the hint names the nearest one."),
    _code("E123", "单位量纲不符", "unit of another dimension",
          "例如给深度写了 mg/L，或给硫化氢写了 %LEL（只属于甲烷）。",
          "For example mg/L for a depth, or %LEL, which belongs to methane, for hydrogen sulphide."),
    _code("E124", "不是变化率", "not a change over time",
          "变化率写成 5 cm/5 min、2 %/min、3 mm/d。",
          "Write a rate as 5 cm/5 min, 2 %/min or 3 mm/d."),
    _code("E125", "不是数字", "not a number",
          "先写数字再写单位。",
          "Write the number first, then the unit."),
    _code("E126", "此处没有采样周期可用", "no cadence to speak of here",
          "3 * cadence 只在规则绑定到测点时有意义；网关、站型处请写时长。",
          "3 * cadence has a meaning only for a rule bound to a sensor. Write a duration for a gateway."),
)

_REFERENCES = (
    _code("E301", "重复定义", "defined twice",
          "编号在所有被包含的文件里唯一；同一规则的改动写在 overrides。",
          "Ids are unique over all included files; changes to a rule stand under `overrides:`."),
    _code("E302", "引用的东西不存在", "refers to something that does not exist",
          "名字拼错，或定义它的文件没有被包含。提示里有最接近的名字。",
          "The name is misspelt, or the file that defines it is not included. The hint names the nearest."),
    _code("E303", "属于另一个领域", "belongs to another domain",
          "量和站点类型各属一个领域；水质站型不能带积水深度。",
          "A quantity and a kind of site belong to one domain each: a water template cannot carry a ponding depth."),
    _code("E304", "自相引用", "refers to itself",
          "站点不能是自己的上游；互相抑制的两条规则会一起沉默。",
          "A site is not its own upstream; two rules that hide each other would both stay silent."),
    _code("E311", "通知链次序颠倒", "steps of a chain out of order",
          "after 从告警叫人起算，逐步变长；repeat 的间隔要比整条链长，否则前一轮没完后一轮已经开始。",
          "`after` counts from when the alarm called and must rise from step to step; the chain may begin again only"
          " after its last step."),
    _code("E312", "不认识的通知对象", "a target that names nobody",
          "可写 routes、every-desk、on-duty、lead-on-duty、on-duty:班组、team:班组、person:人员、level:street 等；"
          "时点（milestone）还可写 crew 与 desk。",
          "Write routes, every-desk, on-duty, lead-on-duty, on-duty:TEAM, team:TEAM, person:PERSON or level:street;"
          " a milestone also takes crew and desk."),
)

_CEILINGS = (
    _code("E321", "超出红色与燃气告警的上限", "beyond what red and gas alarms allow",
          "红色告警和燃气告警可以设得更严，不能更松：搁置、静默与抖动不得超过内置上限，红色必须再次提醒，红色燃气永不搁置。",
          "Red and gas alarms may be made stricter, never laxer: shelves, silences and chatter stay within what is"
          " built in, red always asks again, and red gas is never shelved."),
)

_TESTS = (
    _code("E401", "序列写法不对", "badly written series",
          "每项是一个读数：5、5x3、5+2x3、_、NaN，可加 ? 或 !、@-15m、*2。",
          "Each item is a reading: 5, 5x3, 5+2x3, _, NaN, with ? or !, @-15m or *2 behind it."),
    _code("E402", "什么也没测的测试", "a test that tests nothing",
          "没有读数也没有动作，或没有任何期望，这样的测试永远通过。",
          "Without readings or steps, or without anything expected, it would always pass."),
    _code("E403", "一步须恰好做一件事", "a step does exactly one thing",
          "每一步写一个动词：ack、shelve、order、restart……。要做两件就写两步。",
          "Each step has one verb: ack, shelve, order, restart and so on. Write two steps for two things."),
)

_WARNINGS = (
    _code("W201", "限值在量程之外", "limit outside the sensor's range",
          "超量程的读数会判为失效，这个限值永远到不了。多半是单位写错。",
          "A reading beyond the range counts as failed, so this limit is never met. Mostly the unit is wrong."),
    _code("W202", "等级次序颠倒", "levels out of order",
          "较轻的等级永远不会单独出现。红应最远，依次橙、黄、蓝。",
          "The milder level can never stand alone. Red lies furthest out, then orange, yellow, blue."),
    _code("W203", "没有匹配到任何东西", "matches nothing",
          "规则或调整永远不起作用。检查 applies_to。",
          "The rule or override never acts. Check `applies_to`."),
    _code("W204", "永远不会恢复", "would never clear",
          "限值减去死区已超出量程，报警一旦发生就消不掉。把死区收窄。",
          "The limit less its dead band lies beyond the range, so an alarm would stay for ever. Narrow the dead band."),
    _code("W205", "站点在区外", "site outside the district",
          "多半是经纬度写反，或用了 GCJ-02 坐标。",
          "Mostly latitude and longitude are swapped, or the position is GCJ-02."),
    _code("W206", "没有人会收到", "nobody would hear of it",
          "没有任何路由覆盖这条规则的最高等级。",
          "No route covers even the most serious level of this rule."),
    _code("W207", "永远不会派单", "no order would ever open",
          "规则的等级都低于 opens_at。",
          "All levels of the rule are milder than its `opens_at`."),
    _code("W208", "网关下没有测点", "gateway without sensors",
          "网关失联时只会空报。",
          "Its silence would alarm for nothing."),
    _code("W209", "没有处置队伍", "no crew for it",
          "工单派不出去。给某支 crew 加上该领域。",
          "Its orders have nobody to go to. Add the domain to a crew."),
    _code("W210", "无数据时限短于采样周期", "no-data time below the cadence",
          "正常工作的测点也会一直报警。写成 3 * cadence。",
          "A healthy sensor would alarm all the time. Write 3 * cadence."),
    _code("W211", "窗口装不下所需的读数", "window too short for its readings",
          "按采样周期，窗口里永远凑不够 min_points，规则不会触发。",
          "At the sensor's cadence the window never holds `min_points` readings: the rule cannot fire."),
    _code("W212", "网关失联时限太短", "gateway counted as silent too soon",
          "时限不长于最快测点的采样周期，正常时也会报失联。",
          "It is not longer than the cadence of its fastest sensor, so a healthy gateway counts as silent."),
    _code("W213", "恢复延时超过一周", "takes more than a week to clear",
          "读数正常一周后报警还挂着，没人会再看它。缩短 off_delay；需要人工复位的用 latch: true。",
          "An alarm that still stands a week after all is well is looked at by nobody."
          " Shorten `off_delay`; where somebody must reset it, write `latch: true`."),
    _code("W214", "没有测试的规则", "untested rule",
          "配置旁的 *.tests.yaml 里没有一个测试提到这条规则：改动限值后没人知道它还会不会报警。写几行读数与期望即可。",
          "No test in a *.tests.yaml beside the configuration names this rule: after a change of its limits nobody"
          " knows whether it still alarms. A line of readings and a line of what must hold are enough."),
    _code("W221", "排班有空档", "hours with nobody on duty",
          "这段时间既没有班次，也没有 fallback 后备人员。任何一天都可能因调休变成工作日或休息日。",
          "No shift covers these hours and no `fallback` names who may be called."
          " Any day of the week may be worked or free: holidays and the days worked in their stead move."),
    _code("W222", "班次重叠", "overlapping shifts",
          "同一个人可能同时上两个班。",
          "The same person may be on two shifts at once."),
    _code("W223", "在岗人数不足", "fewer on duty than asked for",
          "这段时间在岗人数少于 at_least。",
          "Fewer people are on in these hours than `at_least` asks for."),
    _code("W224", "替班落空", "override outside the rota",
          "被替的人不在这个班组的任何班次里，替班不起作用。",
          "Whoever is to be replaced is in no shift of this rota, so the override does nothing."),
    _code("W225", "联系不上", "to be called, but cannot be reached",
          "此人在排班或通知链里，却没有任何联系方式。",
          "The person is in a rota or a chain, but has no contact."),
    _code("W226", "通知链没有被用到", "chain that no route names",
          "没有路由写 chain: 它，永远不会走这条链。",
          "No route names it with `chain:`, so no alarm ever takes it."),
    _code("W230", "超出告警预算", "alarm budget exceeded",
          "用给出的历史读数回测，值班台的告警超出 budget 中的上限。citypulse backtest 可看到是哪些规则。",
          "Over the history given, the desk would have had more alarms than its `budget` allows."
          " `citypulse backtest` shows which rules."),
    _code("W231", "到期前来不及提醒", "end never announced",
          "提前量不短于最长时限，所以从不提醒。缩短 warn。",
          "It is to be announced longer before than it may last at all. Shorten `warn`."),
)

# fmt: on

_GROUPS = (_FILE, _SHAPE, _UNITS, _REFERENCES, _CEILINGS, _TESTS, _WARNINGS)
CODES: dict[str, Code] = {c.code: c for group in _GROUPS for c in group}
