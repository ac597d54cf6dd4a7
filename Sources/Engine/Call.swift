// What a command handler sees: its arguments, the key space, the reply, and the ways to say what
// it changed. A trivial eight-byte handle over the executor's one call frame.
import Base
import RESP
import Storage

/// The running call. Lives in the executor; EXEC and scripts save and restore it around theirs.
public struct CallFrame {
    var executor: UnsafeMutablePointer<Executor>?
    var session: UnsafeMutablePointer<Session>?
    var command: UnsafeMutablePointer<Command>?
    var arguments: UnsafePointer<Bytes>?
    var argumentCount = 0
    /// Hash and slot of the key at `command.firstKey`, when the batch computed it.
    var firstKey: KeyRef?
    /// What to propagate: the arguments, nothing, or the executor's `rewrite` buffer.
    var propagation: PropagationForm = .arguments
    /// Propagate although nothing was marked as changed.
    var forcePropagation = false
    /// How many commands `rewrite` holds.
    var rewrites: Int32 = 0
    /// Arguments, by their bits, that no observer may see.
    var redacted: UInt64 = 0

    init() {}
}

enum PropagationForm {
    case arguments
    case nothing
    case rewritten
}

public struct Call {
    @usableFromInline
    let frame: UnsafeMutablePointer<CallFrame>

    /// The call that a handler was entered with.
    @inline(__always)
    public init(_ raw: UnsafeMutableRawPointer) {
        frame = raw.assumingMemoryBound(to: CallFrame.self)
    }

    @inline(__always)
    public var executor: UnsafeMutablePointer<Executor> { frame.pointee.executor.unsafelyUnwrapped }
    @inline(__always)
    public var session: UnsafeMutablePointer<Session> { frame.pointee.session.unsafelyUnwrapped }
    @inline(__always)
    public var command: UnsafeMutablePointer<Command> { frame.pointee.command.unsafelyUnwrapped }
    @inline(__always)
    public var keyspace: Keyspace { executor.pointee.keyspace }
    /// The reply is more than the client may have unread: the session is closed, and whoever is
    /// still writing a long one can stop.
    @inline(__always)
    public var isTooLong: Bool {
        let session = self.session
        guard _slowPath(session.pointee.output.pointee.count > session.pointee.outputHardLimit)
        else { return false }
        executor.closeOverLimit(session)
        return session.pointee.flags.contains(.closeNow)
    }

    /// The wall clock, frozen for the command.
    @inline(__always)
    public var now: WallTime { executor.pointee.now.wall }
    @inline(__always)
    public var database: Int { Int(session.pointee.database) }

    // MARK: Arguments

    /// Number of arguments, the command's name included.
    @inline(__always)
    public var count: Int { frame.pointee.argumentCount }

    @inline(__always)
    public subscript(_ index: Int) -> Bytes {
        invariant(index >= 0 && index < frame.pointee.argumentCount, "argument out of range")
        return frame.pointee.arguments.unsafelyUnwrapped[index]
    }

    /// The strict integer at `index`, or nil after an error reply.
    @inline(__always)
    public func integerOrReply(
        _ index: Int, _ error: ErrorReply = .notInteger
    ) -> Int64? {
        if let value = self[index].decimal { return value }
        reply.error(error)
        return nil
    }

    /// The arguments as one piece of memory, for handing on.
    public var arguments: UnsafePointer<Bytes> { frame.pointee.arguments.unsafelyUnwrapped }

    // MARK: Reply

    @inline(__always)
    public var reply: ReplyWriter {
        ReplyWriter(session.pointee.output, version: session.pointee.protocolVersion)
    }

    // MARK: Keys

    /// The key at argument `index`, hashed once.
    @inline(__always)
    public func key(_ index: Int) -> KeyRef {
        if index == Int(command.pointee.firstKey), let cached = frame.pointee.firstKey,
            Int(cached.database) == database
        {
            return cached
        }
        return hashedKey(index)
    }

    /// Apart, so that each handler does not contain the hash that it hardly ever needs.
    @inline(never)
    private func hashedKey(_ index: Int) -> KeyRef {
        keyspace.key(self[index], database: database)
    }

