// INFO: gathers what the node's parts know; `InfoReport` writes it.
import Base
import Engine
import RESP
import Replication
import Scripting
import Storage

extension Registry {
    mutating func registerInfoCommand() {
        group = .server
        command(
            "info", since: "1.0.0", arity: -1, [.loading, .stale], acl: [.dangerous],
            syntax: "[section]...",
            summary: "Get information and statistics about the server",
            complexity: "O(1)",
            history: "7.0.0 Added support for taking multiple section arguments.",
            tips: """
            nondeterministic_output
            request_policy:all_shards
            response_policy:special
            """
        ) { info(Call($0)) }
    }
}

private func info(_ call: Call) {
    let sections = (1..<call.count).map { call[$0].string }
    call.reply.verbatim(NodePointer.of(call).infoText(sections))
}

extension NodePointer {
    /// The text of INFO for these sections.
    public func infoText(_ sections: [String]) -> String {
        noteStream()
        return InfoReport.make(executor, infoFacts(), sections: sections)
    }

    private func infoFacts() -> InfoFacts {
        var facts = InfoFacts()
        if let refresh = pointee.admin.refreshProcess { refresh(&pointee.admin.process) }
        facts.process = pointee.admin.process
        facts.rates = pointee.admin.samples.means
        facts.started = pointee.started
        facts.runID = pointee.runID
        facts.configPath = pointee.configPath
        facts.shutdownMilliseconds = shutdownMilliseconds
        for index in 0..<executor.pointee.sessions.count
        where executor.pointee.sessions[index].pointee.flags.contains(.replica) {
            facts.replicaSessions += 1
        }
        for (_, kind) in pointee.linkKinds {
            switch kind {
            case .bus: facts.busConnections += 1
            case .migrate: facts.migrateLinks += 1
            case .primary, .sentinel: break
            }
        }
        facts.busMemory = busMemory
        facts.scripts = scripts.figures
        facts.backlogMemory = executor.pointee.backlog.pointee.memory
        addDefrag(&facts)
        addPersistence(&facts)
        facts.replicationLines = replicationLines
        let counts = SynchronisationCounts(pointee.primary)
        let before = pointee.admin.synchronisations
        facts.fullSyncs = counts.full - before.full
        facts.partialSyncs = counts.partial - before.partial
        facts.refusedPartialSyncs = counts.refused - before.refused
        return facts
    }

    private func addPersistence(_ facts: inout InfoFacts) {
        let persistence = pointee.persistence
        facts.isLoading = pointee.loader.isBlocking || pointee.log.isStarting
        facts.isLoadingFromPrimary = pointee.loader.fresh != nil
        let loadSeconds = (instant - pointee.loader.started).count
        facts.loadStarted = WallTime(milliseconds: now.wall.milliseconds - loadSeconds)
        facts.loadTotalBytes = pointee.loader.total
        facts.loadedBytes = pointee.loader.bytes
        // As the reference counts: a copy for replicas too, but not a rewrite of the log.
        switch pointee.snapshot.target {
        case .file, .replicas: facts.isSaving = true
        case .none, .rewrite: break
        }
        if facts.isSaving, let started = persistence.saveStarted {
            facts.saveSecondsSoFar = (instant - started).count / 1000
        }
        facts.lastSaveSeconds = persistence.lastSaveSeconds
        facts.lastSaveAt = persistence.lastSaveAt
        facts.lastSaveFailed = persistence.lastSaveFailed
        facts.saves = persistence.savesStarted
        facts.loadedKeys = persistence.loadedKeys
        facts.expiredAtLoad = persistence.expiredAtLoad
        facts.log = logFacts()
    }

    private var replicationLines: String {
        let settings = executor.pointee.settings
        var text = "role:\(isReplica ? "slave" : "master")\r\n"
        if let report = pointee.upstream.report(at: instant) {
            text += report.infoLines
            text += "slave_priority:\(settings.replicaPriority)\r\n"
            text += "slave_read_only:\(settings.replicaReadOnly ? 1 : 0)\r\n"
            text += "replica_announced:\(settings.replicaAnnounced ? 1 : 0)\r\n"
        }
        return text
            + pointee.primary.infoLines(
                history: pointee.history, failover: pointee.failover.state, at: instant)
    }
}
