// From bytes in a session's input to commands run. Pipelined requests are taken in batches: all
// complete commands are parsed, their first keys hashed and the table's cache lines asked for,
// and only then are they run in order, so that the memory latency of one key hides behind the
// work of another.
import Base
import HashSlots
import RESP
import Storage

/// One parsed command of a batch.
package struct ParsedCommand {
    var command: UnsafeMutablePointer<Command>?
    var firstArgument: Int
    var argumentCount: Int
    /// Where the next command begins in the input.
    var end: Int
    var key: KeyRef?
}

/// The latest name of a batch with the command that it means: pipelines repeat themselves, and
/// comparing a word is a fifth of a look-up.
private struct RecentName {
    /// Where the bytes end that may be read.
    let inputEnd: UnsafePointer<UInt8>
    var word: UInt64 = 0
    var count = 0
    var command: UnsafeMutablePointer<Command>?

    init(inputEnd: UnsafePointer<UInt8>) { self.inputEnd = inputEnd }

    @inline(__always)
    mutating func find(
        _ name: Bytes, in table: UnsafeMutablePointer<CommandTable>
    ) -> UnsafeMutablePointer<Command>? {
        guard name.count > 0, name.count <= 8, name.base + 8 <= inputEnd else {
            return lookUp(name, table)
        }
        // One load sees the whole name; what follows it is shifted out.
        let loaded = UnsafeRawPointer(name.base).loadUnaligned(as: UInt64.self).littleEndian
        let seen = loaded &<< UInt64(truncatingIfNeeded: (8 &- name.count) &* 8)
        if seen == word, name.count == count { return command }
        word = seen
        count = name.count
        command = lookUp(name, table)
        return command
    }

    @inline(never)
    private func lookUp(
        _ name: Bytes, _ table: UnsafeMutablePointer<CommandTable>
    ) -> UnsafeMutablePointer<Command>? { table.pointee.find(name) }
}

/// The latest first key of a batch: what is sent in a row is often about one key, and comparing two
/// words is a tenth of a hash.
private struct RecentKey {
    let keyspace: Keyspace
    let database: Int
    private var latest: KeyRef?

    init(_ keyspace: Keyspace, database: Int) {
        self.keyspace = keyspace
        self.database = database
    }

    @inline(__always)
    mutating func key(_ bytes: Bytes) -> KeyRef {
        if let latest, bytes.isSameShort(as: latest.bytes) {
            return KeyRef(bytes, sameAs: latest)
        }
        let key = hashed(bytes)
        latest = key
        return key
    }

    @inline(never)
    private func hashed(_ bytes: Bytes) -> KeyRef { keyspace.key(bytes, database: database) }
}

extension ExecutorPointer {
    static var batchLimit: Int { 64 }

    /// Parses and runs everything complete in the session's input. Returns when more bytes are
    /// needed, or the session is blocked, postponed or closing.
    public func process(_ session: UnsafeMutablePointer<Session>) {
        // A command may have the input of another session processed: that takes a batch of its own.
        session.pointee.flags.insert(.running)
        defer { session.pointee.flags.remove(.running) }
        guard let batch = pointee.batch else {
            let own = UnsafeMutablePointer<ParsedCommand>.allocate(capacity: Self.batchLimit)
            processBatches(session, own)
            own.deallocate()
            return
        }
        pointee.batch = nil
        processBatches(session, batch)
        pointee.batch = batch
    }

    /// Lets `body` process sessions although a command may be under way: its frame and its
    /// arguments stay what they are.
    public func apart(_ body: () -> Void) {
        let outer = pointee.frame.pointee
        var arguments = ArgumentList()
        swap(&pointee.arguments, &arguments)
        body()
        swap(&pointee.arguments, &arguments)
        pointee.frame.pointee = outer
    }

    @inline(__always)
    private func processBatches(
        _ session: UnsafeMutablePointer<Session>, _ batch: UnsafeMutablePointer<ParsedCommand>
    ) {
        while session.pointee.input.pointee.count >= session.pointee.inputNeeded,
            session.pointee.flags.isDisjoint(with: .stopsInput)
        {
            guard processBatch(session, batch) else { return }
        }
    }

