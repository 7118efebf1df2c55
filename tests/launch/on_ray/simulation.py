"""A Ray cluster, a fit() and its workers, as far as a driver sees them: moved by seconds and by a seed, without Ray.

A history is a list of (second, event). What Ray Train does by itself is here as launch/on_ray/driver.py finds it: a group
that lost a worker is started again within the same fit(), and waits for ever where there is no room.
"""

import random

from launch.on_ray import commands, private_ray
from launch.on_ray.cluster import Cluster, PlacementSettings
from launch.on_ray.commands import Room, World
from launch.on_ray.decisions import Decisions, State
from launch.on_ray.hang_detector import HangLimits
from launch.on_ray.placement import fitting
from launch.on_ray.restart_policy import RestartPolicy, exit_status
from launch.on_ray.status_board import Controller, Heartbeat, Member, Outcome, Snapshot
from launch.on_ray.vitals import Vitals
from trainer.base.errors import TrainingError
from trainer.lifecycle.stop_requests import StopReason

LIMITS = HangLimits(silence=8, step_seconds=12, slow=150, times=4)
PLACEMENT = {"patience": 60, "start": 40, "replacement": 10}
SECONDS_PER_SAVE, TOTAL = 5, 60


class Broken(AssertionError):
    """What must never happen has happened."""


class Worker:
    def __init__(self, node, begins):
        self.node, self.begins, self.alive = node, begins, True
        self.tried = False  # to end it
        self.hanging, self.hangs_since, self.seen = "", 0.0, None  # seen: when its last heartbeat came


class Fit:
    """fit(): placing -> up -> over, and again from placing when a worker has died."""

    def __init__(self, number, count, now, rng):
        self.number, self.count = number, count
        self.workers, self.phase, self.group, self.since = [], "placing", "", now
        self.deaf, self.endless = rng.random() < 0.1, rng.random() < 0.01  # a controller that does not listen
        self.ends_at = self.error = None
        self.outcomes, self.asked, self.asked_at, self.untold = {}, StopReason.NONE, 0.0, False


