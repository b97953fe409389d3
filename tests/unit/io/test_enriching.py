"""The cache of lookups, and what a lookup adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.requestresponse import UserCodeQuotaException, UserCodeTimeoutException

from thingbeam.io.enriching import CachedLookup, LookupCache
from thingbeam.io.writing import Again, Throttled


def test_what_is_found_is_kept_for_a_while_and_nothing_for_less() -> None:
    now = [0.0]
    cache = LookupCache(10, 60, 5, clock=lambda: now[0])
    cache.put("a", {"x": 1})
    cache.put("b", None)
    now[0] = 4.9
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ((True, {"x": 1}), (True, None), (False, None))
    now[0] = 5.0
    assert cache.get("b") == (False, None)
    now[0] = 60.0
    assert cache.get("a") == (False, None)
    assert len(cache) == 0


def test_the_one_that_was_not_asked_for_longest_goes() -> None:
    cache = LookupCache(2, 60, 60)
    cache.put("a", {})
    cache.put("b", {})
    cache.get("a")
    cache.put("c", {})
    assert [cache.get(key)[0] for key in "abc"] == [True, False, True]


class Registry(CachedLookup):
    """A dict."""

    asked: list[Any]

    def open(self) -> None:
        self.asked = []

    def find(self, key: Any) -> Mapping[str, Any] | None:
        self.asked.append(key)
        if key == "slow":
            raise Throttled("slow down")
        if key == "away":
            raise Again("cut")
        return {"d1": {"name": "Lamp"}}.get(key)


def test_fields_are_added_and_the_unknown_are_none() -> None:
    with Registry("device", {"name": "label"}) as lookup:
        for device, label in (("d1", "Lamp"), ("d2", None), ("d1", "Lamp"), ("d2", None), (None, None)):
            request, found = lookup(beam.Row(device=device))
            assert (request.device, found.label) == (device, label)
        assert lookup.asked == ["d1", "d2"]


def test_what_may_pass_is_tried_again_by_beam() -> None:
    with Registry(lambda row: row.device, ["name"]) as lookup:
        with pytest.raises(UserCodeQuotaException, match="slow down"):
            lookup(beam.Row(device="slow"))
        with pytest.raises(UserCodeTimeoutException, match="cut"):
            lookup(beam.Row(device="away"))


@pytest.mark.parametrize("add", [[], ["a", "a"], {"a": "x", "b": "x"}])
def test_names_are_each_once(add: Any) -> None:
    with pytest.raises(ValueError, match="each once"):
        Registry("device", add)
