// The shape of files: a header paragraph, lines that fit a page, and a list of what grew longest.
// Length of files and functions is printed, not judged: a reader looks and decides.
import Testing

private let columns = 100
private let fileLines = 600
private let functionLines = 70

@Suite struct ShapeTests {
    @Test func everySourceFileBeginsWithAHeaderParagraph() throws {
        for file in try SourceTree.sources.get() where file.name != "main.swift" {
            let header = file.lines.prefix { $0.hasPrefix("//") }
            let words = header.joined(separator: " ").split(separator: " ").filter { $0 != "//" }
            #expect(words.count >= 8, "\(file.path): say first what the file is and why it exists")
        }
    }

    @Test func linesFitInAHundredColumns() throws {
        let tree = SourceTree()
        let files =
            try tree.files(in: "Sources", extensions: ["swift", "h"])
            + tree.files(in: "Tests", extensions: ["swift", "py"])
            + tree.files(in: "scripts", extensions: ["", "py"])
        for file in files {
            for (index, line) in file.lines.enumerated() where line.count > columns {
                // A raw string cannot be broken without changing what it says.
                if file.target == "TidyTests", line.contains("#\"") { continue }
                Issue.record("\(file.path):\(index + 1): \(line.count) columns")
            }
        }
    }

    @Test func linesHaveNoTabsAndNoSpacesAtTheEnd() throws {
        let tree = SourceTree()
        let files =
            try SourceTree.sources.get() + tree.files(in: "Tests", extensions: ["swift", "py"])
            + tree.files(in: "scripts", extensions: ["", "py"])
        for file in files {
            for (index, line) in file.lines.enumerated() {
                if line.contains("\t") || line.hasSuffix(" ") {
                    Issue.record("\(file.path):\(index + 1): a tab, or a space at the end")
                }
            }
        }
    }

    @Test func theLongestFilesAndFunctions() throws {
        let files = try SourceTree.sources.get()
        let longFiles = files.map { ($0.lines.count, $0.path) }.filter { $0.0 > fileLines }
        let functions = files.flatMap(functionLengths).filter { $0.0 > functionLines }
        for (count, path) in longFiles.sorted(by: { $0.0 > $1.0 }).prefix(10) {
            print("long file: \(path), \(count) lines (aim: \(fileLines))")
        }
        for (count, place) in functions.sorted(by: { $0.0 > $1.0 }).prefix(10) {
            print("long function: \(place), \(count) lines (aim: \(functionLines))")
        }
    }
}

/// The length in lines of every function with a body, found by matching braces.
private func functionLengths(of file: SourceFile) -> [(Int, String)] {
    var found: [(Int, String)] = []
    var open: [(name: String, line: Int, depth: Int)] = []
    var depth = 0
    var pending: (name: String, line: Int)?
    for (index, line) in file.code.enumerated() {
        let words = line.split { " (<".contains($0) }
        if let at = words.firstIndex(where: { $0 == "func" || $0 == "init" }) {
            let name = words[at] == "init" || at + 1 == words.count ? words[at] : words[at + 1]
            pending = (String(name), index + 1)
        }
        for character in line {
            if character == "{" {
                if let begun = pending {
                    open.append((begun.name, begun.line, depth))
                    pending = nil
                }
                depth += 1
            } else if character == "}" {
                depth -= 1
                if let last = open.last, last.depth == depth {
                    let place = "\(file.path):\(last.line) \(last.name)"
                    found.append((index + 2 - last.line, place))
                    open.removeLast()
                }
            }
        }
    }
    return found
}
