// What the process does with its settings: listening sockets, the log, the folder, the limit of
// descriptors; at the start, and again when CONFIG SET changes one of them.
import Base
import CLinux
import Engine
import Glibc
import NodeCore

extension EventLoopPointer {
    private var settings: Settings { pointee.executor.pointee.settings }

    /// Opens everything that the settings ask for. Throws with lines for the log.
    package func listen() throws(ListenError) {
        try listenToClients()
        try listenToUnix()
        try listenToBus()
        if pointee.clientListeners.isEmpty, pointee.unixListener == nil {
            throw ListenError(lines: ["Configured to not listen anywhere, exiting."])
        }
    }

    /// Puts CONFIG SET's changes into effect. What fails is logged, and what was stays; returns
    /// the first failure in the words of the reply.
    @discardableResult
    func apply(_ names: [String]) -> (name: String, reason: String)? {
        var isRelistened = false
        var failure: (name: String, reason: String)?
        for name in names {
            do throws(ListenError) {
                switch name {
                case "port", "bind", "tcp-backlog":
                    if isRelistened { continue }
                    isRelistened = true
                    try listenToClients()
                    try listenToBus()
                    showTitle()
                case "oom-score-adj", "oom-score-adj-values":
                    failure = applyOOMScore() ? failure : failure ?? (name, Self.scoreRefused)
                case "proc-title-template":
                    showTitle()
                case "unixsocket", "unixsocketperm":
                    try listenToUnix()
                case "cluster-port":
                    try listenToBus()
                case "loglevel":
                    pointee.log.threshold = settings.logLevel
                case "logfile":
                    reopenLog()
                case "dir":
                    switch ProcessFigures.folder(settings.directory) {
                    case .success(let folder):
                        pointee.executor.pointee.settings.directory = folder
                        pointee.files.post(.changeFolder(folder))
                    case .failure(let problem):
                        failure = failure ?? (name, problem.reason)
                    }
                case "maxclients":
                    var limit = OpenFileLimit(clients: settings.maxClients)
                    for line in limit.raise() { log(line) }
                    guard limit.clients < settings.maxClients else { continue }
                    let reason =
                        "The operating system is not able to handle the specified number of "
                        + "clients, try with \(limit.clients)"
                    failure = failure ?? (name, reason)
                default:
                    maybe(true)
                }
            } catch {
                for line in error.lines { log(.warning, line) }
                let reason =
                    name == "bind"
                    ? "Failed to bind to specified addresses."
                    : "Unable to listen on this port. Check server logs."
                failure = failure ?? (name, reason)
            }
        }
        return failure
    }

    private static var scoreRefused: String {
        "Failed to apply new oom_score_adj configuration, check server logs."
    }

    /// The score follows the role as well as the settings. False when the kernel refuses it.
    private func applyOOMScore() -> Bool {
        let isReplica = pointee.node.isReplica
        guard let problem = pointee.oomScore.apply(settings, isReplica: isReplica) else {
            return true
        }
        log(.warning, "Unable to write oom_score_adj: \(problem)")
        return false
    }

    func showTitle() {
        pointee.title?.show(settings, configFile: pointee.node.pointee.configPath)
    }

    private func reopenLog() {
        do {
            try pointee.log.open(settings.logFile)
        } catch {
            log(.warning, "Can't open the log file: \(error.reason)")
        }
    }

    private func listenToClients() throws(ListenError) {
        let port = settings.port
        // The same port cannot be bound twice; on a new one, the old serves until all is well.
        if port == pointee.clientPort { closeClientListeners() }
        let opened = port == 0 ? [] : try open(port: port, name: "TCP")
        closeClientListeners()
        pointee.clientPort = port
        pointee.clientListeners = opened.map { register($0, .clientListener) }
    }

    private func closeClientListeners() {
        for listener in pointee.clientListeners { release(listener) }
        pointee.clientListeners = []
    }

