"""The tables of the city's one database. Their columns are the fields of the nouns, so the two cannot drift apart."""

from __future__ import annotations

import sqlalchemy as sa

from citypulse.model import Alarm, DeadLetter, Event, Exercise, Mute, Notice, Storm, WorkOrder

from .rows import Rows
from .tick import GatewayRow

METADATA = sa.MetaData()

ALARMS = Rows(Alarm)
ORDERS = Rows(WorkOrder)
EVENTS = Rows(Event)
NOTICES = Rows(Notice)
MUTES = Rows(Mute)
STORMS = Rows(Storm)
EXERCISES = Rows(Exercise)
LETTERS = Rows(DeadLetter)
GATEWAYS = Rows(GatewayRow)

WAITING = "state IN ('pending', 'leased')"  # as text: a partial index serves only a query that says the same words
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER numbers itself in SQLite

meta = sa.Table(
    "meta", METADATA, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)

counter = sa.Table(
    "counter", METADATA, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.BigInteger, nullable=False)
)

sensor_index = sa.Table(
    "sensor_index",
    METADATA,
    sa.Column("idx", _SERIAL, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
)

alarm = sa.Table(
    "alarm",
    METADATA,
    *ALARMS.columns(primary_key=["id"]),
    sa.UniqueConstraint("dedup_key", "occurrence"),
    sa.Index("alarm_by_time", "raised_wall_ms", "id"),
    sa.Index("alarm_by_condition", "condition", "is_acked"),
    sa.Index("alarm_by_site", "site", "raised_wall_ms"),
)

work_order = sa.Table(
    "work_order",
    METADATA,
    *ORDERS.columns(primary_key=["id"]),
    sa.Index("work_order_by_state", "state", "state_ms"),
    sa.Index("work_order_by_time", "opened_ms", "id"),
    sa.Index("work_order_by_asset", "asset", "cause"),
)

event = sa.Table(
    "event",
    METADATA,
    sa.Column("seq", _SERIAL, primary_key=True, autoincrement=False),
    *EVENTS.columns(),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("event_by_subject", "subject", "seq"),
)

mute = sa.Table("mute", METADATA, *MUTES.columns(primary_key=["id"]), sa.Index("mute_by_time", "created_ms", "id"))
exercise = sa.Table("exercise", METADATA, *EXERCISES.columns(primary_key=["id"]))

outbox = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True),
    *NOTICES.columns(),
    sa.Column("state", sa.Text, nullable=False, server_default="pending"),
    sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("next_at_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease_until_ms", sa.BigInteger),
    sa.Column("provider_code", sa.Text, nullable=False, server_default=""),
    sa.Column("delivered_ms", sa.BigInteger),
    sa.Column("last_error", sa.Text, nullable=False, server_default=""),
    sa.Column("via", sa.Text, nullable=False, server_default=""),  # the channel it is sent by; `path` led there
    sa.Column("path", sa.Text, nullable=False, server_default=""),  # channels it was handed on by, joined by ">"
    sa.Column("attempts_before", sa.BigInteger, nullable=False, server_default="0"),  # made on those
    sa.Column("digest", sa.Text, nullable=False, server_default=""),  # key of the message that covers it with others
    sa.Column("tried_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("maybe_by", sa.Text, nullable=False, server_default=""),  # channel whose try ended without a clear no
    sa.UniqueConstraint("idem_key"),
    sa.Index("outbox_by_state", "state", "next_at_ms"),
    sa.Index("outbox_by_subject", "subject", "channel", "target", "id"),
    sa.Index("outbox_waiting", "via", "level", "id", sqlite_where=sa.text(WAITING)),
    sa.Index("outbox_by_try", "via", "tried_ms"),
)

# Which answer by a plain phone means which alarm. A code is given once for each phone and never again.
reply_code = sa.Table(
    "reply_code",
    METADATA,
    sa.Column("phone", sa.Text, primary_key=True),
    sa.Column("code", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Index("reply_code_by_subject", "subject", "phone"),
)

storm = sa.Table("storm", METADATA, *STORMS.columns(primary_key=["desk"]))

dead_letter = sa.Table(
    "dead_letter",
    METADATA,
    sa.Column("id", _SERIAL, primary_key=True),
    *LETTERS.columns(),
    sa.Column("tick", sa.BigInteger, nullable=False),
    sa.Column("replayed_ms", sa.BigInteger),
    sa.Index("dead_letter_by_reason", "reason", "id"),
    sqlite_autoincrement=True,  # a number is never given twice, even after the newest rows were pushed out
)

gateway = sa.Table("gateway", METADATA, *GATEWAYS.columns(primary_key=["gateway", "boot"]))

command_answer = sa.Table(
    "command_answer",
    METADATA,
    sa.Column("command", sa.Text, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Index("command_answer_by_time", "at_ms"),
)

# bytes_sum and readings_sum run on from row to row: the size of any stretch is one subtraction, not a scan of blobs.
journal = sa.Table(
    "journal",
    METADATA,
    sa.Column("tick", _SERIAL, primary_key=True, autoincrement=False),
    sa.Column("now_ms", sa.BigInteger, nullable=False),
    sa.Column("readings", sa.BigInteger, nullable=False),
    sa.Column("readings_sum", sa.BigInteger, nullable=False),
    sa.Column("bytes_sum", sa.BigInteger, nullable=False),
    sa.Column("columns", sa.LargeBinary),
    sa.Column("extra", sa.LargeBinary),
)

# A snapshot counts only when its head row is there; parts are written before it, a slice a transaction.
snapshot = sa.Table(
    "snapshot",
    METADATA,
    sa.Column("tick", _SERIAL, primary_key=True, autoincrement=False),
    sa.Column("now_ms", sa.BigInteger, nullable=False),
    sa.Column("parts", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("crc32", sa.BigInteger, nullable=False),
)
snapshot_part = sa.Table(
    "snapshot_part",
    METADATA,
    sa.Column("tick", _SERIAL, primary_key=True, autoincrement=False),
    sa.Column("part", _SERIAL, primary_key=True, autoincrement=False),
    sa.Column("blob", sa.LargeBinary, nullable=False),
)

sink_cursor = sa.Table(
    "sink_cursor",
    METADATA,
    sa.Column("sink", sa.Text, primary_key=True),
    sa.Column("tick", sa.BigInteger, nullable=False),  # written up to here
    sa.Column("durable_tick", sa.BigInteger, nullable=False),  # and believed durable there up to here
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)

config_version = sa.Table(
    "config_version",
    METADATA,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("first_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False),
    sa.Column("files", sa.Text, nullable=False),  # {"name": "whole text"}
)


def add_missing_columns(connection: sa.Connection) -> list[str]:
    """Add columns that nouns have gained since the file was made; return them as `table.column`."""
    inspector = sa.inspect(connection)
    added = []
    for table in METADATA.sorted_tables:
        there = {c["name"] for c in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                ddl = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {ddl}")
                added.append(f"{table.name}.{column.name}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    if "outbox.via" in added:
        connection.execute(sa.update(outbox).where(outbox.c.via == "").values(via=outbox.c.channel))
    return added
