"""A small city in one YAML text: numbered underpasses on a few gateways, with a depth rule and an order."""

from __future__ import annotations

from pathlib import Path

RULES = """
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits:
      - {level: yellow, at_least: 10 cm, deadband: 3 cm, on_delay: 10 s, off_delay: 20 s}
      - {level: orange, at_least: 20 cm, deadband: 3 cm, off_delay: 20 s}
      - {level: red, at_least: 27 cm, deadband: 3 cm, off_delay: 20 s}
    order: {template: pump, verify_for: 1 min, coverage: 80 %, opens_at: orange}
"""
WATCHDOGS = """\
  - id: silent
    name: {zh: 无数据, en: Silent}
    applies_to: {quantity: depth}
    source: test
    no_data: {after: 3 * cadence}
    level: blue
    diagnostic: true
    inhibited_by: gateway-off
  - id: gateway-off
    name: {zh: 网关失联, en: Gateway silent}
    applies_to: {gateway: "*"}
    source: test
    gateway_silent: {}
    level: yellow
    diagnostic: true
"""
"""Rules to be added to RULES: a sensor that says nothing, and its gateway."""


def text(
    *,
    gateways: int = 1,
    sites: int = 5,
    broker_port: int = 1883,
    rules: str = RULES,
    cadence: str = "10 s",
    log_path: str = "notices.jsonl",
) -> str:
    """Write the configuration: `sites` underpasses spread evenly over `gateways`."""
    names = ", ".join(f"gw-{k + 1:02d}" for k in range(gateways))
    groups = []
    first = 1
    for k in range(gateways):
        count = sites // gateways + (1 if k < sites % gateways else 0)
        groups += [
            f"  - template: underpass\n    area: north\n    gateway: gw-{k + 1:02d}\n    pattern:",
            f"      {{first: u-{first:06d}, count: {count}, zh: '下穿{{n}}', en: 'Underpass {{n}}',",
            "       lat: 30.27, lon: 120.12}",
        ]
        first += count
    return f"""version: 1
city:
  name: {{zh: 小城, en: Small City}}
  timezone: Asia/Shanghai
broker: {{url: "mqtt://127.0.0.1:{broker_port}"}}
areas:
  north: {{zh: 北片, en: North}}
gateways:
  - {{ids: [{names}], codec: native, silent_after: 7 d}}
templates:
  underpass: {{domain: flood, kind: underpass, sensors: [{{quantity: depth, cadence: {cadence}}}]}}
sites:
{chr(10).join(groups)}
teams:
  desk: {{name: {{zh: 值班室, en: Duty desk}}, kind: duty, unit: centre}}
  pumps: {{name: {{zh: 排水班, en: Pump crew}}, kind: crew, domains: flood, unit: drainage}}
channels:
  log: {{kind: log, settings: {{file: {log_path}}}}}
routes:
  - {{id: all, to: desk, channel: log}}
  - {{id: crew, to: pumps, channel: log}}
order_templates:
  pump: {{name: {{zh: 抽水, en: Pump out}}}}
{rules}"""


def write(folder: Path, **options: object) -> Path:
    """Write the small city into a folder and return the file."""
    path = folder / "city.yaml"
    path.write_text(text(**options), encoding="utf-8")  # type: ignore[arg-type]
    return path
