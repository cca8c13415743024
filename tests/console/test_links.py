"""One tap on a phone: what the page shows, what the button does, and everything a link must not do."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from alerts.delivery.links import LASTS_MS, PATH, Link, LinkError, Signer
from citypulse.errors import CityError
from citypulse.model import NoticeKind, Priority
from tests.alerts.cast import DUTY, ORANGE, RED, YELLOW
from tests.console.desk_port import Port
from tests.ledger.ledger_cast import T0, a_notice


@pytest.fixture
def port(tmp_path):
    made = Port(tmp_path)
    yield made
    made.close()


def raised(port, level=RED, target="ada"):
    """Raise gas in the well; return the link that `target` gets, as a path."""
    port.commit(port.world.raises("well.ch4", level, "gas"))
    return link_to(port, target)


def link_to(port, target="ada"):
    alarm = port.world.alarm("gas|well.ch4")
    link = Link(alarm=alarm.id, target=target, level=alarm.level, rev=alarm.rev, expires_ms=port.now_ms() + LASTS_MS)
    return PATH + port.signer.token(link)


def press(client, path):
    """Press the button of the page as a browser does."""
    page = client.get(path).text
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', page))
    assert fields, "there is a button"
    return client.post(path, data=fields)


def test_the_page_says_what_where_since_and_why_and_has_one_button(port):
    page = port.client().get(raised(port))
    assert page.status_code == 200
    for word in ("well", "gas", "水深 30.0 cm", "10:00:00", "确认，我来处理", "Acknowledge", "⬣ 1", "rules.yaml:"):
        assert word in page.text, word
    assert page.text.count("<button") == 1
    assert "<script" not in page.text
    assert len(page.content) < 20_000 - 4_000, "with its style sheet under 20 kB"


def test_the_page_and_all_it_needs_is_under_20_kb(port):
    client = port.client()
    size = len(client.get(raised(port)).content) + len(client.get("/static/phone.css").content)
    assert size < 20_000


def test_looking_never_acknowledges_however_often_previews_look(port):
    path, client = raised(port), port.client()
    for _ in range(5):
        assert client.get(path).status_code == 200
        assert client.head(path).status_code == 200
    assert client.get(path, headers={"User-Agent": "DingTalkBot preview"}).status_code == 200
    assert not port.commands
    assert not port.world.alarm("gas|well.ch4").is_acked


def test_the_button_acknowledges_as_the_person_the_link_was_sent_to(port):
    answer = press(port.client(), raised(port))
    assert answer.status_code == 200
    assert "已确认 ada" in answer.text
    alarm = port.world.alarm("gas|well.ch4")
    assert (alarm.is_acked, alarm.acked_by) == (True, "ada")
    event = port.ledger.events(subject=alarm.id)[-1].event
    assert (event.actor, event.actor_role) == ("ada", "duty")


def test_pressed_twice_is_once(port):
    path, client = raised(port), port.client()
    page = client.get(path).text
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', page))
    first, second = client.post(path, data=fields), client.post(path, data=fields)
    assert first.status_code == second.status_code == 200
    assert len({c.id for c in port.commands}) == 1
    kinds = [r.event.kind for r in port.ledger.events(subject=port.world.alarm("gas|well.ch4").id)]
    assert kinds.count("acknowledged") == 1


@pytest.mark.parametrize(
    "sent", [{}, {"x": "1"}, {"rev": "1"}, {"level": "1"}, {"rev": "", "level": "1"}, {"rev": "1", "level": "²"}]
)
def test_what_posts_without_the_pages_own_form_acknowledges_nothing(port, sent):
    path, client = raised(port), port.client()
    answer = client.post(path, data=sent) if sent else client.post(path)
    assert answer.status_code == 400
    assert "请按页面上的按钮" in answer.text
    assert "<button" in answer.text, "who reads it can still press"
    assert not port.commands
    assert press(client, path).status_code == 200


def test_a_team_may_be_called_too(port):
    assert "已确认 desk" in press(port.client(), raised(port, target="desk")).text


def test_who_comes_second_sees_who_was_first(port):
    path = raised(port)
    client = port.client()
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', client.get(path).text))
    port.submit(replace(_ack(port), actor=DUTY))
    answer = client.post(path, data=fields)
    assert answer.status_code == 200
    assert "已确认 Duty Dan" in answer.text


def _ack(port):
    from citypulse.model import Command

    return Command(
        id="c1", verb="alarm.acknowledge", target=port.world.alarm("gas|well.ch4").id, actor=DUTY, at_ms=port.now_ms()
    )


def test_one_changed_letter_opens_nothing(port):
    path, client = raised(port), port.client()
    for position in (len(PATH) + 2, len(path) // 2, len(path) - 2):
        other = "A" if path[position] != "A" else "B"
        changed = path[:position] + other + path[position + 1 :]
        assert client.get(changed).status_code == 403
        assert client.post(changed).status_code == 403
    for nonsense in (PATH + "x", PATH + "a.b", PATH + "." * 30, PATH + "x" * 5_000):
        assert client.get(nonsense).status_code in {403, 414}
    assert not port.commands


def test_a_link_signed_with_another_secret_opens_nothing(port):
    raised(port)
    alarm = port.world.alarm("gas|well.ch4")
    link = Link(alarm=alarm.id, target="ada", level=RED, rev=1, expires_ms=port.now_ms() + 1000)
    other = Signer(b"t" * 40)
    assert port.client().post(PATH + other.token(link)).status_code == 403


def test_after_a_day_it_has_expired(port):
    path, client = raised(port), port.client()
    port.world.now_ms += LASTS_MS - 1
    assert client.get(path).status_code == 200
    port.world.now_ms += 1
    answer = client.post(path)
    assert answer.status_code == 410
    assert "已过期" in answer.text
    assert not port.commands


def test_an_old_link_never_acknowledges_the_next_occurrence(port):
    path, client = raised(port), port.client()
    press(client, path)
    port.commit(port.world.clears("well.ch4", "gas"))
    alarm = port.world.alarm("gas|well.ch4")
    port.submit(replace(_ack(port), id="r", verb="alarm.reset", data={"reason": "aired"}))
    port.world.now_ms += 60_000
    port.commit(port.world.raises("well.ch4", RED, "gas"))
    assert port.world.alarm("gas|well.ch4").occurrence == alarm.occurrence + 1
    answer = client.post(path, data={"rev": "1", "level": "1"})
    assert answer.status_code == 410
    assert "已经结束" in answer.text
    assert not port.world.alarm("gas|well.ch4").is_acked


def test_what_became_worse_since_the_page_was_opened_is_shown_before_it_is_acknowledged(port):
    path, client = raised(port, ORANGE), port.client()
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', client.get(path).text))
    port.commit(port.world.levels(RED, "well.ch4", "gas"))
    answer = client.post(path, data=fields)
    assert answer.status_code == 409
    assert "已升级" in answer.text
    assert not port.world.alarm("gas|well.ch4").is_acked
    assert press(client, path).status_code == 200


def test_an_acknowledgement_taken_back_can_be_given_again(port):
    path, client = raised(port), port.client()
    press(client, path)
    port.submit(replace(_ack(port), id="u", verb="alarm.unacknowledge"))
    assert "已确认 ada" in press(client, path).text
    assert port.world.alarm("gas|well.ch4").is_acked


def test_somebody_who_is_no_longer_listed_acknowledges_nothing(port):
    path = raised(port, target="gone")
    assert port.client().post(path).status_code == 403
    assert not port.commands


def test_a_busy_heart_says_press_again(port):
    path, client = raised(port), port.client()
    port.is_full = True
    assert press(client, path).status_code == 503
    port.is_full = False
    assert press(client, path).status_code == 200


def test_guessing_is_slowed_down_and_real_links_are_not(port):
    path, client = raised(port), port.client()
    answers = [client.get(PATH + f"guess{n}").status_code for n in range(40)]
    assert answers.count(403) == 20
    assert answers.count(429) == 20
    assert client.get(path).status_code == 200


def test_one_link_is_not_a_hammer(port):
    path, client = raised(port), port.client()
    assert 429 in [client.get(path).status_code for _ in range(30)]


def test_the_page_is_kept_by_nobody_and_framed_by_nobody(port):
    headers = port.client().get(raised(port)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-robots-tag"] == "noindex"


def test_words_of_the_field_cannot_become_markup(port):
    port.commit(port.world.raises("well.ch4", RED, "gas", because=_evil()))
    page = port.client().get(link_to(port)).text
    assert "<img" not in page
    assert "&lt;img" in page


def _evil():
    from citypulse.model import Text

    return Text(zh="<img src=x onerror=alert(1)>", en="<img>")


# the signer itself


def test_the_same_notice_has_the_same_link_in_every_try_and_only_calls_have_one():
    signer = Signer(b"s" * 40, "https://city.example/")
    call = a_notice(created_ms=T0)
    assert signer.url_for(call) == signer.url_for(call)
    assert signer.url_for(call).startswith("https://city.example/k/")
    assert signer.url_for(replace(call, kind=NoticeKind.CLEARED)) == ""
    assert signer.url_for(replace(call, subject_kind="order")) == ""
    assert Signer(b"s" * 40).url_for(call) == "", "without an address no links"


def test_a_link_says_alarm_target_level_and_expiry():
    signer = Signer(b"s" * 40, "https://city.example")
    notice = a_notice(level=YELLOW, rev=4)
    link = signer.read(signer.url_for(notice).rpartition("/")[2], T0)
    assert link == Link(alarm="alarm-1", target="duty", level=Priority.P3, rev=4, expires_ms=T0 + LASTS_MS)
    with pytest.raises(LinkError, match="expired"):
        signer.read(signer.token(link), link.expires_ms)


def test_the_secret_is_made_once_for_its_owner_only_and_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("CITYPULSE_LINK_SECRET", raising=False)
    link = Link(alarm="a", target="t", level=RED, rev=1, expires_ms=T0)
    first = Signer.at(tmp_path / "data").token(link)
    assert Signer.at(tmp_path / "data").token(link) == first
    path = tmp_path / "data" / "links.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert Signer.at(tmp_path / "other").token(link) != first
    monkeypatch.setenv("CITYPULSE_LINK_SECRET", "e" * 40)
    assert Signer.at(tmp_path / "data").token(link) != first
    monkeypatch.setenv("CITYPULSE_LINK_SECRET", "short")
    with pytest.raises(CityError, match="at least 32"):
        Signer.at(tmp_path / "data")
