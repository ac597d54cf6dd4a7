// Client-side caching: who has read which keys, and telling them when these change. Matches the
// reference (7.2). In the default mode the server remembers the keys that a session read (with
// OPTIN or OPTOUT, those that it asked for) and forgets a key once it has told everyone; in
// broadcasting mode it remembers nothing and sends all changes of keys with given prefixes,
// collected once per iteration. What a session's own command invalidates follows that command's
// reply.
//
// Keys are tracked by name alone, in whatever database they are. A session that is gone stays in
// the lists of keys until these change.
import Base
import RESP
import Storage

public struct TrackingOptions: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let broadcast = TrackingOptions(rawValue: 1 << 0)
    /// Only keys read after CLIENT CACHING YES.
    public static let optIn = TrackingOptions(rawValue: 1 << 1)
    /// All keys but those read after CLIENT CACHING NO.
    public static let optOut = TrackingOptions(rawValue: 1 << 2)
    /// Nothing of what the session changes itself.
    public static let noLoop = TrackingOptions(rawValue: 1 << 3)
    /// CLIENT CACHING was sent: for the next command or transaction only.
    public static let caching = TrackingOptions(rawValue: 1 << 4)
    /// The session that messages are redirected to is gone.
    public static let brokenRedirect = TrackingOptions(rawValue: 1 << 5)
}

/// What a session asked for with CLIENT TRACKING ON.
public struct TrackingState {
    public internal(set) var options: TrackingOptions
    /// The client that gets the messages; 0 is the session itself.
    public internal(set) var redirect: UInt64
    public private(set) var prefixes: [[UInt8]] = []
    private var prefixBytes = 0

    /// A prefix's place here and in the table of all prefixes.
    private static var prefixOverhead: Int { 64 }
    /// Bytes that this session's tracking holds.
    var memory: Int { MemoryLayout<Self>.size + prefixBytes }

    init(options: TrackingOptions, redirect: UInt64) {
        self.options = options
        self.redirect = redirect
    }

    mutating func add(_ prefix: [UInt8]) {
        prefixes.append(prefix)
        prefixBytes += prefix.count + Self.prefixOverhead
    }
}

/// The sessions that want all changes below one prefix, and what changed in this iteration.
struct Broadcast {
    var sessions: [UnsafeMutablePointer<Session>] = []
    /// Changed keys, and the client that changed each last; 0 is none.
    var changed: [[UInt8]: UInt64] = [:]
}

public struct TrackingTable: ~Copyable {
    /// The IDs, in order, of the clients that were given each key.
    var keys: NameTable<[UInt64]>
    var broadcasts: NameTable<Broadcast>
    /// Keys have changed that somebody must be told of at the end of the iteration.
    var hasChanges = false
    /// The sessions that track, and those by ID that messages may go to.
    public internal(set) var sessions = PointerList()
    var byID: [UInt64: UnsafeMutablePointer<Session>] = [:]
    /// Pairs of key and client.
    public internal(set) var items = 0
    /// Iterations in a row that could not get below the limit.
    var runsOverLimit = 0

    init(key: SipKey) {
        keys = NameTable(key: key)
        broadcasts = NameTable(key: key)
    }

    public var keyCount: Int { keys.count }
    public var prefixCount: Int { broadcasts.count }

    /// Notes that a client has `key`.
    fileprivate mutating func remember(_ key: Bytes, _ client: UInt64) {
        let item = keys.find(key) ?? keys.insert(key, [])
        var low = 0
        var high = item.pointee.value.count
        while low < high {
            let middle = (low + high) / 2
            if item.pointee.value[middle] < client { low = middle + 1 } else { high = middle }
        }
        if low < item.pointee.value.count, item.pointee.value[low] == client { return }
        item.pointee.value.insert(client, at: low)
        items += 1
    }

    /// Forgets a key; returns who has it.
    fileprivate mutating func take(_ key: Bytes) -> [UInt64] {
        guard let item = keys.find(key) else { return [] }
        let clients = item.pointee.value
        keys.remove(key)
        items -= clients.count
        invariant(items >= 0, "more pairs were forgotten than there were")
        return clients
    }
}

extension ExecutorPointer {
    // MARK: Switching on and off

    /// CLIENT TRACKING ON; the options have been checked.
    public func enableTracking(
        _ session: UnsafeMutablePointer<Session>, _ options: TrackingOptions,
        redirect: UInt64, prefixes: [[UInt8]]
    ) {
        let table = pointee.tracking
        if session.pointee.tracking == nil {
            session.pointee.tracking = .allocate(capacity: 1)
            session.pointee.tracking?.initialize(to: TrackingState(options: [], redirect: 0))
            table.pointee.sessions.append(session)
            table.pointee.byID[session.pointee.id] = session
        }
        session.pointee.flags.insert(.tracking)
        let kept = session.pointee.tracking?.pointee.options.intersection(.caching) ?? []
        session.pointee.tracking?.pointee.options = options.union(kept)
        session.pointee.tracking?.pointee.redirect = redirect
        if redirect != 0, let target = pointee.sessions.find(id: redirect) {
            table.pointee.byID[redirect] = target
        }
        if options.contains(.broadcast) {
            for prefix in prefixes.isEmpty ? [[]] : prefixes { addPrefix(session, prefix) }
        }
        refreshTracking()
    }

