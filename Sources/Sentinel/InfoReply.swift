// What a sentinel reads in an instance's INFO: who the process is, which role it plays, whom it
// follows and how well, and, of a primary, who its replicas are. Unknown lines are passed over and
// numbers that are none count as zero, as the reference has it: instances of many versions answer.
import Base

struct InfoReply: Sendable, Equatable {
    struct ReplicaLine: Sendable, Equatable {
        var host: String
        var port: Int
    }

    var runID: String?
    /// nil when there is no line that says so.
    var role: InstanceKind?
    var replicas: [ReplicaLine] = []
    var linkDownTime = Milliseconds.zero
    var primaryHost: String?
    var primaryPort: Int?
    var primaryLinkIsUp: Bool?
    var priority: Int?
    var offset: UInt64?
    var isAnnounced: Bool?

    init(_ text: String) {
        for line in text.split(whereSeparator: { $0 == "\r\n" || $0 == "\n" || $0 == "\r" }) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            take(line[..<colon], String(line[line.index(after: colon)...]))
        }
    }

    private mutating func take(_ name: Substring, _ value: String) {
        switch name {
        case "run_id":
            guard value.utf8.count >= 40 else { return }
            runID = String(decoding: value.utf8.prefix(40), as: UTF8.self)
        case "role":
            if value.hasPrefix("master") { role = .primary }
            if value.hasPrefix("slave") { role = .replica }
        case "master_link_down_since_seconds":
            let seconds = min(max(Int64(value) ?? 0, -1), Int64.max / 1_000_000_000)
            linkDownTime = Milliseconds(seconds * 1000)
        default:
            if name.hasPrefix("slave"), let digit = name.dropFirst(5).first, digit.isNumber {
                if let replica = Self.replica(value) { replicas.append(replica) }
                return
            }
            // Only what a replica says of itself counts.
            if role == .replica { takeFromReplica(name, value) }
        }
    }

    private mutating func takeFromReplica(_ name: Substring, _ value: String) {
        switch name {
        case "master_host": primaryHost = value
        case "master_port": primaryPort = Int(value) ?? 0
        case "master_link_status": primaryLinkIsUp = value.lowercased() == "up"
        case "slave_priority": priority = Int(value) ?? 0
        case "slave_repl_offset": offset = UInt64(value) ?? 0
        case "replica_announced": isAnnounced = Int(value) != 0
        default: break
        }
    }

    /// `ip=127.0.0.1,port=6380,…`, or of old `127.0.0.1,6380,…`.
    private static func replica(_ value: String) -> ReplicaLine? {
        let parts = value.split(separator: ",", omittingEmptySubsequences: false)
        var host = parts.first.map(String.init) ?? ""
        var port = parts.count > 1 ? String(parts[1]) : ""
        for part in parts {
            if part.hasPrefix("ip=") { host = String(part.dropFirst(3)) }
            if part.hasPrefix("port=") { port = String(part.dropFirst(5)) }
        }
        guard !host.isEmpty, let number = Int(port), (1...65535).contains(number) else {
            return nil
        }
        return ReplicaLine(host: host, port: number)
    }
}
