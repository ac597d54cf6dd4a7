import Base
import Replication

func at(_ milliseconds: Int64) -> Instant { Instant(microseconds: milliseconds * 1000) }

func text(_ bytes: [UInt8]) -> String {
    String(decoding: bytes, as: UTF8.self).replacing("\r\n", with: "|").replacing("\n", with: "~")
}

extension String {
    func replacing(_ part: String, with other: String) -> String {
        var out: [UInt8] = []
        let all = Array(utf8)
        let sought = Array(part.utf8)
        var index = 0
        while index < all.count {
            if all[index...].starts(with: sought) {
                out += Array(other.utf8)
                index += sought.count
            } else {
                out.append(all[index])
                index += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}

/// A line per effect, as in the transcripts.
func describe(_ effect: ReplicaEffect) -> String {
    switch effect {
    case .connect(let address): "connect \(address)"
    case .send(let bytes): "send \(text(bytes))"
    case .close: "close"
    case .beginFullSync(let id, let offset): "full sync \(id?.text.prefix(4) ?? "-") \(offset)"
    case .detachReplicas: "detach replicas"
    case .snapshotStarted(let framing): "snapshot \(framing)"
    case .snapshotRange(let range): "snapshot bytes \(range)"
    case .snapshotBytes(let bytes): "snapshot bytes '\(text(bytes))'"
    case .snapshotEnded: "snapshot ended"
    case .abortFullSync: "abort full sync"
    case .restartHistory(let id, let offset): "history \(id?.text.prefix(4) ?? "-") \(offset)"
    case .continueHistory(let id): "continue \(id?.text.prefix(4) ?? "same")"
    case .disconnectReplicas: "disconnect replicas"
    case .stream(let range): "stream \(range)"
    case .online: "online"
    case .linkLost: "link lost"
    case .failoverAccepted: "failover accepted"
    case .failoverRejected(let reason): "failover rejected: \(reason)"
    case .log(let line): "\(line.level.mark) \(line.text)"
    }
}

func describe(_ effect: PrimaryEffect) -> String {
    switch effect {
    case .send(let session, let bytes): "send \(session) \(text(bytes))"
    case .startStream(let session, let from): "stream \(session) from \(from)"
    case .startSnapshot(let sessions, let contents, let endMark, let embedsStream):
        "snapshot for \(sessions) mark \(endMark)\(embedsStream ? " with stream" : "")"
            + (contents == .everything ? "" : contents == .functions ? " of functions" : " empty")
    case .close(let session): "close \(session)"
    case .feedPing: "feed PING"
    case .backlogCreated: "backlog created"
    case .backlogFreed: "backlog freed"
    case .replicaOnline(let session): "online \(session)"
    case .log(let line): "\(line.level.mark) \(line.text)"
    }
}

let idA = ReplicationID(String(repeating: "a", count: 40)) ?? .none
let idB = ReplicationID(String(repeating: "b", count: 40)) ?? .none
let idC = ReplicationID(String(repeating: "c", count: 40)) ?? .none
let mark = String(repeating: "0123456789", count: 4)
