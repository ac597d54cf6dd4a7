// From the command line to the running loop, in the order that users and test suites know: read
// the configuration, leave the terminal, say hello, open sockets, restore cluster and data, serve.
// Whatever cannot work ends the process here with a sentence that names the file, and status 1.
import Base
import CLinux
import Engine
import Glibc
import NodeCore

/// Why a start was given up; the lines are logged, the last one last.
struct BootFailure: Error {
    var lines: [String]
    init(_ lines: [String]) { self.lines = lines }
    init(_ line: String) { lines = [line] }
}

/// Starts a node with the process's arguments and runs it. Returns the exit status.
public func boot() -> Int32 { boot(asSentinel: false) }

/// Starts a sentinel, whatever the program is called.
public func bootSentinel() -> Int32 { boot(asSentinel: true) }

private func boot(asSentinel: Bool) -> Int32 {
    tzset()
    let arguments = Swift.CommandLine.arguments
    switch LaunchOptions.parse(arguments) {
    case .say(let text, let toStandardError, let code):
        Syscalls.say(text, to: toStandardError ? STDERR_FILENO : STDOUT_FILENO)
        return code
    case .checkSystem:
        return SystemCheck.run()
    case .check(let request):
        return CheckTool.run(request)
    case .run(var options):
        if asSentinel { options.isSentinel = true }
        return run(options, arguments: arguments)
    }
}

private func run(_ options: LaunchOptions, arguments: [String]) -> Int32 {
    var log = LogFile()
    let restart = RestartPlan(arguments: arguments, configFile: options.configFile)
    let settings: Settings
    let config: ConfigFile?
    var plan: SentinelPlan?
    do throws(ConfigRefusal) {
        if options.isSentinel {
            let read = try SentinelPlan.read(options)
            settings = read.settings
            plan = read.plan
            // What is wrong in it is said before the process leaves its terminal.
            _ = try read.plan.makeState(folder: read.settings.directory)
        } else {
            settings = try loadSettings(options)
        }
        config = try ConfigFile(options)
    } catch {
        switch error {
        case .unreadable(let text): log.write(LogLine(.warning, text), at: Clock.wall())
        case .wrong(let report): Syscalls.say(report, to: STDERR_FILENO)
        }
        return 1
    }
    var process = NodeProcess(
        settings: settings,
        options: options,
        config: config,
        sentinel: plan,
        program: arguments[0]
    )
    let outcome = process.serve(&log)
    switch outcome {
    case .exit(let code):
        return code
    case .restart(let delay):
        pause(microseconds: delay * 1000)
        return restart.run()
    }
}

/// One life of the node's process, from the settings to the end.
private struct NodeProcess: ~Copyable {
    private var settings: Settings
    private let options: LaunchOptions
    private let config: ConfigFile?
    private let sentinel: SentinelPlan?
    private let program: String
    private var pidFile = ""
    private var supervision = Supervision.Mode.none

    init(
        settings: Settings, options: LaunchOptions, config: ConfigFile?, sentinel: SentinelPlan?,
        program: String
    ) {
        self.settings = settings
        self.options = options
        self.config = config
        self.sentinel = sentinel
        self.program = program
    }

    /// Runs until the end. Logs why when it cannot begin.
    mutating func serve(_ log: inout LogFile) -> EventLoop.Ending {
        log.threshold = settings.logLevel
        do throws(BootFailure) {
            try enterBackground(&log)
            try greet(&log)
            return try runLoop(&log)
        } catch {
            for line in error.lines { log.write(LogLine(.warning, line), at: Clock.wall()) }
            removePidFile()
            return .exit(code: 1)
        }
    }

    // MARK: The process

