"""The hub's own failures.

Tree::

    HubError
      ConfigRefused          the configuration file is wrong: start refused, with file, key and a hint
      StoreFailure           the database could not do it; nothing was committed
        ReaderAway           the process that reads images does not start
      CareError              a step that people or programs asked for
        StepRefused          illegal in this state or made on an old version; carries what is allowed
          ConsentMissing     the person did not agree to this
          RecordingAbsent    the person agreed, and this hub does not record yet
          ArchiveAbsent      no archive of images is configured
        NotFound             no such thing, or not within this person's scope (never says which)
        NotPermitted         known, but this person may not do this
          SignInAgain        may do this, but only soon after signing in
        BadRequest           cannot be understood; carries the fields
          PasswordUnfit      a new password that may not be taken into use
        ImageUnreadable      a file of a study cannot be read, or not shown so; carries why
        StudyAmbiguous       a study's UID stands for several patients, and no filing was named
        NotAcceptable        none of the forms that were asked for can be given
      TransferFault          a node's call breaks the rules of the transfer of files; the call ends
        CallerUnknown        who calls could not be shown
        CallerElsewhere      names another site or node than the caller's own
        PieceMisplaced       a piece that fits no chunk
        CallWasteful         far too many tiny messages, or too many calls at once
        ReaderStalled        the node does not read what it is told
        BlobDamaged          a file in the hub's own folder no longer matches its hash
      EnrolmentRefused       a node gets no certificate; carries why
      SignInRefused          name or secret wrong; never says which half
        PasswordEnded        a first password that was not changed in time
        TooManyAttempts      must wait; carries how long
        PasskeyRefused       what a passkey or security key answered proves nothing
        ProviderRefused      what came back from the identity provider proves nothing
        IdentityUnknown      the provider knows this person, and the hub has nothing for them
      ProviderAway           the identity provider does not answer, or not sensibly
      DestinationRefused     an address that the hub must not ask
      ArchiveFailure         the hospital's archive of images did not give what was asked
        ArchiveAway          it does not answer
        ArchiveShut          it does not take the hub's name and password
        ArchiveUnclear       it answers what cannot be used
        ArchiveOfAnother     it sent a file of another patient than the one asked for
      NotSignedIn            no session or token, or one that is worth nothing any more
      RequestForged          a request that changes something without the proof that our own page sent it
"""

from typing import ClassVar

from telemed.enrolment import REFUSALS, Refusal
from telemed.topics import NodeAddress


class HubError(Exception):
    """Base of the hub's own failures."""

    code: ClassVar[str] = "hub-error"


class ConfigRefused(HubError):
    """The configuration cannot be used; the text names file, key and what to do."""

    code = "config-refused"


class StoreFailure(HubError):
    """The database could not do what was asked; nothing of it was committed."""

    code = "store-failure"
    is_passing = False
    """True where trying again later may help: the server is away, the disk was busy."""
    is_full = False
    """True where there is no room: it helps as soon as somebody makes some."""


class ReaderAway(StoreFailure):
    """The process that reads images does not start; the files are as they were."""

    code = "reader-away"


class CareError(HubError):
    """Base of refusals of what a person or program asked for."""

    code = "care-error"


class StepRefused(CareError):
    """The step is not legal in the present state, or was made on an old version of it."""

    code = "refused-illegal-state"

    def __init__(self, text: str, allowed: list[str]) -> None:
        super().__init__(text)
        self.allowed = allowed


class ConsentMissing(StepRefused):
    """The person did not agree to this use of what is known of them, or took it back."""

    code = "consent-missing"


class RecordingAbsent(StepRefused):
    """The person agreed to being recorded, and this hub has nothing that records."""

    code = "recording-absent"


class ArchiveAbsent(StepRefused):
    """No archive of images is configured at this hub."""

    code = "archive-absent"


class NotFound(CareError):
    """There is no such thing within the scope of whoever asks."""

    code = "not-found"


class NotPermitted(CareError):
    """Whoever asks is known but may not do this."""

    code = "refused-rights"


class SignInAgain(NotPermitted):
    """What changes how somebody signs in is open only for some minutes after they did."""

    code = "sign-in-again"


class BadRequest(CareError):
    """What was asked cannot be understood."""

    code = "bad-request"

    def __init__(self, text: str, fields: list[str]) -> None:
        super().__init__(text)
        self.fields = fields


class PasswordUnfit(BadRequest):
    """A new password that may not be taken into use; says why."""

    code = "password-unfit"


