// Peer connections: the bus, our primary, MIGRATE targets. The shell carries bytes; this file
// hands them to the machine that the link belongs to.
import Base
import Engine
import Gossip
import Replication

extension NodePointer {
    /// A number for a link that this file's owner opens. The bus machine numbers its own links
    /// (odd); ours are multiples of four and inbound ones, which the shell numbers, are even and
    /// not: all distinct.
    func newLink(_ kind: LinkKind) -> LinkID {
        let link = LinkID(raw: pointee.nextOwnLink &* 4)
        pointee.nextOwnLink += 1
        pointee.linkKinds[link] = kind
        return link
    }

    /// The number of the `count`-th inbound bus connection, for the shell.
    public static func inboundLink(_ count: UInt64) -> LinkID { LinkID(raw: count &* 4 &+ 2) }

    func openLink(_ link: LinkID, _ kind: LinkKind, _ host: String, _ port: Int) {
        pointee.linkKinds[link] = kind
        pointee.requests.links.append(.connect(link, kind, host: host, port: port))
    }

    func sendOnLink(_ link: LinkID, _ bytes: [UInt8]) {
        pointee.requests.links.append(.send(link, bytes))
    }

    /// Packets that wait for a sync go with their link.
    private func dropHeldMessages(_ link: LinkID) {
        guard !pointee.heldMessages.isEmpty else { return }
        pointee.heldMessages.removeAll { $0.outgoing.link == link }
    }

    func closeLink(_ link: LinkID) {
        dropHeldMessages(link)
        pointee.linkKinds[link] = nil
        pointee.requests.links.append(.close(link))
    }

    /// What peers have not been given yet, and what their links take.
    var busMemory: Int {
        var bytes = pointee.heldMessages.reduce(0) { $0 + $1.outgoing.bytes.count }
        for case .send(_, let message) in pointee.requests.links { bytes += message.count }
        return bytes + (pointee.admin.linkMemory?() ?? 0)
    }

    // MARK: Inputs

    /// A peer connected to the bus port.
    public func busAccepted(_ link: LinkID, peer: String, local: String) {
        guard pointee.cluster != nil else { return closeLink(link) }
        pointee.linkKinds[link] = .bus
        stepCluster(.linkAccepted(link, peerAddress: peer, localAddress: local))
    }

    public func linkOpened(_ link: LinkID) {
        switch pointee.linkKinds[link] {
        case .bus: stepCluster(.linkOpened(link))
        case .primary: upstreamOpened(link)
        case .migrate: migrationOpened(link)
        case .sentinel, nil: break
        }
    }

    public func linkData(_ link: LinkID, _ bytes: Bytes) {
        switch pointee.linkKinds[link] {
        case .bus:
            // A packet may begin a hand-over: what goes out in answer must carry today's offset.
            refreshClusterFacts()
            stepCluster(.received(link, bytes.array))
        case .primary: upstreamReceived(link, bytes)
        case .migrate: migrationReceived(link, bytes)
        case .sentinel, nil: break
        }
    }

    public func linkClosed(_ link: LinkID, _ failure: LinkFailure) {
        let kind = pointee.linkKinds[link]
        pointee.linkKinds[link] = nil
        dropHeldMessages(link)
        switch kind {
        case .bus: stepCluster(.linkClosed(link, failure))
        case .primary: upstreamClosed(link, failure)
        case .migrate: migrationClosed(link, failure)
        case .sentinel, nil: break
        }
    }
}

extension LinkFailure {
    /// The system's word for it, for log lines.
    var text: String {
        switch self {
        case .refused: "Connection refused"
        case .reset: "Connection reset by peer"
        case .closedByPeer: "Connection closed by peer"
        case .timedOut: "Connection timed out"
        case .unreachable: "No route to host"
        case .outputLimit: "Output buffer limit reached"
        case .local: "Closed by this node"
        }
    }
}
