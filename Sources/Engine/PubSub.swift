// Who listens to which channels and patterns, and how a message reaches them. Matches the reference
// (7.2): a session that is in the middle of a command gets messages after that command's reply;
// messages reach a client that turned replies off; patterns are not asked for shard channels.
//
// Each session knows where it stands in the list of each channel, so that leaving is O(1) however
// popular the channel is.
import Base
import HashSlots
import RESP
import Storage

/// What can be listened to.
public enum SubscriptionKind: Sendable {
    case channel, pattern, shardChannel
}

/// The sessions that listen to one channel or pattern, in no particular order.
public struct Listeners {
    public fileprivate(set) var sessions: [UnsafeMutablePointer<Session>] = []
    public var count: Int { sessions.count }
}

public struct PubSub: ~Copyable {
    public var channels: NameTable<Listeners>
    public var patterns: NameTable<Listeners>
    public var shardChannels: NameTable<Listeners>
    fileprivate let key: SipKey

    init(key: SipKey) {
        self.key = key
        channels = NameTable(key: key)
        patterns = NameTable(key: key)
        shardChannels = NameTable(key: key)
    }

    /// True while nobody listens to any channel of the whole cluster.
    public var isSilent: Bool { channels.isEmpty && patterns.isEmpty }

    /// What is listened to, and how to change it: the one table of `kind`.
    fileprivate mutating func withTable<R>(
        _ kind: SubscriptionKind, _ body: (inout NameTable<Listeners>) -> R
    ) -> R {
        switch kind {
        case .channel: body(&channels)
        case .pattern: body(&patterns)
        case .shardChannel: body(&shardChannels)
        }
    }
}

/// What one session listens to. The values are its places in the lists of listeners.
public struct Subscriptions: ~Copyable {
    fileprivate var channels: NameTable<Int>
    fileprivate var patterns: NameTable<Int>
    fileprivate var shardChannels: NameTable<Int>

    fileprivate init(key: SipKey) {
        channels = NameTable(key: key)
        patterns = NameTable(key: key)
        shardChannels = NameTable(key: key)
    }

    fileprivate mutating func withTable<R>(
        _ kind: SubscriptionKind, _ body: (inout NameTable<Int>) -> R
    ) -> R {
        switch kind {
        case .channel: body(&channels)
        case .pattern: body(&patterns)
        case .shardChannel: body(&shardChannels)
        }
    }

    fileprivate var isEmpty: Bool {
        channels.isEmpty && patterns.isEmpty && shardChannels.isEmpty
    }
    var memory: Int { channels.memory + patterns.memory + shardChannels.memory }
}

extension UnsafeMutablePointer where Pointee == Session {
    /// How many channels, patterns or shard channels this session listens to.
    public func subscriptions(_ kind: SubscriptionKind) -> Int {
        guard let subscriptions = pointee.subscriptions else { return 0 }
        return subscriptions.pointee.withTable(kind) { $0.count }
    }

    /// The names of what it listens to.
    public func subscribedNames(_ kind: SubscriptionKind) -> [[UInt8]] {
        guard let subscriptions = pointee.subscriptions else { return [] }
        var out: [[UInt8]] = []
        subscriptions.pointee.withTable(kind) { table in
            table.forEach { out.append($0.pointee.name.array) }
        }
        return out
    }
}

extension ExecutorPointer {
    // MARK: Subscribing

    /// Lets `session` listen; false when it does already.
    @discardableResult
    public func subscribe(
        _ session: UnsafeMutablePointer<Session>, _ kind: SubscriptionKind, _ name: Bytes
    ) -> Bool {
        let own = subscriptions(of: session)
        let isKnown = own.pointee.withTable(kind) { $0.find(name) != nil }
        if isKnown { return false }
        let position = pointee.pubsub.pointee.withTable(kind) { table in
            let item = table.find(name) ?? table.insert(name, Listeners())
            item.pointee.value.sessions.append(session)
            return item.pointee.value.sessions.count - 1
        }
        own.pointee.withTable(kind) { table in _ = table.insert(name, position) }
        session.pointee.flags.insert(.pubsub)
        refreshOutputLimit(session)
        return true
    }

    /// Ends one subscription; false when there was none. `name` must not be the bytes of the
    /// subscription itself.
    @discardableResult
    public func unsubscribe(
        _ session: UnsafeMutablePointer<Session>, _ kind: SubscriptionKind, _ name: Bytes
    ) -> Bool {
        guard let own = session.pointee.subscriptions else { return false }
        let position: Int? = own.pointee.withTable(kind) { table in
            guard let item = table.find(name) else { return nil }
            let position = item.pointee.value
            table.remove(name)
            return position
        }
        guard let position else { return false }
        let moved: UnsafeMutablePointer<Session>? = pointee.pubsub.pointee.withTable(kind) {
            table in
            guard let item = table.find(name) else { unreachable("listeners are listed") }
            let last = item.pointee.value.sessions.removeLast()
            if item.pointee.value.sessions.isEmpty { table.remove(name) }
            guard last != session else { return nil }
            invariant(item.pointee.value.sessions[position] == session, "a listener's place")
            item.pointee.value.sessions[position] = last
            return last
        }
        moved?.pointee.subscriptions?.pointee.withTable(kind) { table in
            table.find(name)?.pointee.value = position
        }
        noteSubscriptionEnded(session)
        return true
    }

    /// Ends all subscriptions without a word: RESET, or the session is gone.
    public func unsubscribeAll(_ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.subscriptions != nil else { return }
        for kind in [SubscriptionKind.channel, .pattern, .shardChannel] {
            for name in session.subscribedNames(kind) {
                name.withBytes { _ = unsubscribe(session, kind, $0) }
            }
        }
        invariant(session.pointee.subscriptions == nil, "nothing is listened to any more")
    }

