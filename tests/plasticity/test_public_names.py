"""The public names of the package are those it lists, each there, sorted as the linter sorts them."""

from spikeloom import plasticity


def test_names_are_there_and_none_twice() -> None:
    assert len(set(plasticity.__all__)) == len(plasticity.__all__)
    for name in plasticity.__all__:
        assert getattr(plasticity, name) is not None


def test_every_rule_is_a_value() -> None:
    """Frozen and compared by its parameters, so that it can be a field of a configuration or of a search."""
    for one, same, other in (
        (plasticity.STDP(1.0, 1.0, 20.0, 20.0), plasticity.STDP(1.0, 1.0, 20.0, 20.0), plasticity.SONG_2000),
        (plasticity.ThreeFactor(0.9), plasticity.ThreeFactor(0.9), plasticity.ThreeFactor(0.8)),
        (plasticity.Window(8, 0.9), plasticity.Window(8, 0.9), plasticity.Window(4, 0.9)),
        (plasticity.BCM(0.1, 50.0), plasticity.BCM(0.1, 50.0), plasticity.BCM(0.1, 60.0)),
    ):
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
