// CONFIG GET, SET, REWRITE, RESETSTAT. What the directives are is `ConfigTable`'s business; here
// their values are put in force.
import Base
import Engine
import RESP
import Replication
import Storage

extension Registry {
    mutating func registerConfigCommands() {
        group = .server
        command(
            "config", since: "2.0.0", arity: -2,
            summary: "A container for server configuration commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "get", of: "config", since: "2.0.0", arity: -3, [.admin, .noScript, .loading, .stale],
            syntax: "<parameter: parameter>...",
            summary: "Get the values of configuration parameters",
            complexity: "O(N) when N is the number of configuration parameters provided",
            history: """
            7.0.0 Added the ability to pass multiple pattern parameters in one call
            """
        ) { configGet(Call($0)) }

        command(
            "help", of: "config", since: "5.0.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { configHelp(Call($0)) }

        command(
            "resetstat", of: "config", since: "2.0.0", arity: 2,
            [.admin, .noScript, .loading, .stale],
            summary: "Reset the stats returned by INFO",
            complexity: "O(1)"
        ) { configResetStatistics(Call($0)) }

        command(
            "rewrite", of: "config", since: "2.8.0", arity: 2,
            [.admin, .noScript, .loading, .stale],
            summary: "Rewrite the configuration file with the in memory configuration",
            complexity: "O(1)"
        ) { configRewrite(Call($0)) }

        command(
            "set", of: "config", since: "2.0.0", arity: -4, [.admin, .noScript, .loading, .stale],
            syntax: "<parameter_value: parameter value>...",
            summary: "Set configuration parameters to the given values",
            complexity: "O(N) when N is the number of configuration parameters provided",
            history: "7.0.0 Added the ability to set multiple parameters in one call.",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { configSet(Call($0)) }
    }
}

private func configGet(_ call: Call) {
    let patterns = (2..<call.count).map { call[$0].string }
    let found = ConfigTable.get(patterns, call.executor.pointee.settings)
    call.reply.map(found.count)
    for (name, value) in found {
        call.reply.bulk(name)
        call.reply.bulk(value)
    }
}

private func configSet(_ call: Call) {
    guard call.count % 2 == 0 else { return call.reply.error(.syntax) }
    let node = NodePointer.of(call)
    let pairs = stride(from: 2, to: call.count, by: 2).map {
        (name: call[$0].string, value: call[$0 + 1].string)
    }
    for (index, pair) in pairs.enumerated()
    where ConfigTable.entry(pair.name)?.flags.contains(.sensitive) ?? false {
        call.redact(3 + index * 2)
    }
    let old = call.executor.pointee.settings
    var next = old
    let context = ConfigContext(
        isLoading: call.executor.pointee.alerts.contains(.loading),
        allowsProtected: allowsProtected(old.enableProtectedConfigs, call.session))
    let changed: [String]
    do {
        changed = try ConfigTable.set(pairs, in: &next, context)
    } catch {
        return call.reply.error(error.text)
    }
    next.hz = Swift.min(Swift.max(next.hz, 1), 500)
    call.executor.pointee.settings = next
    if let refusal = applyToProcess(node, changed) {
        // Some of it may be in effect already: all of it goes back.
        call.executor.pointee.settings = old
        _ = applyToProcess(node, changed)
        let failure = ConfigSetFailure.refused(argument: refusal.name, reason: refusal.reason)
        node.log(
            .warning,
            "Failed applying new configuration. Possibly related to new \(refusal.name) setting. "
                + "Restoring previous settings.")
        return call.reply.error(failure.text)
    }
    if changed.contains("requirepass") {
        call.executor.setRequiredPassword(next.requirePassword)
    }
    if !changed.isEmpty { node.settingsChanged() }
    // A transaction is a whole: what it needs goes after it.
    if changed.contains("maxmemory"), !call.session.pointee.flags.contains(.executing) {
        _ = makeRoomForWrites(call.executor)
    }
    call.reply.ok()
}

/// Lets the process act on what concerns it; the directive that it refused, and why.
private func applyToProcess(
    _ node: NodePointer, _ changed: [String]
) -> (name: String, reason: String)? {
    let names = changed.filter { ConfigTable.entry($0)?.flags.contains(.process) ?? false }
    guard !names.isEmpty else { return nil }
    guard let apply = node.pointee.admin.applySettings else {
        node.request(.applySettings(names))
        return nil
    }
    return apply(names)
}

/// Whether `setting` (`yes`, `no`, `local`) lets this session do what it guards.
func allowsProtected(_ setting: String, _ session: UnsafeMutablePointer<Session>) -> Bool {
    if setting == "yes" { return true }
    guard setting == "local" else { return false }
    if session.pointee.flags.contains(.unixSocket) { return true }
    let host = hostPart(session.pointee.peerAddress)
    return host == "127.0.0.1" || host == "::1" || host == "[::1]"
}

private func configRewrite(_ call: Call) { rewriteConfiguration(call, forcesAll: false) }

/// Writes the configuration file; the reply comes when it is in place.
func rewriteConfiguration(_ call: Call, forcesAll: Bool) {
    let node = NodePointer.of(call)
    guard !node.pointee.configPath.isEmpty else {
        return call.reply.error("ERR The server is running without a config file")
    }
    let old = String(decoding: node.pointee.configText, as: UTF8.self)
    let text = ConfigTable.rewrite(
        old, call.executor.pointee.settings, users: node.userLines, forcesAll: forcesAll)
    let contents = Array(text.utf8)
    node.pointee.configText = contents
    // A transaction cannot wait for it.
    guard !call.session.pointee.flags.contains(.executing) else {
        node.rewriteConfig(contents, session: 0)
        return call.reply.ok()
    }
    node.rewriteConfig(contents, session: call.session.pointee.id)
    call.executor.block(call.session, .operation(0))
}

private func configResetStatistics(_ call: Call) {
    let node = NodePointer.of(call)
    let before = call.executor.pointee.stats
    var fresh = Stats()
    // These tell of lost data, and of a high-water mark: they are no rates to start over.
    fresh.lostWriteFiles = before.lostWriteFiles
    fresh.lostWriteCommands = before.lostWriteCommands
    fresh.peakMemory = before.peakMemory
    call.executor.pointee.stats = fresh
    call.keyspace.resetLazyFreed()
    call.keyspace.resetDefragCounts()
    node.pointee.defrag.total = Milliseconds(0)
    call.executor.resetSlotStats()
    node.pointee.persistence.savesStarted = 0
    node.pointee.admin.samples = Samples()
    node.pointee.admin.synchronisations = SynchronisationCounts(node.pointee.primary)
    let table = call.executor.pointee.commands
    for index in 0..<table.pointee.count {
        (table.pointee.commands + index).pointee.resetStatistics()
    }
    call.reply.ok()
}

private func configHelp(_ call: Call) {
    call.replyHelp([
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    ])
}
