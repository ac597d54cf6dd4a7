// How a cluster comes to be: the commands that redis-cli --cluster create sends, each when the one
// before has taken effect. Then the phases of the run follow each other here.
import Base
import Engine
import Gossip
import HashSlots
import NodeCore

struct Scenario {
    enum Step {
        case assignSlots
        case meet
        case waitForMembers
        case replicate
        case waitForWhole
        case done
    }

    var step = Step.assignSlots
    /// When the writers stopped, in the liveness phase.
    var writersStopped: Microseconds?
    /// What the cluster still lacks, for the message of a run that never becomes whole.
    var lacking = ""
}

extension Simulation {
    /// Looks about a hundred times a second whether the run can go on.
    func supervise() {
        queue.add(.supervise, at: time + 10_000)
        switch phase {
        case .forming: form()
        case .safety:
            superviseLosses()
            if time >= phaseBegan + options.safetyTime { beginLiveness() }
        case .liveness: superviseLiveness()
        case .over: break
        }
    }

    // MARK: Forming

    private func form() {
        if time > .seconds(30) {
            return fail("forming", "the cluster was not made: \(scenario.step) \(scenario.lacking)")
        }
        switch scenario.step {
        case .assignSlots:
            // A node with an append-only file answers once its first base is in place.
            let isLoading = nodes.contains { command($0, "DBSIZE").hasPrefix("-LOADING") }
            guard !isLoading else { return }
            assignSlots()
            scenario.step = .meet
        case .meet:
            for other in nodes.dropFirst() {
                command(nodes[0], "CLUSTER", "MEET", other.address, "\(other.port)")
            }
            scenario.step = .waitForMembers
        case .waitForMembers:
            let all = nodes.allSatisfy { knowsEverybody($0) }
            if all { scenario.step = .replicate }
        case .replicate:
            if replicate() { scenario.step = .waitForWhole }
        case .waitForWhole:
            if sentinels.allSatisfy({ $0.incarnation == 0 }) {
                for sentinel in sentinels { start(sentinel) }
            }
            let problem = Convergence.problem(of: self) ?? registrationProblem
            scenario.lacking = problem ?? ""
            if problem == nil { beginSafety() }
        case .done: break
        }
    }

    private func assignSlots() {
        let share = Slot.count / options.primaries
        for index in 0..<options.nodes {
            command(nodes[index], "CLUSTER", "SET-CONFIG-EPOCH", "\(index + 1)")
            guard index < options.primaries else { continue }
            let first = index * share
            let last = index == options.primaries - 1 ? Slot.count - 1 : first + share - 1
            command(nodes[index], "CLUSTER", "ADDSLOTSRANGE", "\(first)", "\(last)")
        }
    }

    private func knowsEverybody(_ owner: SimNode) -> Bool {
        guard let node = owner.node, let known = node.pointee.cluster?.nodesText() else {
            return false
        }
        let lines = known.split(separator: "\n")
        return lines.count == nodes.count && !lines.contains { $0.contains("handshake") }
    }

    /// True once every replica accepted its primary.
    private func replicate() -> Bool {
        var isDone = true
        for index in options.primaries..<options.nodes {
            guard let node = nodes[index].node, !node.isReplica else { continue }
            let primary = nodes[(index - options.primaries) % options.primaries]
            guard let id = primary.node?.pointee.cluster?.myID else { return false }
            let reply = command(nodes[index], "CLUSTER", "REPLICATE", "\(id)")
            if reply != "+OK" { isDone = false }
        }
        return isDone
    }

    // MARK: Phases

    private func begin(_ next: Phase) {
        phase = next
        phaseBegan = time
        note(nil, "---- \(next) phase ----")
    }

    private func beginSafety() {
        scenario.step = .done
        begin(.safety)
        for client in clients { client.start(in: self) }
        scheduleFault()
        scheduleSentinelFault()
    }

    private func beginLiveness() {
        begin(.liveness)
        faults.isOver = true
        for record in faults.active { heal(record) }
        for sentinel in sentinels {
            sentinel.slowness = 1
            sentinel.pausedUntil = 0
            if sentinel.state == nil {
                queue.add(
                    .restartSentinel(
                        index: sentinel.index, incarnation: sentinel.incarnation),
                    at: time + 300_000)
            }
        }
        for node in nodes {
            node.disk.slowness = 1
            node.disk.isFull = false
            node.crashCountdown = nil
            if node.pausedUntil > time {
                node.pausedUntil = time
                wake(node, at: time)
            }
            guard !node.isRunning else { continue }
            let delay = Microseconds(prng.below(500_000))
            queue.add(
                .restart(node: node.index, incarnation: node.incarnation), at: time + delay)
        }
    }

    /// Whole first, then writes must work, then everything at rest must agree.
    private func superviseLiveness() {
        if time > phaseBegan + options.livenessBound {
            return fail("liveness", "after the last fault: \(scenario.lacking)")
        }
        if let stopped = scenario.writersStopped {
            guard time > stopped + 2_000_000, clients.allSatisfy(\.isIdle) else { return }
            let problem = Convergence.problem(of: self) ?? Convergence.difference(in: self)
            scenario.lacking = problem ?? ""
            if problem == nil { finish() }
            return
        }
        let problem = Convergence.problem(of: self) ?? registrationProblem
        scenario.lacking = problem ?? ""
        guard problem == nil else { return }
        let waiting = clients.filter { $0.lastAck < self.phaseBegan }
        if let client = waiting.first {
            scenario.lacking = "client \(client.index) has no acknowledged write since then"
            return
        }
        for client in clients { client.stop() }
        scenario.writersStopped = time
    }

    private func finish() {
        checks.finish(self)
        begin(.over)
    }
}
