// The files of one node. What a process wrote outlives the process (the page cache has it); what
// was not synced may or may not outlive the host. Requests are carried out one after the other and
// take time, so that a crash can come between a write and its sync.
import Base
import NodeCore

struct SimDisk {
    enum Request {
        case file(FileRequest)
        /// The process leaves once everything before is done.
        case exit
    }

    /// What a finished request tells the node.
    struct Done {
        var ticket: UInt64?
        var failure: FileFailure?
        var isExit = false
        /// Contents that became durable: the checkers look at nodes.conf.
        var synced: (name: String, contents: [UInt8])?
    }

    /// What a reader sees now, by name.
    private(set) var visible = SortedTable<String, [UInt8]>()
    /// What a power cut leaves.
    private(set) var durable = SortedTable<String, [UInt8]>()
    private var temporary = SortedTable<UInt64, [UInt8]>()
    /// Open append-only files: number and name.
    private var logs = SortedTable<UInt64, String>()
    /// Files that were appended to since their contents were put in place: these can be torn.
    private var appended = SortedTable<String, Bool>()
    private var queue: [Request] = []
    /// Times a request takes longer than on a healthy disk.
    var slowness: Int64 = 1
    var isFull = false

    var isIdle: Bool { queue.isEmpty }

    mutating func add(_ request: Request) { queue.append(request) }

    /// How long the oldest request will take.
    func duration(_ prng: inout Prng) -> Microseconds {
        guard let first = queue.first else { return 0 }
        let base: Int64
        switch first {
        case .file(.replace(_, _, let sync, _)): base = sync ? 500 + Int64(prng.below(4000)) : 60
        case .file(.commit): base = 1000 + Int64(prng.below(8000))
        case .file(.append(_, let bytes)): base = 20 + Int64(bytes.count / 500)
        case .file(.writeLog(_, let bytes, let sync, _)):
            base = 20 + Int64(bytes.count / 500) + (sync ? 500 + Int64(prng.below(4000)) : 0)
        case .file(.syncLog): base = 500 + Int64(prng.below(4000))
        case .file, .exit: base = 20
        }
        return base * slowness
    }

    /// Carries out the oldest request.
    mutating func finishFirst() -> Done? {
        guard !queue.isEmpty else { return nil }
        switch queue.removeFirst() {
        case .exit: return Done(isExit: true)
        case .file(let request): return carryOut(request)
        }
    }

    private mutating func carryOut(_ request: FileRequest) -> Done {
        switch request {
        case .replace(let name, let contents, let sync, let ticket):
            if isFull { return full(name, ticket) }
            visible[name] = contents
            appended[name] = nil
            guard sync else { return Done(ticket: ticket) }
            durable[name] = contents
            return Done(ticket: ticket, synced: (name, contents))
        case .create(let file, _): temporary[file] = []
        case .append(let file, let bytes):
            if !isFull { _ = temporary.update(file) { $0 += bytes } }
        case .checkpoint(_, let ticket): return Done(ticket: ticket)
        case .commit(let file, let name, let ticket):
            let contents = temporary[file] ?? []
            temporary[file] = nil
            if isFull { return full(name, ticket) }
            visible[name] = contents
            durable[name] = contents
            return Done(ticket: ticket)
        case .discard(let file): temporary[file] = nil
        case .remove(let name):
            visible[name] = nil
            durable[name] = nil
        case .createFolder: break
        case .rename(let from, let to, let ticket): return rename(from, to, ticket)
        case .openLog, .writeLog, .syncLog, .closeLog: return carryOutLog(request)
        }
        return Done()
    }

    /// A rename is durable with its folder, but of the contents only what was synced.
    private mutating func rename(_ from: String, _ to: String, _ ticket: UInt64) -> Done {
        guard let contents = visible[from] else {
            let reason = "No such file or directory"
            return Done(
                ticket: ticket,
                failure: FileFailure(operation: "rename", path: from, reason: reason))
        }
        visible[to] = contents
        durable[to] = durable[from]
        visible[from] = nil
        durable[from] = nil
        appended[to] = appended[from]
        appended[from] = nil
        for file in logs.keys where logs[file] == from { logs[file] = to }
        return Done(ticket: ticket)
    }

