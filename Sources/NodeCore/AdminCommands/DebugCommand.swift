// DEBUG: what the reference's test suite and people who look for bugs ask of a server. Off unless
// `enable-debug-command` allows it. Subcommands that look into structures which do not exist here
// answer as for an object of another kind, or are unknown.
//
// Here the table of subcommands and what concerns the process and the links; `DebugData` has what
// concerns keys, `DebugReload` saving and loading, `DebugProtocol` the sample replies.
import Base
import Engine
import Gossip
import RESP
import Replication

extension Registry {
    mutating func registerDebugCommand() {
        group = .server
        command(
            "debug", since: "1.0.0", arity: -2, [.admin, .noScript, .loading, .stale, .protected],
            summary: "A container for debugging commands",
            complexity: "Depends on subcommand.",
            system: true
        ) { debug(Call($0)) }
    }
}

private func debug(_ call: Call) {
    guard allowsProtected(call.executor.pointee.settings.enableDebugCommand, call.session) else {
        return call.reply.error(
            """
            ERR DEBUG command not allowed. If the enable-debug-command option is set to \
            "local", you can run it from a local connection, otherwise you need to set this \
            option in the configuration file, and then restart the server.
            """ as StaticString)
    }
    let known =
        debugProcess(call) || debugData(call) || debugContents(call) || debugLinks(call)
        || debugLog(call)
        || debugReplies(call)
    if !known { refuseDebug(call) }
}

func refuseDebug(_ call: Call) {
    let word = call[1][0..<Swift.min(128, call[1].count)].string
    call.reply.error(
        "ERR unknown subcommand or wrong number of arguments for '\(word)'. Try DEBUG HELP.")
}

/// The number that C's atoi sees: DEBUG's switches are read so.
func looseInteger(_ bytes: Bytes) -> Int {
    let text = bytes.string
    let isNegative = text.hasPrefix("-")
    let digits = text.drop { $0 == "-" || $0 == "+" }.prefix { $0 >= "0" && $0 <= "9" }
    let value = Int(digits.prefix(18)) ?? 0
    return isNegative ? -value : value
}

// MARK: The process

/// SLEEP, LOG, crashes, restarts. False when the subcommand is another.
private func debugProcess(_ call: Call) -> Bool {
    let node = NodePointer.of(call)
    switch (call[1].string.lowercased(), call.count) {
    case ("help", 2): debugHelp(call)
    case ("sleep", 3): debugSleep(call, node)
    case ("log", 3):
        node.log(.warning, "DEBUG LOG: \(call[2].string)")
        call.reply.ok()
    case ("segfault", _): node.request(.crash("DEBUG SEGFAULT"))
    case ("panic", _):
        node.request(.crash("DEBUG PANIC called at Unix time \(call.now.seconds)"))
    case ("assert", _): node.request(.crash("DEBUG ASSERT: 1 == 2 is not true"))
    case ("oom", _): node.request(.crash("DEBUG OOM: out of memory"))
    case ("restart", 2...3): debugRestart(call, node, gracefully: true)
    case ("crash-and-recover", 2...3): debugRestart(call, node, gracefully: false)
    case ("set-active-expire", 3):
        call.executor.pointee.activeExpire = looseInteger(call[2]) != 0
        call.reply.ok()
    case ("set-skip-checksum-validation", 3):
        call.executor.pointee.checksDumpPayloads = looseInteger(call[2]) == 0
        call.reply.ok()
    case ("set-disable-deny-scripts", 3):
        call.executor.pointee.scripts.allowsEverything = looseInteger(call[2]) != 0
        call.reply.ok()
    case ("pause-cron", 3):
        node.pointee.cron.isPaused = looseInteger(call[2]) != 0
        call.reply.ok()
    case ("config-rewrite-force-all", 2): rewriteConfiguration(call, forcesAll: true)
    case ("client-eviction", 2): debugClientEviction(call)
    case ("replybuffer", 4): debugReplyBuffer(call)
    case ("quicklist-packed-threshold", 3): debugPackedThreshold(call)
    default: return false
    }
    return true
}

