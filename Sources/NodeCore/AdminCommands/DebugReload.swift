// DEBUG RELOAD: the data through RDB and back at once, and the whole save that DEBUG RESTART needs.
// Both serialise in memory; the incremental walk is for servers that must go on serving.
import Base
import Engine
import Persistence
import RESP
import Replication
import Scripting
import Storage

/// False when the subcommand is another.
func debugContents(_ call: Call) -> Bool {
    guard call[1].matches("reload") else { return false }
    let node = NodePointer.of(call)
    var flushes = true
    var saves = true
    var merges = false
    for index in 2..<call.count {
        if call[index].matches("noflush") {
            flushes = false
        } else if call[index].matches("nosave") {
            saves = false
        } else if call[index].matches("merge") {
            merges = true
        } else {
            call.reply.error(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
            return true
        }
    }
    if node.pointee.loader.isBlocking || node.pointee.loader.fresh != nil {
        call.reply.error(.loading)
        return true
    }
    let contents: [UInt8]?
    if saves {
        contents = node.queueWholeSave()
    } else {
        contents = node.pointee.admin.readFile?(call.executor.pointee.settings.dbFilename)
    }
    node.pointee.loader.replacesLibraries = merges
    defer { node.pointee.loader.replacesLibraries = true }
    guard let contents, node.reload(contents, flushes: flushes) else {
        call.reply.error("ERR Error trying to load the RDB dump" as StaticString)
        return true
    }
    node.log(.warning, "DB reloaded by DEBUG RELOAD")
    call.reply.ok()
    return true
}

extension NodePointer {
    /// Serialises everything now and has it written to the snapshot's file; returns the bytes.
    @discardableResult
    func queueWholeSave() -> [UInt8] {
        let contents = wholeSnapshot()
        pointee.requests.files.append(
            .replace(name: settings.dbFilename, contents: contents, sync: true, ticket: 0))
        return contents
    }

    /// The data as an RDB file.
    private func wholeSnapshot() -> [UInt8] {
        let keyspace = executor.pointee.keyspace
        noteStream()
        var out = Buffer()
        var writer = RDBWriter(
            compresses: settings.rdbCompression, checksums: settings.rdbChecksum)
        writer.header(
            RDBInfo(
                serverVersion: "\(Product.redisVersion)", createdAt: now.wall.seconds,
                usedMemory: Int64(keyspace.memory.used),
                replication: RDBInfo.ReplicationPoint(
                    streamDatabase: 0, replicationID: pointee.history.id.text,
                    offset: pointee.history.offset)),
            into: &out)
        for source in scripts.librarySources {
            source.withBytes { writer.functionLibrary($0, into: &out) }
        }
        let policy = executor.pointee.settings.evictionPolicy
        for database in 0..<keyspace.databaseCount where keyspace.count(database: database) > 0 {
            writer.selectDatabase(
                database, keys: keyspace.count(database: database),
                expires: keyspace.expiringCount(database: database), into: &out)
            keyspace.forEach(database: database) { entry in
                var attributes = RDBAttributes(expireAt: entry.expiry ?? -1)
                if policy.usesFrequency {
                    attributes.frequency = keyspace.frequency(entry)
                } else if policy.usesTime {
                    attributes.idleSeconds = Int64(keyspace.idleSeconds(entry))
                }
                writer.entry(entry, attributes, executor.objectFormats, into: &out)
            }
        }
        writer.end(into: &out)
        return out.bytes.array
    }

    /// Replaces the data, or adds to it; false when the bytes are no RDB file.
    fileprivate func reload(_ contents: [UInt8], flushes: Bool) -> Bool {
        let keyspace = executor.pointee.keyspace
        if flushes {
            for database in 0..<keyspace.databaseCount { keyspace.flush(database: database) }
            scripts.flushLibraries()
        }
        beginLoad(totalBytes: Int64(contents.count))
        do throws(BootError) {
            try contents.withLoadedBytes { bytes throws(BootError) in try load(bytes) }
            try endLoad()
            return true
        } catch {
            log(.warning, "DEBUG RELOAD: \(error.text)")
            pointee.loader.abandon()
            updateAlerts()
            return false
        }
    }
}

extension [UInt8] {
    /// As `withBytes`, for bodies with a typed error.
    fileprivate func withLoadedBytes(
        _ body: (Bytes) throws(BootError) -> Void
    ) throws(BootError) {
        var failure: BootError?
        withBytes { bytes in
            do throws(BootError) { try body(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
