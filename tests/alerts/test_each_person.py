"""SMS and voice tell each person of a team for himself: real HTTP, a real ledger, numbers that are wrong or silent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stamina

from alerts.channels import CHANNELS
from alerts.delivery.failover import Ways
from citypulse.model import Person, Text
from tests.support.posting import PostRoom

DESK = ("sms", "desk")
OUR_NUMBERS = {"ada": "13800000001", "bo": "13800000002", "chen": "13800000003"}


class Switchboard:
    """A gateway that knows which numbers exist, who picks up, and who has had what."""

    def __init__(self) -> None:
        self.says: dict[str, tuple[int, dict[str, Any]]] = {}
        self.taken: list[tuple[str, str]] = []  # number, idempotency key
        self.asked: list[str] = []
        board = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = board.says.get(said["to"], (200, {"code": 0, "id": f"m-{len(board.taken)}"}))
                board.asked.append(said["to"])
                if status == 200 and body.get("code") == 0:
                    board.taken.append((said["to"], self.headers["Idempotency-Key"]))
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/send"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def board():
    stamina.set_testing(True, attempts=1)
    made = Switchboard()
    yield made
    made.server.shutdown()
    made.server.server_close()
    stamina.set_testing(False)


def people() -> dict[str, Person]:
    return {
        name: Person(id=name, name=Text(zh=name, en=name), role="duty", teams=("desk",), contacts=(("phone", number),))
        for name, number in OUR_NUMBERS.items()
    }


def room_with(board: Switchboard, folder: Any, kind: str = "sms", **settings: Any) -> PostRoom:
    room = PostRoom(folder, kind, "robot", ways=Ways({kind: ("robot",)}))
    made = {"url": board.url, "success": "code", "success_values": [0], "bad_number_values": [160],
            "timeout_s": 2.0} | settings  # fmt: skip
    channel = CHANNELS[kind](CHANNELS[kind].settings(**made), folder)
    channel.people = people()
    room.phones[kind] = channel  # type: ignore[assignment]
    room.open_desk()
    return room


def told(board: Switchboard) -> list[str]:
    return [number for number, _ in board.taken]


def test_a_team_is_told_one_by_one_each_with_a_key_and_an_outcome_of_its_own(board, tmp_path):
    room = room_with(board, tmp_path)
    room.raises("a1", DESK)
    room.after(0)
    assert told(board) == list(OUR_NUMBERS.values())
    assert len({key for _, key in board.taken}) == 3
    assert room.rows() == {"a1 raised sms desk": "split"} | {
        f"a1 raised sms desk/{name}": "delivered" for name in OUR_NUMBERS
    }
    room.ledger.close()


def test_one_bad_number_loses_nobody_else_and_is_not_the_channels_failure(board, tmp_path):
    board.says["13800000001"] = (200, {"code": 160, "msg": "no such number"})
    room = room_with(board, tmp_path)
    room.raises("a1", DESK)
    room.after(0)
    assert told(board) == ["13800000002", "13800000003"]
    health = room.deliverer.health["sms"]
    assert not health.is_failing
    room.after(1)
    assert room.phones["robot"].heard == [("a1", "raised")], "who has no working number is told another way"
    room.after(1)
    assert len(board.asked) == 3, "nobody is told twice"
    room.ledger.close()


def test_when_the_gateway_is_down_the_next_channel_is_told_once_not_once_a_person(board, tmp_path):
    for number in OUR_NUMBERS.values():
        board.says[number] = (503, {"msg": "down"})
    room = room_with(board, tmp_path)
    room.raises("a1", DESK)
    room.run(40, 2)
    assert room.phones["robot"].heard == [("a1", "raised")]
    board.says.clear()
    room.run(240, 5)
    assert set(told(board)) <= set(OUR_NUMBERS.values())
    assert len(told(board)) == len(set(told(board)))
    room.ledger.close()


def test_the_end_goes_to_whom_the_beginning_reached_and_to_nobody_else(board, tmp_path):
    board.says["13800000001"] = (200, {"code": 160, "msg": "no such number"})
    room = room_with(board, tmp_path)
    room.raises("a1", DESK)
    room.after(0)
    board.taken.clear()
    newcomer = Person(id="dan", name=Text(zh="d", en="d"), role="duty", teams=("desk",), contacts=(("phone", "139"),))
    room.phones["sms"].people = people() | {"dan": newcomer}
    room.clears("a1", DESK)
    room.run(10, 1)
    assert sorted(told(board)) == ["13800000002", "13800000003"]
    room.ledger.close()


def test_a_process_killed_between_two_people_tells_the_second_and_not_the_first_again(board, tmp_path):
    room = room_with(board, tmp_path)
    board.says["13800000002"] = (503, {"msg": "busy"})
    room.raises("a1", DESK)
    room.after(0)
    before = told(board)
    sms = room.phones["sms"]
    room.restart()
    room.phones["sms"] = sms
    room.open_desk()
    board.says.clear()
    room.run(60, 2)
    assert before.count("13800000001") == 1
    assert sorted(told(board)) == sorted(OUR_NUMBERS.values())
    room.ledger.close()


def test_bare_numbers_of_a_team_are_told_one_by_one_and_their_rows_name_no_number(board, tmp_path):
    room = room_with(board, tmp_path, teams={"pumps": ("13700000001", "13700000002")})
    room.raises("a1", ("sms", "pumps"))
    room.after(0)
    assert told(board) == ["13700000001", "13700000002"]
    assert "137" not in "".join(name for name in room.rows())
    room.ledger.close()


VOICE = ("voice", "desk")


def test_where_the_hook_does_not_know_who_answers_the_next_is_called_until_somebody_acknowledges(board, tmp_path):
    room = room_with(board, tmp_path, "voice", next_after_s=60.0)
    room.raises("a1", VOICE)
    room.after(0)
    room.run(50, 5)
    assert told(board) == ["13800000001"]
    room.run(20, 5)
    assert told(board) == ["13800000001", "13800000002"]
    room.acks("a1")
    room.run(120, 5)
    assert told(board) == ["13800000001", "13800000002"], "acknowledged: nobody else is woken"
    room.ledger.close()


def test_nobody_picking_up_brings_the_next_person_at_once_and_an_answer_ends_the_round(board, tmp_path):
    board.says["13800000001"] = (200, {"code": 7, "msg": "no answer"})
    room = room_with(board, tmp_path, "voice", unanswered_values=[7])
    room.raises("a1", VOICE)
    room.after(0)
    room.after(1)
    assert told(board) == ["13800000002"]
    room.run(200, 5)
    assert board.asked == ["13800000001", "13800000002"], "she listened: the third sleeps on"
    assert room.rows()["a1 raised voice desk/chen"] == "obsolete"
    assert not room.phones["robot"].took
    room.ledger.close()


def test_when_nobody_of_the_team_picks_up_another_channel_takes_over(board, tmp_path):
    for number in OUR_NUMBERS.values():
        board.says[number] = (200, {"code": 7, "msg": "no answer"})
    room = room_with(board, tmp_path, "voice", unanswered_values=[7])
    room.raises("a1", VOICE)
    room.run(30, 1)
    assert board.asked == list(OUR_NUMBERS.values())
    assert room.phones["robot"].heard == [("a1", "raised")]
    room.ledger.close()
