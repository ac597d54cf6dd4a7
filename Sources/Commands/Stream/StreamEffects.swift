// What goes to replicas for commands that choose by themselves: each entry that was given to a
// consumer as an XCLAIM that has the same result, with the group's position. Several of them are
// one transaction, so that no replica shows half a command.
import Base
import Engine
import RESP
import Storage

struct StreamEffects {
    private let call: Call
    private let key: Bytes
    private let group: Bytes
    private var count = 0
    /// What begins a transaction in the stream of changes.
    private static let opening: StaticString = "MULTI"

    /// For the group named `group` of the stream at `key`. The command itself is not propagated.
    init(_ call: Call, key: Bytes, group: Bytes) {
        self.call = call
        self.key = key
        self.group = group
        call.propagateNothing()
    }

    /// Inside EXEC the transaction is there already.
    private var isAlone: Bool { !call.executor.pointee.executingTransaction }

    private mutating func add(_ arguments: Int, _ body: (StreamWriter) -> Void) {
        // Written before the first, and taken back if there is no second.
        if count == 0, isAlone { call.rewrite(1) { $0.argument(StreamEffects.opening) } }
        count += 1
        call.rewrite(arguments, body)
    }

    /// An entry is pending now with the consumer that `entry` says.
    mutating func claim(_ id: StreamID, _ entry: PendingEntry, _ owner: StreamGroup) {
        guard let consumer = entry.consumer else { unreachable("a claim without a consumer") }
        let (key, group) = (key, group)
        add(14) { out in
            out.argument("XCLAIM")
            out.argument(key)
            out.argument(group)
            out.argument(consumer.name)
            out.argument("0")
            id.withText { out.argument($0) }
            out.argument("TIME")
            out.argument(decimal: entry.deliveryTime)
            out.argument("RETRYCOUNT")
            out.argument(decimal: Int64(truncatingIfNeeded: entry.deliveryCount))
            out.argument("FORCE")
            out.argument("JUSTID")
            out.argument("LASTID")
            owner.lastID.withText { out.argument($0) }
        }
    }

    /// The group's position moved, without any entry that would say so.
    mutating func position(_ owner: StreamGroup) {
        let (key, group) = (key, group)
        add(7) { out in
            out.argument("XGROUP")
            out.argument("SETID")
            out.argument(key)
            out.argument(group)
            owner.lastID.withText { out.argument($0) }
            out.argument("ENTRIESREAD")
            out.argument(decimal: owner.entriesRead)
        }
    }

    /// A consumer came into being without any entry that would say so.
    mutating func newConsumer(_ name: Bytes) {
        let (key, group) = (key, group)
        add(5) { out in
            out.argument("XGROUP")
            out.argument("CREATECONSUMER")
            out.argument(key)
            out.argument(group)
            out.argument(name)
        }
    }

    /// The same for another stream of the same command.
    mutating func move(to key: Bytes) {
        self = StreamEffects(call, key: key, group: group, count: count)
    }

    private init(_ call: Call, key: Bytes, group: Bytes, count: Int) {
        self.call = call
        self.key = key
        self.group = group
        self.count = count
    }

    /// To be called once, at the end of the command.
    func finish() {
        guard count > 0, isAlone else { return }
        if count == 1 {
            // "*1\r\n$5\r\nMULTI\r\n"
            call.executor.pointee.rewrite.pointee.consume(15)
        } else {
            call.rewrite(1) { $0.argument("EXEC") }
        }
    }
}
