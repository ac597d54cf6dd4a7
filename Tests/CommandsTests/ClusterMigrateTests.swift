// MIGRATE between nodes of one process: what arrives, what is deleted, what is refused, and that a
// write which a client was told of survives whatever MIGRATE does meanwhile.
import Base
import Engine
import NodeCore
import Testing

@Suite struct ClusterMigrateTests {
    private func standalone(_ nodes: Int = 2) -> ClusterWorld {
        ClusterWorld(nodes: nodes, cluster: false)
    }

    @Test func aKeyMovesWithItsExpiry() {
        let world = standalone()
        let a = world.client(0)
        let b = world.client(1)
        a.run("SET k value PX 50000")
        a.run("SET n 12345")
        #expect(a.run("MIGRATE 127.0.0.1 7001 k 3 1000") == "+OK|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 n 3 1000") == "+OK|")
        #expect(a.run("EXISTS k n") == ":0|")
        b.run("SELECT 3")
        #expect(b.run("GET k") == "$5|value|")
        #expect(b.run("PTTL k") == ":50000|")
        #expect(b.run("GET n") == "$5|12345|")
        #expect(b.run("TTL n") == ":-1|")
    }

    @Test func severalKeysOptionsAndErrors() {
        let world = standalone()
        let a = world.client(0)
        let b = world.client(1)
        a.run("MSET a 1 b 2 c 3")
        #expect(a.run("MIGRATE 127.0.0.1 7001 missing 0 1000") == "+NOKEY|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 \"\" 0 1000 COPY KEYS a b x a") == "+OK|")
        #expect(a.run("EXISTS a b") == ":2|")
        let busy =
            "-ERR Target instance replied with error: BUSYKEY Target key name already exists.|"
        #expect(a.run("MIGRATE 127.0.0.1 7001 \"\" 0 1000 KEYS a b c") == busy)
        // What was accepted is gone, what was refused stays.
        #expect(a.run("EXISTS a b") == ":2|")
        #expect(a.run("EXISTS c") == ":0|")
        a.run("SET a 9")
        #expect(a.run("MIGRATE 127.0.0.1 7001 \"\" 0 1000 REPLACE KEYS a b") == "+OK|")
        #expect(a.run("EXISTS a b") == ":0|")
        #expect(b.run("MGET a b c") == "*3|$1|9|$1|2|$1|3|")
        a.run("SET a 1")
        #expect(
            a.run("MIGRATE 127.0.0.1 7001 a 99 1000")
                == "-ERR Target instance replied with error: ERR DB index is out of range|")
        #expect(a.run("GET a") == "$1|1|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 1000 NOPE") == "-ERR syntax error|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 1000 AUTH") == "-ERR syntax error|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 x").contains("not an integer"))
        #expect(a.run("MIGRATE 127.0.0.1 7001 a x 1").contains("not an integer"))
        #expect(
            a.run("MIGRATE 127.0.0.1 7001 a 0 1000 KEYS a")
                == "-ERR When using MIGRATE KEYS option, the key argument must be set to the "
                + "empty string|")
        world.down.insert(1)
        #expect(
            a.run("MIGRATE 127.0.0.1 7009 a 0 1000")
                == "-IOERR error or timeout connecting to the client|")
        a.run("MULTI")
        a.run("MIGRATE 127.0.0.1 7001 a 0 1000")
        #expect(a.run("EXEC").hasPrefix("*1|-ERR MIGRATE is not allowed inside a transaction"))
    }

    @Test func passwordsAreSentOnce() {
        let world = ClusterWorld(nodes: 2, cluster: false) { settings in
            if settings.port == 7001 { settings.requirePassword = "secret" }
        }
        let a = world.client(0)
        a.run("MSET a 1 b 2 c 3")
        let refused = "-ERR Target instance replied with error: "
        #expect(
            a.run("MIGRATE 127.0.0.1 7001 a 0 1000")
                == refused + "NOAUTH Authentication required.|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 1000 AUTH x").hasPrefix(refused + "WRONGPASS"))
        #expect(a.run("GET a") == "$1|1|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 1000 AUTH secret") == "+OK|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 b 0 1000 AUTH secret") == "+OK|")
        #expect(a.run("MIGRATE 127.0.0.1 7001 c 0 1000 AUTH2 default secret") == "+OK|")
        #expect(a.run("EXISTS a b c") == ":0|")
    }

    /// Writers of a key in flight wait until its fate is known; readers and others do not.
    @Test func noAcknowledgedWriteIsLost() {
        let world = standalone()
        let a = world.client(0)
        a.run("MSET a 1 b 2")
        world.muted.insert(1)
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 1000") == "")
        let writers = [
            ["SET", "a", "new"], ["APPEND", "a", "x"], ["DEL", "b", "a"],
            ["MSET", "b", "1", "a", "1"], ["RENAME", "b", "a"], ["FLUSHALL"],
            ["EXPIRE", "a", "100"],
        ].map { words in
            let client = world.client(0)
            #expect(client.run(words) == "", "\(words)")
            return client
        }
        let transaction = world.client(0)
        transaction.run("MULTI")
        #expect(transaction.run("INCR a") == "+QUEUED|")
        #expect(transaction.run("EXEC") == "")
        let reader = world.client(0)
        #expect(reader.run("GET a") == "$1|1|")
        #expect(reader.run("SET c 3") == "+OK|")
        #expect(reader.run("INCR b") == ":3|")
        world.unmute(1)
        #expect(a.take() == "+OK|")
        #expect(world.client(1).run("GET a") == "$1|1|")
        // Everybody was answered, in the order in which they came, on what was left.
        #expect(
            writers.map { $0.take() } == ["+OK|", ":4|", ":2|", "+OK|", "+OK|", "+OK|", ":0|"])
        #expect(transaction.take() == "*1|:1|")
    }

    @Test func inAClusterTheWriterFollowsTheKey() {
        let world = ClusterWorld(nodes: 2)
        let (a, first, second) = world.pair()
        let b = world.client(1)
        a.run("SET b 1")
        b.run("CLUSTER SETSLOT 3300 IMPORTING \(first)")
        a.run("CLUSTER SETSLOT 3300 MIGRATING \(second)")
        world.muted.insert(1)
        a.send(["MIGRATE", "127.0.0.1", "7001", "b", "0", "1000"])
        world.settle()
        let writer = world.client(0)
        #expect(writer.run("SET b 2") == "")
        world.unmute(1)
        #expect(a.take() == "+OK|")
        #expect(writer.take() == "-ASK 3300 127.0.0.1:7001|")
        #expect(b.run("ASKING") == "+OK|")
        #expect(b.run("SET b 2") == "+OK|")
        #expect(b.run("CLUSTER SETSLOT 3300 NODE \(second)") == "+OK|")
        #expect(a.run("CLUSTER SETSLOT 3300 NODE \(second)") == "+OK|")
        world.pass(3000)
        #expect(a.run("GET b") == "-MOVED 3300 127.0.0.1:7001|")
        #expect(b.run("GET b") == "$1|2|")
        #expect(b.run("CLUSTER NODES").contains(" 3300 8192-16383"))
    }

    /// No answer: the key stays and belongs to this node again.
    @Test func silenceEndsInATimeout() {
        let world = standalone()
        let a = world.client(0)
        a.run("SET a 1")
        world.muted.insert(1)
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 300") == "")
        let writer = world.client(0)
        #expect(writer.run("SET a 2") == "")
        world.pass(250)
        #expect(a.take() == "")
        world.pass(100)
        #expect(a.take() == "-IOERR error or timeout reading to target instance|")
        #expect(writer.take() == "+OK|")
        #expect(writer.run("GET a") == "$1|2|")
        world.unmute(1)
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 300 REPLACE") == "+OK|")
        #expect(world.client(1).run("GET a") == "$1|2|")
    }

    @Test func aKeptConnectionThatBrokeIsReplaced() {
        let world = standalone()
        let a = world.client(0)
        a.run("MSET a 1 b 2 c 3")
        #expect(a.run("MIGRATE 127.0.0.1 7001 a 0 300") == "+OK|")
        #expect(world.nodes[0].migrationLinkCount == 1)
        // The target goes silent, then closes: nothing was answered, so it is tried again.
        world.muted.insert(1)
        #expect(a.run("MIGRATE 127.0.0.1 7001 b 0 300") == "")
        world.kept.removeAll()
        let target = world.nodes[1].executor
        target.close(target.pointee.sessions[0])
        world.settle()
        #expect(world.kept.count == 1)
        world.unmute(1)
        #expect(a.take() == "+OK|")
        #expect(world.client(1).run("GET b") == "$1|2|")
        // Idle connections end after ten seconds.
        world.pass(9000)
        #expect(world.nodes[0].migrationLinkCount == 1)
        world.pass(1100)
        #expect(world.nodes[0].migrationLinkCount == 0)
        world.down.insert(1)
        #expect(a.run("MIGRATE 127.0.0.1 7001 c 0 300").hasPrefix("-IOERR error or timeout conn"))
        #expect(a.run("GET c") == "$1|3|")
    }

    @Test func replicasHearADeletion() {
        let world = standalone(3)
        let a = world.client(0)
        a.run("MSET a 1 b 2")
        #expect(world.client(2).run("REPLICAOF 127.0.0.1 7000") == "+OK|")
        world.pass(8000)
        let replica = world.client(2)
        #expect(replica.run("MGET a b") == "*2|$1|1|$1|2|", "\(world.log)")
        #expect(a.run("MIGRATE 127.0.0.1 7001 \"\" 0 1000 KEYS a b") == "+OK|")
        #expect(replica.run("MGET a b") == "*2|$-1|$-1|")
    }

    /// During a pause of writes nothing may change: the answers wait for its end.
    @Test func aPauseHoldsTheDeletionBack() {
        let world = standalone()
        let a = world.client(0)
        a.run("SET a 1")
        world.muted.insert(1)
        a.send(["MIGRATE", "127.0.0.1", "7001", "a", "0", "1000"])
        world.settle()
        let admin = world.client(0)
        #expect(admin.run("CLIENT PAUSE 500 WRITE") == "+OK|")
        world.unmute(1)
        #expect(a.take() == "")
        #expect(admin.run("EXISTS a") == ":1|")
        world.pass(700)
        #expect(a.take() == "+OK|")
        #expect(admin.run("EXISTS a") == ":0|")
    }

    /// A primary that becomes a replica while a key is on its way deletes nothing.
    @Test func aDemotionAbandonsTheMigration() {
        let world = standalone(3)
        let a = world.client(0)
        a.run("SET a 1")
        world.muted.insert(1)
        a.send(["MIGRATE", "127.0.0.1", "7001", "a", "0", "1000"])
        world.settle()
        let writer = world.client(0)
        writer.send(["SET", "a", "2"])
        #expect(world.client(0).run("REPLICAOF 127.0.0.1 7002") == "+OK|")
        #expect(a.take().hasPrefix("-UNBLOCKED"))
        #expect(writer.take().hasPrefix("-READONLY"))
    }

    @Test func aClientThatLeavesDoesNotStopItsMigration() {
        let world = standalone()
        let a = world.client(0)
        let other = world.client(0)
        a.run("SET a 1")
        world.muted.insert(1)
        a.send(["MIGRATE", "127.0.0.1", "7001", "a", "0", "1000"])
        world.settle()
        #expect(other.run("CLIENT KILL ID \(a.id)") == ":1|")
        world.unmute(1)
        #expect(other.run("EXISTS a") == ":0|")
        #expect(world.client(1).run("GET a") == "$1|1|")
        #expect(other.run("SET a 2") == "+OK|")
    }
}