    /// One batch; false when nothing more can be done now.
    private func processBatch(
        _ session: UnsafeMutablePointer<Session>, _ batch: UnsafeMutablePointer<ParsedCommand>
    ) -> Bool {
        let input = session.pointee.input
        let available = input.pointee.bytes
        let first = pointee.arguments.count
        var parser = RequestParser(
            UnsafeMutablePointer<UInt8>(mutating: available.base), available.count)
        let limits = ParseLimits(
            bulkLength: pointee.settings.maxBulkLength,
            authenticated: session.pointee.flags.contains(.authenticated))
        let database = Int(session.pointee.database)
        let prefetches = pointee.keyspace.gainsFromPrefetch(database: database)
        var names = RecentName(inputEnd: available.base + available.count)
        var keys = RecentKey(pointee.keyspace, database: database)
        var count = 0
        var hasMembers = false
        var result = ParseResult.command
        while count < Self.batchLimit {
            let argument = pointee.arguments.count
            result = parser.next(into: &pointee.arguments, limits: limits)
            guard _fastPath(result == .command) else {
                // An empty line costs nothing; a replica's keepalive is one.
                if result == .empty { continue }
                break
            }
            prepare(batch + count, argument, end: parser.position, &names, &keys)
            if let command = batch[count].command, command.pointee.member > 0 { hasMembers = true }
            if prefetches, let key = batch[count].key { pointee.keyspace.prefetchBucket(key) }
            count &+= 1
        }
        if prefetches, count > 1 { prefetchEntries(batch, count) }
        if hasMembers, count > 1 { prefetchMembers(batch, count) }
        endTimedRun()
        pointee.timer.beginBatch(inputBytes: available.count)
        let weighed = weighed(count, inputBytes: available.count)

        var done = 0
        var consumed = count == 0 ? parser.position : 0
        let logs = logsStream(session)
        while done < count {
            let database = session.pointee.database
            let isWeighed = _slowPath(weighed.contains(done))
            let before = isWeighed ? weighBefore(session) : CommandWeight()
            if _slowPath(run(batch + done, session) == .postpone) {
                postpone(session)
                break
            }
            if _slowPath(logs) {
                let start = done == 0 ? 0 : batch[done - 1].end
                logFromPrimary(
                    batch + done, available[start..<batch[done].end], databaseBefore: database,
                    session)
            }
            if _slowPath(isWeighed) {
                weighAfter(
                    batch + done, session, before, size: batch[done].end &- consumed,
                    rest: count &- done &- 1)
            }
            consumed = batch[done].end
            done &+= 1
            if _slowPath(pointee.blocking.hasReady) { serveReadyKeys() }
            if _slowPath(!session.pointee.flags.isDisjoint(with: .needsCare)) {
                if session.pointee.flags.contains(.holdsPushes) { releasePushes(session) }
                if !session.pointee.flags.isDisjoint(with: .stopsBatch) { break }
            }
        }
        endTimedRun()
        pointee.timer.run.limit = 1
        pointee.arguments.truncate(to: first)
        if done == count, count > 0 { consumed = parser.position }
        if _slowPath(session.pointee.flags.contains(.fromPrimary)), consumed > 0,
            !session.pointee.flags.contains(.fromLog)
        {
            applyStream(session, available[0..<consumed])
        }
        input.pointee.consume(consumed)
        // What an incomplete command needed says nothing of the input without it.
        session.pointee.inputNeeded = 1
        guard done == count else { return false }
        switch result {
        case .failed:
            guard let error = parser.failure else { unreachable("a failure has a reason") }
            refuseProtocol(session, error)
            return false
        case .incomplete:
            session.pointee.inputNeeded = parser.needed
            pointee.arguments.shrink()
            return false
        case .command, .empty:
            return true
        }
    }

    /// Whether the session is our primary's link and its commands go into our own log.
    @inline(__always)
    private func logsStream(_ session: UnsafeMutablePointer<Session>) -> Bool {
        _slowPath(session.pointee.flags.contains(.fromPrimary)) && pointee.feedsLog
            && !session.pointee.flags.contains(.fromLog)
    }

