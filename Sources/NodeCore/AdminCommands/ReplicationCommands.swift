// The commands of replication: what replicas and primaries say to each other, and what
// administrators and clients ask. The decisions are the machines' of `Replication`.
import Base
import Engine
import Gossip
import RESP
import Replication
import Storage

extension Registry {
    mutating func registerReplicationCommands() {
        group = .server
        command(
            "psync", since: "2.8.0", arity: -3, [.noAsyncLoading, .admin, .noMulti, .noScript],
            syntax: "replicationid offset:integer",
            summary: "Internal command used for replication"
        ) { synchronize(Call($0)) }

        command(
            "sync", since: "1.0.0", arity: 1, [.noAsyncLoading, .admin, .noMulti, .noScript],
            summary: "Internal command used for replication"
        ) { synchronize(Call($0)) }

        command(
            "replconf", since: "3.0.0", arity: -1,
            [.admin, .noScript, .loading, .stale, .allowBusy],
            summary: "An internal command for configuring the replication stream",
            complexity: "O(1)",
            system: true
        ) { replconf(Call($0)) }

        command(
            "replicaof", since: "5.0.0", arity: 3, [.noAsyncLoading, .admin, .noScript, .stale],
            syntax: "<args: <host-port: host port:integer>|<no-one: NO ONE>>",
            summary: """
            Make the server a replica of another instance, or promote it as master.
            """,
            complexity: "O(1)"
        ) { replicaOf(Call($0)) }

        command(
            "slaveof", since: "1.0.0", arity: 3, [.noAsyncLoading, .admin, .noScript, .stale],
            syntax: "<args: <host-port: host port:integer>|<no-one: NO ONE>>",
            summary: """
            Make the server a replica of another instance, or promote it as master.
            """,
            complexity: "O(1)",
            deprecated: "5.0.0 `REPLICAOF`"
        ) { replicaOf(Call($0)) }

        command(
            "role", since: "2.8.12", arity: 1, [.noScript, .loading, .stale, .fast],
            acl: [.admin, .dangerous],
            summary: "Return the role of the instance in the context of replication",
            complexity: "O(1)"
        ) { role(Call($0)) }

        command(
            "failover", since: "6.2.0", arity: -1, [.admin, .noScript, .stale],
            syntax: """
            [TO <target: host port:integer [FORCE]>] [ABORT] [TIMEOUT milliseconds:integer]
            """,
            summary: """
            Start a coordinated failover between this server and one of its replicas.
            """,
            complexity: "O(1)"
        ) { failover(Call($0)) }

        command(
            "wait", since: "3.0.0", arity: 3, [.noScript], acl: [.connection],
            syntax: "numreplicas:integer timeout:integer",
            summary: """
            Wait for the synchronous replication of all the write commands sent in the context of \
            the current connection
            """,
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:agg_min
            """,
            group: .generic
        ) { wait(Call($0)) }
    }
}

/// PSYNC and SYNC: a replica asks for the data or for the stream from an offset.
private func synchronize(_ call: Call) {
    let node = NodePointer.of(call)
    let session = call.session
    // A replica that asks again is answered already.
    if session.pointee.flags.contains(.replica) { return }
    let isPSync = call.count > 1
    var request: (id: String, offset: Int64)?
    if isPSync {
        guard let offset = call.integerOrReply(2) else {
            let name = node.pointee.primary.name(
                of: session.pointee.id, peerIP: hostPart(session.pointee.peerAddress))
            return node.log(
                .warning, "Replica \(name) asks for synchronization but with a wrong offset")
        }
        request = (call[1].string, offset)
    }
    node.noteStream()
    if isPSync, call.count > 3, call[3].matches("failover") {
        if let refusal = PrimaryState.failoverRefusal(
            id: call[1].string, isReplica: node.isReplica, history: node.pointee.history)
        {
            return call.reply.error(refusal.text)
        }
        node.log(.warning, "Failover request received from \(session.pointee.peerAddress).")
        node.becomePrimary()
    }
    if let refusal = PrimaryState.refusal(
        isReplica: node.isReplica, linkUp: node.pointee.upstream.phase == .streaming,
        failover: node.pointee.failover.state,
        hasPendingOutput: !session.pointee.output.pointee.isEmpty)
    {
        return call.reply.error(refusal.text)
    }
    if let refusal = node.pointee.primary.refusal(of: session.pointee.id) {
        return call.reply.error(refusal.text)
    }
    if node.pointee.refusesReplicas {
        let isWaiting = node.pointee.cluster?.isWaitingToBeReplaced ?? false
        return call.reply.error(
            isWaiting
                ? "NOMASTERLINK Can't SYNC: this primary restarted without the data that its "
                    + "replicas hold and waits to be replaced"
                : "NOMASTERLINK Can't SYNC: this primary just restarted and asks its replicas "
                    + "whether they hold more than it does")
    }
    session.pointee.flags.insert(.replica)
    session.pointee.replicaSent = -1
    node.pointee.replicaSessions.append(session)
    var effects: [PrimaryEffect] = []
    node.pointee.primary.synchronize(
        session: session.pointee.id, peerIP: hostPart(session.pointee.peerAddress),
        id: request?.id, offset: request?.offset ?? -1, isReplica: node.isReplica,
        history: &node.pointee.history, prng: &call.executor.pointee.prng, at: node.instant,
        into: &effects)
    node.carryOut(effects)
}

/// `ip` of `ip:port`.
func hostPart(_ address: String) -> String {
    guard let colon = address.lastIndex(of: ":") else { return address }
    return String(address[..<colon])
}

private func replconf(_ call: Call) {
    let node = NodePointer.of(call)
    var words: [String] = []
    for index in 1..<call.count { words.append(call[index].string) }
    let fromPrimary = call.session.pointee.flags.contains(.fromPrimary)
    var effects: [PrimaryEffect] = []
    let answer = node.pointee.primary.replconf(
        session: call.session.pointee.id, words, isReplica: fromPrimary, at: node.instant,
        into: &effects)
    node.carryOut(effects)
    switch answer {
    case .ok: call.reply.ok()
    case .silence:
        node.pointee.acksChanged = true
        node.advanceWaiters()
        node.advanceFailover()
        node.advanceShutdown()
    case .acknowledge: node.acknowledgeNow()
    case .error(let error): call.reply.error(error.text)
    }
}

private func replicaOf(_ call: Call) {
    let node = NodePointer.of(call)
    if node.settings.clusterEnabled {
        return call.reply.error("ERR REPLICAOF not allowed in cluster mode.")
    }
    if node.pointee.failover.state != .none {
        return call.reply.error("ERR REPLICAOF not allowed while failing over.")
    }
    if call[1].matches("no"), call[2].matches("one") {
        if node.isReplica {
            node.becomePrimary()
            call.executor.pointee.settings.replicaOf = nil
            node.log(
                .notice,
                "MASTER MODE enabled (user request from 'id=\(call.session.pointee.id) "
                    + "addr=\(call.session.pointee.peerAddress)')")
        }
        return call.reply.ok()
    }
    if call.session.pointee.flags.contains(.replica) {
        return call.reply.error("ERR Command is not valid when client is a replica.")
    }
    guard let port = call[2].decimal, (0...65535).contains(port) else {
        return call.reply.error("ERR Invalid master port")
    }
    let address = PrimaryAddress(host: call[1].string, port: Int(port))
    if node.isReplica, node.pointee.upstream.primary == address {
        node.log(
            .notice, "REPLICAOF would result into synchronization with the master we are already "
                + "connected with. No operation performed.")
        return call.reply.simple("OK Already connected to specified master")
    }
    call.executor.pointee.settings.replicaOf = (address.host, address.port)
    node.follow(address, keepingHistory: true)
    node.log(
        .notice,
        "REPLICAOF \(address) enabled (user request from 'id=\(call.session.pointee.id) "
            + "addr=\(call.session.pointee.peerAddress)')")
    call.reply.ok()
}

private func role(_ call: Call) {
    let node = NodePointer.of(call)
    let reply = call.reply
    node.noteStream()
    if let report = node.pointee.upstream.report(at: node.instant) {
        reply.array(5)
        reply.bulk("slave")
        reply.bulk(report.primary.host)
        reply.integer(report.primary.port)
        reply.bulk(report.phase.roleWord)
        reply.integer(report.roleOffset)
        return
    }
    reply.array(3)
    reply.bulk("master")
    reply.integer(node.pointee.history.offset)
    let replicas = node.pointee.primary.roleReplicas
    reply.array(replicas.count)
    for replica in replicas {
        reply.array(3)
        reply.bulk(replica.address.host)
        reply.bulk(String(replica.address.port))
        reply.bulk(String(replica.acknowledged))
    }
}

private func failover(_ call: Call) {
    let node = NodePointer.of(call)
    if node.settings.clusterEnabled {
        return call.reply.error(
            "ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.")
    }
    var words: [String] = []
    for index in 1..<call.count { words.append(call[index].string) }
    var effects: [FailoverEffect] = []
    switch FailoverRequest.parse(words) {
    case .failure(let error): return call.reply.error(error.text)
    case .success(let request):
        let problem = node.pointee.failover.request(
            request, isReplica: node.isReplica,
            replicas: node.pointee.primary.failoverCandidates, at: node.instant, into: &effects)
        if let problem { return call.reply.error(problem.text) }
    }
    call.reply.ok()
    node.carryOut(effects)
    node.feedGetAck()
    node.advanceFailover()
}

private func wait(_ call: Call) {
    let node = NodePointer.of(call)
    if node.isReplica {
        return call.reply.error(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis "
                + "4.0 if a replica is configured to be writable (which is not the default) "
                + "writes to replicas are just local and are not propagated.")
    }
    guard let replicas = call.integerOrReply(1),
        let timeout = call.integerOrReply(
            2, ErrorReply("ERR timeout is not an integer or out of range"))
    else { return }
    if timeout < 0 { return call.reply.error("ERR timeout is negative") }
    let (sum, overflow) = timeout.addingReportingOverflow(node.instant.milliseconds)
    if overflow || sum > Int64.max / 2000 {
        return call.reply.error("ERR timeout is out of range")
    }
    let offset = call.session.pointee.lastWriteOffset
    let acknowledged = node.pointee.primary.acknowledgements(of: offset)
    // Inside EXEC nobody can wait.
    if Int64(acknowledged) >= replicas || call.session.pointee.flags.contains(.executing) {
        return call.reply.integer(acknowledged)
    }
    let deadline = timeout == 0 ? nil : node.instant + Milliseconds(timeout)
    node.pointee.waiters.add(
        WaitTracker.Waiter(
            session: call.session.pointee.id, offset: offset,
            replicas: Int(clamping: replicas), deadline: deadline))
    call.executor.block(
        call.session, .wait(offset: offset, replicas: Int(clamping: replicas), deadline: deadline))
    node.feedGetAck()
}
