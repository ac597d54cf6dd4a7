// Keys that are on their way to another node (MIGRATE): nobody may write to them until it is known
// whether they arrived, or a write that was acknowledged here would be deleted with the key. The
// commands wait in their sessions' input, as they do during a pause. The `migrating` alert is set
// while there are such keys, so that the common path pays nothing for this.
import Base
import RESP
import Storage

public struct InFlightKeys {
    /// Names alone: a key of that name in another database waits too, which is safe and rare.
    private var names: Set<[UInt8]> = []

    public init() {}

    public var isEmpty: Bool { names.isEmpty }
    public var count: Int { names.count }

    public func contains(_ name: Bytes) -> Bool { names.contains(name.array) }

    public mutating func insert(_ keys: [[UInt8]]) {
        for key in keys {
            let isNew = names.insert(key).inserted
            invariant(isNew, "a key is on its way once")
        }
    }

    public mutating func remove(_ keys: [[UInt8]]) {
        for key in keys { names.remove(key) }
    }
}

extension ExecutorPointer {
    /// Whether a command may change a key in flight. Writers that name no key (FLUSHALL) may.
    func mayChangeKeysInFlight(
        _ command: UnsafeMutablePointer<Command>, _ flags: CommandFlags,
        _ arguments: UnsafePointer<Bytes>, _ count: Int, _ session: UnsafeMutablePointer<Session>
    ) -> Bool {
        guard !pointee.inFlight.isEmpty, !flags.isDisjoint(with: [.write, .mayReplicate]),
            !command.pointee.flags.contains(.pubsub)
        else { return false }
        if let transaction = session.pointee.transaction, isNamed(command, "exec"),
            transaction.pointee.commands.contains(where: { $0.command.pointee.writesUnnamedKeys })
        {
            return true
        }
        let keys = keysOfCall(command, arguments, count, session)
        return keys.isEmpty || keys.contains { pointee.inFlight.contains($0.bytes) }
    }
}

extension Command {
    fileprivate var writesUnnamedKeys: Bool {
        flags.contains(.write) && !flags.contains(.touchesKeys)
    }
}
