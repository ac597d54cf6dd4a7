// The pub/sub group: SUBSCRIBE and its kin answer with one message per channel, PUBLISH with the
// number of receivers on this node. A node of a cluster hands messages to the others over the bus;
// without a cluster they go to the replicas in the stream.
import Base
import Engine
import RESP

extension Extension {
    /// The pub/sub group.
    public static let pubsub = Extension("pubsub") { registry in
        registry.group = .pubsub
        registry.registerPubSubCommands()
        registry.registerShardPubSubCommands()
        registry.registerPubSubReports()
    }
}

extension Registry {
    fileprivate mutating func registerPubSubCommands() {
        command(
            "psubscribe", since: "2.0.0", arity: -2, [.pubsub, .noScript, .loading, .stale],
            syntax: "<pattern: pattern:pattern>...",
            summary: "Listen for messages published to channels matching the given patterns",
            complexity: """
            O(N) where N is the number of patterns the client is already subscribed to.
            """
        ) { psubscribe(Call($0)) }

        command(
            "publish", since: "2.0.0", arity: 3, [.pubsub, .loading, .stale, .fast, .mayReplicate],
            syntax: "channel message",
            summary: "Post a message to a channel",
            complexity: """
            O(N+M) where N is the number of clients subscribed to the receiving channel and M is \
            the total number of subscribed patterns (by any client).
            """
        ) { publish(Call($0)) }

        command(
            "punsubscribe", since: "2.0.0", arity: -1, [.pubsub, .noScript, .loading, .stale],
            syntax: "[pattern:pattern]...",
            summary: """
            Stop listening for messages posted to channels matching the given patterns
            """,
            complexity: """
            O(N+M) where N is the number of patterns the client is already subscribed and M is the \
            number of total patterns subscribed in the system (by any client).
            """
        ) { punsubscribe(Call($0)) }

        command(
            "subscribe", since: "2.0.0", arity: -2, [.pubsub, .noScript, .loading, .stale],
            syntax: "channel...",
            summary: "Listen for messages published to the given channels",
            complexity: "O(N) where N is the number of channels to subscribe to."
        ) { subscribe(Call($0)) }

        command(
            "unsubscribe", since: "2.0.0", arity: -1, [.pubsub, .noScript, .loading, .stale],
            syntax: "[channel]...",
            summary: "Stop listening for messages posted to the given channels",
            complexity: "O(N) where N is the number of clients already subscribed to a channel."
        ) { unsubscribe(Call($0)) }
    }

    fileprivate mutating func registerShardPubSubCommands() {
        command(
            "spublish", since: "7.0.0", arity: 3, [.pubsub, .loading, .stale, .fast, .mayReplicate],
            keys: [.range(1, [.notKey])],
            syntax: "shardchannel message",
            summary: "Post a message to a shard channel",
            complexity: """
            O(N) where N is the number of clients subscribed to the receiving shard channel.
            """
        ) { spublish(Call($0)) }

        command(
            "ssubscribe", since: "7.0.0", arity: -2, [.pubsub, .noScript, .loading, .stale],
            keys: [.range(1, [.notKey], last: -1)],
            syntax: "shardchannel...",
            summary: "Listen for messages published to the given shard channels",
            complexity: "O(N) where N is the number of shard channels to subscribe to."
        ) { ssubscribe(Call($0)) }

        command(
            "sunsubscribe", since: "7.0.0", arity: -1, [.pubsub, .noScript, .loading, .stale],
            keys: [.range(1, [.notKey], last: -1)],
            syntax: "[shardchannel]...",
            summary: "Stop listening for messages posted to the given shard channels",
            complexity: """
            O(N) where N is the number of clients already subscribed to a shard channel.
            """
        ) { sunsubscribe(Call($0)) }
    }

    fileprivate mutating func registerPubSubReports() {
        command(
            "pubsub", since: "2.8.0", arity: -2,
            summary: "A container for Pub/Sub commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "channels", of: "pubsub", since: "2.8.0", arity: -2, [.pubsub, .loading, .stale],
            syntax: "[pattern:pattern]",
            summary: "List active channels",
            complexity: """
            O(N) where N is the number of active channels, and assuming constant time pattern \
            matching (relatively short channels and patterns)
            """
        ) { channels(Call($0)) }

        command(
            "help", of: "pubsub", since: "6.2.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { help(Call($0)) }

        command(
            "numpat", of: "pubsub", since: "2.8.0", arity: 2, [.pubsub, .loading, .stale],
            summary: "Get the count of unique patterns pattern subscriptions",
            complexity: "O(1)"
        ) { patternCount(Call($0)) }

        command(
            "numsub", of: "pubsub", since: "2.8.0", arity: -2, [.pubsub, .loading, .stale],
            syntax: "[channel]...",
            summary: "Get the count of subscribers for channels",
            complexity: """
            O(N) for the NUMSUB subcommand, where N is the number of requested channels
            """
        ) { subscriberCounts(Call($0)) }

        command(
            "shardchannels", of: "pubsub", since: "7.0.0", arity: -2, [.pubsub, .loading, .stale],
            syntax: "[pattern:pattern]",
            summary: "List active shard channels",
            complexity: """
            O(N) where N is the number of active shard channels, and assuming constant time \
            pattern matching (relatively short shard channels).
            """
        ) { shardChannels(Call($0)) }

        command(
            "shardnumsub", of: "pubsub", since: "7.0.0", arity: -2, [.pubsub, .loading, .stale],
            syntax: "[shardchannel]...",
            summary: "Get the count of subscribers for shard channels",
            complexity: """
            O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels
            """
        ) { shardSubscriberCounts(Call($0)) }
    }
}

// MARK: Subscribing

/// The words of the messages that confirm a change of subscriptions.
private struct Confirmation {
    let kind: SubscriptionKind
    let begin: StaticString
    let end: StaticString

