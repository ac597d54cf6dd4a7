// A packet of the cluster bus, decoded. Field for field the structures of protocol version 1; the
// byte layout is in `BusCodec`.
import Base
import HashSlots

public enum BusMessageType: UInt16, Sendable, CaseIterable {
    case ping = 0
    case pong
    case meet
    case fail
    case publish
    case authRequest
    case authAck
    case update
    case manualStart
    case module
    case publishShard

    public static let count = 11

    /// As CLUSTER INFO names it.
    public var name: String {
        switch self {
        case .ping: "ping"
        case .pong: "pong"
        case .meet: "meet"
        case .fail: "fail"
        case .publish: "publish"
        case .authRequest: "auth-req"
        case .authAck: "auth-ack"
        case .update: "update"
        case .manualStart: "mfstart"
        case .module: "module"
        case .publishShard: "publishshard"
        }
    }
}

/// The message flags. The first byte is the protocol's; the reference neither sets nor reads the
/// other two, so ours go there and a Redis node ignores them.
package struct MessageFlags: OptionSet, Sendable, Equatable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The primary holds writes back for a manual failover.
    package static let paused = MessageFlags(rawValue: 1)
    /// Vote although the primary is up.
    package static let forceAck = MessageFlags(rawValue: 2)
    /// Extensions follow the gossip section.
    package static let hasExtensions = MessageFlags(rawValue: 4)
    /// Ours, second byte: this primary lost its data; replace it.
    package static let dataLost = MessageFlags(rawValue: 1 << 8)
    /// Ours, second byte: this primary wants the receiver to take over.
    package static let handover = MessageFlags(rawValue: 1 << 9)
    /// Ours, second byte: a replica asks a brother, in a PING, whether it may stand for election.
    package static let asksConsent = MessageFlags(rawValue: 1 << 10)
    /// Ours, second byte: the answer, in a PONG: the primary has failed, and the sender holds
    /// nothing that the asker lacks, as the two offsets show.
    package static let consents = MessageFlags(rawValue: 1 << 11)
    /// Ours, second byte: a primary asks for the right to change the voters.
    package static let voterChange = MessageFlags(rawValue: 1 << 12)
    /// Ours, second byte, in the answer to a PING: it prolongs no lease.
    package static let withheld = MessageFlags(rawValue: 1 << 13)
    /// Ours, third byte: the sender knows of voters, and its header has a voter version.
    package static let knowsVoters = MessageFlags(rawValue: 1 << 22)
    /// Ours, third byte: the sender understands the flags above and every ping extension.
    package static let extended = MessageFlags(rawValue: 1 << 23)
}

package struct BusHeader: Sendable, Equatable {
    package var type: UInt16
    package var port = 0
    package var secondPort = 0
    package var busPort = 0
    package var currentEpoch: UInt64 = 0
    /// A replica sends its primary's.
    package var configEpoch: UInt64 = 0
    package var offset: UInt64 = 0
    package var sender: NodeID
    /// A replica sends its primary's.
    package var slots = SlotSet()
    package var primary: NodeID?
    /// Ours, in bytes that the reference leaves zero: the version of the sender's voter set.
    package var voterVersion: UInt64 = 0
    /// Empty: take the address that the packet came from.
    package var ip = ""
    package var flags: NodeFlags = []
    /// 0 for ok, 1 for fail.
    package var state: UInt8 = 0
    package var messageFlags: MessageFlags = []

    package init(type: UInt16, sender: NodeID) {
        self.type = type
        self.sender = sender
    }
}

package struct GossipEntry: Sendable, Equatable {
    package var id: NodeID
    /// Seconds since 1970, 0 for none.
    package var pingSent: UInt32 = 0
    package var pongReceived: UInt32 = 0
    package var ip = ""
    package var port = 0
    package var busPort = 0
    package var flags: NodeFlags = []
    package var secondPort = 0

    package init(id: NodeID) { self.id = id }
}

package enum PingExtension: Sendable, Equatable {
    case hostname(String)
    case humanName(String)
    case forgotten(NodeID, seconds: UInt64)
    case shard(NodeID)
    /// Ours: the set of voters. Sent only to nodes that know of them.
    case voters(VoterSet)
    case unknown(type: UInt16)
}

package enum BusBody: Sendable, Equatable {
    /// PING, PONG and MEET.
    case ping([GossipEntry], [PingExtension])
    case fail(NodeID)
    /// PUBLISH and PUBLISHSHARD.
    case publish(channel: [UInt8], message: [UInt8])
    case update(configEpoch: UInt64, node: NodeID, slots: SlotSet)
    case module(id: UInt64, type: UInt8, payload: [UInt8])
    /// Requests and votes: the header says it all.
    case empty
}

package struct BusMessage: Sendable, Equatable {
    package var header: BusHeader
    package var body: BusBody

    package init(header: BusHeader, body: BusBody) {
        self.header = header
        self.body = body
    }
}
