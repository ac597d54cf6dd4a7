// What speaks for the death of a node's process before the node timeout does. As in the cluster
// itself: a connection that stood is ended by the other side's kernel, and then two in a row are
// refused, one of them at the bus's port, or none comes about for 400 ms.
//
// A dying process closes its sockets one after the other, the listening one perhaps last. A
// connection that is accepted meanwhile and ends without an answer says nothing for its life.
import Base

struct DeathEvidence: Sendable {
    /// Older losses prove nothing any more.
    static let validity = Milliseconds(2000)
    /// Between the two refusals: a successor may be just starting.
    static let spacing = Milliseconds(25)
    /// So long after a loss, attempts that led to nothing are as good as refusals.
    static let patience = Milliseconds(400)
    static let refusalsNeeded = 2

    /// The node that the broken connection led to.
    let nodeID: String
    /// When a connection that had brought answers broke.
    private let lostAt: Instant
    /// When the last one broke.
    private var brokenAt: Instant
    private var refusals = 0
    private var wasAccepted = false

    init(of nodeID: String, lostAt: Instant) {
        self.nodeID = nodeID
        self.lostAt = lostAt
        brokenAt = lostAt
    }

    /// A connection was accepted, and ended before anybody answered.
    mutating func brokenAgain(at now: Instant) {
        brokenAt = now
        refusals = 0
        wasAccepted = true
    }

    /// No connection came about.
    mutating func failed(isRefusal: Bool) {
        refusals = isRefusal ? refusals + 1 : 0
        wasAccepted = false
    }

    /// The next refusal would be the last piece; it has to come from the bus's port.
    var wantsProbe: Bool { refusals == Self.refusalsNeeded - 1 }
    var isEstablished: Bool { refusals >= Self.refusalsNeeded }
    /// The last attempt found somebody, dying or not: the next one should follow soon.
    var isPressing: Bool { wantsProbe || wasAccepted }
    func isPatienceOver(at now: Instant) -> Bool { now - brokenAt >= Self.patience }
    func isValid(at now: Instant) -> Bool { now - lostAt <= Self.validity }
}
