// The append-only files, as the log thread handles them. Apart from the thread of all other files:
// a snapshot of gigabytes on its way to the disk must not make writers wait. A write is all or
// nothing; what a full disk took of it is cut off again, so that the file stays whole and the same
// bytes can be tried later. After a sync that failed nothing is promised about the file any more.
import Base
import CLinux
import Glibc
import NodeCore

struct LogStore: ~Copyable {
    private struct OpenLog {
        var descriptor: Int32
        var path: String
        /// Where the next write begins.
        var size: Int64
    }

    private let answers: Mailbox<JobAnswer>
    private var logs: [UInt64: OpenLog] = [:]

    init(answers: Mailbox<JobAnswer>) { self.answers = answers }

    /// False when the request is not for the log thread.
    static func takes(_ request: FileRequest) -> Bool {
        switch request {
        case .openLog, .writeLog, .closeLog: true
        default: false
        }
    }

    mutating func carryOut(_ request: FileRequest) {
        switch request {
        case .openLog(let file, let name, let truncates, let ticket):
            do throws(SystemError) {
                try open(file, name, truncates: truncates)
                answers.post(.fileDone(ticket: ticket, failure: nil))
            } catch {
                answers.post(.fileDone(ticket: ticket, failure: FileFailure(error)))
            }
        case .writeLog(let file, let bytes, let sync, let ticket):
            do throws(SystemError) {
                try write(file, bytes)
                if sync { try syncData(file) }
                answers.post(.fileDone(ticket: ticket, failure: nil))
            } catch {
                answers.post(.fileDone(ticket: ticket, failure: FileFailure(error)))
            }
        case .closeLog(let file):
            guard let log = logs.removeValue(forKey: file) else { return }
            Syscalls.close(log.descriptor)
        default: unreachable("a request for the other thread")
        }
    }

    private mutating func open(
        _ file: UInt64, _ name: String, truncates: Bool
    ) throws(SystemError) {
        invariant(logs[file] == nil, "a log's number is used once")
        let folder = FileStore.folder(of: name)
        if mkdir(folder, 0o755) != 0, errno != EEXIST { throw SystemError("mkdir", folder) }
        var flags = O_WRONLY | O_APPEND | O_CREAT
        if truncates { flags |= O_TRUNC }
        let descriptor = try Syscalls.open(name, flags)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let error = SystemError("fstat", name)
            Syscalls.close(descriptor)
            throw error
        }
        do throws(SystemError) {
            try Syscalls.syncFolder(folder)
        } catch {
            Syscalls.close(descriptor)
            throw error
        }
        logs[file] = OpenLog(descriptor: descriptor, path: name, size: Int64(status.st_size))
    }

    private mutating func write(_ file: UInt64, _ bytes: [UInt8]) throws(SystemError) {
        // A file that was given up has been closed; whoever still asks hears so.
        guard let log = logs[file] else { throw SystemError("log", code: EBADF) }
        guard !bytes.isEmpty else { return }
        var failure: SystemError?
        bytes.withBytes { bytes in
            do throws(SystemError) {
                try Syscalls.writeAll(log.descriptor, bytes, path: log.path)
            } catch {
                failure = error
            }
        }
        guard let failure else {
            logs[file]?.size += Int64(bytes.count)
            return
        }
        // Half a command in the middle of the file would spoil all that follows.
        if ftruncate(log.descriptor, off_t(log.size)) != 0 {
            throw SystemError("ftruncate", log.path)
        }
        throw failure
    }

    private func syncData(_ file: UInt64) throws(SystemError) {
        guard let log = logs[file] else { return }
        while fdatasync(log.descriptor) != 0 {
            if errno != EINTR { throw SystemError("fsync", log.path) }
        }
    }
}
