import Base
import Replication
import Testing

@Suite struct WaitTrackerTests {
    private func waiter(
        _ session: UInt64, _ offset: Int64, _ replicas: Int, _ deadline: Int64? = nil
    ) -> WaitTracker.Waiter {
        WaitTracker.Waiter(
            session: session, offset: offset, replicas: replicas, deadline: deadline.map(at))
    }

    @Test func acknowledgementsRelease() {
        var tracker = WaitTracker()
        tracker.add(waiter(1, 100, 1))
        tracker.add(waiter(2, 200, 1))
        tracker.add(waiter(3, 100, 2))
        // One replica at 150, another at 50.
        let count: (Int64) -> Int = { offset in [150, 50].count { $0 >= offset } }
        let released = tracker.acknowledgementsChanged(count)
        #expect(released == [WaitTracker.Released(session: 1, replicas: 1)])
        #expect(tracker.count == 2)
        #expect(tracker.acknowledgementsChanged(count).isEmpty)
    }

    @Test func deadlines() {
        var tracker = WaitTracker()
        tracker.add(waiter(1, 100, 3, 500))
        tracker.add(waiter(2, 100, 3, 300))
        tracker.add(waiter(3, 100, 3))
        tracker.add(waiter(4, 100, 3, 900))
        #expect(tracker.nextDeadline == at(300))
        #expect(tracker.expire(at: at(299)) { _ in 1 }.isEmpty)
        let released = tracker.expire(at: at(500)) { _ in 1 }
        #expect(released.map(\.session) == [2, 1])
        #expect(released.allSatisfy { $0.replicas == 1 })
        #expect(tracker.nextDeadline == at(900))
        let removed = tracker.remove(session: 4)
        #expect(removed)
        #expect(tracker.nextDeadline == nil)
        let again = tracker.remove(session: 4)
        #expect(!again)
        let left = tracker.removeAll()
        #expect(left == [3])
        #expect(tracker.isEmpty)
    }
}

@Suite struct FailoverCoordinatorTests {
    private typealias Candidate = FailoverCoordinator.Candidate

    private let target = PrimaryAddress(host: "10.0.0.2", port: 7002)
    private let other = PrimaryAddress(host: "10.0.0.3", port: 7003)

    private func describe(_ effects: [FailoverEffect]) -> [String] {
        effects.map { effect in
            switch effect {
            case .pauseWrites: "pause"
            case .unpauseWrites: "unpause"
            case .handOver(let address): "hand over to \(address)"
            case .resumeAsPrimary: "resume"
            case .log(let line): line.text
            }
        }
    }

    private func start(
        _ words: [String], _ candidates: [Candidate], _ effects: inout [FailoverEffect]
    ) -> (FailoverCoordinator, ReplyError?) {
        var coordinator = FailoverCoordinator()
        switch FailoverRequest.parse(words) {
        case .failure(let error): return (coordinator, error)
        case .success(let request):
            let error = coordinator.request(
                request, isReplica: false, replicas: candidates, at: at(0), into: &effects)
            return (coordinator, error)
        }
    }

    @Test func toAnyReplica() {
        var effects: [FailoverEffect] = []
        let behind = Candidate(address: other, isOnline: true, acknowledged: 90)
        let ready = Candidate(address: target, isOnline: true, acknowledged: 100)
        var (coordinator, error) = start([], [behind], &effects)
        #expect(error == nil)
        #expect(coordinator.state == .waitingForSync)
        coordinator.tick(replicas: [behind], offset: 100, at: at(10), into: &effects)
        coordinator.tick(replicas: [behind, ready], offset: 100, at: at(20), into: &effects)
        #expect(coordinator.state == .inProgress)
        coordinator.accepted(into: &effects)
        #expect(
            describe(effects) == [
                "FAILOVER requested to any replica.", "pause",
                "Failover target 10.0.0.2:7002 is synced, failing over.",
                "hand over to 10.0.0.2:7002", "unpause",
            ])
        #expect(coordinator.state == .none)
        coordinator.checkInvariants()
    }

    @Test func timeoutAndForce() {
        let behind = Candidate(address: target, isOnline: true, acknowledged: 90)
        var forced: [FailoverEffect] = []
        var (coordinator, error) = start(
            ["to", "10.0.0.2", "7002", "timeout", "100", "force"], [behind], &forced)
        #expect(error == nil)
        #expect(coordinator.nextDeadline == at(100))
        coordinator.tick(replicas: [behind], offset: 100, at: at(100), into: &forced)
        #expect(
            describe(forced) == [
                "FAILOVER requested to 10.0.0.2:7002.", "pause",
                "FAILOVER to 10.0.0.2:7002 time out exceeded, failing over.",
                "hand over to 10.0.0.2:7002",
            ])
        forced.removeAll()
        coordinator.abort("Failover target rejected psync request", into: &forced)
        #expect(
            describe(forced) == [
                "FAILOVER to 10.0.0.2:7002 aborted: Failover target rejected psync request",
                "resume", "unpause",
            ])
        var plain: [FailoverEffect] = []
        var (patient, none) = start(["TIMEOUT", "100"], [behind], &plain)
        #expect(none == nil)
        patient.tick(replicas: [behind], offset: 100, at: at(100), into: &plain)
        #expect(
            Array(describe(plain).suffix(2)) == [
                "FAILOVER to any replica aborted: Replica never caught up before timeout",
                "unpause",
            ])
    }

    @Test func errors() {
        let ready = Candidate(address: target, isOnline: true, acknowledged: 0)
        let syncing = Candidate(address: other, isOnline: false, acknowledged: 0)
        let cases: [([String], String)] = [
            (["abort"], "ERR No failover in progress."),
            (["timeout", "0"], "ERR FAILOVER timeout must be greater than 0"),
            (["timeout", "x"], ReplyError.notAnInteger.text),
            (["nonsense"], "ERR syntax error"),
            (["to", "10.0.0.2"], "ERR syntax error"),
            (
                ["force"],
                "ERR FAILOVER with force option requires both a timeout and target HOST and IP."
            ),
            (["to", "10.0.0.9", "1"], "ERR FAILOVER target HOST and PORT is not a replica."),
            (["to", "10.0.0.3", "7003"], "ERR FAILOVER target replica is not online."),
        ]
        for (words, expected) in cases {
            var effects: [FailoverEffect] = []
            let error = start(words, [ready, syncing], &effects).1
            #expect(error?.text == expected)
            #expect(effects.isEmpty)
        }
        var effects: [FailoverEffect] = []
        #expect(start([], [], &effects).1?.text == "ERR FAILOVER requires connected replicas.")
        var (coordinator, _) = start([], [ready], &effects)
        let twice = coordinator.request(
            .start(target: nil, timeout: nil, force: false), isReplica: false, replicas: [ready],
            at: at(0), into: &effects)
        #expect(twice?.text == "ERR FAILOVER already in progress.")
        let aborted = coordinator.request(
            .abort, isReplica: false, replicas: [], at: at(0), into: &effects)
        #expect(aborted == nil)
        #expect(coordinator.state == .none)
    }
}
