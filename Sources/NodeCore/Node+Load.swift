// What reads RDB: the file at the start, and a primary's copy. A copy is built beside the data in
// force and takes its place only when it is whole and its checksum is right: a transfer that
// breaks off costs nothing, and the old data goes on being served meanwhile.
import Base
import Engine
import HashSlots
import Persistence
import Replication
import Scripting
import Storage

struct Loader: ~Copyable {
    var reader: RDBReader?
    /// The key space under construction; nil while loading straight into the one in force.
    var fresh: Keyspace?
    var database = 0
    /// Loading at the start: nobody is served meanwhile.
    var isBlocking = false
    var keys: Int64 = 0
    /// Empty between two pieces of the stream.
    var batch = LoadBatch()
    var expired: Int64 = 0
    /// DELs of what had expired while nobody served, for replicas that go on from this file; nil
    /// when they are too many.
    var expiredStream: UnsafeMutablePointer<Buffer>?
    var expiredDatabase: Int32 = -1
    /// Collections without elements, which were skipped.
    var emptyKeys: Int64 = 0
    var bytes: Int64 = 0
    var total: Int64 = 0
    var started: Instant = .start
    var streamDatabase: Int32 = 0
    /// Commands that follow may still need keys that have expired.
    var keepsExpired = false
    /// Where the file's data stands in a replication history, as far as it says.
    var savedID: ReplicationID?
    var savedOffset: Int64?
    /// The libraries of functions that a primary's copy has brought.
    var libraries: [[UInt8]] = []
    /// A library that is there already gives way.
    var replacesLibraries = true
    /// A key space whose place was taken; freed in slices.
    var retired: Keyspace?

    mutating func abandon() {
        reader = nil
        fresh?.destroy()
        fresh = nil
        retired?.destroy()
        retired = nil
        isBlocking = false
    }
}

extension NodePointer {
    /// A file or a copy in RDB follows.
    func openReader() {
        pointee.loader.reader = RDBReader(
            decoders: executor.objectFormats.decoders,
            limits: RDBReader.Limits(
                largestString: settings.maxBulkLength, databases: settings.databases),
            verifiesChecksum: settings.rdbChecksum, acceptsFunctions: true)
    }

    // MARK: The file at the start

    public func beginLoad(totalBytes: Int64 = 0) {
        openReader()
        pointee.loader.isBlocking = true
        pointee.loader.keepsExpired = false
        pointee.loader.started = instant
        pointee.loader.total = totalBytes
        pointee.loader.keys = 0
        pointee.loader.expired = 0
        pointee.loader.emptyKeys = 0
        pointee.loader.savedID = nil
        pointee.loader.savedOffset = nil
        updateAlerts()
    }

    /// Keys that the running load has brought.
    public var loadedKeys: Int64 { pointee.loader.keys }

    public func load(_ chunk: Bytes) throws(BootError) {
        do throws(RDBError) {
            try take(chunk, into: executor.pointee.keyspace)
        } catch {
            throw BootError("\(error). Terminating server after rdb file reading failure.")
        }
    }

    public func endLoad() throws(BootError) {
        do throws(RDBError) {
            try pointee.loader.reader?.finish()
        } catch {
            throw BootError("\(error). Terminating server after rdb file reading failure.")
        }
        pointee.loader.reader = nil
        pointee.loader.isBlocking = false
        pointee.persistence.loadedKeys = pointee.loader.keys
        pointee.persistence.expiredAtLoad = pointee.loader.expired
        resumeSavedHistory()
        log(
            .notice,
            "Done loading RDB, keys loaded: \(pointee.loader.keys), keys expired: "
                + "\(pointee.loader.expired), empty keys skipped: \(pointee.loader.emptyKeys).")
        updateAlerts()
    }

