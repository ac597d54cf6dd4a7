// One vote per epoch and node, whatever restarts come between: read off the wire, when the vote
// leaves.
import Base

struct VoteChecker {
    /// Byte positions in a bus packet, protocol version 1.
    private enum Layout {
        static let type = 12
        static let currentEpoch = 16
        static let header = 2256
        static let voteType: UInt8 = 6
    }

    private struct Key: Comparable {
        var voter: Int
        var epoch: UInt64

        static func < (a: Key, b: Key) -> Bool {
            a.voter != b.voter ? a.voter < b.voter : a.epoch < b.epoch
        }
    }

    private var given = SortedTable<Key, Int>()
    var count: Int { given.count }

    /// A packet leaves `voter` for `receiver`. Returns what is wrong with it.
    mutating func sent(_ bytes: [UInt8], from voter: Int, to receiver: Int) -> String? {
        guard bytes.count >= Layout.header, bytes[Layout.type] == 0,
            bytes[Layout.type + 1] == Layout.voteType
        else { return nil }
        var epoch: UInt64 = 0
        for index in 0..<8 { epoch = epoch &<< 8 | UInt64(bytes[Layout.currentEpoch + index]) }
        return vote(by: voter, epoch: epoch, to: receiver)
    }

    /// `voter` is the node's index; sentinels count from 1000.
    mutating func vote(by voter: Int, epoch: UInt64, to receiver: Int) -> String? {
        let key = Key(voter: voter, epoch: epoch)
        // A sentinel repeats its vote until the request is gone.
        let repeats = voter >= 1000
        if let other = given[key], !repeats || other != receiver {
            return "node \(voter) votes for \(receiver) in epoch \(epoch) and has for \(other)"
        }
        given[key] = receiver
        return nil
    }
}
