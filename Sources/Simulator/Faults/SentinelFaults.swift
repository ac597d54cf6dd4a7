// Faults of runs with sentinels: theirs, and the one that they are there for, the loss of most
// primaries at once. In a run of that kind nothing else goes wrong, and the bound is strict: node
// timeout and three seconds.
import Base
import Engine
import Gossip
import HashSlots
import NodeCore

/// What is known about the losses of primaries in a run.
struct MajorityLosses {
    var count = 0
    /// When the last one struck; nil once it was made good.
    var began: Microseconds?
    var slowest: Microseconds = 0
}

extension Simulation {
    func scheduleSentinelFault() {
        guard options.sentinels > 0 else { return }
        let wait = 500_000 + Microseconds(prng.below(Int(2 * options.faultInterval) + 4_000_000))
        queue.add(.sentinelFault, at: time + wait)
    }

    func injectSentinelFault() {
        guard phase == .safety else { return }
        if options.losesPrimaries {
            loseMajority()
        } else if options.profile == .storm {
            let sentinel = sentinels[prng.below(sentinels.count)]
            let duration = 20_000 + Microseconds(prng.below(Int(options.longestFault)))
            switch prng.below(4) {
            case 0, 1: crash(sentinel, for: duration)
            case 2:
                note(nil, "FAULT sentinel \(sentinel.index) stands still")
                sentinel.pausedUntil = max(sentinel.pausedUntil, time + duration)
            default: sentinel.slowness = [1, 10, 300][prng.below(3)]
            }
        }
        scheduleSentinelFault()
    }

    /// kill -9 of all primaries but one.
    private func loseMajority() {
        guard losses.began == nil, Convergence.problem(of: self) == nil,
            registrationProblem == nil, time < phaseBegan + options.safetyTime - 10_000_000
        else { return }
        let primaries = nodes.filter { owner in
            !(owner.node?.pointee.cluster?.mySlots.isEmpty ?? true)
        }
        let spared = primaries[prng.below(primaries.count)].index
        losses.count += 1
        losses.began = time
        let down = recoveryBound + Microseconds(prng.below(3_000_000))
        for owner in primaries where owner.index != spared {
            faults.restartDelays[owner.index] = down
            let record = FaultRecord(
                number: faults.log.count, kind: .crash, hosts: [owner.index], start: time,
                end: time + down)
            faults.add(record, isLasting: false)
            note(nil, "FAULT loss of primary \(owner.index)")
            crash(owner, as: .dead)
        }
    }

    private var recoveryBound: Microseconds {
        Microseconds(options.nodeTimeout) * 1000 + 3_000_000
    }

    /// Every slot has an owner that runs and serves.
    func superviseLosses() {
        guard let began = losses.began else { return }
        var served = SlotSet()
        for owner in nodes {
            guard owner.isRunning, let cluster = owner.node?.pointee.cluster, cluster.isUp else {
                continue
            }
            served.formUnion(cluster.mySlots)
        }
        let taken = time - began
        if served.count == Slot.count {
            losses.slowest = max(losses.slowest, taken)
            losses.began = nil
            note(nil, "all slots are served again after \(taken / 1000) ms")
        } else if taken > recoveryBound {
            fail(
                "last resort",
                "\(Slot.count - served.count) slots are not served \(taken / 1000) ms after most "
                    + "primaries were killed")
        }
    }
}