    static let channel = Confirmation(kind: .channel, begin: "subscribe", end: "unsubscribe")
    static let pattern = Confirmation(kind: .pattern, begin: "psubscribe", end: "punsubscribe")
    static let shard = Confirmation(
        kind: .shardChannel, begin: "ssubscribe", end: "sunsubscribe")

    /// Channels and patterns are counted together, shard channels on their own.
    func write(_ call: Call, _ word: StaticString, _ name: Bytes?) {
        call.reply.push(3)
        call.reply.bulk(word)
        if let name { call.reply.bulk(name) } else { call.reply.null() }
        let session = call.session
        call.reply.integer(
            kind == .shardChannel
                ? session.subscriptions(.shardChannel)
                : session.subscriptions(.channel) + session.subscriptions(.pattern))
    }
}

private func begin(_ call: Call, _ words: Confirmation) {
    guard mayBegin(call, words) else {
        let name = call.commandName.uppercased()
        return call.reply.error("ERR \(name) isn't allowed for a DENY BLOCKING client")
    }
    for index in 1..<call.count {
        call.executor.subscribe(call.session, words.kind, call[index])
        words.write(call, words.begin, call[index])
    }
}

/// A script expects one reply per command. A transaction may subscribe all the same, but, as in
/// the reference, not to shard channels.
private func mayBegin(_ call: Call, _ words: Confirmation) -> Bool {
    let flags = call.session.pointee.flags
    if flags.contains(.denyBlocking), !flags.contains(.executing) { return false }
    return words.kind != .shardChannel || !flags.contains(.executing)
}

private func end(_ call: Call, _ words: Confirmation) {
    guard call.count == 1 else {
        for index in 1..<call.count {
            call.executor.unsubscribe(call.session, words.kind, call[index])
            words.write(call, words.end, call[index])
        }
        return
    }
    let names = call.session.subscribedNames(words.kind)
    for name in names {
        name.withBytes { name in
            call.executor.unsubscribe(call.session, words.kind, name)
            words.write(call, words.end, name)
        }
    }
    if names.isEmpty { words.write(call, words.end, nil) }
}

private func subscribe(_ call: Call) { begin(call, .channel) }

private func unsubscribe(_ call: Call) { end(call, .channel) }

private func psubscribe(_ call: Call) { begin(call, .pattern) }

private func punsubscribe(_ call: Call) { end(call, .pattern) }

private func ssubscribe(_ call: Call) { begin(call, .shard) }

private func sunsubscribe(_ call: Call) { end(call, .shard) }

// MARK: Publishing

private func publish(_ call: Call) { publish(call, sharded: false) }

private func spublish(_ call: Call) { publish(call, sharded: true) }

private func publish(_ call: Call, sharded: Bool) {
    let receivers = call.executor.publishEverywhere(call[1], call[2], sharded: sharded)
    // In a cluster the bus reaches replicas too.
    if !call.executor.pointee.settings.clusterEnabled { call.forcePropagation() }
    call.reply.integer(receivers)
}

// MARK: PUBSUB

private func list(_ call: Call, _ table: borrowing NameTable<Listeners>) {
    guard call.count <= 3 else { return call.refuseSubcommand() }
    var names: [[UInt8]] = []
    table.forEach { item in
        let name = item.pointee.name
        if call.count == 2 || name.matches(channelPattern: call[2]) { names.append(name.array) }
    }
    call.reply.array(names.count)
    for name in names { call.reply.bulk(name) }
}

private func counts(_ call: Call, _ table: borrowing NameTable<Listeners>) {
    call.reply.array((call.count - 2) * 2)
    for index in 2..<call.count {
        call.reply.bulk(call[index])
        call.reply.integer(table.find(call[index])?.pointee.value.count ?? 0)
    }
}

private func channels(_ call: Call) { list(call, call.executor.pointee.pubsub.pointee.channels) }

private func shardChannels(_ call: Call) {
    list(call, call.executor.pointee.pubsub.pointee.shardChannels)
}

private func subscriberCounts(_ call: Call) {
    counts(call, call.executor.pointee.pubsub.pointee.channels)
}

private func shardSubscriberCounts(_ call: Call) {
    counts(call, call.executor.pointee.pubsub.pointee.shardChannels)
}

private func patternCount(_ call: Call) {
    call.reply.integer(call.executor.pointee.pubsub.pointee.patterns.count)
}

private func help(_ call: Call) {
    call.replyHelp([
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        """
            Return the currently active shard level channels matching a <pattern> (default: '*').
        """,
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
    ])
}
