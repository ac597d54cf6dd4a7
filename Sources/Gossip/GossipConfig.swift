// Every knob of the cluster machine, with its default and its legal range. All of them may change
// while the node runs. Names in quotes are the directives of the configuration file.
import Base

/// What redirections and reports name a node by (`cluster-preferred-endpoint-type`).
public enum EndpointType: String, Sendable, CaseIterable {
    case ip
    case hostname
    case unknownEndpoint = "unknown-endpoint"
}

public struct GossipConfig: Equatable, Sendable {
    /// `cluster-node-timeout`: silence that makes a node suspect.
    public var nodeTimeout = Milliseconds(15000)
    /// `cluster-migration-barrier`: replicas that must stay when one migrates.
    public var migrationBarrier = 1
    /// `cluster-allow-replica-migration`.
    public var allowsReplicaMigration = true
    /// `cluster-replica-validity-factor`: node timeouts after which a replica's data is too old to
    /// take over; 0 is never.
    public var replicaValidityFactor = 10
    /// `cluster-require-full-coverage`.
    public var requiresFullCoverage = true
    /// `cluster-allow-reads-when-down`.
    public var allowsReadsWhenDown = false
    /// `cluster-allow-pubsubshard-when-down`.
    public var allowsShardPubSubWhenDown = true
    /// `cluster-replica-no-failover`.
    public var replicaNoFailover = false
    /// `min-replicas-ack`: a reply was sent only after so many replicas had the write, so no
    /// replica may be elected that some of them might be ahead of.
    public var minReplicasAck = 0
    /// `cluster-announce-ip`; empty means discovery.
    public var announceIP = ""
    /// `cluster-announce-hostname`.
    public var announceHostname = ""
    /// `cluster-announce-human-nodename`.
    public var announceHumanName = ""
    /// `cluster-announce-port`, 0 for the real one.
    public var announcePort = 0
    /// `cluster-announce-tls-port`, 0 for the real one.
    public var announceTLSPort = 0
    /// `cluster-announce-bus-port`, 0 for the real one.
    public var announceBusPort = 0
    /// `cluster-preferred-endpoint-type`.
    public var preferredEndpoint = EndpointType.ip
    /// `port` and `tls-port` of this node, 0 when closed.
    public var port = 6379
    public var tlsPort = 0
    /// `cluster-port`: the bus listens here; 0 is the client port plus 10000.
    public var busPort = 0
    /// `tls-cluster`: the bus and redirections use TLS.
    public var usesTLS = false
    /// `cluster-ping-interval` (hidden): longest time between two pings to one node. 0 derives it
    /// from the node timeout and the size of the cluster.
    public var pingInterval = Milliseconds.zero
    /// `repl-ping-replica-period`, which the data-age rule adds to its limit.
    public var replicationPingPeriod = Milliseconds(10000)
    /// `cluster-link-sendbuf-limit` in bytes; the driver enforces it, reports show it.
    public var linkSendBufferLimit = 0
    /// `cluster-crash-detection`: refused connections establish that a process is dead.
    public var detectsCrashes = true
    /// `cluster-allow-empty-primary-restart`: a primary that starts without its data goes on
    /// serving its slots although a replica may still hold the data.
    public var allowsEmptyPrimaryRestart = false
    /// `cluster-empty-primary-wait`: how long such a primary waits to hear from replicas that it
    /// has not heard from at all.
    public var emptyPrimaryWait = Milliseconds(60000)
    /// Whether nodes.conf carries the fields of release 7.2 (shard ID, human name, second port).
    public var writesAuxiliaryFields = true

    public init() {}

    /// The port that clients of this node use by default.
    var defaultPort: Int { usesTLS ? tlsPort : port }

    var announcedTCPPort: Int { announcePort != 0 ? announcePort : port }
    var announcedTLSPort: Int { announceTLSPort != 0 ? announceTLSPort : tlsPort }
    var announcedBusPort: Int {
        if announceBusPort != 0 { return announceBusPort }
        return listeningBusPort
    }
    /// Where the bus really listens.
    public var listeningBusPort: Int { busPort != 0 ? busPort : defaultPort + 10000 }

    /// The legal range of each number, by its directive.
    private var ranges: [(name: String, value: Int64, range: ClosedRange<Int64>)] {
        let ports: ClosedRange<Int64> = 0...65535
        let counts: ClosedRange<Int64> = 0...Int64(Int32.max)
        return [
            ("cluster-node-timeout", nodeTimeout.count, 1...Int64.max / 4096),
            ("cluster-migration-barrier", Int64(migrationBarrier), counts),
            ("cluster-replica-validity-factor", Int64(replicaValidityFactor), counts),
            ("cluster-announce-port", Int64(announcePort), ports),
            ("cluster-announce-tls-port", Int64(announceTLSPort), ports),
            ("cluster-announce-bus-port", Int64(announceBusPort), ports),
            ("cluster-port", Int64(busPort), ports),
            ("port", Int64(port), ports),
            ("tls-port", Int64(tlsPort), ports),
            ("cluster-ping-interval", pingInterval.count, counts),
            ("repl-ping-replica-period", replicationPingPeriod.count, 1...Int64.max / 4096),
            ("cluster-empty-primary-wait", emptyPrimaryWait.count, counts),
        ]
    }

    /// What is wrong with these settings, in words, or nil.
    public var problem: String? {
        for (name, value, range) in ranges where !range.contains(value) {
            return "\(name) must be between \(range.lowerBound) and \(range.upperBound)"
        }
        return nameProblem
    }

    /// Names travel in fixed fields and in nodes.conf: no separators, no excess length.
    private var nameProblem: String? {
        if announceIP.utf8.count > 45 { return "cluster-announce-ip is too long" }
        if announceHostname.utf8.count > 255 { return "Hostnames must be less than 256 characters" }
        for byte in announceHostname.utf8 where !GossipConfig.isHostnameByte(byte) {
            return "Hostnames may only contain alphanumeric characters, hyphens or dots"
        }
        if announceHumanName.utf8.count > 255 {
            return "The human-readable nodename must be less than 256 characters"
        }
        for byte in announceHumanName.utf8 where !isAuxiliaryByte(byte) {
            return "Announced human node name contained invalid character"
        }
        return nil
    }

    private static func isHostnameByte(_ byte: UInt8) -> Bool {
        let isDigit = byte >= 48 && byte <= 57
        let isLetter = (byte | 0x20) >= 97 && (byte | 0x20) <= 122
        return isDigit || isLetter || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
    }
}

/// A byte that may stand in an auxiliary field of nodes.conf.
func isAuxiliaryByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0...32, 127: false
    default: !illegalInNames.contains(byte)
    }
}

/// What release 7.2 forbids in auxiliary fields, and the separators of those fields.
private let illegalInNames = Array("!#$%&()*+:;<>?@[]^{|}~,=".utf8)
