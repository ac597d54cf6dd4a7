// The system calls that the shell makes, each in one place: interrupted calls are repeated, "not
// now" is a value, and an errno that only a mistake of ours can cause (a closed descriptor, a wild
// pointer) stops the process at once instead of being handled as if a peer had caused it.
import Base
import CLinux
import Glibc

/// What became of a transfer on a non-blocking descriptor. Zero bytes read is the peer's end.
enum TransferResult {
    case done(Int)
    case wouldBlock
    case failed(Int32)
}

/// A system call that failed, with what the user needs to act on it.
package struct SystemError: Error, Equatable, Sendable {
    package var operation: String
    package var path: String
    package var code: Int32

    package init(_ operation: String, _ path: String = "", code: Int32 = errno) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    /// The system's text, such as "No space left on device".
    package var reason: String { errorText(code) }

    /// One sentence: operation, file and reason.
    var text: String {
        path.isEmpty ? "\(operation): \(reason)" : "\(operation) \(path): \(reason)"
    }
}

/// The system's text for an errno.
func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

package enum Syscalls {
    /// Stops the process on errnos that no peer and no disk can cause.
    @inline(never)
    private static func check(_ code: Int32) {
        invariant(code != EBADF, "a descriptor was used after it was closed")
        invariant(code != EFAULT, "a system call got a wild pointer")
        invariant(code != ENOTSOCK, "a socket call on something else")
    }

    @inline(__always)
    static func read(
        _ descriptor: Int32,
        _ place: UnsafeMutablePointer<UInt8>,
        _ room: Int
    ) -> TransferResult {
        while true {
            let count = Glibc.read(descriptor, place, room)
            if _fastPath(count >= 0) { return .done(count) }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN { return .wouldBlock }
            check(code)
            return .failed(code)
        }
    }

    @inline(__always)
    static func write(_ descriptor: Int32, _ bytes: Bytes) -> TransferResult {
        while true {
            let count = Glibc.write(descriptor, bytes.base, bytes.count)
            if _fastPath(count >= 0) { return .done(count) }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN { return .wouldBlock }
            check(code)
            return .failed(code)
        }
    }

    /// Like `read`, on a socket: the kernel's shorter way to the same bytes.
    @inline(__always)
    static func receive(
        _ descriptor: Int32, _ place: UnsafeMutablePointer<UInt8>, _ room: Int
    ) -> TransferResult {
        while true {
            let count = Glibc.recv(descriptor, place, room, 0)
            if _fastPath(count >= 0) { return .done(count) }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN { return .wouldBlock }
            check(code)
            return .failed(code)
        }
    }

    /// Like `write`, on a socket.
    @inline(__always)
    static func send(_ descriptor: Int32, _ bytes: Bytes) -> TransferResult {
        while true {
            let count = Glibc.send(descriptor, bytes.base, bytes.count, Int32(MSG_NOSIGNAL))
            if _fastPath(count >= 0) { return .done(count) }
            let code = errno
            if code == EINTR { continue }
            if code == EAGAIN { return .wouldBlock }
            check(code)
            return .failed(code)
        }
    }

    /// Writes all of `bytes` to a file.
    static func writeAll(
        _ descriptor: Int32,
        _ bytes: Bytes,
        path: String
    ) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            switch write(descriptor, rest) {
            case .done(let count): rest = rest[count..<rest.count]
            case .wouldBlock: throw SystemError("write", path, code: EAGAIN)
            case .failed(let code): throw SystemError("write", path, code: code)
            }
        }
    }

    /// Opens a file, close-on-exec.
    static func open(
        _ path: String,
        _ flags: Int32,
        mode: UInt32 = 0o644
    ) throws(SystemError) -> Int32 {
        while true {
            let descriptor = clinux_open(path, flags, mode)
            if descriptor >= 0 { return descriptor }
            if errno != EINTR { throw SystemError("open", path) }
        }
    }

    /// Closes; Linux frees the number even when it reports an error.
    package static func close(_ descriptor: Int32) {
        if Glibc.close(descriptor) != 0 { check(errno) }
    }

    static func sync(_ descriptor: Int32, path: String) throws(SystemError) {
        while fsync(descriptor) != 0 {
            if errno != EINTR { throw SystemError("fsync", path) }
        }
    }

    /// Makes the name of a file durable: renames and removals in its folder.
    static func syncFolder(of path: String) throws(SystemError) {
        let folder = FileStore.folder(of: path)
        let descriptor = try open(folder, O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        try sync(descriptor, path: folder)
    }

    /// Makes a file and its name durable. What a process finds at its start may be in the kernel
    /// only; before it goes by it, no power cut may take it back.
    static func settle(_ path: String) throws(SystemError) {
        let descriptor = try open(path, O_RDONLY)
        defer { close(descriptor) }
        try sync(descriptor, path: path)
        try syncFolder(of: path)
    }

    static func rename(_ from: String, to path: String) throws(SystemError) {
        if Glibc.rename(from, path) != 0 { throw SystemError("rename", path) }
    }

    /// The whole file, or nil when there is none.
    package static func contents(ofFile path: String) throws(SystemError) -> [UInt8]? {
        let descriptor: Int32
        do {
            descriptor = try open(path, O_RDONLY)
        } catch {
            if error.code == ENOENT { return nil }
            throw error
        }
        defer { close(descriptor) }
        return try contents(of: descriptor, path: path)
    }

    /// Everything up to the end of a descriptor that blocks.
    static func contents(of descriptor: Int32, path: String) throws(SystemError) -> [UInt8] {
        var all: [UInt8] = []
        let block = UnsafeMutablePointer<UInt8>.allocate(capacity: 64 << 10)
        defer { block.deallocate() }
        while true {
            switch read(descriptor, block, 64 << 10) {
            case .done(0): return all
            case .done(let count): all += UnsafeBufferPointer(start: block, count: count)
            case .wouldBlock: throw SystemError("read", path, code: EAGAIN)
            case .failed(let code): throw SystemError("read", path, code: code)
            }
        }
    }

    /// Writes to a file that is there, such as a switch of the kernel's.
    static func overwrite(_ path: String, with bytes: [UInt8]) throws(SystemError) {
        let descriptor = try open(path, O_WRONLY)
        defer { close(descriptor) }
        var failure: SystemError?
        bytes.withBytes { bytes in
            do throws(SystemError) {
                try writeAll(descriptor, bytes, path: path)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    static func setOption(
        _ descriptor: Int32,
        _ level: Int32,
        _ option: Int32,
        _ value: Int32
    ) throws(SystemError) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        if setsockopt(descriptor, level, option, &value, size) != 0 {
            check(errno)
            throw SystemError("setsockopt")
        }
    }

    /// Writes a text to one of the standard streams; what cannot be written is lost.
    static func say(_ text: String, to descriptor: Int32) {
        text.withBytes { bytes in
            do { try writeAll(descriptor, bytes, path: "") } catch { maybe(true) }
        }
    }
}