private func debugSleep(_ call: Call, _ node: NodePointer) {
    let seconds = call[2].double ?? 0
    let microseconds = Int64(Swift.max(0, Swift.min(seconds, 1e6)) * 1_000_000)
    if let sleep = node.pointee.admin.sleep {
        sleep(microseconds)
        // What comes after it in the same iteration must see that time has passed.
        let executor = call.executor
        // To a script it is one moment.
        guard executor.pointee.scripts.run == nil else { return call.reply.ok() }
        executor.pointee.now.instant.microseconds += microseconds
        executor.pointee.now.wall.milliseconds += microseconds / 1000
    } else {
        node.request(.sleep(microseconds: microseconds))
    }
    call.reply.ok()
}

private func debugRestart(_ call: Call, _ node: NodePointer, gracefully: Bool) {
    var delay: Int64 = 0
    if call.count == 3 {
        guard let given = call.integerOrReply(2) else { return }
        delay = Swift.max(0, given)
    }
    if gracefully {
        if !node.pointee.configPath.isEmpty {
            let old = String(decoding: node.pointee.configText, as: UTF8.self)
            let text = ConfigTable.rewrite(
                old, call.executor.pointee.settings, users: node.userLines)
            node.rewriteConfig(Array(text.utf8), session: 0)
        }
        if !call.executor.pointee.settings.savePoints.isEmpty { node.queueWholeSave() }
    }
    node.request(.restart(delayMilliseconds: delay))
}

/// When the reply buffers of silent clients shrink: after so many milliseconds, or never.
private func debugReplyBuffer(_ call: Call) {
    let usual = ExecutorPointer.usualReplyBufferRest
    if call[2].matches("resizing") {
        call.executor.pointee.replyBufferRest = looseInteger(call[3]) != 0 ? usual : nil
    } else if !call[2].matches("peak-reset-time") {
        return refuseDebug(call)
    } else if call[3].matches("never") {
        call.executor.pointee.replyBufferRest = nil
    } else if call[3].matches("reset") {
        call.executor.pointee.replyBufferRest = usual
    } else {
        guard let time = call.integerOrReply(3) else { return }
        call.executor.pointee.replyBufferRest = Milliseconds(Swift.max(0, time))
    }
    call.reply.ok()
}

/// How many clients may be evicted, by powers of two of what they hold.
private func debugClientEviction(_ call: Call) {
    guard call.executor.clientMemoryLimit != nil else {
        return call.reply.error("ERR maxmemory-clients is disabled." as StaticString)
    }
    call.executor.noteAllMemory()
    var buckets: [(clients: Int, bytes: Int)] = Array(repeating: (0, 0), count: 64)
    for index in 0..<call.executor.pointee.sessions.count {
        let held = call.executor.pointee.sessions[index].pointee.evictableMemory
        guard held > 0 else { continue }
        let bucket = Int.bitWidth - held.leadingZeroBitCount - 1
        buckets[bucket].clients += 1
        buckets[bucket].bytes += held
    }
    var text = "Bucket         Tot Mem       Clients\n"
    for (bucket, row) in buckets.enumerated().reversed() where row.clients > 0 {
        let name = "2^\(bucket)"
        let bytes = MemoryText.human(row.bytes)
        text += name + String(repeating: " ", count: 15 - name.count)
        text += bytes + String(repeating: " ", count: Swift.max(1, 14 - bytes.count))
        text += "\(row.clients)\n"
    }
    call.reply.verbatim(text)
}