    /// A primary goes on counting where its file ends. Replicas that are exactly there continue; of
    /// keys that expired while it was down they hear first. In a cluster the offset
    /// tells whether a replica holds more than the file. A replica asks its primary to go on from
    /// there: a restart costs no full synchronisation.
    private func resumeSavedHistory() {
        defer { dropExpired() }
        guard let id = pointee.loader.savedID, let offset = pointee.loader.savedOffset,
            pointee.history.backlog == nil
        else { return }
        if isReplica || settings.replicaOf != nil {
            restartHistory(id, offset)
            executor.pointee.streamDatabase = pointee.loader.streamDatabase
            pointee.upstreamDatabase = pointee.loader.streamDatabase
            if isReplica { pointee.upstream.continueFrom(ResumePoint(id: id, offset: offset)) }
            return
        }
        pointee.history = ReplicationHistory(id: id, offset: offset)
        pointee.history.createBacklog(capacity: Int64(settings.backlogSize))
        executor.pointee.backlog.pointee.reset(to: offset)
        executor.pointee.feedsBacklog = true
        executor.pointee.streamDatabase = -1
        let line = pointee.history.shift(to: .random(&executor.pointee.prng))
        log(line.level, line.text)
        if feedExpired() { return noteStream() }
        pointee.history = ReplicationHistory(id: .random(&executor.pointee.prng), offset: offset)
        pointee.history.createBacklog(capacity: Int64(settings.backlogSize))
    }

    /// A primary whose data came from a log may have had replicas, and one of them may have been
    /// promoted while it was down. What it takes until it is told so is kept in a backlog, to be
    /// saved rather than discarded without a trace; `repl-backlog-ttl` frees it where nobody comes.
    func keepHistoryAfterReplay() {
        guard pointee.persistence.loadedKeys > 0, pointee.history.backlog == nil,
            !isReplica, settings.replicaOf == nil
        else { return }
        pointee.history.createBacklog(capacity: Int64(settings.backlogSize))
        executor.pointee.backlog.pointee.reset(to: pointee.history.offset)
        executor.pointee.feedsBacklog = true
    }

    // MARK: A primary's copy

    func beginReplicaLoad() {
        abandonReplicaLoad()
        log(.notice, "MASTER <-> REPLICA sync: Loading DB in memory")
        let settings = self.settings
        let fresh = Keyspace(
            databases: settings.databases, slotted: settings.clusterEnabled,
            sipKey: SipKey(executor.pointee.prng.next(), executor.pointee.prng.next()),
            seed: executor.pointee.prng.next())
        executor.pointee.commands.pointee.objectTypes.register(in: fresh)
        fresh.advanceClock(milliseconds: now.wall.milliseconds)
        configureAccess(fresh)
        pointee.loader.fresh = fresh
        openReader()
        pointee.loader.libraries = []
        pointee.loader.started = instant
        pointee.loader.keys = 0
        pointee.loader.streamDatabase = 0
    }

    func loadFromPrimary(_ bytes: Bytes) {
        guard let fresh = pointee.loader.fresh else { return }
        do throws(RDBError) {
            try take(bytes, into: fresh)
        } catch {
            let reason = "\(error)"
            abandonReplicaLoad()
            var effects: [ReplicaEffect] = []
            pointee.upstream.loadFailed(reason, at: instant, into: &effects)
            carryOut(effects, bytes: .empty)
        }
    }

    func finishReplicaLoad() {
        guard let fresh = pointee.loader.fresh else {
            // The copy broke while it came in; the machine has been told.
            return
        }
        var effects: [ReplicaEffect] = []
        do throws(RDBError) {
            try pointee.loader.reader?.finish()
            try takeOverLibraries()
        } catch {
            abandonReplicaLoad()
            pointee.upstream.loadFailed("\(error)", at: instant, into: &effects)
            return carryOut(effects, bytes: .empty)
        }
        if pointee.snapshot.isRunning { cancelSnapshot() }
        let old = executor.pointee.keyspace
        executor.pointee.keyspace = fresh
        pointee.loader.fresh = nil
        pointee.loader.reader = nil
        pointee.loader.retired?.destroy()
        pointee.loader.retired = old
        for index in 0..<old.databaseCount { old.flush(database: index) }
        executor.pointee.watch.touchAll(database: -1)
        executor.databaseChanged(-1)
        executor.invalidateEverything()
        pointee.upstreamDatabase = pointee.loader.streamDatabase
        pointee.persistence.loadedKeys = pointee.loader.keys
        restartLog()
        if !pointee.embedded.isEmpty {
            log(
                .notice,
                "MASTER <-> REPLICA sync: \(pointee.embedded.count) bytes of changes came with the "
                    + "copy and are applied now")
        }
        pointee.upstream.loaded(
            embedded: pointee.embedded.count, at: instant, into: &effects)
        carryOut(effects, bytes: .empty)
    }

