// CLUSTER on real nodes in one process: replies and errors as clients and redis-cli expect them.
import Base
import Engine
import NodeCore
import Testing

@Suite struct ClusterCommandsTests {
    @Test func refusedWithoutClusterMode() {
        let client = ClusterWorld(nodes: 1, cluster: false).client(0)
        let text = "-ERR This instance has cluster support disabled|"
        for command in [
            "CLUSTER NODES", "CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER MYID",
            "CLUSTER HELP", "CLUSTER KEYSLOT a", "CLUSTER ADDSLOTS 1", "CLUSTER SETSLOT 1 STABLE",
            "CLUSTER RESET", "CLUSTER WHY", "CLUSTER MEET a 1", "READONLY", "READWRITE", "ASKING",
        ] {
            #expect(client.run(command) == text, "\(command)")
        }
    }

    @Test func slotsAreAddedAndDeleted() {
        let world = ClusterWorld(nodes: 1)
        let client = world.client(0)
        #expect(client.run("SET a 1") == "-CLUSTERDOWN Hash slot not served|")
        #expect(client.run("CLUSTER ADDSLOTSRANGE 0 16383") == "+OK|")
        world.pass(3000)
        let info = client.run("CLUSTER INFO")
        #expect(info.contains("cluster_state:ok|cluster_slots_assigned:16384|"))
        #expect(client.run("SET a 1") == "+OK|")
        #expect(client.run("CLUSTER KEYSLOT a") == ":15495|")
        #expect(client.run("CLUSTER KEYSLOT x{a}y") == ":15495|")
        #expect(client.run("CLUSTER COUNTKEYSINSLOT 15495") == ":1|")
        #expect(client.run("CLUSTER GETKEYSINSLOT 15495 10") == "*1|$1|a|")
        #expect(client.run("CLUSTER GETKEYSINSLOT 15495 0") == "*0|")
        #expect(client.run("CLUSTER FLUSHSLOTS").hasPrefix("-ERR DB must be empty"))
        #expect(client.run("CLUSTER DELSLOTS 15495 1") == "+OK|")
        #expect(client.run("CLUSTER DELSLOTSRANGE 1 1") == "-ERR Slot 1 is already unassigned|")
    }

    @Test func badArgumentsAreRefused() {
        let client = ClusterWorld(nodes: 1).client(0)
        for (command, error) in refusals {
            #expect(client.run(command) == "-ERR \(error)|", "\(command)")
        }
    }

    @Test func epochs() {
        let client = ClusterWorld(nodes: 1).client(0)
        #expect(client.run("CLUSTER BUMPEPOCH") == "+BUMPED 1|")
        #expect(client.run("CLUSTER BUMPEPOCH") == "+STILL 1|")
        #expect(client.run("CLUSTER SET-CONFIG-EPOCH 5").contains("already non-zero"))
        #expect(client.run("CLUSTER SAVECONFIG") == "+OK|")
        #expect(client.run("CLUSTER RESET HARD") == "+OK|")
        #expect(client.run("CLUSTER SET-CONFIG-EPOCH 5") == "+OK|")
        #expect(client.run("CLUSTER INFO").contains("cluster_my_epoch:5"))
    }