    private mutating func carryOutLog(_ request: FileRequest) -> Done {
        switch request {
        case .openLog(let file, let name, let truncates, let ticket):
            logs[file] = name
            if truncates || visible[name] == nil {
                visible[name] = []
                durable[name] = []
            }
            return Done(ticket: ticket)
        case .writeLog(let file, let bytes, let sync, let ticket):
            guard let name = logs[file] else {
                return Done(
                    ticket: ticket,
                    failure: FileFailure(operation: "log", path: "", reason: "closed"))
            }
            if isFull, !bytes.isEmpty { return full(name, ticket) }
            append(bytes, to: name)
            if sync { durable[name] = visible[name] }
            return Done(ticket: ticket)
        case .syncLog(let file, let ticket):
            if let name = logs[file] { durable[name] = visible[name] }
            return Done(ticket: ticket)
        case .closeLog(let file): logs[file] = nil
        default: break
        }
        return Done()
    }

    /// What a process writes without a thread in between.
    mutating func writeNow(_ file: UInt64, _ bytes: [UInt8]) -> LogWriteResult {
        guard queue.isEmpty, slowness == 1, let name = logs[file] else { return .busy }
        if isFull, let failure = full(name, 0).failure { return .failed(failure) }
        append(bytes, to: name)
        return .done
    }

    private mutating func append(_ bytes: [UInt8], to name: String) {
        _ = visible.update(name) { $0 += bytes }
        appended[name] = true
    }

    private func full(_ name: String, _ ticket: UInt64) -> Done {
        Done(
            ticket: ticket,
            failure: FileFailure(
                operation: "write", path: name, reason: "No space left on device"))
    }

    // MARK: Crashes

    /// The process left: what it still had queued was never asked of the kernel.
    mutating func processEnded() {
        queue.removeAll()
        temporary.removeAll()
        logs.removeAll()
    }

    /// The process is gone, and with it the requests that it had only queued. The request at the
    /// head may be half done: its file is in place or it is not, never torn.
    mutating func processCrashed(_ prng: inout Prng) {
        if case .file(.replace(let name, let contents, _, _)) = queue.first, !isFull,
            prng.chance(1, in: 2)
        {
            visible[name] = contents
            appended[name] = nil
        }
        processEnded()
    }

    /// The host lost power: what was not synced is there or is not, file by file.
    mutating func hostCrashed(_ prng: inout Prng) {
        processCrashed(&prng)
        for name in visible.keys {
            let kept = durable[name]
            if let torn = torn(name, kept, &prng) {
                visible[name] = torn
                continue
            }
            if visible[name] != kept, prng.chance(1, in: 2) { visible[name] = kept }
        }
        for (name, contents) in visible { durable[name] = contents }
        appended.removeAll()
    }

    /// A file that only grew: some of its unsynced end is there, perhaps as zeros.
    private func torn(_ name: String, _ kept: [UInt8]?, _ prng: inout Prng) -> [UInt8]? {
        guard appended.contains(name), let now = visible[name], let kept, now.count > kept.count,
            now[..<kept.count].elementsEqual(kept)
        else { return nil }
        let length = kept.count + prng.below(now.count - kept.count + 1)
        var left = Array(now[..<length])
        if prng.chance(1, in: 3) {
            let from = kept.count + prng.below(length - kept.count + 1)
            for index in from..<length { left[index] = 0 }
        }
        return left
    }

    // MARK: For a start

    /// What is there becomes durable.
    mutating func settle(_ name: String) { durable[name] = visible[name] }

    mutating func cut(_ name: String, at offset: Int, keeping kept: String) {
        guard let contents = visible[name] else { return }
        visible[kept] = Array(contents[offset...])
        durable[kept] = visible[kept]
        visible[name] = Array(contents[..<offset])
        durable[name] = visible[name]
    }

    mutating func put(_ name: String, _ contents: [UInt8]) {
        visible[name] = contents
        durable[name] = contents
    }

    mutating func lose(_ name: String) {
        visible[name] = nil
        durable[name] = nil
    }
}
