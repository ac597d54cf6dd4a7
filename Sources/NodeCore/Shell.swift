// What a node asks of the world, and the only way it can: the real process (`Server`) and the
// simulator both implement `Shell`. The node queues requests while inputs are handled and hands
// them over in `beforeSleep`, in the order that `BeforeSleep.swift` writes down. Whatever comes of
// a request returns as an input: `linkOpened`, `linkData`, `linkClosed`, `fileDone`.
import Base
import Engine
import Gossip

/// What a peer connection is for.
public enum LinkKind: Sendable {
    /// Cluster bus, to a peer's bus port (inbound ones are accepted on ours).
    case bus
    /// From a replica to its primary.
    case primary
    /// To the target of MIGRATE.
    case migrate
    /// From a sentinel to an instance; the shell keeps it from the node.
    case sentinel
}

/// Work on files in the node's folder. Requests are carried out in order, off the loop.
public enum FileRequest: Sendable {
    /// Replaces `name` atomically: temporary file, fsync if `sync`, rename, fsync of the folder if
    /// `sync`. Answered by `fileDone(ticket)`.
    case replace(name: String, contents: [UInt8], sync: Bool, ticket: UInt64)
    /// Starts a temporary file, known by the number `file`.
    case create(file: UInt64, name: String)
    case append(file: UInt64, bytes: [UInt8])
    /// Answered by `fileDone(ticket)` once everything before it was written: back-pressure.
    case checkpoint(file: UInt64, ticket: UInt64)
    /// fsync, rename to `name`, fsync of the folder. Answered by `fileDone(ticket)`, also with the
    /// first error of any `append` before.
    case commit(file: UInt64, name: String, ticket: UInt64)
    /// Removes a temporary file that will not be needed.
    case discard(file: UInt64)
    case remove(name: String)

    // The append-only file. Carried out beside the requests above, in an order of their own.
    /// Opens a file to append to, under its own name; answered by `fileDone(ticket)`.
    case openLog(file: UInt64, name: String, truncates: Bool, ticket: UInt64)
    /// Appends, all or nothing, and syncs if asked; answered by `fileDone(ticket)`. A failed
    /// `write` leaves the file as it was; after any other failure its contents are unknown.
    case writeLog(file: UInt64, bytes: [UInt8], sync: Bool, ticket: UInt64)
    /// Syncs what is written so far, beside writes that go on; answered by `fileDone(ticket)`.
    case syncLog(file: UInt64, ticket: UInt64)
    case closeLog(file: UInt64)

    // With the other files again.
    /// Makes a folder unless it is there.
    case createFolder(name: String)
    /// Renames and syncs the folder; answered by `fileDone(ticket)`.
    case rename(from: String, to: String, ticket: UInt64)
}

/// What became of `Shell.writeLog`.
public enum LogWriteResult: Sendable {
    case done
    /// It might take long: ask the log thread.
    case busy
    /// The file is as it was.
    case failed(FileFailure)
}

/// Why a file request failed.
public struct FileFailure: Error, Sendable, Equatable {
    /// `open`, `write`, `fsync`, `rename`.
    public var operation: String
    public var path: String
    /// The system's text, such as "No space left on device".
    public var reason: String

    public init(operation: String, path: String, reason: String) {
        self.operation = operation
        self.path = path
        self.reason = reason
    }
}

/// The rest: things that only a process can do.
public enum ProcessRequest: Sendable, Equatable {
    /// Ends the process after everything queued before was done and files are written.
    case exit(code: Int32)
    /// DEBUG SLEEP: the whole process stands still.
    case sleep(microseconds: Int64)
    /// DEBUG SEGFAULT, DEBUG PANIC, DEBUG ASSERT.
    case crash(String)
    /// DEBUG RESTART, DEBUG CRASH-AND-RECOVER: exec self again after a delay.
    case restart(delayMilliseconds: Int64)
    /// CONFIG SET changed what sockets, the log or the process depend on: read `settings` again.
    case applySettings([String])
    /// CONFIG REWRITE: replace the configuration file with these bytes; answered by `fileDone`.
    case rewriteConfig(path: String, contents: [UInt8], ticket: UInt64)
}

public protocol Shell {
    /// Opens a connection; answered by `linkOpened` or `linkClosed`.
    mutating func connect(_ link: LinkID, kind: LinkKind, host: String, port: Int)
    /// Queues bytes on a link, in order. The shell copies them.
    mutating func send(_ link: LinkID, _ bytes: [UInt8])
    /// Closes a link after what was queued has been tried once; no `linkClosed` follows.
    mutating func close(_ link: LinkID)

    mutating func perform(_ request: FileRequest)
    /// Appends to an open log at once, all or nothing, unless that may take long. Only while no
    /// `FileRequest.writeLog` of the same file is under way.
    mutating func writeLog(_ file: UInt64, _ bytes: Bytes) -> LogWriteResult
    mutating func perform(_ request: ProcessRequest)
    mutating func log(_ line: LogLine)

    /// Writes as much of the session's output as the socket takes, once; waits for room by itself
    /// (and calls `write` work again through `NodePointer.nextOutput`).
    mutating func write(_ session: UnsafeMutablePointer<Session>)
    /// Closes the session's socket; then calls `NodePointer.sessionClosed`.
    mutating func close(_ session: UnsafeMutablePointer<Session>)
}