    private func listenToBus() throws(ListenError) {
        guard settings.clusterEnabled else { return }
        let port = settings.clusterPort == 0 ? settings.port + 10000 : settings.clusterPort
        guard port <= 65535 else {
            throw ListenError(lines: [
                "Redis port number too high for cluster mode. Since the cluster bus port is "
                    + "usually obtained by adding 10000 to the data port, it must be lower than "
                    + "55535. Or set cluster-port to another port. Exiting."
            ])
        }
        if port == pointee.busPort { closeBusListeners() }
        let opened = try open(port: port, name: "cluster")
        closeBusListeners()
        pointee.busPort = port
        pointee.busListeners = opened.map { register($0, .busListener) }
    }

    private func closeBusListeners() {
        for listener in pointee.busListeners { release(listener) }
        pointee.busListeners = []
    }

    private func open(port: Int, name: String) throws(ListenError) -> [Int32] {
        var warnings: [String] = []
        do throws(ListenError) {
            let opened = try Listener.open(
                port: port,
                bind: settings.bind,
                backlog: settings.tcpBacklog,
                warnings: &warnings
            )
            for line in warnings { log(.warning, line) }
            return opened
        } catch {
            throw ListenError(
                lines: error.lines + ["Failed listening on port \(port) (\(name)), aborting."]
            )
        }
    }

    private func listenToUnix() throws(ListenError) {
        let path = settings.unixSocket
        var opened: Int32?
        if !path.isEmpty {
            opened = try Listener.openUnix(
                path,
                permissions: settings.unixSocketPermissions,
                backlog: settings.tcpBacklog
            )
        }
        if let old = pointee.unixListener {
            release(old)
            if pointee.unixPath != path { unlink(pointee.unixPath) }
        }
        pointee.unixPath = path
        pointee.unixListener = opened.map { register($0, .unixListener) }
    }
}

/// The limit of open descriptors, raised to what the clients need.
struct OpenFileLimit {
    /// Descriptors for everything that is not a client: files, listeners, peers.
    static let reserved = 32

    /// How many clients the limit allows; lowered by `raise` if need be, 0 when it allows none.
    private(set) var clients: Int

    init(clients: Int) { self.clients = clients }

    /// Raises the process's limit; returns what the log must say.
    mutating func raise() -> [LogLine] {
        let wanted = clients + Self.reserved
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            clients = 1024 - Self.reserved
            return [
                LogLine(
                    .warning,
                    "Unable to obtain the current NOFILE limit (\(errorText(errno))), assuming "
                        + "1024 and setting the max clients configuration accordingly."
                )
            ]
        }
        let old = Int(clamping: limit.rlim_cur)
        if old >= wanted { return [] }
        var best = wanted
        var code: Int32 = 0
        while best > old {
            limit.rlim_cur = rlim_t(best)
            limit.rlim_max = max(limit.rlim_max, rlim_t(best))
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 { break }
            code = errno
            _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            // The hard limit is the most that an ordinary user gets.
            best = best > Int(clamping: limit.rlim_max) ? Int(clamping: limit.rlim_max) : best - 16
        }
        best = max(best, old)
        if best >= wanted {
            return [
                LogLine(
                    .notice,
                    "Increased maximum number of open files to \(wanted) "
                        + "(it was originally set to \(old))."
                )
            ]
        }
        return lower(to: best, from: old, wanted: wanted, code: code)
    }

    private mutating func lower(to best: Int, from old: Int, wanted: Int, code: Int32) -> [LogLine]
    {
        let before = clients
        clients = max(0, best - Self.reserved)
        if clients == 0 {
            return [
                LogLine(
                    .warning,
                    "Your current 'ulimit -n' of \(old) is not enough for the server to start. "
                        + "Please increase your open file limit to at least \(wanted). Exiting."
                )
            ]
        }
        return [
            LogLine(
                .warning,
                "You requested maxclients of \(before) requiring at least \(wanted) max file "
                    + "descriptors."
            ),
            LogLine(
                .warning,
                "Server can't set maximum open files to \(wanted) because of OS error: "
                    + "\(errorText(code))."
            ),
            LogLine(
                .warning,
                "Current maximum open files is \(best). maxclients has been reduced to \(clients) "
                    + "to compensate for low ulimit. If you need higher maxclients increase "
                    + "'ulimit -n'."
            ),
        ]
    }
}
