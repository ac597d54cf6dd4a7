// A simulated process's append-only files at its start.
import Base
import NodeCore

struct SimLogFiles: LogFiles {
    let owner: SimNode

    func size(_ path: String) throws(BootError) -> Int64? {
        owner.disk.visible[path].map { Int64($0.count) }
    }

    func contents(_ path: String) throws(BootError) -> [UInt8] { owner.disk.visible[path] ?? [] }

    func settle(_ path: String) throws(BootError) { owner.disk.settle(path) }

    func read(
        _ path: String, _ piece: (Bytes) throws(BootError) -> Void
    ) throws(BootError) -> Bool {
        var failure: BootError?
        (owner.disk.visible[path] ?? []).withBytes { bytes in
            do throws(BootError) { try piece(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
        return true
    }

    func tail(
        _ path: String, from offset: Int64, limit: Int
    ) throws(BootError) -> [UInt8] {
        Array((owner.disk.visible[path] ?? [])[Int(offset)...].prefix(limit))
    }

    func cut(_ path: String, at offset: Int64, keeping kept: String) throws(BootError) {
        owner.disk.cut(path, at: Int(offset), keeping: kept)
    }

    func createFolder(_ path: String) throws(BootError) {}

    func replace(_ path: String, _ contents: [UInt8]) throws(BootError) {
        owner.disk.put(path, contents)
    }

    func move(_ path: String, to new: String) throws(BootError) {
        if let contents = owner.disk.visible[path] { owner.disk.put(new, contents) }
        owner.disk.lose(path)
    }
}
