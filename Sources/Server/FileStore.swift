// The node's files, as the file thread handles them: atomic replacement, temporary files that
// become permanent by a rename, and the lock that keeps two nodes from sharing one nodes.conf.
// A file that failed once stays failed until its commit, which reports the first error.
import Base
import CLinux
import Glibc
import NodeCore

/// An exclusive hold on a file. It survives atomic replacement: the new file is locked before it
/// takes the name, so there is no moment in which another process could lock the name.
package struct FileLock: Sendable {
    package enum Failure: Error, Equatable {
        case taken
        case system(SystemError)
    }

    package let path: String
    fileprivate var descriptor: Int32

    /// Creates the file if there is none.
    package init(path: String) throws(Failure) {
        self.path = path
        while true {
            do throws(SystemError) {
                descriptor = try Syscalls.open(path, O_RDWR | O_CREAT)
            } catch {
                throw .system(error)
            }
            if clinux_lock(descriptor) != 0 {
                let code = errno
                Syscalls.close(descriptor)
                if code == EINTR { continue }
                if code == EWOULDBLOCK { throw .taken }
                throw .system(SystemError("flock", path, code: code))
            }
            // The owner may have replaced the file between open and lock: then look again.
            if isCurrent { return }
            Syscalls.close(descriptor)
        }
    }

    /// The locked file is the one that has the name.
    private var isCurrent: Bool {
        var mine = stat()
        var named = stat()
        return fstat(descriptor, &mine) == 0 && stat(path, &named) == 0
            && mine.st_ino == named.st_ino && mine.st_dev == named.st_dev
    }
}

struct FileStore: ~Copyable {
    private struct OpenFile {
        var descriptor: Int32
        var path: String
        var unsynced = 0
        var failure: FileFailure?
    }

    /// Bytes of a temporary file between two syncs.
    private static let syncEvery = 16 << 20

    /// Replacements that a later one in the same batch makes unnecessary.
    private struct Superseded {
        var tickets: [UInt64] = []
        var sync = false
    }

    private var lock: FileLock?
    private var superseded: [String: Superseded] = [:]
    private let answers: Mailbox<JobAnswer>
    private var files: [UInt64: OpenFile] = [:]
    private var replacements = 0

    init(lock: FileLock?, answers: Mailbox<JobAnswer>) {
        self.lock = lock
        self.answers = answers
    }

    /// Carries out jobs that came together; false when the end is among them.
    mutating func carryOut(_ jobs: [FileJob]) -> Bool {
        for (index, job) in jobs.enumerated() {
            if case .finish = job { return false }
            if case .request(.replace(let name, _, let sync, let ticket)) = job,
                isReplaced(name, in: jobs[(index + 1)...])
            {
                // Never seen by anybody: the later contents answer for these as well. A node that
                // changes its state faster than the disk syncs must not wait for each version.
                var earlier = superseded[name] ?? Superseded()
                earlier.tickets.append(ticket)
                earlier.sync = earlier.sync || sync
                superseded[name] = earlier
                continue
            }
            carryOut(job)
        }
        return true
    }

    private func isReplaced(_ name: String, in jobs: ArraySlice<FileJob>) -> Bool {
        for job in jobs {
            switch job {
            case .request(.replace(let other, _, _, _)): if other == name { return true }
            case .request(.remove), .finish, .changeFolder: return false
            default: continue
            }
        }
        return false
    }

    private mutating func carryOut(_ job: FileJob) {
        switch job {
        case .request(let request):
            carryOut(request)
        case .rewriteConfig(let path, let contents, let ticket):
            answer([ticket]) { store throws(SystemError) in
                try store.replace(path, contents, sync: true)
            }
        case .changeFolder(let path):
            if chdir(path) != 0 {
                answers.post(.warning("Can't chdir to '\(path)': \(errorText(errno))"))
            }
        case .finish:
            unreachable("the thread handles the end itself")
        }
    }

    private mutating func carryOut(_ request: FileRequest) {
        switch request {
        case .replace(let name, let contents, let sync, let ticket):
            let earlier = superseded.removeValue(forKey: name) ?? Superseded()
            answer(earlier.tickets + [ticket]) { store throws(SystemError) in
                try store.replace(name, contents, sync: sync || earlier.sync)
            }
        case .create(let file, let name):
            create(file, name)
        case .append(let file, let bytes):
            append(file, bytes)
        case .checkpoint(let file, let ticket):
            answers.post(.fileDone(ticket: ticket, failure: files[file]?.failure))
        case .commit(let file, let name, let ticket):
            commit(file, name, ticket)
        case .discard(let file):
            guard let open = files.removeValue(forKey: file) else { return }
            if open.descriptor >= 0 { Syscalls.close(open.descriptor) }
            unlink(open.path)
        case .remove(let name):
            if unlink(name) != 0, errno != ENOENT {
                answers.post(.warning(SystemError("unlink", name).text))
            }
        case .createFolder(let name):
            if mkdir(name, 0o755) != 0, errno != EEXIST {
                answers.post(.warning("Can't open or create dir \(name): \(errorText(errno))"))
            }
        case .rename(let from, let to, let ticket):
            answer([ticket]) { _ throws(SystemError) in
                try Syscalls.rename(from, to: to)
                try Syscalls.syncFolder(of: to)
            }
        case .openLog, .writeLog, .syncLog, .closeLog:
            unreachable("the log thread has these")
        }
    }

