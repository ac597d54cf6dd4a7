// The threads beside the loop: one does the file work of the node in the order of the requests,
// one appends to the append-only file, one (started when first needed) resolves host names. They
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

/// The thread of the append-only file.
package final class LogWorker: Sendable {
    private let jobs = Mailbox<FileRequest?>(blocking: true)
    private let thread: Thread

    package init(answers: Mailbox<JobAnswer>) throws(SystemError) {
        let jobs = jobs
        thread = try Thread {
            var store = LogStore(answers: answers)
            while true {
                for job in jobs.wait() {
                    guard let job else { return }
                    store.carryOut(job)
                }
            }
        }
    }

    package func post(_ request: FileRequest) { jobs.post(request) }

    /// Waits until everything posted before is done.
    package func finish() {
        jobs.post(nil)
        thread.join()
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
