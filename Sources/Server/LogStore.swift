// The append-only files, as the loop and the two threads of the log handle them. Apart from the
// thread of all other files: a snapshot of gigabytes on its way to the disk must not make writers
// wait. A write is all or nothing; what a full disk took of it is cut off again, so that the file
// stays whole and the same bytes can be tried later. After a sync that failed nothing is promised
// about the file any more.
//
// One writer at a time: the node sees to it. Only the table of open files is shared.
import Base
import CLinux
import Glibc
import NodeCore
import Synchronization

final class LogStore: Sendable {
    private struct OpenLog {
        var descriptor: Int32
        var path: String
        /// Where the next write begins.
        var size: Int64
    }

    private let logs = Mutex<[UInt64: OpenLog]>([:])

    /// False when the request is not for the log's threads.
    static func takes(_ request: FileRequest) -> Bool {
        switch request {
        case .openLog, .writeLog, .syncLog, .closeLog: true
        default: false
        }
    }

    private func find(_ file: UInt64) throws(SystemError) -> OpenLog {
        // A file that was given up has been closed; whoever still asks hears so.
        guard let log = logs.withLock({ $0[file] }) else { throw SystemError("log", code: EBADF) }
        return log
    }

    func open(_ file: UInt64, _ name: String, truncates: Bool) throws(SystemError) {
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
            try Syscalls.syncFolder(of: name)
        } catch {
            Syscalls.close(descriptor)
            throw error
        }
        let log = OpenLog(descriptor: descriptor, path: name, size: Int64(status.st_size))
        logs.withLock {
            invariant($0[file] == nil, "a log's number is used once")
            $0[file] = log
        }
    }

    func write(_ file: UInt64, _ bytes: Bytes) throws(SystemError) {
        let log = try find(file)
        guard !bytes.isEmpty else { return }
        do throws(SystemError) {
            try Syscalls.writeAll(log.descriptor, bytes, path: log.path)
        } catch {
            // Half a command in the middle of the file would spoil all that follows.
            if ftruncate(log.descriptor, off_t(log.size)) != 0 {
                throw SystemError("ftruncate", log.path)
            }
            throw error
        }
        logs.withLock { $0[file]?.size += Int64(bytes.count) }
    }

    func sync(_ file: UInt64) throws(SystemError) {
        let log = try find(file)
        while fdatasync(log.descriptor) != 0 {
            if errno != EINTR { throw SystemError("fsync", log.path) }
        }
    }

    /// Nothing is written to the file any more; its descriptor, which the caller closes.
    func forget(_ file: UInt64) -> Int32? {
        logs.withLock { $0.removeValue(forKey: file)?.descriptor }
    }
}
