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
    public private(set) var watched: [WatchedKey] = []
    private var watchedBytes = 0

    public init() {}

    public var isEmpty: Bool { commands.isEmpty }
    /// Bytes held for queued arguments and watched keys (CLIENT LIST's multi-mem).
    public var memory: Int {
        let queued = bytes.capacity + commands.capacity * 24 + lengths.capacity * 16
        return queued + watchedBytes + watched.capacity * MemoryLayout<WatchedKey>.stride
    }

    /// `flags` are those of the command, or what its script says of itself.
    public mutating func enqueue(
        _ command: UnsafeMutablePointer<Command>, _ flags: CommandFlags,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) {
        commands.append(
            QueuedCommand(command: command, firstArgument: lengths.count, argumentCount: count))
        self.flags.formUnion(flags)
        missingFlags.formUnion(CommandFlags(rawValue: ~flags.rawValue))
        for index in 0..<count {
            offsets.append(bytes.count)
            lengths.append(arguments[index].count)
            bytes.append(arguments[index])
        }
    }

    public mutating func watch(_ key: WatchedKey) {
        watched.append(key)
        // The name is here and in the table of all watched keys, with its watchers.
        watchedBytes += 2 * key.key.count + 64
    }

    mutating func unwatch() {
        watched.removeAll()
        watchedBytes = 0
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