    /// The live entry of `key` for reading: an expired one is gone (deleted on a primary, hidden
    /// on a replica). Counts a hit or a miss and marks the access.
    @inline(__always)
    public func lookupRead(_ key: KeyRef) -> Entry? {
        guard let entry = keyspace.find(key) else {
            missed(key)
            return nil
        }
        if _slowPath(entry.hasExpiry), executor.hideIfExpired(key, entry, self) {
            missed(key)
            return nil
        }
        executor.pointee.stats.keyspaceHits &+= 1
        executor.touch(entry, session)
        return entry
    }

    /// The live entry of `key` for writing; no statistics of hits.
    @inline(__always)
    public func lookupWrite(_ key: KeyRef) -> Entry? {
        guard let entry = keyspace.find(key) else { return nil }
        if _slowPath(entry.hasExpiry), executor.hideIfExpired(key, entry, self) {
            dropHidden(key)
            return nil
        }
        executor.touch(entry, session)
        return entry
    }

    /// The live entry without marking an access (TTL, OBJECT, EXISTS of TOUCH excepted).
    @inline(__always)
    public func peek(_ key: KeyRef) -> Entry? {
        guard let entry = keyspace.find(key) else { return nil }
        if _slowPath(entry.hasExpiry), executor.hideIfExpired(key, entry, self) {
            return nil
        }
        return entry
    }

    // MARK: Changes

    /// Says that `key` changed: counts it as dirty, fails those who watch it, tells observers.
    @inline(__always)
    public func changed(_ eventClass: KeyEventClass, _ event: StaticString, _ key: KeyRef) {
        executor.pointee.dirty &+= 1
        signal(eventClass, event, key)
    }

    /// As `changed`, but dirty is counted elsewhere.
    @inline(__always)
    public func signal(_ eventClass: KeyEventClass, _ event: StaticString, _ key: KeyRef) {
        if _slowPath(
            !executor.pointee.watch.isEmpty || executor.pointee.blocking.isWaiting
                || executor.pointee.tracksChanges)
        {
            executor.noteChange(key)
        }
        if let hook = executor.pointee.keyEvent {
            KeyEvent.send(hook, executor, eventClass, event, key)
        }
    }

    // MARK: Propagation

    /// Propagates nothing for this call although it changed data.
    public func propagateNothing() { frame.pointee.propagation = .nothing }

    /// Propagates the arguments although nothing was marked as changed.
    public func forcePropagation() { frame.pointee.forcePropagation = true }

    /// Propagates this command instead of the arguments; several calls add up.
    @inline(__always)
    public func propagate(as name: StaticString, _ arguments: Bytes...) {
        propagate(as: name, arguments)
    }

    public func propagate(as name: StaticString, _ arguments: [Bytes]) {
        frame.pointee.propagation = .rewritten
        frame.pointee.rewrites &+= 1
        let stream = StreamWriter(executor.pointee.rewrite)
        stream.begin(arguments.count + 1)
        stream.argument(Bytes(name))
        for argument in arguments { stream.argument(argument) }
    }

    /// As above without an array, for the hot rewrites (`SET k v PXAT at`).
    @inline(__always)
    public func rewrite(_ count: Int, _ body: (StreamWriter) -> Void) {
        frame.pointee.propagation = .rewritten
        frame.pointee.rewrites &+= 1
        let stream = StreamWriter(executor.pointee.rewrite)
        stream.begin(count)
        body(stream)
    }
}

/// A key event on its way to observers.
public struct KeyEvent {
    public let eventClass: KeyEventClass
    public let name: StaticString
    public let key: KeyRef

    static func send(
        _ hook: @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void,
        _ executor: UnsafeMutablePointer<Executor>, _ eventClass: KeyEventClass,
        _ name: StaticString, _ key: KeyRef
    ) {
        withUnsafePointer(to: KeyEvent(eventClass: eventClass, name: name, key: key)) {
            hook(UnsafeMutableRawPointer(executor), UnsafeRawPointer($0))
        }
    }
}
