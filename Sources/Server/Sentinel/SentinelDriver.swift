// A sentinel in the real world: carries out what the machine wants and tells it what came of it.
// Clients, their authentication and their subscriptions are an ordinary node's, which has no data
// and only a sentinel's commands; the links to instances are the loop's. The configuration file is
// written and synced before anything that rests on it leaves; a disk that does not take it is
// tried again every second, and until then this sentinel gives and asks for no votes.
import Base
import CLinux
import Engine
import Glibc
import Gossip
import NodeCore
import Sentinel

package typealias SentinelDriverPointer = UnsafeMutablePointer<SentinelDriver>

package struct SentinelDriver: ~Copyable {
    let loop: EventLoopPointer
    var state: SentinelState
    /// Absolute, for the process may change its folder.
    let path: String
    /// The state that could not be written.
    var unsaved: SentinelPersistRequest?
    var retryAt = Instant.start
    var nextTick = Instant.start
    var scripts = ScriptProcesses()
    /// Names that the resolver is asked for, by the number of the question.
    var questions: [UInt64: String] = [:]
    var questionCount: UInt64 = 0

    private static let retryPeriod = Milliseconds(1000)

    /// Makes the driver of the sentinel `state` and puts it into `loop` and its node.
    static func attach(
        to loop: EventLoopPointer, _ state: consuming SentinelState, path: String
    ) -> SentinelDriverPointer {
        let driver = SentinelDriverPointer.allocate(capacity: 1)
        driver.initialize(to: SentinelDriver(loop: loop, state: state, path: path))
        loop.pointee.sentinel = driver
        loop.pointee.node.pointee.companion = UnsafeMutableRawPointer(driver)
        return driver
    }

    private init(loop: EventLoopPointer, state: consuming SentinelState, path: String) {
        self.loop = loop
        self.state = state
        self.path = path
    }

    mutating func retryLater(_ request: SentinelPersistRequest, at now: Instant) {
        unsaved = request
        retryAt = now + Self.retryPeriod
    }
}

extension SentinelDriverPointer {
    private var now: Now { pointee.loop.pointee.now }

    /// The driver that runs the sentinel of a call.
    static func of(_ call: Call) -> SentinelDriverPointer {
        guard let companion = NodePointer.of(call).pointee.companion else {
            unreachable("a sentinel's command without a sentinel")
        }
        return companion.assumingMemoryBound(to: SentinelDriver.self)
    }

    /// Says what is monitored, and begins.
    func start() {
        let settings = pointee.loop.pointee.executor.pointee.settings
        step(
            .command(
                .localSettings(port: settings.port, requirePassword: settings.requirePassword)))
        var effects = SentinelEffects()
        pointee.state.announceStart(at: now, into: &effects)
        carryOut(effects)
    }

    /// The loop's turn: time's own work when it is due. Returns how long there is nothing to do.
    func turn() -> Milliseconds {
        let instant = now.instant
        if instant >= pointee.nextTick {
            reapScripts()
            step(.tick)
            if let request = pointee.unsaved, instant >= pointee.retryAt { save(request) }
            pointee.nextTick = instant + pointee.state.tickPeriod
        }
        return max(Milliseconds(1), pointee.nextTick - instant)
    }

    @discardableResult
    func step(_ input: SentinelInput) -> SentinelReply? {
        var effects = SentinelEffects()
        pointee.state.step(input, at: now, into: &effects)
        carryOut(effects)
        guard effects.reply == .okWhenSaved else { return effects.reply }
        return pointee.unsaved == nil
            ? .ok : .error("ERR Failed to save config file. Check server logs.")
    }

    // MARK: Effects

    private func carryOut(_ effects: SentinelEffects) {
        let loop = pointee.loop
        for line in effects.log { loop.log(line) }
        for event in effects.events { tell(event) }
        for connection in effects.close { loop.close(LinkID(raw: connection.raw)) }
        for connect in effects.connect {
            loop.connect(
                LinkID(raw: connect.connection.raw), .sentinel, host: connect.host,
                port: connect.port)
        }
        for send in effects.send { loop.send(LinkID(raw: send.connection.raw), send.bytes) }
        for name in effects.resolve { resolve(name) }
        for (job, arguments) in effects.startScripts { startScript(job, arguments) }
        for process in effects.killScripts { kill(process, SIGKILL) }
        if let code = effects.exit { exit(code) }
        if let request = effects.state { save(request) }
    }

