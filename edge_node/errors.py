"""The edge node's own failures.

Tree::

    EdgeError
      ConfigRefused          the configuration file is wrong: start refused, with file, key and a hint
      DeviceError            a device or its messages
        DeviceSilent         was streaming, now silent for longer than its limit
        DeviceUnknown        not in this node's list of devices
        MessageRefused       a message cannot be taken; carries the HL7 answer to give
      BufferFailure          the local store
        BufferFull           no room left even in the reserve: the sender must try again later
        BufferDamaged        a file of the store fails its check
        BufferNewer          a file of the store is of newer software: start refused, the file is left as it is
        KeyUnavailable       a key of the store is not there or does not fit; what it hides is left as it is
        NotYetSent           what is to be erased is not all at the hub; carries how much is not
      UplinkError            broker or hub
        LinkDown             no connection; what was to be sent stays in the buffer
        ModemUnreachable     the program that drives the modem, or its bus, does not answer
        SimRefused           the modem cannot use that SIM slot; carries the slot
        HubRefuses           the hub does not take this node's calls now; carries the code of why
        EnrolmentFailed      no certificate was given; carries why
          HubUnproved        who answers is not the hub that the node trusts
        FileUnusable         a file that is to be sent is not there, empty, too large or cannot be read
      CareError              a step that people asked for
        StepRefused          illegal in this state; carries what is allowed
        NotFound             no such alarm, bed or referral here
        NotPermitted         this person may not do this
      ImagingError           images that devices send
        CatalogueFailure     the list of images cannot be read or written; nothing was acknowledged
      ConsultError           a tele-consultation
        CameraUnavailable    missing, busy or not allowed; carries the reason in both languages
        SignalRefused        a step of signalling that is too large, malformed or out of place
      InferenceError         a model cannot be run now; care goes on without it
        ModelAbsent          no bundle of that task serves at this node
        NotForPatients       its weights saw phantoms alone, and this node is not set up for research
        EngineFailed         the worker could not start, died, or answered with what is no answer
          EngineLate         it did not answer within the model's deadline
"""

from enum import Enum
from typing import ClassVar

from telemed import stuck
from telemed.bundle import Refusal
from telemed.errors import Code


class Retry(Enum):
    """What the caller may do after a failure."""

    SAFE = "safe"  # the other side provably did nothing
    UNCERTAIN = "uncertain"  # it may have acted: retry only what is idempotent
    USELESS = "useless"  # the same attempt will always fail


class EdgeError(Exception):
    """Base of the edge node's own failures."""

    code: ClassVar[str] = "edge-error"
    retry: ClassVar[Retry] = Retry.USELESS


class ConfigRefused(EdgeError):
    """The configuration cannot be used; the text names file, key and what to do."""

    code = "config-refused"


class DeviceError(EdgeError):
    """Base of failures of devices and their messages."""

    code = "device-error"


class DeviceSilent(DeviceError):
    """A device that was streaming has sent nothing for longer than its limit."""

    code = "device-silent"
    retry = Retry.SAFE

    def __init__(self, device_id: str, silent_s: float) -> None:
        super().__init__(f"{device_id}: nothing received for {silent_s:g} s")
        self.device_id = device_id
        self.silent_s = silent_s


class DeviceUnknown(DeviceError):
    """A message from a device that is not enrolled at this node."""

    code = "device-unknown"


class BufferFailure(EdgeError):
    """Base of failures of the local store."""

    code = "buffer-failure"
    retry = Retry.SAFE


class BufferFull(BufferFailure):
    """Nothing can be stored now; nothing was acknowledged, the sender must try again later."""

    code = "store-full"


class BufferDamaged(BufferFailure):
    """A file of the store is damaged and cannot be used as it is."""

    code = "buffer-damaged"
    retry = Retry.USELESS


class BufferNewer(BufferFailure):
    """A file of the store was made by newer software; it is not touched, and the node does not start on it."""

    code = "store-newer"
    retry = Retry.USELESS

    def __init__(self, name: str, version: int, known_version: int) -> None:
        zh, en = stuck.TEXTS[Code.STORE_NEWER]
        super().__init__(f"{name}: {zh} / {en} (version {version}, this software {known_version})")


class KeyUnavailable(BufferFailure):
    """A key of the store is not there, cannot be read or does not fit; the text says which file."""

    code = "store-locked"
    retry = Retry.USELESS