    /// Runs `work` and reports its outcome under each ticket.
    private mutating func answer(
        _ tickets: [UInt64],
        _ work: (inout FileStore) throws(SystemError) -> Void
    ) {
        do throws(SystemError) {
            try work(&self)
            for ticket in tickets { answers.post(.fileDone(ticket: ticket, failure: nil)) }
        } catch {
            let failure = FileFailure(error)
            for ticket in tickets { answers.post(.fileDone(ticket: ticket, failure: failure)) }
        }
    }

    // MARK: Atomic replacement

    private mutating func replace(
        _ path: String,
        _ contents: [UInt8],
        sync: Bool
    ) throws(SystemError) {
        let isLocked = lock?.path == path
        replacements += 1
        // Nobody else writes what is locked: one name, so that a crash leaves one file at most,
        // which the next replacement takes.
        let temporary = isLocked ? "\(path).tmp" : "\(path).tmp-\(getpid())-\(replacements)"
        let descriptor = try Syscalls.open(
            temporary,
            O_RDWR | O_CREAT | O_TRUNC,
            mode: mode(of: path)
        )
        do throws(SystemError) {
            try write(contents, to: descriptor, path: temporary)
            if sync { try Syscalls.sync(descriptor, path: temporary) }
            if isLocked, clinux_lock(descriptor) != 0 { throw SystemError("flock", temporary) }
            try Syscalls.rename(temporary, to: path)
        } catch {
            Syscalls.close(descriptor)
            unlink(temporary)
            throw error
        }
        if isLocked, let old = lock?.descriptor {
            // The new file carries the lock from here on.
            lock?.descriptor = descriptor
            Syscalls.close(old)
        } else {
            Syscalls.close(descriptor)
        }
        if sync { try Syscalls.syncFolder(of: path) }
    }

    /// A replaced file keeps its permissions.
    private func mode(of path: String) -> UInt32 {
        var found = stat()
        return stat(path, &found) == 0 ? UInt32(found.st_mode & 0o777) : 0o644
    }

    private func write(
        _ contents: [UInt8],
        to descriptor: Int32,
        path: String
    ) throws(SystemError) {
        var failure: SystemError?
        contents.withBytes { bytes in
            do throws(SystemError) {
                try Syscalls.writeAll(descriptor, bytes, path: path)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    // MARK: Temporary files

    private mutating func create(_ file: UInt64, _ name: String) {
        invariant(files[file] == nil, "a file number is used once")
        // Never under its own name: what has that name stays whole until the commit.
        let path = temporaryPath(file, name)
        do throws(SystemError) {
            let descriptor = try Syscalls.open(path, O_WRONLY | O_CREAT | O_TRUNC)
            files[file] = OpenFile(descriptor: descriptor, path: path)
        } catch {
            files[file] = OpenFile(descriptor: -1, path: path, failure: FileFailure(error))
        }
    }

    /// In the folder of the final name, so that a rename is enough.
    private func temporaryPath(_ file: UInt64, _ name: String) -> String {
        let base = "temp-\(getpid())-\(file).rdb"
        guard let slash = name.lastIndex(of: "/") else { return base }
        return String(name[...slash]) + base
    }

    private mutating func append(_ file: UInt64, _ bytes: [UInt8]) {
        guard let open = files[file], open.failure == nil else { return }
        do throws(SystemError) {
            try write(bytes, to: open.descriptor, path: open.path)
            // Little by little: one sync of it all at the end would keep the disk from the log.
            let unsynced = open.unsynced + bytes.count
            files[file]?.unsynced = unsynced
            if unsynced > Self.syncEvery {
                files[file]?.unsynced = 0
                try Syscalls.sync(open.descriptor, path: open.path)
            }
        } catch {
            files[file]?.failure = FileFailure(error)
        }
    }

    private mutating func commit(_ file: UInt64, _ name: String, _ ticket: UInt64) {
        guard let open = files.removeValue(forKey: file) else {
            unreachable("commit of a file that was not created")
        }
        if let failure = open.failure {
            if open.descriptor >= 0 { Syscalls.close(open.descriptor) }
            unlink(open.path)
            answers.post(.fileDone(ticket: ticket, failure: failure))
            return
        }
        answer([ticket]) { _ throws(SystemError) in
            do throws(SystemError) {
                try Syscalls.sync(open.descriptor, path: open.path)
                Syscalls.close(open.descriptor)
            } catch {
                Syscalls.close(open.descriptor)
                unlink(open.path)
                throw error
            }
            do throws(SystemError) {
                try Syscalls.rename(open.path, to: name)
            } catch {
                unlink(open.path)
                throw error
            }
            try Syscalls.syncFolder(of: name)
        }
    }
}

extension FileFailure {
    init(_ error: SystemError) {
        self.init(operation: error.operation, path: error.path, reason: error.reason)
    }
}
