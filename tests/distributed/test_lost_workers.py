"""Who was lost, from what TensorFlow 2.21 said when real workers were killed, stopped, or ended by themselves."""

import json

import pytest
import tensorflow as tf

from trainer.distributed import lost_workers

ADDRESSES = ["a:1", "b:2", "c:3", "d:4"]
HERE = "{{function_node __wrapped__CollectiveReduceV2_Nordering_token_1_device_/job:worker/replica:0/task:1/device:CPU:0}} "
ABORTED = "Collective ops is aborted by: "
END = "\nThe error could be from a previous operation. Restart your program to reset. [Op:CollectiveReduceV2] name: "
END += "\n  In call to configurable 'run' (<function run at 0x7f0f1e57ade0>)"
RESET = (
    "recvmsg:Connection reset by peer\nAdditional GRPC error information from remote target "
    "/job:worker/replica:0/task:{} while calling /tensorflow.WorkerService/RecvBuf:\n"
    ':UNKNOWN:Error received from peer  {{grpc_status:14, grpc_message:"recvmsg:Connection reset by peer"}}'
)
PASSED_ON = (
    ABORTED + RESET.format(2) + "\nThe error could be from a previous operation. Restart your program to reset."
    "\nAdditional GRPC error information from remote target /job:worker/replica:0/task:3 while calling "
    '/tensorflow.WorkerService/RecvBuf:\n:UNKNOWN:Error received from peer  {grpc_message:"Collective ops is aborted by: …'
)
REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:56875: Failed to connect to remote host"
)
FAILED = (
    "Failed to send RPC to coordination service. Either the leader task was preempted/died/restarted unexpectedly or this "
    "task is experiencing network issues. Check earlier logs from 1) this task, 2) the leader (usually slice 0 task 0), "
    "and 3) cluster scheduler to debug further.\nAdditional GRPC error information from remote target "
    "/job:worker/replica:0/task:0 while calling /tensorflow.CoordinationService/Heartbeat:\n"
    f':UNKNOWN:Error received from peer  {{grpc_message:"{REFUSED}", grpc_status:14}}'
)
SILENT = (
    "Error reported from /job:worker/task:2: The following tasks are unhealthy (stopped sending heartbeats):\n{}\nThe tasks "
    "have crashed. Check the task logs for an earlier error, or scheduler events (e.g. preemption, eviction) to debug further."
)
NAME = "/job:worker/replica:0/task:"
STAGED = (
    "in user code:\n\n    File \"/w/trainer/step/variables.py\", line 17, in replicated\n        return tf.Variable(value)\n\n"
    "    UnavailableError: {{function_node __wrapped__CollectiveBcastSend_device_/job:worker/replica:0/task:1/device:CPU:0}} "
    + ABORTED + SILENT.format(f"    {NAME}2").replace("\nThe", "\n    The") + "\n"
)  # fmt: skip
GRAPH = (
    "Graph execution error:\n\nDetected at node while/CollectiveReduceV2 defined at (most recent call last):\n"
    f'  File "<frozen runpy>", line 198, in _run_module_as_main\n\n{ABORTED}{RESET.format(0)}'
    "\nThe error could be from a previous operation. Restart your program to reset.\n\t [[{{node while/CollectiveReduceV2}}]]"
    " [Op:__inference_train_block_3640]"
)
UNANSWERED = "Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat"
GIVEN_UP = (
    f"Unexpected heartbeat request from an already-in-error task: {NAME}1 with existing error: UNAVAILABLE: Task {NAME}1 "
    "heartbeat timeout. This indicates that the remote task has failed, got preempted, or crashed unexpectedly.\n\n"
    "RPC: /tensorflow.CoordinationService/Heartbeat"
)
CONNECTING = (
    "Socket closed\nAdditional GRPC error information from remote target /job:worker/replica:0/task:0 while calling "
    "/tensorflow.CoordinationService/WaitForAllTasks:\n:UNKNOWN:Error received from peer"
)
BARRIER = (
    f"Barrier failed because: task is set to ERROR: UNAVAILABLE: Task {NAME}3 heartbeat timeout. This indicates that the "
    "remote task has failed. Barrier Id: WaitForAllTasks::3711240318838090863::0, Task: /job:worker/replica:0/task:3\n"
    "Additional GRPC error information from remote target /job:worker/replica:0/task:0 while calling "
    "/tensorflow.CoordinationService/WaitForAllTasks:\n:UNKNOWN:Error received from peer"
)
SERVICE = "\nAdditional GRPC error information from remote target /job:worker/replica:0/task:0 while calling "
LATE = (
    "Barrier timed out. Id: WaitForAllTasks::12252796796225225408::0. This usually happens because a task triggered the "
    "barrier too early or too slowly. Please look at the task logs (both timed out and first task) to debug further.\n"
    f"# of tasks that reached the barrier: 1/4.\nThe first task at the barrier: {NAME}0. Some timed out task names:\n"
    f"{NAME}2\n{NAME}3\n{SERVICE}/tensorflow.CoordinationService/WaitForAllTasks:\n:UNKNOWN:Error received from peer"
)
NOBODY = f"Deadline Exceeded{SERVICE}/tensorflow.CoordinationService/RegisterTask:\n:UNKNOWN:Error received from peer"
RESTARTED = (
    "Leader incarnation ID mismatch: the coordination leader (usually slice 0 task 0) has restarted. Check for earlier "
    "errors or any scheduler events (e.g. preemption, eviction) to debug further."
)
GONE = "worker {} was lost, and may have said why"
# What each is of, the error, and what is said of it.
LOSSES = {
    "its process is gone": (tf.errors.UnavailableError, HERE + ABORTED + RESET.format(2) + END, GONE.format("2 (c:3)")),
    "nothing listens there": (
        tf.errors.UnavailableError, HERE + ABORTED + RESET.format(0).replace("recvmsg", REFUSED) + END,
        GONE.format("0 (a:1)"),
    ),
    "another passes it on": (tf.errors.UnavailableError, HERE + ABORTED + PASSED_ON + END, GONE.format("2 (c:3)")),
    "it sends no heartbeats": (
        tf.errors.UnavailableError, HERE + ABORTED + SILENT.format(f"{NAME}2") + END, GONE.format("2 (c:3)"),
    ),
    "two send none": (
        tf.errors.UnavailableError, HERE + ABORTED + SILENT.format(f"{NAME}3\n{NAME}2") + END,
        "worker 2 (c:3) and worker 3 (d:4) were lost, and may have said why",
    ),
    "while a graph is traced": (tf.errors.UnavailableError, STAGED, GONE.format("2 (c:3)")),
    "in a graph": (tf.errors.UnavailableError, GRAPH, GONE.format("0 (a:1)")),
    "the first is gone": (tf.errors.UnavailableError, HERE + ABORTED + FAILED + END, GONE.format("0 (a:1)")),
    "the first does not answer": (
        tf.errors.DeadlineExceededError, HERE + ABORTED + UNANSWERED + END, GONE.format("0 (a:1)"),
    ),
    "the first has begun anew": (tf.errors.AbortedError, HERE + ABORTED + RESTARTED + END, "another worker was lost, and may have said why"),
    "this one was stopped, and goes on": (
        tf.errors.AbortedError, HERE + ABORTED + GIVEN_UP + END,
        "this worker was silent for so long that the others gave it up",
    ),
    "the first, before all were there": (tf.errors.UnavailableError, CONNECTING, GONE.format("0 (a:1)")),
    "the first did not come": (tf.errors.DeadlineExceededError, NOBODY, GONE.format("0 (a:1)")),
    "two did not come": (
        tf.errors.DeadlineExceededError, LATE, "worker 2 (c:3) and worker 3 (d:4) were lost, and may have said why",
    ),
    "one, before all were there": (tf.errors.InternalError, BARRIER, GONE.format("3 (d:4)")),
}  # fmt: skip


