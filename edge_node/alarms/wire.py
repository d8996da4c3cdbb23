"""Steps of alarms as they are stored and travel."""

from telemed.v1 import alarm_pb2, event_pb2

from edge_node.samples.alarm import Finding, Phase, Priority, Step, Who


def to_wire(step: Step) -> alarm_pb2.AlarmEvent:
    """Return the message for one step."""
    found = step.finding
    return alarm_pb2.AlarmEvent(
        alarm_id=step.alarm_id,
        alarm_seq=step.seq,
        phase=alarm_pb2.Phase.ValueType(step.phase),
        priority=alarm_pb2.Priority.ValueType(found.priority),
        condition=found.condition,
        technical=found.technical,
        bed=found.bed,
        device=found.device,
        person_id=step.person_id,
        measure=found.measure,
        value=found.value,
        unit=found.unit,
        limit=found.limit,
        onset_unix_ns=found.onset_ns,
        at_unix_ns=step.at_ns,
        ruleset_id=step.ruleset_id,
        ruleset_version=step.ruleset_version,
        latching=found.latching,
        actor=actor_of(step.who) if step.who is not None else None,
        note=step.note,
        until_unix_ns=step.until_ns,
        cause_event_id=step.cause_event_id,
        useful=step.useful,
        late=found.late,
    )


def from_wire(event: alarm_pb2.AlarmEvent) -> Step:
    """Return the step that a stored message describes.

    Raises:
        ValueError: a phase or priority that this version does not know.
    """
    finding = Finding(
        condition=event.condition,
        priority=Priority(event.priority),
        bed=event.bed,
        device=event.device,
        measure=event.measure,
        value=event.value,
        unit=event.unit,
        limit=event.limit,
        technical=event.technical,
        latching=event.latching,
        onset_ns=event.onset_unix_ns,
        late=event.late,
    )
    return Step(
        alarm_id=event.alarm_id,
        seq=event.alarm_seq,
        phase=Phase(event.phase),
        at_ns=event.at_unix_ns,
        finding=finding,
        person_id=event.person_id,
        who=who_of(event.actor) if event.HasField("actor") else None,
        note=event.note,
        useful=event.useful,
        until_ns=event.until_unix_ns,
        cause_event_id=event.cause_event_id,
        ruleset_id=event.ruleset_id,
        ruleset_version=event.ruleset_version,
    )


def actor_of(who: Who) -> event_pb2.Actor:
    """Return a person as the wire names them."""
    return event_pb2.Actor(username=who.username, role=who.role, name_zh=who.name_zh, name_en=who.name_en)


def who_of(actor: event_pb2.Actor) -> Who:
    """Return the person that the wire names."""
    return Who(actor.username, actor.role, actor.name_zh, actor.name_en)
