// The loop of a node: waits for descriptors, hands what they bring to the node, lets the node run
// its end-of-iteration list, and sleeps as long as that list allows. One thread, level-triggered
// epoll, one read per ready client and one write per client and iteration; a request of a lone
// client costs one epoll_wait, one read, one write, and no allocation.
import Base
import CLinux
import Engine
import Glibc
import Gossip
import NodeCore

/// How the loop is passed about: its parts are methods of the pointer, because the node calls back
/// into it while an iteration runs.
package typealias EventLoopPointer = UnsafeMutablePointer<EventLoop>

package struct EventLoop: ~Copyable {
    static let eventCapacity = 1024
    /// Connections taken from one listener per iteration, so that a storm of them starves nobody.
    static let acceptBudget = 128
    /// Bytes written to one client per iteration; more waits for the next turn.
    static let writeBudget = 1 << 20
    /// Reads from one client per turn, while they fill the room that they are given.
    static let readsPerTurn = 4
    /// The shared read buffer of clients that hold no unfinished request.
    static let scratchSize = 64 << 10

    /// A write to the append-only file that takes longer shows that the disk is slow, and for so
    /// long the loop keeps its hands off it.
    static let longLogWrite = Milliseconds(5)
    static let slowLogPeriod = Milliseconds(5000)

    /// Why the loop ends.
    package enum Ending: Equatable {
        case exit(code: Int32)
        case restart(delayMilliseconds: Int64)
    }

    /// The end of a link, told to the node before its next end-of-iteration list.
    struct LinkReport {
        var link: LinkID
        var failure: LinkFailure
    }

    let epoll: Int32
    package let node: NodePointer
    let executor: ExecutorPointer
    package let files: FileWorker
    package let logs: LogWorker
    let answers: Mailbox<JobAnswer>
    let events: UnsafeMutablePointer<epoll_event>
    /// Lent to sessions while they parse; see `EventLoop+Clients.swift`.
    let scratch: UnsafeMutablePointer<Buffer>

    package var registrations = RegistrationTable()
    var log: LogFile
    var now: Now
    var sleep = Milliseconds.zero
    var moderation = Moderation()
    package var ending: Ending?

    var clientListeners: [RegistrationPointer] = []
    var unixListener: RegistrationPointer?
    var unixPath = ""
    var busListeners: [RegistrationPointer] = []
    /// The ports that the listeners above are for.
    var clientPort = 0
    var busPort = 0
    /// Kept open so that a connection can be refused politely when descriptors run out.
    var spareDescriptor: Int32
    var lastDescriptorWarning = Instant.start

    var links: [LinkID: LinkPointer] = [:]
    var dirtyLinks: [LinkPointer] = []
    var reports: [LinkReport] = []
    var inboundLinkCount: UInt64 = 0
    var resolver: ResolverWorker?
    /// Set in a sentinel's process: all links are its.
    var sentinel: SentinelDriverPointer?

    var slowLogUntil = Instant.start
    var oomScore = OOMScore()
    /// The process's title, where it can be shown.
    var title: ProcessTitle?

    var sweepPosition = 0
    var lastSweep = Instant.start

    private init(
        node: NodePointer,
        files: FileWorker,
        logs: LogWorker,
        answers: Mailbox<JobAnswer>,
        log: consuming LogFile
    ) throws(SystemError) {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        if epoll < 0 { throw SystemError("epoll_create1") }
        spareDescriptor = try Syscalls.open("/dev/null", O_RDONLY)
        self.node = node
        executor = node.pointee.executor
        self.files = files
        self.logs = logs
        self.answers = answers
        self.log = log
        now = node.now
        events = .allocate(capacity: Self.eventCapacity)
        scratch = .allocate(capacity: 1)
        scratch.initialize(to: Buffer())
    }

    /// A loop for `node` with its file thread, which holds `lock` from now on.
    package static func make(
        node: NodePointer,
        lock: FileLock?,
        log: consuming LogFile
    ) throws(SystemError) -> EventLoopPointer {
        let answers = Mailbox<JobAnswer>(blocking: false)
        let files = try FileWorker(lock: lock, answers: answers)
        let logs = try LogWorker(answers: answers)
        let loop = EventLoopPointer.allocate(capacity: 1)
        loop.initialize(
            to: try EventLoop(node: node, files: files, logs: logs, answers: answers, log: log)
        )
        _ = loop.register(answers.descriptor, .mailbox)
        return loop
    }

    deinit {
        events.deallocate()
        scratch.deinitialize(count: 1)
        scratch.deallocate()
        Syscalls.close(spareDescriptor)
        Syscalls.close(epoll)
    }
}

extension EventLoopPointer {
    /// Turns until the node asks for the end.
    func run() -> EventLoop.Ending {
        while true {
            turn(atMost: Milliseconds(1000))
            if let ending = pointee.ending { return ending }
        }
    }