def config(monkeypatch, addresses=ADDRESSES, **more):
    cluster = {"worker": addresses, **more}
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))


@pytest.mark.parametrize("kind, text, says", LOSSES.values(), ids=LOSSES)
def test_who_was_lost(monkeypatch, kind, text, says):
    config(monkeypatch)
    loss = lost_workers.of(kind(None, None, text))
    assert loss is not None and loss.said == says


def test_who_has_noticed_a_loss_itself_knows_more_than_the_others(monkeypatch):
    config(monkeypatch)
    direct, told, given_up = (ABORTED + each for each in (RESET.format(2), SILENT.format(f"{NAME}2"), GIVEN_UP))
    known = lambda text: lost_workers.of(tf.errors.UnavailableError(None, None, text)).known
    assert not known(direct) and not known(ABORTED + PASSED_ON) and known(told) and known(given_up)
    config(monkeypatch, ADDRESSES[:2])
    assert known(ABORTED + RESET.format(0)), "there is nobody else"


def test_a_chief_is_rank_0_and_worker_0_is_rank_1(monkeypatch):
    config(monkeypatch, chief=["e:5"])
    for name, says in (("chief/replica:0/task:0", "0 (e:5)"), ("worker/replica:0/task:0", "1 (a:1)")):
        text = ABORTED + RESET.format(0).replace("worker/replica:0/task:0", name)
        assert lost_workers.of(tf.errors.UnavailableError(None, None, text)).said == GONE.format(says)


# A collective of ranks that do not compute the same is aborted, too, but nobody was lost.
OTHERS = {
    "a bug": ZeroDivisionError("division by zero"),
    "a file that cannot be read": tf.errors.UnavailableError(None, None, "Error executing an HTTP request: HTTP 503"),
    "user code that wraps it": RuntimeError(ABORTED + RESET.format(2)),
    "different shapes": tf.errors.InvalidArgumentError(None, None, HERE + ABORTED + "Shape mismatch in the collective"),
}


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_other_errors_are_none(monkeypatch, error):
    config(monkeypatch)
    assert lost_workers.of(error) is None


def test_a_process_by_itself_loses_nobody(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert lost_workers.of(tf.errors.UnavailableError(None, None, ABORTED + RESET.format(2))) is None
