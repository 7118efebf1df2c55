"""SIGKILL at any moment: the same command goes on, to what an undisturbed run comes to, bit for bit."""

import campaign
import pytest
import reading
import user_code

pytestmark = pytest.mark.process


@pytest.mark.parametrize("kills, seed", [(3, 2), pytest.param(10, 1, marks=pytest.mark.slow)])
def test_kills_change_nothing(start, undisturbed, tmp_path, kills, seed):
    run_dir = tmp_path / "run"
    found = campaign.run(lambda: start(*user_code.LONG, f"--run_dir={run_dir}"), reading.OnDisk(run_dir), kills, seed)

    report = reading.report(run_dir)
    assert len(found.kills) == kills
    assert report["attempts"] == found.attempts
    assert (report["status"], report["step"]) == ("finished", user_code.TOTAL)
    assert report["examples_seen"] == 8 * 1000
    reading.require_equal(undisturbed, run_dir)
