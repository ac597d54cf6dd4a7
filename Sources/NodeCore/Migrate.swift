// Outgoing command links: MIGRATE, and the CLUSTER FAILOVER that a hand-over sends to replicas that
// know no better way.
import Base
import Engine
import Gossip

public struct MigrationTable {
    mutating func forget(session: UInt64) {}
}

extension NodePointer {
    func migrationOpened(_ link: LinkID) {}
    func migrationReceived(_ link: LinkID, _ bytes: Bytes) {}
    func migrationClosed(_ link: LinkID, _ failure: LinkFailure) {}
    func startCommandLink(host: String, port: Int, commands: [[String]]) {}
}