    private func subscriptions(
        of session: UnsafeMutablePointer<Session>
    ) -> UnsafeMutablePointer<Subscriptions> {
        if let existing = session.pointee.subscriptions { return existing }
        let fresh = UnsafeMutablePointer<Subscriptions>.allocate(capacity: 1)
        fresh.initialize(to: Subscriptions(key: pointee.pubsub.pointee.key))
        session.pointee.subscriptions = fresh
        return fresh
    }

    /// A session that listens to nothing is an ordinary client again.
    private func noteSubscriptionEnded(_ session: UnsafeMutablePointer<Session>) {
        guard let own = session.pointee.subscriptions, own.pointee.isEmpty else { return }
        own.deinitialize(count: 1)
        own.deallocate()
        session.pointee.subscriptions = nil
        session.pointee.flags.remove(.pubsub)
        refreshOutputLimit(session)
    }

    /// Subscribers may have more unread than ordinary clients: brings the limit in line with the
    /// session's class and the settings.
    public func refreshOutputLimit(_ session: UnsafeMutablePointer<Session>) {
        let isSubscriber = session.pointee.flags.contains(.pubsub)
        let hard =
            isSubscriber
            ? pointee.settings.pubsubOutputLimit.hard : pointee.settings.normalOutputLimit.hard
        session.pointee.outputHardLimit = hard == 0 ? .max : hard
    }

    // MARK: Messages

    /// Delivers a message to this node's listeners; returns how many got it.
    @discardableResult
    public func publish(_ channel: Bytes, _ message: Bytes, sharded: Bool = false) -> Int {
        let pubsub = pointee.pubsub
        var receivers = 0
        let table = sharded ? pubsub.pointee.shardChannels.find(channel)
            : pubsub.pointee.channels.find(channel)
        if let table {
            var encoder = MessageEncoder(
                pointee.messages, sharded ? "smessage" : "message", nil, channel, message)
            for session in table.pointee.value.sessions {
                push(session, encoder.bytes(for: session.pointee.protocolVersion))
            }
            receivers = table.pointee.value.count
        }
        if sharded || pubsub.pointee.patterns.isEmpty { return receivers }
        pubsub.pointee.patterns.forEach { item in
            guard channel.matches(channelPattern: item.pointee.name) else { return }
            var encoder = MessageEncoder(
                pointee.messages, "pmessage", item.pointee.name, channel, message)
            for session in item.pointee.value.sessions {
                push(session, encoder.bytes(for: session.pointee.protocolVersion))
            }
            receivers += item.pointee.value.count
        }
        return receivers
    }

    /// Sends a message that answers no command. A session whose command is running gets it after
    /// the reply: a message in the middle of EXEC's array would break the protocol.
    public func push(_ session: UnsafeMutablePointer<Session>, _ message: Bytes) {
        guard session.pointee.flags.isDisjoint(with: [.closeNow, .closeAfterReply]) else { return }
        if session.pointee.flags.contains(.running) {
            return hold(session, message)
        }
        session.pointee.output.pointee.append(message)
        queueWrite(session)
    }

    @inline(never)
    private func hold(_ session: UnsafeMutablePointer<Session>, _ message: Bytes) {
        session.pointee.flags.insert(.holdsPushes)
        if session.pointee.heldPushes == nil {
            session.pointee.heldPushes = .allocate(capacity: 1)
            session.pointee.heldPushes?.initialize(to: Buffer())
        }
        session.pointee.heldPushes?.pointee.append(message)
    }

    /// Delivers what a session was sent while its command ran.
    @inline(never)
    func releasePushes(_ session: UnsafeMutablePointer<Session>) {
        guard let held = session.pointee.heldPushes else { return }
        session.pointee.output.pointee.append(held.pointee.bytes)
        dropPushes(session)
        queueWrite(session)
    }

    func dropPushes(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.flags.remove(.holdsPushes)
        session.pointee.heldPushes?.deinitialize(count: 1)
        session.pointee.heldPushes?.deallocate()
        session.pointee.heldPushes = nil
    }
}

extension Bytes {
    /// As for keys, except that not even `*` matches the channel without a name.
    public func matches(channelPattern pattern: Bytes) -> Bool {
        isEmpty ? pattern.isEmpty : matches(glob: pattern)
    }
}

/// Encodes a message once for each protocol version that its receivers speak.
private struct MessageEncoder {
    private let out: UnsafeMutablePointer<Buffer>
    private let kind: StaticString
    private let pattern: Bytes?
    private let channel: Bytes
    private let message: Bytes
    private var version: UInt8 = 0

    init(
        _ out: UnsafeMutablePointer<Buffer>, _ kind: StaticString, _ pattern: Bytes?,
        _ channel: Bytes, _ message: Bytes
    ) {
        self.out = out
        self.kind = kind
        self.pattern = pattern
        self.channel = channel
        self.message = message
    }

    /// Valid until the next call.
    mutating func bytes(for wanted: UInt8) -> Bytes {
        // Only the mark of the array differs, so that a change of version costs one byte.
        if version == 0 {
            out.pointee.removeAll()
            let reply = ReplyWriter(out, version: wanted)
            reply.push(pattern == nil ? 3 : 4)
            reply.bulk(kind)
            if let pattern { reply.bulk(pattern) }
            reply.bulk(channel)
            reply.bulk(message)
        } else if wanted != version, let storage = out.pointee.storage {
            storage[out.pointee.start] = UInt8(ascii: wanted == 2 ? "*" : ">")
        }
        version = wanted
        return out.pointee.bytes
    }
}