    @Test func aLoneNodeDescribesItself() {
        let world = ClusterWorld(nodes: 1)
        let client = world.client(0)
        let id = client.run("CLUSTER MYID").split(separator: "|")[1]
        #expect(id.utf8.count == 40)
        client.run("CLUSTER ADDSLOTSRANGE 0 100 102 200")
        #expect(
            client.run("CLUSTER NODES").contains(
                "\(id) 127.0.0.1:7000@17000 myself,master - 0 0 0 connected 0-100 102-200"))
        let node = "*4|$9|127.0.0.1|:7000|$40|\(id)|*0|"
        #expect(client.run("CLUSTER SLOTS") == "*2|*3|:0|:100|\(node)*3|:102|:200|\(node)")
        #expect(
            client.run("CLUSTER SHARDS") == "*1|*4|$5|slots|*4|:0|:100|:102|:200|$5|nodes|*1|*14|"
                + "$2|id|$40|\(id)|$4|port|:7000|$2|ip|$9|127.0.0.1|$8|endpoint|$9|127.0.0.1|"
                + "$4|role|$6|master|$18|replication-offset|:0|$6|health|$6|online|")
        #expect(client.run("CLUSTER LINKS") == "*0|")
        #expect(client.run("CLUSTER MYSHARDID").hasPrefix("$40|"))
        #expect(client.run("CLUSTER HELP").contains("+CLUSTER <subcommand>"))
    }

    @Test func nodesMeetAndSlotsChangeHands() {
        let world = ClusterWorld(nodes: 2)
        let (a, first, second) = world.pair()
        let b = world.client(1)
        #expect(a.run("CLUSTER INFO").contains("cluster_state:ok"))
        #expect(b.run("CLUSTER INFO").contains("cluster_known_nodes:2"))
        #expect(a.run("SET a 1") == "-MOVED 15495 127.0.0.1:7001|")
        #expect(a.run("CLUSTER LINKS").contains("|$9|direction|$2|to|$4|node|"))
        #expect(b.run("SET a 1") == "+OK|")
        #expect(b.run("CLUSTER SETSLOT 15495 NODE \(first)").contains("while I still hold keys"))
        #expect(a.run("CLUSTER SETSLOT 15495 IMPORTING \(second)") == "+OK|")
        #expect(b.run("CLUSTER SETSLOT 15495 MIGRATING \(first)") == "+OK|")
        #expect(b.run("GET a") == "$1|1|")
        #expect(b.run("GET {a}b") == "-ASK 15495 127.0.0.1:7000|")
        #expect(a.run("GET {a}b") == "-MOVED 15495 127.0.0.1:7001|")
        #expect(a.run("ASKING") == "+OK|")
        #expect(a.run("GET {a}b") == "$-1|")
        #expect(b.run("MGET a {a}b").hasPrefix("-TRYAGAIN"))
        #expect(b.run("MGET a b").hasPrefix("-CROSSSLOT"))
        #expect(a.run("CLUSTER FORGET \(first)").contains("I can't forget myself"))
        #expect(a.run("CLUSTER REPLICATE \(second)").contains("To set a master the node must be"))
        #expect(a.run("CLUSTER WHY").contains("$18|handshakeCompleted|"))
        #expect(a.run("CLUSTER WHY 1").hasPrefix("*1|*10|$4|time|:"))
    }

    @Test func aReplicaFollowsItsPrimary() {
        let world = ClusterWorld(nodes: 2)
        let (a, b) = world.primaryAndReplica()
        #expect(a.run("CLUSTER REPLICAS \(a.identity)").hasPrefix("*1|"))
        #expect(b.run("CLUSTER SETSLOT x STABLE") == "-ERR Please use SETSLOT only with masters.|")
        #expect(b.run("GET a") == "-MOVED 15495 127.0.0.1:7000|")
        #expect(b.run("READONLY") == "+OK|")
        #expect(b.run("GET a") == "$-1|")
        #expect(b.run("SET a 1") == "-MOVED 15495 127.0.0.1:7000|")
        #expect(b.run("READWRITE") == "+OK|")
        #expect(b.run("GET a").hasPrefix("-MOVED"))
    }

    @Test func aChangeIsAnsweredWhenItIsWritten() {
        let world = ClusterWorld(nodes: 1)
        let admin = world.client(0)
        let other = world.client(0)
        world.slowDisks.insert(0)
        // No claim, for it owns no slots: only the client who asked for it waits.
        #expect(admin.run("CLUSTER SET-CONFIG-EPOCH 5") == "")
        #expect(other.run("PING") == "+PONG|")
        #expect(admin.run("PING") == "")
        world.speedUp(0)
        #expect(admin.take() == "+OK|+PONG|")
    }

    /// A write under an epoch that a power cut takes back would be lost, and no other node has
    /// heard of the epoch: it is not acknowledged.
    @Test func aNewPrimaryAnswersWhenItsClaimIsDurable() {
        let world = ClusterWorld(nodes: 2)
        let (a, b) = world.primaryAndReplica()
        world.slowDisks.insert(1)
        #expect(b.run("CLUSTER FAILOVER TAKEOVER") == "")
        let writer = world.client(1)
        #expect(writer.run("SET a 1") == "")
        // Nobody has been told, so the old primary goes on.
        #expect(a.run("SET a 2") == "+OK|")
        world.speedUp(1)
        #expect(b.take() == "+OK|")
        #expect(writer.take() == "+OK|")
        #expect(a.run("SET a 3") == "-MOVED 15495 127.0.0.1:7001|")
    }

    /// A reply that its node's disk holds back must not come after another node has taken over.
    @Test func whatWaitedForTheDiskIsNotAnsweredAfterTheAuthorityEnded() {
        let world = ClusterWorld(nodes: 2) {
            $0.appendOnly = true
            $0.appendSync = "always"
        }
        let (a, b) = world.primaryAndReplica()
        world.slowDisks.insert(0)
        #expect(a.run("SET a 1") == "")
        #expect(b.run("CLUSTER FAILOVER TAKEOVER") == "+OK|")
        world.speedUp(0)
        #expect(a.take() == "")
        #expect(world.log.contains { $0.hasPrefix("0 Disconnected 1 clients whose replies") })
        #expect(world.client(0).run("SET a 1").hasPrefix("-MOVED 15495"))
    }

    @Test func transactionsAreRedirectedAsAWhole() {
        let world = ClusterWorld(nodes: 2)
        let (a, first, second) = world.pair()
        let b = world.client(1)
        a.run("MULTI")
        #expect(a.run("SET b 1") == "+QUEUED|")
        #expect(a.run("SET a 1") == "-MOVED 15495 127.0.0.1:7001|")
        #expect(a.run("EXEC").hasPrefix("-EXECABORT Transaction discarded because of previous"))
        // A slot that leaves between MULTI and EXEC: EXEC itself is redirected.
        a.run("MULTI")
        a.run("SET b 1")
        let admin = world.client(0)
        #expect(admin.run("CLUSTER SETSLOT 3300 NODE \(second)") == "+OK|")
        #expect(a.run("EXEC") == "-MOVED 3300 127.0.0.1:7001|")
        #expect(a.run("EXEC") == "-ERR EXEC without MULTI|")
        // ASKING covers a whole transaction, and no more.
        a.run("CLUSTER SETSLOT 15495 IMPORTING \(second)")
        b.run("CLUSTER SETSLOT 15495 MIGRATING \(first)")
        #expect(a.run("ASKING") == "+OK|")
        #expect(a.run("MULTI") == "+OK|")
        #expect(a.run("SET a 1") == "+QUEUED|")
        #expect(a.run("GET a") == "+QUEUED|")
        #expect(a.run("EXEC") == "*2|+OK|$1|1|")
        #expect(a.run("GET a") == "-MOVED 15495 127.0.0.1:7001|")
        // ASKING is gone after any command.
        a.run("ASKING")
        a.run("PING")
        #expect(a.run("GET a") == "-MOVED 15495 127.0.0.1:7001|")
    }

    @Test func clusterModeHasOneDatabase() {
        let world = ClusterWorld(nodes: 1)
        let client = world.client(0)
        client.run("CLUSTER ADDSLOTSRANGE 0 16383")
        world.pass(3000)
        #expect(client.run("SELECT 0") == "+OK|")
        #expect(client.run("SELECT 1") == "-ERR SELECT is not allowed in cluster mode|")
        #expect(client.run("SWAPDB 0 1") == "-ERR SWAPDB is not allowed in cluster mode|")
        #expect(client.run("MOVE a 1") == "-ERR MOVE is not allowed in cluster mode|")
        #expect(client.run("REPLICAOF a 1") == "-ERR REPLICAOF not allowed in cluster mode.|")
        client.run("SET a 1")
        #expect(
            client.run("COPY a b{a} DB 1")
                == "-ERR Copying to another database is not allowed in cluster mode|")
    }

    @Test func authenticationComesBeforeRedirection() {
        let world = ClusterWorld(nodes: 1) { $0.requirePassword = "secret" }
        let client = world.client(0)
        #expect(client.run("GET a") == "-NOAUTH Authentication required.|")
        #expect(client.run("AUTH secret") == "+OK|")
        #expect(client.run("GET a") == "-CLUSTERDOWN Hash slot not served|")
    }
}

