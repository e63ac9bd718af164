"""The audit: which operations act on running means, and which share of the nonlinear ones is computed by spikes."""

from tests.simulate.networks import ann, balanced, samples

from spikeloom.simulate import SpikingModel
from spikeloom.simulate.audit import Audit, AuditRow


def test_functions_and_products_act_on_running_means_and_what_carries_a_membrane_does_not() -> None:
    program = balanced(ann("gate"))
    found = SpikingModel(program).audit(samples(program, 8))
    (product,) = [name for name in found.running_means if name.startswith("mul")]
    assert set(found.running_means) == {"spike_gelu", "spike_sigmoid", product}
    assert set(found.running_means) <= set(found.nonlinear)
    assert f"spike_{product}" not in found.nonlinear
    assert found.nonlinear_share == 1.0


def test_what_stays_floating_and_what_reads_no_spikes_is_no_share_of_them() -> None:
    rows = (AuditRow("matmul", "matmul", "softmax", 40, 0), AuditRow("mul", "mul", "x", 0, 0, analog=True))
    found = Audit(rows, ("softmax: aten.softmax.int: kept",), (), ("softmax", "matmul", "mul", "spike_exp"), {})
    assert found.nonlinear_share == 0.5
    assert Audit((), (), (), (), {}).nonlinear_share == 1.0
