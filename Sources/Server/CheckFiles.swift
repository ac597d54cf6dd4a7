// Examining and repairing files on disk: reads them piece by piece, says how far it is, and cuts
// what can be cut after keeping it aside.
import Base
import CLinux
import Glibc
import NodeCore
import Persistence

/// A file that could not even be read.
struct UnreadableFile: Error {
    var reason: String
}

enum CheckFiles {
    enum Kind {
        case snapshot
        case log
        case manifest
    }

    /// More than any end that a crash makes: here somebody is looking.
    static let tailLimit = 64 << 20

    /// What a file is, by its first bytes.
    static func kind(_ path: String) throws(UnreadableFile) -> Kind {
        var start: [UInt8] = []
        _ = try read(path) { piece in
            start = piece[0..<min(piece.count, 64)].array
            return false
        }
        if start.starts(with: Array("REDIS".utf8)) {
            return path.hasSuffix(".aof") ? .log : .snapshot
        }
        if path.hasSuffix(".manifest") || start.starts(with: Array("file ".utf8)) {
            return .manifest
        }
        return .log
    }

    /// Gives a file piece by piece until `piece` says false; returns its size.
    static func read(
        _ path: String, _ piece: (Bytes) -> Bool
    ) throws(UnreadableFile) -> Int64 {
        do throws(SystemError) {
            let descriptor = try Syscalls.open(path, O_RDONLY)
            defer { Syscalls.close(descriptor) }
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw SystemError("fstat", path) }
            let chunk = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << 20)
            defer { chunk.deallocate() }
            while true {
                switch Syscalls.read(descriptor, chunk, 1 << 20) {
                case .done(0): return Int64(status.st_size)
                case .done(let count):
                    if !piece(Bytes(UnsafePointer(chunk), count)) { return Int64(status.st_size) }
                case .wouldBlock: throw SystemError("read", path, code: EAGAIN)
                case .failed(let code): throw SystemError("read", path, code: code)
                }
            }
        } catch {
            throw UnreadableFile(reason: error.reason)
        }
    }

    static func examineSnapshot(
        _ path: String, _ progress: inout CheckProgress
    ) throws(UnreadableFile) -> (findings: RDBFindings, size: Int64) {
        var examination = RDBExamination(now: Clock.now())
        progress.begin(path)
        let size = try read(path) { piece in
            progress.advance(piece.count)
            return examination.feed(piece)
        }
        examination.finish()
        return (examination.findings, size)
    }

    static func examineLog(
        _ path: String, until: Int64? = nil, _ progress: inout CheckProgress
    ) throws(UnreadableFile) -> LogFindings {
        var examination = LogExamination(now: Clock.now(), until: until)
        progress.begin(path)
        let size = try read(path) { piece in
            progress.advance(piece.count)
            return examination.feed(piece)
        }
        let from = examination.progress.wholeUpTo
        var folder = LogFolder(loop: nil)
        var tail: [UInt8] = []
        do throws(BootError) {
            tail = try folder.tail(path, from: from, limit: tailLimit)
        } catch {
            throw UnreadableFile(reason: error.text)
        }
        return examination.finish(size: size, tail: tail, bound: Int64(tailLimit))
    }

    static func manifest(_ path: String) throws(UnreadableFile) -> Result<
        AOFManifest, AOFManifestError
    > {
        var contents: [UInt8] = []
        _ = try read(path) { piece in
            contents += piece.array
            return true
        }
        do throws(AOFManifestError) {
            return .success(try AOFManifest(parsing: contents))
        } catch {
            return .failure(error)
        }
    }

    /// Cuts a file at `offset`; the name of the file that keeps the rest.
    static func cut(_ path: String, at offset: Int64) throws(UnreadableFile) -> String {
        let kept = TailRepair.keptName(of: path, offset: offset, at: Clock.wall().milliseconds)
        do throws(SystemError) {
            try LogCut.carryOut(path, at: offset, keeping: kept)
        } catch {
            throw UnreadableFile(reason: error.text)
        }
        return kept
    }

    /// A file beside another.
    static func sibling(of path: String, _ name: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return name }
        return "\(path[...slash])\(name)"
    }

    static func isEmpty(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_size == 0
    }
}

/// Says on standard error how far a long examination is; silent when nobody watches.
struct CheckProgress {
    private let isShown: Bool
    private var path = ""
    private var done: Int64 = 0
    private var total: Int64 = 0
    private var shown: Int64 = 0

    init(isShown: Bool) { self.isShown = isShown && isatty(STDERR_FILENO) == 1 }

    mutating func begin(_ path: String) {
        self.path = path
        var status = stat()
        total = stat(path, &status) == 0 ? Int64(status.st_size) : 0
        done = 0
        shown = 0
    }

    mutating func advance(_ count: Int) {
        done += Int64(count)
        guard isShown, total > 64 << 20, done * 20 / total > shown else { return }
        shown = done * 20 / total
        Syscalls.say("\(path): \(done * 100 / total) %\n", to: STDERR_FILENO)
    }
}