class Simulation:
    """One history; `run` moves it to its end and raises Broken where an invariant does not hold.

    Args:
      seed: of everything random.
      strategy: Ray's placement strategy.
    """

    def __init__(self, seed, strategy="PACK"):
        self.rng = rng = random.Random(seed)
        self.nodes = {f"n{i}": rng.choice((1, 2)) for i in range(rng.randint(1, 3))}
        self.leaving, self.stolen, self.strategy = set(), dict.fromkeys(self.nodes, 0), strategy
        self.least = rng.randint(1, 2)
        self.most = rng.randint(self.least, 4)
        self.policy = {"crashes": rng.randint(2, 8), "preemptions": -1, "without_progress": rng.randint(1, 4)}
        cluster = Cluster(
            placement=lambda: PlacementSettings(strategy=strategy, **PLACEMENT),
            restart_policy=lambda: RestartPolicy(**self.policy),
            hang_limits=lambda: LIMITS,
        )
        self.decisions = Decisions(cluster, (self.least, self.most))
        self.now, self.fit, self.fits, self.groups, self.saved, self.step = 1000.0, None, 0, 0, -1, 0
        self.request, self.deaths, self.status, self.said_at, self.look = StopReason.NONE, [], None, self.now, 0
        self.waits, self.room_for, self.untold_deaths = 0, 0, False
        self.given_up, self.log, self.deaths_without_progress, self.reserving = [], [], 0, 0
        self.told_enough = 0
        self.enough_for = rng.choice((self.most, self.most, rng.randint(self.least, self.most)))
        self.quiet_from = self.now + rng.randint(20, 120)  # no more faults from then on
        self.faults = rng.sample(list(FAULTS), rng.randint(1, 4))

    def run(self, seconds=1200):
        while self.status is None:
            if self.now > 1000 + seconds:
                raise Broken(f"no end: {self.decisions.state}")
            tick = self.rng.choice((1.0, 1.0, 2.0)) if self.rng.random() > 0.01 else 40.0  # it was stopped meanwhile
            self.now += tick
            if self.now < self.quiet_from and self.rng.random() < 0.12:
                getattr(self, self.rng.choice(self.faults))()
            self.move(tick)
            world = self.world()
            self.room_for, self.untold_deaths = world.room.possible, bool(world.board.deaths)
            if tick > 10:
                self.said_at = self.now
            for command in self.decisions.decide(world):
                self.log.append((self.now, command))
                self.carry_out(command, world)
            state = self.decisions.state
            self.waits = self.waits + tick if state is State.WAITING else 0
            if state in (State.RUNNING, State.OVER):
                self.said_at = self.now
            elif self.now - self.said_at > 10:
                raise Broken(f"nothing said for {self.now - self.said_at} s in {state}")
            self.require_hangs_are_found(tick)
        return self.status

    # What the driver sees.

    def free(self):
        used = {}
        for fit in [self.fit, *self.given_up]:
            for worker in fit.workers if fit is not None else ():
                if worker.alive:
                    used[worker.node] = used.get(worker.node, 0) + 1
        return {n: {"CPU": max(0, c - self.stolen[n] - used.get(n, 0))} for n, c in self.nodes.items()}

    def world(self):
        free, fit = {n: dict(r) for n, r in self.free().items() if n not in self.leaving}, self.fit
        running = fit is not None and fit.phase != "over"
        for worker in fit.workers if running else ():
            if worker.node in free:
                free[worker.node]["CPU"] += 1
        whole = {n: {"CPU": c} for n, c in self.nodes.items() if n not in self.leaving}
        self.look += self.rng.random() < 0.7
        places = fitting({n: r for n, r in self.free().items() if n not in self.leaving}, {"CPU": 1}, self.strategy)
        reserved = self.reserving if places >= self.reserving and self.rng.random() < 0.7 else 0
        possible, capacity = (fitting(each, {"CPU": 1}, self.strategy) for each in (free, whole))
        room = Room(self.look, possible, capacity, frozenset(self.leaving), reserved)
        error = (fit.error or "") if fit else ""
        return World(self.now, self.request, self.saved, room, running, error, self.board(), self.vitals())

    def vitals(self):
        """What the nodes tell of processes that send no heartbeats, most of the time."""
        up = enumerate(self.fit.workers) if self.fit is not None and self.fit.phase == "up" else ()
        told = {"silent": Vitals.STOPPED, "locked": Vitals.RUNNING}
        return {
            rank: told[worker.hanging]
            for rank, worker in up
            if worker.alive and worker.hanging in told and (worker.hanging == "locked" or self.rng.random() < 0.8)
        }

    def board(self):
        fit, (deaths, self.deaths) = self.fit, (self.deaths, [])
        full = fit is not None and fit.phase == "placing" and self.now - fit.since >= 12
        controller = Controller("c", full)
        if fit is None or not fit.group:
            return Snapshot("", (), controller, {}, dict(fit.outcomes) if fit else {}, [], deaths, self.told_enough)
        members = tuple(Member(i, "h", w.node, i, "a", "", "x", "p") for i, w in enumerate(fit.workers))
        # Who hangs has not reached the collective in which the others wait.
        waiting = any(w.hanging for w in fit.workers)
        beats = {
            i: (Heartbeat("stepping", self.step + (waiting and not w.hanging), self.step), self.now - w.seen)
            for i, w in enumerate(fit.workers)
            if w.seen is not None
        }
        return Snapshot(fit.group, members, controller, beats, dict(fit.outcomes), [], deaths, self.told_enough)

    # What moves by itself.

    def move(self, tick):
        fit = self.fit
        if fit is None or fit.phase == "over":
            return
        if fit.ends_at is not None and self.now >= fit.ends_at:
            self.end(fit)
        elif fit.phase == "placing" and self.now - fit.since >= 4:
            self.place(fit)
        elif fit.phase == "up":
            self.train(fit, tick)

    def place(self, fit):
        free = self.free()
        places = [n for n, r in sorted(free.items()) for _ in range(r["CPU"]) if n not in self.leaving]
        if self.strategy == "STRICT_SPREAD":
            places = sorted(set(places))
        if self.strategy == "STRICT_PACK":
            places = max(([n] * places.count(n) for n in free), key=len)
        if len(places) >= fit.count:
            self.groups += 1
            fit.group, fit.phase = str(self.groups), "up"
            fit.outcomes = {}
            if fit.untold:
                self.deaths.append({})
                fit.untold = False
            fit.workers = [Worker(n, self.now + self.rng.randint(1, 8)) for n in places[: fit.count]]

    def train(self, fit, tick):
        for worker in fit.workers:
            if worker.hanging == "locked" and self.now >= worker.locked_until:
                worker.hanging = ""
            if worker.alive and worker.hanging not in ("silent", "locked") and self.now >= worker.begins:
                worker.seen = self.now
        if not all(w.alive for w in fit.workers):
            self.deaths_without_progress += 1
            lost = {i: w.how for i, w in enumerate(fit.workers) if not w.alive}
            if self.rng.random() < 0.9:
                self.deaths.append(lost)
            else:
                fit.untold = True  # the board finds out with the next group
            for worker in fit.workers:
                worker.alive = False
            fit.phase, fit.since, fit.workers = "placing", self.now, fit.workers
            if self.rng.random() < 0.03:
                fit.error, fit.phase = f"… {private_ray.ACTOR_DIED} …", "over"
            return
        if any(w.hanging for w in fit.workers) or any(self.now < w.begins for w in fit.workers):
            return
        self.told_enough = self.enough_for
        if fit.count > self.enough_for:
            self.return_one(fit, int(StopReason.RESIZE))
            return
        if fit.asked and self.now - fit.asked_at >= 1:
            self.save()
            self.return_one(fit, int(fit.asked))
            return
        self.step += int(tick) if tick < 10 else 1
        if self.step // SECONDS_PER_SAVE > self.saved // SECONDS_PER_SAVE:
            self.save()
        if self.step >= TOTAL:
            self.return_one(fit, 0)

    def return_one(self, fit, status):
        """Workers return one after another; one may be lost meanwhile."""
        fit.outcomes[len(fit.outcomes)] = Outcome(status)
        if len(fit.outcomes) == fit.count:
            fit.ends_at = self.now + 1 if self.rng.random() > 0.03 else None  # or it does not return
            fit.phase = "returned"

    def save(self):
        if self.step > self.saved:
            self.saved, self.deaths_without_progress = self.step, 0

    def end(self, fit):
        fit.phase = "over"
        for worker in fit.workers:
            worker.alive = False

    # Faults.

    def living(self):
        up = self.fit is not None and self.fit.phase == "up"
        return [w for w in self.fit.workers if w.alive and not w.hanging] if up else []

    def die(self):
        if there := self.living():
            self.kill(self.rng.choice(there), "killed")

    def kill(self, worker, how):
        worker.alive, worker.how = False, how

    def one_that_trains(self):
        """A worker of a group of which nobody hangs or has returned."""
        there = [w for w in self.living() if w.seen is not None]
        well = there and not self.fit.outcomes and not any(w.hanging for w in self.fit.workers)
        return self.rng.choice(there) if well else None

    def hang(self):
        if (worker := self.one_that_trains()) is not None:
            worker.hanging, worker.hangs_since = self.rng.choice(("silent", "still")), self.now

    def lock(self):
        """A worker holds the interpreter's lock: it sends no heartbeats, but is at work."""
        if (worker := self.one_that_trains()) is not None:
            worker.hanging, worker.locked_until = "locked", self.now + self.rng.choice((5, 20, 60, 140))

    def lose_node(self):
        if len(self.nodes) > 1:
            node = self.rng.choice(sorted(self.nodes))
            del self.nodes[node]
            self.leaving.discard(node)
            for worker in self.living():
                if worker.node == node:
                    self.kill(worker, private_ray.NODE_DIED)

    def add_node(self):
        name = f"n{len(self.stolen)}"
        self.nodes[name], self.stolen[name] = self.rng.choice((1, 2)), 0

    def drain(self):
        self.leaving.add(self.rng.choice(sorted(self.nodes)))

    def undrain(self):
        self.leaving.clear()

    def steal(self):
        node = self.rng.choice(sorted(self.nodes))
        self.stolen[node] = self.rng.randint(0, self.nodes[node])

    def signal(self):
        self.request = max(self.request, self.rng.choice((StopReason.INTERRUPTED, StopReason.TERMINATED)))

    def bug(self):
        if self.living() and not self.fit.outcomes:
            self.fit.outcomes = {i: Outcome(1, "a bug") for i in range(self.fit.count)}
            self.fit.ends_at = self.now + 1

    # Commands.

    def carry_out(self, command, world):
        match command:
            case commands.Reserve(workers):
                self.reserving = workers
            case commands.Start(workers):
                self.reserving = 0
                if self.fit is not None and self.fit.phase != "over":
                    if not self.fit.endless:
                        raise Broken("a second fit() beside one that runs")
                    self.given_up.append(self.fit)
                if not self.least <= workers <= min(self.most, self.told_enough or self.most):
                    raise Broken(f"{workers} workers")
                self.fits += 1
                self.fit = Fit(self.fits, workers, self.now, self.rng)
                self.said_at = self.now
            case commands.Ask(reason):
                self.fit.asked, self.fit.asked_at = max(self.fit.asked, reason), self.now
            case commands.EndWorkers(hangs):
                self.said_at = self.now
                for hang in hangs:
                    worker = self.fit.workers[hang.rank]
                    worker.tried = True
                    if worker.alive and worker.hanging not in ("silent", "still"):
                        raise Broken(f"a healthy worker was ended: {hang}")
                    if self.rng.random() < 0.9:  # its node may not answer
                        self.kill(worker, "ended")
                        worker.hanging = ""
            case commands.EndFit(by_force):
                if not by_force and self.is_healthy():
                    raise Broken("a healthy group was ended")
                if not self.fit.endless and (by_force or not self.fit.deaf):
                    self.fit.ends_at = self.now + self.rng.randint(1, 4)
            case commands.FreeGroup(by_force):
                if self.fit is not None and (by_force or any(not w.alive for w in self.fit.workers)):
                    for worker in self.fit.workers:
                        self.kill(worker, private_ray.GROUP_REMOVED)
            case commands.Say():
                self.said_at = self.now
            case commands.Finish(why):
                try:
                    self.status = exit_status(world.board.outcomes, why)
                except TrainingError as error:
                    self.status = error.message
            case commands.Stopped():
                self.status = int(self.request)
            case commands.Fail(message):
                if self.room_for >= self.least and "Ray placed no group" in message and self.waits < 20:
                    raise Broken("it gave up although there is room")
                self.status = message

    def is_healthy(self):
        """Whether a group trains, or could: all of its workers have been heard of, and none was lost or hangs."""
        fit = self.fit
        up = fit.phase == "up" and not fit.outcomes and not self.request and fit.number == self.fits
        return (
            up
            and all(w.alive and w.seen is not None and w.hanging in ("", "locked") for w in fit.workers)
            and (not self.untold_deaths)
        )

    def require_hangs_are_found(self, tick):
        """Within the limit of its kind of hang; what a first step took, start-up included, is the usual at first."""
        if self.fit is None or self.fit.phase != "up" or self.decisions.state is State.ENDING:
            return
        for worker in self.fit.workers:
            worker.hangs_since += tick if tick > 10 else 0  # nobody looked
            early = LIMITS.slow if self.step < 9 else 4 * LIMITS.times  # what a start took counts in the usual step
            limit = LIMITS.silence if worker.hanging == "silent" else early
            if (
                worker.alive
                and worker.hanging in ("silent", "still")
                and self.now - worker.hangs_since > limit + 10
                and not worker.tried
            ):
                raise Broken(f"a worker that hangs ({worker.hanging}) was not ended")


FAULTS = ("die", "hang", "lock", "lose_node", "add_node", "drain", "undrain", "steal", "signal", "bug")