    func abandonReplicaLoad() {
        pointee.embedded.drop()
        pointee.loader.reader = nil
        pointee.loader.fresh?.destroy()
        pointee.loader.fresh = nil
    }

    /// Frees a part of the key space that was replaced; true when more is left.
    func freeRetired() -> Bool {
        guard let retired = pointee.loader.retired else { return false }
        if retired.lazyFreeSlice(effort: 20_000) { return true }
        retired.destroy()
        pointee.loader.retired = nil
        return false
    }

    /// Frees a part of the values and keys that were given up; true when more is left.
    func freeShare() -> Bool {
        executor.pointee.keyspace.hasLazyFree
            && executor.pointee.keyspace.lazyFreeSlice(effort: 1000)
    }

    // MARK: Items

    func take(_ bytes: Bytes, into keyspace: Keyspace) throws(RDBError) {
        pointee.loader.bytes += Int64(bytes.count)
        pointee.loader.reader?.feed(bytes)
        pointee.loader.batch.removeAll()
        defer { storeBatch(into: keyspace) }
        while let item = try pointee.loader.reader?.next() {
            switch item {
            case .auxiliary(let name, let value):
                if name == EmbeddedStream.field {
                    // In a file it means nothing.
                    if pointee.loader.fresh != nil { pointee.embedded.keep(value) }
                    continue
                }
                if name == "repl-stream-db", let database = value.decimal, database >= 0,
                    database < Int64(settings.databases)
                {
                    pointee.loader.streamDatabase = Int32(database)
                }
                if name == "repl-id" { pointee.loader.savedID = ReplicationID(value.string) }
                if name == "repl-offset", let offset = value.decimal, offset >= 0 {
                    pointee.loader.savedOffset = offset
                }
            case .selectDatabase(let database):
                storeBatch(into: keyspace)
                pointee.loader.database = database
            case .resize(let keys, _):
                keyspace.reserve(Int(clamping: keys), database: pointee.loader.database)
            case .entry(let entry): try take(entry, into: keyspace)
            case .functionLibrary(let source): try take(library: source, into: keyspace)
            case .end: break
            }
        }
    }

    /// Into the libraries in force, unless the data is loaded beside that in force.
    private func take(library source: Bytes, into keyspace: Keyspace) throws(RDBError) {
        guard pointee.loader.fresh == nil else {
            return pointee.loader.libraries.append(source.array)
        }
        let replaces = pointee.loader.replacesLibraries
        if let problem = scripts.load(source, replaces: replaces) {
            throw RDBError(.invalidFunctions(problem))
        }
    }

    private func takeOverLibraries() throws(RDBError) {
        defer { pointee.loader.libraries = [] }
        if let problem = scripts.replaceLibraries(pointee.loader.libraries) {
            throw RDBError(.invalidFunctions(problem))
        }
    }

    private func take(_ entry: RDBEntry, into keyspace: Keyspace) throws(RDBError) {
        let expireAt = entry.attributes.expireAt
        // A primary drops what expired while it was down; a replica leaves that to its primary.
        if pointee.loader.isBlocking, !pointee.loader.keepsExpired, !isReplica,
            settings.replicaOf == nil, expireAt >= 0, expireAt < now.wall.milliseconds
        {
            pointee.loader.expired += 1
            noteExpired(entry.key)
            return
        }
        let database = pointee.loader.database
        if pointee.loader.batch.isFull { storeBatch(into: keyspace) }
        if pointee.loader.batch.add(entry, database: database, to: keyspace) { return }
        // In the order of the file, should a key be there twice.
        storeBatch(into: keyspace)
        let key = keyspace.key(entry.key, database: database)
        let attributes = entry.attributes
        guard case .payload(let bytes) = entry.value else {
            return storeString(key, entry.value, attributes, into: keyspace)
        }
        guard let object = try loadObject(entry, bytes, keyspace) else {
            pointee.loader.emptyKeys += 1
            log(.notice, "rdbLoadObject skipping empty key: \(entry.key.string)")
            return
        }
        let stored = keyspace.replaceObject(
            key, object.type, object.value.encoding, object.value.payload,
            expiry: expireAt >= 0 ? .at(expireAt) : .clear)
        noteLoaded(stored, attributes, keyspace)
    }

