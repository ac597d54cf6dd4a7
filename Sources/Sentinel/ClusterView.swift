// CLUSTER NODES as one node answers it, and what the answers of several nodes come to. Every node
// knows best about itself; who owns a slot is decided as the cluster decides it, by the greatest
// config epoch, so an answer that is out of date never wins against a newer one.
import Base

struct ClusterView: Sendable, Equatable {
    struct Node: Sendable, Equatable {
        var id: String
        /// Empty while the node does not know its own address.
        var host: String
        var port: Int
        var busPort: Int
        var isMyself = false
        var isPrimary = false
        var isFailed = false
        var primary: String?
        var epoch: UInt64
        var slots: [ClosedRange<Int>] = []
    }

    var nodes: [Node] = []

    /// nil for anything that no node would answer.
    init?(_ text: String) {
        for line in text.split(separator: "\n") where !line.isEmpty {
            let words = line.split(separator: " ").map(String.init)
            // A node that is still being met has no name yet.
            if words.count > 2, words[2].contains("handshake") { continue }
            guard let node = Self.node(words) else { return nil }
            nodes.append(node)
        }
        guard nodes.count(where: \.isMyself) == 1 else { return nil }
    }

    var myself: Node? { nodes.first(where: \.isMyself) }

    private static func node(_ words: [String]) -> Node? {
        guard words.count >= 8, isNodeID(words[0]), let epoch = UInt64(words[6]),
            let address = address(words[1])
        else { return nil }
        var node = Node(
            id: words[0], host: address.host, port: address.port, busPort: address.busPort,
            epoch: epoch)
        for flag in words[2].split(separator: ",") {
            switch flag {
            case "myself": node.isMyself = true
            case "master": node.isPrimary = true
            case "fail": node.isFailed = true
            case "noaddr": node.port = 0
            default: break
            }
        }
        if words[3] != "-" {
            guard isNodeID(words[3]) else { return nil }
            node.primary = words[3]
        }
        // Open slots stand in brackets and belong to whoever else lists them.
        for word in words[8...] where !word.hasPrefix("[") {
            guard let range = range(Substring(word)) else { return nil }
            node.slots.append(range)
        }
        return node
    }

    static func isNodeID(_ text: String) -> Bool {
        text.utf8.count == 40
            && text.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 122) }
    }

    /// `ip:port@busport[,hostname…]`
    private static func address(_ text: String) -> (host: String, port: Int, busPort: Int)? {
        let first = text.split(separator: ",", omittingEmptySubsequences: false)[0]
        guard let colon = first.lastIndex(of: ":") else { return nil }
        let host = String(first[..<colon])
        let ports = first[first.index(after: colon)...].split(separator: "@").map { Int($0) }
        guard let port = ports.first ?? nil, (0...65535).contains(port) else { return nil }
        let bus = ports.count > 1 ? ports[1] ?? 0 : port + 10000
        guard host.isEmpty || IPAddress.normalized(host) != nil else { return nil }
        return (host, port, bus)
    }

    /// `5` or `0-99`.
    static func range(_ text: Substring) -> ClosedRange<Int>? {
        let bounds = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard bounds.count <= 2, let first = bounds[0], let last = bounds[bounds.count - 1],
            first >= 0, first <= last, last < ClusterTopology.slotCount
        else { return nil }
        return first...last
    }
}

/// A cluster as several of its nodes together describe it.
struct ClusterTopology: Sendable, Equatable {
    static let slotCount = 16384

    struct Shard: Sendable, Equatable {
        var firstSlot: Int
        var slots: Int
        var primary: String
        var replicas: [String] = []
    }

    var nodes = SortedTable<String, ClusterView.Node>()
    /// In the order of their first slots.
    var shards: [Shard] = []
    /// Node and its epoch, by slot.
    private var owners: [(node: Int, epoch: UInt64)] = []
    private var ids: [String] = []

    init() {}

    init(merging views: [ClusterView]) {
        // What nodes say of themselves goes first, and so wins where epochs are equal.
        for view in views {
            if let node = view.myself { nodes[node.id] = node }
        }
        for view in views {
            for node in view.nodes where !nodes.contains(node.id) { nodes[node.id] = node }
        }
        ids = nodes.keys
        owners = Array(repeating: (-1, 0), count: Self.slotCount)
        for view in views { if let node = view.myself { claim(node) } }
        for view in views { for node in view.nodes { claim(node) } }
        findShards()
    }

    private mutating func claim(_ node: ClusterView.Node) {
        guard node.isPrimary, let index = ids.firstIndex(of: node.id) else { return }
        for range in node.slots {
            for slot in range where owners[slot].node < 0 || owners[slot].epoch < node.epoch {
                owners[slot] = (index, node.epoch)
            }
        }
    }

    private mutating func findShards() {
        var places = [Int?](repeating: nil, count: ids.count)
        for (slot, owner) in owners.enumerated() where owner.node >= 0 {
            if let place = places[owner.node] {
                shards[place].slots += 1
            } else {
                places[owner.node] = shards.count
                shards.append(Shard(firstSlot: slot, slots: 1, primary: ids[owner.node]))
            }
        }
        for node in nodes.values where !node.isPrimary {
            guard let primary = node.primary, let index = ids.firstIndex(of: primary),
                let place = places[index]
            else { continue }
            shards[place].replicas.append(node.id)
        }
    }

    /// The epoch under which `slot` is owned by somebody other than `node`; nil when it is not.
    func foreignEpoch(of slot: Int, besides node: String) -> UInt64? {
        guard slot < owners.count, owners[slot].node >= 0, ids[owners[slot].node] != node else {
            return nil
        }
        return owners[slot].epoch
    }

    func owns(_ node: String, _ slot: Int) -> (isOwner: Bool, epoch: UInt64) {
        guard slot < owners.count, owners[slot].node >= 0 else { return (false, 0) }
        return (ids[owners[slot].node] == node, owners[slot].epoch)
    }

    func shard(of primary: String) -> Shard? { shards.first { $0.primary == primary } }

    static func == (a: Self, b: Self) -> Bool {
        a.shards == b.shards && a.nodes.keys == b.nodes.keys && a.nodes.values == b.nodes.values
    }
}
