// Loading dump.rdb at the start: the file is read in chunks and handed to the node; between chunks
// the loop takes a turn, so that clients hear that the server is loading instead of nothing.
import Base
import CLinux
import Engine
import Glibc
import NodeCore

struct DatasetLoader {
    private static let chunkSize = 1 << 20

    let path: String
    let folder: String

    func load(into node: NodePointer, _ loop: EventLoopPointer) throws(BootFailure) {
        let start = Clock.now().instant
        let descriptor: Int32
        do throws(SystemError) {
            descriptor = try Syscalls.open(path, O_RDONLY)
        } catch {
            if error.code == ENOENT { return }
            throw failure(error.reason)
        }
        defer { Syscalls.close(descriptor) }
        var status = stat()
        node.beginLoad(totalBytes: fstat(descriptor, &status) == 0 ? Int64(status.st_size) : 0)
        try feed(descriptor, node, loop)
        if loop.pointee.ending != nil { return }
        try checked { () throws(BootError) in try node.endLoad() }
        // What the node has to say about the data comes first.
        loop.turn(atMost: .zero)
        let spent = Double(Clock.now().instant.microseconds - start.microseconds) / 1_000_000
        loop.log(.notice, "DB loaded from disk: \(Self.thousandths(spent)) seconds")
    }

    private func feed(
        _ descriptor: Int32,
        _ node: NodePointer,
        _ loop: EventLoopPointer
    ) throws(BootFailure) {
        let chunk = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.chunkSize)
        defer { chunk.deallocate() }
        let settings = node.executor.pointee.settings
        let turnEvery = settings.loadingInterval
        let start = Clock.now().instant
        var sinceTurn = 0
        while true {
            switch Syscalls.read(descriptor, chunk, min(Self.chunkSize, turnEvery)) {
            case .done(0): return
            case .done(let count):
                let bytes = Bytes(UnsafePointer(chunk), count)
                try checked { () throws(BootError) in try node.load(bytes) }
                sinceTurn += count
            case .wouldBlock:
                throw failure(errorText(EAGAIN))
            case .failed(let code):
                throw failure(errorText(code))
            }
            if settings.keyLoadDelay > 0 {
                let due = node.loadedKeys * Int64(settings.keyLoadDelay)
                wait(until: start.microseconds + due, loop)
            }
            guard sinceTurn >= turnEvery else { continue }
            sinceTurn = 0
            loop.turn(atMost: .zero)
            if loop.pointee.ending != nil { return }
        }
    }

    /// Goes on with everything else until that time.
    private func wait(until due: Int64, _ loop: EventLoopPointer) {
        while loop.pointee.ending == nil {
            let left = due - Clock.now().instant.microseconds
            guard left > 0 else { return }
            loop.turn(atMost: Milliseconds(max(1, min(100, left / 1000))))
        }
    }

    private func checked(_ work: () throws(BootError) -> Void) throws(BootFailure) {
        do throws(BootError) {
            try work()
        } catch {
            throw failure(error.text)
        }
    }

    private func failure(_ reason: String) -> BootFailure {
        let end = reason.hasSuffix(".") ? "" : "."
        return BootFailure(
            "Fatal error loading the DB from \(folder)/\(path): \(reason)\(end) Exiting.")
    }

    static func thousandths(_ seconds: Double) -> String {
        let count = Int((seconds * 1000).rounded())
        let digits = String(count % 1000)
        return "\(count / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits
    }
}
