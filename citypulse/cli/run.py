"""`citypulse run`: the service."""

from __future__ import annotations

from pathlib import Path

import click

from .show import data_option


@click.command()
@click.option(
    "--config",
    "config_path",
    default="sensors.yaml",
    show_default=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The city",
)
@data_option
@click.option("--broker", default=None, help="mqtt://host:port or mqtts://…, instead of the configured one")
@click.option("--http", default="127.0.0.1:8080", show_default=True, help="Where the console listens; port 0 picks one")
@click.option(
    "--store", default="duckdb", show_default=True, help="Or memory, or influx+http://host:8086?org=…&bucket=…"
)
@click.option("--watch/--no-watch", default=True, show_default=True, help="Read changed configuration files again")
@click.option("--log-json/--log-plain", default=None, help="Log as JSON [default: plain on a terminal]")
def command(
    config_path: Path,
    data_dir: Path,
    broker: str | None,
    http: str,
    store: str,
    watch: bool,
    log_json: bool | None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C; SIGHUP reads the configuration again.

    Broker credentials come from CITYPULSE_MQTT_USERNAME and CITYPULSE_MQTT_PASSWORD (or …_FILE).
    """
    from .quickstart import quick_start

    with quick_start():
        import structlog

        from citypulse.logs import set_up_logs

        set_up_logs(as_json=log_json)
        # Said before the heavy imports: a first start compiles its kernels, and silence looks like a fault.
        structlog.get_logger().info("city.starting", config=str(config_path), data=str(data_dir))
        from citypulse.app import Service, until_signalled
        from citypulse.clock import SystemClock

        from .serving import serve_console

        service = Service.open(
            config_path=config_path,
            data_dir=data_dir,
            broker_url=broker,
            clock=SystemClock(),
            store=store,
            watches=watch,
        )
    with service, serve_console(service, http, data_dir):
        until_signalled(service)