class ImageUnreadable(CareError):
    """A file that a site sent cannot be read, or not shown so; carries why."""

    code = "image-unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the file cannot be shown: {reason}")
        self.reason = reason


class StudyAmbiguous(CareError):
    """Images of several patients were filed under one identifier, and the request does not say whose are meant."""

    code = "study-ambiguous"


class NotAcceptable(CareError):
    """None of the forms that were asked for can be given; says which there are."""

    code = "not-acceptable"


class EnrolmentRefused(HubError):
    """A node does not get a certificate; the reason is one of `telemed.enrolment.Refusal`."""

    code = "enrolment-refused"

    def __init__(self, reason: Refusal, address: NodeAddress | None = None) -> None:
        super().__init__(REFUSALS.get(reason, ("", reason))[1])
        self.reason = reason
        self.address = address
        """Whose token or certificate it was, where that is known."""


class SignInRefused(HubError):
    """Name or secret is wrong, or too many attempts; the text never says which half."""

    code = "sign-in-refused"


class PasswordEnded(SignInRefused):
    """Name and password are right, and it is a first password that was not changed in time."""

    code = "password-ended"


class TooManyAttempts(SignInRefused):
    """Too many wrong attempts under this name, or too much at once from this address; nothing was looked at."""

    code = "too-many-attempts"

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class SecondFactorNeeded(SignInRefused):
    """Name and password are right, and this account has a second factor whose code was not sent."""

    code = "second-factor-needed"


class SecondFactorRefused(SignInRefused):
    """The code of the second factor is wrong, too old, or was used before."""

    code = "second-factor-refused"


class PasskeyRefused(SignInRefused):
    """What a passkey or security key answered proves nothing: unknown, forged, of another page, replayed, or copied."""

    code = "passkey-refused"

    def __init__(self, text: str, reason: str = "passkey-refused", username: str = "") -> None:
        super().__init__(text)
        self.reason, self.username = reason, username
        """For the audit trail, whose key it was once that is proved; the person is told no more than the code."""


class ProviderRefused(SignInRefused):
    """What came back from the identity provider proves nothing: declined, forged, too old, or of another browser."""

    code = "provider-refused"


class IdentityUnknown(SignInRefused):
    """The identity provider knows this person, and neither an account nor the mapping lets them in."""

    code = "identity-unknown"


class ProviderAway(HubError):
    """The identity provider does not answer in time, or not with what it should; local accounts are untouched by it."""

    code = "provider-away"


class DestinationRefused(HubError):
    """The hub was to ask an address that configuration does not allow: another host, or an address within."""

    code = "destination-refused"


class ArchiveFailure(HubError):
    """Base: the hospital's archive of images did not give what was asked."""

    code = "archive-failure"


class ArchiveAway(ArchiveFailure):
    """It does not answer, or not in time; asking again later may help."""

    code = "archive-away"


class ArchiveShut(ArchiveFailure):
    """It does not take the name and password that are configured."""

    code = "archive-shut"


class ArchiveUnclear(ArchiveFailure):
    """It answers something that is not what DICOMweb says, that leads elsewhere, or that is too large."""

    code = "archive-unclear"


class ArchiveOfAnother(ArchiveFailure):
    """It sent a file of another patient than the one asked for, which was not kept."""

    code = "archive-of-another"


class NotSignedIn(HubError):
    """There is no session or token, or it has ended."""

    code = "not-signed-in"


class RequestForged(HubError):
    """A request that changes something came with a cookie but without CSRF token, or from another origin."""

    code = "refused-origin"


class TransferFault(HubError):
    """A call of a node that cannot go on; what was told durable before it stays so."""

    code = "transfer-fault"


class CallerUnknown(TransferFault):
    """The call does not show who calls, or shows it wrongly; never says which."""

    code = "caller-unknown"


class CallerElsewhere(TransferFault):
    """The message names another site or node than the one that calls."""

    code = "caller-elsewhere"


class PieceMisplaced(TransferFault):
    """A piece crosses the border of a chunk, leaves a gap, or lies outside its file."""

    code = "piece-misplaced"


class TalkUnreadable(TransferFault):
    """What a node says over a call is nothing that goes up."""

    code = "talk-unreadable"


class CallWasteful(TransferFault):
    """Messages far too small for what they cost, or more calls at once than a node may have."""

    code = "call-wasteful"


class ReaderStalled(TransferFault):
    """The node has not read what it was told for longer than the limit."""

    code = "reader-stalled"


class BlobDamaged(TransferFault):
    """A file in the hub's own folder no longer matches its hash."""

    code = "blob-damaged"
