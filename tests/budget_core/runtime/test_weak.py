import gc

from budget_core.runtime.weak import WeakBag, WeakValues


class Thing:
    """Everything equals it."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


def test_values_go():
    values, kept = WeakValues(), Thing()
    values["kept"], values["gone"] = kept, Thing()
    gc.collect()
    assert (values.get("kept"), values.get("gone"), values.get("never")) == (kept, None, None)
    assert values.values() == [kept]


def test_a_value_is_made_once():
    values, made = WeakValues(), []

    def make():
        made.append(Thing())
        return made[-1]

    assert values.setdefault("a", make) is values.setdefault("a", make)
    assert len(made) == 1
    made.clear()
    values.setdefault("a", make)
    assert len(made) == 1


def test_what_is_gone_takes_no_room():
    values, kept = WeakValues(), Thing()
    values["kept"] = kept
    for number in range(10_000):
        values[number] = Thing()
    assert len(values._refs) < 50
    assert values.get("kept") is kept


def test_what_is_there_stays():
    values, kept = WeakValues(), [Thing() for _ in range(1_000)]
    for number, thing in enumerate(kept):
        values[number] = thing
    assert all(values.get(number) is thing for number, thing in enumerate(kept))
    values.pop(5)
    values.pop(5)
    assert values.get(5) is None


def test_a_bag_tells_members_apart_by_what_they_are():
    bag, one, other = WeakBag(), Thing(), Thing()
    bag.add(one)
    bag.add(one)
    assert one in bag
    assert other not in bag
    assert len(list(bag)) == 1
    bag.discard(other)
    assert bag
    bag.discard(one)
    assert not bag


def test_members_go():
    bag = WeakBag()
    bag.add(Thing())
    gc.collect()
    assert not bag
    assert list(bag) == []