    private mutating func enterBackground(_ log: inout LogFile) throws(BootFailure) {
        if settings.syslogEnabled {
            throw BootFailure(
                "syslog-enabled is not supported: set logfile, or let the supervisor log."
            )
        }
        let begun = Supervision.begin(settings.supervised)
        supervision = begun.mode
        for line in begun.lines { log.write(line, at: Clock.wall()) }
        guard chdir(settings.directory) == 0 else {
            throw BootFailure("Can't chdir to '\(settings.directory)': \(errorText(errno))")
        }
        let isBackground = settings.daemonize && supervision == .none
        do throws(SystemError) {
            // Opened before the terminal is left, so that the user sees why it fails.
            try log.open(settings.logFile)
        } catch {
            throw BootFailure("Can't open the log file \(settings.logFile): \(error.reason)")
        }
        if isBackground {
            do throws(SystemError) {
                try Supervision.daemonize()
            } catch {
                throw BootFailure("Can't go to the background: \(error.text)")
            }
        }
        if isBackground || !settings.pidFile.isEmpty {
            pidFile = settings.pidFile.isEmpty ? "/var/run/redis.pid" : settings.pidFile
        }
    }

    private mutating func greet(_ log: inout LogFile) throws(BootFailure) {
        func say(_ level: LogLevel, _ text: String) {
            log.write(LogLine(level, text), at: Clock.wall())
        }
        say(.warning, "oO0OoO0OoO0Oo Martlet is starting oO0OoO0OoO0Oo")
        say(
            .warning,
            "Redis version=\(Product.redisVersion), bits=64, commit=00000000, modified=0, "
                + "pid=\(getpid()), just started"
        )
        say(
            .warning,
            options.hasArguments
                ? "Configuration loaded"
                : "Warning: no config file specified, using the default config. In order to "
                    + "specify a config file use \(program) /path/to/redis.conf"
        )
        var limit = OpenFileLimit(clients: settings.maxClients)
        let lines = limit.raise()
        if limit.clients == 0 { throw BootFailure(lines.map(\.text)) }
        for line in lines { log.write(line, at: Clock.wall()) }
        settings.maxClients = limit.clients
    }

    private func removePidFile() {
        if !pidFile.isEmpty { unlink(pidFile) }
    }

    // MARK: The node

    private mutating func runLoop(_ log: inout LogFile) throws(BootFailure) -> EventLoop.Ending {
        let signals = try system { () throws(SystemError) in try Signals.install() }
        let lock = try lockNodesConf()
        // Before the first thread: the environment moves.
        let title = settings.setProcTitle ? ProcessTitle(program: program) : nil
        let node = makeNode()
        rememberConfig(node)
        try renameCommands(node)
        var ownLog = LogFile()
        swap(&ownLog, &log)
        let loop: EventLoopPointer
        do throws(SystemError) {
            loop = try EventLoop.make(node: node, lock: lock, log: ownLog)
        } catch {
            throw BootFailure(error.text)
        }
        loop.pointee.title = title
        _ = loop.register(signals, .signals)
        loop.connectAdministration(supervision: settings.supervised)
        do throws(BootFailure) {
            try prepare(loop, node)
        } catch {
            // Why it ends is the last line: scripts look for it there.
            let ending = end(loop, .exit(code: 1))
            for line in error.lines { loop.log(.warning, line) }
            return ending
        }
        // What the node has to say about its start comes before the line that ends it.
        if loop.pointee.ending == nil { loop.turn(atMost: .zero) }
        if let ending = loop.pointee.ending { return end(loop, ending) }
        announce(loop)
        loop.apply(["oom-score-adj", "proc-title-template"])
        // A third of the memory of an idle node would be code that only the start ran.
        clinux_release_startup_code()
        return end(loop, loop.run())
    }

    private func makeNode() -> NodePointer {
        if sentinel != nil { return NodePointer.makeSentinel(settings: settings) }
        return NodePointer.make(
            settings: settings,
            now: Clock.now(),
            seed: Entropy.seed(),
            sipKey: Entropy.sipKey()
        )
    }