    /// One iteration that sleeps no longer than `limit`.
    package func turn(atMost limit: Milliseconds) {
        let mustHurry = !pointee.reports.isEmpty || pointee.ending != nil
        let timeout = mustHurry ? .zero : min(limit, max(.zero, pointee.sleep))
        if _slowPath(pointee.moderation.pays), timeout > .zero { pointee.moderation.pause() }
        let count = wait(timeout)
        pointee.now = Clock.now()
        pointee.node.setNow(pointee.now)
        pointee.moderation.begin(at: pointee.now.instant, commands: commandsProcessed)
        handle(count)
        deliverReports()
        var shell = ProcessShell(loop: self)
        let rest = pointee.sentinel?.turn()
        pointee.sleep = pointee.node.beforeSleep(&shell)
        pointee.moderation.end(commands: commandsProcessed)
        if _slowPath(rest != nil), let rest { pointee.sleep = min(pointee.sleep, rest) }
        if _slowPath(!pointee.dirtyLinks.isEmpty) { flushLinks() }
        if _slowPath(pointee.now.instant - pointee.lastSweep >= Milliseconds(100)) { sweep() }
    }

    @inline(__always)
    private var commandsProcessed: Int64 { pointee.executor.pointee.stats.commandsProcessed }

    private func wait(_ timeout: Milliseconds) -> Int {
        let capacity = Int32(EventLoop.eventCapacity)
        let count = epoll_wait(
            pointee.epoll,
            pointee.events,
            capacity,
            Int32(truncatingIfNeeded: timeout.count)
        )
        if _fastPath(count >= 0) { return Int(count) }
        invariant(errno == EINTR, "epoll_wait failed")
        return 0
    }

    /// First those that have room for what earlier iterations left over, then those with input: a
    /// reply of this iteration must not leave before the replicas were served.
    private func handle(_ count: Int) {
        let events = pointee.events
        var index = 0
        while index < count {
            if _slowPath(events[index].events & EPOLLOUT.rawValue != 0) {
                writable(events[index].data.u64)
            }
            index &+= 1
        }
        index = 0
        let input = EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
        while index < count {
            if events[index].events & input != 0 {
                readable(events[index].data.u64)
            }
            index &+= 1
        }
    }

    private func writable(_ token: UInt64) {
        guard let registration = pointee.registrations.find(token) else { return }
        switch registration.pointee.kind {
        case .client: clientHasRoom(registration)
        case .link: linkHasRoom(registration)
        default: unreachable("nothing else is written to")
        }
    }

    @inline(__always)
    private func readable(_ token: UInt64) {
        guard let registration = pointee.registrations.find(token) else { return }
        if _fastPath(registration.pointee.kind == .client) {
            return readClient(registration)
        }
        readOther(registration)
    }

    @inline(never)
    private func readOther(_ registration: RegistrationPointer) {
        switch registration.pointee.kind {
        case .link: readLink(registration)
        case .clientListener, .unixListener: acceptClients(registration)
        case .busListener: acceptLinks(registration)
        case .mailbox: readAnswers()
        case .signals: readSignals(registration)
        case .free, .client: unreachable("handled before")
        }
    }

    // MARK: Registrations

    /// Starts waiting for input on a descriptor.
    func register(
        _ descriptor: Int32,
        _ kind: Registration.Kind,
        waitsForRoom: Bool = false
    ) -> RegistrationPointer {
        let registration = pointee.registrations.take(descriptor, kind)
        registration.pointee.waitsForRoom = waitsForRoom
        let code = clinux_epoll_add(
            pointee.epoll,
            descriptor,
            interest(registration),
            registration.pointee.token
        )
        invariant(code == 0, "epoll refused a descriptor")
        return registration
    }

    /// Stops waiting and closes the descriptor; events of this batch for it are dropped.
    func release(_ registration: RegistrationPointer) {
        let descriptor = registration.pointee.descriptor
        pointee.registrations.release(registration)
        // Closing the last reference also removes it from epoll.
        Syscalls.close(descriptor)
    }

    func setWaitsForRoom(_ registration: RegistrationPointer, _ waits: Bool) {
        guard registration.pointee.waitsForRoom != waits else { return }
        registration.pointee.waitsForRoom = waits
        let code = clinux_epoll_modify(
            pointee.epoll,
            registration.pointee.descriptor,
            interest(registration),
            registration.pointee.token
        )
        invariant(code == 0, "epoll lost a descriptor")
    }

    private func interest(_ registration: RegistrationPointer) -> UInt32 {
        EPOLLIN.rawValue | (registration.pointee.waitsForRoom ? EPOLLOUT.rawValue : 0)
    }

    // MARK: Signals, answers, log

    private func readSignals(_ registration: RegistrationPointer) {
        while true {
            let number = clinux_next_signal(registration.pointee.descriptor)
            if number == 0 { return }
            pointee.node.signal(number == SIGINT ? .interrupt : .terminate)
        }
    }

    private func readAnswers() {
        for answer in pointee.answers.wait() {
            switch answer {
            case .fileDone(let ticket, let failure):
                pointee.node.fileDone(ticket: ticket, failure: failure)
            case .warning(let text):
                log(.warning, text)
            case .resolved(let link, let addresses, let reason):
                resolved(link, addresses, reason: reason)
            }
        }
    }

    func log(_ level: LogLevel, _ text: String) { log(LogLine(level, text)) }

    func log(_ line: LogLine) {
        pointee.log.role =
            pointee.sentinel != nil
            ? .sentinel
            : pointee.executor.pointee.alerts.contains(.isReplica) ? .replica : .primary
        pointee.log.write(line, at: Clock.wall())
    }
}
