// Outgoing command links: what MIGRATE sends its keys over, and what fires single commands at
// other nodes (CLUSTER FAILOVER to a replica that knows no better way of taking over).
//
// A link serves one job at a time and is kept for ten seconds afterwards, as the reference keeps
// its sockets, so that a reshard of many small batches connects once. Everything that is sent is
// answered by single lines, so the replies are read as lines. `MigrateJob.swift` has what a
// migration is and how it ends; this file has the links and the time.
import Base
import Engine
import Gossip

/// Where a link goes, and as whom.
struct CommandTarget: Equatable {
    var host: String
    var port: Int
    /// nil where no password is sent.
    var password: [UInt8]?
    /// nil for the default user.
    var user: [UInt8]?

    var name: String { "\(host):\(port)" }

    /// AUTH, or nothing where none is needed.
    var authentication: [UInt8] {
        guard let password else { return [] }
        let words = [Array("AUTH".utf8), user, password].compactMap { $0 }
        return encodeCommand(words)
    }
}

/// What a link is busy with.
enum CommandLinkJob: Equatable {
    case idle
    /// The migration of this number.
    case migration(UInt64)
    /// Commands that nobody waits for: so many replies are owed.
    case commands(replies: Int)
}

struct CommandLink {
    let link: LinkID
    let target: CommandTarget
    var isOpen = false
    /// The database that it has selected; nil before the first SELECT.
    var database: Int64?
    var job: CommandLinkJob
    /// When an idle link is closed, or a command's reply is no longer waited for.
    var deadline: Instant
    /// What to send once it is open, for jobs that need nothing else then.
    var greeting: [UInt8] = []
    /// The beginning of a line whose end has not come.
    var partial: [UInt8] = []
}

public struct MigrationTable {
    /// How many links are kept at most; the oldest idle one goes first.
    static let linkLimit = 64
    static let idleTime = Milliseconds(10_000)
    static let commandTimeout = Milliseconds(5000)
    static let longestLine = 64 * 1024

    var links: [CommandLink] = []
    var jobs: [MigrateJob] = []
    var nextJob: UInt64 = 1

    /// When the earliest deadline is.
    var nextDeadline: Instant? {
        let ofLinks = links.lazy.filter { link in
            if case .migration = link.job { return false }
            return true
        }.map(\.deadline).min()
        let ofJobs = jobs.lazy.filter { $0.outcome == nil }.map(\.deadline).min()
        guard let ofLinks, let ofJobs else { return ofLinks ?? ofJobs }
        return Swift.min(ofLinks, ofJobs)
    }

    var isEmpty: Bool { links.isEmpty && jobs.isEmpty }

    func index(of link: LinkID) -> Int? { links.firstIndex { $0.link == link } }
    func index(ofJob id: UInt64) -> Int? { jobs.firstIndex { $0.id == id } }

    /// The client is gone; its migration goes on without it.
    mutating func forget(session: UInt64) {
        for index in jobs.indices where jobs[index].session == session {
            jobs[index].session = nil
        }
    }
}

/// A command as it is sent.
func encodeCommand(_ words: [[UInt8]]) -> [UInt8] {
    var out = Array("*\(words.count)\r\n".utf8)
    for word in words {
        out += Array("$\(word.count)\r\n".utf8)
        out += word
        out += [13, 10]
    }
    return out
}

extension NodePointer {
    /// How many connections to targets of MIGRATE are kept (INFO).
    public var migrationLinkCount: Int { pointee.migrations.links.count }

    // MARK: Links

    /// An idle link to `target`, or a new one that is on its way.
    func takeLink(to target: CommandTarget, _ job: CommandLinkJob) -> CommandLink {
        let idle = pointee.migrations.links.firstIndex { $0.job == .idle && $0.target == target }
        if let idle {
            pointee.migrations.links[idle].job = job
            return pointee.migrations.links[idle]
        }
        dropOldestIdleLink()
        let link = CommandLink(
            link: newLink(.migrate), target: target, job: job,
            deadline: instant + MigrationTable.commandTimeout)
        pointee.migrations.links.append(link)
        openLink(link.link, .migrate, target.host, target.port)
        return link
    }

    private func dropOldestIdleLink() {
        guard pointee.migrations.links.count >= MigrationTable.linkLimit else { return }
        let idle = pointee.migrations.links.filter { $0.job == .idle }
        guard let oldest = idle.min(by: { $0.deadline < $1.deadline }) else { return }
        dropLink(oldest.link)
    }

    /// Closes a link on our side; nothing more comes of it.
    func dropLink(_ link: LinkID) {
        guard let index = pointee.migrations.index(of: link) else { return }
        pointee.migrations.links.remove(at: index)
        closeLink(link)
    }

