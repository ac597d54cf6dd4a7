// Where an instance is: the name under which it was configured and the numeric address behind it.
// A name that stops resolving keeps its last good address; one that never resolved has none, and
// its instance is simply down. Two addresses are the same when port and either form agree, as in
// the reference, except that two unknown numeric addresses never count as equal.
import Base

public struct SentinelAddress: Sendable, Equatable {
    /// As it was configured or announced: a name or a numeric address.
    public var hostname: String
    /// Numeric; empty while the name has never been resolved.
    public var ip: String
    public var port: Int

    public init(hostname: String, ip: String, port: Int) {
        self.hostname = hostname
        self.ip = ip
        self.port = port
    }

    /// True when the host is a name that somebody must resolve.
    var isName: Bool { IPAddress.normalized(hostname) == nil }

    func isSame(as other: SentinelAddress) -> Bool {
        guard port == other.port else { return false }
        if !ip.isEmpty, ip == other.ip { return true }
        return hostname.lowercased() == other.hostname.lowercased()
    }

    /// What others are told: the name if `announce-hostnames` is set, else the numeric address.
    func announced(hostnames: Bool) -> String {
        hostnames || ip.isEmpty ? hostname : ip
    }
}

/// Why an instance cannot be created, in the reference's classes.
enum CreateFailure: Error, Equatable {
    case duplicate
    case unresolvable
    case invalidPort

    func text(_ kind: InstanceKind) -> String {
        switch (self, kind) {
        case (.duplicate, .primary): "Duplicate master name."
        case (.duplicate, .replica): "Duplicate hostname and port for replica."
        case (.duplicate, .sentinel): "Duplicate runid for sentinel."
        case (.unresolvable, _): "Can't resolve instance hostname."
        case (.invalidPort, _): "Invalid port number."
        }
    }
}

extension SentinelState {
    /// The address of `host` as far as it is known; a name that is not known yet is asked for.
    mutating func address(
        _ host: String, _ port: Int
    ) throws(CreateFailure) -> SentinelAddress {
        guard (0...65535).contains(port) else { throw .invalidPort }
        if let ip = IPAddress.normalized(host) {
            return SentinelAddress(hostname: host, ip: ip, port: port)
        }
        guard settings.resolveHostnames, !host.isEmpty else { throw .unresolvable }
        let known = names[host.lowercased()]
        if known == nil { askForName(host) }
        return SentinelAddress(hostname: host, ip: known ?? "", port: port)
    }

    /// True when `host` is the host of `address`, by number where the name is known.
    func isHost(_ host: String, of address: SentinelAddress) -> Bool {
        if let ip = IPAddress.normalized(host) ?? names[host.lowercased()] {
            return !address.ip.isEmpty && address.ip == ip
        }
        let mine = settings.resolveHostnames ? address.hostname : address.ip
        return mine.lowercased() == host.lowercased()
    }

    mutating func askForName(_ host: String) {
        let name = host.lowercased()
        if !output.resolve.contains(name) { output.resolve.append(name) }
    }

    /// An answer of the resolver: every instance of that name moves to the new address. Without an
    /// answer the last good one stays.
    mutating func resolved(_ name: String, to ip: String?) {
        guard let ip = ip.flatMap(IPAddress.normalized) else {
            return note(.warning, "Failed to resolve hostname '\(name)'")
        }
        names[name] = ip
        for id in records.keys where self[id].address.hostname.lowercased() == name {
            self[id].address.ip = ip
        }
    }
}
