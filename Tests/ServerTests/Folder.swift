// A folder of a test's own, gone afterwards, and files in it.
import Glibc

final class Folder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = mkdtemp(base) else { return "/tmp" }
            return String(cString: made)
        }
    }

    deinit {
        for name in names { unlink(self / name) }
        rmdir(path)
    }

    static func / (folder: Folder, name: String) -> String { "\(folder.path)/\(name)" }

    /// Writes a file; returns its path.
    @discardableResult
    func write(_ name: String, _ text: String) -> String {
        let path = self / name
        guard let file = fopen(path, "w") else { return path }
        fputs(text, file)
        fclose(file)
        return path
    }

    func read(_ name: String) -> String? {
        guard let file = fopen(self / name, "r") else { return nil }
        defer { fclose(file) }
        var out: [UInt8] = []
        while true {
            let byte = getc(file)
            if byte < 0 { return String(decoding: out, as: UTF8.self) }
            out.append(UInt8(byte))
        }
    }

    var names: [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { found.append(name) }
        }
        return found.sorted()
    }
}
