// The settings as each machine wants them: one function per machine, so that a directive's way from
// the configuration to whoever obeys it is seen at a glance.
import Base
import Engine
import Gossip
import Replication

extension Node {
    static func primaryConfig(_ settings: Settings) -> PrimaryConfig {
        var config = PrimaryConfig()
        config.backlogSize = Int64(settings.backlogSize)
        config.backlogTTL = Milliseconds(Int64(settings.backlogTTL) * 1000)
        config.timeout = Milliseconds(Int64(settings.replicationTimeout) * 1000)
        config.pingPeriod = Milliseconds(Int64(settings.replicationPingPeriod) * 1000)
        config.groupsSnapshots = settings.disklessSync
        config.snapshotDelay = Milliseconds(Int64(settings.disklessSyncDelay) * 1000)
        config.snapshotMaxReplicas = settings.disklessSyncMaxReplicas
        config.minReplicasToWrite = settings.minReplicasToWrite
        config.minReplicasMaxLag = Milliseconds(Int64(settings.minReplicasMaxLag) * 1000)
        return config
    }

    static func linkConfig(_ settings: Settings) -> ReplicaLinkConfig {
        ReplicaLinkConfig(
            user: settings.masterUser.isEmpty ? nil : settings.masterUser,
            password: settings.masterAuth.isEmpty ? nil : settings.masterAuth,
            listeningPort: settings.replicaAnnouncePort != 0
                ? settings.replicaAnnouncePort : settings.port,
            announcedIP: settings.replicaAnnounceIP.isEmpty ? nil : settings.replicaAnnounceIP,
            timeout: Milliseconds(Int64(settings.replicationTimeout) * 1000),
            loadsFromLink: true,
            keepsOldData: true)
    }

    static func gossipConfig(_ settings: Settings) -> GossipConfig {
        var config = GossipConfig()
        // Shorter ones would end before the next look at the others: in the reference as well,
        // where only answers that are missing at the next tenth of a second count.
        config.nodeTimeout = Milliseconds(Int64(Swift.max(settings.clusterNodeTimeout, 250)))
        config.migrationBarrier = settings.clusterMigrationBarrier
        config.allowsReplicaMigration = settings.clusterAllowReplicaMigration
        config.replicaValidityFactor = settings.clusterReplicaValidityFactor
        config.requiresFullCoverage = settings.clusterRequireFullCoverage
        config.allowsReadsWhenDown = settings.clusterAllowReadsWhenDown
        config.allowsShardPubSubWhenDown = settings.clusterAllowPubsubshardWhenDown
        config.minReplicasAck = settings.minReplicasAck
        config.replicaNoFailover = settings.clusterReplicaNoFailover
        config.announceIP = settings.clusterAnnounceIP
        config.announceHostname = settings.clusterAnnounceHostname
        config.announceHumanName = settings.clusterAnnounceHumanNodename
        config.announcePort = settings.clusterAnnouncePort
        config.announceTLSPort = settings.clusterAnnounceTLSPort
        config.announceBusPort = settings.clusterAnnounceBusPort
        config.preferredEndpoint =
            EndpointType(rawValue: settings.clusterPreferredEndpointType) ?? .ip
        config.port = settings.port
        config.busPort = settings.clusterPort
        config.pingInterval = Milliseconds(Int64(settings.clusterPingInterval))
        config.replicationPingPeriod = Milliseconds(Int64(settings.replicationPingPeriod) * 1000)
        config.linkSendBufferLimit = settings.clusterLinkSendBufferLimit
        config.allowsEmptyPrimaryRestart = settings.clusterAllowEmptyPrimaryRestart
        return config
    }
}
