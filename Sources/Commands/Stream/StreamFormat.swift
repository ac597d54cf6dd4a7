// Streams in RDB: code 19 is written, which 7.0 reads; 15 (5.0) and 21 (7.2) are read too. Nodes
// are listpacks as they are in memory; every one is checked, and so is everything that refers to
// something else: the order of IDs, pending entries and who has them, names.
import Base
import Persistence
import Storage

extension ObjectFormat {
    static let stream = ObjectFormat(
        decoders: [
            ObjectDecoder(code: RDBType.stream, layout: layout(.stream)),
            ObjectDecoder(code: RDBType.stream2, layout: layout(.stream2)),
            ObjectDecoder(code: RDBType.stream3, layout: layout(.stream3)),
        ],
        code: { _, _ in RDBType.stream2 },
        save: { payload, _, writer in save(Stream(payload), writer) },
        load: { code, reader in load(code, &reader) },
        pieces: ObjectPieces(
            code: { _ in RDBType.stream2 },
            begin: { walk, writer in writer.length(StreamWalk(walk).nodeCount) },
            next: { walk, memory, effort, writer in
                let walk = StreamWalk(walk)
                // A node is as much work as many elements.
                let isDone = walk.advance(max(1, effort / 16), memory) { saveNode($0, $1, writer) }
                if isDone { saveRest(of: walk.frozen, writer) }
                return isDone
            }))

    private enum Version { case stream, stream2, stream3 }

    /// Where the parts are.
    private static func layout(_ version: Version) -> RDBLayout {
        let id: RDBPart = .bytes(StreamID.size)
        var consumer: [RDBPart] = [.string, .bytes(8)]
        if version == .stream3 { consumer.append(.bytes(8)) }
        consumer.append(.repeated([id]))
        var group: [RDBPart] = [.string, .length, .length]
        if version != .stream { group.append(.length) }
        group += [.repeated([id, .bytes(8), .length]), .repeated(consumer)]
        var parts: [RDBPart] = [.repeated([.string, .string]), .length, .length, .length]
        if version != .stream { parts += [.length, .length, .length, .length, .length] }
        return .parts(parts + [.repeated(group)])
    }

    // MARK: Writing

    private static func save(_ stream: Stream, _ writer: ObjectWriter) {
        writer.length(stream.nodeCount)
        stream.forEachNode { saveNode($0, $1, writer) }
        saveRest(of: stream, writer)
    }

    private static func saveNode(_ master: StreamID, _ bytes: Bytes, _ writer: ObjectWriter) {
        master.withBytes { writer.string($0) }
        writer.string(bytes)
    }

    /// What comes behind the nodes.
    private static func saveRest(of stream: Stream, _ writer: ObjectWriter) {
        writer.length(stream.length)
        save(stream.lastID, writer)
        save(stream.firstID, writer)
        save(stream.maxDeletedID, writer)
        writer.number(stream.entriesAdded)
        writer.length(stream.groupCount)
        for index in 0..<stream.groupCount { save(stream.group(at: index), writer) }
    }

    private static func save(_ id: StreamID, _ writer: ObjectWriter) {
        writer.number(id.ms)
        writer.number(id.seq)
    }

    private static func save(_ group: StreamGroup, _ writer: ObjectWriter) {
        writer.string(group.name)
        save(group.lastID, writer)
        writer.number(UInt64(bitPattern: group.entriesRead))
        writer.length(group.pending.count)
        var cursor = group.pending.first
        while let current = cursor {
            current.id.withBytes { writer.raw($0) }
            writer.word64(UInt64(bitPattern: current.pending.deliveryTime))
            writer.number(current.pending.deliveryCount)
            cursor = current.next
        }
        writer.length(group.consumerCount)
        for index in 0..<group.consumerCount {
            let consumer = group.consumer(at: index)
            writer.string(consumer.name)
            writer.word64(UInt64(bitPattern: consumer.seenTime))
            writer.length(consumer.pending.count)
            var cursor = consumer.pending.first
            while let current = cursor {
                current.id.withBytes { writer.raw($0) }
                cursor = current.next
            }
        }
    }

    // MARK: Reading

