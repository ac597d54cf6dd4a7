// What a client asks for. Every key has one writer, whose values count up, so the checkers know
// exactly what an acknowledgement promised. A log key is appended to: it names every write that
// took effect, in order. A register is overwritten. A volatile key expires or is deleted: for the
// equality of primaries and replicas. Keys of one tag share a slot with those of other clients.
import Base
import HashSlots

struct Workload {
    enum KeyKind: Int, CaseIterable {
        case log
        case register
        case volatile
    }

    enum Verb {
        case append(Int)
        case set(Int)
        case expiring(Int, milliseconds: Int)
        case delete
        case get
    }

    struct Operation {
        var key: Int
        var verb: Verb

        var isWrite: Bool {
            if case .get = verb { return false }
            return true
        }
    }

    struct Key {
        var name: String
        var tag: Int
        var kind: KeyKind
        var issued = 0
        /// Who is believed to serve it.
        var node: Int
    }

    let client: Int
    private(set) var keys: [Key] = []

    init(client: Int, tags: Int, nodes: Int) {
        self.client = client
        for tag in 0..<tags {
            for kind in KeyKind.allCases {
                keys.append(
                    Key(
                        name: "{tag\(tag)}:\(client):\(kind)", tag: tag, kind: kind,
                        node: (client + tag) % nodes))
            }
        }
    }

    mutating func next(_ prng: inout Prng) -> Operation {
        let key = prng.below(keys.count)
        if prng.chance(1, in: 6) { return Operation(key: key, verb: .get) }
        keys[key].issued += 1
        let value = keys[key].issued
        switch keys[key].kind {
        case .log: return Operation(key: key, verb: .append(value))
        case .register: return Operation(key: key, verb: .set(value))
        case .volatile:
            if prng.chance(1, in: 4) { return Operation(key: key, verb: .delete) }
            let time = 20 + prng.below(3000)
            return Operation(key: key, verb: .expiring(value, milliseconds: time))
        }
    }

    func node(of operation: Operation) -> Int { keys[operation.key].node }

    mutating func learn(_ operation: Operation, node: Int) {
        let tag = keys[operation.key].tag
        for index in keys.indices where keys[index].tag == tag { keys[index].node = node }
    }

    func words(of operation: Operation) -> [String] {
        let name = keys[operation.key].name
        switch operation.verb {
        case .append(let value): return ["APPEND", name, "\(value),"]
        case .set(let value): return ["SET", name, "\(value)"]
        case .expiring(let value, let time): return ["SET", name, "\(value)", "PX", "\(time)"]
        case .delete: return ["DEL", name]
        case .get: return ["GET", name]
        }
    }

    static func encoded(_ words: [String]) -> [UInt8] {
        var out = Array("*\(words.count)\r\n".utf8)
        for word in words {
            out += Array("$\(word.utf8.count)\r\n".utf8)
            out += Array(word.utf8)
            out += [13, 10]
        }
        return out
    }

    /// The node of an address in a redirection.
    static func node(of address: Substring) -> Int? {
        guard let colon = address.lastIndex(of: ":") else { return nil }
        return SimNode.host(of: String(address[..<colon]))
    }
}
