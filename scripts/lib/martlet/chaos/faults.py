"""The faults: each a function of a running round, which breaks something, waits and may mend it.

What a fault leaves broken is mended after it (`World.revive`), so a fault only mends by itself what
belongs to its story. All waiting is bounded.
"""

import os
import signal
import subprocess
import time

CLUSTER, SENTINEL = "cluster", "sentinel"
BOTH = (CLUSTER, SENTINEL)
CATALOGUE = {}


class Fault:
    def __init__(self, name, about, run, worlds, needs, takes_turns):
        self.name, self.about, self.run = name, about, run
        self.worlds, self.needs, self.takes_turns = worlds, needs, takes_turns


def fault(name, about, worlds=BOTH, needs=(), takes_turns=False):
    """`needs`: cut and slow (the network), levers (the preloaded library), disk (of its own): not
    every world has them. `takes_turns`: primaries change more than once, so that two nodes may
    both have taken a lane's writes without any harm."""

    def register(function):
        CATALOGUE[name] = Fault(name, about, function, worlds, needs, takes_turns)
        return function

    return register


# Processes


@fault("kill", "kill -9 of a primary; it comes back when its slots can be written again")
def kill(run):
    victim = run.primary()
    run.hit("kill -9 %s" % victim.name)
    victim.kill()
    run.until_writable(25)
    run.mark("start %s" % victim.name)
    victim.start(wait=False)


@fault("term", "SIGTERM of a primary")
def term(run):
    victim = run.primary()
    run.hit("SIGTERM %s" % victim.name)
    victim.process.send(signal.SIGTERM)
    run.until_writable(25)
    victim.process.wait(15)
    run.mark("start %s" % victim.name)
    victim.start(wait=False)


@fault("stop", "SIGSTOP of a primary for a while, then SIGCONT")
def stop(run):
    victim = run.primary()
    run.hit("SIGSTOP %s" % victim.name)
    victim.pause()
    run.hold(run.long)
    run.until_writable(20)
    run.mark("SIGCONT %s" % victim.name)
    victim.resume()


@fault("kill-replica", "kill -9 of a replica")
def kill_replica(run):
    victim = run.chance.choice(run.world.replicas_of(run.primary()))
    run.hit("kill -9 %s" % victim.name)
    victim.kill()
    run.hold(2)
    run.mark("start %s" % victim.name)
    victim.start(wait=False)


@fault("kill-two", "kill -9 of two of three primaries at once", worlds=(CLUSTER,))
def kill_two(run):
    victims = run.chance.sample(run.world.primaries(), 2)
    run.hit("kill -9 %s" % " and ".join(v.name for v in victims))
    for victim in victims:
        victim.process.send(signal.SIGKILL)
    if not run.until_writable(run.options.timeout / 1e3 + 12):
        run.mark("not writable again by itself: starting both")
    for victim in victims:
        victim.process.wait(5)
        victim.start(wait=False)


@fault("restart-storm", "kill -9 and start of one random node after another, for 10 s",
       takes_turns=True)
def restart_storm(run):
    run.hit("restart storm begins")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        victim = run.chance.choice(run.world.nodes)
        run.mark("kill -9 and start %s" % victim.name)
        victim.kill()
        victim.start(wait=False)
        run.hold(run.chance.uniform(0.2, 1.2))
    run.mark("restart storm ends")


@fault("rolling-restart", "SIGTERM and start of every node in turn", takes_turns=True)
def rolling_restart(run):
    run.hit("rolling restart begins")
    for node in run.world.nodes:
        node.process.send(signal.SIGTERM)
        node.process.wait(20)
        node.start(wait=False)
        run.world.settle(40)
        run.mark("%s restarted" % node.name)


# The network


@fault("partition-pair", "two primaries cannot reach each other (all others can)",
       worlds=(CLUSTER,), needs=("cut",))
def partition_pair(run):
    one, other = run.chance.sample(run.world.primaries(), 2)
    run.hit("cut %s | %s" % (one.name, other.name))
    run.world.wire.cut([one.name], [other.name])
    run.hold(run.long)
    run.heal()


@fault("partition-one-way", "what a primary sends to other servers is lost, what they send arrives",
       needs=("cut",))
def partition_one_way(run):
    victim = run.primary()
    others = run.others([victim])
    run.hit("cut %s -> %s" % (victim.name, " ".join(others)))
    run.world.wire.cut([victim.name], others, both=False)
    run.hold(run.long)
    run.until_writable(20)
    run.heal()


@fault("partition-minority", "a primary is cut off from all servers; clients reach both sides",
       needs=("cut",))
