// The node's requests, carried out by the real process: a pointer to the loop, so that passing it
// to the node's generic end-of-iteration list costs nothing.
import Base
import CLinux
import Engine
import Glibc
import Gossip
import NodeCore

struct ProcessShell: Shell {
    let loop: EventLoopPointer

    func connect(_ link: LinkID, kind: LinkKind, host: String, port: Int) {
        loop.connect(link, kind, host: host, port: port)
    }

    func send(_ link: LinkID, _ bytes: [UInt8]) { loop.send(link, bytes) }

    func close(_ link: LinkID) { loop.close(link) }

    func perform(_ request: FileRequest) {
        if LogStore.takes(request) {
            loop.pointee.logs.post(request)
        } else {
            loop.pointee.files.post(.request(request))
        }
    }

    /// The loop waits for the disk here, and nowhere else: if that once took long, the log's thread
    /// writes for a while.
    func writeLog(_ file: UInt64, _ bytes: Bytes) -> LogWriteResult {
        let begun = Clock.monotonic()
        guard begun >= loop.pointee.slowLogUntil else { return .busy }
        let failure = loop.pointee.logs.writeNow(file, bytes)
        loop.pointee.moderation.noteLogWrite()
        let ended = Clock.monotonic()
        if _slowPath(ended - begun > EventLoop.longLogWrite) {
            loop.pointee.slowLogUntil = ended + EventLoop.slowLogPeriod
        }
        return failure.map { LogWriteResult.failed($0) } ?? .done
    }

    func log(_ line: LogLine) { loop.log(line) }

    @inline(__always)
    func write(_ session: UnsafeMutablePointer<Session>) { loop.write(session) }

    func close(_ session: UnsafeMutablePointer<Session>) { loop.close(session) }

    func perform(_ request: ProcessRequest) {
        switch request {
        case .exit(let code):
            loop.pointee.ending = .exit(code: code)
        case .sleep(let microseconds):
            pause(microseconds: microseconds)
        case .crash(let text):
            crash(text)
        case .restart(let delay):
            loop.pointee.ending = .restart(delayMilliseconds: delay)
        case .applySettings(let names):
            loop.apply(names)
        case .rewriteConfig(let path, let contents, let ticket):
            loop.pointee.files.post(
                .rewriteConfig(path: path, contents: contents, ticket: ticket)
            )
        }
    }

    /// DEBUG SEGFAULT, DEBUG PANIC and the like: ends with a crash report.
    private func crash(_ text: String) -> Never {
        loop.log(.warning, text)
        if text.lowercased().contains("segfault") { raise(SIGSEGV) }
        abort()
    }
}

/// The whole process stands still.
func pause(microseconds: Int64) {
    var left = timespec(
        tv_sec: Int(microseconds / 1_000_000),
        tv_nsec: Int(microseconds % 1_000_000) * 1000
    )
    while true {
        var rest = timespec()
        if nanosleep(&left, &rest) == 0 || errno != EINTR { return }
        left = rest
    }
}