    private static func load(_ code: UInt8, _ reader: inout ObjectReader) -> LoadOutcome {
        let memory = reader.heap.memory
        let stream = Stream.make(memory)
        guard loadEntries(code, stream, &reader), loadGroups(code, stream, &reader) else {
            while !stream.release(memory, effort: .max) {}
            return .damaged
        }
        return .loaded(LoadedObject(.stream, stream.base))
    }

    private static func loadID(_ reader: inout ObjectReader) -> StreamID? {
        guard let ms = reader.number(), let seq = reader.number() else { return nil }
        return StreamID(ms, seq)
    }

    private static func loadEntries(
        _ code: UInt8, _ stream: Stream, _ reader: inout ObjectReader
    ) -> Bool {
        let memory = reader.heap.memory
        guard let nodes = reader.length(), nodes <= reader.left else { return false }
        for _ in 0..<nodes {
            guard let key = reader.string(), key.count == StreamID.size else { return false }
            let master = StreamID(bytes: key)
            guard let bytes = reader.string(), stream.appendNode(master, bytes, memory) else {
                return false
            }
        }
        guard reader.number() != nil, let last = loadID(&reader), last >= stream.lastID else {
            return false
        }
        stream.lastID = last
        stream.refreshFirstID()
        stream.entriesAdded = UInt64(stream.length)
        guard code != RDBType.stream else { return true }
        guard loadID(&reader) != nil, let deleted = loadID(&reader), deleted <= last,
            let added = reader.number()
        else { return false }
        stream.maxDeletedID = deleted
        stream.entriesAdded = added
        return true
    }

    private static func loadGroups(
        _ code: UInt8, _ stream: Stream, _ reader: inout ObjectReader
    ) -> Bool {
        guard let count = reader.length(), count <= reader.left + 1 else { return false }
        for _ in 0..<count {
            guard let name = reader.string() else { return false }
            // The name is gone with the next string, the group has it by then.
            guard
                let group = stream.addGroup(
                    name, lastID: .zero, entriesRead: StreamGroup.unknown, reader.heap.memory),
                let last = loadID(&reader)
            else { return false }
            group.lastID = last
            if code == RDBType.stream {
                group.entriesRead = stream.distanceFromFirst(last) ?? StreamGroup.unknown
            } else {
                guard let read = reader.number() else { return false }
                group.entriesRead = Int64(bitPattern: read)
            }
            guard loadPending(group, &reader), loadConsumers(code, group, &reader) else {
                return false
            }
        }
        return true
    }

    private static func loadPending(_ group: StreamGroup, _ reader: inout ObjectReader) -> Bool {
        guard let count = reader.length(), count <= reader.left else { return false }
        for _ in 0..<count {
            guard let bytes = reader.raw(StreamID.size) else { return false }
            let id = StreamID(bytes: bytes)
            guard let time = reader.word64(), let deliveries = reader.number(),
                group.addPending(
                    id, time: Int64(bitPattern: time), count: deliveries, reader.heap.memory)
                    != nil
            else { return false }
        }
        return true
    }

    /// Every pending entry must be with exactly one consumer.
    private static func loadConsumers(
        _ code: UInt8, _ group: StreamGroup, _ reader: inout ObjectReader
    ) -> Bool {
        let memory = reader.heap.memory
        guard let count = reader.length(), count <= reader.left + 1 else { return false }
        var assigned = 0
        for _ in 0..<count {
            guard let name = reader.string(), group.consumer(name) == nil else { return false }
            let consumer = group.addConsumer(name, now: 0, memory)
            guard let seen = reader.word64() else { return false }
            consumer.seenTime = Int64(bitPattern: seen)
            consumer.activeTime = consumer.seenTime
            if code == RDBType.stream3 {
                guard let active = reader.word64() else { return false }
                consumer.activeTime = Int64(bitPattern: active)
            }
            guard let pending = reader.length(), pending <= reader.left else { return false }
            for _ in 0..<pending {
                guard let bytes = reader.raw(StreamID.size) else { return false }
                let id = StreamID(bytes: bytes)
                guard let entry = group.pendingEntry(id), entry.consumer == nil,
                    group.assign(entry, id, to: consumer, memory)
                else { return false }
                assigned += 1
            }
        }
        return assigned == group.pending.count
    }
}