    /// Keeps a link for the next job.
    func releaseLink(_ link: LinkID) {
        guard let index = pointee.migrations.index(of: link) else { return }
        pointee.migrations.links[index].job = .idle
        pointee.migrations.links[index].deadline = instant + MigrationTable.idleTime
    }

    // MARK: Commands that nobody waits for

    /// Sends commands to another node over a link of their own and logs what they fail with. Each
    /// must be answered by one line.
    func startCommandLink(host: String, port: Int, commands: [[String]]) {
        invariant(!commands.isEmpty, "a link without a command")
        let settings = self.settings
        var target = CommandTarget(host: host, port: port)
        if !settings.masterAuth.isEmpty {
            target.password = Array(settings.masterAuth.utf8)
            if !settings.masterUser.isEmpty { target.user = Array(settings.masterUser.utf8) }
        }
        let replies = commands.count + (target.password == nil ? 0 : 1)
        var bytes = target.authentication
        for words in commands { bytes += encodeCommand(words.map { Array($0.utf8) }) }
        let link = takeLink(to: target, .commands(replies: replies))
        guard let index = pointee.migrations.index(of: link.link) else { return }
        pointee.migrations.links[index].deadline = instant + MigrationTable.commandTimeout
        if link.isOpen {
            sendOnLink(link.link, bytes)
        } else {
            pointee.migrations.links[index].greeting = bytes
        }
    }

    private func commandAnswered(_ index: Int, _ line: [UInt8], _ replies: Int) {
        let link = pointee.migrations.links[index]
        if line.first == UInt8(ascii: "-") {
            let text = String(decoding: line.dropFirst(), as: UTF8.self)
            log(.warning, "Command on node \(link.target.name) failed: \(text)")
        }
        if replies > 1 {
            pointee.migrations.links[index].job = .commands(replies: replies - 1)
        } else {
            dropLink(link.link)
        }
    }

    // MARK: Inputs

    func migrationOpened(_ link: LinkID) {
        guard let index = pointee.migrations.index(of: link) else { return }
        pointee.migrations.links[index].isOpen = true
        switch pointee.migrations.links[index].job {
        case .migration(let id): sendMigration(id)
        case .commands:
            sendOnLink(link, pointee.migrations.links[index].greeting)
            pointee.migrations.links[index].greeting = []
        case .idle: break
        }
    }

    func migrationReceived(_ link: LinkID, _ bytes: Bytes) {
        var start = 0
        for position in 0..<bytes.count where bytes[position] == UInt8(ascii: "\n") {
            guard let index = pointee.migrations.index(of: link) else { return }
            var line = pointee.migrations.links[index].partial + bytes[start..<position].array
            pointee.migrations.links[index].partial = []
            start = position + 1
            if line.last == 13 { line.removeLast() }
            lineReceived(index, line)
        }
        guard let index = pointee.migrations.index(of: link), start < bytes.count else { return }
        pointee.migrations.links[index].partial += bytes[start..<bytes.count].array
        if pointee.migrations.links[index].partial.count > MigrationTable.longestLine {
            migrationLinkFailed(link, .reset)
        }
    }

    private func lineReceived(_ index: Int, _ line: [UInt8]) {
        let link = pointee.migrations.links[index]
        let marks: [UInt8] = [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ":")]
        guard let mark = line.first, marks.contains(mark), link.job != .idle else {
            // Whoever answers like that is no server of ours.
            return migrationLinkFailed(link.link, .reset)
        }
        switch link.job {
        case .migration(let id): migrationAnswered(id, line)
        case .commands(let replies): commandAnswered(index, line, replies)
        case .idle: unreachable("an idle link is owed nothing")
        }
    }

    /// The shell closed a link, or never opened it.
    func migrationClosed(_ link: LinkID, _ failure: LinkFailure) {
        guard let index = pointee.migrations.index(of: link) else { return }
        let lost = pointee.migrations.links.remove(at: index)
        switch lost.job {
        case .migration(let id): migrationLost(id, lost, failure)
        case .commands:
            log(.warning, "No answer from node \(lost.target.name): \(failure.text)")
        case .idle: break
        }
    }

    /// We give a link up.
    private func migrationLinkFailed(_ link: LinkID, _ failure: LinkFailure) {
        closeLink(link)
        migrationClosed(link, failure)
    }

    // MARK: Time

    /// Ends what has waited too long, and migrations that a pause of writes held up.
    func advanceMigrations() {
        if isReplica { abandonMigrations() }
        for job in pointee.migrations.jobs { settleMigration(job.id) }
        guard let next = pointee.migrations.nextDeadline, next <= instant else { return }
        for job in pointee.migrations.jobs where job.deadline <= instant && job.outcome == nil {
            migrationTimedOut(job.id)
        }
        for link in pointee.migrations.links where link.deadline <= instant {
            switch link.job {
            case .idle: dropLink(link.link)
            case .commands: migrationLinkFailed(link.link, .timedOut)
            case .migration: break
            }
        }
    }
}