private let refusals: [(String, String)] = [
    ("CLUSTER ADDSLOTS x", "Invalid or out of range slot"),
    ("CLUSTER ADDSLOTS 16384", "Invalid or out of range slot"),
    ("CLUSTER ADDSLOTS -1", "Invalid or out of range slot"),
    ("CLUSTER ADDSLOTS 7 7", "Slot 7 specified multiple times"),
    ("CLUSTER ADDSLOTSRANGE 9 3", "start slot number 9 is greater than end slot number 3"),
    ("CLUSTER ADDSLOTSRANGE 1 2 3",
        "wrong number of arguments for 'cluster|addslotsrange' command"),
    ("CLUSTER DELSLOTS 5", "Slot 5 is already unassigned"),
    ("CLUSTER COUNTKEYSINSLOT 16384", "Invalid slot"),
    ("CLUSTER COUNTKEYSINSLOT x", "value is not an integer or out of range"),
    ("CLUSTER GETKEYSINSLOT 1 -1", "Invalid slot or number of keys"),
    ("CLUSTER SETSLOT 1 STABLE extra",
        "Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"),
    ("CLUSTER SETSLOT 1 MIGRATING abc", "I'm not the owner of hash slot 1"),
    ("CLUSTER SETSLOT 1 IMPORTING abc", "I don't know about node abc"),
    ("CLUSTER SETSLOT 1 NODE abc", "Unknown node abc"),
    ("CLUSTER FORGET abc", "Unknown node abc"),
    ("CLUSTER REPLICATE abc", "Unknown node abc"),
    ("CLUSTER REPLICAS abc", "Unknown node abc"),
    ("CLUSTER COUNT-FAILURE-REPORTS abc", "Unknown node abc"),
    ("CLUSTER FAILOVER", "You should send CLUSTER FAILOVER to a replica"),
    ("CLUSTER FAILOVER x", "syntax error"),
    ("CLUSTER RESET x", "syntax error"),
    ("CLUSTER MEET 127.0.0.1 x", "Invalid TCP base port specified: x"),
    ("CLUSTER MEET 127.0.0.1 1 x", "Invalid TCP bus port specified: x"),
    ("CLUSTER MEET nowhere 7000", "Invalid node address specified: nowhere:7000"),
    ("CLUSTER MEET 127.0.0.1 1 2 3",
        "unknown subcommand or wrong number of arguments for 'MEET'. Try CLUSTER HELP."),
    ("CLUSTER SET-CONFIG-EPOCH -1", "Invalid config epoch specified: -1"),
    ("CLUSTER NOPE", "unknown subcommand 'NOPE'. Try CLUSTER HELP."),
    ("CLUSTER WHY x", "value is not an integer or out of range"),
]