    /// The sentinel's part of the start, instead of a node's data.
    private func startSentinel(
        _ plan: SentinelPlan,
        _ loop: EventLoopPointer
    ) throws(BootFailure) {
        do throws(ConfigRefusal) {
            let state = try plan.makeState(at: loop.pointee.now)
            let driver = SentinelDriver.attach(to: loop, state, path: plan.path)
            loop.pointee.node.start()
            driver.start()
        } catch {
            // It could be read a moment ago.
            switch error {
            case .unreadable(let text), .wrong(let text): throw BootFailure(text)
            }
        }
    }

    /// Everything between the first line of the log and the first client.
    private mutating func prepare(
        _ loop: EventLoopPointer,
        _ node: NodePointer
    ) throws(BootFailure) {
        do throws(ListenError) {
            try loop.listen()
        } catch {
            throw BootFailure(error.lines)
        }
        if settings.clusterEnabled { try restoreCluster(node) }
        if !pidFile.isEmpty, let line = Supervision.writePidFile(pidFile) { loop.log(line) }
        showLogo(loop)
        for line in SystemCheck.backlogWarnings(settings.tcpBacklog) { loop.log(.warning, line) }
        loop.log(.warning, "Server initialized")
        try loadUsers(node)
        if let sentinel { return try startSentinel(sentinel, loop) }
        for line in SystemCheck.memoryWarnings() { loop.log(.warning, "WARNING \(line)") }
        try loadData(loop, node)
        // A log that is to be written must be open before anything is promised.
        if loop.pointee.ending == nil { loop.turn(atMost: .zero) }
        while node.isStartingLog, loop.pointee.ending == nil {
            loop.turn(atMost: Milliseconds(50))
        }
        if loop.pointee.ending == nil { node.start() }
    }

    /// Before anybody is served, and before the administration's other ways to files are needed.
    private func loadUsers(_ node: NodePointer) throws(BootFailure) {
        node.pointee.admin.readAccessFile = { path in
            do throws(SystemError) {
                guard let contents = try Syscalls.contents(ofFile: path) else {
                    return .failure(
                        FileFailure(operation: "open", path: path, reason: errorText(ENOENT)))
                }
                return .success(contents)
            } catch {
                return .failure(
                    FileFailure(operation: "open", path: path, reason: error.reason))
            }
        }
        if let lines = node.loadUsersAtStart() { throw BootFailure(lines) }
    }

    /// The log if there is one, else the snapshot: also where the log is only just switched on, so
    /// that doing so empties nothing.
    private func loadData(
        _ loop: EventLoopPointer,
        _ node: NodePointer
    ) throws(BootFailure) {
        var loaded = LoadedLog()
        if settings.appendOnly {
            node.expectLog()
            let began = Clock.now().instant
            var folder = LogFolder(loop: loop)
            var found = false
            do throws(BootError) {
                (loaded, found) = try node.loadLog(&folder)
            } catch {
                loop.turn(atMost: .zero)
                throw BootFailure(error.text)
            }
            if loop.pointee.ending != nil { return }
            if found {
                loop.turn(atMost: .zero)
                let spent = Clock.now().instant.microseconds - began.microseconds
                loop.log(
                    .notice,
                    "DB loaded from append only file: "
                        + "\(DatasetLoader.thousandths(Double(spent) / 1_000_000)) seconds")
                return node.startLog(loaded)
            }
        }
        try DatasetLoader(path: settings.dbFilename, folder: settings.directory)
            .load(into: node, loop)
        if loop.pointee.ending == nil { node.startLog(loaded) }
    }

    /// CONFIG REWRITE works on the file as it was read, wherever the process has moved since.
    private func rememberConfig(_ node: NodePointer) {
        guard let config else { return }
        node.pointee.configPath = config.path
        node.pointee.configText = config.contents
    }

    /// `rename-command`: names that were checked against nothing until now.
    private func renameCommands(_ node: NodePointer) throws(BootFailure) {
        let table = node.executor.pointee.commands
        for (from, to) in settings.renamedCommands {
            let isDone = from.withBytes { old in
                to.withBytes { table.pointee.rename(old, to: $0) }
            }
            if !isDone {
                throw BootFailure(
                    "Fatal error in the configuration: no such command in "
                        + "rename-command \(from) \(to)")
            }
        }
    }