/// From which size on an element of a list stands alone. Ours do that by themselves; the form is
/// checked, so that a test which relies on it says what is wrong.
private func debugPackedThreshold(_ call: Call) {
    guard let size = MemoryText.bytes(call[2].string), size <= (1 << 32) - (1 << 20) else {
        return call.reply.error(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb")
    }
    call.reply.ok()
}

// MARK: Replication and the bus

/// False when the subcommand is another.
private func debugLinks(_ call: Call) -> Bool {
    let node = NodePointer.of(call)
    switch (call[1].string.lowercased(), call.count) {
    case ("change-repl-id", 2):
        node.log(
            .warning, "Changing replication IDs after receiving DEBUG change-repl-id")
        node.pointee.history.startOver(as: .random(&call.executor.pointee.prng))
        call.reply.ok()
    case ("replicate", 3...):
        let arguments = (2..<call.count).map { call[$0] }
        call.executor.propagateCommand(database: -1, arguments)
        call.reply.ok()
    case ("drop-cluster-packet-filter", 3):
        guard let type = call.integerOrReply(2) else { return true }
        node.pointee.admin.droppedPacketType = type < 0 ? nil : Int(clamping: type)
        applyPacketFilter(node)
        call.reply.ok()
    case ("close-cluster-link-on-packet-drop", 3):
        node.pointee.admin.dropsCloseLinks = looseInteger(call[2]) != 0
        applyPacketFilter(node)
        call.reply.ok()
    case ("clusterlink", 5): debugClusterLink(call, node)
    default: return false
    }
    return true
}

private func debugClusterLink(_ call: Call, _ node: NodePointer) {
    guard let cluster = node.pointee.cluster else {
        return call.reply.error("ERR Debug option only available for cluster mode enabled setup!")
    }
    let isBoth = call[3].matches("all")
    let outgoing = isBoth || call[3].matches("to")
    let inbound = isBoth || call[3].matches("from")
    guard call[2].matches("kill"), outgoing || inbound else { return refuseDebug(call) }
    guard cluster.knows(call[4].string) else {
        return call.reply.error("ERR Unknown node \(call[4].string)")
    }
    node.stepCluster(
        .closeLinks(node: call[4].string, outgoing: outgoing, inbound: inbound))
    call.reply.ok()
}

private func applyPacketFilter(_ node: NodePointer) {
    guard node.pointee.cluster != nil else { return }
    node.stepCluster(
        .dropPackets(
            type: node.pointee.admin.droppedPacketType,
            closingLink: node.pointee.admin.dropsCloseLinks))
}

private func debugHelp(_ call: Call) {
    call.replyHelp([
        "ASSERT", "    Crash by assertion failed.",
        "CHANGE-REPL-ID", "    Change the replication IDs of the instance.",
        "    Dangerous: should be used only for testing the replication subsystem.",
        "CLOSE-CLUSTER-LINK-ON-PACKET-DROP <0|1>",
        "    Close the link by which a packet came that the filter drops.",
        "CLUSTERLINK KILL <to|from|all> <node-id>",
        "    Kills the link to the node, its link to us, or both.",
        "CONFIG-REWRITE-FORCE-ALL",
        "    Like CONFIG REWRITE but writes all configuration options, including",
        "    keywords not listed in original configuration file or default values.",
        "CRASH-AND-RECOVER [<milliseconds>]",
        "    Hard crash and restart after a <milliseconds> delay (default 0).",
        "DIGEST", "    Output a hex signature representing the current DB content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "DROP-CLUSTER-PACKET-FILTER <packet-type>",
        "    Drop all packets that match the filtered type. Set to -1 allow all packets.",
        "ERROR <string>",
        "    Return a Redis protocol error with <string> as message. Useful for clients",
        "    unit tests to simulate Redis errors.",
        "HTSTATS <dbid>", "    Return hash table statistics of the specified Redis database.",
        "LOG <message>", "    Write <message> to the server log.",
        "OBJECT <key>", "    Show low level info about `key` and associated value.",
        "PANIC", "    Crash the server simulating a panic.",
        "PAUSE-CRON <0|1>", "    Stop periodic cron job processing.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> string keys named key:<num>. If <prefix> is specified then",
        "    it is used instead of the 'key' prefix. These are not propagated to",
        "    replicas. Cluster slots are not respected so keys not belonging to the",
        "    current node can be created in cluster mode.",
        "PROTOCOL <type>",
        "    Reply with a test value of the specified type. <type> can be: string,",
        "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
        "    true, false.",
        "RELOAD [option ...]",
        "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
        "    * MERGE: conflicting keys will be loaded from RDB.",
        "    * NOFLUSH: the existing database will not be removed before load.",
        "    * NOSAVE: the database will be loaded from an existing RDB file.",
        "REPLICATE <string>",
        "    Replicates the provided string to replicas, allowing data divergence.",
        "RESTART [<milliseconds>]",
        "    Graceful restart: save config, db, restart after a <milliseconds> delay.",
        "SDSLEN <key>", "    Show the lengths of `key` and of its value.",
        "SEGFAULT", "    Crash the server with sigsegv.",
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        "    Enables or disables checksum checks of RESTORE's payload.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Setting it to 0 disables expiring keys in background when they are not",
        "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
        "    default.",
        "SLEEP <seconds>", "    Stop the server for <seconds>. Decimals allowed.",
        "STRINGMATCH-LEN <pattern> <string>", "    Whether the glob pattern fits.",
        "STRUCTSIZE", "    Return the size of different core structures.",
    ])
}
