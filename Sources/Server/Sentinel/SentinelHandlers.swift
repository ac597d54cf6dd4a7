// The handlers of a sentinel's commands: they read the machine's reports, or hand a change to it
// and write its answer. Shapes and texts of replies are the reference's.
import Base
import Engine
import CLinux
import Glibc
import NodeCore
import RESP
import Sentinel

enum SentinelHandlers {
    private static func state<R>(_ call: Call, _ body: (borrowing SentinelState) -> R) -> R {
        body(SentinelDriverPointer.of(call).pointee.state)
    }

    /// Hands a change to the machine and writes its answer.
    private static func run(_ call: Call, _ command: SentinelCommand) {
        write(call, SentinelDriverPointer.of(call).step(.command(command)))
    }

    private static func write(_ call: Call, _ reply: SentinelReply?) {
        switch reply {
        case .ok, .okWhenSaved, nil: call.reply.ok()
        case .integer(let value): call.reply.integer(value)
        case .error(let text): call.reply.error(text)
        case .primaryState(let state): writeState(call, state)
        }
    }

    private static let unknown: StaticString = "ERR No such master with that name"

    // MARK: Reports

    private static func write(_ call: Call, _ fields: [SentinelField]) {
        call.reply.map(fields.count)
        for field in fields {
            call.reply.bulk(field.name)
            call.reply.bulk(field.value)
        }
    }

    private static func write(_ call: Call, _ list: [[SentinelField]]?) {
        guard let list else { return call.reply.error(unknown) }
        call.reply.array(list.count)
        for fields in list { write(call, fields) }
    }

    static func primaries(_ call: Call) {
        let list = state(call) { state in
            state.primaryNames.compactMap { state.primaryFields($0) }
        }
        write(call, list)
    }

    static func primary(_ call: Call) {
        guard let fields = state(call, { $0.primaryFields(call[2].string) }) else {
            return call.reply.error(unknown)
        }
        write(call, fields)
    }

    static func replicas(_ call: Call) {
        write(call, state(call) { $0.replicaFields(call[2].string) })
    }

    static func sentinels(_ call: Call) {
        write(call, state(call) { $0.sentinelFields(call[2].string) })
    }

    static func identity(_ call: Call) { call.reply.bulk(state(call) { $0.myID }) }

    static func address(_ call: Call) {
        guard let address = state(call, { $0.clientAddress(of: call[2].string) }) else {
            return call.reply.nullArray()
        }
        call.reply.array(2)
        call.reply.bulk(address.host)
        call.reply.bulk("\(address.port)")
    }

    static func checkQuorum(_ call: Call) {
        guard let found = state(call, { $0.quorum(of: call[2].string) }) else {
            return call.reply.error(unknown)
        }
        if found.quorum, found.majority {
            return call.reply.simple(
                "OK \(found.usable) usable Sentinels. Quorum and failover authorization can be "
                    + "reached")
        }
        var reasons: [String] = []
        if !found.quorum {
            reasons.append(
                "Not enough available Sentinels to reach the specified quorum for this master")
        }
        if !found.majority {
            reasons.append(
                "Not enough available Sentinels to reach the majority and authorize a failover")
        }
        call.reply.error(
            "NOQUORUM \(found.usable) usable Sentinels. " + reasons.joined(separator: ". "))
    }

    static func infoCache(_ call: Call) {
        var names: [String] = []
        for index in 2..<call.count where !names.contains(call[index].string) {
            names.append(call[index].string)
        }
        let cached = state(call) { state in
            names.compactMap { name in state.cachedInfo(name).map { (name, $0) } }
        }
        call.reply.array(cached.count * 2)
        for (name, entries) in cached {
            call.reply.bulk(name)
            call.reply.array(entries.count)
            for entry in entries {
                call.reply.array(2)
                call.reply.integer(entry.age)
                if let text = entry.text { call.reply.bulk(text) } else { call.reply.null() }
            }
        }
    }

    static func pendingScripts(_ call: Call) {
        let jobs = state(call) { $0.scriptJobs }
        let now = SentinelDriverPointer.of(call).pointee.loop.pointee.now.instant
        call.reply.array(jobs.count)
        for job in jobs {
            call.reply.map(5)
            call.reply.bulk("argv")
            call.reply.array(job.arguments.count)
            for word in job.arguments { call.reply.bulk(word) }
            call.reply.bulk("flags")
            call.reply.bulk(job.isRunning ? "running" : "scheduled")
            call.reply.bulk("pid")
            call.reply.bulk("\(job.process)")
            call.reply.bulk(job.isRunning ? "run-time" : "run-delay")
            let time = job.time.map { job.isRunning ? now - $0 : $0 - now } ?? .zero
            call.reply.bulk("\(max(0, time.count))")
            call.reply.bulk("retry-num")
            call.reply.bulk("\(job.attempts)")
        }
    }

