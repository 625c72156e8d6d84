"""A module with ad-hoc commands of two stages and of none, for the tests of the framework."""

from chatrix.api import Completed, Execution, Form, Module, More, Role, StanzaError, command
from chatrix.xmpp.dataform import Choice, Field

FIRST = Form("form", (Field("service", "list-single", choices=(Choice("a"), Choice("b")), required=True),), title="1")


class Survey(Module):
    """Commands that only tell what they were told."""

    requires = ("commands",)

    @command("survey", "Take the survey", role=Role.USER)
    async def survey(self, execution: Execution) -> More | Form | Completed:
        """Which service, then which state; a third form only for the state `other`."""
        answers = execution.answers
        if not answers:
            return More(FIRST)
        service = answers[0].text("service")
        if len(answers) == 1:
            return Form("form", (Field("state", required=True),), title=f"2 {service}")
        if answers[1].text("state") == "conflict":
            raise StanzaError("cancel", "conflict", "try another")
        if answers[1].text("state") == "mistake":
            raise KeyError("a mistake of the module")
        return Completed(f"{service} is {answers[1].text('state')}")

    @command("status", "Tell the status", role=Role.USER)
    def status(self, execution: Execution) -> Completed:
        """One stage, at once."""
        return Completed(problem="bad")

    @command("secret", "Tell a secret", role=Role.ADMIN, form=FIRST)
    def secret(self, execution: Execution) -> Completed:
        """Only for admins."""
        return Completed(execution.answers[0].text("service"))
