// Counters of a node since its start or CONFIG RESETSTAT; INFO prints them.
import Base

public struct Stats {
    public var connectionsReceived: Int64 = 0
    public var commandsProcessed: Int64 = 0
    public var netInputBytes: Int64 = 0
    public var netOutputBytes: Int64 = 0
    public var netReplicationInputBytes: Int64 = 0
    public var netReplicationOutputBytes: Int64 = 0
    public var rejectedConnections: Int64 = 0
    public var fullSyncs: Int64 = 0
    public var partialSyncsAccepted: Int64 = 0
    public var partialSyncsRefused: Int64 = 0
    public var expiredKeys: Int64 = 0
    /// Fields of hashes.
    public var expiredFields: Int64 = 0
    public var expireCyclesCutShort: Int64 = 0
    public var evictedKeys: Int64 = 0
    public var evictedClients: Int64 = 0
    public var keyspaceHits: Int64 = 0
    public var keyspaceMisses: Int64 = 0
    public var errorReplies: Int64 = 0
    /// Errors on the links between primary and replica.
    public var unexpectedErrorReplies: Int64 = 0
    public var protocolErrors: Int64 = 0
    public var queryBufferDisconnections: Int64 = 0
    public var outputLimitDisconnections: Int64 = 0
    public var readsProcessed: Int64 = 0
    public var writesProcessed: Int64 = 0
    public var dumpPayloadSanitizations: Int64 = 0
    /// What users were denied: logins, commands, keys, channels.
    public var deniedLogins: Int64 = 0
    public var deniedCommands: Int64 = 0
    public var deniedKeys: Int64 = 0
    public var deniedChannels: Int64 = 0
    public var lostWriteFiles: Int64 = 0
    public var lostWriteCommands: Int64 = 0
    public var peakMemory: Int = 0
    /// Error replies by their first word (INFO errorstats; cold).
    public var errorsByCode: [String: Int64] = [:]

    public init() {}
}
