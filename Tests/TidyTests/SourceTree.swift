// The project's files as the tidy tests see them: paths from the package root, lines, and the code
// alone, with comments and string literals blanked out so that a word in prose is not a finding.
import Foundation

/// One file, by its path from the package root.
struct SourceFile: Sendable {
    let path: String
    let lines: [String]
    /// The lines of a Swift file of a target, with comments and the contents of string literals
    /// replaced by spaces; empty for other files.
    let code: [String]

    /// The folder under `Sources` or `Tests`, which is the target's name.
    var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    var name: String { path.split(separator: "/").last.map(String.init) ?? path }

    var imports: [(line: Int, module: String)] {
        code.enumerated().compactMap { index, line in
            let words = line.split(separator: " ")
            guard let at = words.firstIndex(of: "import"), at + 1 < words.count else { return nil }
            let isPlain = words[..<at].allSatisfy { $0.hasPrefix("@") || $0 == "public" }
            guard isPlain else { return nil }
            let kinds = ["struct", "class", "enum", "func", "typealias", "protocol", "let", "var"]
            let named = words[(at + 1)...].first { !kinds.contains(String($0)) } ?? ""
            let module = named.split(separator: ".").first.map(String.init) ?? ""
            return (index + 1, module)
        }
    }
}

/// The files of the package.
struct SourceTree: Sendable {
    let root: URL

    /// The Swift files of all targets, read and blanked once for all tests.
    static let sources = Result { try SourceTree().files(in: "Sources") }

    init() {
        root = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    }

    /// Every file below `folder` whose name has one of `extensions` ("" for none), sorted.
    func files(in folder: String, extensions: Set<String> = ["swift"]) throws -> [SourceFile] {
        let base = root.appendingPathComponent(folder)
        guard let walk = FileManager.default.enumerator(atPath: base.path) else { return [] }
        var found: [SourceFile] = []
        for relative in walk.allObjects.compactMap({ $0 as? String }).sorted() {
            let url = base.appendingPathComponent(relative)
            guard extensions.contains(url.pathExtension) else { continue }
            let kind = try url.resourceValues(forKeys: [.isRegularFileKey])
            guard kind.isRegularFile == true else { continue }
            let text = try String(contentsOf: url, encoding: .utf8)
            found.append(SourceFile(path: folder + "/" + relative, text: text))
        }
        return found
    }

    func file(_ path: String) throws -> SourceFile {
        let text = try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
        return SourceFile(path: path, text: text)
    }
}

extension SourceFile {
    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let isCode = path.hasPrefix("Sources/") && path.hasSuffix(".swift")
        code =
            isCode
            ? blanked(text).split(separator: "\n", omittingEmptySubsequences: false)
                .map(String.init)
            : []
    }
}

/// Swift source with comments and string contents replaced by spaces, line breaks kept.
private func blanked(_ text: String) -> String {
    let bytes = Array(text.utf8)
    var out = bytes
    var at = 0
    func starts(_ word: StaticString, at index: Int) -> Bool {
        let count = word.utf8CodeUnitCount
        guard index + count <= bytes.count else { return false }
        return (0..<count).allSatisfy { bytes[index + $0] == word.utf8Start[$0] }
    }
    func blank(upTo end: Int) {
        while at < min(end, bytes.count) {
            if bytes[at] != UInt8(ascii: "\n") { out[at] = UInt8(ascii: " ") }
            at += 1
        }
    }
    while at < bytes.count {
        if starts("//", at: at) {
            blank(upTo: bytes[at...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count)
        } else if starts("/*", at: at) {
            var end = at + 2
            while end < bytes.count, !starts("*/", at: end) { end += 1 }
            blank(upTo: end + 2)
        } else if starts("\"\"\"", at: at) {
            var end = at + 3
            while end < bytes.count, !starts("\"\"\"", at: end) {
                end += bytes[end] == UInt8(ascii: "\\") ? 2 : 1
            }
            blank(upTo: end + 3)
        } else if bytes[at] == UInt8(ascii: "\"") {
            var end = at + 1
            while end < bytes.count, bytes[end] != UInt8(ascii: "\""),
                bytes[end] != UInt8(ascii: "\n")
            {
                end += bytes[end] == UInt8(ascii: "\\") ? 2 : 1
            }
            at += 1
            blank(upTo: end)
            at += 1
        } else {
            at += 1
        }
    }
    return String(decoding: out, as: UTF8.self)
}
