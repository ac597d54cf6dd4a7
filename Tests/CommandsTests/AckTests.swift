// `min-replicas-ack` in one process: which replies wait, in which order they leave, what takes the
// place of one that waited in vain.
import Engine
import Testing

@Suite struct AckTests {
    private let unacked =
        "-UNACKED The write is applied here, but only 0 of 1 replicas acknowledged it in time: "
        + "a failover may lose it|"

    /// A primary (0) with a replica (1). While 0 is muted it hears nothing of its replica.
    private func pair(_ acks: Int = 1, timeout: Int = 1000) -> (ClusterWorld, WorldClient) {
        let world = ClusterWorld(nodes: 2, cluster: false) { settings in
            settings.minReplicasAck = acks
            settings.minReplicasAckTimeout = timeout
        }
        #expect(world.client(1).run("REPLICAOF 127.0.0.1 7000") == "+OK|")
        world.pass(3000)
        return (world, world.client(0))
    }

    @Test func aReplicaIsAskedAtOnce() {
        let (_, client) = pair()
        #expect(client.run("SET k v") == "+OK|")
        #expect(client.run("INCR n") == ":1|")
        #expect(client.run("DEL none") == ":0|")
        #expect(client.run("CLIENT MIN-REPLICAS-ACK") == ":1|")
    }

    @Test func whatComesBehindAWriteWaitsWithIt() {
        let (world, client) = pair()
        world.muted = [0]
        #expect(client.run("PING") == "+PONG|")
        #expect(client.run("SET k v") == "")
        #expect(client.run("GET k") == "")
        #expect(world.client(0).run("GET k") == "$1|v|")
        world.unmute(0)
        #expect(client.take() == "+OK|$1|v|")
    }

    @Test func anErrorTakesThePlaceOfEachReply() {
        let (world, client) = pair()
        world.muted = [0]
        for line in ["GET x", "SET k v", "GET k", "MULTI", "SET a 1", "INCR n", "EXEC", "PING"] {
            client.send(line.split(separator: " ").map(String.init))
        }
        world.settle()
        #expect(client.take() == "$-1|")
        world.pass(500)
        #expect(client.take() == "")
        world.pass(700)
        #expect(client.take() == unacked + "$1|v|+OK|+QUEUED|+QUEUED|" + unacked + "+PONG|")
        world.unmute(0)
        #expect(client.run("SET k w") == "+OK|")
    }

    @Test func aConnectionChoosesForItself() {
        let (world, client) = pair()
        world.muted = [0]
        #expect(client.run("CLIENT MIN-REPLICAS-ACK 0") == "+OK|")
        #expect(client.run("SET k v") == "+OK|")
        world.client(0).run("CONFIG SET min-replicas-ack 2")
        #expect(client.run("CLIENT MIN-REPLICAS-ACK") == ":0|")
        #expect(client.run("CLIENT MIN-REPLICAS-ACK DEFAULT") == "+OK|")
        #expect(client.run("CLIENT MIN-REPLICAS-ACK") == ":2|")
        #expect(client.run("CLIENT MIN-REPLICAS-ACK x").hasPrefix("-ERR"))
    }

    @Test func aReplyThatNobodyWantsIsForgotten() {
        let (world, client) = pair()
        world.muted = [0]
        #expect(client.run("CLIENT REPLY SKIP") == "")
        #expect(client.run("SET k v") == "")
        #expect(client.run("GET k") == "$1|v|")
        #expect(client.run("CLIENT REPLY OFF") == "")
        #expect(client.run("SET k w") == "")
        #expect(client.run("CLIENT REPLY ON") == "+OK|")
        #expect(client.run("GET k") == "$1|w|")
    }

    @Test func whoeverWaitsHearsOfADemotion() {
        let (world, client) = pair(1, timeout: 0)
        world.muted = [0]
        #expect(client.run("SET k v") == "")
        world.pass(5000)
        #expect(client.take() == "")
        world.client(0).run("REPLICAOF 127.0.0.1 7009")
        #expect(client.take().hasPrefix("-UNACKED The write was applied here before"))
    }

    @Test func moreReplicasThanThereAreIsAnError() {
        let (world, client) = pair(2)
        #expect(client.run("SET k v") == "")
        world.pass(1100)
        #expect(client.take().hasPrefix("-UNACKED The write is applied here, but only 1 of 2"))
    }
}
