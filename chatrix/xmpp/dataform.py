"""XEP-0004: Data Forms, version 2.13.2; the FORM_TYPE of XEP-0068. Forms are built, sent, and read when they come back.

    FORM = Form("form", (
        Field("accountjid", "jid-single", "The account", required=True),
        Field("password", "text-private", "Its password"),
    ), title="Add a user", form_type=NS_ADMIN)

    command.append(FORM.to_element())
    ...
    answers = FORM.read(command.child(NS_DATA_FORM, "x"))
    answers.jid("accountjid"), answers.text("password")

SECURITY: `read` is for what strangers submit: it takes only the fields that were asked for, each checked by its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from chatrix.xmpp.element import Element
from chatrix.xmpp.errors import StanzaError
from chatrix.xmpp.jid import JID, InvalidJID
from chatrix.xmpp.namespaces import NS_DATA_FORM

FORM_TYPE: Final = "FORM_TYPE"
FORM_TYPES: Final = frozenset({"cancel", "form", "result", "submit"})
FIELD_TYPES: Final = frozenset(
    {
        "boolean",
        "fixed",
        "hidden",
        "jid-multi",
        "jid-single",
        "list-multi",
        "list-single",
        "text-multi",
        "text-private",
        "text-single",
    }
)
SEVERAL: Final = frozenset({"hidden", "jid-multi", "list-multi", "text-multi"})
"""The types whose fields may have more than one value."""
BOOLEANS: Final = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a list."""

    value: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form.

    Raises: ValueError for a type that XEP-0004 does not know.
    """

    var: str
    """Empty only for the type `fixed`."""
    type: str = "text-single"
    label: str = ""
    values: tuple[str, ...] = ()
    """The default in a form, the data in a result or a submission; for text-multi one per line."""
    choices: tuple[Choice, ...] = ()
    required: bool = False
    description: str = ""
    open: bool = False
    """A list that takes other values than its choices (XEP-0122); `read` then accepts them."""

    def __post_init__(self) -> None:
        if self.type not in FIELD_TYPES:
            raise ValueError(f"not a type of field: {self.type!r}")

    @property
    def value(self) -> str:
        """The first value, or ""."""
        return self.values[0] if self.values else ""

    def to_element(self, typed: bool = True) -> Element:
        """`<field/>`; the type is left out where it can be inferred (in submissions)."""
        attributes = {}
        if self.var:
            attributes["var"] = self.var
        if typed or self.var == FORM_TYPE:
            attributes["type"] = self.type
        if self.label:
            attributes["label"] = self.label
        field = Element(NS_DATA_FORM, "field", attributes)
        if self.description:
            field.add(NS_DATA_FORM, "desc", text=self.description)
        if self.required:
            field.add(NS_DATA_FORM, "required")
        for value in self.values:
            field.add(NS_DATA_FORM, "value", text=value)
        for choice in self.choices:
            option = field.add(NS_DATA_FORM, "option", {"label": choice.label} if choice.label else None)
            option.add(NS_DATA_FORM, "value", text=choice.value)
        return field

    @classmethod
    def from_element(cls, element: Element) -> Field:
        """Read a `<field/>`; "this field type is the default and MUST be assumed" for a type that is unknown."""
        type = element.get("type", "text-single")
        choices = tuple(
            Choice(child.text_of(NS_DATA_FORM, "value") or "", child.get("label", ""))
            for child in element
            if child.name == "option" and child.namespace == NS_DATA_FORM
        )
        return cls(
            element.get("var", ""),
            type if type in FIELD_TYPES else "text-single",
            element.get("label", ""),
            tuple(child.text or "" for child in element if child.tag == f"{{{NS_DATA_FORM}}}value"),
            choices,
            element.child(NS_DATA_FORM, "required") is not None,
            element.text_of(NS_DATA_FORM, "desc") or "",
        )


@dataclass(frozen=True, slots=True)
class Form:
    """A whole form.

    Raises: ValueError for a type that XEP-0004 does not know.
    """

    type: str
    """'form', 'submit', 'cancel' or 'result'."""
    fields: tuple[Field, ...] = ()
    title: str = ""
    instructions: str = ""
    """Each of its lines is an element of its own."""
    form_type: str = ""
    """XEP-0068: the value of the hidden field FORM_TYPE, which is not among the fields; "" when there is none."""
    reported: tuple[Field, ...] = ()
    """The head of a table (section 3.4), in a result."""
    items: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    """The rows of the table, each the values by the field's `var`."""

    def __post_init__(self) -> None:
        if self.type not in FORM_TYPES:
            raise ValueError(f"not a type of form: {self.type!r}")

    def __getitem__(self, var: str) -> Field:
        """The field of that name.

        Raises: KeyError.
        """
        for field in self.fields:
            if field.var == var:
                return field
        raise KeyError(var)

    def get(self, var: str) -> str | None:
        """The first value of a field: "" when it has none, None when there is no such field."""
        for field in self.fields:
            if field.var == var:
                return field.value
        return None

    def to_element(self) -> Element:
        """`<x/>`."""
        form = Element(NS_DATA_FORM, "x", {"type": self.type})
        if self.title:
            form.add(NS_DATA_FORM, "title", text=self.title)
        for line in self.instructions.splitlines():
            form.add(NS_DATA_FORM, "instructions", text=line)
        if self.form_type:
            form.append(Field(FORM_TYPE, "hidden", values=(self.form_type,)).to_element())
        for field in self.fields:
            form.append(field.to_element(self.type != "submit"))
        if self.reported:
            head = form.add(NS_DATA_FORM, "reported")
            for field in self.reported:
                head.append(field.to_element())
            for item in self.items:
                row = form.add(NS_DATA_FORM, "item")
                for field in self.reported:
                    row.append(Field(field.var, values=item.get(field.var, ())).to_element(False))
        return form

    @classmethod
    def from_element(cls, element: Element) -> Form:
        """Read an `<x/>`.

        Raises: ValueError when it is no form of a known type, or two fields have one name.
        """
        if element.tag != f"{{{NS_DATA_FORM}}}x":
            raise ValueError("not a data form")
        fields = tuple(_fields(element))
        names = [field.var for field in fields if field.var]
        if len(set(names)) != len(names):
            raise ValueError("a field is there twice")
        head = element.child(NS_DATA_FORM, "reported")
        items = tuple(
            {field.var: field.values for field in _fields(child)}
            for child in element
            if child.tag == f"{{{NS_DATA_FORM}}}item"
        )
        return cls(
            element.get("type", ""),
            tuple(field for field in fields if field.var != FORM_TYPE),
            element.text_of(NS_DATA_FORM, "title") or "",
            "\n".join(child.text or "" for child in element if child.tag == f"{{{NS_DATA_FORM}}}instructions"),
            next((field.value for field in fields if field.var == FORM_TYPE), ""),
            tuple(_fields(head)) if head is not None else (),
            items,
        )

    def read(self, element: Element | None) -> Answers:
        """What somebody submits to this form; fields that are not this form's are ignored.

        Raises:
            StanzaError: bad-request, when it is no submission of this form; not-acceptable, with a text that names the
                field, when a required field is missing or a value does not fit its type.

        Source: sections 3.5 and 4.
        """
        try:
            submitted = Form.from_element(element) if element is not None else None
        except ValueError as error:
            raise StanzaError("modify", "bad-request", str(error)) from None
        if submitted is None or submitted.type != "submit":
            raise StanzaError("modify", "bad-request", "a submitted data form is needed")
        if self.form_type and submitted.form_type not in ("", self.form_type):
            raise StanzaError("modify", "bad-request", "this is the submission of another form")
        values: dict[str, tuple[str, ...]] = {}
        for field in self.fields:
            if not field.var or field.type == "fixed":
                continue
            try:
                given = submitted[field.var].values
            except KeyError:
                if field.required:
                    raise _refusal(field, "is required") from None
                continue
            values[field.var] = _checked(field, given)
        return Answers(values)


