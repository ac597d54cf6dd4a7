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
        }
        return Done()
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
    }

    /// The process is gone, and with it the requests that it had only queued. The request at the
    /// head may be half done: its file is in place or it is not, never torn.
    mutating func processCrashed(_ prng: inout Prng) {
        if case .file(.replace(let name, let contents, _, _)) = queue.first, !isFull,
            prng.chance(1, in: 2)
        {
            visible[name] = contents
        }
        processEnded()
    }

    /// The host lost power: what was not synced is there or is not, file by file.
    mutating func hostCrashed(_ prng: inout Prng) {
        processCrashed(&prng)
        for name in visible.keys {
            let kept = durable[name]
            if visible[name] != kept, prng.chance(1, in: 2) { visible[name] = kept }
        }
        for (name, contents) in visible { durable[name] = contents }
    }

    mutating func lose(_ name: String) {
        visible[name] = nil
        durable[name] = nil
    }
}
