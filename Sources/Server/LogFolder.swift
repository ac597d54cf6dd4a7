// The append-only files at the start of the process, and for DEBUG LOADAOF: read in pieces, with a
// turn of the loop in between so that clients hear that the server is loading; cut where they are
// not whole, after what is cut was copied aside.
import Base
import CLinux
import Glibc
import NodeCore

struct LogFolder: LogFiles {
    private static let chunkSize = 1 << 20

    /// Turned between pieces; nil while a loop iteration runs.
    let loop: EventLoopPointer?

    mutating func size(_ path: String) throws(BootError) -> Int64? {
        var status = stat()
        if stat(path, &status) == 0 { return Int64(status.st_size) }
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw BootError("Can't look at \(path): \(errorText(errno))")
    }

    mutating func contents(_ path: String) throws(BootError) -> [UInt8] {
        do throws(SystemError) {
            return try Syscalls.contents(ofFile: path) ?? []
        } catch {
            throw BootError(
                "Fatal error: can't open the AOF manifest file \(path) for reading: "
                    + error.reason)
        }
    }

    mutating func read(
        _ path: String, _ piece: (Bytes) throws(BootError) -> Void
    ) throws(BootError) -> Bool {
        let descriptor = try open(path)
        defer { Syscalls.close(descriptor) }
        let chunk = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.chunkSize)
        defer { chunk.deallocate() }
        while true {
            switch Syscalls.read(descriptor, chunk, Self.chunkSize) {
            case .done(0): return true
            case .done(let count): try piece(Bytes(UnsafePointer(chunk), count))
            case .wouldBlock: throw unreadable(path, EAGAIN)
            case .failed(let code): throw unreadable(path, code)
            }
            guard let loop else { continue }
            loop.turn(atMost: .zero)
            if loop.pointee.ending != nil { return false }
        }
    }

    mutating func tail(
        _ path: String, from offset: Int64, limit: Int
    ) throws(BootError) -> [UInt8] {
        let descriptor = try open(path)
        defer { Syscalls.close(descriptor) }
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw unreadable(path, errno)
        }
        var found: [UInt8] = []
        let chunk = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.chunkSize)
        defer { chunk.deallocate() }
        while found.count < limit {
            switch Syscalls.read(descriptor, chunk, min(Self.chunkSize, limit - found.count)) {
            case .done(0): return found
            case .done(let count): found += UnsafeBufferPointer(start: chunk, count: count)
            case .wouldBlock: throw unreadable(path, EAGAIN)
            case .failed(let code): throw unreadable(path, code)
            }
        }
        return found
    }

    mutating func cut(
        _ path: String, at offset: Int64, keeping kept: String
    ) throws(BootError) {
        do throws(SystemError) {
            try LogCut.carryOut(path, at: offset, keeping: kept)
        } catch {
            throw BootError("Error truncating the AOF file \(path): \(error.text)")
        }
    }

    mutating func settle(_ path: String) throws(BootError) {
        do throws(SystemError) {
            try Syscalls.settle(path)
        } catch {
            throw BootError("Fatal error: can't sync what was loaded: \(error.text)")
        }
    }

    mutating func createFolder(_ path: String) throws(BootError) {
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        throw BootError("Can't open or create append-only dir \(path): \(errorText(errno))")
    }

    mutating func replace(_ path: String, _ contents: [UInt8]) throws(BootError) {
        do throws(SystemError) {
            try LogCut.write(contents, to: "\(path).tmp")
            try Syscalls.rename("\(path).tmp", to: path)
            try Syscalls.syncFolder(of: path)
        } catch {
            throw BootError("Error trying to write the AOF manifest file \(error.text)")
        }
    }

    mutating func move(_ path: String, to new: String) throws(BootError) {
        do throws(SystemError) {
            try Syscalls.rename(path, to: new)
            try Syscalls.syncFolder(of: new)
            try Syscalls.syncFolder(of: path)
        } catch {
            throw BootError(
                "Error trying to move the old AOF file \(path) into \(new): \(error.reason)")
        }
    }

    private func open(_ path: String) throws(BootError) -> Int32 {
        do throws(SystemError) {
            return try Syscalls.open(path, O_RDONLY)
        } catch {
            throw BootError(
                "Fatal error: can't open the append log file \(path) for reading: "
                    + error.reason)
        }
    }

    private func unreadable(_ path: String, _ code: Int32) -> BootError {
        BootError("Unrecoverable error reading the append only file \(path): \(errorText(code))")
    }
}

/// Cutting a file, after what is cut is safe in another one. Used by the start and by `--repair`.
enum LogCut {
    static func carryOut(
        _ path: String, at offset: Int64, keeping kept: String
    ) throws(SystemError) {
        let source = try Syscalls.open(path, O_RDWR)
        defer { Syscalls.close(source) }
        guard lseek(source, off_t(offset), SEEK_SET) >= 0 else { throw SystemError("lseek", path) }
        let target = try Syscalls.open(kept, O_WRONLY | O_CREAT | O_TRUNC)
        defer { Syscalls.close(target) }
        let chunk = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << 20)
        defer { chunk.deallocate() }
        copying: while true {
            switch Syscalls.read(source, chunk, 1 << 20) {
            case .done(0): break copying
            case .done(let count):
                try Syscalls.writeAll(target, Bytes(UnsafePointer(chunk), count), path: kept)
            case .wouldBlock: throw SystemError("read", path, code: EAGAIN)
            case .failed(let code): throw SystemError("read", path, code: code)
            }
        }
        try Syscalls.sync(target, path: kept)
        try Syscalls.syncFolder(of: kept)
        if ftruncate(source, off_t(offset)) != 0 { throw SystemError("ftruncate", path) }
        try Syscalls.sync(source, path: path)
    }

    static func write(_ contents: [UInt8], to path: String) throws(SystemError) {
        let descriptor = try Syscalls.open(path, O_WRONLY | O_CREAT | O_TRUNC)
        defer { Syscalls.close(descriptor) }
        var failure: SystemError?
        contents.withBytes { bytes in
            do throws(SystemError) {
                try Syscalls.writeAll(descriptor, bytes, path: path)
                try Syscalls.sync(descriptor, path: path)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }
}