    private func addPrefix(_ session: UnsafeMutablePointer<Session>, _ prefix: [UInt8]) {
        guard let state = session.pointee.tracking, !state.pointee.prefixes.contains(prefix)
        else { return }
        state.pointee.add(prefix)
        prefix.withBytes { name in
            let table = pointee.tracking
            let item =
                table.pointee.broadcasts.find(name)
                ?? table.pointee.broadcasts.insert(name, Broadcast())
            item.pointee.value.sessions.append(session)
        }
    }

    /// CLIENT TRACKING OFF, or the session goes.
    public func disableTracking(_ session: UnsafeMutablePointer<Session>) {
        guard let state = session.pointee.tracking else { return }
        let table = pointee.tracking
        for prefix in state.pointee.prefixes {
            prefix.withBytes { name in
                guard let item = table.pointee.broadcasts.find(name) else { return }
                item.pointee.value.sessions.removeAll { $0 == session }
                if item.pointee.value.sessions.isEmpty { table.pointee.broadcasts.remove(name) }
            }
        }
        table.pointee.sessions.remove(session)
        state.deinitialize(count: 1)
        state.deallocate()
        session.pointee.tracking = nil
        session.pointee.flags.remove(.tracking)
        refreshTracking()
    }

    /// A session is about to be freed: nobody may find it any more.
    func forgetTracked(_ session: UnsafeMutablePointer<Session>) {
        disableTracking(session)
        if !pointee.tracking.pointee.byID.isEmpty {
            pointee.tracking.pointee.byID[session.pointee.id] = nil
        }
    }

    /// Whether changes of keys are worth a look.
    private func refreshTracking() {
        let table = pointee.tracking
        pointee.tracksChanges = !table.pointee.keys.isEmpty || !table.pointee.broadcasts.isEmpty
    }

    // MARK: Reading

    /// Remembers the keys that a command of a tracking session has read. CACHING, which asks for
    /// that or against it, is for one command or one transaction.
    @inline(never)
    public func trackReads(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>
    ) {
        guard let state = session.pointee.tracking else { return }
        let options = state.pointee.options
        let flags = command.pointee.flags
        guard flags.contains(.readonly), flags.isDisjoint(with: .pubsub),
            !options.contains(.broadcast),
            !options.contains(.optIn) || options.contains(.caching),
            !options.contains(.optOut) || !options.contains(.caching)
        else { return }
        for position in keyPositions(command, arguments, count) ?? [] {
            pointee.tracking.pointee.remember(arguments[position.index], session.pointee.id)
        }
        refreshTracking()
    }

    /// Ends CACHING after the command that it was for.
    func endCaching(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>
    ) {
        guard let state = session.pointee.tracking, state.pointee.options.contains(.caching),
            !session.pointee.flags.contains(.multi)
        else { return }
        let client = pointee.commands.pointee.find(Bytes("client"))
        if command.pointee.parent != client?.pointee.id {
            state.pointee.options.remove(.caching)
        }
    }

    /// CLIENT CACHING.
    public func setCaching(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.tracking?.pointee.options.insert(.caching)
    }

    // MARK: Changes

    /// The session whose command runs, if one does; of a script's commands its caller.
    private var runningSession: UnsafeMutablePointer<Session>? {
        if let run = pointee.scripts.run, pointee.frame.pointee.session == run.pointee.session {
            return run.pointee.caller
        }
        guard let session = pointee.frame.pointee.session,
            session.pointee.flags.contains(.running)
        else { return nil }
        return session
    }

    /// A key changed: tells those who have it, or notes it for the broadcasts. What expires or is
    /// evicted while a command runs is nobody's change.
    func invalidate(_ key: Bytes, byCommand: Bool = true) {
        let table = pointee.tracking
        let author = runningSession
        if !table.pointee.broadcasts.isEmpty {
            let id = byCommand ? author?.pointee.id ?? 0 : 0
            table.pointee.broadcasts.forEach { item in
                let prefix = item.pointee.name
                guard prefix.count <= key.count, key[0..<prefix.count] == prefix else { return }
                item.pointee.value.changed[key.array] = id
                table.pointee.hasChanges = true
            }
        }
        forgetKey(key, author: author)
    }

