// OBJECT: how a value is stored and how it is used.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerObjectCommands() {
        command(
            "object", since: "2.2.3", arity: -2,
            summary: "A container for object introspection commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "encoding", of: "object", since: "2.2.3", arity: 3, [.readonly], acl: [.keyspace],
            keys: [.range(2, [.RO])],
            syntax: "key",
            summary: "Inspect the internal encoding of a Redis object",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { objectEncoding(Call($0)) }

        command(
            "freq", of: "object", since: "4.0.0", arity: 3, [.readonly], acl: [.keyspace],
            keys: [.range(2, [.RO])],
            syntax: "key",
            summary: "Get the logarithmic access frequency counter of a Redis object",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { objectFreq(Call($0)) }

        command(
            "help", of: "object", since: "6.2.0", arity: 2, [.loading, .stale], acl: [.keyspace],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { objectHelp(Call($0)) }

        command(
            "idletime", of: "object", since: "2.2.3", arity: 3, [.readonly], acl: [.keyspace],
            keys: [.range(2, [.RO])],
            syntax: "key",
            summary: "Get the time since a Redis object was last accessed",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { objectIdleTime(Call($0)) }

        command(
            "refcount", of: "object", since: "2.2.3", arity: 3, [.readonly], acl: [.keyspace],
            keys: [.range(2, [.RO])],
            syntax: "key",
            summary: "Get the number of references to the value of the key",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { objectRefCount(Call($0)) }
    }
}

/// The entry to report on, without a trace; nil after a null reply.
private func entryOrReply(_ call: Call) -> Entry? {
    if let entry = call.examine(call.key(2), notifies: false) { return entry }
    call.reply.null()
    return nil
}

private func objectEncoding(_ call: Call) {
    guard let entry = entryOrReply(call) else { return }
    call.reply.bulk(call.keyspace.encodingName(entry))
}

private func objectFreq(_ call: Call) {
    guard let entry = entryOrReply(call) else { return }
    guard call.executor.pointee.settings.evictionPolicy.usesFrequency else {
        call.reply.error(
            """
            ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
            note that when switching between policies at runtime LRU and LFU data will take some \
            time to adjust.
            """)
        return
    }
    call.reply.integer(call.keyspace.frequency(entry))
}

private func objectIdleTime(_ call: Call) {
    guard let entry = entryOrReply(call) else { return }
    guard !call.executor.pointee.settings.evictionPolicy.usesFrequency else {
        call.reply.error(
            """
            ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
            switching between policies at runtime LRU and LFU data will take some time to adjust.
            """)
        return
    }
    call.reply.integer(call.keyspace.idleSeconds(entry))
}

/// Values have one owner here. The reference shares the integers below 10,000 between all keys
/// while no policy tracks their use, and reports the largest count for them.
private func objectRefCount(_ call: Call) {
    guard let entry = entryOrReply(call) else { return }
    let settings = call.executor.pointee.settings
    let tracksUse =
        settings.maxMemory > 0
        && (settings.evictionPolicy.usesFrequency || settings.evictionPolicy.usesTime)
    if let integer = entry.integer, integer >= 0, integer < 10_000, !tracksUse {
        call.reply.integer(Int64(Int32.max))
    } else {
        call.reply.integer(1)
    }
}

private func objectHelp(_ call: Call) {
    call.replyHelp([
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
    ])
}

extension Keyspace {
    /// What OBJECT ENCODING calls the form of a value.
    public func encodingName(_ entry: Entry) -> StaticString {
        if entry.isString { return stringEncodingName(entry) }
        switch entry.encoding {
        case .listpack, .shaped: return "listpack"
        case .intset: return "intset"
        case .hashTable:
            let isSmallHash = entry.type == .hash && FieldTable(entry.payload).isSmall
            return isSmallHash ? "listpackex" : "hashtable"
        case .quickList: return "quicklist"
        case .skipList: return "skiplist"
        case .stream: return "stream"
        default: return "unknown"
        }
    }
}
