"""The promise on the first page: the same count of darts, whoever is killed while they are thrown."""

from __future__ import annotations

import random

from killing import through_kills

import oche
from farms import Farm

#: Hits of seed 0 among so many darts.
DARTS, HITS = 10**9, 785_399_355


def test_children_killed_amid_the_darts_change_no_digit(farm: Farm, chance: random.Random) -> None:
    thrown = through_kills(farm, chance, lambda cluster: oche.pi(DARTS, cluster=cluster), most=3)
    assert thrown.inside == HITS