    // MARK: Questions of other sentinels

    static func isPrimaryDown(_ call: Call) {
        guard let port = call.integerOrReply(3), let epoch = call.integerOrReply(4) else { return }
        run(
            call,
            .isPrimaryDown(
                host: call[2].string, port: Int(port), epoch: UInt64(max(0, epoch)),
                runID: call[5].string))
    }

    private static func writeState(_ call: Call, _ answer: PrimaryStateReply) {
        // A vote that is not on disk is not given: after a crash it could be given again.
        let isTold = state(call) { $0.isDurable(answer.version) }
        call.reply.array(3)
        call.reply.integer(answer.isDown ? 1 : 0)
        call.reply.bulk(isTold ? answer.leader ?? "*" : "*")
        call.reply.integer(Int64(clamping: isTold ? answer.epoch : 0))
    }

    static func publish(_ call: Call) {
        guard call[1] == "__sentinel__:hello" else {
            return call.reply.error("ERR Only HELLO messages are accepted by Sentinel instances.")
        }
        run(call, .hello(call[2].array))
    }

    // MARK: Changes

    static func reset(_ call: Call) {
        let names = state(call) { state in
            state.primaryNames.filter { name in
                name.withBytes { Glob(call[2]).matches($0) }
            }
        }
        run(call, .reset(names: names))
    }

    static func failover(_ call: Call) { run(call, .failover(call[2].string)) }

    static func flush(_ call: Call) { run(call, .flush) }

    static func remove(_ call: Call) { run(call, .remove(call[2].string)) }

    static func monitor(_ call: Call) {
        monitor(call) { name, host, port, quorum in
            .monitor(name: name, host: host, port: port, quorum: quorum)
        }
    }

    static func monitorCluster(_ call: Call) {
        monitor(call) { name, host, port, quorum in
            .monitorCluster(name: name, host: host, port: port, quorum: quorum)
        }
    }

    private static func monitor(
        _ call: Call, _ command: (String, String, Int, Int) -> SentinelCommand
    ) {
        guard let quorum = call[5].decimal else { return call.reply.error("ERR Invalid quorum") }
        guard let port = call[4].decimal else { return call.reply.error("ERR Invalid port") }
        let driver = SentinelDriverPointer.of(call)
        let host = call[3].string
        if driver.pointee.state.settings.resolveHostnames, IPAddress.normalized(host) == nil {
            // As in the reference the name must resolve now, when somebody can see the error.
            guard let ip = SentinelPlan.resolve(host) else {
                return call.reply.error("ERR Invalid IP address or hostname specified")
            }
            driver.step(.resolved(name: host.lowercased(), ip: ip))
        }
        run(
            call,
            command(
                call[2].string, host, Int(port), Int(clamping: min(quorum, Int64(Int32.max)))))
    }

    static func set(_ call: Call) {
        let words = (3..<call.count).map { call[$0].string }
        let executable = Set(words.filter { $0.hasPrefix("/") || $0.contains("/") }
            .filter { access($0, X_OK) == 0 })
        run(call, .set(name: call[2].string, words: words, executable: executable))
    }

    static func config(_ call: Call) {
        if call[2].matches("set"), call.count == 5 {
            return run(call, .configSet(option: call[3].string, value: call[4].string))
        }
        guard call[2].matches("get"), call.count == 4 else {
            return call.reply.error(
                "ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported.")
        }
        let settings = state(call) { $0.settings }
        let all = [
            ("resolve-hostnames", settings.resolveHostnames ? "yes" : "no"),
            ("announce-hostnames", settings.announceHostnames ? "yes" : "no"),
            ("announce-ip", settings.announceIP), ("announce-port", "\(settings.announcePort)"),
            ("sentinel-user", settings.sentinelUser), ("sentinel-pass", settings.sentinelPassword),
        ]
        let wanted = all.filter { name, _ in
            name.withBytes { Glob(call[3], ignoringCase: true).matches($0) }
        }
        write(call, wanted.map { SentinelField(name: $0.0, value: $0.1) })
    }

