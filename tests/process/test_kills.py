"""SIGKILL at any moment: the same command goes on, to what an undisturbed run comes to, bit for bit."""

import campaign
import pytest
import reading
import user_code

pytestmark = pytest.mark.process


def test_ten_kills_change_nothing(start, undisturbed, tmp_path):
    run_dir = tmp_path / "run"
    found = campaign.run(lambda: start(*user_code.LONG, f"--run_dir={run_dir}"), run_dir, kills=10, seed=1)

    report = reading.report(run_dir)
    assert len(found.kills) == 10
    assert report["attempts"] == found.attempts
    assert (report["status"], report["step"]) == ("finished", user_code.TOTAL)
    assert report["examples_seen"] == 8 * 1000
    reading.require_equal(undisturbed, run_dir)