def partition_minority(run):
    victim = run.primary()
    side = [victim.name] + ([run.world.sentinels[0].name] if run.world.sentinels else [])
    run.divide(side)
    run.hold(run.long)
    run.until_writable(20)
    run.heal()


@fault("partition-majority", "two primaries (and a sentinel) on one side, the rest on the other",
       worlds=(CLUSTER,), needs=("cut",))
def partition_majority(run):
    side = run.world.names(run.chance.sample(run.world.primaries(), 2))
    side += [run.world.sentinels[0].name] if run.world.sentinels else []
    run.divide(side)
    run.hold(run.long + 2)
    run.heal()


@fault("loss", "a third of the packets from and to a primary is lost", needs=("slow",))
def loss(run):
    victim = run.primary()
    run.hit("30 %% loss at %s" % victim.name)
    run.world.wire.slow(victim.name, loss=0.3, seed=run.chance.random())
    run.hold(run.long + 2)
    run.heal()


@fault("delay", "50 ms (and up to 30 more or less) for every packet from and to a primary",
       needs=("slow",))
def delay(run):
    victim = run.primary()
    run.hit("50 +- 30 ms delay at %s" % victim.name)
    run.world.wire.slow(victim.name, delay=0.05, jitter=0.03, seed=run.chance.random())
    run.hold(run.long + 2)
    run.heal()


# Clock and disk


@fault("clock-step", "the wall clock of a primary jumps an hour ahead, later two hours back",
       needs=("levers",))
def clock_step(run):
    victim = run.primary()
    levers = run.world.levers[victim.name]
    run.hit("clock of %s +1 h" % victim.name)
    levers.step_clock(3600)
    run.hold(run.long)
    run.mark("clock of %s -1 h" % victim.name)
    levers.step_clock(-3600)
    run.hold(run.long)
    run.mark("clock of %s right again" % victim.name)
    levers.reset()
    run.hold(1)


@fault("disk-full", "the disk of a primary is full for a while", needs=("disk",))
def disk_full(run):
    victim = run.primary()
    run.hit("disk of %s full" % victim.name)
    filler = os.path.join(victim.folder, "filler")
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1 << 16))
        except OSError:
            pass
        try:  # and the pages that a smaller write would still find
            while True:
                file.write(b"\0" * 512)
        except OSError:
            pass
    run.hold(run.long)
    run.mark("disk of %s has room again" % victim.name)
    os.unlink(filler)
    run.until_writable(20)


@fault("disk-slow", "every sync to the disk of a primary takes 2.5 s", needs=("levers",))
def disk_slow(run):
    victim = run.primary()
    run.hit("disk of %s slow" % victim.name)
    run.world.levers[victim.name].slow_disk(2.5)
    run.hold(run.long + 4)
    run.mark("disk of %s well again" % victim.name)
    run.world.levers[victim.name].reset()


# Resharding


def reshard(run, slots=300):
    """redis-cli moves slots from one primary to another; returns the process and both ends."""
    source, target = run.chance.sample(run.world.primaries(), 2)
    ids = {(row.host, row.port): row.id for row in run.world.table()}
    command = [
        "redis-cli", "--cluster", "reshard", "%s:%d" % (source.host, source.port),
        "--cluster-from", ids[source.host, source.port],
        "--cluster-to", ids[target.host, target.port],
        "--cluster-slots", str(slots), "--cluster-yes", "--cluster-pipeline", "50",
    ]
    run.mark("moving %d slots from %s to %s" % (slots, source.name, target.name))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, source, target


def mend_slots(run):
    """What an operator does after a broken reshard, if slots are left half-way."""
    node = run.world.primaries()[0]
    if any(row.moving for each in run.world.alive() for row in run.world.table(each)):
        run.mark("redis-cli --cluster fix")
        address = "%s:%d" % (node.host, node.port)
        run.world.cli("--cluster", "fix", address, "--cluster-yes", limit=60, check=False)


@fault("reshard", "300 slots move from one primary to another under writes", worlds=(CLUSTER,),
       takes_turns=True)
def reshard_alone(run):
    run.hit("resharding")
    process, _, _ = reshard(run)
    run.finish(process, 60)
    mend_slots(run)


@fault("reshard-kill", "kill -9 of the source while slots move away from it; then --cluster fix",
       worlds=(CLUSTER,), takes_turns=True)
def reshard_kill(run):
    process, source, _ = reshard(run)
    run.hold(run.chance.uniform(0.3, 0.8))
    run.hit("kill -9 %s (source)" % source.name)
    source.kill()
    run.finish(process, 30)
    run.until_writable(15)
    source.start(wait=False)
    source.wait_ready(20)
    run.hold(1)
    mend_slots(run)
