// DEBUG subcommands about keys and values: OBJECT, SDSLEN, DIGEST, POPULATE, HTSTATS and the like.
import Base
import Commands
import Engine
import HashSlots
import Persistence
import RESP
import Storage

/// False when the subcommand is another.
func debugData(_ call: Call) -> Bool {
    switch (call[1].string.lowercased(), call.count) {
    case ("object", 3): withEntry(call) { debugObject(call, $0) }
    case ("sdslen", 3): withEntry(call) { debugLengths(call, $0) }
    case ("listpack", 3):
        withEntry(call) { _ in call.reply.error("ERR Not a listpack encoded object.") }
    case ("quicklist", 3...4):
        withEntry(call) { _ in call.reply.error("ERR Not a quicklist encoded object.") }
    case ("htstats-key", 3...4): withEntry(call) { debugTable(call, $0) }
    case ("htstats", 3): debugTables(call)
    case ("digest", 2): debugDigest(call)
    case ("digest-value", 2...): debugDigestValues(call)
    case ("populate", 3...5): debugPopulate(call)
    case ("structsize", 2):
        call.reply.bulk(
            "bits:\(Int.bitWidth) command:\(MemoryLayout<Command>.size) "
                + "session:\(MemoryLayout<Session>.size) keyref:\(MemoryLayout<KeyRef>.size) ")
    case ("stringmatch-len", 4):
        call.reply.integer(call[3].matches(glob: call[2]) ? 1 : 0)
    default: return false
    }
    return true
}

/// The entry of the key at argument 2, also when it has expired: DEBUG shows what is there.
private func withEntry(_ call: Call, _ body: (Entry) -> Void) {
    guard let entry = call.keyspace.find(call.key(2)) else {
        return call.reply.error(.noSuchKey)
    }
    body(entry)
}

private func debugObject(_ call: Call, _ entry: Entry) {
    let idle = call.keyspace.idleSeconds(entry)
    var dump = Buffer()
    var writer = DumpWriter(compresses: call.executor.pointee.settings.rdbCompression)
    writer.append(entry, call.executor.objectFormats, to: &dump)
    // Without what DUMP adds: the type, the version and the checksum.
    let length = Swift.max(0, dump.count - 11)
    let clock = (call.now.seconds - Int64(idle)) & 0xFF_FFFF
    call.reply.simple(
        "Value at:\(entry.base) refcount:1 encoding:\(call.keyspace.encodingName(entry)) "
            + "serializedlength:\(length) lru:\(clock) lru_seconds_idle:\(idle)")
}

private func debugLengths(_ call: Call, _ entry: Entry) {
    guard entry.isString, let bytes = entry.storedBytes else {
        return call.reply.error("ERR Not an sds encoded string." as StaticString)
    }
    let key = entry.key.count
    call.reply.simple(
        "key_sds_len:\(key), key_sds_avail:0, key_zmalloc: \(Memory.roundedSize(key)), "
            + "val_sds_len:\(bytes.count), val_sds_avail:0, "
            + "val_zmalloc: \(Memory.roundedSize(bytes.count))")
}

private func debugTable(_ call: Call, _ entry: Entry) {
    guard let table = call.keyspace.tableStatistics(entry) else {
        return call.reply.error(
            "ERR The value stored at the specified key is not represented using an hash table")
    }
    var text = """
        Hash table 0 stats (main hash table):
         table size: \(table.buckets)
         number of elements: \(table.elements)

        """
    if table.isRehashing {
        text += """
            Hash table 1 stats (rehashing target):
             table size: \(table.buckets)

            """
    }
    call.reply.verbatim(text)
}

private func debugTables(_ call: Call) {
    guard let database = call.integerOrReply(2) else { return }
    guard database >= 0, database < Int64(call.keyspace.databaseCount) else {
        return call.reply.error("ERR Out of range database" as StaticString)
    }
    let index = Int(database)
    call.reply.verbatim(
        """
        [Dictionary HT]
        Hash table 0 stats (main hash table):
         number of elements: \(call.keyspace.count(database: index))
        [Expires HT]
        Hash table 0 stats (main hash table):
         number of elements: \(call.keyspace.expiringCount(database: index))

        """)
}

// MARK: Digests

private func withDigest(_ fill: (UnsafeMutablePointer<UInt8>) -> Void) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DigestMixer.size) { room in
        room.initialize(repeating: 0)
        guard let base = room.baseAddress else { return "" }
        fill(base)
        let digest = Bytes(base, DigestMixer.size).array
        return String(decoding: Hexadecimal.digits(of: digest), as: UTF8.self)
    }
}

private func debugDigest(_ call: Call) {
    call.reply.simple(withDigest { call.keyspace.digest(to: $0) })
}

private func debugDigestValues(_ call: Call) {
    call.reply.array(call.count - 2)
    for index in 2..<call.count {
        let entry = call.keyspace.find(call.key(index))
        call.reply.simple(
            withDigest { digest in
                if let entry { call.keyspace.digestValue(entry, to: digest) }
            })
    }
}

// MARK: POPULATE

private func debugPopulate(_ call: Call) {
    let size = call.count == 5 ? call[4].decimal : 0
    guard let count = call[2].decimal, let size, count >= 0, size >= 0,
        size <= Int64(call.executor.pointee.settings.maxBulkLength)
    else { return call.reply.error(.notPositive) }
    let prefix = call.count > 3 ? call[3].string : "key"
    for number in 0..<count {
        "\(prefix):\(number)".withBytes { name in
            let key = call.keyspace.key(name, database: call.database)
            guard call.keyspace.find(key) == nil else { return }
            var value = Array("value:\(number)".utf8)
            if size > 0 {
                // Cut off, or filled up with zero bytes.
                let missing = Int(size) - value.count
                if missing > 0 {
                    value += [UInt8](repeating: 0, count: missing)
                } else {
                    value.removeLast(-missing)
                }
            }
            value.withBytes { _ = call.keyspace.setString(key, $0, expiry: .clear) }
        }
    }
    call.reply.ok()
}
