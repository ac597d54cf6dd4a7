// MULTI: the commands that a session has queued, copied into one buffer, and the keys that it
// watches. EXEC runs them through the same dispatcher.
import Base
import RESP

/// A queued command: its record and where its arguments lie in the buffer.
public struct QueuedCommand {
    public let command: UnsafeMutablePointer<Command>
    let firstArgument: Int
    let argumentCount: Int
}

public struct Transaction: ~Copyable {
    public private(set) var commands: [QueuedCommand] = []
    private var bytes = Buffer()
    private var lengths: [Int] = []
    private var offsets: [Int] = []
    /// Flags of all queued commands together.
    public private(set) var flags: CommandFlags = []
    /// Flags that at least one queued command does not have.
    private(set) var missingFlags: CommandFlags = []
    public var watched: [WatchedKey] = []

    public init() {}

    public var isEmpty: Bool { commands.isEmpty }
    /// Bytes held for queued arguments (CLIENT LIST's multi-mem).
    public var memory: Int { bytes.capacity + commands.count * 24 + lengths.count * 16 }

    public mutating func enqueue(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) {
        commands.append(
            QueuedCommand(command: command, firstArgument: lengths.count, argumentCount: count))
        flags.formUnion(command.pointee.flags)
        missingFlags.formUnion(CommandFlags(rawValue: ~command.pointee.flags.rawValue))
        for index in 0..<count {
            offsets.append(bytes.count)
            lengths.append(arguments[index].count)
            bytes.append(arguments[index])
        }
    }

    /// Appends the arguments of a queued command to `list`; they stay valid until `discard`.
    public func arguments(of queued: QueuedCommand, into list: inout ArgumentList) {
        let all = bytes.bytes
        for index in queued.firstArgument..<(queued.firstArgument + queued.argumentCount) {
            list.append(all[offsets[index]..<(offsets[index] + lengths[index])])
        }
    }

    /// Forgets the queue, not the watched keys.
    public mutating func discard() {
        commands.removeAll()
        lengths.removeAll()
        offsets.removeAll()
        flags = []
        missingFlags = []
        bytes.release()
    }
}