    /// Tells everyone who has a key that it is no longer valid.
    private func forgetKey(_ key: Bytes, author: UnsafeMutablePointer<Session>?) {
        let clients = pointee.tracking.pointee.take(key)
        guard !clients.isEmpty else { return }
        for id in clients {
            // Who has switched modes or left since has no use for it.
            guard let session = pointee.tracking.pointee.byID[id],
                let options = session.pointee.tracking?.pointee.options,
                !options.contains(.broadcast),
                session != author || !options.contains(.noLoop)
            else { continue }
            sendInvalidation(session) { reply in
                reply.array(1)
                reply.bulk(key)
            }
        }
        refreshTracking()
    }

    /// All keys are gone: FLUSHALL, a new copy of the data. Tells everyone so.
    public func invalidateEverything() {
        let table = pointee.tracking
        for index in 0..<table.pointee.sessions.count {
            let session = table.pointee.sessions[index]
            let isOld = session.pointee.protocolVersion == 2
            sendInvalidation(session) { $0.raw(isOld ? "$-1\r\n" : "_\r\n") }
        }
        table.pointee.keys.removeAll()
        table.pointee.items = 0
        refreshTracking()
    }

    /// The end of an iteration: broadcasts what changed, and gets below the limit of keys.
    public func finishInvalidations() {
        let table = pointee.tracking
        if table.pointee.hasChanges { sendBroadcasts() }
        let limit = pointee.settings.trackingTableMaxKeys
        if limit > 0, table.pointee.keys.count > limit { shrinkTracking(to: limit) }
    }

    private func sendBroadcasts() {
        let table = pointee.tracking
        table.pointee.hasChanges = false
        table.pointee.broadcasts.forEach { item in
            let changed = item.pointee.value.changed
            guard !changed.isEmpty else { return }
            item.pointee.value.changed.removeAll()
            let keys = changed.keys.sorted { $0.lexicographicallyPrecedes($1) }
            for session in item.pointee.value.sessions {
                let skipsOwn = session.pointee.tracking?.pointee.options.contains(.noLoop) ?? false
                let id = session.pointee.id
                let sent = skipsOwn ? keys.filter { changed[$0] != id } : keys
                guard !sent.isEmpty else { continue }
                sendInvalidation(session) { reply in
                    reply.array(sent.count)
                    for key in sent { reply.bulk(key) }
                }
            }
        }
    }

    /// Invalidates some keys that need not be, for the sake of memory; more each time that it was
    /// not enough.
    private func shrinkTracking(to limit: Int) {
        let table = pointee.tracking
        for _ in 0..<(100 * (table.pointee.runsOverLimit + 1)) {
            guard let item = table.pointee.keys.any(from: pointee.prng.next()) else { return }
            item.pointee.name.array.withBytes { forgetKey($0, author: nil) }
            if table.pointee.keys.count <= limit {
                table.pointee.runsOverLimit = 0
                return
            }
        }
        table.pointee.runsOverLimit += 1
    }

    // MARK: Messages

    /// Sends one message to a tracking session, or to whom it redirects: as a push of RESP3, or to
    /// a subscriber of RESP2 as a message on a channel of its own.
    private func sendInvalidation(
        _ tracking: UnsafeMutablePointer<Session>, _ payload: (ReplyWriter) -> Void
    ) {
        guard let state = tracking.pointee.tracking else { return }
        var receiver = tracking
        let redirect = state.pointee.redirect
        if redirect != 0 {
            guard let target = pointee.tracking.pointee.byID[redirect] else {
                return redirectIsBroken(tracking, redirect)
            }
            receiver = target
        }
        let isOld = receiver.pointee.protocolVersion == 2
        guard !isOld || (redirect != 0 && receiver.pointee.flags.contains(.pubsub)) else { return }
        let out = pointee.messages
        out.pointee.removeAll()
        let reply = ReplyWriter(out, version: receiver.pointee.protocolVersion)
        reply.push(isOld ? 3 : 2)
        if isOld {
            reply.bulk("message")
            reply.bulk("__redis__:invalidate")
        } else {
            reply.bulk("invalidate")
        }
        payload(reply)
        push(receiver, out.pointee.bytes)
    }

    private func redirectIsBroken(_ tracking: UnsafeMutablePointer<Session>, _ redirect: UInt64) {
        tracking.pointee.tracking?.pointee.options.insert(.brokenRedirect)
        guard tracking.pointee.protocolVersion > 2 else { return }
        let out = pointee.messages
        out.pointee.removeAll()
        let reply = ReplyWriter(out, version: tracking.pointee.protocolVersion)
        reply.push(2)
        reply.bulk("tracking-redir-broken")
        reply.integer(Int64(bitPattern: redirect))
        push(tracking, out.pointee.bytes)
    }
}