class NotYetSent(BufferFailure):
    """What is to be erased is not all at the hub; nothing was erased."""

    code = "not-yet-sent"

    def __init__(self, records: int) -> None:
        super().__init__(f"{records} records are not at the hub yet: let the node send them first; nothing was erased")
        self.records = records


class UplinkError(EdgeError):
    """Base of failures on the way to the hub."""

    code = "uplink-error"
    retry = Retry.UNCERTAIN


class LinkDown(UplinkError):
    """There is no connection to the broker; what was to be sent stays in the buffer."""

    code = "link-down"
    retry = Retry.SAFE


class ModemUnreachable(UplinkError):
    """The program that drives the modem cannot be asked: its bus is gone, or it does not answer."""

    code = "modem-unreachable"
    retry = Retry.SAFE


class SimRefused(UplinkError):
    """The modem stays on the SIM it has: it has no such slot, no card in it, or cannot switch."""

    code = "sim-refused"
    retry = Retry.USELESS

    def __init__(self, slot: int, reason: str) -> None:
        super().__init__(f"SIM slot {slot}: {reason}")
        self.slot = slot


class HubRefuses(UplinkError):
    """The hub answers, but does not take what this node asks: its secret is wrong, or it asks too much."""

    code = "hub-refuses"
    retry = Retry.SAFE

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(text)
        self.reason_code = reason_code


UNPROVED = "unproved"
"""Why there is no certificate where the hub is not believed."""


class EnrolmentFailed(UplinkError):
    """The hub gave no certificate, or could not be reached; what the node had it has still."""

    code = "enrolment-failed"
    retry = Retry.SAFE

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        """One of `telemed.enrolment.Refusal`, or "unreachable", or "unproved"."""


class HubUnproved(EnrolmentFailed):
    """Whoever answers at the hub's address does not show the authority that the token pins, or that the node trusts."""

    code = "hub-unproved"
    retry = Retry.USELESS

    def __init__(self, text: str) -> None:
        super().__init__(UNPROVED, text)


class FileUnusable(UplinkError):
    """A file that is to be sent is not there, empty, over the limit, or cannot be read."""

    code = "file-unusable"
    retry = Retry.USELESS


class CareError(EdgeError):
    """Base of refusals of what a person asked for."""

    code = "care-error"


class StepRefused(CareError):
    """The step is not legal in the present state."""

    code = "refused-illegal-state"

    def __init__(self, text: str, allowed: list[str]) -> None:
        super().__init__(text)
        self.allowed = allowed


class NotFound(CareError):
    """There is no such bed, alarm or referral at this node."""

    code = "not-found"


class NotPermitted(CareError):
    """The person is known but may not do this."""

    code = "refused-rights"


class ImagingError(EdgeError):
    """Base of failures around images that devices send; care and alarms go on without them."""

    code = "imaging-error"
    retry = Retry.SAFE


class CatalogueFailure(ImagingError):
    """The catalogue of images cannot be opened, read or written; what was to be noted is not."""

    code = "imaging-catalogue"


class ConsultError(EdgeError):
    """Base of failures of a tele-consultation; care and alarms go on without it."""

    code = "consult-error"


class CameraUnavailable(ConsultError):
    """Camera or microphone cannot be used now; the reason is in words for people."""

    code = "camera-unavailable"
    retry = Retry.SAFE

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en


class SignalRefused(ConsultError):
    """A step of signalling is too large, malformed, or not for this consult."""

    code = "signal-refused"

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en


class InferenceError(EdgeError):
    """Base of failures of models; whatever happens to a model, care and alarms go on without it."""

    code = "inference-error"


class ModelAbsent(InferenceError):
    """No bundle of that task serves at this node."""

    code = "model-absent"
    retry = Retry.SAFE


class NotForPatients(InferenceError):
    """The model's weights saw phantoms alone, the study is a patient's, and this node is not set up for research."""

    code = "model-not-for-patients"


class EngineFailed(InferenceError):
    """The worker could not start, died, or gave no answer that can be used; the reason is one of `bundle.Refusal`."""

    code = "engine-failed"
    retry = Retry.SAFE

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class EngineLate(EngineFailed):
    """The worker did not answer within the model's deadline, and was ended."""

    code = "engine-late"

    def __init__(self, detail: str) -> None:
        super().__init__(Refusal.TOO_SLOW, detail)