    /// Looks up a parsed command and hashes its first key.
    @inline(__always)
    private func prepare(
        _ place: UnsafeMutablePointer<ParsedCommand>, _ first: Int, end: Int,
        _ names: inout RecentName, _ keys: inout RecentKey
    ) {
        let arguments = pointee.arguments.base + first
        let count = pointee.arguments.count &- first
        let command = names.find(arguments[0], in: pointee.commands)
        place.initialize(
            to: ParsedCommand(
                command: command, firstArgument: first, argumentCount: count, end: end, key: nil))
        guard let command else { return }
        let position = Int(command.pointee.firstKey)
        if position > 0, position < count {
            place.pointee.key = keys.key(arguments[position])
        }
    }

    /// Once the table's lines are near: asks for the entries that they point to.
    @inline(__always)
    private func prefetchEntries(_ batch: UnsafeMutablePointer<ParsedCommand>, _ count: Int) {
        let keyspace = pointee.keyspace
        for index in 0..<count {
            if let key = batch[index].key { keyspace.prefetchEntry(key) }
        }
    }

    /// Asks for the members that commands will look up in large collections: their buckets, then
    /// their entries. What the table of keys is spared by `prefetches` does not matter here: a
    /// single key may hold millions of members.
    @inline(never)
    private func prefetchMembers(_ batch: UnsafeMutablePointer<ParsedCommand>, _ count: Int) {
        let keyspace = pointee.keyspace
        withUnsafeTemporaryAllocation(of: MemberPlace.self, capacity: Self.batchLimit) { room in
            guard let places = room.baseAddress else { return }
            var found = 0
            var latest: UInt64?
            var table: FieldTable?
            for index in 0..<count {
                guard let command = batch[index].command, let key = batch[index].key else {
                    continue
                }
                let member = Int(command.pointee.member)
                guard member > 0, member < batch[index].argumentCount else { continue }
                if key.hash != latest {
                    latest = key.hash
                    table = keyspace.largeMemberTable(key)
                }
                guard let table else { continue }
                let text = pointee.arguments.base[batch[index].firstArgument &+ member]
                (places + found).initialize(to: keyspace.memberPlace(text, in: table))
                found &+= 1
            }
            for index in 0..<found { places[index].prefetchEntries() }
        }
    }

    /// Passes one command through the gates and runs it.
    @inline(__always)
    private func run(
        _ parsed: UnsafeMutablePointer<ParsedCommand>, _ session: UnsafeMutablePointer<Session>
    ) -> Verdict {
        let arguments = UnsafePointer(pointee.arguments.base + parsed.pointee.firstArgument)
        let count = parsed.pointee.argumentCount
        guard var command = parsed.pointee.command else {
            refuseUnknown(session, arguments, count)
            return .answered
        }
        if _slowPath(command.pointee.flags.contains(.container)), count > 1 {
            guard let sub = pointee.commands.pointee.find(arguments[1], of: command) else {
                refuseUnknownSubcommand(command, session, arguments[1])
                return .answered
            }
            command = sub
            parsed.pointee.key = firstKey(command, arguments, count, session)
        }
        if _slowPath(!command.pointee.accepts(count)) {
            refuseArity(command, session)
            return .answered
        }
        if _slowPath(
            !pointee.alerts.isEmpty
                || !session.pointee.flags.isUsual
                || command.pointee.flags.contains(.protected))
        {
            return runUnusual(command, arguments, count, session, parsed.pointee.key)
        }
        if command.pointee.flags.contains(.touchesKeys),
            !servesKeys(command, arguments, count, session, firstKey: parsed.pointee.key)
        {
            return .answered
        }
        call(command, arguments, count, session, parsed.pointee.key)
        return .run
    }

    /// The first key of a subcommand, which the container's record does not tell.
    @inline(never)
    private func firstKey(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>
    ) -> KeyRef? {
        let position = Int(command.pointee.firstKey)
        guard position > 0, position < count else { return nil }
        return pointee.keyspace.key(
            arguments[position], database: Int(session.pointee.database))
    }

