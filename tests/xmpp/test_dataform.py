"""XEP-0004: forms as built, sent, submitted and read; the FORM_TYPE of XEP-0068."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatrix.xmpp.dataform import FIELD_TYPES, FORM_TYPE, Choice, Field, Form
from chatrix.xmpp.element import Element, parse, serialise
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID

BOT = Form(
    "form",
    (
        Field("", "fixed", values=("Section 1: Bot Info",)),
        Field("botname", "text-single", "The name of your bot"),
        Field("description", "text-multi", "Helpful description of your bot"),
        Field("public", "boolean", "Public bot?", required=True),
        Field("password", "text-private", "Password for special access"),
        Field("maxsubs", "list-single", "Most subscribers", ("20",), (Choice("10", "10"), Choice("20", "20"))),
        Field(
            "features", "list-multi", choices=(Choice("news"), Choice("search", "Search")), description="What it does"
        ),
        Field("owner", "jid-single"),
        Field("invitelist", "jid-multi", "People to invite", description="Tell all your friends!"),
        Field("ticket", "hidden", values=("a", "b")),
    ),
    "Bot Configuration",
    "Fill out this form\nto configure your new bot!",
    "jabber:bot",
)


def submission(*fields: Field, form_type: str = "jabber:bot") -> Element:
    """A submitted form, as it comes off the wire."""
    return parse(serialise(Form("submit", fields, form_type=form_type).to_element()))


PUBLIC = Field("public", values=("1",))

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")))
fields = st.builds(
    Field,
    texts.filter(lambda var: var not in ("", FORM_TYPE)),
    st.sampled_from(sorted(FIELD_TYPES)),
    texts,
    st.lists(texts).map(tuple),
    st.lists(st.builds(Choice, texts, texts)).map(tuple),
    st.booleans(),
    texts,
)
forms = st.builds(
    Form,
    st.sampled_from(("form", "result")),
    st.lists(fields, unique_by=lambda field: field.var).map(tuple),
    texts,
    texts,
    texts,
)


class Building(SynchronousTestCase):
    """`to_element` and `from_element`."""

    def test_wire(self) -> None:
        """A form on the wire, with FORM_TYPE as its first field and hidden."""
        form = Form(
            "form", (Field("a", "boolean", "A?", ("0",), required=True, description="why"),), "T", "1\n2", "urn:f"
        )
        self.assertEqual(
            serialise(form.to_element()),
            b"<x xmlns='jabber:x:data' type='form'><title>T</title><instructions>1</instructions>"
            b"<instructions>2</instructions><field var='FORM_TYPE' type='hidden'><value>urn:f</value></field>"
            b"<field var='a' type='boolean' label='A?'><desc>why</desc><required/><value>0</value></field></x>",
        )

    def test_table(self) -> None:
        """A result with a head and rows; a row has every field of the head."""
        head = (Field("jid", "jid-single", "Who"), Field("name"))
        form = Form("result", reported=head, items=({"jid": ("a@b",), "name": ("A",)}, {"jid": ("c@d",)}))
        raw = serialise(form.to_element())
        self.assertIn(b"<reported><field var='jid' type='jid-single' label='Who'/>", raw)
        self.assertIn(b"<item><field var='jid'><value>c@d</value></field><field var='name'/></item>", raw)
        read = Form.from_element(parse(raw))
        self.assertEqual(read.reported, head)
        self.assertEqual(read.items, ({"jid": ("a@b",), "name": ("A",)}, {"jid": ("c@d",), "name": ()}))

    @given(forms)
    def test_round_trip(self, form: Form) -> None:
        """What is written is read again."""
        self.assertEqual(form, Form.from_element(parse(serialise(form.to_element()))))

    def test_unknown_types(self) -> None:
        """A type of field that is unknown is text-single; one of ours must be known, as must a form's."""
        raw = b"<x xmlns='jabber:x:data' type='form'><field var='a' type='colour'/></x>"
        self.assertEqual("text-single", Form.from_element(parse(raw))["a"].type)
        self.assertRaises(ValueError, Field, "a", "colour")
        self.assertRaises(ValueError, Form, "forms")
        self.assertRaises(ValueError, Form.from_element, parse(b"<x xmlns='jabber:x:data' type='error'/>"))
        self.assertRaises(ValueError, Form.from_element, parse(b"<x xmlns='jabber:x:other' type='form'/>"))

    def test_get(self) -> None:
        """A field by its name: its first value, "" without one, None without a field."""
        form = Form("result", (Field("a", values=("1", "2")), Field("b")))
        self.assertEqual(("1", "", None), (form.get("a"), form.get("b"), form.get("c")))
        self.assertRaises(KeyError, form.__getitem__, "c")


