// Start and end of a simulated process: from its files, orderly, by kill -9, by power cut.
import Base
import Engine
import Gossip
import NodeCore

extension Simulation {
    /// Starts the process with what its disk holds.
    func start(_ owner: SimNode) {
        invariant(owner.node == nil, "a process starts once")
        owner.incarnation += 1
        owner.pausedUntil = 0
        owner.isStopping = false
        owner.isCrashing = false
        owner.crashCountdown = nil
        owner.acceptedLinks = 0
        owner.diskIsBusy = false
        let node = NodePointer.make(
            settings: owner.settings, now: owner.clock.now(time), seed: prng.next(),
            sipKey: SipKey(prng.next(), prng.next()))
        owner.node = node
        let wasDown = owner.life == .hostDown
        owner.life = .running
        do throws(BootError) {
            try boot(owner, node)
        } catch {
            return fail("start", "node \(owner.index) refuses to start: \(error.text)")
        }
        if let problem = checks.started(owner, node) { return fail("epochs", problem) }
        note(owner, "starts (process \(owner.incarnation))")
        owner.wakeAt = .max
        wake(owner, at: time)
        if wasDown { releaseMended() }
    }

    private func boot(_ owner: SimNode, _ node: NodePointer) throws(BootError) {
        owner.disk.settle(owner.settings.clusterConfigFile)
        try node.restoreCluster(nodesConf: owner.disk.visible[owner.settings.clusterConfigFile])
        var loaded = LoadedLog()
        var hasLog = false
        if owner.settings.appendOnly {
            var files = SimLogFiles(owner: owner)
            (loaded, hasLog) = try node.loadLog(&files)
        }
        if !hasLog, let dump = owner.disk.visible[owner.settings.dbFilename] {
            node.beginLoad(totalBytes: Int64(dump.count))
            // The bytes stay put while the node reads them.
            var problem: BootError?
            dump.withBytes { bytes in
                do throws(BootError) { try node.load(bytes) } catch { problem = error }
            }
            if let problem { throw problem }
            try node.endLoad()
        }
        node.startLog(loaded)
        node.start()
    }

    /// kill -9 or a power cut.
    func crash(_ owner: SimNode, as life: SimNode.Life) {
        guard owner.isRunning else { return }
        if life == .hostDown {
            owner.disk.hostCrashed(&prng)
        } else {
            owner.disk.processCrashed(&prng)
        }
        // A container's host goes too, but its kernel lives to close the connections.
        end(owner, as: life, sendsFin: life == .dead || prng.chance(1, in: 4))
    }

    /// The process is gone. Its kernel closes its connections, unless that is gone too.
    func end(_ owner: SimNode, as life: SimNode.Life, sendsFin: Bool) {
        guard let node = owner.node else { return }
        note(owner, life == .hostDown ? "loses power" : "ends")
        checks.writes.ended(node: owner.index, at: time)
        for connection in owner.connections.values {
            for side in [Side.opener, .acceptor]
            where connection.host(side) == owner.index && connection.isOpen(side) {
                abandon(connection, side, of: owner, sendsFin: sendsFin)
            }
        }
        node.destroy()
        owner.disk.processEnded()
        owner.node = nil
        owner.life = life
        owner.inbox.removeAll()
        owner.links.removeAll()
        owner.sessions.removeAll()
        owner.connections.removeAll()
        owner.wakeToken += 1
        owner.wakeAt = .max
        checks.ended(owner, at: time)
        faults.ended(owner, in: self)
    }

    /// The kernel's side of a death: it ends a connection, or was too quick to die itself, and then
    /// some of what it still had to send never left.
    private func abandon(
        _ connection: SimConnection, _ side: Side, of owner: SimNode, sendsFin: Bool
    ) {
        forget(connection, side, of: owner)
        if sendsFin {
            let why: LinkFailure = prng.chance(1, in: 2) ? .closedByPeer : .reset
            transmit(connection, from: side, .closed(why))
        } else if prng.chance(1, in: 2) {
            connection[from: side].drop()
        }
    }
}