    private func storeBatch(into keyspace: Keyspace) {
        for index in 0..<pointee.loader.batch.count {
            let item = pointee.loader.batch[index]
            storeString(item.key, item.value, item.attributes, into: keyspace)
        }
        pointee.loader.batch.removeAll()
    }

    private func storeString(
        _ key: KeyRef, _ value: RDBValue, _ attributes: RDBAttributes, into keyspace: Keyspace
    ) {
        let expiry: ExpiryChange =
            attributes.expireAt >= 0 ? .at(attributes.expireAt) : .clear
        switch value {
        case .bytes(let bytes):
            let stored = keyspace.setString(key, bytes, expiry: expiry)
            noteLoaded(stored, attributes, keyspace)
        case .integer(let number):
            let stored = keyspace.setInteger(key, number, expiry: expiry)
            noteLoaded(stored, attributes, keyspace)
        case .payload: unreachable("a string has no payload")
        }
    }

    private func noteLoaded(_ entry: Entry, _ attributes: RDBAttributes, _ keyspace: Keyspace) {
        if attributes.frequency >= 0 {
            keyspace.setFrequency(entry, attributes.frequency)
        } else if attributes.idleSeconds >= 0 {
            keyspace.setIdleSeconds(entry, Int(attributes.idleSeconds))
        }
        pointee.loader.keys += 1
    }

    /// What the replicas must be told of a key that had expired in the file.
    private func noteExpired(_ key: Bytes) {
        guard pointee.loader.savedID != nil else { return }
        if pointee.loader.expiredStream == nil {
            pointee.loader.expiredStream = .allocate(capacity: 1)
            pointee.loader.expiredStream?.initialize(to: Buffer())
        }
        guard let stream = pointee.loader.expiredStream else { return }
        // Beyond the backlog it would only be thrown away again.
        guard stream.pointee.count < 4 * settings.backlogSize else { return }
        let writer = StreamWriter(stream)
        if pointee.loader.expiredDatabase != Int32(pointee.loader.database) {
            pointee.loader.expiredDatabase = Int32(pointee.loader.database)
            writer.begin(2)
            writer.argument("SELECT")
            writer.argument(decimal: Int64(pointee.loader.database))
        }
        writer.begin(2)
        writer.argument("DEL")
        writer.argument(key)
    }

    /// Hands the stream of expired keys on to the backlog, which begins where the file ends. False
    /// when it is not whole: then no replica may go on from here.
    private func feedExpired() -> Bool {
        guard let stream = pointee.loader.expiredStream else { return true }
        let isWhole = stream.pointee.count < 4 * settings.backlogSize
        if isWhole {
            executor.pointee.backlog.pointee.append(stream.pointee.bytes)
            executor.pointee.streamDatabase = pointee.loader.expiredDatabase
        }
        dropExpired()
        return isWhole
    }

    private func dropExpired() {
        pointee.loader.expiredStream?.deinitialize(count: 1)
        pointee.loader.expiredStream?.deallocate()
        pointee.loader.expiredStream = nil
        pointee.loader.expiredDatabase = -1
    }

    /// The value of an entry that is no string; nil for a collection without elements, which the
    /// reference skips as well.
    private func loadObject(
        _ entry: RDBEntry, _ bytes: Bytes, _ keyspace: Keyspace
    ) throws(RDBError) -> (type: ValueType, value: LoadedObject)? {
        let (type, outcome) = executor.objectFormats.load(
            code: entry.type, bytes, heap: keyspace.heap, limits: settings.limits,
            largestString: settings.maxBulkLength)
        switch outcome {
        case .loaded(let object): return (type, object)
        case .empty: return nil
        case .damaged:
            throw RDBError(.damagedValue(type: entry.type, key: entry.key.string))
        }
    }
}