    static func debug(_ call: Call) {
        guard call.count == 2 else {
            return run(call, .debug(words: (2..<call.count).map { call[$0].string }))
        }
        let times = state(call) { $0.times }
        write(
            call,
            SentinelTimes.parameters.map {
                SentinelField(name: $0.name.uppercased(), value: "\(times[keyPath: $0.path].count)")
            })
    }

    static func simulateFailure(_ call: Call) {
        var failures: SimulatedFailures = []
        for index in 2..<call.count {
            if call[index].matches("crash-after-election") {
                failures.insert(.afterElection)
            } else if call[index].matches("crash-after-promotion") {
                failures.insert(.afterPromotion)
            } else if call[index].matches("help") {
                call.reply.array(2)
                call.reply.bulk("crash-after-election")
                return call.reply.bulk("crash-after-promotion")
            } else {
                return call.reply.error("ERR Unknown failure simulation specified")
            }
        }
        run(call, .simulateFailure(failures))
    }

    // MARK: INFO, ROLE

    static func role(_ call: Call) {
        let names = state(call) { $0.primaryNames }
        call.reply.array(2)
        call.reply.bulk("sentinel")
        call.reply.array(names.count)
        for name in names { call.reply.bulk(name) }
    }

    static func info(_ call: Call) {
        let shared = ["server", "clients", "stats", "cpu"]
        let words = (1..<call.count).map { call[$0].string.lowercased() }
        let isAll = words.isEmpty
            || words.contains { ["default", "all", "everything"].contains($0) }
        let wanted = isAll ? shared : shared.filter(words.contains)
        var text = wanted.isEmpty ? "" : NodePointer.of(call).infoText(wanted)
        if isAll || words.contains("sentinel") {
            if !text.isEmpty { text += "\r\n" }
            text += state(call) { sentinelSection($0) }
        }
        call.reply.verbatim(text)
    }

    private static func sentinelSection(_ state: borrowing SentinelState) -> String {
        let tilt = state.tiltTime.map { $0.count / 1000 } ?? -1
        var text = "# Sentinel\r\nsentinel_masters:\(state.primaryNames.count)\r\n"
        text += "sentinel_tilt:\(state.isTilted ? 1 : 0)\r\n"
        text += "sentinel_tilt_since_seconds:\(tilt)\r\n"
        text += "sentinel_running_scripts:\(state.runningScripts)\r\n"
        text += "sentinel_scripts_queue_length:\(state.scriptJobs.count)\r\n"
        text += "sentinel_simulate_failure_flags:\(state.simulatedFailures.rawValue)\r\n"
        for (index, name) in state.primaryNames.enumerated() {
            text += "master\(index):\(state.infoLine(name) ?? "")\r\n"
        }
        return text
    }

    // MARK: HELP

    static func help(_ call: Call) {
        let lines = helpText.split(separator: "\n")
        call.reply.array(lines.count)
        for line in lines { call.reply.simple(String(line)) }
    }

    private static let helpText = """
        SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
        CKQUORUM <master-name>
            Check whether enough sentinels can be reached for the quorum and the majority.
        CONFIG SET <param> <value>
            Set a global parameter of this sentinel.
        CONFIG GET <param>
            Get global parameters of this sentinel.
        DEBUG [<param> <value> ...]
            Show or set time parameters (milliseconds).
        GET-MASTER-ADDR-BY-NAME <master-name>
            Return the address and port of the primary with this name.
        FAILOVER <master-name>
            Fail over without asking other sentinels for agreement.
        FLUSHCONFIG
            Write the configuration and the state to disk.
        INFO-CACHE <master-name>
            Return the last INFO of primaries and their replicas.
        IS-MASTER-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>
            Tell whether the primary is down as this sentinel sees it, and vote.
        MASTER <master-name>
            Show the state of a primary.
        MASTERS
            Show the state of all monitored primaries.
        MONITOR <name> <ip> <port> <quorum>
            Start to monitor a primary.
        MONITOR-CLUSTER <name> <ip> <port> <quorum>
            Start to monitor the shards of a cluster, from any of its nodes.
        MYID
            Return the ID of this sentinel.
        PENDING-SCRIPTS
            Show scripts that run or wait.
        REMOVE <master-name>
            Stop monitoring a primary.
        REPLICAS <master-name>
            Show the replicas of a primary.
        RESET <pattern>
            Forget what was found out about the primaries that match.
        SENTINELS <master-name>
            Show the other sentinels of a primary.
        SET <master-name> <option> <value> [<option> <value> ...]
            Change how a primary is monitored.
        SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]
            Crash on purpose, for tests.
        HELP
            Print this help.
        """
}
