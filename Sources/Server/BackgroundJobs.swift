// The threads beside the loop: one does the file work of the node in the order of the requests,
// two append to
// and sync the append-only file, one (started when first needed) resolves host names. They
// own no data of the node: a request carries its bytes, the answer is a message in the loop's
// mailbox.
import Base
import CLinux
import Glibc
import Gossip
import NodeCore

/// What a thread tells the loop.
package enum JobAnswer: Sendable {
    case fileDone(ticket: UInt64, failure: FileFailure?)
    /// Something failed that nobody waits for.
    case warning(String)
    /// The addresses of a link's host; empty with the resolver's reason.
    case resolved(link: LinkID, addresses: [SocketAddress], reason: String)
}

/// Work for the file thread.
package enum FileJob: Sendable {
    case request(FileRequest)
    case rewriteConfig(path: String, contents: [UInt8], ticket: UInt64)
    case changeFolder(String)
    /// Nothing follows: the thread ends.
    case finish
}

/// A thread of the system that runs one function.
struct Thread: Sendable {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let handle: pthread_t

    init(_ run: @escaping @Sendable () -> Void) throws(SystemError) {
        var handle = pthread_t()
        let body = Unmanaged.passRetained(Body(run))
        let code = pthread_create(&handle, nil, Self.entry, body.toOpaque())
        guard code == 0 else {
            body.release()
            throw SystemError("pthread_create", code: code)
        }
        self.handle = handle
    }

    func join() { pthread_join(handle, nil) }

    private static let entry:
        @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? =
            { pointer in
                if let pointer { Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run() }
                return nil
            }
}

/// The file thread.
package final class FileWorker: Sendable {
    private let jobs = Mailbox<FileJob>(blocking: true)
    private let thread: Thread

    package init(lock: consuming FileLock?, answers: Mailbox<JobAnswer>) throws(SystemError) {
        let jobs = jobs
        let lock = lock
        thread = try Thread {
            var store = FileStore(lock: lock, answers: answers)
            while true {
                guard store.carryOut(jobs.wait()) else { return }
            }
        }
    }

    package func post(_ job: FileJob) { jobs.post(job) }

    /// Waits until everything posted before is done.
    package func finish() {
        jobs.post(.finish)
        thread.join()
    }
}

/// The threads of the append-only file: one writes what the loop does not write itself, one syncs,
/// so that a write never waits for a sync that was there before it.
package final class LogWorker: Sendable {
    private enum SyncJob: Sendable {
        case sync(UInt64, ticket: UInt64)
        case close(Int32)
        case finish
    }

    private let jobs = Mailbox<FileRequest?>(blocking: true)
    private let syncs = Mailbox<SyncJob>(blocking: true)
    private let store = LogStore()
    private let writer: Thread
    private let syncer: Thread

    package init(answers: Mailbox<JobAnswer>) throws(SystemError) {
        let (jobs, syncs, store) = (jobs, syncs, store)
        writer = try Thread {
            while true {
                for job in jobs.wait() {
                    guard let job else { return }
                    Self.carryOut(job, store, syncs, answers)
                }
            }
        }
        syncer = try Thread {
            while true {
                for job in syncs.wait() {
                    switch job {
                    case .sync(let file, let ticket):
                        let failure = Self.failure { () throws(SystemError) in
                            try store.sync(file)
                        }
                        answers.post(.fileDone(ticket: ticket, failure: failure))
                    case .close(let descriptor): Syscalls.close(descriptor)
                    case .finish: return
                    }
                }
            }
        }
    }

    private static func failure(
        of work: () throws(SystemError) -> Void
    ) -> FileFailure? {
        do throws(SystemError) {
            try work()
            return nil
        } catch {
            return FileFailure(error)
        }
    }

    private static func carryOut(
        _ request: FileRequest, _ store: LogStore, _ syncs: Mailbox<SyncJob>,
        _ answers: Mailbox<JobAnswer>
    ) {
        switch request {
        case .openLog(let file, let name, let truncates, let ticket):
            let failure = Self.failure { () throws(SystemError) in
                try store.open(file, name, truncates: truncates)
            }
            answers.post(.fileDone(ticket: ticket, failure: failure))
        case .writeLog(let file, let bytes, let sync, let ticket):
            let failure = bytes.withBytes { bytes in
                Self.failure { () throws(SystemError) in
                    try store.write(file, bytes)
                    if sync { try store.sync(file) }
                }
            }
            answers.post(.fileDone(ticket: ticket, failure: failure))
        case .closeLog(let file):
            // Behind a sync that may still use the descriptor.
            if let descriptor = store.forget(file) { syncs.post(.close(descriptor)) }
        default: unreachable("a request for another thread")
        }
    }

    package func post(_ request: FileRequest) {
        if case .syncLog(let file, let ticket) = request {
            syncs.post(.sync(file, ticket: ticket))
        } else {
            jobs.post(request)
        }
    }

    /// In the caller's thread, while the node has no write under way.
    package func writeNow(_ file: UInt64, _ bytes: Bytes) -> FileFailure? {
        Self.failure { () throws(SystemError) in try store.write(file, bytes) }
    }

    /// Waits until everything posted before is done.
    package func finish() {
        jobs.post(nil)
        writer.join()
        syncs.post(.finish)
        syncer.join()
    }
}

/// The thread that asks the resolver, which may take seconds.
final class ResolverWorker: Sendable {
    private struct Question: Sendable {
        var link: LinkID
        var host: String
        var port: Int
    }

    private let questions = Mailbox<Question>(blocking: true)

    init(answers: Mailbox<JobAnswer>) throws(SystemError) {
        let questions = questions
        _ = try Thread {
            while true {
                for question in questions.wait() {
                    answers.post(Self.answer(question))
                }
            }
        }
    }

    func ask(_ link: LinkID, host: String, port: Int) {
        questions.post(Question(link: link, host: host, port: port))
    }

    private static func answer(_ question: Question) -> JobAnswer {
        do {
            let addresses = try SocketAddress.resolve(question.host, port: question.port)
            return .resolved(link: question.link, addresses: addresses, reason: "")
        } catch {
            return .resolved(link: question.link, addresses: [], reason: error.reason)
        }
    }
}