class Reading(SynchronousTestCase):
    """`Form.read`, and the answers it gives."""

    def refused(self, element: Element | None) -> tuple[str, str | None]:
        """Condition and text of the error."""
        error = self.assertRaises(StanzaError, BOT.read, element)
        self.assertEqual("modify", error.type)
        return error.condition, error.text

    def test_all(self) -> None:
        """Every type of field gives what it is a field of."""
        answers = BOT.read(
            submission(
                Field("botname", values=("The Jabber Google Bot",)),
                Field("description", "text-multi", values=("one", "", "two")),
                PUBLIC,
                Field("password", values=("v3r0na",)),
                Field("maxsubs", values=("10",)),
                Field("features", values=("news", "search")),
                Field("owner", values=("Joogle@Example.com",)),
                Field("invitelist", values=("a@b", "A@B", "c@d/e")),
                Field("ticket", values=("a", "b")),
                Field("nonsense", values=("x",)),
            )
        )
        self.assertEqual("The Jabber Google Bot", answers.text("botname"))
        self.assertEqual("one\n\ntwo", answers.text("description"))
        self.assertIs(True, answers.flag("public"))
        self.assertEqual(("news", "search"), answers.values("features"))
        self.assertEqual(JID.parse("joogle@example.com"), answers.jid("owner"))
        self.assertEqual((JID.parse("a@b"), JID.parse("c@d/e")), answers.jids("invitelist"))
        self.assertEqual(("a", "b"), answers.values("ticket"))
        self.assertNotIn("nonsense", answers)

    def test_left_out(self) -> None:
        """What is not required may be left out, and that can be told from what was emptied (sections 3.5 and 3.6)."""
        answers = BOT.read(submission(PUBLIC, Field("owner", values=("",)), Field("botname")))
        self.assertEqual(["botname", "public", "owner"], list(answers))
        self.assertNotIn("maxsubs", answers)
        self.assertEqual(("20", "", None, ()), (
            answers.text("maxsubs", "20"), answers.text("botname"), answers.jid("owner"), answers.jids("invitelist"),
        ))  # fmt: skip
        self.assertIs(True, answers.flag("left-out", True))

    def test_booleans(self) -> None:
        """Both spellings of both truths (XML Schema), and no other."""
        for spelling, truth in {"0": False, "false": False, "1": True, "true": True}.items():
            self.assertIs(truth, BOT.read(submission(Field("public", values=(spelling,)))).flag("public"))
        for spelling in ("yes", "TRUE", " 1", "2"):
            self.assertEqual(
                ("not-acceptable", "the field public is true or false"),
                self.refused(submission(Field("public", values=(spelling,)))),
            )

    def test_not_acceptable(self) -> None:
        """A value that does not fit is refused by the name of its field (section 4)."""
        for field, complaint in (
            (Field("maxsubs", values=("30",)), "takes one of its options"),
            (Field("maxsubs", values=("10", "20")), "takes one value"),
            (Field("features", values=("news", "sports")), "takes one of its options"),
            (Field("owner", values=("@",)), "takes a JID"),
            (Field("invitelist", values=("a@b", "a@")), "takes a JID"),
            (Field("botname", values=("a", "b")), "takes one value"),
        ):
            with self.subTest(field=field):
                expected = ("not-acceptable", f"the field {field.var} {complaint}")
                self.assertEqual(expected, self.refused(submission(PUBLIC, field)))

    def test_open_list(self) -> None:
        """An open list takes what is not among its options."""
        form = Form("form", (Field("n", "list-single", choices=(Choice("1"),), open=True),))
        self.assertEqual("7", form.read(submission(Field("n", values=("7",)), form_type="")).text("n"))

    def test_required(self) -> None:
        """A required field may be neither left out nor empty (R3)."""
        missing = ("not-acceptable", "the field public is required")
        for given_fields in ((), (Field("public"),), (Field("public", values=("",)),)):
            self.assertEqual(missing, self.refused(submission(*given_fields)))

    def test_no_submission(self) -> None:
        """Anything but a submission of this form is a bad request; a field must not be there twice."""
        twice = submission(PUBLIC)
        twice.append(Field("public", values=("0",)).to_element())
        for element in (
            None,
            Element("urn:x", "x"),
            Form("cancel").to_element(),
            Form("form", (PUBLIC,)).to_element(),
            submission(PUBLIC, form_type="jabber:other"),
            twice,
        ):
            self.assertEqual("bad-request", self.refused(element)[0])

    def test_without_form_type(self) -> None:
        """A submission may leave FORM_TYPE out."""
        self.assertTrue(BOT.read(submission(PUBLIC, form_type="")).flag("public"))
