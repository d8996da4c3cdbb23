"""The rights of all roles against the table written by hand from clinical 9.1."""

import pytest
from telemed.roles import AT_BEDSIDE, GRANTS, MACHINES, OWN_ONLY, REGIONAL, Reach, Right, Role, reach

from tests.rights.table import REACH_OF, rows

CELLS = [
    (role, Right(row["right"]), REACH_OF[row[role]])
    for row in rows("clinical_9_1.csv")
    for role in set(Role) - MACHINES
]


def test_the_table_names_every_right_and_every_role_of_people() -> None:
    assert [right for role, right, _ in CELLS if role is Role.CLINIC] == list(dict.fromkeys(row for _, row, _ in CELLS))
    assert {right for _, right, _ in CELLS} == set(Right)
    assert set(GRANTS) == set(Role)


@pytest.mark.parametrize(("role", "right", "how_far"), sorted(CELLS, key=str))
def test_each_role_has_exactly_what_clinical_9_1_gives_it(role: Role, right: Right, how_far: Reach | None) -> None:
    assert reach(role, right) is how_far


def test_a_role_nobody_knows_and_a_node_may_do_nothing() -> None:
    assert not any(reach(unknown, right) for unknown in ("", "node", "king") for right in Right)


def test_where_an_account_without_sites_serves_the_region_its_role_reaches_over_it() -> None:
    wide = {Reach.REGION, Reach.TREATED}
    assert {role for role in Role if wide & set(GRANTS[role].values())} - {Role.CLINIC} == REGIONAL
    assert {role for role in Role if Reach.OWN in GRANTS[role].values()} == OWN_ONLY
    assert not any(Right.SEE_VITALS not in GRANTS[role] for role in AT_BEDSIDE)