    /// Runs a command that passed the gates.
    @inline(__always)
    public func call(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>, _ key: KeyRef?
    ) {
        let isTimedInRun =
            pointee.timer.run.limit > 1 && command.pointee.flags.contains(.brief)
        if pointee.timer.run.command != command { endTimedRun() }
        let frame = pointee.frame
        frame.pointee.executor = self
        frame.pointee.session = session
        frame.pointee.command = command
        frame.pointee.arguments = arguments
        frame.pointee.argumentCount = count
        frame.pointee.firstKey = key
        frame.pointee.propagation = .arguments
        frame.pointee.forcePropagation = false
        frame.pointee.redacted = 0
        let database = session.pointee.database
        let dirtyBefore = pointee.dirty
        let output = session.pointee.output
        let replyStart = output.pointee.count
        let start = pointee.timer.last
        var spent: UInt64 = 0
        if isTimedInRun {
            command.pointee.handler(UnsafeMutableRawPointer(frame))
            pointee.timer.run.command = command
            pointee.timer.run.count &+= 1
        } else {
            // What a command runs itself (a script's calls) has arguments that are gone when a run
            // of it would end.
            let limit = pointee.timer.run.limit
            pointee.timer.run.limit = 1
            command.pointee.handler(UnsafeMutableRawPointer(frame))
            pointee.timer.run.limit = limit
            spent = timed(command, from: start)
        }
        session.pointee.lastCommand = command.pointee.id
        pointee.stats.commandsProcessed &+= 1
        if pointee.dirty != dirtyBefore || frame.pointee.forcePropagation {
            propagate(frame, database: database)
            session.pointee.lastWriteOffset = pointee.backlog.pointee.endOffset
            if _slowPath(session.pointee.requiredAcks > 0) { awaitAcks(session, from: replyStart) }
        } else {
            dropRewrite(frame)
            if _slowPath(session.pointee.requiredAcks > 0) {
                awaitEarlierAcks(command, session, from: replyStart)
            }
        }
        if _fastPath(output.pointee.count > replyStart) {
            noteReply(command, session, output, replyStart)
        }
        if isTimedInRun {
            let run = pointee.timer.run
            if run.count == run.limit
                || output.pointee.count &- replyStart >= TimedRun.longReply
            {
                endTimedRun()
            }
            return
        }
        if _slowPath(spent >= pointee.timer.observedFrom) { observe(frame, nanoseconds: spent) }
    }

    /// Counts a command that is timed by itself. Returns the nanoseconds that it took.
    @inline(__always)
    private func timed(_ command: UnsafeMutablePointer<Command>, from start: UInt64) -> UInt64 {
        let end = pointee.timer.ticks()
        pointee.timer.last = end
        let spent = pointee.timer.nanoseconds(from: start, to: end)
        command.pointee.nanoseconds &+= spent
        if _fastPath(pointee.settings.latencyTracking) { command.pointee.times.add(spent) }
        command.pointee.calls &+= 1
        return spent
    }

    /// Counts error replies and queues the session for writing.
    @inline(__always)
    private func noteReply(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>,
        _ output: UnsafeMutablePointer<Buffer>, _ start: Int
    ) {
        let bytes = output.pointee.bytes
        if _slowPath(bytes.base[start] == UInt8(ascii: "-")) {
            noteErrorReply(command, session, bytes[start..<bytes.count])
        }
        let length = bytes.count
        if _slowPath(length &- start >= pointee.timer.largeReplyFrom) {
            noteLargeReply(session, length - start)
        }
        queueWrite(session)
        if _slowPath(length > session.pointee.outputHardLimit) {
            closeOverLimit(session)
        }
    }

    @inline(never)
    private func noteErrorReply(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>,
        _ reply: Bytes
    ) {
        command.pointee.failedCalls &+= 1
        // A script's error that is one of its commands' is the same error.
        if pointee.scripts.replyIsCounted, command.pointee.flags.contains(.runsScript) {
            pointee.scripts.replyIsCounted = false
            return
        }
        var end = 1
        while end < reply.count, reply[end] != 13 { end += 1 }
        countError(reply[1..<end].string)
        if !session.pointee.flags.isDisjoint(with: [.fromPrimary, .replica]) {
            noteErrorOnLink(session, command, reply[1..<end].array)
        }
    }

    /// Puts a session with replies on the list that the end of the iteration writes.
    @inline(__always)
    public func queueWrite(_ session: UnsafeMutablePointer<Session>) {
        if session.pointee.flags.contains(.pendingWrite) { return }
        session.pointee.flags.insert(.pendingWrite)
        pointee.pendingWrites.append(session)
    }

    /// Marks a session to be closed at the end of the iteration, without writing.
    public func close(_ session: UnsafeMutablePointer<Session>) {
        guard !session.pointee.flags.contains(.closeNow) else { return }
        session.pointee.flags.insert(.closeNow)
        pointee.closing.append(session)
    }
}
