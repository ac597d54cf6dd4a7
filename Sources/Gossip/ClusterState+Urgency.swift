// What the driver asks between inputs: whether a fact that usually may be a little old must be
// told at once.

extension ClusterState {
    /// A manual failover waits for this replica to reach an offset: every applied byte counts.
    public var awaitsAppliedOffset: Bool { manual.end != nil && isReplica && !manual.canStart }
}