    private func tell(_ event: SentinelEvent) {
        let loop = pointee.loop
        loop.log(event.level, "\(event.type) \(event.message)")
        guard event.level != .debug else { return }
        event.type.withBytes { channel in
            event.message.withBytes { message in
                _ = loop.pointee.executor.publish(channel, message)
            }
        }
    }

    /// Writes the file, and releases what waited for it.
    private func save(_ request: SentinelPersistRequest) {
        let path = pointee.path
        do throws(SystemError) {
            let old = withUsers(try Syscalls.contents(ofFile: path) ?? [])
            try AtomicFile.replace(path, SentinelConf.merge(old, request.lines))
        } catch {
            pointee.loop.log(
                .warning,
                "WARNING: Sentinel was not able to save the new configuration on disk!!!: "
                    + error.text)
            return pointee.retryLater(request, at: now.instant)
        }
        pointee.unsaved = nil
        pointee.loop.log(.notice, "Sentinel new configuration saved on disk")
        step(.stateSynced(version: request.version))
    }

    /// The file with the users that there are now; untouched as long as nobody speaks of users.
    private func withUsers(_ old: [UInt8]) -> [UInt8] {
        let node = pointee.loop.pointee.node
        let isUntouched = node.executor.pointee.access.pointee.isUntouched
        let text = String(decoding: old, as: UTF8.self)
        let hasUsers = text.split(separator: "\n").contains { line in
            ConfigTable.words(String(line))?.first?.lowercased() == "user"
        }
        if isUntouched, !hasUsers { return old }
        return Array(ConfigTable.rewrite(text, users: isUntouched ? [] : node.userLines).utf8)
    }

    // MARK: Links

    func linkOpened(_ link: LinkID, localAddress: String) {
        step(.opened(ConnectionID(raw: link.raw), localAddress: localAddress))
    }

    func linkData(_ link: LinkID, _ bytes: Bytes) {
        step(.received(ConnectionID(raw: link.raw), bytes.array))
    }

    func linkClosed(_ link: LinkID, _ why: LinkFailure) {
        let end: ConnectionEnd =
            switch why {
            case .refused: .refused
            case .reset, .closedByPeer: .broken
            case .timedOut, .unreachable, .outputLimit, .local: .lost
            }
        step(.closed(ConnectionID(raw: link.raw), end))
    }

    // MARK: Names

    /// Questions to the resolver have numbers far above those of connections.
    private static var firstQuestion: UInt64 { 1 &<< 63 }

    private func resolve(_ name: String) {
        if pointee.questions.values.contains(name) { return }
        pointee.questionCount += 1
        let number = Self.firstQuestion + pointee.questionCount
        if pointee.loop.askResolver(LinkID(raw: number), host: name, port: 0) {
            pointee.questions[number] = name
        }
    }

    /// True when the answer was for the sentinel.
    func resolved(_ link: LinkID, _ addresses: [SocketAddress]) -> Bool {
        guard let name = pointee.questions.removeValue(forKey: link.raw) else { return false }
        step(.resolved(name: name, ip: addresses.first?.host))
        return true
    }
}

/// Replacing a file so that a crash leaves the old contents or the new, and what was replaced is
/// on the disk when this returns.
enum AtomicFile {
    static func replace(_ path: String, _ contents: [UInt8]) throws(SystemError) {
        let temporary = "\(path).tmp-\(getpid())"
        var found = stat()
        let mode: UInt32 = stat(path, &found) == 0 ? UInt32(found.st_mode & 0o777) : 0o644
        let descriptor = try Syscalls.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        do throws(SystemError) {
            try write(contents, descriptor, temporary)
            try Syscalls.sync(descriptor, path: temporary)
            try Syscalls.rename(temporary, to: path)
        } catch {
            Syscalls.close(descriptor)
            unlink(temporary)
            throw error
        }
        Syscalls.close(descriptor)
        try Syscalls.syncFolder(of: path)
    }

    private static func write(
        _ contents: [UInt8], _ descriptor: Int32, _ path: String
    ) throws(SystemError) {
        let result = contents.withBytes { bytes in
            Result<Void, SystemError> { () throws(SystemError) in
                try Syscalls.writeAll(descriptor, bytes, path: path)
            }
        }
        try result.get()
    }
}
