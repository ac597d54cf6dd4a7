// The stream group, and the stream as a type of the keyspace and of RDB.
import Base
import Engine
import Persistence
import RESP
import Storage

extension Extension {
    /// XADD, XREAD, XREADGROUP and the rest.
    public static let streams = Extension("stream") { registry in
        registry.group = .stream
        registry.registerStreamAdding()
        registry.registerStreamRanges()
        registry.registerStreamReading()
        registry.registerStreamGroups()
        registry.registerStreamClaiming()
        registry.registerStreamPending()
        registry.registerStreamInfo()
        registry.objectType(.stream, operations: streamOperations, format: .stream)
    }
}

private var streamOperations: ObjectType {
    ObjectType(
        free: { payload, _, heap, effort in
            Stream(payload).release(ObjectHeap(raw: heap).memory, effort: effort)
        },
        freeEffort: { payload, _ in Stream(payload).freeEffort },
        memoryUsage: { payload, _, samples in Stream(payload).memoryUsage(samples: samples) },
        copy: { payload, _, heap in Stream(payload).copy(ObjectHeap(raw: heap).memory).base },
        digest: { payload, _, bytes in Stream(payload).mix(into: DigestMixer(bytes)) },
        openWalk: Stream.openWalk, closeWalk: Stream.closeWalk)
}

extension Call {
    var memory: Memory { keyspace.memory }

    /// The stream of an entry; nil after an error reply.
    @inline(__always)
    func streamOrReply(_ entry: Entry) -> Stream? {
        typeOrReply(entry, .stream).map { Stream($0.payload) }
    }

    /// Lets a running snapshot have the stream as it is; to be called before a change.
    @inline(__always)
    func willChangeStream(_ key: KeyRef) {
        guard let entry = keyspace.find(key) else { unreachable("a stream without a key") }
        keyspace.willChange(entry, key)
    }

    /// A new, empty stream under a key that does not exist.
    func makeStream(_ key: KeyRef) -> Stream {
        announceNew(key)
        let stream = Stream.make(memory)
        _ = keyspace.insertObject(key, .stream, .stream, stream.base)
        return stream
    }

    /// Counts a change that WATCH does not see and tells observers.
    func changedQuietly(_ event: StaticString, _ key: KeyRef) {
        executor.pointee.dirty &+= 1
        tell(.stream, event, key)
    }
}

extension ReplyWriter {
    @inline(__always)
    func bulk(_ id: StreamID) { id.withText { bulk($0) } }

    /// The entry that `iterator` gave last: its ID, then fields and values.
    @inline(__always)
    func entry(_ id: StreamID, _ iterator: StreamIterator) {
        array(2)
        bulk(id)
        array(iterator.fieldCount * 2)
        iterator.forEachField { field, value in
            bulk(field)
            bulk(value)
        }
    }

    /// The entry of `id`; false, and no reply, when there is none.
    func entry(_ id: StreamID, of stream: Stream) -> Bool {
        var iterator = StreamIterator(stream, from: id, through: id)
        guard iterator.next() != nil else { return false }
        entry(id, iterator)
        return true
    }
}