    private func lockNodesConf() throws(BootFailure) -> FileLock? {
        guard settings.clusterEnabled else { return nil }
        let path = settings.clusterConfigFile
        do throws(FileLock.Failure) {
            return try FileLock(path: path)
        } catch {
            switch error {
            case .taken:
                throw BootFailure(
                    "Sorry, the cluster configuration file \(path) is already used by a different "
                        + "Redis Cluster node. Please make sure that different nodes use "
                        + "different cluster configuration files."
                )
            case .system(let error):
                throw BootFailure(
                    "Can't open \(path) in order to acquire a lock: \(error.reason)"
                )
            }
        }
    }

    private func restoreCluster(_ node: NodePointer) throws(BootFailure) {
        let path = settings.clusterConfigFile
        let contents: [UInt8]?
        do throws(SystemError) {
            contents = try Syscalls.contents(ofFile: path)
            // A vote or a claim that this process stands by must not be forgotten.
            if contents != nil { try Syscalls.settle(path) }
        } catch {
            throw BootFailure("Can't read the cluster configuration file \(error.text)")
        }
        do throws(BootError) {
            // The lock created the file if there was none: empty is as good as missing.
            try node.restoreCluster(nodesConf: contents?.isEmpty == true ? nil : contents)
        } catch {
            throw BootFailure(error.text)
        }
    }

    private func showLogo(_ loop: EventLoopPointer) {
        let mode = settings.mode
        let isTerminal = settings.logFile.isEmpty && isatty(STDOUT_FILENO) == 1
        guard settings.alwaysShowLogo || isTerminal else {
            return loop.log(.notice, "Running mode=\(mode), port=\(settings.port).")
        }
        loop.pointee.log.writeRaw(Logo.text(mode: mode, port: settings.port, pid: getpid()))
    }

    private func announce(_ loop: EventLoopPointer) {
        if settings.port != 0 { loop.log(.notice, "Ready to accept connections") }
        if !settings.unixSocket.isEmpty {
            loop.log(
                .notice,
                "The server is now ready to accept connections at \(settings.unixSocket)"
            )
        }
        if settings.maxMemory > 0, settings.maxMemory < 1 << 20 {
            loop.log(
                .warning,
                "WARNING: You specified a maxmemory value that is less than 1MB (current value is "
                    + "\(settings.maxMemory) bytes). Are you sure this is what you really want?"
            )
        }
        guard supervision == .systemd else { return }
        let status =
            settings.replicaOf == nil
            ? "Ready to accept connections"
            : "Ready to accept connections in read-only mode. Waiting for MASTER <-> REPLICA sync"
        Supervision.notify("STATUS=\(status)\nREADY=1\n")
    }

    // MARK: The end

    /// Finishes the files, removes what marks a running server.
    private func end(_ loop: EventLoopPointer, _ ending: EventLoop.Ending) -> EventLoop.Ending {
        loop.flushLinks()
        loop.pointee.logs.finish()
        loop.pointee.files.finish()
        if loop.pointee.unixListener != nil {
            loop.log(.notice, "Removing the unix socket file.")
            unlink(loop.pointee.unixPath)
        }
        if !pidFile.isEmpty {
            loop.log(.notice, "Removing the pid file.")
            removePidFile()
        }
        // Before the clients' connections: who sees the end of one must find no port that answers.
        for listener in loop.pointee.clientListeners { loop.release(listener) }
        loop.pointee.clientListeners = []
        // Not freed: the process ends, and the kernel frees a gigabyte faster than we could.
        return ending
    }

    private func system<R>(_ work: () throws(SystemError) -> R) throws(BootFailure) -> R {
        do throws(SystemError) {
            return try work()
        } catch {
            throw BootFailure(error.text)
        }
    }
}