class Answers:
    """The values of a submission, checked. What was left out keeps its current value: `var in answers` tells."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values

    def __contains__(self, var: str) -> bool:
        return var in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def values(self, var: str) -> tuple[str, ...]:
        """All values of a field; none when it was left out."""
        return self._values.get(var, ())

    def text(self, var: str, default: str = "") -> str:
        """The text of a field, with the lines of a text-multi joined; `default` when it was left out."""
        return "\n".join(self._values[var]) if var in self._values else default

    def flag(self, var: str, default: bool = False) -> bool:
        """The truth of a boolean field."""
        values = self.values(var)
        return BOOLEANS[values[0]] if values else default

    def jid(self, var: str) -> JID | None:
        """The JID of a jid-single field, None when it was left out or is empty."""
        values = self.values(var)
        return JID.parse(values[0]) if values else None

    def jids(self, var: str) -> tuple[JID, ...]:
        """The JIDs of a jid-multi field; "duplicate JIDs MUST be ignored"."""
        return tuple(dict.fromkeys(JID.parse(value) for value in self.values(var)))


def _fields(parent: Element) -> Iterable[Field]:
    return (Field.from_element(child) for child in parent if child.tag == f"{{{NS_DATA_FORM}}}field")


def _refusal(field: Field, what: str) -> StanzaError:
    return StanzaError("modify", "not-acceptable", f"the field {field.var} {what}")


def _checked(field: Field, given: tuple[str, ...]) -> tuple[str, ...]:
    """The values of a field as `Answers` has them.

    Raises: StanzaError.
    """
    # "This XEP does not standardize a way to differentiate between an empty and absent value" (section 3.6).
    if field.type not in ("hidden", "text-multi"):
        given = tuple(value for value in given if value)
    if field.required and not any(given):
        raise _refusal(field, "is required")
    if len(given) > 1 and field.type not in SEVERAL:
        raise _refusal(field, "takes one value")
    if field.type == "boolean" and any(value not in BOOLEANS for value in given):
        raise _refusal(field, "is true or false")
    if field.type.startswith("list-") and not field.open:
        allowed = {choice.value for choice in field.choices}
        if not allowed.issuperset(given):
            raise _refusal(field, "takes one of its options")
    if field.type.startswith("jid-"):
        for value in given:
            try:
                JID.parse(value)
            except InvalidJID:
                raise _refusal(field, "takes a JID") from None
    return given
