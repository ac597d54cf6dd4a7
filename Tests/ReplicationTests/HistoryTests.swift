import Base
import Replication
import Testing

@Suite struct BacklogWindowTests {
    @Test func startsAfterTheOffset() {
        var window = BacklogWindow(after: 100, capacity: 20_000)
        #expect(window.first == 101)
        #expect(window.next == 101)
        #expect(window.canContinue(from: 101))
        #expect(!window.canContinue(from: 100))
        window.append(50)
        #expect(window.canContinue(from: 151))
        #expect(!window.canContinue(from: 152))
    }

    @Test func keepsWhatIsNeeded() {
        var window = BacklogWindow(after: 0, capacity: 1)
        #expect(window.capacity == BacklogWindow.leastCapacity)
        window.append(30_000)
        #expect(window.trim(keepingFrom: 5_001) == 5_000)
        #expect(window.first == 5_001)
        #expect(window.trim() == 25_000 - window.capacity)
        #expect(window.length == window.capacity)
        #expect(window.next == 30_001)
        window.resize(40_000)
        #expect(window.trim() == 0)
    }
}

@Suite struct ReplicationHistoryTests {
    @Test func identifiers() {
        var prng = Prng(seed: 1)
        let id = ReplicationID.random(&prng)
        #expect(ReplicationID(id.text) == id)
        #expect(id.matches(id.text.uppercased()))
        #expect(ReplicationID("short") == nil)
        #expect(ReplicationID(String(repeating: "\n", count: 40)) == nil)
    }

    @Test func failoverShiftsTheID() {
        var history = ReplicationHistory(id: idA)
        history.createBacklog(capacity: 1 << 20)
        history.append(50)
        let line = history.shift(to: idB)
        #expect(
            line.text
                == "Setting secondary replication ID to \(idA), valid up to offset: 51. New "
                + "replication ID is \(idB)")
        #expect(history.secondID == idA)
        #expect(history.secondOffset == 51)
        history.checkInvariants()
        history.restart(as: idC, at: 7, capacity: 1 << 20)
        #expect(history.secondID == .none)
        #expect(history.offset == 7)
        #expect(history.backlog?.first == 8)
        history.checkInvariants()
    }

    @Test func countsOnlyWhatIsKept() {
        var history = ReplicationHistory(id: idA)
        history.append(10)
        #expect(history.offset == 0)
    }
}

@Suite struct PSyncTests {
    private func decide(
        _ id: String?, _ offset: Int64, _ history: ReplicationHistory,
        _ capabilities: ReplicaCapabilities = [.psync2]
    ) -> (PSyncDecision, [String]) {
        var log: [LogLine] = []
        let decision = PSync.decide(
            PSyncRequest(
                id: id, offset: offset, capabilities: capabilities, replicaName: "10.0.0.1:7000"),
            history, log: &log)
        return (decision, log.map(\.text))
    }

    /// 1000 bytes under A, then promoted to B, then 500 more; the backlog starts at 201.
    private var history: ReplicationHistory {
        var history = ReplicationHistory(id: idA)
        history.resume(at: 200)
        history.createBacklog(capacity: 1 << 20)
        history.append(800)
        _ = history.shift(to: idB)
        history.append(500)
        return history
    }

    @Test func partial() {
        let (decision, log) = decide(idB.text, 1_401, history)
        let reply = "+CONTINUE \(idB)\r\n"
        #expect(decision == .partial(offset: 1_401, pending: 100, reply: reply))
        #expect(
            log == [
                "Partial resynchronization request from 10.0.0.1:7000 accepted. Sending 100 bytes "
                    + "of backlog starting from offset 1401."
            ])
        let old = decide(idB.text, 1_501, history, []).0
        #expect(old == .partial(offset: 1_501, pending: 0, reply: "+CONTINUE\r\n"))
    }

    @Test func secondIDIsGoodUpToTheFork() {
        let reply = "+CONTINUE \(idB)\r\n"
        #expect(
            decide(idA.text, 1_001, history).0
                == .partial(offset: 1_001, pending: 500, reply: reply))
        let (decision, log) = decide(idA.text, 1_002, history)
        #expect(decision == .full(.pastTheFork(asked: 1_002, lastShared: 1_001)))
        #expect(
            log == [
                "Partial resynchronization not accepted: Requested offset for second ID was 1002, "
                    + "but I can reply up to 1001"
            ])
    }

    @Test func reasons() {
        #expect(decide("?", -1, history).0 == .full(.requested))
        #expect(decide("?", -1, history).1 == ["Full resync requested by replica 10.0.0.1:7000"])
        #expect(decide(nil, 0, history).0 == .full(.requested))
        #expect(decide(idC.text, 5, history).0 == .full(.differentHistory(asked: idC.text)))
        #expect(decide(idB.text, 200, history).0 == .full(.tooOld(asked: 200, first: 201)))
        let (future, log) = decide(idB.text, 1_502, history)
        #expect(future == .full(.fromTheFuture(asked: 1_502, next: 1_501)))
        #expect(log.last?.hasPrefix("Warning: replica 10.0.0.1:7000 tried to PSYNC") == true)
        let bare = ReplicationHistory(id: idA)
        #expect(decide(idA.text, 1, bare).0 == .full(.noBacklog(asked: 1)))
    }

    /// Forty zeros are no name for a history.
    @Test func noSecondIDMatchesNothing() {
        var fresh = ReplicationHistory(id: idA)
        fresh.createBacklog(capacity: 1 << 20)
        let none = ReplicationID.none.text
        #expect(decide(none, -5, fresh).0 == .full(.differentHistory(asked: none)))
        #expect(decide(idA.text, .min, fresh).0 == .full(.tooOld(asked: .min, first: 1)))
        #expect(decide(idA.text, .max, fresh).0 == .full(.fromTheFuture(asked: .max, next: 1)))
    }
}
